"""The harness leaves nothing behind: what it held is released, its port and its threads end."""

from __future__ import annotations

import logging
import socket
import threading

import pytest

from . import functions
from .peer import AwsEmulator


def test_closing_releases_what_is_held_and_ends_every_thread() -> None:
    threads = set(threading.enumerate())
    loggers = [(each.level, list(each.handlers)) for each in (logging.root, _botocore())]
    with AwsEmulator() as emulator:
        held = emulator.start("only-waits", functions.only_waits)
        emulator.wait_until_ready()
        emulator.start("not-ready", functions.takes_an_hour)
        port = int(emulator.endpoint_url.rsplit(":", 1)[1])

    assert held.released.is_set()
    assert set(threading.enumerate()) <= threads
    assert [(each.level, list(each.handlers)) for each in (logging.root, _botocore())] == loggers
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def _botocore() -> logging.Logger:
    return logging.getLogger("botocore")


def test_the_held_invocation_is_a_replay_with_a_token_of_its_own() -> None:
    with AwsEmulator() as emulator:
        held = emulator.start("only-waits", functions.only_waits, {"some": "input"})
        emulator.wait_until_ready()

    assert len(held.events) == 2
    assert held.arn == held.event["DurableExecutionArn"]
    assert held.token != held.stale_token
    first, replay = (event["InitialExecutionState"]["Operations"] for event in held.events)
    assert [each["Type"] for each in first] == ["EXECUTION"]
    assert [each["Type"] for each in replay] == ["EXECUTION", "WAIT"]
    assert isinstance(replay[0]["StartTimestamp"], int)
