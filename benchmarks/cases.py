"""What is read: synthetic executions whose every operation id follows from a few numbers.

Standard library only: the worker imports this in environments that hold nothing else of ours.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

REGION = "eu-west-1"
_POOL_BYTES = 64 * 1024**2
_OPERATION_BYTES = 250  # without its payload; only used to bound the pool


class Ref(NamedTuple):
    """One execution to read."""

    arn: str
    token: str


@dataclass(frozen=True, slots=True)
class Case:
    """Executions, how the service answers for them, and how many requests are in flight."""

    name: str
    executions: int
    operations: int = 5  # of each execution
    max_items: int = 1000
    payload_bytes: int = 200
    in_flight: int = 32
    latency_ms: float = 0
    tls: bool = True
    requests_per_s: float | None = None  # the service answers 429 above it

    @property
    def pages(self) -> int:
        """Pages of one execution."""
        return -(-self.operations // self.max_items)

    @property
    def variants(self) -> int:
        """Distinct executions in the service's pool: at least 64 pages, where memory allows it."""
        size = self.operations * (_OPERATION_BYTES + self.payload_bytes)
        return max(2, min(-(-64 // self.pages), _POOL_BYTES // size))

    @property
    def warm_up(self) -> int:
        """Executions read before the clock starts, enough to open every connection."""
        return min(self.executions, max(self.executions // 20, self.in_flight))

    def scaled(self, factor: float) -> Case:
        """The same case with fewer executions."""
        least = min(self.executions, 2 * self.in_flight)
        return replace(self, executions=max(least, int(self.executions * factor)))

    def refs(self, count: int | None = None) -> Iterator[Ref]:
        """The executions, made as they are asked for."""
        token = base64.b64encode(hashlib.sha512(b"token").digest() * 2).decode()
        start = f"arn:aws:lambda:{REGION}:123456789012:function:orders:$LATEST/durable-execution"
        for index in range(self.executions if count is None else count):
            yield Ref(f"{start}/order-{index % 977}/{index:012d}", token)


# Executions are chosen so that the slowest client needs a few seconds.
PAGE_SIZES = (
    Case("5 operations a page", executions=2000, operations=5),
    Case("100 operations a page", executions=600, operations=100),
    Case("1,000 operations a page", executions=120, operations=1000),
)
# Eight in flight stay below our own limit of 64 MiB in flight, which is on and must not bind.
LARGE = Case("one page of 5 MiB", 40, operations=1000, payload_bytes=7800, in_flight=8)
PAGED = Case("3,000 operations, max_items 1,000", 40, operations=3000)


# What an audit does with what it has listed; the rest is to take from the journal, and to free.
AUDIT_STEPS = ("decode", "fold", "add", "rest", "finish")


@dataclass(frozen=True, slots=True)
class AuditCase:
    """What one audit reads and writes."""

    executions: int
    operations: int  # that the state of each execution shows; a history has some more
    core: int | None = None
    payload_size: int = 200

    @property
    def name(self) -> str:
        return f"{self.operations:,} operations an execution"


@cache
def operation_ids(variant: int, count: int) -> tuple[str, ...]:
    """The ids of a variant's operations: 32 hexadecimal digits, unique in the pool."""
    start = hashlib.blake2b(b"%d" % variant, digest_size=16)
    ids = []
    for place in range(count):
        one = start.copy()
        one.update(b"/%d" % place)
        ids.append(one.hexdigest())
    return tuple(ids)


@dataclass(slots=True)
class Work:
    """What a client has done. Two clients did the same work where two of these are equal."""

    executions: int = 0
    pages: int = 0
    operations: int = 0
    digest: int = 0  # over the ids of each execution in order; executions in any order
    errors: int = field(default=0, compare=False)
    first_error: str = field(default="", compare=False)

    def add(self, arn: str, pages: int, ids: Iterable[str]) -> None:
        """Count one complete execution."""
        known = ids if isinstance(ids, list | tuple) else list(ids)
        self.add_checksum(arn, pages, len(known), zlib.crc32("".join(known).encode()))

    def add_checksum(self, arn: str, pages: int, operations: int, checksum: int) -> None:
        """Count one complete execution whose ids were added up page by page."""
        self.executions += 1
        self.pages += pages
        self.operations += operations
        self.digest = (self.digest + checksum * (2 * int(arn[-12:]) + 1)) % 2**64

    def fail(self, error: object) -> None:
        """Count one execution that could not be read."""
        self.errors += 1
        self.first_error = self.first_error or f"{type(error).__name__}: {error}"[:300]

    def differs(self, other: Work) -> str:
        """What is unequal, in words; empty where nothing is."""
        wrong = [
            f"{name} {mine} instead of {theirs}"
            for name in ("executions", "pages", "operations", "digest")
            if (mine := getattr(self, name)) != (theirs := getattr(other, name))
        ]
        if wrong and self.errors:
            wrong.append(f"{self.errors} errors, the first: {self.first_error}")
        return ", ".join(wrong)


def expected(case: Case) -> Work:
    """The work that `case` is, known without any client."""
    work = Work()
    checksums = [
        zlib.crc32("".join(operation_ids(variant, case.operations)).encode())
        for variant in range(min(case.variants, case.executions))
    ]
    for ref in case.refs():
        checksum = checksums[int(ref.arn[-12:]) % case.variants]
        work.add_checksum(ref.arn, case.pages, case.operations, checksum)
    return work
