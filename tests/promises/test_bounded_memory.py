"""A slow consumer of large pages does not fill the memory, however many requests it wished for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .big_pages import PAGE_BYTES

_HERE = Path(__file__).parent
_MAX_BYTES_IN_FLIGHT = 64 * 1024**2
_MAX_EXECUTIONS = 1_024
_TAKEN = 20


@pytest.fixture
def url() -> Iterator[str]:
    """A server of large pages in another process."""
    with subprocess.Popen(
        [sys.executable, str(_HERE / "big_pages.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.stdin.close()


def test_memory_stays_near_the_bytes_in_flight_with_a_slow_consumer(
    url: str, record_property: Callable[[str, object], None]
) -> None:
    numbers = map(str, (_MAX_BYTES_IN_FLIGHT, _MAX_EXECUTIONS, _TAKEN))
    ended = subprocess.run(
        [sys.executable, str(_HERE / "slow_reader.py"), url, *numbers],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=50,
    )
    seen = json.loads(ended.stdout)
    record_property("bounded memory: peak, MB", seen["peak"] / 1e6)
    assert seen["peak"] < _MAX_BYTES_IN_FLIGHT * 3 + 100 * 10**6, seen
    assert seen["taken"] == _TAKEN
    # It read ahead as far as it may, with everything under way at once.
    assert seen["most_held"] > _MAX_BYTES_IN_FLIGHT - PAGE_BYTES
    assert seen["most_in_flight"] > _MAX_EXECUTIONS / 2
