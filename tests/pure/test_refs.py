"""References: the ARN's parts, and clear words for what is no reference."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durastate import ConfigurationError, ExecutionRef, InvalidRefError
from durastate.refs import is_token, match_arn, parse_arn
from durastate.targets import Execution

from .strategies import ARN, arns, get_state_model, many, other_keys, some, tokens

_INPUT = get_state_model().input_shape
_ARN_SHAPE = _INPUT.members["DurableExecutionArn"]
_TOKEN_SHAPE = _INPUT.members["CheckpointToken"]


def matches_the_model(shape: Any, value: str) -> bool:
    limits = shape.metadata
    pattern = re.compile(limits["pattern"], re.ASCII)
    return limits["min"] <= len(value) <= limits["max"] and bool(pattern.fullmatch(value))


@many
@given(arns())
def test_an_arn_is_taken_apart_and_put_together(arn: str) -> None:
    assert matches_the_model(_ARN_SHAPE, arn)
    ref = ExecutionRef(arn)
    assert arn == (
        f"arn:{ref.partition}:lambda:{ref.region}:{ref.account}"
        f":function:{ref.function_name}:{ref.version}"
        f"/durable-execution/{ref.execution_name}/{ref.execution_id}"
    )


_NEARLY = st.one_of(
    other_keys,
    st.builds(
        lambda arn, at, cut, new: arn[:at] + new + arn[at + cut :],
        arns(),
        st.integers(0, 150),
        st.integers(0, 3),
        st.text(max_size=2),
    ),
    st.from_regex(_ARN_SHAPE.metadata["pattern"], fullmatch=True),
)


@many
@given(_NEARLY)
@example(ARN.replace("123456789012", "12345678901"))  # seldom drawn
@example(ARN.replace("123456789012", "1234567890123"))
def test_what_the_models_pattern_allows_is_an_arn_and_nothing_else(text: str) -> None:
    of_the_model = matches_the_model(_ARN_SHAPE, text)
    # The Region becomes part of a host name, so it has to be one label of it, in lower case.
    is_label = of_the_model and re.fullmatch(
        "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text.split(":")[3]
    )
    assert (match_arn(text) is not None) == bool(is_label)


@some
@given(st.one_of(tokens, st.text(max_size=10), st.text("Aa0+/=\n", max_size=6)))
@example("Aa0+===")
@example("Aa0+=\n")
def test_what_the_models_pattern_allows_is_a_token_and_nothing_else(text: str) -> None:
    assert is_token(text) == matches_the_model(_TOKEN_SHAPE, text)


@pytest.mark.parametrize(("length", "good"), [(1, True), (2048, True), (2049, False), (0, False)])
def test_the_length_of_a_token_is_the_models(length: int, good: bool) -> None:
    assert is_token("a" * length) is good


@pytest.mark.parametrize(("length", "good"), [(1024, True), (1025, False)])
def test_the_length_of_an_arn_is_the_models(length: int, good: bool) -> None:
    arn = ARN + "x" * (length - len(ARN))
    assert (match_arn(arn) is not None) is good


@pytest.mark.parametrize("version", ["$LATEST", "$LATEST.PUBLISHED", "1", "42", "0"])
def test_every_kind_of_version_is_known(version: str) -> None:
    assert ExecutionRef(ARN.replace("$LATEST", version)).version == version


_BAD_ARNS = [
    "",
    "arn",
    "0f3a/invocation-1",
    ARN + "/",
    ARN + "\n",
    " " + ARN,
    ARN.replace("$LATEST", "live"),
    ARN.replace(":$LATEST", ""),
    ARN.replace("123456789012", "12345678901"),
    ARN.replace("123456789012", "１２３４５６７８９０１２"),  # noqa: RUF001
    ARN.replace("lambda", "states"),
    ARN.replace("eu-west-1", "evil.example/"),
    ARN.replace("eu-west-1", "evil.example#"),
    ARN.replace("/durable-execution/", "/durable_execution/"),
    ARN.replace("0f3a-9", ""),
    "x" * 5_000,
]


@pytest.mark.parametrize("arn", [*_BAD_ARNS, None, 7, b"arn", ["arn"]])
def test_what_is_no_arn_is_refused_in_one_line_that_says_what_was_expected(arn: Any) -> None:
    with pytest.raises(InvalidRefError) as caught:
        parse_arn(arn)
    text = str(caught.value)
    assert text.startswith("arn: expected arn:PARTITION:lambda:REGION:ACCOUNT:function:")
    assert "found" in text
    assert "\n" not in text
    assert len(text) < 500
    assert isinstance(caught.value, ConfigurationError)
    with pytest.raises(InvalidRefError):
        _ = ExecutionRef(arn).region


def test_a_bad_reference_is_no_error_before_its_parts_are_read() -> None:
    assert ExecutionRef("nonsense").arn == "nonsense"


def test_a_reference_is_frozen_hashable_and_picklable() -> None:
    ref = ExecutionRef(ARN, "dG9r")
    assert ref == ExecutionRef(ARN, checkpoint_token="dG9r")
    assert ref != ExecutionRef(ARN)
    assert len({ref, ExecutionRef(ARN, "dG9r"), ExecutionRef(ARN)}) == 2
    assert pickle.loads(pickle.dumps(ref)) == ref  # noqa: S301
    assert not hasattr(ref, "__dict__")
    with pytest.raises(AttributeError):
        ref.arn = "other"  # type: ignore[misc]


def test_the_repr_of_a_reference_hides_the_token() -> None:
    assert repr(ExecutionRef(ARN, "SECRET")) == f"ExecutionRef(arn={ARN!r})"


def test_an_arn_that_a_shell_took_the_version_from_is_told_so_for_any_service() -> None:
    emptied = ARN.replace(f":{parse_arn(ARN).version}/", ":/")
    for check in (Execution(emptied).check, Execution(emptied).check_for_own_endpoint):
        with pytest.raises(InvalidRefError, match="the version is empty: put an ARN with "):
            check()
