"""What holds for every test: no AWS settings of this machine, no blocked loop, nothing left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from functools import cache

import botocore.session
import pytest
import pytest_asyncio
from blockbuster import BlockBuster, blockbuster_ctx
from client.wires import Authority
from transports import TRANSPORTS, over, over_the_forced_one

import durastate
from durastate.emulator import Emulator, World


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Trusted instead of all the world's authorities, which take 40 ms to read, for each client."""
    return Authority(tmp_path_factory.mktemp("authority"), "nobodys")


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_not_ignored() -> Iterator[None]:
    """As at a terminal, for commands that run here and for those that are started from here.

    A shell that runs the tests in the background has them begin with SIGINT ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def no_aws_settings(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
) -> None:
    """Neither the environment nor the home directory of whoever runs the tests has a say."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    nowhere = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))


@pytest.fixture(scope="session", autouse=True)
def models_are_read_once() -> Iterator[None]:
    """botocore reads its model of the service for each session: 100 ms for most of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[BlockBuster]:
    """A call that blocks the event loop, made by the library, is an error."""
    with blockbuster_ctx("durastate", excluded_modules=["durastate.emulator"]) as buster:
        for function in buster.functions.values():
            # aiobotocore's set-up, on a loop of its own in another thread.
            function.can_block_in("durastate/threads.py", "run_there")
        yield buster


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> None:
    """For tests with an event loop: see `no_task_is_left`."""
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("no_task_is_left")


@pytest_asyncio.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """Every task that a test started has ended with it."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"left behind: {left}"


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Iterator[str]:
    """What carries a test's requests: one after the other, so that it runs twice."""
    with over(request.param):
        yield request.param


@pytest.fixture(autouse=True, scope="session")
def the_forced_transport() -> Iterator[None]:
    with over_the_forced_one():
        yield


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """The embedded service with a hundred executions."""
    async with Emulator(World(seed=1, executions=100)) as running:
        yield running


@pytest_asyncio.fixture
async def client(emulator: Emulator) -> AsyncIterator[durastate.StateClient]:
    """A client of `emulator`."""
    async with durastate.StateClient(
        endpoint_url=emulator.endpoint_url, session=emulator.session(), region_name="eu-west-1"
    ) as opened:
        yield opened
