"""Histories from a small model that knows what each event makes of its operation.

Each operation is a script: its events in order, each with the members that the operation has from
then on. The scripts are interleaved at random, numbered and timed, and may be cut off anywhere.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durastate import (
    DecodingError,
    ExecutionState,
    ExecutionStatus,
    HistoryEvent,
    Operation,
    decode_history,
    decode_page,
)
from durastate import operations_from_history as fold

from .strategies import as_body, few, plain_text
from .test_history import EVENT_TYPES

many = settings(few, max_examples=2000 if os.environ.get("DURASTATE_LONG") else 100)

Json = dict[str, Any]
_STARTED = {"Status": "STARTED"}
_ERRORS = st.fixed_dictionaries(
    {}, optional={"ErrorType": plain_text, "StackTrace": st.lists(plain_text, max_size=2)}
)
_SECONDS = st.integers(1, 10**7)
_NAMES = st.fixed_dictionaries({}, optional={"Name": plain_text, "SubType": plain_text})


@dataclass
class Payload:
    """A payload as an event wraps it, and as its operation has it."""

    wrapped: Json
    member: Json
    truncated: list[str]


@dataclass
class Script:
    """One operation: `changes` are event types, their details, and what is so from then on."""

    kind: str
    names: Json
    changes: list[tuple[str, Json, Json]] = field(default_factory=list)

    def add(self, event_type: str, told: Json, then: Json, *payloads: Payload) -> None:
        truncated = [name for payload in payloads for name in payload.truncated]
        self.changes.append(
            (event_type, told, then | ({"Truncated": truncated} if truncated else {}))
        )


@st.composite
def payloads(draw: st.DrawFn, name: str) -> Payload:
    value = draw(st.one_of(st.none(), _ERRORS if name == "Error" else plain_text))
    truncated = draw(st.sampled_from((None, False, True)))
    wrapped = {} if truncated is None else {"Truncated": truncated}
    member = {} if value is None else {name: value}
    return Payload(
        wrapped | ({} if value is None else {"Payload": value}), member, [name] if truncated else []
    )


@st.composite
def steps(draw: st.DrawFn, script: Script) -> None:
    for attempt in range(1, draw(st.integers(1, 3)) + 1):
        script.add("StepStarted", {}, _STARTED | {"StepDetails": {"Attempt": attempt - 1}})
        outcome, name = draw(st.sampled_from((("Failed", "Error"), ("Succeeded", "Result"))))
        payload = draw(payloads(name))
        delay = draw(st.one_of(st.none(), st.just(0), _SECONDS))
        told: Json = {name: payload.wrapped}
        # AWS's runners number it in different ways, or leave it out.
        retry = draw(
            st.sampled_from(({}, {"CurrentAttempt": attempt - 1}, {"CurrentAttempt": attempt}))
        )
        if delay is not None:
            retry = retry | {"NextAttemptDelaySeconds": delay}
        if retry or draw(st.booleans()):
            told["RetryDetails"] = retry
        details: Json = {"Attempt": attempt, **payload.member}
        if delay is None:
            then = {"Status": outcome.upper(), "StepDetails": details, "EndTimestamp": 0}
            return script.add(f"Step{outcome}", told, then, payload)
        details["NextAttemptTimestamp"] = delay
        script.add(f"Step{outcome}", told, {"Status": "PENDING", "StepDetails": details}, payload)
    return None


@st.composite
def others(draw: st.DrawFn, script: Script) -> None:
    """Everything but a step: it starts, and it may end in one of its ways."""
    stem, member, told, kept, given, endings = _OTHERS[script.kind]
    first = [draw(payloads("InputPayload"))] if given else []
    started = {"Input": first[0].wrapped} if first else told
    lasting = first[0].member if first else kept
    script.add(f"{stem}Started", started, _STARTED | _details(member, lasting), *first)
    if first:
        _pauses(draw, script, lasting, first[0])
    ending = draw(st.sampled_from(endings))
    name = "Result" if ending == "Succeeded" else "Error"
    last = (
        draw(payloads(name))
        if script.kind != "WAIT" or ending != "Succeeded"
        else Payload({}, {}, [])
    )
    status = {"TimedOut": "TIMED_OUT"}.get(ending, ending.upper())
    then = {"Status": status, "EndTimestamp": 0, **_details(member, lasting | last.member)}
    script.add(f"{stem}{ending}", {name: last.wrapped, "Duration": 5}, then, *first, last)


def _pauses(draw: st.DrawFn, script: Script, lasting: Json, given: Payload) -> None:
    """Pauses and resumptions between the start of an execution and its end."""
    for _ in range(draw(st.integers(0, 2))):
        reason = draw(st.sampled_from((None, "deploy")))
        truncated = draw(st.booleans())
        asked: Json = {"PauseRequestTimestamp": 9, "ExecutionTimeoutPaused": draw(st.booleans())}
        pause = asked | ({} if reason is None else {"Reason": reason})
        wrapped = {"Truncated": truncated} | ({} if reason is None else {"Payload": reason})
        then = _STARTED | _details("ExecutionDetails", lasting | {"PauseDetails": pause})
        about = Payload(wrapped, {}, ["Reason"] if truncated else [])
        script.add("ExecutionPaused", asked | {"Reason": wrapped}, then, given, about)
        if draw(st.booleans()):
            back = {"ResumeRequestTimestamp": 10, "Reason": {"Payload": "deployed"}}
            then = _STARTED | _details("ExecutionDetails", lasting)
            script.add("ExecutionResumed", back, then, given)


def _details(member: str, details: Json) -> Json:
    return {member: details} if details else {}


# Kind: stem, details, what the start tells, what of that stays, whether it has input, endings.
_OTHERS: dict[str, tuple[str, str, Json, Json, bool, tuple[str, ...]]] = {
    "EXECUTION": (
        *("Execution", "ExecutionDetails", {}, {}, True),
        ("Succeeded", "Failed", "TimedOut", "Stopped"),
    ),
    "CONTEXT": ("Context", "ContextDetails", {}, {}, False, ("Succeeded", "Failed")),
    "WAIT": (
        *("Wait", "WaitDetails", {"Duration": 5, "ScheduledEndTimestamp": 7}),
        *({"ScheduledEndTimestamp": 7}, False, ("Succeeded", "Cancelled")),
    ),
    "CALLBACK": (
        *("Callback", "CallbackDetails", {"CallbackId": "cb", "Timeout": 9}),
        *({"CallbackId": "cb"}, False, ("Succeeded", "Failed", "TimedOut")),
    ),
    "CHAINED_INVOKE": (
        *("ChainedInvoke", "ChainedInvokeDetails"),
        *({"FunctionName": "f", "Input": {"Payload": "no member of the operation"}}, {}, False),
        ("Succeeded", "Failed", "TimedOut", "Stopped"),
    ),
}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Json], list[Json]]:
    """Events, and the operations that they tell of."""
    scripts = []
    for place in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(("STEP", "STEP", *_OTHERS)))
        names: Json = {"Id": f"op-{place}"}
        if place and draw(st.booleans()):
            names["ParentId"] = f"op-{draw(st.integers(0, place - 1))}"
        names |= draw(
            st.fixed_dictionaries({}, optional={"Name": plain_text, "SubType": plain_text})
        )
        script = Script(kind, names)
        draw(steps(script) if kind == "STEP" else others(script))
        scripts.append(script)
    turns = [script for script in scripts for _ in script.changes]
    order = draw(st.permutations(turns))
    return _told(draw, order[: draw(st.integers(0, len(order)))])


def _told(draw: st.DrawFn, order: list[Script]) -> tuple[list[Json], list[Json]]:
    events: list[Json] = []
    operations: dict[str, Json] = {}
    done: dict[str, int] = {}
    number, when = 0, 1_700_000_000.0
    for script in order:
        number += draw(st.integers(1, 3))
        when += draw(st.integers(0, 400)) / 8
        if not draw(st.integers(0, 4)):
            events.append({"EventId": number, "EventType": draw(st.sampled_from(_ABOUT_NOTHING))})
            number += 1
        id_ = script.names["Id"]
        event_type, told, then = script.changes[done.get(id_, 0)]
        done[id_] = done.get(id_, 0) + 1
        events.append({"EventId": number, "EventType": event_type, "EventTimestamp": when})
        events[-1] |= script.names | ({f"{event_type}Details": told} if told else {})
        start = operations.get(id_, {}).get("StartTimestamp", when)
        operations[id_] = script.names | {"Type": script.kind, "StartTimestamp": start} | then
        if "EndTimestamp" in then:
            operations[id_]["EndTimestamp"] = when
        details = then.get("StepDetails", {})
        if "NextAttemptTimestamp" in details:
            due = when + details["NextAttemptTimestamp"]
            operations[id_]["StepDetails"] = details | {"NextAttemptTimestamp": due}
    return events, list(operations.values())


_ABOUT_NOTHING = ("InvocationCompleted", "StepHeartbeat", "new", "")


def events_of(*raws: Json) -> list[HistoryEvent]:
    return decode_history(as_body({"Events": raws})).events


def told(event_type: str, **details: Any) -> Json:
    """An event at second 10 of the operation `op`, with its details."""
    event = {"EventType": event_type, "Id": "op", "EventTimestamp": 10}
    return event | {f"{event_type}Details": details}


def numbered(*raws: Json) -> list[HistoryEvent]:
    """These events, numbered in this order."""
    return events_of(*({"EventId": number, **raw} for number, raw in enumerate(raws, 1)))


def folded(*raws: Json) -> list[Json]:
    return [operation.to_dict() for operation in fold(numbered(*raws))]


@many
@given(histories(), st.integers(0, 2**32).map(Random))
def test_a_history_tells_of_the_operations_that_the_model_says(
    history: tuple[list[Json], list[Json]], random: Random
) -> None:
    events, operations = history
    found = fold(events_of(*events))
    # In whatever order they come, and where some come twice.
    arrived = random.sample([*events, *events[:3]], k=len(events) + len(events[:3]))
    assert fold(events_of(*arrived)) == fold(events_of(*events[::-1])) == found
    assert [each.to_dict() for each in found] == operations
    # In the form that GetDurableExecutionState has, with members of its own.
    assert decode_page(as_body({"Operations": operations})).operations == found
    assert [list(each.truncated) for each in found] == [
        each.get("Truncated", []) for each in operations
    ]


def test_two_events_of_one_millisecond_may_come_in_either_order() -> None:
    """As the service has sent them: the context's end is event 3, and comes after event 4."""
    context = told("ContextStarted") | {"EventId": 2, "Id": "c"}
    wait = told("WaitStarted", ScheduledEndTimestamp=15) | {"EventId": 4, "Id": "w"}
    ended = told("ContextSucceeded") | {"EventId": 3, "Id": "c"}
    awaited = told("WaitSucceeded") | {"EventId": 5, "Id": "w", "EventTimestamp": 15}
    sent = events_of(context, wait, ended, awaited)
    assert [(each.id, each.status) for each in fold(sent)] == [
        ("c", "SUCCEEDED"),
        ("w", "SUCCEEDED"),
    ]
    # Their order by number is that of their start as well.
    assert [each.id for each in fold(sent[::-1])] == ["c", "w"]


def test_one_id_with_two_events_is_an_error_wherever_the_second_comes() -> None:
    started, other = told("StepStarted") | {"EventId": 7}, told("WaitStarted") | {"EventId": 7}
    between = told("StepSucceeded") | {"EventId": 8}
    with pytest.raises(DecodingError) as caught:
        fold(events_of(started, between, other))
    assert caught.value.path == "Events[2].EventId"
    assert fold(events_of(started, between, started)) == fold(events_of(started, between))
    # Also one that is about no operation, and with an event without a number between them.
    invoked = {"EventType": "InvocationCompleted", "EventId": 7}
    for pair in ((started, invoked), (invoked, started), (invoked, invoked | {"Name": "x"})):
        with pytest.raises(DecodingError):
            fold(events_of(*pair))
    unnumbered = told("StepSucceeded") | {"Id": "other"}
    done = told("StepSucceeded") | {"EventId": 7}
    assert [each.status for each in fold(events_of(done, unnumbered, done))] == ["SUCCEEDED"] * 2


@settings(many, max_examples=many.max_examples // 2)
@given(histories(), st.data())
def test_whatever_the_events_are_it_is_operations_or_one_of_our_errors(
    history: tuple[list[Json], list[Json]], data: st.DataObject
) -> None:
    events, _ = history
    mangled: list[Json] = []
    for event in data.draw(st.permutations(events)) if data.draw(st.booleans()) else events:
        change = data.draw(st.sampled_from(("keep", "keep", "drop", "type", "id", "time", "twice")))
        changed = dict(event)
        if change == "type":
            changed["EventType"] = data.draw(st.sampled_from([*EVENT_TYPES, "DreamStarted"]))
        if change == "id":
            changed["Id"] = data.draw(st.sampled_from(["op-0", "op-1", "other"]))
        if change == "time":
            changed["EventTimestamp"] = data.draw(st.sampled_from([0, 253_402_300_799, None]))
        mangled += [] if change == "drop" else [changed] * (2 if change == "twice" else 1)
    try:
        operations = fold(events_of(*mangled))
    except DecodingError as error:
        assert error.path.startswith("Events[")  # noqa: PT017
        return
    for operation in operations:
        assert read_everything(operation)


def read_everything(operation: Operation) -> bool:
    repr(operation)
    assert operation.start_timestamp
    for name in ("execution", "context", "step", "wait", "callback", "chained_invoke"):
        details = getattr(operation, f"{name}_details")
        for member in dir(type(details)) if details is not None else ():
            getattr(details, member)
    return operation == operation  # noqa: PLR0124


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_event_type_of_the_model_is_about_an_operation_or_about_none(event_type: str) -> None:
    operations = folded(told(event_type))
    if event_type == "InvocationCompleted":
        assert operations == []
        return
    [operation] = operations
    if event_type in ("ExecutionPaused", "ExecutionResumed"):
        assert (operation["Type"], operation["Status"]) == ("EXECUTION", "STARTED")
        return
    stem = operation["Type"].title().replace("_", "")
    assert event_type == stem + operation["Status"].title().replace("_", "")
    assert ("EndTimestamp" in operation) == (not event_type.endswith("Started"))


def test_a_later_event_takes_back_what_an_earlier_one_said() -> None:
    failed = told("StepFailed", Error={"Payload": {"ErrorType": "E"}, "Truncated": True})
    failed["StepFailedDetails"]["RetryDetails"] = {"NextAttemptDelaySeconds": 60}
    [pending] = folded(failed)
    [again] = folded(failed, told("StepStarted"))
    [done] = folded(failed, told("StepStarted"), told("StepSucceeded", Result={"Payload": "1"}))

    error = {"ErrorType": "E"}
    assert pending["StepDetails"] == {"Attempt": 1, "NextAttemptTimestamp": 70, "Error": error}
    assert (pending["Status"], pending["Truncated"]) == ("PENDING", ["Error"])
    assert "EndTimestamp" not in pending
    assert again["StepDetails"] == {"Attempt": 1}
    assert (again["Status"], "Truncated" in again) == ("STARTED", False)
    assert done["StepDetails"] == {"Attempt": 2, "Result": "1"}
    assert (done["Status"], done["EndTimestamp"]) == ("SUCCEEDED", 10)


def test_attempts_whose_events_are_missing_count_by_the_number_that_the_service_gives() -> None:
    [step] = folded(told("StepFailed", RetryDetails={"CurrentAttempt": 4}))
    assert (step["Status"], step["StepDetails"]) == ("FAILED", {"Attempt": 4})


def test_a_payload_that_is_cut_off_or_left_out_is_said_to_be() -> None:
    cut = {"Payload": '"the first ki', "Truncated": True}
    started = told("ExecutionStarted", Input=cut)
    ended = told("ExecutionSucceeded", Result={"Truncated": True})
    [execution] = fold(numbered(started, ended))

    assert execution.truncated == ("InputPayload", "Result")
    assert execution.to_dict()["ExecutionDetails"] == {"InputPayload": '"the first ki'}
    assert fold(events_of(told("ExecutionStarted", Input={"Payload": "7"})))[0].truncated == ()


def test_what_only_a_history_has_can_be_read() -> None:
    error = {"Payload": {"ErrorType": "E"}}
    [wait] = fold(events_of(told("WaitCancelled", Error=error)))
    [failed] = fold(events_of(told("ExecutionFailed", Error=error)))
    [succeeded] = fold(events_of(told("ExecutionSucceeded", Result={"Payload": "7"})))

    assert wait.wait_details is not None
    assert failed.execution_details is not None
    assert succeeded.execution_details is not None
    assert wait.wait_details.error == failed.execution_details.error
    assert wait.wait_details.error is not None
    assert wait.wait_details.error.error_type == "E"
    assert succeeded.execution_details.result == "7"


@pytest.mark.parametrize("delay", [0, -3])
def test_a_delay_of_nothing_is_another_attempt_and_no_end(delay: int) -> None:
    retry = {"CurrentAttempt": 1, "NextAttemptDelaySeconds": delay}
    started, failed = told("StepStarted"), told("StepFailed", RetryDetails=retry)
    [pending] = folded(started, failed)
    assert (pending["Status"], "EndTimestamp" in pending) == ("PENDING", False)
    assert pending["StepDetails"] == {"Attempt": 1, "NextAttemptTimestamp": 10}
    [done] = folded(started, failed, started, told("StepSucceeded", RetryDetails={}))
    assert (done["Status"], done["StepDetails"]) == ("SUCCEEDED", {"Attempt": 2})


def test_a_delay_of_nothing_may_be_said_to_be_an_end_as_awss_emulator_means_it() -> None:
    for delay, status in ((0, "FAILED"), (1, "PENDING")):
        failed = told("StepFailed", RetryDetails={"NextAttemptDelaySeconds": delay})
        [step] = fold(numbered(told("StepStarted"), failed), zero_delay_ends=True)
        assert step.status == status


def state(*raws: Json) -> ExecutionState:
    return ExecutionState("arn", fold(numbered(*raws)), source="history")


def test_a_pause_is_told_until_it_is_over() -> None:
    started = told("ExecutionStarted", Input={"Payload": "7"})
    asked = {"PauseRequestTimestamp": 8, "ExecutionTimeoutPaused": True}
    paused = told("ExecutionPaused", **asked, Reason={"Payload": "SECRET"})
    back = told("ExecutionResumed", ResumeRequestTimestamp=9, Reason={"Payload": "SECRET"})

    found = state(started, paused)
    assert found.status is ExecutionStatus.PAUSED
    assert found.execution is not None
    assert found.execution.execution_details is not None
    pause = found.execution.execution_details.pause_details
    assert pause is not None
    assert pause.to_dict() == asked | {"Reason": "SECRET"}
    assert found.execution.execution_details.input_payload == "7"
    assert found.execution.status == "STARTED"
    assert "SECRET" not in repr([found, found.operations, pause])

    resumed = state(started, paused, back)
    assert resumed.status is ExecutionStatus.RUNNING
    assert folded(started, paused, back) == folded(started)
    assert state(started, paused, back, paused).status is ExecutionStatus.PAUSED
    ended = told("ExecutionStopped")
    for events in ((paused, ended), (ended, paused), (ended, back)):
        assert state(started, *events).status is ExecutionStatus.STOPPED
    without = state(started, told("ExecutionPaused", Reason={"Truncated": True}))
    assert without.execution is not None
    assert without.execution.truncated == ("Reason",)


def test_where_an_execution_stands_is_said_in_the_words_of_a_listing() -> None:
    assert state().status is None
    assert state(told("StepStarted")).status is None
    for ending in ("Succeeded", "Failed", "TimedOut", "Stopped"):
        found = state(told("ExecutionStarted"), told(f"Execution{ending}")).status
        assert type(found) is ExecutionStatus
        assert str(found).replace("_", "") == ending.upper()


def test_a_delay_beyond_all_time_ends_with_it() -> None:
    [step] = fold(events_of(told("StepFailed", RetryDetails={"NextAttemptDelaySeconds": 10**15})))
    assert step.step_details is not None
    assert step.step_details.next_attempt_timestamp is not None
    assert step.step_details.next_attempt_timestamp.year == 9999


def test_event_types_and_kinds_that_are_new_are_understood_by_their_names() -> None:
    [step] = folded(told("StepStarted"), told("StepCancelled", Error={"Payload": {}}))
    [dream] = folded(told("DayDreamTimedOut", Result={"Payload": "1"}))

    assert (step["Status"], step["StepDetails"]) == ("CANCELLED", {"Attempt": 1, "Error": {}})
    assert (dream["Type"], dream["Status"]) == ("DAY_DREAM", "TIMED_OUT")


def test_an_event_type_that_no_service_has_is_about_nothing() -> None:
    assert folded(told("A" + "aB" * 1_000 + "Started"), told("StepStarted")) == folded(
        told("StepStarted")
    )


def test_new_types_of_events_about_what_is_known_change_nothing() -> None:
    started = told("CallbackStarted", CallbackId="cb")
    beat = told("CallbackHeartbeatStarted") | {"EventTimestamp": 11}
    invoked = {"EventType": "InvocationStarted", "EventTimestamp": 10}
    expected = folded(started)

    assert folded(started, beat, invoked) == expected
    # Before it as well, where it could have been a new type of operation.
    [operation] = folded(beat | {"EventTimestamp": 10}, started)
    assert operation == expected[0]


def test_an_execution_without_an_id_gets_the_one_that_is_given() -> None:
    event = told("ExecutionStarted")
    del event["Id"]
    [operation] = fold(events_of(event), execution_id="0f3a-9")
    assert operation.id == "0f3a-9"
    assert [each.id for each in fold(events_of(event))] == [""]


@pytest.mark.parametrize(
    ("events", "path"),
    [
        ([told("StepStarted"), told("WaitSucceeded")], "Events[1].EventType"),
        (
            [told("StepStarted") | {"EventId": 2}, told("StepFailed") | {"EventId": 2}],
            "Events[1].EventId",
        ),
        ([told("StepStarted") | {"Id": None}], "Events[0].Id"),
        ([told("StepStarted") | {"EventTimestamp": None}], "Events[0].EventTimestamp"),
    ],
)
def test_events_that_cannot_be_of_one_history_are_an_error(events: list[Json], path: str) -> None:
    with pytest.raises(DecodingError) as caught:
        fold(numbered(*events))
    assert caught.value.path == path


def test_events_may_come_one_by_one_and_only_once() -> None:
    events = numbered(told("StepStarted"), told("StepSucceeded"))
    assert fold(each for each in events) == fold(events)
    assert fold(iter(())) == []
