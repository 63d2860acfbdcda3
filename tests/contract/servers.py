"""The three servers, each behind the same small description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiobotocore.session import AioSession
from aws_emulator import functions
from aws_emulator.peer import REGION, AwsEmulator
from ministack.peer import ended, every_kind, many_steps, running_ministack

from durastate import ExecutionRef
from durastate.emulator import Credentials, Emulator, World, session_with

from . import differences
from .differences import Differences


@dataclass(frozen=True)
class Held:
    """An execution that does not change while it is read."""

    endpoint_url: str
    arn: str
    token: str = field(repr=False)
    stale_token: str = field(repr=False)
    count: int
    function_name: str

    @property
    def ref(self) -> ExecutionRef:
        return ExecutionRef(self.arn, self.token)


@dataclass(frozen=True)
class Server:
    """A running server; of its executions the last has more than 1,000 operations."""

    endpoint_url: str
    session: AioSession
    region: str
    held: tuple[Held, ...]
    unknown_arn: str
    differences: Differences


@asynccontextmanager
async def embedded_service() -> AsyncIterator[Server]:
    world = World(seed=4, executions=3, operations=(150, 1, 1_300), regions=(REGION,))
    async with Emulator(world) as emulator:
        held = tuple(
            Held(
                emulator.endpoint_url,
                arn,
                emulator.renew_token(arn),
                first_token,
                len(world.visible_operations(index)),
                ExecutionRef(arn).function_name,
            )
            for index, (arn, first_token) in enumerate(world.refs())
        )
        yield Server(
            emulator.endpoint_url,
            emulator.session(),
            REGION,
            held,
            f"{held[0].arn}-unknown",
            differences.EMBEDDED,
        )


@asynccontextmanager
async def aws_emulator() -> AsyncIterator[Server]:
    with AwsEmulator() as emulator:
        started = [
            emulator.start("contexts", functions.contexts, ["a", "list"]),
            emulator.start("callbacks", functions.callbacks(emulator)),
            emulator.start("invokes", functions.invokes),
            emulator.start("many-steps", functions.many_steps, {"count": 1_100, "size": 8}),
        ]
        emulator.wait_until_ready()
        held = tuple(
            Held(
                each.endpoint_url,
                each.arn,
                each.token,
                each.stale_token,
                len(each.event["InitialExecutionState"]["Operations"]),
                each.name,
            )
            for each in started
        )
        yield Server(
            emulator.endpoint_url,
            session_with(Credentials("AKIDEXAMPLE", "not-a-secret")),
            REGION,
            held,
            "no-such-uuid/no-such-invocation",
            differences.AWS_EMULATOR,
        )


@asynccontextmanager
async def ministack() -> AsyncIterator[Server]:
    async with running_ministack() as running:
        written = [
            await running.write("every-kind", every_kind),
            await running.write("ended", ended),
            await running.write("many-steps", many_steps(1_300)),
        ]
        held = tuple(
            Held(
                each.endpoint_url,
                each.arn,
                each.token,
                each.stale_token,
                each.count,
                ExecutionRef(each.arn).function_name,
            )
            for each in written
        )
        yield Server(
            running.endpoint_url,
            running.session,
            REGION,
            held,
            f"{held[0].arn}-unknown",
            differences.MINISTACK,
        )


SERVERS = {
    "embedded service": embedded_service,
    "AWS's emulator": aws_emulator,
    "ministack": ministack,
}
