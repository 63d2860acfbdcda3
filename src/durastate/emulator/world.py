"""The data that the emulator serves: any number of executions, each computed from its index.

Nothing is held. The ARN, the token, the status and the times of execution ``i`` follow from the
seed and ``i`` alone, and its operations and its history from the same, so the world of another
process with the same numbers is the same world.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b, sha512
from itertools import accumulate
from math import inf
from random import Random
from typing import Any, Self
from uuid import UUID

from durastate.emulator.generation import (
    MAX_OPERATIONS,
    Story,
    Wire,
    failure,
    fitted,
    payload,
    stamp,
    visible,
)
from durastate.emulator.histories import Outcome, events_of, pause_of

ACCOUNT = "123456789012"
_FUNCTIONS = ("order-flow", "invoice-run", "nightly_reconciliation", "claims")
_VERSIONS = ("7", "$LATEST", "12", "$LATEST.PUBLISHED")
FIRST_START = 1_767_225_600
_LARGE_EVERY = 333
_STATUSES = {"RUNNING": 80, "SUCCEEDED": 8, "FAILED": 5, "TIMED_OUT": 3, "STOPPED": 4}
#: Every status of an execution; the default mix has only those with a weight above.
STATUSES = (*_STATUSES, "PAUSING", "PAUSED", "DELETING")
RUNS = ("RUNNING", "PAUSING", "PAUSED")
# What the EXECUTION operation says where the other calls say so.
_OF_OPERATION = {**dict.fromkeys(RUNS, "STARTED"), "DELETING": "SUCCEEDED"}
_TIMEOUT_S = 2_592_000


@dataclass(frozen=True)
class Execution:
    """One execution written by hand: its newest token and its operations in wire form.

    ``result`` and ``error`` are what GetDurableExecution and the history say of its end.
    ``status`` is PAUSING, PAUSED or DELETING, which no operation says.
    """

    token: str = field(repr=False)
    operations: Sequence[Wire] = field(repr=False)
    result: str | None = field(default=None, repr=False)
    error: Mapping[str, Any] | None = field(default=None, repr=False)
    status: str | None = None


@dataclass(frozen=True)
class World:
    """Executions from a seed.

    ``operations`` is how many operations each execution's State shows: a number for all, a tuple
    that is gone through in turn, or None for a mix with a median of 20, a long tail and three of
    3,000 per thousand. ``payload_size`` makes every payload that many characters long; None is a
    mix. ``functions`` and ``versions`` are how many there are, or their names; the executions are
    dealt out to them in turn. ``statuses`` has a weight for each that occurs of RUNNING, SUCCEEDED,
    FAILED, TIMED_OUT, STOPPED, PAUSING, PAUSED and DELETING; None is a mix of the first five, four
    in five of them running. The first one
    starts at ``first_start`` (epoch seconds), the others ``every_s`` after one another. ``extra``
    adds executions written by hand under any key; they come after the others.
    """

    seed: int = 0
    executions: int = 1_000
    operations: int | tuple[int, ...] | None = None
    payload_size: int | None = None
    regions: tuple[str, ...] = ("eu-west-1",)
    extra: Mapping[str, Execution] = field(default_factory=dict)
    functions: int | tuple[str, ...] = 4
    versions: int | tuple[str, ...] = 4
    statuses: Mapping[str, float] | None = None
    first_start: float = FIRST_START
    every_s: float = 37.5

    def __post_init__(self) -> None:
        given = _STATUSES if self.statuses is None else self.statuses
        if not set(given) <= set(STATUSES) or not sum(given.values()) or min(given.values()) < 0:
            raise ValueError(f"statuses: expected weights of {', '.join(STATUSES)}")
        if not self.function_names or not self.version_names:
            raise ValueError("functions, versions: expected at least one")
        if self.every_s < 0:
            raise ValueError("every_s: expected 0 or more")

    @classmethod
    def demo(cls, seed: int = 0) -> Self:
        """The thousand executions of the demo."""
        return cls(seed=seed, executions=1_000)

    def __len__(self) -> int:
        return self.executions + len(self.extra)

    @cached_property
    def function_names(self) -> tuple[str, ...]:
        """The functions, without versions."""
        if not isinstance(self.functions, int):
            return tuple(self.functions)
        more = (f"function-{number}" for number in range(len(_FUNCTIONS), self.functions))
        return (*_FUNCTIONS[: self.functions], *more)

    @cached_property
    def version_names(self) -> tuple[str, ...]:
        """The versions that each function has."""
        if not isinstance(self.versions, int):
            return tuple(self.versions)
        more = (str(13 + number) for number in range(self.versions - len(_VERSIONS)))
        return (*_VERSIONS[: self.versions], *more)

    def arn(self, index: int) -> str:
        """The ARN of an execution, or the key of one written by hand."""
        if index >= self.executions:
            return self._extra_keys[index - self.executions]
        if index < 0:
            raise IndexError(index)
        region = self.regions[index % len(self.regions)]
        partition = "aws-cn" if region.startswith("cn-") else "aws"
        function = self.function_names[index % len(self.function_names)]
        version = self.version_names[index // len(self.function_names) % len(self.version_names)]
        uuid = UUID(bytes=self._digest("id", index)[:16], version=4)
        return (
            f"arn:{partition}:lambda:{region}:{ACCOUNT}:function:{function}:{version}"
            f"/durable-execution/{self.name(index)}/{uuid}"
        )

    def name(self, index: int) -> str:
        """The execution's name, the last but one part of its ARN."""
        if index >= self.executions:
            return self.arn(index).rpartition("/")[0].rpartition("/")[2] or self.arn(index)
        return f"run-{index:06d}"

    def token(self, index: int) -> str:
        """The execution's first checkpoint token: base64, with all that has to be escaped."""
        if index >= self.executions:
            return self.extra[self.arn(index)].token
        return b64encode(self._digest("token", index)[:49] + b"\xfb\xff").decode() + "+/8="

    def refs(self) -> Iterator[tuple[str, str]]:
        """Pairs of ARN and token, one at a time."""
        return ((self.arn(index), self.token(index)) for index in range(len(self)))

    def index_of(self, arn: str) -> int | None:
        """Where an ARN stands in this world; None for one that it does not have."""
        if arn in self.extra:
            return self.executions + self._extra_places[arn]
        digits = arn.rpartition("/")[0].rpartition("run-")[2]
        if not re.fullmatch("[0-9]{6,18}", digits):
            return None
        index = int(digits)
        return index if index < self.executions and self.arn(index) == arn else None

    def status(self, index: int) -> str:
        """One of ``STATUSES``."""
        if index >= self.executions:
            given = self.extra[self.arn(index)].status
            if given is not None:
                return given
            status = str(_execution_of(self.all_operations(index)).get("Status", "STARTED"))
            return "RUNNING" if status == "STARTED" else status
        names, weights = self._weights
        drawn = self._fraction("status", index) * weights[-1]
        return next(name for name, most in zip(names, weights, strict=True) if drawn < most)

    def started(self, index: int) -> float:
        """When the execution started, in epoch seconds."""
        if index >= self.executions:
            operations = self.all_operations(index)
            first = _execution_of(operations) or (operations[0] if operations else {})
            moment: float = first.get("StartTimestamp", self.first_start)
            return moment
        return stamp(self.first_start + index * self.every_s)

    def ended(self, index: int) -> float | None:
        """When it ended; None while it runs."""
        if index >= self.executions:
            return _execution_of(self.all_operations(index)).get("EndTimestamp")
        if self.status(index) in RUNS:
            return None
        return stamp(self.started(index) + self._lasted(index))

    def input_payload(self, index: int) -> str | None:
        """What the execution was started with; None for nothing."""
        details = _execution_of(self.all_operations(index)).get("ExecutionDetails") or {}
        payload_: str | None = details.get("InputPayload")
        return payload_

    def pause(self, index: int) -> Wire | None:
        """What GetDurableExecution says of the pause of a PAUSING or PAUSED execution."""
        if self.status(index) not in ("PAUSING", "PAUSED"):
            return None
        return pause_of(self.all_operations(index))

    def outcome(self, index: int) -> Outcome:
        """The execution's result or error, and its time limit."""
        status = self.status(index)
        if index >= self.executions:
            extra = self.extra[self.arn(index)]
            lasted = (self.ended(index) or 0) - self.started(index)
            limit = max(1, int(lasted)) if status == "TIMED_OUT" else _TIMEOUT_S
            return Outcome(extra.result, extra.error, limit, self._pause_in_effect(index))
        random = Random(f"{self.seed}/{index}/outcome")  # noqa: S311 - repeatable, not secret
        if status in RUNS:
            return Outcome(pause=self._pause_in_effect(index))
        if status in ("SUCCEEDED", "DELETING"):
            none = self.payload_size is None and random.random() < 0.1
            return Outcome(None if none else payload(random, self.payload_size))
        if status == "TIMED_OUT":
            error = {"ErrorType": "ExecutionTimedOut", "ErrorMessage": "the time limit was reached"}
            return Outcome(error=error, timeout_s=int(self._lasted(index)))
        if status == "STOPPED":
            error = {"ErrorType": "ExecutionStopped", "ErrorMessage": "stopped by hand"}
            return Outcome(error=error)
        return Outcome(error=failure(random))

    def _pause_in_effect(self, index: int) -> Wire | None:
        return self.pause(index) if self.status(index) == "PAUSED" else None

    def all_operations(self, index: int) -> list[Wire]:
        """Everything the execution has done, in start order and wire form."""
        if index >= self.executions:
            return list(self.extra[self.arn(index)].operations)
        random, count = self._opening(index)
        status = self.status(index)
        operations = Story(
            random,
            name=self.name(index),
            status=_OF_OPERATION.get(status, status),
            count=count,
            started=self.started(index),
            payload_size=self.payload_size,
        ).tell()
        ended = self.ended(index)
        return operations if ended is None else fitted(operations, ended)

    def visible_operations(self, index: int) -> list[Wire]:
        """What GetDurableExecutionState shows of the execution: what a test may expect."""
        return visible(self.all_operations(index))

    def events(self, index: int) -> list[Wire]:
        """The execution's whole history, oldest first: what a test may expect."""
        return events_of(self.all_operations(index), self.outcome(index))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data from which :meth:`from_dict` makes the same world."""
        return {
            "seed": self.seed,
            "executions": self.executions,
            "operations": self.operations,
            "payload_size": self.payload_size,
            "regions": list(self.regions),
            "extra": {
                arn: {
                    "token": execution.token,
                    "operations": list(execution.operations),
                    "result": execution.result,
                    "error": None if execution.error is None else dict(execution.error),
                    "status": execution.status,
                }
                for arn, execution in self.extra.items()
            },
            "functions": self.functions,
            "versions": self.versions,
            "statuses": None if self.statuses is None else dict(self.statuses),
            "first_start": self.first_start,
            "every_s": self.every_s,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        given["extra"] = {arn: Execution(**execution) for arn, execution in data["extra"].items()}
        return cls(**given)

    def _opening(self, index: int) -> tuple[Random, int]:
        """The source of the execution's story, and how many operations State shows of it."""
        random = Random(f"{self.seed}/{index}")  # noqa: S311 - repeatable, not secret
        return random, self._count(index, random)

    def _lasted(self, index: int) -> float:
        """About a minute an operation; whole seconds where a time limit ended it."""
        _, count = self._opening(index)
        lasted = 0.5 + count * 60 * (0.1 + 1.9 * self._fraction("lasted", index))
        return int(lasted) + 1 if self.status(index) == "TIMED_OUT" else lasted

    def _count(self, index: int, random: Random) -> int:
        if isinstance(self.operations, int):
            return max(1, self.operations)
        if self.operations is not None:
            return max(1, self.operations[index % len(self.operations)])
        if (index + 29 * self.seed) % _LARGE_EVERY == _LARGE_EVERY // 2:
            return MAX_OPERATIONS
        return max(1, min(MAX_OPERATIONS, round(random.lognormvariate(2.97, 0.75))))

    def _digest(self, purpose: str, index: int) -> bytes:
        return sha512(f"{self.seed}/{purpose}/{index}".encode()).digest()

    def _fraction(self, purpose: str, index: int) -> float:
        return int.from_bytes(self._digest(purpose, index)[:8]) / 2**64

    @cached_property
    def _weights(self) -> tuple[list[str], list[float]]:
        given = _STATUSES if self.statuses is None else self.statuses
        used = {name: weight for name, weight in given.items() if weight}
        return list(used), list(accumulate(used.values()))

    @cached_property
    def _extra_keys(self) -> list[str]:
        return list(self.extra)

    @cached_property
    def _extra_places(self) -> dict[str, int]:
        return {arn: place for place, arn in enumerate(self.extra)}


def _execution_of(operations: Sequence[Wire]) -> Wire:
    return next((each for each in operations if each.get("Type") == "EXECUTION"), {})


def weights(text: str) -> dict[str, float]:
    """``RUNNING=20,FAILED=5`` as :attr:`World.statuses`; ``ValueError`` for anything else."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, separator, weight = part.partition("=")
        if name not in STATUSES or name in found or not separator:
            raise ValueError(text)
        found[name] = float(weight)
    if not all(0 <= weight < inf for weight in found.values()) or not any(found.values()):
        raise ValueError(text)
    return found


def next_token(token: str) -> str:
    """The token that makes ``token`` an old one."""
    return b64encode(blake2b(token.encode(), digest_size=52).digest()).decode()
