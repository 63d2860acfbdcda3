"""What hypothesis draws from: botocore's model of the service, and the forms it allows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large)
_LONG = bool(os.environ.get("DURASTATE_LONG"))


def _examples(count: int) -> settings:
    """`count` examples, the same each time; in the long run ten times as many."""
    return settings(
        max_examples=count * 10 if _LONG else count,
        deadline=None,
        derandomize=True,
        suppress_health_check=_SLOW_IS_FINE,
    )


many, some, few = _examples(300), _examples(100), _examples(30)

ARN = (
    "arn:aws:lambda:eu-west-1:123456789012:function:orders:$LATEST/durable-execution/order-1/0f3a-9"
)


# The data of another botocore than the installed one, which aiobotocore may hold back.
_OTHER_MODEL = os.environ.get("DURASTATE_MODEL")


@cache
def call_model(operation: str) -> OperationModel:
    """The model of a call: the installed botocore's, or the one that DURASTATE_MODEL names."""
    loader = (
        Loader([_OTHER_MODEL], include_default_search_paths=False) if _OTHER_MODEL else Loader()
    )
    service = ServiceModel(loader.load_service_model("lambda", "service-2"), "lambda")
    return service.operation_model(operation)


#: What the model has since botocore 1.44.8, by the words of `docs/api-coverage.md`.
SINCE_1_44_8 = {
    "execution status": {"DELETING", "PAUSING", "PAUSED"},
    "event type": {"ExecutionPaused", "ExecutionResumed"},
    "history member": {"Events[].ExecutionPausedDetails", "Events[].ExecutionResumedDetails"},
    "description member": {
        "ExpectedExecutionTimeoutTimestamp",
        "PauseDetails",
        *(f"PauseDetails.{name}" for name in ("PauseRequestTimestamp", "Reason")),
        "PauseDetails.ExecutionTimeoutPaused",
    },
}


def modelled(kind: str, found: Iterable[str]) -> set[str]:
    """What the model has of a kind, and what an older one cannot have yet."""
    described = call_model("GetDurableExecution").output_shape
    assert isinstance(described, StructureShape)
    is_older = "PauseDetails" not in described.members
    return {*found, *(SINCE_1_44_8.get(kind, ()) if is_older else ())}


def get_state_model() -> OperationModel:
    """That of GetDurableExecutionState."""
    return call_model("GetDurableExecutionState")


# Requests

_WORD = st.text("abcXYZ019_-", min_size=1, max_size=24)
_PARTITIONS = st.sampled_from(
    ("aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc")
)
REGIONS = st.sampled_from(
    ("eu-west-1", "us-east-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1")
)
_VERSIONS = st.one_of(
    st.just("$LATEST"), st.just("$LATEST.PUBLISHED"), st.integers(0, 10**9).map(str)
)


@st.composite
def arns(draw: st.DrawFn) -> str:
    """ARNs of every form that the model's pattern allows."""
    account = draw(st.text("0123456789", min_size=12, max_size=12))
    return (
        f"arn:{draw(_PARTITIONS)}:lambda:{draw(REGIONS)}:{account}"
        f":function:{draw(_WORD)}:{draw(_VERSIONS)}"
        f"/durable-execution/{draw(_WORD)}/{draw(_WORD)}"
    )


@st.composite
def function_names(draw: st.DrawFn) -> str:
    """Names, partial ARNs and ARNs, each with a version, an alias or neither."""
    account = draw(st.text("0123456789", min_size=12, max_size=12))
    arn = f"arn:{draw(_PARTITIONS)}:lambda:{draw(REGIONS)}:{account}:function:"
    start = draw(st.sampled_from(("", f"{account}:function:", arn)))
    end = draw(st.one_of(st.just(""), _VERSIONS.map(":{}".format), st.just(":live")))
    return f"{start}{draw(_WORD)}{end}"


# Keys of AWS's emulator, and keys that a hand-written server might use.
other_keys = st.one_of(
    st.builds("{}/{}".format, st.uuids(), _WORD),
    st.text("abc/%:~. +ü$*'()!,@", min_size=1, max_size=30).filter(lambda key: key not in "../"),
)

_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
tokens = st.builds(
    "{}{}".format,
    st.text(_BASE64, min_size=1, max_size=60),
    st.sampled_from(("", "=", "==")),
)
_NO_SURROGATES = st.characters(exclude_categories=("Cs",))
plain_text = st.text(_NO_SURROGATES, max_size=20)
markers = st.text(_NO_SURROGATES, min_size=1, max_size=30)

# Pages

# Any string that JSON can write, lone surrogates included.
_ANY_TEXT = st.one_of(
    st.text(max_size=12), st.just("\ud800"), st.just('{"json": [1, "ü"]}'), st.just("")
)
# Microseconds survive the way over a float of epoch seconds until the year 2242.
_MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001
_ZONES = st.one_of(
    st.just(timezone.utc),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


moments = st.builds(lambda moment, zone: moment.replace(tzinfo=zone), _MOMENTS, _ZONES)


@st.composite
def iso_times(draw: st.DrawFn) -> str:
    """ISO 8601 with an offset or a Z, with and without fractions."""
    moment = draw(_MOMENTS).replace(tzinfo=draw(_ZONES))
    text = moment.isoformat(timespec=draw(st.sampled_from(("seconds", "milliseconds", "auto"))))
    return text.replace("+00:00", draw(st.sampled_from(("Z", "+00:00"))))


_TIMES = st.one_of(
    st.integers(0, 4_102_444_800),
    st.integers(0, 4_102_444_800_000).map(lambda milliseconds: milliseconds / 1000),
    st.floats(-62_135_596_800, 253_402_300_799, allow_nan=False),
    iso_times(),
)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9), _ANY_TEXT
)
unknown_values = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
_UNKNOWN_NAMES = st.text("Zzüß", min_size=1, max_size=4)


def _scalar(shape: Shape) -> st.SearchStrategy[Any] | None:
    match shape.type_name:
        case "string":
            known = getattr(shape, "enum", None)
            values = st.sampled_from(known) if known else _ANY_TEXT
            return st.one_of(values, st.just("NEW_IN_2031")) if known else values
        case "integer":
            return st.integers(0, 2**31)
        case "boolean":
            return st.booleans()
        case "timestamp":
            return _TIMES
    return None


@cache
def wire(shape: Shape) -> st.SearchStrategy[Any]:
    """JSON values that `shape` allows: each member there or not or null, and unknown ones."""
    scalar = _scalar(shape)
    if scalar is not None:
        return scalar
    if shape.type_name == "list":
        return st.lists(wire(shape.member), max_size=3)
    assert shape.type_name == "structure", shape.type_name
    required = {
        name: wire(member)
        for name, member in shape.members.items()
        if name in shape.required_members
    }
    optional = {
        name: st.one_of(wire(member), wire(member), st.none())
        for name, member in shape.members.items()
        if name not in required
    }
    known = st.fixed_dictionaries(required, optional=optional)
    unknown = st.dictionaries(_UNKNOWN_NAMES, unknown_values, max_size=1)
    return st.builds(lambda more, members: {**more, **members}, unknown, known)


@cache
def pages() -> st.SearchStrategy[dict[str, Any]]:
    """Whole pages of GetDurableExecutionState, as JSON values."""
    return wire(get_state_model().output_shape)


@cache
def operations() -> st.SearchStrategy[dict[str, Any]]:
    """Single operations, as JSON values."""
    return wire(get_state_model().output_shape.members["Operations"].member)


def as_body(value: Any) -> bytes:
    """JSON as a service may send it; lone surrogates as escapes."""
    return json.dumps(value).encode()


def operation(**members: Any) -> dict[str, Any]:
    """A well-formed operation with these members, in the wire form."""
    return {"Id": "op", "Type": "STEP", "StartTimestamp": 1, "Status": "STARTED", **members}


def page(*each: Any, **members: Any) -> bytes:
    """The body of a page."""
    return as_body({"Operations": list(each), **members})
