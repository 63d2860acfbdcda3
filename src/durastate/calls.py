"""One request to its answer: within the limits, with retries, or the error that ended it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from .errors import CredentialsError, DurastateError, TransportError
from .limits import Ceiling, Hold, SharedLimits
from .requests import Request
from .responses import error_of
from .retries import Failure, Retries
from .transport import Response, Transport

# The clock and the credentials, each once.
_MOST_MENDINGS = 2


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a client has done so far; a snapshot.

    `requests` counts every attempt, `retries` those that were not the first of their page,
    `throttles` the answers that said "too many requests"; `pages`, `operations` and `bytes` what
    came of them. `in_flight` and `waiting` are as of now. The seconds are summed over requests:
    for a slot among `max_requests`, below the rate ceiling, for room among
    `max_bytes_in_flight`, between attempts. Limits that several clients share show what all of
    these clients did.
    """

    requests: int
    pages: int
    operations: int
    bytes: int
    retries: int
    throttles: int
    in_flight: int
    waiting: int
    waited_for_requests_s: float
    waited_for_rate_s: float
    waited_for_bytes_s: float
    waited_for_retries_s: float


class Calls:
    """Sends the requests of one client and counts them."""

    def __init__(self, transport: Transport, retries: Retries, shared: SharedLimits) -> None:
        self.pages = 0
        self.operations = 0
        self.bytes = 0
        self.answered = False  # Whether any answer at all has come from the service.
        self._requests = 0
        self._retried = 0
        self._throttled = 0
        self._slept_s = 0.0
        self._transport = transport
        self._retries = retries
        self.shared = shared

    async def answer(
        self, request: Request, token: str, ceiling: Ceiling | None, hold: Hold
    ) -> Response:
        """The successful answer to `request`, or the error after the last attempt.

        Every attempt passes the limits anew. `hold` counts the answer's bytes; the caller
        releases it.
        """
        attempt = 1
        last_retried: Failure | None = None
        mended = 0
        while True:
            error: DurastateError
            headers = None
            try:
                response = await self._attempt(request, ceiling, hold)
            except TransportError as caught:
                self.answered |= caught.reached
                error = caught
                failure = Failure.TRANSIENT if caught.retryable else Failure.PERMANENT
            else:
                if 200 <= response.status < 300:
                    self._retries.succeeded(last_retried)
                    return response
                hold.release()
                headers = response.headers
                error, failure = error_of(
                    request, token, status=response.status, headers=headers, body=response.body
                )
                self._throttled += failure is Failure.THROTTLED
                # A wrong clock or an expired token: the same request may pass once mended.
                if (
                    isinstance(error, CredentialsError)
                    and mended < _MOST_MENDINGS
                    and await self._transport.mend(response)
                ):
                    mended += 1
                    self._retried += 1
                    continue
            delay_s = self._retries.delay_s(failure, attempt, headers)
            if delay_s is None:
                raise error
            last_retried = failure
            attempt += 1
            self._retried += 1
            self._slept_s += delay_s
            await asyncio.sleep(delay_s)

    async def _attempt(self, request: Request, ceiling: Ceiling | None, hold: Hold) -> Response:
        admission = self.shared.admission
        if not admission.try_enter(ceiling):
            await admission.enter(ceiling)
        try:
            self._requests += 1
            response = await self._transport(request, hold)
        finally:
            admission.leave()
        self.answered = True
        return response

    def statistics(self) -> Statistics:
        admission, gate = self.shared.admission, self.shared.gate
        return Statistics(
            requests=self._requests,
            pages=self.pages,
            operations=self.operations,
            bytes=self.bytes,
            retries=self._retried,
            throttles=self._throttled,
            in_flight=admission.in_flight,
            waiting=admission.waiting + gate.waiting,
            waited_for_requests_s=admission.waited_for_slot_s,
            waited_for_rate_s=admission.waited_for_rate_s,
            waited_for_bytes_s=gate.waited_s,
            waited_for_retries_s=self._slept_s,
        )
