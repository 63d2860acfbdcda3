"""What holds for the tests of the client beside what holds for all."""

import pytest

from .support import standard_session
from .wires import Authority


@pytest.fixture(scope="session", autouse=True)
def few_authorities(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Trust one authority instead of all the world's: reading those takes most of a short test."""
    authority = Authority(tmp_path_factory.mktemp("authority"), "nobodys")
    standard_session().set_config_variable("ca_bundle", str(authority.bundle))
