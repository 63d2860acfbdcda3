"""The bodies the service answers with: operations of every type and status, from a seed."""

from __future__ import annotations

import random
from typing import Any

import orjson

from .cases import Case, operation_ids

# Type, kinds of it, member with its details; a type stands here as often as it is to occur.
_STEP = ("STEP", ("Step", "WaitForCondition"), "StepDetails")
_CONTEXT = ("CONTEXT", ("RunInChildContext", "Map", "ParallelBranch"), "ContextDetails")
_WAIT = ("WAIT", ("Wait",), "WaitDetails")
_CALLBACK = ("CALLBACK", ("Callback",), "CallbackDetails")
_INVOKE = ("CHAINED_INVOKE", ("ChainedInvoke",), "ChainedInvokeDetails")
_MIX = (_STEP,) * 12 + (_CONTEXT,) * 3 + (_WAIT,) * 2 + (_CALLBACK,) * 2 + (_INVOKE,)
_STATUSES = ("SUCCEEDED",) * 14 + ("FAILED", "FAILED", "STARTED", "PENDING", "READY", "TIMED_OUT")
_ENDED = frozenset(("SUCCEEDED", "FAILED", "TIMED_OUT"))
_START = 1_767_225_600


def page_body(case: Case, variant: int, offset: int, max_items: int) -> bytes:
    """One page, encoded; `NextMarker` comes last, where a reader without a parser finds it."""
    end = offset + max_items
    page: dict[str, Any] = {"Operations": operations(case, variant)[offset:end]}
    if end < case.operations:
        page["NextMarker"] = f"{end:048x}"
    return orjson.dumps(page)


def operations(case: Case, variant: int) -> list[dict[str, Any]]:
    """Every operation of one variant: an EXECUTION first, then a mix."""
    chance = random.Random(variant)  # noqa: S311
    ids = operation_ids(variant, case.operations)
    first = {
        "Id": ids[0],
        "Name": f"order-{variant}",
        "Type": "EXECUTION",
        "StartTimestamp": _START,
        "Status": "STARTED",
        "ExecutionDetails": {"InputPayload": _payload(chance, case.payload_bytes)},
    }
    return [first, *(_one(chance, case, ids, place) for place in range(1, case.operations))]


def _one(chance: random.Random, case: Case, ids: tuple[str, ...], place: int) -> dict[str, Any]:
    kind, sub_types, member = chance.choice(_MIX)
    status = chance.choice(_STATUSES)
    started = _START + place + chance.randrange(1000) / 1000
    made: dict[str, Any] = {"Id": ids[place]}
    if place > 20 and chance.random() < 0.3:
        made["ParentId"] = ids[place // 20]
    made["Name"] = f"{kind.lower()}-{place}"
    made["Type"] = kind
    made["SubType"] = chance.choice(sub_types)
    made["StartTimestamp"] = started
    if status in _ENDED:
        made["EndTimestamp"] = started + chance.randrange(1, 90_000) / 1000
    made["Status"] = status
    made[member] = _details(chance, case, kind, status, started)
    return made


def _details(
    chance: random.Random, case: Case, kind: str, status: str, started: float
) -> dict[str, Any]:
    if kind == "WAIT":
        return {"ScheduledEndTimestamp": started + 60}
    details: dict[str, Any] = {}
    if kind == "STEP":
        details["Attempt"] = chance.choice((1, 1, 1, 2, 3))
        if status == "PENDING":
            details["NextAttemptTimestamp"] = started + 30
    if kind == "CALLBACK":
        details["CallbackId"] = f"{chance.getrandbits(256):064x}"
    if status == "FAILED":
        details["Error"] = {
            "ErrorType": "PaymentRefused",
            "ErrorMessage": f"card {chance.randrange(10**6)} was refused",
            "StackTrace": [f'File "/var/task/app.py", line {chance.randrange(900)}, in charge'],
        }
    elif status == "SUCCEEDED":
        details["Result"] = _payload(chance, case.payload_bytes)
    return details


def _payload(chance: random.Random, size: int) -> str:
    """A serialised result: JSON inside a JSON string, so every quote in it is escaped."""
    items = [
        {"sku": f"{chance.getrandbits(48):012x}", "quantity": chance.randrange(99)}
        for _ in range(max(1, size // 42))
    ]
    return orjson.dumps({"items": items}).decode()
