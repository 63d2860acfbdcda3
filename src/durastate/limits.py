"""What a client may have under way at once, and how fast: the settings, and who shares what.

Quotas: AWS Lambda Developer Guide, durable functions quotas, per account and Region.
"""

from __future__ import annotations

import math
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .arguments import is_above_zero, shown
from .errors import ConfigurationError
from .gates import Admission, ByteGate, Turns
from .pace import Pace
from .requests import GET_EXECUTION, GET_HISTORY, GET_STATE, LIST_EXECUTIONS

_QUOTAS = {GET_STATE: 10_000, GET_HISTORY: 15, GET_EXECUTION: 30, LIST_EXECUTIONS: 15}
_LARGE_REGIONS = frozenset(("us-east-1", "us-west-2", "eu-west-1"))
_LARGE_QUOTAS = _QUOTAS | {GET_STATE: 20_000}
# Every durable function that runs replays with the State call, so a bulk reader leaves it most.
# The others are used by people and tools alone.
_DEFAULT_SHARES = dict.fromkeys(_QUOTAS, 0.8) | {GET_STATE: 0.2}
_DEFAULT_MAX_REQUESTS = 64


def published_quota(call: str, region: str | None) -> int:
    """Requests a second that AWS allows of a call by default, in an account's Region."""
    return (_LARGE_QUOTAS if region in _LARGE_REGIONS else _QUOTAS)[call]


def default_share(call: str) -> float:
    """The share of that quota which `quota_share="default"` takes."""
    return _DEFAULT_SHARES[call]


@dataclass(frozen=True, eq=False)
class Limits:
    """The limits of a client; give one to several clients of an event loop and they share it.

    `max_requests`: HTTP requests in flight; a streamed page whose reading is paused until its
    consumer has taken others does not count. None: `max_pool_connections` of the `AioConfig`
    where one is given, otherwise 64.
    `max_bytes_in_flight`: response bytes that have arrived and are not decoded yet. At the limit
    reading pauses; one response may always proceed, so the bytes held can exceed the limit by
    one page.
    `max_page_bytes`: a response with more is a `TransportError`.
    `max_state_bytes`: an execution whose pages have more is a `StateTooLargeError`. A page counts
    as 256 bytes for each of its operations or events where its own bytes are fewer.
    `quota_share`: the share of AWS's published quota that may be used. `"default"` is 20 % for
    GetDurableExecutionState, which production uses too, 80 % for the other calls, and no ceiling
    at an `endpoint_url` of the user's own; None switches the ceilings off.
    `rates`: requests a second by call name, instead of a share of the quota.
    `burst`: requests that may go at once on top of the rate; None is 5 % of a second's.
    Every ceiling holds per account, Region and call, and within this process only.
    """

    max_requests: int | None = None
    max_bytes_in_flight: int = 64 * 1024**2
    max_page_bytes: int = 32 * 1024**2
    max_state_bytes: int = 256 * 1024**2
    quota_share: float | Literal["default"] | None = "default"
    rates: Mapping[str, float] = field(default_factory=dict)
    burst: int | None = None
    _shared: SharedLimits | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("max_requests", "max_bytes_in_flight", "max_page_bytes", "max_state_bytes"):
            _check_count(name, getattr(self, name), may_be_none=name == "max_requests")
        share = self.quota_share
        if not (share is None or share == "default" or _is_share(share)):
            raise ConfigurationError(
                f"quota_share: expected None, 'default' or a number above 0, at most 1, "
                f"found {shown(share)}"
            )
        if not isinstance(self.rates, Mapping):
            raise ConfigurationError("rates: expected a mapping of requests a second by call name")
        for call, rate in self.rates.items():
            if call not in _QUOTAS:
                raise ConfigurationError(
                    f"rates: expected one of {list(_QUOTAS)}, found {shown(call)}"
                )
            if not is_above_zero(rate):
                raise ConfigurationError(
                    f"rates: expected requests a second above 0 for {call}, found {shown(rate)}"
                )
        _check_count("burst", self.burst, may_be_none=True)

    def shared(
        self,
        clock: Callable[[], float],
        *,
        loop: AbstractEventLoop | None = None,
        max_requests: int | None = None,
    ) -> SharedLimits:
        """The counters behind these limits, made when the first client of an event loop opens."""
        shared = self._shared
        if shared is not None and shared.loop is not loop:
            if shared.loop is not None and not shared.loop.is_closed():
                raise ConfigurationError(
                    "limits: they are in use on another event loop; each loop needs its own"
                )
            shared = None
        if shared is None:
            slots = self.max_requests or max_requests or _DEFAULT_MAX_REQUESTS
            shared = SharedLimits(self, slots, clock, loop)
            object.__setattr__(self, "_shared", shared)
        return shared


def _check_count(name: str, value: object, *, may_be_none: bool) -> None:
    if (value is None and may_be_none) or (type(value) is int and 1 <= value <= sys.maxsize):
        return
    raise ConfigurationError(f"{name}: expected an integer from 1, found {shown(value)}")


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


class SharedLimits:
    """What several clients with the same `Limits` count together."""

    def __init__(
        self,
        limits: Limits,
        max_requests: int,
        clock: Callable[[], float],
        loop: AbstractEventLoop | None = None,
    ) -> None:
        self.loop = loop
        self.max_requests = max_requests
        self.admission = Admission(max_requests, clock, limits.max_bytes_in_flight)
        self.gate = ByteGate(limits.max_bytes_in_flight, clock, self.admission)
        self.turns = Turns()
        self._limits = limits
        self._paces: dict[tuple[str, str | None, str | None, bool], Pace] = {}

    def pace(
        self, call: str, account: str | None, region: str | None, *, own_endpoint: bool
    ) -> Pace:
        """The pace of one account, Region and call."""
        key = (call, account, region, own_endpoint)
        if key not in self._paces:
            ceiling = self._ceiling(call, region, own_endpoint)
            burst = self._limits.burst
            self._paces[key] = Pace(ceiling, ceiling * 0.05 if burst is None else burst)
        return self._paces[key]

    def _ceiling(self, call: str, region: str | None, own_endpoint: bool) -> float:
        if call in self._limits.rates:
            return self._limits.rates[call]
        share = self._limits.quota_share
        if share == "default":
            share = None if own_endpoint else default_share(call)
        return math.inf if share is None else share * published_quota(call, region)
