"""One execution's operations, from a random source: the same numbers give the same story.

The story is told in start order, as the service returns it: a parent always stands before its
children. Two budgets keep the sizes exact. ``count`` operations are visible in a State answer; what
lies below a completed context without ReplayChildren is hidden there and comes on top, as long as
the execution stays within the service's maximum of 3,000.
"""

from __future__ import annotations

from hashlib import blake2b
from math import ceil
from random import Random
from typing import Any

Wire = dict[str, Any]

MAX_OPERATIONS = 3_000
TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "STOPPED"})

DETAILS = {
    "EXECUTION": "ExecutionDetails",
    "CONTEXT": "ContextDetails",
    "STEP": "StepDetails",
    "WAIT": "WaitDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}
_ENDINGS = {
    "CONTEXT": (("SUCCEEDED", "FAILED"), (93, 100)),
    "STEP": (("SUCCEEDED", "FAILED"), (94, 100)),
    "WAIT": (("SUCCEEDED", "CANCELLED"), (95, 100)),
    "CALLBACK": (("SUCCEEDED", "FAILED", "TIMED_OUT"), (84, 92, 100)),
    "CHAINED_INVOKE": (("SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"), (88, 93, 97, 100)),
}
_KINDS = (
    "Step",
    "Wait",
    "Callback",
    "ChainedInvoke",
    "WaitForCondition",
    "RunInChildContext",
    "Map",
    "Parallel",
    "WaitForCallback",
)
_KIND_WEIGHTS = (56, 66, 71, 78, 82, 88, 93, 97, 100)
_BRANCH = {"Map": "MapIteration", "Parallel": "ParallelBranch"}
_LEAF_TYPE = {
    "Step": "STEP",
    "Wait": "WAIT",
    "Callback": "CALLBACK",
    "ChainedInvoke": "CHAINED_INVOKE",
    "WaitForCondition": "STEP",
}
_DEEPEST = 4
_LIVE_SHARE = 0.04

_NOUNS = ("order", "invoice", "shipment", "refund", "basket", "customer", "stock", "parcel")
_VERBS = ("validate", "charge", "reserve", "notify", "fetch", "store", "approve", "reconcile")
_FAILURES = (
    ("TimeoutError", "the warehouse did not answer within 10 s"),
    ("PaymentDeclined", "card declined: insufficient funds"),
    ("ValueError", "quantity must be positive, got -1"),
    ("KeyError", "'sku'"),
    ("ServiceUnavailable", "503 from https://stock.example/v2/reserve"),
)
_FILLER = "Grüße aus Zürich: parcel ✓ 7 of 9, fragile, leave with a neighbour; " * 8
_ASCII = "abcdefghijklmnopqrstuvwxyz0123456789" * 32


class Story:
    """Builds the operations of one execution; :meth:`tell` does it once."""

    def __init__(
        self,
        random: Random,
        *,
        name: str,
        status: str,
        count: int,
        started: float,
        payload_size: int | None,
    ) -> None:
        self._random = random
        self._name = name
        self._status = status
        self._count = count
        self._spare = max(0, min(MAX_OPERATIONS, 2 * count) - count)
        self._clock = started
        self._payload_size = payload_size
        self._live_share: float = _LIVE_SHARE
        self._operations: list[Wire] = []

    def tell(self) -> list[Wire]:
        """All operations in start order, hidden ones included; the EXECUTION operation is first."""
        started = self._stamp(self._clock)
        details = {} if self._random.random() < 0.02 else {"InputPayload": self._payload()}
        execution = self._add(
            None, "EXECUTION", None, name=self._name, status=self._status, details=details
        )
        execution["StartTimestamp"] = started
        if self._status in ("SUCCEEDED", "FAILED"):
            self._live_share = 0
        self._fill(None, self._count - 1, depth=0)
        if self._status in TERMINAL:
            execution["EndTimestamp"] = self._tick()
        return self._operations

    def _fill(self, parent: str | None, count: int, depth: int) -> None:
        """Add exactly ``count`` operations below ``parent``, hidden grandchildren not counted."""
        while count > 0:
            count -= self._one(parent, count, depth)

    def _one(self, parent: str | None, room: int, depth: int) -> int:
        kind = _KINDS[self._pick(_KIND_WEIGHTS)]
        leaf = _LEAF_TYPE.get(kind)
        if leaf is None and (depth >= _DEEPEST or room < 2):
            kind, leaf = "Step", "STEP"
        if leaf is not None:
            self._leaf(parent, leaf, kind)
            return 1
        return self._context(parent, kind, room, depth)

    def _context(self, parent: str | None, kind: str, room: int, depth: int) -> int:
        """A context and what lies below it; returns how much of ``room`` that took."""
        wanted = 2 if kind == "WaitForCallback" else int(2 + self._random.expovariate(1 / 6))
        if kind in _BRANCH:
            wanted *= 1 + room // 100
        manner = self._random.random()
        if manner < 0.5 and self._spare >= wanted:
            self._spare -= wanted
            self._open_context(parent, kind, wanted, depth, self._ending("CONTEXT"), replay=False)
            return 1
        wanted = min(wanted, room - 1)
        if manner < 0.75 or not self._live_share:
            self._open_context(parent, kind, wanted, depth, self._ending("CONTEXT"), replay=True)
        else:
            self._open_context(parent, kind, wanted, depth, "STARTED", replay=None)
        return 1 + wanted

    def _open_context(
        self,
        parent: str | None,
        kind: str,
        count: int,
        depth: int,
        status: str,
        *,
        replay: bool | None,
    ) -> None:
        details: Wire = {}
        if replay or (replay is False and self._random.random() < 0.5):
            details["ReplayChildren"] = replay
        operation = self._add(
            parent, "CONTEXT", kind, name=self._label(), status=status, details=details
        )
        share = self._live_share
        if status in TERMINAL:
            self._live_share = 0
        self._below(operation["Id"], kind, count, depth + 1)
        self._live_share = share
        if status in TERMINAL:
            self._close(operation, details)

    def _below(self, parent: str, kind: str, count: int, depth: int) -> None:
        if kind == "WaitForCallback" and count >= 2:
            self._leaf(parent, "CALLBACK", "Callback")
            self._leaf(parent, "STEP", "Step")
            count -= 2
        branch = _BRANCH.get(kind)
        while branch and count >= 2 and depth < _DEEPEST:
            inside = min(count - 1, 1 + int(self._random.random() * 3))
            status = self._ending("CONTEXT")
            self._open_context(parent, branch, inside, depth, status, replay=True)
            count -= 1 + inside
        self._fill(parent, count, depth)

    def _leaf(self, parent: str | None, type_: str, sub_type: str) -> None:
        live = self._random.random() < self._live_share
        status = self._live(type_) if live else self._ending(type_)
        operation = self._add(
            parent, type_, sub_type, name=self._label(), status=status, details={}
        )
        details: Wire = operation[DETAILS[type_]]
        if type_ == "STEP":
            self._attempts(details, status, sub_type)
        elif type_ == "WAIT":
            length = int(5 + self._random.expovariate(1 / 600))
            details["ScheduledEndTimestamp"] = self._stamp(self._clock + length)
            self._clock += length if status == "SUCCEEDED" else 0
        elif type_ == "CALLBACK":
            details["CallbackId"] = operation["Id"].upper() + "+/a="
        if status in TERMINAL:
            self._close(operation, details)

    def _attempts(self, details: Wire, status: str, sub_type: str) -> None:
        """How often a step was tried: an attempt counts when it has ended, well or not."""
        waits = status in ("PENDING", "READY")
        again = waits or self._random.random() < 0.08
        ended = int(again) * (1 + int(self._random.random() * 4)) + int(status in TERMINAL)
        details["Attempt"] = ended
        if waits and sub_type == "WaitForCondition":
            details["Result"] = self._payload()
        elif waits:
            details["Error"] = self._error()
        if status == "PENDING":
            details["NextAttemptTimestamp"] = self._stamp(self._clock + 30 * ended)
        elif ended > 1:
            self._clock += 2**ended

    def _close(self, operation: Wire, details: Wire) -> None:
        """Give an ended operation its end, and its result or error where its type has one."""
        operation["EndTimestamp"] = self._tick()
        if operation["Type"] == "WAIT":
            return
        if operation["Status"] != "SUCCEEDED":
            details["Error"] = self._error()
        elif self._payload_size is not None or self._random.random() < 0.9:
            details["Result"] = self._payload()

    def _add(
        self,
        parent: str | None,
        type_: str,
        sub_type: str | None,
        *,
        name: str | None,
        status: str,
        details: Wire,
    ) -> Wire:
        source = f"{self._name}/{len(self._operations)}".encode()
        operation: Wire = {"Id": blake2b(source, digest_size=32).hexdigest()}
        if parent is not None:
            operation["ParentId"] = parent
        if name is not None:
            operation["Name"] = name
        operation["Type"] = type_
        if sub_type is not None:
            operation["SubType"] = sub_type
        operation["StartTimestamp"] = self._tick()
        operation["Status"] = status
        operation[DETAILS[type_]] = details
        self._operations.append(operation)
        return operation

    def _ending(self, type_: str) -> str:
        names, weights = _ENDINGS[type_]
        return names[self._pick(weights)]

    def _live(self, type_: str) -> str:
        if type_ != "STEP" or self._status in TERMINAL:  # nothing is retried after the end
            return "STARTED"
        return ("STARTED", "PENDING", "READY")[int(self._random.random() * 3)]

    def _pick(self, cumulative: tuple[int, ...]) -> int:
        drawn = self._random.random() * cumulative[-1]
        return next(place for place, limit in enumerate(cumulative) if drawn < limit)

    def _label(self) -> str | None:
        drawn = self._random.random()
        if drawn < 0.05:
            return None
        place = int(drawn * 8191)
        return f"{_VERBS[place % 8]}-{_NOUNS[place // 8 % 8]}"

    def _tick(self) -> float:
        self._clock += 0.001 + self._random.expovariate(4)
        if self._random.random() < 0.1:
            # The service's timestamps are JSON numbers of either kind, whole and fractional.
            self._clock = float(ceil(self._clock))
        return self._stamp(self._clock)

    @staticmethod
    def _stamp(moment: float) -> float:
        return stamp(moment)

    def _payload(self) -> str:
        return payload(self._random, self._payload_size)

    def _error(self) -> Wire:
        return failure(self._random)


def stamp(moment: float) -> float:
    """A timestamp as the service sends it: epoch seconds, to the millisecond."""
    rounded = round(float(moment), 3)
    return int(rounded) if rounded.is_integer() else rounded


def payload(random: Random, size: int | None) -> str:
    """JSON of ``size`` characters, or of a size that is drawn."""
    if size is not None:
        text = _ASCII * (1 + size // len(_ASCII))
        return '"' + text[: max(0, size - 2)] + '"'
    size = int(random.lognormvariate(4.2, 0.9))
    if random.random() < 0.003:
        size *= 100
    text = _FILLER * (1 + size // len(_FILLER))
    return f'{{"id":{random.getrandbits(30)},"note":"{text[:size]}"}}'


def failure(random: Random) -> Wire:
    """An error in wire form, with or without its data and stack trace."""
    place = random.getrandbits(16)
    error_type, message = _FAILURES[place % len(_FAILURES)]
    error: Wire = {"ErrorType": error_type, "ErrorMessage": message}
    if place & 64:
        error["ErrorData"] = f'{{"retryable":{"true" if place & 128 else "false"}}}'
    if place & 256:
        error["StackTrace"] = [
            f'  File "/var/task/flow/{_NOUNS[(place + depth) % 8]}.py", line {depth * 17}, '
            f"in {_VERBS[(place + depth) % 8]}"
            for depth in range(2 + place % 5)
        ]
    return error


def fitted(operations: list[Wire], ended: float) -> list[Wire]:
    """The operations with their times stretched or pressed so that the execution ends then."""
    execution = operations[0]
    started = execution["StartTimestamp"]
    factor = (ended - started) / (execution["EndTimestamp"] - started)

    def moved(moment: float) -> float:
        return stamp(started + (moment - started) * factor)

    for operation in operations:
        before = operation["StartTimestamp"]
        for name in ("StartTimestamp", "EndTimestamp"):
            if name in operation:
                operation[name] = moved(operation[name])
        details = operation[DETAILS[operation["Type"]]]
        if "ScheduledEndTimestamp" in details:
            # A wait lasts whole seconds.
            length = int((details["ScheduledEndTimestamp"] - before) * factor)
            details["ScheduledEndTimestamp"] = stamp(operation["StartTimestamp"] + length)
    execution["EndTimestamp"] = stamp(ended)
    return operations


def visible(operations: list[Wire]) -> list[Wire]:
    """What a State answer shows of ``operations``.

    What lies below a completed context is left out, however deep, unless that context asks for its
    children with ``ReplayChildren``.
    """
    folded: set[str] = set()
    shown: list[Wire] = []
    for operation in operations:
        if operation.get("ParentId") in folded:
            folded.add(operation["Id"])
            continue
        shown.append(operation)
        if _folds(operation):
            folded.add(operation["Id"])
    return shown


def _folds(operation: Wire) -> bool:
    if operation["Type"] != "CONTEXT" or operation["Status"] not in TERMINAL:
        return False
    return not (operation.get("ContextDetails") or {}).get("ReplayChildren")
