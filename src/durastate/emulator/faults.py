"""Which request goes wrong, and how: a plan that is data, from a seed, and a decision without I/O.

A random fault is drawn from the seed, the execution, the page and how often that page was asked
for. So a run is the same however its executions interleave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import blake2b
from random import Random
from typing import Any, Self

from durastate.emulator.names import Call
from durastate.emulator.world import World


class FaultKind(StrEnum):
    """What can go wrong with one request; `about` says how."""

    about: str

    def __new__(cls, value: str, about: str = "") -> Self:
        """Of a name in a plan, which is the member's value, and what happens."""
        kind = str.__new__(cls, value)
        kind._value_ = value
        kind.about = about
        return kind

    THROTTLE = (
        "throttle",
        "429 TooManyRequestsException, with the hints when to retry that the fault has",
    )
    SERVICE_ERROR = "service-error", "500 ServiceException"
    BAD_GATEWAY = "bad-gateway", "502 with a proxy's HTML, none of the service's headers"
    UNAVAILABLE = "unavailable", "503 with a proxy's HTML"
    GATEWAY_TIMEOUT = "gateway-timeout", "504 with a proxy's HTML"
    KMS_ACCESS_DENIED = "kms-access-denied", "502 KMSAccessDeniedException"
    KMS_DISABLED = "kms-disabled", "502 KMSDisabledException"
    KMS_INVALID_STATE = "kms-invalid-state", "502 KMSInvalidStateException"
    KMS_NOT_FOUND = "kms-not-found", "502 KMSNotFoundException"
    ACCESS_DENIED = "access-denied", "403 AccessDeniedException"
    INVALID_TOKEN = (
        "invalid-token",
        "400 InvalidParameterValueException: Invalid checkpoint token",
    )
    NOT_FOUND = "not-found", "404 ResourceNotFoundException, which State's model does not have"
    EXPIRED_CREDENTIALS = "expired-credentials", "403 ExpiredTokenException"
    WRONG_CLOCK = (
        "wrong-clock",
        "The server's clock is an hour off: what is signed by the right time is refused",
    )
    RESET = "reset", "The connection is reset before any byte of an answer"
    RESET_IN_BODY = "reset-in-body", "The connection is reset in the middle of the body"
    TRUNCATED = (
        "truncated",
        "Content-Length promises more than comes before the connection ends",
    )
    SLOW_BODY = "slow-body", "A few bytes of the body at a time, with pauses between them"
    STALL = "stall", "Nothing for a while, then the right answer"
    MALFORMED_JSON = "malformed-json", "Half a page, with the length of half a page"
    WRONG_TYPES = "wrong-types", "A page whose Operations is no list"
    NOT_A_NUMBER = (
        "not-a-number",
        "A page with NaN for a timestamp, which JSON does not have and Python's own reader takes",
    )
    LONE_SURROGATE = (
        "lone-surrogate",
        "A right page in which the first Name is the escape of half a character",
    )
    REPEATED_MARKER = "repeated-marker", "NextMarker is the marker that was sent, for ever"
    CYCLING_MARKERS = "cycling-markers", "NextMarker is A, then B, then A again, for ever"
    EMPTY_PAGE = (
        "empty-page",
        "No operations and a NextMarker; permanent and on every page, it never ends",
    )
    SHORT_PAGE = "short-page", "Half of the operations asked for"
    UNKNOWN_FIELDS = (
        "unknown-fields",
        "A right page with members and enum values of some later version",
    )
    GZIP = "gzip", "A right page, gzipped whatever Accept-Encoding says"
    REDIRECT = "redirect", "302 to another path of this server; a request there is in the log"
    HUGE_BODY = "huge-body", "A right page grown to 33 MB by a member that nobody knows"


PASSING = (
    FaultKind.THROTTLE,
    FaultKind.SERVICE_ERROR,
    FaultKind.UNAVAILABLE,
    FaultKind.RESET,
    FaultKind.RESET_IN_BODY,
    FaultKind.TRUNCATED,
)
"""Kinds that a client gets over by asking again."""

_DEMO_KINDS = (
    FaultKind.INVALID_TOKEN,
    FaultKind.ACCESS_DENIED,
    FaultKind.KMS_ACCESS_DENIED,
    FaultKind.KMS_DISABLED,
    FaultKind.KMS_INVALID_STATE,
    FaultKind.KMS_NOT_FOUND,
    FaultKind.MALFORMED_JSON,
    FaultKind.WRONG_TYPES,
    FaultKind.REPEATED_MARKER,
    FaultKind.CYCLING_MARKERS,
    FaultKind.TRUNCATED,
    FaultKind.SERVICE_ERROR,
)


@dataclass(frozen=True)
class Fault:
    """One kind of fault and when it strikes.

    ``first`` is for how many requests (counted per call and execution, or per page with ``page``);
    None is for ever. ``page`` is the only page to strike, from 0; None is every page. ``call`` is
    the only call to strike; None is each. The others say more of single kinds: the hints of a
    throttle, the pause of a stall and of a slow body and the bytes between pauses, the size of a
    huge body, and how far a wrong clock is off.
    """

    kind: FaultKind
    first: int | None = None
    page: int | None = None
    retry_after_s: int | None = None
    retry_after_ms: int | None = None
    delay_s: float = 0.05
    chunk_bytes: int = 16
    body_bytes: int = 33 * 1024**2
    skew_s: float = 3_600
    call: Call | None = None


@dataclass(frozen=True)
class Moment:
    """One request, as faults are chosen for it.

    ``subject`` is the execution's ARN, or for a List the function's name. ``asked`` and ``on_page``
    count the earlier requests of this call for it and for this page of it.
    """

    call: Call
    subject: str
    index: int | None
    page: int
    asked: int
    on_page: int

    @property
    def drawn_by(self) -> str:
        """What a random fault is drawn by, beside the page and the attempt."""
        return self.subject if self.call is Call.STATE else f"{self.call} {self.subject}"


@dataclass(frozen=True)
class FaultPlan:
    """The faults of a run.

    ``on`` names executions by index or ARN, and for Lists functions by their name. Beside them a
    share ``rate`` of all pages asked for draws one of ``kinds``; more than ``in_a_row`` faults in
    succession never strike one page, so retries always get over them. ``template`` has the details
    of the random ones, such as the only ``call`` that they strike.
    """

    seed: int = 0
    on: Mapping[int | str, Fault | tuple[Fault, ...]] = field(default_factory=dict)
    rate: float = 0
    kinds: tuple[FaultKind, ...] = PASSING
    in_a_row: int = 1
    template: Fault = field(default=Fault(FaultKind.THROTTLE))

    @classmethod
    def demo(cls, world: World, seed: int | None = None) -> Self:
        """A dozen executions broken for good, each in its own way, and some faults that pass."""
        seed = world.seed if seed is None else seed
        random = Random(f"{seed}/broken")  # noqa: S311 - repeatable, not secret
        chosen = random.sample(range(world.executions), len(_DEMO_KINDS))
        broken = {index: Fault(kind) for index, kind in zip(chosen, _DEMO_KINDS, strict=True)}
        return cls(seed=seed, on=dict(sorted(broken.items())), rate=0.02)

    def choose(self, moment: Moment) -> Fault | None:
        """The fault of one request."""
        for fault in self._planned(moment):
            before = moment.asked if fault.page is None else moment.on_page
            here = fault.page in (None, moment.page) and fault.call in (None, moment.call)
            if here and (fault.first is None or before < fault.first):
                return fault
        drawn = self.rate and self.template.call in (None, moment.call)
        return self._drawn(moment.drawn_by, moment.page, moment.on_page) if drawn else None

    def check(self, world: World) -> None:
        """Raise ``ValueError`` if the plan names an index that the world does not have."""
        for key in self.on:
            if isinstance(key, int) and not 0 <= key < len(world):
                raise ValueError(f"no execution {key} among {len(world)}")

    def broken(self) -> dict[int | str, FaultKind]:
        """The executions that never answer rightly however often they are asked, with the kind."""
        return {
            key: fault.kind
            for key, planned in self.on.items()
            for fault in _each(planned)
            if fault.first is None
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data from which :meth:`from_dict` makes the same plan."""
        return {
            "seed": self.seed,
            "on": [
                [key, [asdict(fault) for fault in _each(planned)]]
                for key, planned in self.on.items()
            ],
            "rate": self.rate,
            "kinds": list(self.kinds),
            "in_a_row": self.in_a_row,
            "template": asdict(self.template),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            seed=data["seed"],
            on={key: tuple(_fault(fault) for fault in planned) for key, planned in data["on"]},
            rate=data["rate"],
            kinds=tuple(FaultKind(kind) for kind in data["kinds"]),
            in_a_row=data["in_a_row"],
            template=_fault(data["template"]),
        )

    def _planned(self, moment: Moment) -> tuple[Fault, ...]:
        by_index = () if moment.index is None else _each(self.on.get(moment.index, ()))
        return (*by_index, *_each(self.on.get(moment.subject, ())))

    def _drawn(self, arn: str, page: int, attempt: int) -> Fault | None:
        if not self._strikes(arn, page, attempt):
            return None
        before = [self._strikes(arn, page, attempt - back) for back in range(1, self.in_a_row + 1)]
        if attempt >= self.in_a_row and all(before):
            return None
        kind = self.kinds[int(draw(self.seed, "kind", arn, page, attempt) * len(self.kinds))]
        return Fault(**(vars(self.template) | {"kind": kind, "first": None, "page": None}))

    def _strikes(self, arn: str, page: int, attempt: int) -> bool:
        return attempt >= 0 and draw(self.seed, "strikes", arn, page, attempt) < self.rate


def draw(*key: object) -> float:
    """A number in [0, 1) that follows from the key alone."""
    digest = blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _each(planned: Fault | tuple[Fault, ...]) -> tuple[Fault, ...]:
    return (planned,) if isinstance(planned, Fault) else planned


def _fault(data: Mapping[str, Any]) -> Fault:
    call = data.get("call")
    changes = {"kind": FaultKind(data["kind"]), "call": None if call is None else Call(call)}
    return Fault(**{**data, **changes})
