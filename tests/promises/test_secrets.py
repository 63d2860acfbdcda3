"""No canary in anything that people or programs read: one list of secrets, one of outputs.

The canaries are in `canaries.py`. An output is whatever ends up as text outside: logs of every
logger at DEBUG with asyncio's debug mode, exceptions with all that is chained to them, `repr` of
every public object, pickles of errors, and what each command prints and writes.
"""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import pickle
import re
import signal
import sys
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from cli.support import serving
from cli.test_app import COMMANDS
from client.support import calls_of, reading, ref_of, without_delays
from client.test_failures import ENDINGS, HARMLESS, a_fault, settings
from client.wires import Authority, forwarding

import durastate
from durastate import (
    ConfigurationError,
    DecodingError,
    DurastateError,
    ExecutionRef,
    ExecutionState,
    Failed,
    FetchedPage,
    Limits,
    Paused,
    Resumed,
    RetryPolicy,
    StateClient,
    decode_history,
    decode_page,
)
from durastate.audit import ExecutionRow, Store
from durastate.cli import demo, progress
from durastate.cli import emulator as emulator_command
from durastate.cli.app import run
from durastate.emulator import (
    Credentials,
    Emulator,
    Fault,
    FaultKind,
    FaultPlan,
    World,
    session_with,
)
from durastate.executions import decode_execution
from durastate.testing import Response, ScriptedTransport

from .canaries import (
    ARN,
    CANARIES,
    ERROR_MESSAGE,
    INPUT,
    KEYS,
    OTHER_TOKEN,
    PROXY_PASSWORD,
    RESULT,
    SPELLINGS,
    STACK,
    TOKEN,
    UNKNOWN,
    found,
    operations,
    world,
)
from .quoting import SECRETS, refusing
from .threads import in_thread


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """The command writes its file on the event loop, which serves nobody else."""


# Where text comes out


class Log(logging.Handler):
    """Everything that any logger says, its arguments and extras as well."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []
        self.names: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.names.add(record.name.partition(".")[0])
        self.texts.append(f"{self.format(record)} {vars(record)!r}")


@contextmanager
def everything_logged() -> Iterator[Log]:
    """All loggers at DEBUG, those that exist already too."""
    log = Log()
    root = logging.getLogger()
    loggers = [
        each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)
    ]
    before = {logger: logger.level for logger in (root, *loggers)}
    for logger in before:
        logger.setLevel(logging.DEBUG)
    root.addHandler(log)
    try:
        yield log
    finally:
        root.removeHandler(log)
        for logger, level in before.items():
            logger.setLevel(level)


def everything_said(error: BaseException) -> Iterator[str]:
    """Text, repr, arguments, notes, attributes and traceback, of all that is chained as well."""
    yield "".join(traceback.format_exception(error))
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        current = left.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield f"{current} {current!r} {current.args!r} {vars(current)!r}"
        yield f"{getattr(current, 'object', '')!r} {getattr(current, 'doc', '')!r}"
        yield from traceback.format_exception_only(current)
        left += [current.__cause__, current.__context__]
        left += getattr(current, "exceptions", ())
    if isinstance(error, DurastateError):
        yield pickle.dumps(error).decode("latin-1")
        yield repr(pickle.loads(pickle.dumps(error)))  # noqa: S301


def shown(thing: Any) -> str:
    """As a debugger, an f-string and a log line would show it."""
    return f"{thing} {thing!r} {[thing]!r}"


# The search itself


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name)
def test_the_search_finds_a_planted_canary_in_every_form(canary: Any) -> None:
    value = canary.value
    planted = [
        value,
        f"https://host/path?Parameter={quote(value, safe='')}&More=1",
        json.dumps({"member": value}),
        json.dumps({"inner": json.dumps({"member": value})}),
        repr({"member": value}),
        *(b64encode(("x" * before + value + "y" * 7).encode()).decode() for before in range(4)),
        *(spelled(value) for spelled in SPELLINGS.values()),
        f"cut short: {value[: len(canary.core) + 2]}…",
    ]
    assert [found(f"before {text} after") for text in planted] == [[canary.name]] * len(planted)
    assert found("before  after") == []


def test_no_canary_is_a_part_of_another() -> None:
    for canary in CANARIES:
        assert found(canary.value) == [canary.name]


def test_the_search_sees_logs_and_chains() -> None:
    with everything_logged() as log:
        logging.getLogger("botocore.somewhere").debug("sent %s", {"Authorization": TOKEN.value})
    assert found("".join(log.texts)) == [TOKEN.name]
    error = ConfigurationError("says nothing")
    error.__context__ = OSError(TOKEN.value)
    error.__suppress_context__ = True
    assert found("".join(everything_said(error))) == [TOKEN.name]


# Through the library


@asynccontextmanager
async def canary_client(
    emulator: Emulator, proxy_url: str, **options: Any
) -> AsyncIterator[StateClient]:
    """A client whose keys, proxy and executions are canaries, its loop in debug mode."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0  # so that asyncio describes every callback there is
    login = f"://auditor:{quote(PROXY_PASSWORD.value, safe='')}@"
    config = AioConfig(proxies={"http": proxy_url.replace("://", login)})
    async with reading(emulator, config=config, **options) as client:
        without_delays(client)
        yield client
    loop.set_debug(False)


FAULTY = [*ENDINGS, *HARMLESS]


@cache
def canary_session() -> AioSession:
    """One for all tests: loading the service model takes longer than most of them."""
    return session_with(KEYS)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", sorted(FAULTY))
async def test_no_canary_comes_out_of_any_fault(kind: FaultKind) -> None:
    # Empty pages for ever are a thousand requests.
    fault = a_fault(kind, first=3 if kind is FaultKind.EMPTY_PAGE else None)
    faults = FaultPlan(on={0: fault})
    said: list[str] = []
    with everything_logged() as log:
        async with forwarding() as proxy, Emulator(world(), faults, credentials=KEYS) as emulator:
            options = settings(kind) | {"session": canary_session()}
            async with canary_client(emulator, proxy.url, **options) as client:
                ref = ref_of(emulator)
                try:
                    state = await client.get_state(ref, max_items=10)
                    said += map(shown, (state, *state.operations))
                except DurastateError as error:
                    said += everything_said(error)
                    said.append(shown(Failed(ref, error)))
                said += map(shown, (client, vars(client), client.statistics(), client._account))
        assert proxy.asked != []
    assert {"asyncio", "botocore"} <= log.names
    assert found("\n".join([*said, *log.texts])) == []


# What a described execution may have that the embedded service's have not.
MORE_OF_IT = {
    "InputPayload": INPUT.value,
    "Result": RESULT.value,
    "Error": {"ErrorMessage": ERROR_MESSAGE.value, "StackTrace": [STACK.value]},
    "TraceHeader": {"XAmznTraceId": UNKNOWN.value},
    "DurableConfig": {"ExecutionTimeout": 60, "Unknown": UNKNOWN.value},
    "PauseDetails": {"Reason": UNKNOWN.value},
    "Unknown": UNKNOWN.value,
}


def a_function() -> str:
    """The function of the execution that is read."""
    return ExecutionRef(world().arn(0)).function_name


def an_event() -> dict[str, Any]:
    return {
        "DurableExecutionArn": ARN,
        "CheckpointToken": TOKEN.value,
        "InitialExecutionState": {"Operations": operations()},
    }


@pytest.mark.asyncio
async def test_no_canary_is_in_the_repr_of_any_public_object() -> None:
    events: list[durastate.Event] = []
    with everything_logged() as log:
        async with forwarding() as proxy, Emulator(world(), credentials=KEYS) as emulator:
            told = {"hooks": [events.append], "region_name": "eu-west-1"}
            session = canary_session()
            async with canary_client(emulator, proxy.url, session=session, **told) as client:
                ref = ref_of(emulator)
                for kind, first in ((FaultKind.THROTTLE, 1), (FaultKind.SERVICE_ERROR, 3)):
                    emulator.faults = FaultPlan(on={ref.arn: Fault(kind, first=first)})
                    await client.get_state(ref, timeout_s=10)
                state = await client.get_state(ref)
                async with client.fetch_many([ref, ExecutionRef(ref.arn)]) as many:
                    results = [result async for result in many]
                async with client.stream_pages([ref]) as pages:
                    results += [result async for result in pages]
                emulator.faults = FaultPlan()
                async with client.fetch_many([ref], source="history") as many:
                    results += [result async for result in many]
                folded = await client.get_state_from_history(ref.arn)
                histories = [page async for page in client.iter_history(ref.arn)]
                summaries = [each async for each in client.list_executions(a_function())]
                described = await client.get_execution(ref.arn)
                full = decode_execution(json.dumps(described.to_dict() | MORE_OF_IT).encode())
                event = ExecutionRef.from_event(an_event())
                kept = await client.get_state(event)
                details = [
                    getattr(operation, name)
                    for operation in (*state.operations, *folded.operations)
                    for name in dir(operation)
                    if re.fullmatch("[a-z].*_details", name)
                    and getattr(operation, name) is not None
                ]
                things = [
                    *(ref, event, client, client.statistics(), state, kept, many, pages),
                    *(state.execution, *state.operations, *details, *results),
                    *(folded, *folded.operations, *histories, *histories[0], *summaries),
                    *(described, described.status, full, full.error, full.trace_header),
                    *(full.durable_config, full.pause_details),
                    *(each.error for each in details if getattr(each, "error", None)),
                    *(Limits(), RetryPolicy(), decode_page(b'{"Operations":[]}')),
                    *(results[2].page, results[2].page.operations),  # type: ignore[union-attr]
                    *(state.operations[0].type, state.operations[0].status),
                    *(client._account, calls_of(client), calls_of(client)._transport),
                    *client._account._endpoints.values(),
                    client._account._credentials,
                    *(emulator.world, emulator.log, *emulator.log, emulator.credentials),
                    *(*events, Resumed("eu-west-1", 1.5)),
                    Paused("eu-west-1", str(results[1].error)),
                ]
                assert isinstance(results[2], FetchedPage)
                assert INPUT.core in json.dumps(
                    [described.to_dict(), histories[0].events[0].to_dict()]
                )
                said = [*map(shown, things), shown(vars(client))]
    classes = {
        each
        for each in (getattr(durastate, name) for name in durastate.__all__)
        if isinstance(each, type) and each is not durastate.Hook  # of which there are no instances
    }
    missing = classes - {type(thing) for thing in things}
    assert {each.__name__ for each in missing if not issubclass(each, Exception)} == set()
    assert [text for text in said if found(text)] == []
    assert [text[:600] for text in log.texts if found(text)] == []


async def bad_credentials(emulator: Emulator, proxy: str) -> None:
    session = session_with(Credentials(KEYS.access_key_id, "other", KEYS.session_token))
    async with canary_client(emulator, proxy, session=session) as client:
        await client.get_state(ref_of(emulator))


def _reader(**options: Any) -> Callable[[Emulator, str], Any]:
    async def read(emulator: Emulator, proxy: str) -> None:
        ref, limits = options.get("ref"), options.get("limits", Limits())
        session = canary_session()
        async with canary_client(emulator, proxy, session=session, limits=limits) as client:
            if "marker" in options:
                await client.get_page(ref_of(emulator), marker=options["marker"])
            elif "timeout_s" in options:
                emulator.hold()
                await client.get_state(ref_of(emulator), timeout_s=options["timeout_s"])
            else:
                await client.get_state(ref or ref_of(emulator))

    return read


async def nobody_there(emulator: Emulator, _: str) -> None:
    async with canary_client(emulator, "http://127.0.0.1:9", session=canary_session()) as client:
        await client.get_state(ref_of(emulator))


async def no_profile(_: Emulator, __: str) -> None:
    async with StateClient(profile_name="nobodys", region_name="eu-west-1"):
        pass


async def no_function(emulator: Emulator, proxy: str) -> None:
    options: dict[str, Any] = {"session": canary_session(), "region_name": "eu-west-1"}
    async with canary_client(emulator, proxy, **options) as client:
        async for _ in client.list_executions("nobodys"):
            pass


async def no_beginning(_: Emulator, __: str) -> None:
    told = {"EventType": "StepStarted", "Id": "s", "EventId": 1, "EventTimestamp": 1}
    page = {"Events": [told | {"Name": UNKNOWN.value, "Unknown": UNKNOWN.value}]}
    transport = ScriptedTransport([Response(200, {}, json.dumps(page).encode())])
    async with transport.client() as client:
        await client.get_state_from_history(ARN)


async def broken_history(_: Emulator, __: str) -> None:
    decode_history(json.dumps({"Events": [{"Name": [UNKNOWN.value]}]}).encode())


async def broken_description(_: Emulator, __: str) -> None:
    decode_execution(json.dumps(MORE_OF_IT | {"Error": ERROR_MESSAGE.value}).encode())


async def wrong_event(_: Emulator, __: str) -> None:
    ExecutionRef.from_event(an_event() | {"CheckpointToken": [TOKEN.value]})


async def broken_event(_: Emulator, __: str) -> None:
    ExecutionRef.from_event(json.dumps(an_event())[:-2])


async def an_outage_too_long(emulator: Emulator, _: str) -> None:
    retry = RetryPolicy(outage_limit_s=0.05)
    async with reading(emulator, session=canary_session(), retry=retry) as client:
        await client.get_state(ref_of(emulator))
        await emulator.__aexit__()  # gone, and with it the answers to what follows
        async with client.fetch_many([ref_of(emulator)]) as many:
            async for _result in many:
                pass


async def broken_page(_: Emulator, __: str) -> None:
    wrong = operations()
    wrong[1]["StepDetails"]["Result"] = {"nested": wrong[1]["StepDetails"]["Result"]}
    decode_page(json.dumps({"Operations": wrong}).encode())


# Each way to an error that the fault plan does not have, with the error that it ends in.
OTHER_ERRORS: dict[str, tuple[Callable[[Emulator, str], Any], str]] = {
    "a-stale-token": (
        _reader(ref=ExecutionRef(world().arn(0), OTHER_TOKEN.value)),
        "InvalidTokenError",
    ),
    "a-marker-of-nobodys": (_reader(marker="bm9ib2R5"), "InvalidRequestError"),
    "a-state-too-large": (_reader(limits=Limits(max_state_bytes=10)), "StateTooLargeError"),
    "a-page-too-large": (_reader(limits=Limits(max_page_bytes=100)), "TransportError"),
    "swapped-arguments": (_reader(ref=ExecutionRef(TOKEN.value, ARN)), "ConfigurationError"),
    "no-token": (_reader(ref=ExecutionRef(ARN)), "MissingTokenError"),
    "an-empty-token": (_reader(ref=ExecutionRef(ARN, "")), "InvalidRefError"),
    "a-whole-call-too-slow": (_reader(timeout_s=0.1), "DeadlineError"),
    "an-endpoint-that-stays-away": (an_outage_too_long, "OutageError"),
    "a-function-of-nobodys": (no_function, "FunctionNotFoundError"),
    "a-history-without-its-beginning": (no_beginning, "IncompleteHistoryError"),
    "a-history-of-another-form": (broken_history, "DecodingError"),
    "a-description-of-another-form": (broken_description, "DecodingError"),
    "refused-keys": (bad_credentials, "CredentialsError"),
    "a-proxy-that-is-not-there": (nobody_there, "TransportError"),
    "an-unknown-profile": (no_profile, "ConfigurationError"),
    "an-event-of-another-form": (wrong_event, "DecodingError"),
    "an-event-cut-short": (broken_event, "DecodingError"),
    "a-page-of-another-form": (broken_page, "DecodingError"),
}


def test_every_class_of_error_is_covered() -> None:
    classes = {
        each.__name__
        for each in (getattr(durastate, name) for name in durastate.__all__)
        if isinstance(each, type) and issubclass(each, DurastateError)
    }
    covered = {name for _, name in OTHER_ERRORS.values()}
    covered |= {ending.error.__name__ for ending in ENDINGS.values()}
    assert classes - covered == {"DurastateError"}
    assert {*ENDINGS, *HARMLESS} == set(FaultKind)


@pytest.mark.asyncio
@pytest.mark.parametrize("way", OTHER_ERRORS)
async def test_no_canary_is_in_any_other_error(way: str) -> None:
    fail, expected = OTHER_ERRORS[way]
    with everything_logged() as log:
        async with forwarding() as proxy, Emulator(world(), credentials=KEYS) as emulator:
            with pytest.raises(DurastateError) as raised:
                await fail(emulator, proxy.url)
            emulator.release()
    assert type(raised.value).__name__ == expected
    assert found("\n".join([*everything_said(raised.value), *log.texts])) == []


# Through the command


class Run:
    """Runs the command in this process and keeps all that comes out of it."""

    def __init__(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.path = path
        self.emulator: Emulator
        self._patch = monkeypatch
        self._capfd = capfd
        self.screen = ""
        self.logged = ""

    def __call__(self, *arguments: str | Path, stdin: str = "") -> int:
        self._patch.setattr(sys, "argv", ["durastate", *map(str, arguments)])
        self._patch.setattr(sys, "stdin", io.StringIO(stdin))
        self._capfd.readouterr()
        with everything_logged() as log:
            code = run()
        out, err = self._capfd.readouterr()
        self.screen += out + err
        self.logged += "\n".join(log.texts)
        return code

    def file(self, name: str) -> str:
        return (self.path / name).read_text()


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """The command, with canaries for its keys, its proxy and what it reads."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_access_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", str(KEYS.session_token))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(Authority(tmp_path, "nobodys").bundle))
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    runner = Run(tmp_path, monkeypatch, capfd)
    thresholds = gc.get_threshold()
    with ExitStack() as stack:
        proxy = stack.enter_context(in_thread(forwarding))
        login = f"://auditor:{quote(PROXY_PASSWORD.value, safe='')}@"
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", login))
        runner.emulator = stack.enter_context(serving(world(executions=3), credentials=KEYS))
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", runner.emulator.endpoint_url)
        (tmp_path / "token").write_text(TOKEN.value)
        yield runner
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def refs_file(command: Run, *more: str) -> Path:
    lines = [
        json.dumps({"arn": arn, "checkpoint_token": token})
        for arn, token in command.emulator.world.refs()
    ]
    path = command.path / "refs.jsonl"
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def last_arn(command: Run) -> str:
    return command.emulator.world.arn(3)


Outputs = Iterator[tuple[str, bool]]
"""What came out, and whether payloads may be in it."""


def get_table(command: Run) -> Outputs:
    assert command("get", last_arn(command), "--token-file", command.path / "token") == 0
    yield command.screen, False


def get_json(command: Run) -> Outputs:
    for output in ("json", "jsonl"):
        code = command(
            "get", last_arn(command), "--token", "-", "--output", output, stdin=TOKEN.value
        )
        assert code == 0
    assert "callback id" in found(command.screen)
    yield command.screen, True


def get_refused(command: Run) -> Outputs:
    assert command("get", last_arn(command), "--token", TOKEN.value) == 252
    assert command("get", last_arn(command), "--token", "-", stdin=OTHER_TOKEN.value) == 254
    assert command("get", last_arn(command), "--token-env", TOKEN.value) == 252
    assert command("get", last_arn(command), "--token-file", f"{TOKEN.value[:9]}") == 252
    # AWS itself, for which the two are told apart before any request.
    command._patch.delenv("AWS_ENDPOINT_URL_LAMBDA")
    command._patch.setenv("AWS_REGION", "eu-west-1")
    assert command("get", TOKEN.value, "--token", "-", stdin=last_arn(command)) == 252
    yield command.screen, False


def fetch_full(command: Run) -> Outputs:
    assert command("fetch", refs_file(command), "-o", command.path / "out") == 0
    assert "executions, " in command.screen
    assert "input" in found(command.file("out"))
    yield command.file("out"), True
    yield command.screen, False


def fetch_without_payloads(command: Run) -> Outputs:
    refs = refs_file(command)
    for kept in ("none", "size", "hash"):
        assert command("fetch", refs, "-o", command.path / kept, "--payloads", kept) == 0
        yield command.file(kept), False
    yield command.screen, False


def fetch_some_failed(command: Run) -> Outputs:
    command.emulator.faults = FaultPlan(
        on={
            0: Fault(FaultKind.NOT_FOUND),
            1: Fault(FaultKind.MALFORMED_JSON),
            3: a_fault(FaultKind.TRUNCATED),
        }
    )
    event = an_event() | {"CheckpointToken": 5}
    bad = [
        json.dumps({"arn": last_arn(command), "checkpoint_token": [TOKEN.value]}),
        json.dumps({"checkpoint_token": TOKEN.value}),
        json.dumps({"arn": last_arn(command), "checkpoint_token": OTHER_TOKEN.value}),
        json.dumps(event),
        json.dumps(an_event())[:-5],
        f'"{TOKEN.value}"',
    ]
    assert command("fetch", refs_file(command, *bad), "-o", command.path / "out") == 2
    assert command.file("out.failures.jsonl").count("\n") == 9
    yield command.file("out.failures.jsonl"), False
    yield command.screen, False


def what_a_service_quotes(command: Run) -> Outputs:
    """In the failures of `fetch` and of an audit, on the screen and in both their files."""
    command._patch.delenv("HTTP_PROXY")
    spelled = [SPELLINGS[name] for name in ("escaped twice", "in base64url", "in HTML")]
    sent = [secret for name, secret in SECRETS.items() if name != "broken-token"]
    quoted = [each(secret) for secret in sent for each in spelled]
    texts = iter(quoted)
    refs = command.path / "quoting.jsonl"
    ref = {"arn": ARN, "checkpoint_token": TOKEN.value}
    refs.write_text("".join(f"{json.dumps(ref)}\n" for _ in quoted))
    with in_thread(lambda: refusing(lambda *_: next(texts))) as url:
        command._patch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        assert command("fetch", refs, "-o", command.path / "out") == 2
        texts = reversed(quoted)  # The session token; a request for a history has no other.
        assert command("audit", ARN, "-o", command.path / "audit", "--format", "jsonl") == 2
    assert command.file("out.failures.jsonl").count("left out") == len(quoted)
    yield command.file("out.failures.jsonl"), False
    yield "".join(path.read_text() for path in command.path.glob("audit/failures*")), False
    yield command.screen, False


def fetch_ended_by_credentials(command: Run) -> Outputs:
    command.emulator.known_credentials.clear()
    assert command("fetch", refs_file(command), "-o", command.path / "out") == 253
    yield command.screen, False


def fetch_ended_by_ctrl_c(command: Run) -> Outputs:
    def interrupt(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    command._patch.setattr("durastate.cli.outfile.OutFile.write", interrupt)
    assert command("fetch", refs_file(command), "-o", command.path / "out") == 130
    yield command.screen, False


def fetch_ended_by_a_bug(command: Run) -> Outputs:
    def fail(*_: Any) -> None:
        raise ValueError(TOKEN.value)

    command._patch.setattr("durastate.cli.outfile.OutFile.write", fail)
    assert command("fetch", refs_file(command), "-o", command.path / "out") == 255
    yield command.screen, False


def fetch_ended_by_the_endpoint(command: Run) -> Outputs:
    command._patch.setenv("HTTP_PROXY", f"http://auditor:{PROXY_PASSWORD.value}@127.0.0.1:9")
    assert command("fetch", refs_file(command), "-o", command.path / "out") in (253, 254)
    yield command.screen, False


def demonstrated(command: Run) -> Outputs:
    def instead(_: World, faults: FaultPlan, **__: Any) -> Emulator:
        return Emulator(world(executions=20), faults, credentials=KEYS)

    command._patch.delenv("HTTP_PROXY")
    command._patch.setattr(World, "demo", lambda: world(executions=20))
    command._patch.setattr(demo, "EmulatorProcess", instead)
    assert command("demo") == 0
    assert "21 requested" in command.screen
    yield command.screen, False


def served(command: Run) -> Outputs:
    class Served(Emulator):
        async def __aenter__(self) -> Any:
            asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGTERM)
            return await super().__aenter__()

    command._patch.setattr(emulator_command, "World", lambda **_: world(executions=3))
    command._patch.setattr(emulator_command, "Emulator", Served)
    assert command("emulator", "--write-refs", command.path / "made.jsonl") == 0
    assert "Serving 4 made-up" in command.screen
    assert found(command.file("made.jsonl")) == [TOKEN.name]  # what was asked for, mode 0600
    yield command.screen, False


def policies(command: Run) -> Outputs:
    assert command("policy", "--function", TOKEN.value) == 252
    assert command("policy") == 0
    yield command.screen, False


def completed(command: Run) -> Outputs:
    assert command("completion", "bash") == 0
    yield command.screen, False


def an_audit(command: Run, payloads: Any) -> Path:
    """A directory with one failed execution and one that could not be read."""
    wire = command.emulator.world.visible_operations(3)
    operations = decode_page(json.dumps({"Operations": wire}).encode()).operations
    directory = command.path / f"audit-{payloads}"
    with Store.open(directory, payloads=payloads) as store:
        store.begin({"functions": ["orders"]}, {})
        for index in (3, 2):
            arn = command.emulator.world.arn(index)
            row = ExecutionRow.of(
                arn, status="FAILED", error_type="E", error_message=ERROR_MESSAGE.value
            )
            if index == 3:
                store.add(row, ExecutionState(arn, operations, source="history"))
            else:
                store.fail(row, DecodingError("Events[3]", "expected an object"))
        store.finish(complete=True)
    return directory


def verified(command: Run) -> Outputs:
    directory = an_audit(command, "none")
    assert command("verify", directory) == 0
    kept = [path.read_bytes().decode("latin-1") for path in directory.iterdir() if path.is_file()]
    yield "".join(kept), False
    yield command.screen, False


def queried(command: Run) -> Outputs:
    directory = an_audit(command, "hash")
    for table in ("executions", "operations", "failures"):
        for form in ("table", "json", "csv"):
            assert command("query", directory, f"from {table}", "--format", form) == 0
    assert command("query", directory, "select nothing") == 252
    yield command.screen, False


def executions_shown(command: Run) -> Outputs:
    """Without --messages, which asks for payloads."""
    arn = command.emulator.world.arn(3)
    assert command("show", arn, "--all") == 0
    assert command("show", arn, "--failed") == 0
    directory = an_audit(command, "full")
    assert command("show", directory, arn, "--all") == 0
    assert command("show", directory, command.emulator.world.arn(2)) == 2
    assert command("show", directory, TOKEN.value) == 252
    assert command("show", TOKEN.value) == 253
    command.emulator.known_credentials.clear()
    assert command("show", arn) == 253
    command._patch.delenv("AWS_ENDPOINT_URL_LAMBDA")
    command._patch.setenv("AWS_REGION", "eu-west-1")
    assert command("show", TOKEN.value) == 252
    yield command.screen, False


def audit_of_everything(command: Run) -> Outputs:
    command.emulator.faults = FaultPlan(
        on={0: Fault(FaultKind.NOT_FOUND), 1: Fault(FaultKind.MALFORMED_JSON)}
    )
    for kept in ("none", "size", "hash", "full"):
        directory = command.path / kept
        given = ("--from", refs_file(command), "-o", directory, "--payloads", kept)
        assert command("audit", *given, "--format", "jsonl") == 2
        files = [path.read_bytes().decode("utf-8", "replace") for path in directory.iterdir()]
        yield "".join(files), kept == "full"
    assert "Could not be read: 2 executions" in command.screen
    yield command.screen, False


def audit_that_is_refused(command: Run) -> Outputs:
    out = command.path / "out"
    # A key such as local servers have, without a Region.
    assert command("audit", TOKEN.value, "-o", out) == 253
    command._patch.setenv("AWS_REGION", "eu-west-1")
    (command.path / "list").write_text(f'{{"token": "{TOKEN.value}"}}\n')
    assert command("audit", "--from", command.path / "list", "-o", out) == 252
    assert command("audit", TOKEN.value.replace("/", ""), "-o", out) == 252
    assert command("audit", "order-flow:alias", "-o", out) == 254
    command._patch.setenv("HTTP_PROXY", f"http://auditor:{PROXY_PASSWORD.value}@127.0.0.1:9")
    assert command("audit", "order-flow:alias", "-o", out, "--outage-limit", "0.1") in (253, 254)
    command.emulator.known_credentials.clear()
    yield command.screen, False


OUTPUTS: dict[str, tuple[Callable[[Run], Outputs], ...]] = {
    "get": (get_table, get_json, get_refused),
    "fetch": (
        fetch_full,
        fetch_without_payloads,
        fetch_some_failed,
        what_a_service_quotes,
        fetch_ended_by_credentials,
        fetch_ended_by_ctrl_c,
        fetch_ended_by_a_bug,
        fetch_ended_by_the_endpoint,
    ),
    "demo": (demonstrated,),
    "emulator": (served,),
    "policy": (policies,),
    "completion": (completed,),
    "audit": (audit_of_everything, audit_that_is_refused),
    "verify": (verified,),
    "query": (queried,),
    "show": (executions_shown,),
}


def test_every_command_is_covered() -> None:
    assert sorted(OUTPUTS) == COMMANDS


@pytest.mark.parametrize(
    "outputs",
    [each for several in OUTPUTS.values() for each in several],
    ids=lambda each: each.__name__,
)
def test_no_canary_comes_out_of_any_command(
    outputs: Callable[[Run], Outputs], command: Run
) -> None:
    for text, holds_payloads in outputs(command):
        assert text
        assert found(text, keys_alone=holds_payloads) == []
    assert found(command.logged) == []
