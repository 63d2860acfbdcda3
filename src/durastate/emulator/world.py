"""The data that the emulator serves: any number of executions, each computed from its index.

Nothing is held. The ARN, the token and the operations of execution ``i`` follow from the seed and
``i`` alone, so the world of another process with the same numbers is the same world.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b, sha512
from random import Random
from typing import Any, Self
from uuid import UUID

from durastate.emulator.generation import MAX_OPERATIONS, Story, Wire, visible

_ACCOUNT = "123456789012"
_FUNCTIONS = ("order-flow", "invoice-run", "nightly_reconciliation", "claims")
_VERSIONS = ("7", "$LATEST", "12", "$LATEST.PUBLISHED")
_FIRST_START = 1_767_225_600
_LARGE_EVERY = 333


@dataclass(frozen=True)
class Execution:
    """One execution written by hand: its newest token and its operations in wire form."""

    token: str = field(repr=False)
    operations: Sequence[Wire] = field(repr=False)


@dataclass(frozen=True)
class World:
    """Executions from a seed.

    ``operations`` is how many operations each execution's State shows: a number for all, a tuple
    that is gone through in turn, or None for a mix with a median of 20, a long tail and three of
    3,000 per thousand. ``payload_size`` makes every payload that many characters long; None is a
    mix. ``extra`` adds executions written by hand under any key; they come after the others.
    """

    seed: int = 0
    executions: int = 1_000
    operations: int | tuple[int, ...] | None = None
    payload_size: int | None = None
    regions: tuple[str, ...] = ("eu-west-1",)
    extra: Mapping[str, Execution] = field(default_factory=dict)

    @classmethod
    def demo(cls, seed: int = 0) -> Self:
        """The thousand executions of the demo."""
        return cls(seed=seed, executions=1_000)

    def __len__(self) -> int:
        return self.executions + len(self.extra)

    def arn(self, index: int) -> str:
        """The ARN of an execution, or the key of one written by hand."""
        if index >= self.executions:
            return self._extra_keys[index - self.executions]
        if index < 0:
            raise IndexError(index)
        region = self.regions[index % len(self.regions)]
        partition = "aws-cn" if region.startswith("cn-") else "aws"
        function = _FUNCTIONS[index % len(_FUNCTIONS)]
        version = _VERSIONS[index // len(_FUNCTIONS) % len(_VERSIONS)]
        uuid = UUID(bytes=self._digest("id", index)[:16], version=4)
        return (
            f"arn:{partition}:lambda:{region}:{_ACCOUNT}:function:{function}:{version}"
            f"/durable-execution/{self.name(index)}/{uuid}"
        )

    def name(self, index: int) -> str:
        """The execution's name, the last but one part of its ARN."""
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

    def all_operations(self, index: int) -> list[Wire]:
        """Everything the execution has done, in start order and wire form."""
        if index >= self.executions:
            return list(self.extra[self.arn(index)].operations)
        random = Random(f"{self.seed}/{index}")  # noqa: S311 - repeatable, not secret
        count = self._count(index, random)
        started = _FIRST_START + index * 37.5
        return Story(
            random,
            name=self.name(index),
            count=count,
            started=started,
            payload_size=self.payload_size,
        ).tell()

    def visible_operations(self, index: int) -> list[Wire]:
        """What GetDurableExecutionState shows of the execution: what a test may expect."""
        return visible(self.all_operations(index))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data from which :meth:`from_dict` makes the same world."""
        return {
            "seed": self.seed,
            "executions": self.executions,
            "operations": self.operations,
            "payload_size": self.payload_size,
            "regions": list(self.regions),
            "extra": {
                arn: {"token": execution.token, "operations": list(execution.operations)}
                for arn, execution in self.extra.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        operations = data["operations"]
        return cls(
            seed=data["seed"],
            executions=data["executions"],
            operations=tuple(operations) if isinstance(operations, list) else operations,
            payload_size=data["payload_size"],
            regions=tuple(data["regions"]),
            extra={arn: Execution(**execution) for arn, execution in data["extra"].items()},
        )

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

    @cached_property
    def _extra_keys(self) -> list[str]:
        return list(self.extra)

    @cached_property
    def _extra_places(self) -> dict[str, int]:
        return {arn: place for place, arn in enumerate(self.extra)}


def next_token(token: str) -> str:
    """The token that makes ``token`` an old one."""
    return b64encode(blake2b(token.encode(), digest_size=52).digest()).decode()
