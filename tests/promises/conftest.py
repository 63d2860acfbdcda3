"""What holds for the tests of the promises beside what holds for all."""

from __future__ import annotations

import pytest
from client.wires import Authority

from .peer import session


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one authority that the clients of these tests trust."""
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="session", autouse=True)
def one_authority(trusted: Authority) -> None:
    """Reading all the world's authorities takes most of a short test."""
    session().set_config_variable("ca_bundle", str(trusted.bundle))
