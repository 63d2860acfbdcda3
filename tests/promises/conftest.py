"""What holds for the tests of the promises beside what holds for all."""

from __future__ import annotations

from collections import defaultdict

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that the tests have recorded: the lowest and the highest of each."""
    figures: dict[str, list[float]] = defaultdict(list)
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            figures[name].append(float(value))
    if figures:
        terminalreporter.section("figures of the promises, lowest and highest")
    for name, values in sorted(figures.items()):
        terminalreporter.line(f"{name}: {min(values):,.3g} to {max(values):,.3g}")
