"""An invocation event gives the same operations as the API, its milliseconds turned to seconds."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durastate import DecodingError, ExecutionRef, StatePage, decode_page

from .strategies import ARN, as_body, few, operation, operations, page, some

TOKEN = "dG9rZW4tU0VDUkVU+/=="
_TIMES = ("StartTimestamp", "EndTimestamp", "NextAttemptTimestamp", "ScheduledEndTimestamp")


def event(*each: Any, **initial: Any) -> dict[str, Any]:
    return {
        "DurableExecutionArn": ARN,
        "CheckpointToken": TOKEN,
        "InitialExecutionState": {"Operations": list(each), **initial},
    }


def inline(ref: ExecutionRef) -> StatePage:
    assert ref._inline is not None
    return ref._inline


FORMS = [
    pytest.param(lambda value: value, id="dict"),
    pytest.param(json.dumps, id="str"),
    pytest.param(lambda value: json.dumps(value).encode(), id="bytes"),
]
EVENT = event(
    operation(Id="x", Type="EXECUTION", ExecutionDetails={"InputPayload": '{"n": 1}'}),
    operation(
        Id="s",
        StartTimestamp=1_764_547_200_123,
        EndTimestamp=1_764_547_201_999,
        StepDetails={"Attempt": 2, "NextAttemptTimestamp": 1_764_547_210_001},
    ),
    operation(
        Id="w", Type="WAIT", WaitDetails={"ScheduledEndTimestamp": 1_764_547_260_000}, Fresh=[1]
    ),
    NextMarker="more",
)


@pytest.mark.parametrize("form", FORMS)
def test_an_event_gives_arn_token_operations_and_marker(form: Any) -> None:
    ref = ExecutionRef.from_event(form(EVENT))
    assert (ref.arn, ref.checkpoint_token) == (ARN, TOKEN)
    held = inline(ref)
    assert held.next_marker == "more"
    assert [each.id for each in held] == ["x", "s", "w"]
    step, wait = held.operations[1:]
    assert step.start_timestamp.isoformat() == "2025-12-01T00:00:00.123000+00:00"
    assert step.to_dict()["EndTimestamp"] == 1_764_547_201.999
    assert step.to_dict()["StepDetails"]["NextAttemptTimestamp"] == 1_764_547_210.001
    assert wait.to_dict()["WaitDetails"] == {"ScheduledEndTimestamp": 1_764_547_260}
    assert wait.to_dict()["Fresh"] == [1]


def in_milliseconds(raw: dict[str, Any]) -> dict[str, Any]:
    """The event's form of an operation whose times are whole milliseconds, as in the API."""
    return {
        name: round(value * 1000)
        if name in _TIMES and value is not None
        else in_milliseconds(value)
        if isinstance(value, dict) and name.endswith("Details")
        else value
        for name, value in raw.items()
    }


@st.composite
def with_whole_milliseconds(draw: st.DrawFn) -> dict[str, Any]:
    """An operation in the API's form whose times are numbers of whole milliseconds."""
    times = st.integers(0, 4_102_444_800_000).map(lambda milliseconds: milliseconds / 1000)

    def settle(raw: dict[str, Any]) -> dict[str, Any]:
        return {
            name: draw(times)
            if name in _TIMES and value is not None
            else settle(value)
            if isinstance(value, dict) and name.endswith("Details")
            else value
            for name, value in raw.items()
        }

    return settle(draw(operations()))


@some
@given(st.lists(with_whole_milliseconds(), max_size=3), st.sampled_from(FORMS))
def test_an_event_equals_the_same_state_from_the_api(raws: list[dict[str, Any]], form: Any) -> None:
    sent = event(*map(in_milliseconds, raws), NextMarker="more")
    before = copy.deepcopy(sent)
    ref = ExecutionRef.from_event(form.values[0](sent))
    assert inline(ref) == decode_page(page(*raws, NextMarker="more"))
    assert sent == before


@pytest.mark.parametrize("marker", ["absent", None, ""])
def test_an_event_without_a_marker_is_complete(marker: str | None) -> None:
    more = {} if marker == "absent" else {"NextMarker": marker}
    assert inline(ExecutionRef.from_event(event(operation(), **more))).next_marker is None


def test_an_event_may_hold_no_operations_and_members_of_newer_runtimes() -> None:
    newer = {**event(), "UpdatedOperationIds": ["a"], "Tomorrow": None}
    assert len(inline(ExecutionRef.from_event(newer))) == 0


def test_later_changes_of_the_event_do_not_reach_the_reference() -> None:
    sent = copy.deepcopy(EVENT)
    step = sent["InitialExecutionState"]["Operations"][1]
    step["StepDetails"]["Error"] = {"ErrorType": "first", "StackTrace": ["first"]}
    step["Fresh"] = ["first"]
    ref = ExecutionRef.from_event(sent)
    before = [each.to_dict() for each in inline(ref)]
    step["StepDetails"]["Error"]["ErrorType"] = "changed"
    step["StepDetails"]["Error"]["StackTrace"].append("changed")
    step["Fresh"].append("changed")
    sent["InitialExecutionState"]["Operations"].clear()
    assert [each.to_dict() for each in inline(ref)] == before


def refused(sent: Any) -> DecodingError:
    with pytest.raises(DecodingError) as caught:
        ExecutionRef.from_event(sent)
    text = str(caught.value)
    assert TOKEN not in text
    assert "CANARY" not in text
    assert "\n" not in text
    return caught.value


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "path", ["DurableExecutionArn", "CheckpointToken", "InitialExecutionState"]
)
@pytest.mark.parametrize("wrong", ["missing", None, 7, ["CANARY"]])
def test_a_missing_or_wrong_member_of_the_event_is_named(form: Any, path: str, wrong: Any) -> None:
    sent = event()
    if wrong == "missing":
        del sent[path]
    else:
        sent[path] = wrong
    assert refused(form(sent)).path == path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("initial", "path"),
    [
        ({}, "Operations"),
        ({"Operations": None}, "Operations"),
        ({"Operations": {"CANARY": 1}}, "Operations"),
        ({"Operations": [], "NextMarker": 7}, "NextMarker"),
        ({"Operations": ["CANARY"]}, "Operations[0]"),
        ({"Operations": [operation(), None]}, "Operations[1]"),
        ({"Operations": [operation(Id=7)]}, "Operations[0].Id"),
        ({"Operations": [operation(StartTimestamp=None)]}, "Operations[0].StartTimestamp"),
        ({"Operations": [operation(StartTimestamp="CANARY")]}, "Operations[0].StartTimestamp"),
        ({"Operations": [operation(EndTimestamp=True)]}, "Operations[0].EndTimestamp"),
        ({"Operations": [operation(EndTimestamp=10**40)]}, "Operations[0].EndTimestamp"),
        ({"Operations": [operation(StepDetails="CANARY")]}, "Operations[0].StepDetails"),
        (
            {"Operations": [operation(StepDetails={"NextAttemptTimestamp": "CANARY"})]},
            "Operations[0].StepDetails.NextAttemptTimestamp",
        ),
        (
            {"Operations": [operation(StepDetails={"Error": {"StackTrace": [1]}})]},
            "Operations[0].StepDetails.Error.StackTrace[0]",
        ),
    ],
)
def test_a_wrong_member_of_the_inline_state_is_named(form: Any, initial: Any, path: str) -> None:
    sent = {**event(), "InitialExecutionState": initial}
    assert refused(form(sent)).path == f"InitialExecutionState.{path}"


@pytest.mark.parametrize(
    "sent", [None, 7, [], "", b"", "null", "[]", '"CANARY"', b"\xff", "{", "CANARY", {}, True]
)
def test_what_is_no_event_is_refused(sent: Any) -> None:
    refused(sent)


@pytest.mark.parametrize("digits", [309, 400, 5_000])
@pytest.mark.parametrize("name", ["plain", "\ud800"], ids=["plain", "surrogate"])
def test_a_time_of_absurd_length_is_refused(digits: int, name: str) -> None:
    text = json.dumps(event(operation(Name=name, StartTimestamp="@")))
    refused(text.replace('"@"', "9" * digits))


def test_a_python_integer_of_absurd_length_is_refused() -> None:
    error = refused(event(operation(StartTimestamp=10**300)))
    assert error.path == "InitialExecutionState.Operations[0].StartTimestamp"


@pytest.mark.parametrize("levels", [150, 500, 1_010, 5_000])
@pytest.mark.parametrize("name", ["StepDetails", "Unknown"])
def test_deep_nesting_is_refused(levels: int, name: str) -> None:
    deep = f'{{"{name}":' * levels + "{}" + "}" * levels
    refused(json.dumps(event("@")).replace('"@"', deep))


@pytest.mark.parametrize("name", [1, None, ("a",)])
def test_a_dict_that_json_could_not_make_is_refused_or_taken(name: Any) -> None:
    with contextlib.suppress(DecodingError):
        ExecutionRef.from_event(event({**operation(), name: 1}))


_ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@some
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "DurableExecutionArn": st.just(ARN) | _ANYTHING,
            "CheckpointToken": st.just(TOKEN) | _ANYTHING,
            "InitialExecutionState": _ANYTHING
            | st.fixed_dictionaries({"Operations": st.lists(_ANYTHING | operations())}),
        },
    ),
    st.sampled_from(FORMS),
)
def test_anything_is_an_event_or_a_decoding_error(sent: Any, form: Any) -> None:
    try:
        ref = ExecutionRef.from_event(form.values[0](sent))
    except DecodingError:
        return
    repr([each.to_dict() for each in inline(ref)])


@few
@given(st.lists(operations(), max_size=2))
def test_a_reference_from_an_event_hashes_pickles_and_hides_its_contents(
    raws: list[dict[str, Any]],
) -> None:
    sent = event(*({**raw, "StartTimestamp": 1, "EndTimestamp": 1} for raw in raws))
    # ISO times of nested details are the same in both forms.
    ref, same = ExecutionRef.from_event(sent), ExecutionRef.from_event(as_body(sent))
    assert ref == same
    assert hash(ref) == hash(same)
    assert pickle.loads(pickle.dumps(ref)) == ref  # noqa: S301
    assert {ref: 1}[same] == 1
    assert repr(ref) == f"ExecutionRef(arn={ARN!r})"


def test_what_an_event_held_is_part_of_the_comparison() -> None:
    plain = ExecutionRef(ARN, TOKEN)
    held = ExecutionRef.from_event(event(operation()))
    assert plain != held
    assert held != ExecutionRef.from_event(event(operation(Id="other")))
