"""The emulator as a server on 127.0.0.1, on the running event loop."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Self, Unpack

from aiobotocore.session import AioSession
from aiohttp import web

from durastate.emulator.behaviour import Behaviour, Options
from durastate.emulator.calls import Calls, Decision
from durastate.emulator.delivery import deliver
from durastate.emulator.faults import FaultPlan
from durastate.emulator.log import LoggedRequest, RequestLog
from durastate.emulator.signatures import STANDARD, Credentials, Received
from durastate.emulator.world import World

_LONGEST_LINE = 64 * 1024


class Emulator:
    """A local imitation of the calls that read durable executions; ``async with`` runs it.

    ``credentials`` are the keys that it accepts, one or several; :attr:`known_credentials` can be
    changed while it runs. ``now`` is its wall clock: signatures, markers, credentials' expiry and
    the Date header go by it, the rate limit and latency by real time. Leaving the block ends
    requests in flight.
    """

    def __init__(
        self,
        world: World | None = None,
        faults: FaultPlan | None = None,
        *,
        credentials: Credentials | Sequence[Credentials] = STANDARD,
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        now: Callable[[], datetime] | None = None,
        **options: Unpack[Options],
    ) -> None:
        accepted = (credentials,) if isinstance(credentials, Credentials) else tuple(credentials)
        self._world = World() if world is None else world
        self.credentials = accepted[0]
        self.log = RequestLog()
        self._behaviour = Behaviour(**options)
        self._now = now or _utc_now
        plan = FaultPlan() if faults is None else faults
        plan.check(self.world)
        self._calls = Calls(self.world, plan, self._behaviour, credentials=accepted, now=self._now)
        self._released = asyncio.Event()
        self._released.set()
        self._port = port
        self._ssl_context = ssl_context
        self._runner: web.ServerRunner | None = None
        self.endpoint_url = ""

    @property
    def known_credentials(self) -> dict[str, Credentials]:
        """By access key id, what is accepted; add and remove at will."""
        return self._calls.known_credentials

    @property
    def world(self) -> World:
        """The executions; another world takes effect with the next request.

        With more ``executions``, or other ``statuses``, it is what the first one has become.
        """
        return self._world

    @world.setter
    def world(self, world: World) -> None:
        self._world = world
        self._calls.serve(world)

    @property
    def faults(self) -> FaultPlan:
        """The plan; another one takes effect with the next request."""
        return self._calls.faults

    @faults.setter
    def faults(self, plan: FaultPlan) -> None:
        plan.check(self.world)
        self._calls.faults = plan

    def hold(self) -> None:
        """From now on requests are logged and then wait for :meth:`release` with their answers."""
        self._released.clear()

    def release(self) -> None:
        """Let the answers go that :meth:`hold` keeps back."""
        self._released.set()

    def renew_token(self, arn: str) -> str:
        """Make the execution's token an old one, as a checkpoint does, and return the newest."""
        return self._calls.renew_token(arn)

    def session(self) -> AioSession:
        """An aiobotocore session with the emulator's keys and nothing from profiles or files."""
        return session_with(self.credentials)

    async def __aenter__(self) -> Self:
        server = web.Server(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._ssl_context)
        try:
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        scheme = "https" if self._ssl_context else "http"
        self.endpoint_url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived = time.monotonic()
        with self.log.answering():
            received = Received(
                request.method,
                request.raw_path,
                tuple(request.headers.items()),
                await request.read() if request.can_read_body else b"",
                request.secure,
            )
            decision = self._calls.decide(received)
            self.log.add(_logged(arrived, request, decision))
            await self._released.wait()
            answer = decision.answer
            answer = answer.changed(delay_s=answer.delay_s + self._behaviour.latency_s)
            return await deliver(request, answer, self._now())


def session_with(credentials: Credentials) -> AioSession:
    """An aiobotocore session that has these keys and reads no profile, config or key file."""
    nothing: Any = (None, None, None, None)
    session = AioSession(
        session_vars={
            "profile": nothing,
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    session.set_credentials(
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    )
    return session


def _logged(arrived: float, request: web.BaseRequest, decision: Decision) -> LoggedRequest:
    asked = decision.asked
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return LoggedRequest(
        at=arrived,
        method=request.method,
        path=request.raw_path.partition("?")[0],
        arn=asked.arn if asked else None,
        marker_given=bool(asked and asked.marker),
        max_items=asked.items if asked else None,
        page=decision.page,
        status=decision.answer.status,
        fault=decision.answer.fault,
        region=decision.region,
        connection=peer[1] if peer else 0,
        call=asked.call if asked else None,
        function=asked.function if asked else None,
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)
