"""Events to operations, written from the service's model alone: what the tests compare with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Wire = dict[str, Any]

STARTED = {
    "ExecutionStarted": "EXECUTION",
    "ContextStarted": "CONTEXT",
    "StepStarted": "STEP",
    "WaitStarted": "WAIT",
    "CallbackStarted": "CALLBACK",
    "ChainedInvokeStarted": "CHAINED_INVOKE",
}
MEMBERS = {
    "EXECUTION": "ExecutionDetails",
    "CONTEXT": "ContextDetails",
    "STEP": "StepDetails",
    "WAIT": "WaitDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}


def folded(events: Iterable[Wire]) -> list[Wire]:
    """The operations that the events tell of, in the order of their start."""
    found: dict[str, Wire] = {}
    for event in sorted(events, key=lambda event: event["EventId"]):
        kind = event["EventType"]
        if kind in ("InvocationCompleted", "ExecutionPaused", "ExecutionResumed"):
            continue
        if kind in STARTED and event["Id"] not in found:
            found[event["Id"]] = _begun(event)
        elif kind == "StepStarted":
            _tried_again(found[event["Id"]])
        else:
            _ended(found[event["Id"]], event)
    return list(found.values())


def _begun(event: Wire) -> Wire:
    kind = STARTED[event["EventType"]]
    told = event[event["EventType"] + "Details"]
    details: Wire = {}
    if kind == "EXECUTION" and "Payload" in told["Input"]:
        details["InputPayload"] = told["Input"]["Payload"]
    elif kind == "WAIT":
        details["ScheduledEndTimestamp"] = told["ScheduledEndTimestamp"]
    elif kind == "CALLBACK":
        details["CallbackId"] = told["CallbackId"]
    elif kind == "STEP":
        details["Attempt"] = 0
    named = {name: event[name] for name in ("Name", "ParentId", "SubType") if name in event}
    return {
        "Id": event["Id"],
        **named,
        "Type": kind,
        "StartTimestamp": event["EventTimestamp"],
        "Status": "STARTED",
        MEMBERS[kind]: details,
    }


def _tried_again(step: Wire) -> None:
    step["Status"] = "STARTED"
    step["StepDetails"] = {"Attempt": step["StepDetails"]["Attempt"]}


def _ended(operation: Wire, event: Wire) -> None:
    told = event[event["EventType"] + "Details"]
    details = operation[MEMBERS[operation["Type"]]]
    retry = told.get("RetryDetails", {})
    if "CurrentAttempt" in retry:
        details["Attempt"] = retry["CurrentAttempt"]
    if operation["Type"] not in ("EXECUTION", "WAIT"):  # these keep no outcome in their details
        for member in ("Result", "Error"):
            if "Payload" in told.get(member, {}):
                details[member] = told[member]["Payload"]
    if "NextAttemptDelaySeconds" in retry:
        due = event["EventTimestamp"] + retry["NextAttemptDelaySeconds"]
        operation["Status"], details["NextAttemptTimestamp"] = "PENDING", round(due, 3)
        return
    stem = event["EventType"].removesuffix("TimedOut")
    ending = "TIMED_OUT" if stem != event["EventType"] else _last_word(event["EventType"])
    operation["Status"], operation["EndTimestamp"] = ending, event["EventTimestamp"]


def _last_word(event_type: str) -> str:
    return next(
        ending.upper()
        for ending in ("Succeeded", "Failed", "Stopped", "Cancelled")
        if event_type.endswith(ending)
    )


def as_told(operation: Wire) -> Wire:
    """The operation as a history can say it: no ReplayChildren, and READY is still PENDING."""
    member = MEMBERS[operation["Type"]]
    details = dict(operation[member])
    details.pop("ReplayChildren", None)
    details.pop("NextAttemptTimestamp", None)
    ready = operation["Status"] == "READY"
    return {**operation, member: details, "Status": "PENDING" if ready else operation["Status"]}
