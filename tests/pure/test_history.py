"""The events of a history equal what botocore's parser makes of them, and a file holds the same."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from botocore import xform_name
from botocore.model import Shape, StructureShape
from hypothesis import given, settings
from hypothesis import strategies as st

from durastate import (
    DecodingError,
    HistoryEvent,
    HistoryPage,
    decode_history,
)

from .oracle import parsed_by_botocore, without_nulls
from .strategies import as_body, call_model, few, modelled, unknown_values, wire


def output_shape() -> StructureShape:
    """The model of the answer of GetDurableExecutionHistory."""
    shape = call_model("GetDurableExecutionHistory").output_shape
    assert isinstance(shape, StructureShape)
    return shape


EVENT = output_shape().members["Events"].member
EVENT_TYPES = sorted(modelled("event type", EVENT.members["EventType"].enum))
many = settings(few, max_examples=1000 if os.environ.get("DURASTATE_LONG") else 25)
_ATTRIBUTES = ("EventId", "EventType", "SubType", "Id", "Name", "ParentId", "EventTimestamp")


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    """Pages as JSON: events with the details of their own type, of others, and unknown ones."""
    events = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from([*EVENT_TYPES, "NewIn2031"]))
        members = {*_ATTRIBUTES, f"{kind}Details", draw(st.sampled_from(list(EVENT.members)))}
        event = {
            name: draw(st.one_of(wire(EVENT.members[name]), st.none()))
            for name in sorted(members & set(EVENT.members))
            if draw(st.integers(0, 5))
        }
        event |= draw(st.dictionaries(st.text("Zzüß", min_size=1, max_size=3), unknown_values))
        events.append(event | ({"EventType": kind} if draw(st.booleans()) else {}))
    marker = draw(st.sampled_from([{}, {"NextMarker": None}, {"NextMarker": "more"}]))
    return {"Events": events, **marker}


def event(**members: Any) -> dict[str, Any]:
    """A well-formed event with these members."""
    return {"EventId": 1, "EventType": "StepStarted", "Id": "op", "EventTimestamp": 1, **members}


def decoded(*each: Any) -> list[HistoryEvent]:
    return decode_history(as_body({"Events": each})).events


@many
@given(histories())
def test_every_event_equals_what_botocore_parses(page: dict[str, Any]) -> None:
    body = as_body(page)
    parsed = parsed_by_botocore(output_shape(), body)
    ours = decode_history(body)

    for mine, theirs in zip(ours, parsed["Events"], strict=True):
        for name in _ATTRIBUTES:
            assert getattr(mine, xform_name(name)) == theirs.get(name), name
    # Botocore reads what `to_dict` gives back as it read what was sent.
    again = as_body({"Events": [each.to_dict() for each in ours]})
    assert parsed_by_botocore(output_shape(), again)["Events"] == parsed["Events"]
    assert ours.next_marker == parsed.get("NextMarker")


@many
@given(histories())
def test_nothing_of_an_event_is_lost(page: dict[str, Any]) -> None:
    ours = decode_history(as_body(page))
    assert [each.to_dict() for each in ours] == [
        without_nulls(EVENT, each) for each in page["Events"]
    ]
    assert pickle.loads(pickle.dumps(ours)) == copy.deepcopy(ours) == ours  # noqa: S301


@many
@given(histories(), st.data())
def test_a_member_of_another_type_is_an_error_that_says_where(
    page: dict[str, Any], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(list(EVENT.members)))
    wrong: Any = [] if EVENT.members[name].type_name != "list" else {}
    events = [*page["Events"], {name: wrong}]
    with pytest.raises(DecodingError) as caught:
        decode_history(as_body({"Events": events}))
    assert caught.value.path == f"Events[{len(events) - 1}].{name}"


def leaves(shape: Shape, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all members that have none themselves."""
    for name, member in getattr(shape, "members", {}).items():
        if member.type_name == "structure":
            yield from leaves(member, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(leaves(EVENT)), ids=".".join)
def test_every_member_of_every_event_is_known(path: tuple[str, ...]) -> None:
    """Only the types of known members are checked, so one that AWS adds fails here."""
    wrong: Any = {}
    for name in reversed(path):
        wrong = {name: wrong}
    with pytest.raises(DecodingError) as caught:
        decoded(wrong)
    assert caught.value.path == ".".join(("Events[0]", *path))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", ""),
        (b"[]", ""),
        (b"{}", "Events"),
        (b'{"Events": {}}', "Events"),
        (b'{"Events": [7]}', "Events[0]"),
        (b'{"Events": [], "NextMarker": 7}', "NextMarker"),
        (as_body({"Events": [event(EventTimestamp=1e18)]}), "Events[0].EventTimestamp"),
        (as_body({"Events": [event(EventId=True)]}), "Events[0].EventId"),
        (
            as_body({"Events": [event(StepFailedDetails={"Error": {"Payload": "SECRET"}})]}),
            "Events[0].StepFailedDetails.Error.Payload",
        ),
        (
            as_body(
                {
                    "Events": [
                        event(WaitCancelledDetails={"Error": {"Payload": {"StackTrace": [7]}}})
                    ]
                }
            ),
            "Events[0].WaitCancelledDetails.Error.Payload.StackTrace[0]",
        ),
        (
            as_body({"Events": [event(Id="op"), event(StepSucceededDetails={"Result": "SECRET"})]}),
            "Events[1].StepSucceededDetails.Result",
        ),
    ],
)
def test_what_is_no_history_is_a_decoding_error(body: bytes, path: str) -> None:
    with pytest.raises(DecodingError) as caught:
        decode_history(body)
    assert caught.value.path == path
    assert "SECRET" not in str(caught.value)


def test_no_repr_shows_a_payload_or_a_callback_id() -> None:
    secret = {"Payload": "SECRET"}
    page = decode_history(
        as_body(
            {
                "Events": [
                    event(
                        CallbackStartedDetails={"CallbackId": "SECRET"},
                        CallbackSucceededDetails={"Result": secret},
                        Unknown="SECRET",
                    )
                ],
                "NextMarker": "SECRET",
            }
        )
    )
    assert repr(page) == "<HistoryPage of 1 events, more to come>"
    assert repr(page.events) == "[<HistoryEvent 1 StepStarted>]"
    assert repr(decoded({"EventType": "\x1b[2J"})) == "[<HistoryEvent None '\\x1b[2J'>]"


def test_changing_what_to_dict_gave_does_not_touch_the_event() -> None:
    [each] = decoded(event(StepSucceededDetails={"Result": {"Payload": "1"}}))
    each.to_dict()["StepSucceededDetails"]["Result"].clear()
    assert each.to_dict()["StepSucceededDetails"] == {"Result": {"Payload": "1"}}


def test_a_page_is_its_events() -> None:
    page = decode_history(as_body({"Events": [event(), event(EventId=2)], "NextMarker": ""}))
    assert len(page) == 2
    assert list(page) == page.events
    assert page.next_marker is None
    assert page == HistoryPage(page.events)
    assert page != HistoryPage(page.events[:1])
    assert page != HistoryPage(page.events, "more")
