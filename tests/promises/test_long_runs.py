"""Long runs survive what passes, and end with one clear message at what does not.

Beside these, `client/test_failures.py` has credentials that are read again from a file, a refresh
that fails, and refused keys before the first answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from client.support import (
    assert_at_rest,
    held,
    reading,
    refs_of,
    standard_session,
    warm,
    wire,
    without_delays,
)

from durastate import CredentialsError, ExecutionRef, FetchResult, StateClient
from durastate.emulator import Credentials, Emulator, World, session_with

from .carriers import Names

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("transport")]

EXECUTIONS = 4_000 if os.environ.get("DURASTATE_LONG") else 160
AT_ONCE = 8
WORLD = World(seed=5, executions=EXECUTIONS, operations=3)
KEYS = [
    Credentials(f"AKIDOFRUN{run}", f"secret/of+run{run}", f"session/of+run{run}==")
    for run in range(12)
]


async def read_all(
    client: StateClient, emulator: Emulator, at: dict[int, Callable[[], None]] | None = None
) -> list[FetchResult]:
    """All executions; what `at` names is done when that many results have come."""
    results = []
    async with client.fetch_many(refs_of(emulator), max_executions=AT_ONCE) as many:
        async for result in many:
            results.append(result)
            if at and len(results) in at:
                at[len(results)]()
    return results


def assert_nothing_failed(results: list[FetchResult], emulator: Emulator) -> None:
    assert sorted(result.index for result in results) == list(range(EXECUTIONS))
    for result in results:
        assert result.error is None
        assert wire(result.state) == held(emulator, result.index)


def refused(emulator: Emulator) -> int:
    return sum(entry.status == 403 for entry in emulator.log)


# Credentials that expire


class Process:
    """A credential process in a config file, that hands out other keys each time it runs."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers = directory / "answers"
        self._answers.mkdir()
        self._runs = directory / "runs"
        self._runs.touch()
        for run, keys in enumerate(KEYS):
            # Each set of keys lives an hour longer than the one before.
            self.say(run, json.dumps(answer(keys, hours=run + 1)))
        script = directory / "process.py"
        script.write_text(
            f"runs = open({str(self._runs)!r}, 'a+')\n"
            f"runs.write('x'), runs.flush(), runs.seek(0)\n"
            f"run = len(runs.read()) - 1\n"
            f"said = open(f'{self._answers}/{{run}}').read()\n"
            f"print(said)\n"
            f"raise SystemExit('the vault is sealed' if said == '' else 0)\n"
        )
        config = directory / "config"
        config.write_text(f"[default]\ncredential_process = {sys.executable} -I -S {script}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    def say(self, run: int, text: str) -> None:
        (self._answers / str(run)).write_text(text)

    @property
    def runs(self) -> int:
        return len(self._runs.read_text())


def answer(keys: Credentials, *, hours: float) -> dict[str, Any]:
    return {
        "Version": 1,
        "AccessKeyId": keys.access_key_id,
        "SecretAccessKey": keys.secret_access_key,
        "SessionToken": keys.session_token,
        "Expiration": (datetime.now(UTC) + timedelta(hours=hours)).isoformat(),
    }


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Process:
    return Process(tmp_path, monkeypatch)


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Emulator]:
    async with Emulator(WORLD, credentials=KEYS, **options) as emulator:
        yield emulator


def expire(emulator: Emulator, keys: Credentials) -> None:
    """From now on the service says ExpiredTokenException to these."""
    emulator.known_credentials[keys.access_key_id] = Credentials(
        keys.access_key_id,
        keys.secret_access_key,
        keys.session_token,
        expires_at=datetime.now(UTC) - timedelta(seconds=1),
    )


def later(client: StateClient, hours: float) -> None:
    """Let botocore's credentials, and ours, believe that it is so much later."""
    account = client._account
    account._source._time_fetcher = lambda: datetime.now(UTC) + timedelta(hours=hours)
    account._next_check = 0.0


async def test_keys_that_the_service_calls_expired_are_asked_for_anew_from_their_process(
    process: Process,
) -> None:
    async with serving() as emulator, reading(emulator, session=None) as client:
        moments = {
            40 * (run + 1): lambda run=run: expire(emulator, KEYS[run])  # type: ignore[misc]
            for run in range(3)
        }
        assert_nothing_failed(await read_all(client, emulator, moments), emulator)
        assert process.runs == 4
        assert 3 <= refused(emulator) <= 3 * AT_ONCE
        assert_at_rest(client)


async def test_keys_about_to_expire_are_asked_for_anew_before_the_service_refuses_any(
    process: Process,
) -> None:
    async with serving() as emulator, reading(emulator, session=None) as client:
        moments = {
            60: lambda: later(client, hours=0.9),
            120: lambda: later(client, hours=1.9),
        }
        assert_nothing_failed(await read_all(client, emulator, moments), emulator)
        assert process.runs == 3
        assert client._account._credentials is not None
        assert client._account._credentials.access_key == KEYS[2].access_key_id
        assert refused(emulator) == 0


async def test_keys_of_a_session_of_the_users_are_refreshed_through_it() -> None:
    runs = 0

    async def refresh() -> dict[str, str]:
        nonlocal runs
        runs += 1
        keys = KEYS[runs]
        expires = datetime.now(UTC) + timedelta(hours=runs + 1)
        return {
            "access_key": keys.access_key_id,
            "secret_key": keys.secret_access_key,
            "token": str(keys.session_token),
            "expiry_time": expires.isoformat(),
        }

    session = session_with(KEYS[0])
    session._credentials = AioRefreshableCredentials(
        KEYS[0].access_key_id,
        KEYS[0].secret_access_key,
        KEYS[0].session_token,
        datetime.now(UTC) + timedelta(hours=1),
        refresh,
        "test",
    )
    async with serving() as emulator, reading(emulator, session=session) as client:
        moments = {40 * number: lambda n=number: later(client, n - 0.1) for number in (1, 2, 3)}  # type: ignore[misc]
        assert_nothing_failed(await read_all(client, emulator, moments), emulator)
        assert (runs, refused(emulator)) == (3, 0)


NO_KEYS = {
    "fails": ("", "the vault is sealed"),
    "says-what-is-no-json": ('{"SecretAccessKey": "canary-secret"', "did not print the JSON"),
    "says-json-of-another-form": ('["canary-secret"]', "did not print the JSON"),
    "says-half-of-it": ('{"Version": 1, "SecretAccessKey": "canary-secret"}', "AccessKeyId"),
    "hands-out-expired-keys": (json.dumps(answer(KEYS[1], hours=-1)), "expired"),
}


def assert_hidden(secret: str, error: BaseException | None) -> None:
    """In no exception of a chain, nor in what hangs on one."""
    for _ in range(20):
        if error is None:
            return
        assert secret not in f"{error!r} {vars(error)}"
        error = error.__cause__ or error.__context__
    raise AssertionError("a chain without an end")


@pytest.mark.parametrize(
    ("why", "way"),
    [
        *(("refused", way) for way in NO_KEYS),
        ("about-to-expire", "says-what-is-no-json"),
        ("about-to-expire", "hands-out-expired-keys"),
    ],
)
async def test_keys_that_cannot_be_had_anew_end_the_run_with_one_clear_message(
    why: str, way: str, process: Process
) -> None:
    said, expected = NO_KEYS[way]
    for run in range(1, 4):
        process.say(run, said)
    async with serving() as emulator, reading(emulator, session=None) as client:
        done = []

        def lose() -> None:
            done.append(len(emulator.log))
            expire(emulator, KEYS[0])
            if why == "about-to-expire":
                later(client, hours=1.5)

        with pytest.raises(CredentialsError) as raised:
            await read_all(client, emulator, {60: lose})
        assert expected in str(raised.value)
        assert "\n" not in str(raised.value)
        assert_hidden("canary-secret", raised.value)
        assert len(emulator.log) <= done[0] + AT_ONCE
        assert_at_rest(client)


@pytest.mark.parametrize("way", ["fails", "says-what-is-no-json"])
async def test_keys_that_cannot_be_had_at_all_are_one_clear_message_too(
    way: str, process: Process
) -> None:
    said, expected = NO_KEYS[way]
    for run in range(3):
        process.say(run, said)
    with pytest.raises(CredentialsError) as raised:
        async with StateClient(region_name="eu-west-1"):
            pass
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
    assert_hidden("canary-secret", raised.value)


async def test_a_signature_that_is_refused_in_the_middle_ends_the_run_with_one_clear_message(
    process: Process,
) -> None:
    async with serving() as emulator, reading(emulator, session=None) as client:
        moments = {
            60: lambda: emulator.known_credentials.update(
                {each.access_key_id: Credentials(each.access_key_id, "other") for each in KEYS}
            )
        }
        with pytest.raises(
            CredentialsError, match=r"InvalidSignature|UnrecognizedClient"
        ) as raised:
            await read_all(client, emulator, moments)
        assert "\n" not in str(raised.value)
        assert KEYS[0].secret_access_key not in str(raised.value)
        assert_at_rest(client)


# The clock


@pytest.mark.parametrize("minutes", [10, -10])
async def test_a_clock_that_goes_wrong_in_the_middle_is_corrected(minutes: int) -> None:
    ahead = timedelta()

    def go(by: int) -> None:
        nonlocal ahead
        ahead = timedelta(minutes=by)

    emulator = Emulator(WORLD, now=lambda: datetime.now(UTC) + ahead)
    async with emulator, reading(emulator) as client:
        moments = {60: lambda: go(minutes), 120: lambda: go(0)}
        assert_nothing_failed(await read_all(client, emulator, moments), emulator)
        assert 2 <= refused(emulator) <= 2 * AT_ONCE


# Connections and names


def close_connections(emulator: Emulator) -> None:
    """Close, from the service's side, whatever connection is open."""
    assert emulator._runner is not None
    assert emulator._runner.server is not None
    for handler in emulator._runner.server.connections:
        if handler.transport is not None:
            handler.transport.close()


async def test_connections_that_the_service_closed_while_idle_fail_nothing() -> None:
    async with Emulator(WORLD) as emulator, reading(emulator) as client:
        without_delays(client)
        for _ in range(2):
            assert_nothing_failed(await read_all(client, emulator), emulator)
            close_connections(emulator)
        assert emulator.log.connections() > AT_ONCE
        assert_at_rest(client)


async def test_a_connection_closed_on_its_second_request_fails_nothing() -> None:
    """The race in which a request is under way when the service closes an idle connection."""
    page = b'{"Operations":[]}'
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await reader.readuntil(b"\r\n\r\n")
        served += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page))
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with StateClient(session=standard_session(), endpoint_url=url) as client:
            without_delays(client)
            refs = [ExecutionRef(WORLD.arn(index), WORLD.token(index)) for index in range(20)]
            async with client.fetch_many(refs, max_executions=1) as many:
                results = [result async for result in many]
        assert [result.error for result in results] == [None] * 20
        assert served == 20


async def test_names_that_cannot_be_resolved_for_a_moment_fail_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names()
    async with Emulator(WORLD) as emulator:
        url = emulator.endpoint_url.replace("127.0.0.1", "service.test")
        options = {"session": standard_session(), "region_name": "eu-west-1"}
        async with StateClient(endpoint_url=url, **options) as client:
            without_delays(client)
            connector: Any = client._account._endpoints["eu-west-1"].session.connector
            await names.stand_in(client, monkeypatch)
            await warm(emulator, client)

            def lose_names() -> None:
                names.failures = 2
                connector.clear_dns_cache()
                close_connections(emulator)

            assert_nothing_failed(await read_all(client, emulator, {60: lose_names}), emulator)
            assert (names.failures, names.asked >= 4) == (0, True)
            assert_at_rest(client)
