"""One request to its answer: within the limits, with retries, or the error that ended it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from .clock import ServiceClock
from .errors import CredentialsError, DurastateError, OutageError, ServiceError, TransportError
from .gates import Hold
from .hooks import Hook, Paused, RequestDone, Resumed, Retrying, Throttled, teller
from .limits import SharedLimits
from .outages import Outage
from .pace import Pace
from .requests import GET_EXECUTION, GET_HISTORY, GET_STATE, LIST_EXECUTIONS, Request
from .responses import error_of
from .retries import Failure, Retries
from .transport import Response, Transport

# The clock and the credentials, each once.
_MOST_MENDINGS = 2
# Idle connections that a server has closed are no failure of it. When so many in a row end like
# that, it is not idleness.
_MOST_REPLAYS = 16


class Persistence(Enum):
    """How long a request is sent again and again."""

    ATTEMPTS = auto()
    """A single call without a deadline: as often as AWS's retry rules say."""
    DEADLINE = auto()
    """A single call with one: throttling is waited out for as long as that allows."""
    RUN = auto()
    """Part of a bulk read: throttling and outages are waited out, up to `outage_limit_s`."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a client has done so far; a snapshot.

    `requests` counts every attempt, `retries` those that were not the first of their page,
    `throttles` the answers that said "too many requests"; `pages`, `operations` (of states),
    `events` (of histories), `executions` (listed or described) and `bytes` what came of them.
    `in_flight` and `waiting` are as of now.

    The seconds are summed over requests, each counted when it ends, and say what delayed a run:
    a slot among `max_requests`; the rate ceiling; the pace that throttling has brought down, and
    the pauses of throttled pages; room among `max_bytes_in_flight`; pauses between other
    attempts; an endpoint that was away; a consumer that was slow to take results; the service,
    from sending a request to the last byte of its answer. Limits that several clients share show
    what all of these clients did.

    `transport` is what carries the requests: `httptools`, or `aiohttp` where there is a proxy, a
    client certificate or `AioConfig.connector_args`.

    `clock_skew_s` is how far the service's clock is ahead of this machine's, by the `Date` of its
    answers: 0 where they may agree, None before an answer has told it. Of several Regions it is
    that of the last answer.
    """

    requests: int
    pages: int
    operations: int
    events: int
    executions: int
    bytes: int
    retries: int
    throttles: int
    in_flight: int
    waiting: int
    waited_for_requests_s: float
    waited_for_rate_s: float
    waited_for_throttling_s: float
    waited_for_bytes_s: float
    waited_for_retries_s: float
    waited_for_outages_s: float
    waited_for_consumer_s: float
    waited_for_service_s: float
    transport: str
    clock_skew_s: float | None = None


class _Trial:
    """How far the attempts at one request are."""

    __slots__ = (
        "attempt",
        "first_failed_at",
        "is_probe",
        "last_retried",
        "mended",
        "pace",
        "persistence",
        "replayed",
        "request",
        "sent_at",
        "throttled",
        "throttled_since",
        "token",
    )

    def __init__(
        self, request: Request, token: str | None, pace: Pace, persistence: Persistence
    ) -> None:
        self.request = request
        self.token = token
        self.pace = pace
        self.persistence = persistence
        self.attempt = 1
        self.first_failed_at: float | None = None
        self.is_probe = False
        self.last_retried: Failure | None = None
        self.mended = 0
        self.replayed = False
        self.sent_at = 0.0
        self.throttled = 0
        self.throttled_since = 0.0


class Calls:
    """Sends the requests of one client and counts them."""

    def __init__(
        self,
        transport: Transport,
        retries: Retries,
        shared: SharedLimits,
        *,
        outage_limit_s: float = 300.0,
        hooks: Sequence[Hook] = (),
        tell_all: bool = True,
    ) -> None:
        self.pages = 0
        self.bytes = 0
        self._items = dict.fromkeys((GET_STATE, GET_HISTORY, GET_EXECUTION, LIST_EXECUTIONS), 0)
        self.shared = shared
        self._service_clock = ServiceClock(time.time)
        self.waited_for_consumer_s = 0.0
        self.hooks = hooks
        self.tell = teller(hooks)
        # Whether to tell of the events that come with every request and page, too.
        self.tells_all = tell_all and bool(hooks)
        self._answered: set[str] = set()  # Regions whose endpoint has answered, be it an error
        self._heard_of: dict[str, float] = {}  # By Region, when the last such answer was asked for
        self._good: dict[Pace, tuple[Request, str | None]] = {}
        self._outages: dict[str, Outage] = {}
        self._outage_limit_s = outage_limit_s
        self._requests = 0
        self._retried = 0
        self._throttled = 0
        self._replays_in_a_row = 0
        self._slept_s = 0.0
        self._throttled_s = 0.0
        self._served_s = 0.0
        self._transport = transport
        self.region_of = transport.region_of
        self._retries = retries
        self._clock: Callable[[], float] = asyncio.get_running_loop().time

    @property
    def answered(self) -> bool:
        """Whether any answer at all has come from the service."""
        return bool(self._answered)

    def close(self) -> None:
        """Let nothing happen later."""
        for outage in self._outages.values():
            outage.close()

    def count(self, operation: str, items: int) -> None:
        """What has come of an answer to this call."""
        self._items[operation] += items

    async def answer(
        self,
        request: Request,
        token: str | None,
        pace: Pace,
        hold: Hold,
        *,
        persistence: Persistence = Persistence.ATTEMPTS,
        note: Callable[[DurastateError], None] | None = None,
    ) -> Response:
        """The successful answer to `request`, or the error after the last attempt.

        Every attempt passes the limits anew. `hold` counts the answer's bytes; the caller
        releases it. `note` is told of each failure that was not the last.
        """
        trial = _Trial(request, token, pace, persistence)
        outage = self._outage(request.region) if persistence is Persistence.RUN else None
        while True:
            try:
                await self._enter(trial, outage, hold)
                response, failed = await self._attempt(trial, hold)
            except BaseException:
                if trial.is_probe and outage is not None:
                    outage.hand_on()
                raise
            if response is not None and failed is None:
                self._retries.succeeded(trial.last_retried)
                self._good[pace] = request, token
                self._heard(trial, outage)
                return response
            assert failed is not None
            error, failure = failed
            if failure is not Failure.TRANSIENT:
                self._heard(trial, outage)
            # A wrong clock or an expired token: the same request may pass once mended.
            if (
                response is not None
                and isinstance(error, CredentialsError)
                and trial.mended < _MOST_MENDINGS
                and await self._transport.mend(response)
            ):
                trial.mended += 1
                self._retried += 1
                continue
            headers = {} if response is None else response.headers
            delay_s = self._after(trial, error, failure, headers)
            if note is not None:
                note(error)
            await self._pause(delay_s, failure)

    async def _enter(self, trial: _Trial, outage: Outage | None, hold: Hold) -> None:
        """Wait until the request may be sent; it then has a slot."""
        trial.is_probe = False
        while True:
            if outage is not None and outage.is_on:
                await self._sit_out(trial, outage, hold)
            await self._admit(trial.pace, hold)
            if outage is None or not outage.is_on or trial.is_probe:
                return
            # The endpoint went away while this waited for its slot.
            self.shared.admission.withdraw(trial.pace)

    async def _admit(self, pace: Pace, hold: Hold) -> None:
        admission, stream = self.shared.admission, hold.stream if hold.is_streamed else None
        if not admission.try_enter(pace, stream):
            await admission.enter(pace, stream)

    async def _sit_out(self, trial: _Trial, outage: Outage, hold: Hold) -> None:
        """Wait until the endpoint answers again, and when it is this request's turn, probe."""
        while outage.is_on and await outage.turn():
            good = self._good.get(trial.pace)
            if good is None:
                trial.is_probe = True
                return
            # It has been answered before, so that a failure now is the endpoint's alone.
            probe = _Trial(*good, trial.pace, trial.persistence)
            try:
                await self._admit(probe.pace, hold)
                _, failed = await self._attempt(probe, hold)
            except BaseException:
                outage.hand_on()
                raise
            hold.release()
            self._retried += 1
            if failed is not None and failed[1] is Failure.TRANSIENT:
                outage.failed(failed[0], is_probe=True)
            else:
                self._heard(probe, outage)

    async def _attempt(
        self, trial: _Trial, hold: Hold
    ) -> tuple[Response | None, tuple[DurastateError, Failure] | None]:
        """One exchange: its answer if any, and what was wrong if anything was."""
        response: Response | None = None
        failed: tuple[DurastateError, Failure] | None = None
        trial.sent_at = self._clock()
        self._requests += 1
        try:
            response = await self._transport(trial.request, hold)
        except TransportError as caught:
            failed = caught, Failure.TRANSIENT if caught.retryable else Failure.PERMANENT
            if caught.reached:
                self._answered.add(trial.request.region)
        finally:
            self.shared.admission.leave()
            self._served_s += self._clock() - trial.sent_at
        size = 0
        if response is not None:
            size = len(response.body)
            failed = self._judge(trial, response, hold)
        if self.tells_all:
            self._tell_of_request(trial, response, size)  # Last, as it may raise.
        return response, failed

    def _judge(
        self, trial: _Trial, response: Response, hold: Hold
    ) -> tuple[DurastateError, Failure] | None:
        """What is wrong with an answer, if anything is; the pace goes by it."""
        self._answered.add(trial.request.region)
        if 200 <= response.status < 300:
            self._replays_in_a_row = 0
            now = self._clock()
            trial.pace.succeeded(now)
            date = response.headers.get("date", "")
            self._service_clock.hear(date, now - trial.sent_at, response.proven_at)
            self.shared.admission.learn(len(response.body))
            return None
        hold.release()
        error, failure = error_of(
            trial.request,
            _secrets_of(trial, response),
            status=response.status,
            headers=response.headers,
            body=response.body,
        )
        if failure is Failure.THROTTLED:
            self._throttled += 1
            # Refused again while others get through, a page says more of itself than of the rate.
            if not trial.throttled or trial.pace.succeeded_at < trial.throttled_since:
                trial.pace.throttled(trial.sent_at, self._clock())
        return error, failure

    def _tell_of_request(self, trial: _Trial, response: Response | None, size: int) -> None:
        self.tell(
            RequestDone(
                operation=trial.request.operation,
                arn=trial.request.arn,
                region=trial.request.region,
                attempt=trial.attempt,
                status=None if response is None else response.status,
                bytes=size,
                seconds=self._clock() - trial.sent_at,
            )
        )

    def _heard(self, trial: _Trial, outage: Outage | None) -> None:
        """The endpoint has answered as one that works."""
        region = trial.request.region
        self._heard_of[region] = max(trial.sent_at, self._heard_of.get(region, trial.sent_at))
        if outage is not None and outage.is_on:
            outage.over()

    def _after(
        self,
        trial: _Trial,
        error: DurastateError,
        failure: Failure,
        headers: Mapping[str, str],
    ) -> float:
        """Seconds until the next attempt; raises `error` where there is none."""
        if failure is Failure.TRANSIENT and trial.first_failed_at is None:
            trial.first_failed_at = self._clock()
        if failure is Failure.THROTTLED and trial.persistence is not Persistence.ATTEMPTS:
            return self._throttle(trial, error, headers)
        if self._may_replay(trial, error):
            trial.replayed = True
            self._replays_in_a_row += 1
            return 0.0
        if trial.persistence is Persistence.RUN and self._is_outage(trial, error, failure):
            return 0.0
        delay_s = self._retries.delay_s(failure, trial.attempt, headers)
        if delay_s is None:
            raise error
        trial.last_retried = failure
        if self.hooks:
            reason = error.code if isinstance(error, ServiceError) else type(error).__name__
            where = (trial.request.operation, trial.request.arn, trial.request.region)
            self.tell(Retrying(*where, attempt=trial.attempt, reason=reason, delay_s=delay_s))
        trial.attempt += 1
        return delay_s

    def _throttle(self, trial: _Trial, error: DurastateError, headers: Mapping[str, str]) -> float:
        """Seconds until a throttled request goes back to the rate limiter."""
        now, pace = self._clock(), trial.pace
        trial.throttled += 1
        if trial.throttled == 1:
            trial.throttled_since = now
        limit_s = self._outage_limit_s
        if trial.persistence is Persistence.RUN and now - trial.throttled_since > limit_s:
            if pace.succeeded_at >= trial.throttled_since:
                raise error
            # Nothing has come through in all that time: it is not this execution's fault.
            raise OutageError(
                f"nothing but throttling for outage_limit_s={limit_s:g} s, so the run ends here: "
                f"{error}"
            )
        delay_s = self._retries.throttled_s(trial.throttled, headers, is_limited=pace.is_throttled)
        if self.hooks:
            where = (trial.request.operation, trial.request.arn, trial.request.region)
            self.tell(Throttled(*where, rate=pace.rate, delay_s=delay_s))
        return delay_s

    def _may_replay(self, trial: _Trial, error: DurastateError) -> bool:
        return (
            isinstance(error, TransportError)
            and error.was_idle
            and not trial.replayed
            and not trial.is_probe
            and self._replays_in_a_row < _MOST_REPLAYS
        )

    def _is_outage(self, trial: _Trial, error: DurastateError, failure: Failure) -> bool:
        """Whether the endpoint is gone, as far as this attempt shows; the request then waits.

        Only an endpoint that has answered before can have gone away. One that cannot be reached
        says nothing about a request, so no attempt is used up, and no more does one that has
        answered nobody else since the request began to fail.
        """
        if failure is not Failure.TRANSIENT or trial.request.region not in self._answered:
            return False
        outage = self._outages[trial.request.region]
        connected = not isinstance(error, TransportError) or error.connected
        is_last = connected and trial.attempt >= self._retries.max_attempts
        if trial.is_probe:
            outage.failed(error, is_probe=True)
            if is_last:
                return False
        elif outage.is_on:
            return True
        elif is_last and (trial.pace not in self._good or self._others_are_answered(trial)):
            return False
        elif is_last or not connected or self._retries.is_exhausted:
            outage.failed(error, is_probe=False)
        else:
            return False
        trial.attempt += connected and not is_last
        return True

    def _others_are_answered(self, trial: _Trial) -> bool:
        """Whether the endpoint works, going by what was asked since this request first failed."""
        heard_of = self._heard_of.get(trial.request.region)
        first_failed_at = trial.first_failed_at
        return heard_of is not None and first_failed_at is not None and heard_of > first_failed_at

    def _outage(self, region: str) -> Outage:
        known = self._outages.get(region)
        if known is None:

            def changed(reason: DurastateError, seconds: float) -> None:
                self.tell(Resumed(region, seconds) if seconds else Paused(region, str(reason)))

            known = Outage(self._outage_limit_s, random.random, changed)
            self._outages[region] = known
        return known

    async def _pause(self, delay_s: float, failure: Failure) -> None:
        self._retried += 1
        if not delay_s:
            return
        if failure is Failure.THROTTLED:
            self._throttled_s += delay_s
        else:
            self._slept_s += delay_s
        await asyncio.sleep(delay_s)

    def statistics(self) -> Statistics:
        """A snapshot of the counters."""
        admission, gate = self.shared.admission, self.shared.gate
        outages = self._outages.values()
        return Statistics(
            requests=self._requests,
            pages=self.pages,
            operations=self._items[GET_STATE],
            events=self._items[GET_HISTORY],
            executions=self._items[GET_EXECUTION] + self._items[LIST_EXECUTIONS],
            bytes=self.bytes,
            retries=self._retried,
            throttles=self._throttled,
            in_flight=admission.in_flight,
            waiting=admission.waiting + gate.waiting + sum(each.waiting for each in outages),
            waited_for_requests_s=admission.waited_for_slot_s,
            waited_for_rate_s=admission.waited_for_rate_s,
            waited_for_throttling_s=admission.waited_for_throttling_s + self._throttled_s,
            waited_for_bytes_s=gate.waited_s,
            waited_for_retries_s=self._slept_s,
            waited_for_outages_s=sum(each.waited_s for each in outages),
            waited_for_consumer_s=self.waited_for_consumer_s,
            waited_for_service_s=self._served_s,
            transport=self._transport.name,
            clock_skew_s=self._service_clock.skew_s,
        )


def _secrets_of(trial: _Trial, response: Response) -> tuple[str, ...]:
    """What an answer may quote and no output may."""
    keys = () if response.signed_with is None else response.signed_with.secrets
    return keys if trial.token is None else (trial.token, *keys)
