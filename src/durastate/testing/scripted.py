"""A transport in memory: what a test wrote down comes back, and what was asked is kept.

It opens no socket and sleeps by the running loop's clock, so it also works on a loop whose clock
a test moves by hand.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import orjson

from durastate.client import StateClient
from durastate.errors import DurastateError, TransportError
from durastate.gates import Hold
from durastate.hooks import Hook
from durastate.limits import Limits
from durastate.requests import Request
from durastate.retries import RetryPolicy
from durastate.transport import Response

Wire: TypeAlias = dict[str, Any]
_DEFAULT_ITEMS = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `number` counts from 0, `at` is its time on the loop's clock.

    `arn` is the execution's, or of a listing the function's name. `query` has all parameters,
    each with its values.
    """

    number: int
    at: float
    operation: str
    arn: str
    region: str
    max_items: int | None = None
    marker: str | None = field(default=None, repr=False)
    checkpoint_token: str | None = field(default=None, repr=False)
    query: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Late:
    """An answer that comes after so many seconds."""

    seconds: float
    answer: Response | DurastateError


Answer: TypeAlias = Response | DurastateError | Late
"""A response, an error to raise instead (a `TransportError`, as a rule), or either of them late."""

Script: TypeAlias = Callable[[Asked], Answer] | Sequence[Answer]
"""A function of what is asked; or the answers in order, of which the last is repeated."""


class ScriptedTransport:
    """Answers the requests of a client from a script.

    `takes_s` is how long every answer takes. `asked` has each request in the order of sending,
    `in_flight` and `most_at_once` count those that wait for their answers. `region` is for keys
    that are no ARNs. Rate ceilings hold as at AWS with `own_endpoint=False`; otherwise, as with an
    `endpoint_url`, only where `Limits` names them. Refused credentials are never renewed.
    """

    def __init__(
        self,
        script: Script,
        *,
        takes_s: float = 0.0,
        region: str = "eu-west-1",
        own_endpoint: bool = True,
    ) -> None:
        if not callable(script) and not script:
            raise ValueError("script: expected at least one answer")
        self.script = script
        self.takes_s = takes_s
        self.asked: list[Asked] = []
        self.in_flight = 0
        self.most_at_once = 0
        self._region = region
        self._own_endpoint = own_endpoint

    def client(
        self,
        *,
        limits: Limits | None = None,
        retry: RetryPolicy | None = None,
        hooks: Sequence[Hook] | None = None,
    ) -> StateClient:
        """A client that asks this transport, to be entered; it needs no credentials."""
        client = StateClient(limits=limits, retry=retry, hooks=hooks)
        client._transport = self
        return client

    async def __call__(self, request: Request, hold: Hold) -> Response:
        asked = _asked(request, len(self.asked), asyncio.get_running_loop().time())
        self.asked.append(asked)
        self.in_flight += 1
        self.most_at_once = max(self.most_at_once, self.in_flight)
        try:
            return await self._answer(asked, hold)
        finally:
            self.in_flight -= 1

    async def _answer(self, asked: Asked, hold: Hold) -> Response:
        seconds, script = self.takes_s, self.script
        answer = script(asked) if callable(script) else script[min(asked.number, len(script) - 1)]
        if isinstance(answer, Late):
            seconds, answer = seconds + answer.seconds, answer.answer
        await asyncio.sleep(seconds)
        if isinstance(answer, DurastateError):
            raise copy.copy(answer)  # Whoever gets it may hang a traceback on it.
        if not hold.try_add(len(answer.body)):
            await hold.add(len(answer.body))
        return answer

    @property
    def name(self) -> str:
        """As `statistics()` has it."""
        return "scripted"

    async def region_of(self, region: str | None) -> tuple[str | None, bool]:
        """The ARN's Region, or this transport's own."""
        return region or self._region, self._own_endpoint

    async def mend(self, response: Response) -> bool:  # noqa: ARG002
        """There is neither a clock nor a key that could be wrong."""
        return False

    async def close(self) -> None:
        """There is nothing to close."""


def page(*operations: Wire, next_marker: str | None = None) -> Response:
    """A page with these operations, in wire form."""
    body: Wire = {"Operations": operations}
    if next_marker is not None:
        body["NextMarker"] = next_marker
    return Response(200, {}, orjson.dumps(body))


def step(id_: str, status: str = "SUCCEEDED", **members: Any) -> Wire:
    """A step in wire form, with what every operation has; `members` are added or replaced."""
    return {"Id": id_, "Type": "STEP", "Status": status, "StartTimestamp": 1_767_225_600, **members}


def service_error(
    code: str, *, status: int, message: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """An error in the service's wire form, such as a 429 TooManyRequestsException."""
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    body = orjson.dumps({"message": message})
    return Response(status, {"x-amzn-errortype": code, **lowered}, body)


def no_answer(
    what: str = "the connection was reset",
    *,
    connected: bool = True,
    reached: bool = False,
    was_idle: bool = False,
) -> TransportError:
    """An answer that never comes: a `TransportError` with these attributes."""
    error = TransportError(what)
    error.connected = connected
    error.reached = reached
    error.was_idle = was_idle
    return error


def paged(states: Mapping[str, Sequence[Wire]]) -> Callable[[Asked], Response]:
    """A script that serves these operations by ARN, page by page; an unknown ARN is refused."""

    def answer(asked: Asked) -> Response:
        operations = states.get(asked.arn)
        if operations is None:
            message = "The durable execution does not exist."
            return service_error("ResourceNotFoundException", status=404, message=message)
        start = int(asked.marker or 0)
        end = start + (asked.max_items or _DEFAULT_ITEMS)
        rest = str(end) if end < len(operations) else None
        return page(*operations[start:end], next_marker=rest)

    return answer


def _asked(request: Request, number: int, at: float) -> Asked:
    query = parse_qs(request.query)
    given = {name: values[0] for name, values in query.items()}
    items = given.get("MaxItems")
    return Asked(
        number=number,
        at=at,
        operation=request.operation,
        arn=request.arn,
        region=request.region,
        max_items=None if items is None else int(items),
        marker=given.get("Marker"),
        checkpoint_token=given.get("CheckpointToken"),
        query=query,
    )
