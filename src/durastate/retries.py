"""What to send again, and when: AWS's standard retry rules of 2026, as pure decisions.

A retry costs tokens of a quota that successes refill, so a full outage ends after a few dozen
extra attempts (500 / 14) however many executions are waiting. The delay doubles from a base,
is capped before the jitter is drawn, and a hint of the server's replaces it.

Source: AWS SDKs and Tools Reference Guide, "Retry behavior"; botocore's `retries/standard.py`
with its rules of 2026 switched on is the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from .arguments import is_above_zero, shown
from .errors import ConfigurationError

_QUOTA = 500
_SUCCESS_REFILL = 1
_LONGEST_DELAY_S = 20.0
# Where the service shows no limit, a page that is refused twice has had bad luck, and no run shall
# wait a second for it.
_BAD_LUCK_S = 0.1
# x-amz-retry-after may add this much to the delay that the client drew.
_LONGEST_EXTRA_S = 5.0
# Retry-After, which the model of TooManyRequestsException declares, is taken at its word up to
# here; a server that asks for more gets an earlier request and may refuse it again.
_LONGEST_RETRY_AFTER_S = 60.0

# botocore's list of codes that mean "too many requests"; no service sends all of them.
_THROTTLING_CODES = frozenset(
    (
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottledException",
        "RequestThrottled",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "TransactionInProgressException",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "SlowDown",
        "PriorRequestNotComplete",
        "EC2ThrottledException",
    )
)
_TRANSIENT_CODES = frozenset(("RequestTimeout", "RequestTimeoutException"))
_TRANSIENT_STATUSES = frozenset((500, 502, 503, 504))


class Failure(Enum):
    """Why an attempt failed, as far as a retry goes: tokens a retry costs, base of its delay."""

    THROTTLED = (5, 1.0)
    TRANSIENT = (14, 0.05)
    PERMANENT = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How persistently a request is tried.

    `max_attempts`: attempts in all, the first included. None: what the `AioConfig`, the profile
    or `AWS_MAX_ATTEMPTS` says, otherwise 3.
    `attempt_timeout_s`: one HTTP exchange as a whole, from connecting to the last byte. Time in
    which durastate itself does not read, because of `Limits.max_bytes_in_flight`, is not counted.
    `outage_limit_s`: how long a bulk read waits for an endpoint that has gone away, and goes on
    sending a page that the service throttles.
    In a bulk read, and in a call with a `timeout_s`, a throttled page uses up no attempt: it goes
    back to the rate limiter, whose pace has come down.
    """

    max_attempts: int | None = None
    attempt_timeout_s: float = 30.0
    outage_limit_s: float = 300.0

    def __post_init__(self) -> None:
        attempts = self.max_attempts
        if attempts is not None and (type(attempts) is not int or attempts < 1):
            raise ConfigurationError(
                f"max_attempts: expected at least 1, found {shown(self.max_attempts)}"
            )
        check_seconds("attempt_timeout_s", self.attempt_timeout_s)
        check_seconds("outage_limit_s", self.outage_limit_s)


def check_seconds(name: str, seconds: object) -> None:
    """Refuse what is no length of time."""
    if not is_above_zero(seconds):
        raise ConfigurationError(f"{name}: expected more than 0 seconds, found {shown(seconds)}")


def classify(status: int, code: str) -> Failure:
    """What kind of failure an answer with this status and AWS error code is.

    KMS errors come as 502 and never recover by themselves, so they are permanent.
    """
    if code.startswith("KMS"):
        return Failure.PERMANENT
    if code in _THROTTLING_CODES or status == 429:
        return Failure.THROTTLED
    if code in _TRANSIENT_CODES or status in _TRANSIENT_STATUSES:
        return Failure.TRANSIENT
    return Failure.PERMANENT


class Retries:
    """Decides about the retries of one client; all its requests share the quota."""

    def __init__(self, max_attempts: int, random: Callable[[], float]) -> None:
        self.available = _QUOTA
        self.max_attempts = max_attempts
        self._random = random

    @property
    def is_exhausted(self) -> bool:
        """Whether the quota has nothing left for another transient failure."""
        return self.available < Failure.TRANSIENT.value[0]

    def delay_s(
        self, failure: Failure, attempt: int, headers: Mapping[str, str] | None = None
    ) -> float | None:
        """Seconds to wait before the next attempt; None where there shall be none.

        `attempt` is the number of the one that failed, from 1. `headers` are those of the
        answer, with lower-case names, where there was one.
        """
        if failure.value is None or attempt >= self.max_attempts:
            return None
        cost, base = failure.value
        if cost > self.available:
            return None
        self.available -= cost
        return _hinted(self._drawn(base, attempt), headers or {})

    def throttled_s(self, times: int, headers: Mapping[str, str], *, is_limited: bool) -> float:
        """Seconds until a page that was throttled so many times goes back to the rate limiter.

        None the first time, because the limiter's pace has come down if need be. A page that is
        throttled again and again backs off by itself, so that it alone does not slow the others;
        longer where the service limits the pace.
        """
        base = Failure.THROTTLED.value[1] if is_limited else _BAD_LUCK_S
        drawn = 0.0 if times < 2 else self._drawn(base, times - 1)
        return _hinted(drawn, headers)

    def _drawn(self, base: float, attempt: int) -> float:
        # The exponent is bounded so that thousands of attempts do not overflow a float.
        return self._random() * min(base * 2.0 ** min(attempt - 1, 32), _LONGEST_DELAY_S)

    def succeeded(self, last_failure: Failure | None) -> None:
        """Refill: what the last retry cost, or 1 for a success at the first attempt."""
        refill = last_failure.value[0] if last_failure and last_failure.value else _SUCCESS_REFILL
        self.available = min(_QUOTA, self.available + refill)


def _hinted(drawn_s: float, headers: Mapping[str, str]) -> float:
    milliseconds = _whole_number(headers.get("x-amz-retry-after"))
    if milliseconds is not None:
        return max(drawn_s, min(milliseconds / 1000, drawn_s + _LONGEST_EXTRA_S))
    seconds = _whole_number(headers.get("retry-after"))
    if seconds is not None:
        return max(drawn_s, min(seconds, _LONGEST_RETRY_AFTER_S))
    return drawn_s


def _whole_number(text: str | None) -> int | None:
    """The number in a header; None for a missing, negative or malformed one."""
    # Nine digits are more than any hint can mean, and no work to convert.
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
