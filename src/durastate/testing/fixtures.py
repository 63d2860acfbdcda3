"""Fixtures for pytest with pytest-asyncio: `pytest_plugins = ["durastate.testing.fixtures"]`.

`state_world` and `state_faults` are what the service is made of; a fixture of the same name in a
test module or in `conftest.py` takes their place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from durastate.client import StateClient
from durastate.emulator import Emulator, FaultPlan, World


@pytest.fixture
def state_world() -> World:
    """The executions that `state_service` has: a hundred."""
    return World(executions=100)


@pytest.fixture
def state_faults() -> FaultPlan:
    """What goes wrong in `state_service`: nothing."""
    return FaultPlan()


@pytest_asyncio.fixture
async def state_service(state_world: World, state_faults: FaultPlan) -> AsyncIterator[Emulator]:
    """The embedded service, running on the test's event loop."""
    async with Emulator(state_world, state_faults) as service:
        yield service


@pytest_asyncio.fixture
async def state_client(state_service: Emulator) -> AsyncIterator[StateClient]:
    """A client of `state_service`."""
    async with StateClient(
        endpoint_url=state_service.endpoint_url,
        session=state_service.session(),
        region_name="eu-west-1",
    ) as client:
        yield client


@pytest.fixture
def state_environment(state_service: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """`state_service`, where a `StateClient()` without arguments finds it."""
    credentials = state_service.credentials
    settings = {
        "AWS_ENDPOINT_URL_LAMBDA": state_service.endpoint_url,
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_SESSION_TOKEN": credentials.session_token,
        "AWS_REGION": "eu-west-1",
    }
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)
    return state_service
