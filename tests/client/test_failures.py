"""What goes wrong between the client and the service, and what the caller sees of it."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiobotocore.credentials import AioRefreshableCredentials

from durastate import (
    AccessDeniedError,
    CredentialsError,
    DeadlineError,
    DecodingError,
    DurastateError,
    EncryptionKeyError,
    ExecutionNotFoundError,
    ExecutionRef,
    Failed,
    InvalidTokenError,
    Limits,
    PaginationError,
    RetryPolicy,
    ServiceError,
    StateClient,
    StateTooLargeError,
    ThrottledError,
    TransportError,
)
from durastate.emulator import (
    Credentials,
    Emulator,
    Fault,
    FaultKind,
    FaultPlan,
    World,
    session_with,
)

from .support import (
    assert_at_rest,
    held,
    reading,
    ref_of,
    refs_of,
    wire,
    without_delays,
)

pytestmark = pytest.mark.usefixtures("transport")

# Two executions of several pages, so that a fault may strike in the middle.
WORLD = World(seed=2, executions=2, operations=25)
ATTEMPTS = 3


@dataclass(frozen=True)
class Ending:
    """How reading an execution ends that is broken for good, and after how many requests."""

    error: type[DurastateError]
    requests: int
    text: str = ""
    code: str | None = None
    status: int | None = None
    retryable: bool = False
    has_request_id: bool = True


def _service(error: type[ServiceError], code: str, status: int, **more: Any) -> Ending:
    requests = ATTEMPTS if more.get("retryable") else 1
    return Ending(error, requests, code=code, status=status, **more)


def _proxy(status: int) -> Ending:
    return _service(ServiceError, f"HTTP {status}", status, retryable=True, has_request_id=False)


ENDINGS: dict[FaultKind, Ending] = {
    FaultKind.THROTTLE: _service(
        ThrottledError, "TooManyRequestsException", 429, retryable=True, text="Limits.rates"
    ),
    FaultKind.SERVICE_ERROR: _service(ServiceError, "ServiceException", 500, retryable=True),
    FaultKind.BAD_GATEWAY: _proxy(502),
    FaultKind.UNAVAILABLE: _proxy(503),
    FaultKind.GATEWAY_TIMEOUT: _proxy(504),
    FaultKind.KMS_ACCESS_DENIED: _service(EncryptionKeyError, "KMSAccessDeniedException", 502),
    FaultKind.KMS_DISABLED: _service(EncryptionKeyError, "KMSDisabledException", 502),
    FaultKind.KMS_INVALID_STATE: _service(EncryptionKeyError, "KMSInvalidStateException", 502),
    FaultKind.KMS_NOT_FOUND: _service(EncryptionKeyError, "KMSNotFoundException", 502),
    FaultKind.ACCESS_DENIED: _service(
        AccessDeniedError, "AccessDeniedException", 403, text="lambda:GetDurableExecutionState"
    ),
    FaultKind.INVALID_TOKEN: _service(
        InvalidTokenError, "InvalidParameterValueException", 400, text="Invalid checkpoint token"
    ),
    FaultKind.NOT_FOUND: _service(ExecutionNotFoundError, "ResourceNotFoundException", 404),
    FaultKind.EXPIRED_CREDENTIALS: Ending(CredentialsError, 1, "ExpiredTokenException"),
    FaultKind.RESET: Ending(TransportError, ATTEMPTS, "connection"),
    FaultKind.RESET_IN_BODY: Ending(TransportError, ATTEMPTS, "connection"),
    FaultKind.TRUNCATED: Ending(TransportError, ATTEMPTS, "closed inside the body"),
    FaultKind.SLOW_BODY: Ending(DeadlineError, ATTEMPTS, "0.15 s"),
    FaultKind.STALL: Ending(DeadlineError, ATTEMPTS, "0.15 s"),
    FaultKind.MALFORMED_JSON: Ending(DecodingError, 1, "JSON"),
    FaultKind.WRONG_TYPES: Ending(DecodingError, 1, "Operations: expected an array"),
    FaultKind.NOT_A_NUMBER: Ending(DecodingError, 1, "JSON"),
    # The first page, then one more request that brings its own marker back.
    FaultKind.REPEATED_MARKER: Ending(PaginationError, 2, "same marker"),
    FaultKind.CYCLING_MARKERS: Ending(PaginationError, 3, "same marker"),
    FaultKind.EMPTY_PAGE: Ending(PaginationError, 1_001, "empty pages in a row"),
    FaultKind.GZIP: Ending(TransportError, 1, "compressed"),
    FaultKind.REDIRECT: _service(ServiceError, "HTTP 302", 302, text="redirect"),
    FaultKind.HUGE_BODY: Ending(TransportError, 1, "max_page_bytes=200000"),
}
# Read to the end although something is odd.
HARMLESS = {
    FaultKind.WRONG_CLOCK,
    FaultKind.LONE_SURROGATE,
    FaultKind.SHORT_PAGE,
    FaultKind.UNKNOWN_FIELDS,
}
PASSING = [kind for kind, ending in ENDINGS.items() if ending.requests == ATTEMPTS]
PASSING.remove(FaultKind.CYCLING_MARKERS)
SLOW = {FaultKind.SLOW_BODY, FaultKind.STALL}


def a_fault(kind: FaultKind, **when: Any) -> Fault:
    delay_s = 20 if kind in SLOW else 0.05
    return Fault(kind, delay_s=delay_s, body_bytes=300_000, **when)


def settings(kind: FaultKind) -> dict[str, Any]:
    timeout_s = 0.15 if kind in SLOW else 10
    return {
        "retry": RetryPolicy(
            max_attempts=ATTEMPTS, attempt_timeout_s=timeout_s, outage_limit_s=0.2
        ),
        "limits": Limits(max_page_bytes=200_000),
    }


def test_every_kind_of_fault_is_covered() -> None:
    assert set(ENDINGS) | HARMLESS == set(FaultKind)
    assert set(ENDINGS) & HARMLESS == set()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ENDINGS)
async def test_a_lasting_fault_ends_in_its_own_error(kind: FaultKind) -> None:
    expected = ENDINGS[kind]
    faults = FaultPlan(on={0: a_fault(kind)})
    async with Emulator(WORLD, faults) as emulator, reading(emulator, **settings(kind)) as client:
        without_delays(client)
        with pytest.raises(DurastateError) as raised:
            await client.get_state(ref_of(emulator))
        error = raised.value
        assert type(error) is expected.error
        assert expected.text in str(error)
        assert "\n" not in str(error)
        if isinstance(error, ServiceError):
            assert (error.code, error.status) == (expected.code, expected.status)
            assert error.retryable is expected.retryable
            assert (error.request_id is not None) is expected.has_request_id
            assert error.operation == "GetDurableExecutionState"
            assert error.arn == emulator.world.arn(0)
            assert f"{error.code}: " in str(error)
        if not isinstance(error, CredentialsError | DecodingError):
            assert emulator.world.arn(0) in str(error)
        again = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (type(again), str(again)) == (type(error), str(error))
        assert len(emulator.log) == expected.requests == client.statistics().requests
        # The other execution is none the worse.
        assert_at_rest(client)
        assert wire(await client.get_state(ref_of(emulator, 1))) == held(emulator, 1)
        assert_at_rest(client)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("failures", [1, 2])
async def test_a_passing_fault_is_got_over_with_as_many_more_requests(
    kind: FaultKind, failures: int
) -> None:
    # On the second page, so that what came before it must be kept and not read again.
    faults = FaultPlan(on={0: a_fault(kind, first=failures, page=1)})
    async with Emulator(WORLD, faults) as emulator, reading(emulator, **settings(kind)) as client:
        without_delays(client)
        state = await client.get_state(ref_of(emulator), max_items=10)
        assert wire(state) == held(emulator)
        seen = client.statistics()
        assert (seen.pages, seen.retries) == (3, failures)
        assert seen.throttles == (failures if kind is FaultKind.THROTTLE else 0)
        # aiohttp repeats on a new connection what a kept one lost, so the log is the judge.
        assert len(emulator.log) == seen.requests == 3 + failures
        assert_at_rest(client)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", sorted(HARMLESS))
async def test_a_harmless_oddity_is_read_to_the_end(kind: FaultKind) -> None:
    faults = FaultPlan(on={0: a_fault(kind)})
    async with Emulator(WORLD, faults) as emulator, reading(emulator) as client:
        state = await client.get_state(ref_of(emulator), max_items=10)
        expected = held(emulator)
        assert [operation.id for operation in state.operations] == [o["Id"] for o in expected]
        if kind is FaultKind.LONE_SURROGATE:
            assert state.operations[0].name == "half \ud800"
            assert b"\\ud800" in state.to_json()
        elif kind is FaultKind.UNKNOWN_FIELDS:
            assert state.operations[1].status == "PAUSED"
            assert state.operations[1].to_dict()["SignalDetails"] == {"Channel": "approvals"}
        else:
            assert wire(state) == expected


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ENDINGS)
async def test_in_bulk_the_others_come_whole_beside_a_broken_one(kind: FaultKind) -> None:
    world = World(seed=2, executions=6, operations=25)
    faults = FaultPlan(on={3: a_fault(kind)})
    async with Emulator(world, faults) as emulator, reading(emulator, **settings(kind)) as client:
        without_delays(client)
        await client.get_page(ref_of(emulator))  # So that the endpoint has answered once.
        results = {}
        ends_it = ENDINGS[kind].error is CredentialsError
        try:
            async with client.fetch_many(refs_of(emulator), max_executions=2) as many:
                async for result in many:
                    results[result.index] = result
        except CredentialsError:
            assert ends_it
            return
        assert not ends_it
        assert sorted(results) == [0, 1, 2, 3, 4, 5]
        failed = results.pop(3)
        assert isinstance(failed, Failed)
        assert type(failed.error) is ENDINGS[kind].error
        for index, result in results.items():
            assert wire(result.state) == held(emulator, index)
        assert_at_rest(client)


# What a server may send by mistake or malice


@pytest.mark.asyncio
async def test_a_redirect_is_not_followed() -> None:
    faults = FaultPlan(on={0: Fault(FaultKind.REDIRECT)})
    async with Emulator(WORLD, faults) as emulator, reading(emulator) as client:
        with pytest.raises(ServiceError, match="not followed"):
            await client.get_state(ref_of(emulator))
        assert [entry.status for entry in emulator.log] == [302]


@pytest.mark.asyncio
async def test_a_state_too_large_names_the_way_that_reads_it() -> None:
    world = World(executions=2, operations=(300, 3), payload_size=1_000)
    limits = Limits(max_state_bytes=100_000)
    async with Emulator(world) as emulator, reading(emulator, limits=limits) as client:
        with pytest.raises(StateTooLargeError, match="stream_pages") as raised:
            await client.get_state(ref_of(emulator), max_items=10)
        assert "max_state_bytes=100000" in str(raised.value)
        assert len(emulator.log) < 30
        assert_at_rest(client)
        async with client.fetch_many(refs_of(emulator), max_items=10) as many:
            found = {result.index: type(result.error) async for result in many}
        assert found == {0: StateTooLargeError, 1: type(None)}
        async with client.stream_pages([ref_of(emulator)], max_items=10) as pages:
            operations = [o async for result in pages for o in result.page.operations]  # type: ignore[union-attr]
        assert [operation.to_dict() for operation in operations] == held(emulator)
        assert_at_rest(client)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [FaultKind.REPEATED_MARKER, FaultKind.CYCLING_MARKERS])
async def test_pages_that_never_end_are_an_error_in_every_way_of_reading(kind: FaultKind) -> None:
    async with (
        Emulator(WORLD, FaultPlan(on={0: Fault(kind)})) as emulator,
        reading(emulator) as client,
    ):
        with pytest.raises(PaginationError):
            async for _ in client.iter_pages(ref_of(emulator)):
                pass
        async with client.stream_pages([ref_of(emulator)]) as pages:
            results = [result async for result in pages]
        assert isinstance(results[-1].error, PaginationError)
        assert not any(result.is_last for result in results[:-1])  # type: ignore[union-attr]
        assert_at_rest(client)


@pytest.mark.asyncio
async def test_the_servers_hint_says_when_to_ask_again() -> None:
    hinted = Fault(FaultKind.THROTTLE, first=1, retry_after_ms=200)
    async with Emulator(WORLD, FaultPlan(on={0: hinted})) as emulator, reading(emulator) as client:
        without_delays(client)
        await client.get_state(ref_of(emulator))
        first, second = (entry.at for entry in emulator.log)
        assert 0.199 <= second - first < 1.5
        assert client.statistics().waited_for_throttling_s == pytest.approx(0.2)


# The clock


@pytest.mark.asyncio
@pytest.mark.parametrize("hours", [-30, 1])
async def test_a_wrong_clock_is_corrected_once_and_remembered(hours: int) -> None:
    def now() -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    async with Emulator(World(executions=20), now=now) as emulator, reading(emulator) as client:
        for index, ref in enumerate(refs_of(emulator)):
            assert wire(await client.get_state(ref)) == held(emulator, index)
        statuses = [entry.status for entry in emulator.log]
        assert statuses == [403] + [200] * (len(statuses) - 1)
        assert client.statistics().retries == 1


@pytest.mark.asyncio
async def test_a_wrong_clock_is_corrected_in_bulk_too() -> None:
    def now() -> datetime:
        return datetime.now(UTC) - timedelta(minutes=20)

    async with (
        Emulator(World(executions=30, operations=3), now=now) as emulator,
        reading(emulator) as client,
    ):
        async with client.fetch_many(refs_of(emulator), max_executions=8) as many:
            results = [result async for result in many]
        assert all(result.error is None for result in results)
        refused = [entry for entry in emulator.log if entry.status == 403]
        assert len(refused) <= 8


# Credentials

OLD = Credentials("AKIDOLD", "secret-of-old", "session/of+old==")
NEW = Credentials("AKIDNEW", "secret-of-new", "session/of+new==")


class Wall:
    """The emulator's clock, moved by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def expire(emulator: Emulator, credentials: Credentials) -> None:
    """From now on the service says ExpiredTokenException to these."""
    emulator.known_credentials[credentials.access_key_id] = Credentials(
        credentials.access_key_id,
        credentials.secret_access_key,
        credentials.session_token,
        expires_at=datetime.now(UTC) - timedelta(seconds=1),
    )


def write_keys(path: Path, credentials: Credentials) -> None:
    path.write_text(
        "[default]\n"
        f"aws_access_key_id = {credentials.access_key_id}\n"
        f"aws_secret_access_key = {credentials.secret_access_key}\n"
        f"aws_session_token = {credentials.session_token}\n"
    )


@pytest.mark.asyncio
async def test_a_session_token_that_expires_is_read_again_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    write_keys(file, OLD)
    world = World(executions=30, operations=3)
    async with (
        Emulator(world, credentials=(OLD, NEW)) as emulator,
        reading(emulator, session=None) as client,
    ):
        await client.get_state(ref_of(emulator))
        expire(emulator, OLD)
        write_keys(file, NEW)
        async with client.fetch_many(refs_of(emulator), max_executions=8) as many:
            results = [result async for result in many]
        assert [result.error for result in results] == [None] * 30
        refused = [entry for entry in emulator.log if entry.status == 403]
        assert 1 <= len(refused) <= 8


@pytest.mark.asyncio
@pytest.mark.parametrize("session_is_given", [False, True])
async def test_a_session_token_that_expires_for_good_ends_the_run(
    session_is_given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OLD.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OLD.secret_access_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", str(OLD.session_token))
    session = session_with(OLD) if session_is_given else None
    world = World(executions=30, operations=3)
    async with (
        Emulator(world, credentials=OLD) as emulator,
        reading(emulator, session=session) as client,
    ):
        done = 0
        with pytest.raises(CredentialsError, match="ExpiredTokenException"):  # noqa: PT012
            async with client.fetch_many(refs_of(emulator), max_executions=4) as many:
                async for result in many:
                    assert result.error is None
                    done += 1
                    if done == 10:
                        expire(emulator, OLD)
        assert 10 <= done <= 20
        assert len(emulator.log) <= 24
        assert_at_rest(client)


def refreshing_session(
    first_lives_s: float, refresh: Callable[[], AsyncIterator[dict[str, str]] | Any]
) -> Any:
    session = session_with(OLD)
    session._credentials = AioRefreshableCredentials(
        OLD.access_key_id,
        OLD.secret_access_key,
        OLD.session_token,
        datetime.now(UTC) + timedelta(seconds=first_lives_s),
        refresh,
        "test",
    )
    return session


@pytest.mark.asyncio
async def test_credentials_about_to_expire_are_refreshed_once_for_all_requests() -> None:
    refreshed = 0

    async def refresh() -> dict[str, str]:
        nonlocal refreshed
        refreshed += 1
        await asyncio.sleep(0)
        return {
            "access_key": NEW.access_key_id,
            "secret_key": NEW.secret_access_key,
            "token": str(NEW.session_token),
            "expiry_time": (datetime.now(UTC) + timedelta(hours=6)).isoformat(),
        }

    world = World(executions=30, operations=3)
    # 500 s are less than what botocore insists on, so the first request must wait for new ones.
    session = refreshing_session(500, refresh)
    async with (
        Emulator(world, credentials=(OLD, NEW)) as emulator,
        reading(emulator, session=session) as client,
    ):
        del emulator.known_credentials[OLD.access_key_id]
        async with client.fetch_many(refs_of(emulator), max_executions=8) as many:
            results = [result async for result in many]
        assert [result.error for result in results] == [None] * 30
        assert refreshed == 1
        assert [entry.status for entry in emulator.log] == [200] * 30


@pytest.mark.asyncio
async def test_credentials_that_cannot_be_refreshed_end_the_run() -> None:
    async def refresh() -> dict[str, str]:
        raise OSError("the metadata service is gone")

    session = refreshing_session(2_000, refresh)
    world = World(executions=30, operations=3)
    async with (
        Emulator(world, credentials=OLD) as emulator,
        reading(emulator, session=session) as client,
    ):
        await client.get_state(ref_of(emulator))
        session._credentials._expiry_time = datetime.now(UTC) - timedelta(seconds=1)
        client._account._next_check = 0.0
        with pytest.raises(CredentialsError, match="cannot be refreshed"):  # noqa: PT012
            async with client.fetch_many(refs_of(emulator), max_executions=4) as many:
                async for _ in many:
                    pass
        assert_at_rest(client)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        (Credentials("AKIDNOBODY", "emulator-secret"), "UnrecognizedClientException"),
        (Credentials("emulator-key", "another-secret"), "InvalidSignatureException"),
        (Credentials("emulator-key", "emulator-secret", "stray"), "UnrecognizedClientException"),
    ],
    ids=["unknown-key", "wrong-secret", "stray-session-token"],
)
async def test_refused_credentials_end_a_bulk_read_at_once_with_one_message(
    credentials: Credentials, code: str
) -> None:
    world = World(executions=200, operations=2)
    async with (
        Emulator(world) as emulator,
        reading(emulator, session=session_with(credentials)) as client,
    ):
        for read in (client.fetch_many, client.stream_pages):
            emulator.log.clear()
            results = []
            with pytest.raises(CredentialsError) as raised:  # noqa: PT012
                async with read(refs_of(emulator), max_executions=4) as many:
                    async for result in many:
                        results.append(result)  # noqa: PERF401
            assert results == []
            assert code in str(raised.value)
            assert credentials.secret_access_key not in str(raised.value)
            assert len(emulator.log) <= 4
            assert_at_rest(client)


# Secrets: promises/test_secrets.py has every output; here is what a service may quote


def everything_said(error: BaseException) -> Iterator[str]:
    """Text, repr, notes and traceback of an exception and of all that hang on it."""
    yield "".join(traceback.format_exception(error))
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        current = left.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield f"{current} {current!r} {current.args!r} {getattr(current, '__notes__', '')}"
        yield repr({k: v for k, v in vars(current).items() if not k.startswith("__")})
        left += [current.__cause__, current.__context__]


@pytest.mark.asyncio
async def test_a_service_that_quotes_the_token_is_not_quoted(emulator: Emulator) -> None:
    token = "A/b+" * 600  # Too long, which the service says in words that hold all of it.
    async with reading(emulator) as client:
        ref = ExecutionRef("any-key", token)
        with pytest.raises(DurastateError) as raised:
            await client.get_state(ref)
        for said in everything_said(raised.value):
            assert "A/b+A/b+" not in said
            assert quote("A/b+A/b+", safe="") not in said


# Nobody there


async def _unused_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@pytest.mark.asyncio
async def test_a_refused_connection_says_so() -> None:
    url = f"http://127.0.0.1:{await _unused_port()}"
    async with StateClient(endpoint_url=url, session=session_with(Credentials())) as client:
        without_delays(client)
        with pytest.raises(TransportError, match="cannot connect") as raised:
            await client.get_state(ExecutionRef(WORLD.arn(0), WORLD.token(0)))
        assert url in str(raised.value)
        assert client.statistics().requests == ATTEMPTS
        assert_at_rest(client)
