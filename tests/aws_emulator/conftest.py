"""Executions of real durable functions in AWS's own emulator, held open for the whole session.

They are started once, all together, and are ready in some three seconds.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiobotocore.session import AioSession

from . import functions
from .botocore_reader import BotocoreReader
from .peer import AwsEmulator, HeldExecution

SMALL_PAGE_BYTES = 20_000

#: Pages are bounded by their count alone: the emulator's own limit of 5 MiB is out of reach.
BY_COUNT = (
    "steps",
    "contexts",
    "callbacks",
    "conditions",
    "unfinished",
    "invokes",
    "only-waits",
    "many-steps",
)
#: Pages are bounded by SMALL_PAGE_BYTES as well; the invocation event holds the first page only.
BY_BYTES = ("large-payloads", "steps-over-several-pages")


@pytest.fixture(scope="session")
def aws_emulator() -> Iterator[AwsEmulator]:
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def small_page_emulator() -> Iterator[AwsEmulator]:
    with AwsEmulator(max_invocation_page_bytes=SMALL_PAGE_BYTES) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def finished(held_executions: dict[str, HeldExecution]) -> HeldExecution:
    """An execution that was held and is over: its token is of no use any more."""
    return held_executions["finished"]


@pytest.fixture(scope="session")
def held_executions(
    aws_emulator: AwsEmulator, small_page_emulator: AwsEmulator
) -> dict[str, HeldExecution]:
    """Every execution by its name, with ARN, token and event; their states do not change."""
    started = [
        aws_emulator.start("many-steps", functions.many_steps, {"count": 1_300, "size": 8}),
        aws_emulator.start("steps", functions.steps, {"order": functions.UNICODE_TEXT}),
        aws_emulator.start("contexts", functions.contexts, ["a", "list"]),
        aws_emulator.start("callbacks", functions.callbacks(aws_emulator)),
        aws_emulator.start("conditions", functions.conditions),
        aws_emulator.start("unfinished", functions.unfinished),
        aws_emulator.start("invokes", functions.invokes),
        aws_emulator.start("only-waits", functions.only_waits),
        aws_emulator.start("finished", functions.only_waits),
        # 45,000 bytes are more than a page: it comes alone. The others come two or three a page.
        small_page_emulator.start(
            "large-payloads", functions.payloads, {"sizes": [8_000] * 10 + [45_000] + [900] * 40}
        ),
        small_page_emulator.start(
            "steps-over-several-pages", functions.many_steps, {"count": 300, "size": 180}
        ),
    ]
    aws_emulator.wait_until_ready()
    small_page_emulator.wait_until_ready()
    aws_emulator.finish(started[8])
    return {held.name: held for held in started}


@pytest.fixture
def held(
    request: pytest.FixtureRequest, held_executions: dict[str, HeldExecution]
) -> HeldExecution:
    """The execution whose name is the test's parameter."""
    return held_executions[request.param]


@pytest.fixture(scope="session")
def session() -> AioSession:
    """A session with fake credentials, for aiobotocore's own client and for durastate."""
    session = AioSession()
    session.set_credentials("AKIDEXAMPLE", "not-a-secret", "not-a-token")
    return session


@pytest.fixture(scope="session")
def botocore(session: AioSession) -> Iterator[BotocoreReader]:
    """Reads what aiobotocore's own paginator reads."""
    reader = BotocoreReader(session)
    yield reader
    reader.close()
