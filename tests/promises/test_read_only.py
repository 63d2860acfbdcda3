"""Nothing but calls that read is ever sent, and each command sends those that SECURITY.md names.

The policy that `durastate policy` prints names the same ones.
"""

from __future__ import annotations

import ast
import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from aiohttp import web
from audit.support import arn as audited
from audit.support import written
from botocore import xform_name
from cli.support import KEYS, write_refs
from cli.test_app import COMMANDS
from client.support import reading, ref_of, refs_of, without_delays
from client.wires import Authority

import durastate
from durastate import DurastateError, ExecutionRef, Failed, StateClient
from durastate.cli import demo
from durastate.cli.app import run
from durastate.cli.policy import policy as policy_document
from durastate.emulator import Credentials, Emulator, Fault, FaultKind, FaultPlan, World
from durastate.requests import (
    GET_EXECUTION,
    GET_HISTORY,
    GET_STATE,
    LIST_EXECUTIONS,
    execution_path,
    executions_path,
    history_path,
    state_path,
)

from .threads import in_thread

_ROOT = Path(durastate.__file__).parent
_EXECUTION = "/2025-12-01/durable-executions/[^/?]+"
# Every path that may be asked for, and its parameters.
_ALLOWED = {
    GET_STATE: (f"{_EXECUTION}/state", {"CheckpointToken", "Marker", "MaxItems"}),
    GET_HISTORY: (
        f"{_EXECUTION}/history",
        {"IncludeExecutionData", "Marker", "MaxItems", "ReverseOrder"},
    ),
    GET_EXECUTION: (_EXECUTION, {"IncludeExecutionData"}),
    LIST_EXECUTIONS: (
        "/2025-12-01/functions/[^/?]+/durable-executions",
        {
            *("DurableExecutionName", "Marker", "MaxItems", "Qualifier", "ReverseOrder"),
            *("StartedAfter", "StartedBefore", "Statuses"),
        },
    ),
}
GET_ALIAS, GET_QUOTA = "GetAlias", "GetServiceQuota"  # of an audit, through aiobotocore
ALIAS_PATH = "/2015-03-31/functions/order-flow/aliases/live"
WORLD = World(seed=7, executions=30, operations=(3, 40))
_LEFT_OUT = {FaultKind.STALL, FaultKind.SLOW_BODY, FaultKind.EXPIRED_CREDENTIALS}
FAULTS = FaultPlan(rate=0.2, kinds=tuple(kind for kind in FaultKind if kind not in _LEFT_OUT))


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """The command writes its file on the event loop, which serves nobody else."""


class Recorder(Emulator):
    """The embedded service, which notes what should never have been asked."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.forbidden: list[str] = []
        self.calls: set[str] = set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if (request.method, request.raw_path) == ("GET", ALIAS_PATH):
            self.calls.add(GET_ALIAS)
            return web.json_response({"Name": "live", "FunctionVersion": "7"})
        if request.headers.get("X-Amz-Target") == f"ServiceQuotasV20190624.{GET_QUOTA}":
            self.calls.add(GET_QUOTA)
            return web.json_response({"Quota": {"Value": 500.0}})
        calls = {
            call
            for call, (pattern, parameters) in _ALLOWED.items()
            if re.fullmatch(pattern, path) and set(request.query) <= parameters
        }
        if request.method != "GET" or request.can_read_body or not calls:
            self.forbidden.append(f"{request.method} {request.path}")
        self.calls |= calls
        return await super()._handle(request)


def assert_read_only(recorder: Recorder, *calls: str) -> None:
    """Nothing was asked for but `calls`, and each of those was."""
    assert recorder.forbidden == []
    assert recorder.calls == set(calls)
    assert len(recorder.log) > 0
    assert {entry.method for entry in recorder.log} == {"GET"}


# Through the library


@pytest.mark.asyncio
async def test_the_recorder_notices_what_is_forbidden() -> None:
    async with Recorder(WORLD) as recorder:
        session = recorder.session()
        async with session.create_client(
            "lambda", region_name="eu-west-1", endpoint_url=recorder.endpoint_url
        ) as client:
            for call, arguments in (
                ("list_versions_by_function", {"FunctionName": "orders"}),
                ("stop_durable_execution", {"DurableExecutionArn": WORLD.arn(0)}),
                ("get_account_settings", {}),
            ):
                with suppress(client.exceptions.ClientError):
                    await getattr(client, call)(**arguments)
        assert [each.partition(" ")[0] for each in recorder.forbidden] == ["GET", "POST", "GET"]


@pytest.mark.asyncio
@pytest.mark.parametrize("faults", [FaultPlan(), FAULTS], ids=["no-faults", "faults"])
async def test_everything_public_reads_and_nothing_else(faults: FaultPlan) -> None:
    async with Recorder(WORLD, faults) as recorder, reading(recorder) as client:
        without_delays(client)
        tried = 0
        for ref in refs_of(recorder)[:5]:
            try:
                await client.get_state(ref, max_items=10, timeout_s=20)
                page = await client.get_page(ref, max_items=0)
                await client.get_page(ref, marker=page.next_marker)
                async for _ in client.iter_pages(ref, max_items=3):
                    tried += 1
            except DurastateError:
                tried += 1
        event = {
            "DurableExecutionArn": WORLD.arn(1),
            "CheckpointToken": WORLD.token(1),
            "InitialExecutionState": {"Operations": [], "NextMarker": "QUJD"},
        }
        refs = [*refs_of(recorder), ExecutionRef.from_event(event), ExecutionRef(WORLD.arn(0))]
        for many in (client.fetch_many, client.stream_pages):
            try:
                async with many(refs, max_items=10) as results:
                    async for result in results:
                        tried += isinstance(result, Failed) or result.error is None
            except DurastateError:
                tried += 1
        tried += await without_tokens(client)
        client.statistics()
        assert tried > 40
        assert_read_only(recorder, *_ALLOWED)


async def without_tokens(client: StateClient) -> int:
    """How often something was tried that needs no token."""
    tried = 0
    for arn in (WORLD.arn(0), WORLD.arn(1), f"{WORLD.arn(0)}-unknown"):
        for ask in (client.get_execution, client.get_state_from_history):
            with suppress(DurastateError):
                await ask(arn, timeout_s=20)
            with suppress(DurastateError):
                await ask(arn, include_execution_data=False, timeout_s=20)
            tried += 2
        with suppress(DurastateError):
            async for _ in client.iter_history(arn, reverse_order=True, max_items=5):
                tried += 1
    with suppress(DurastateError):
        async for _ in client.list_executions(
            WORLD.arn(0).rpartition(":")[0],
            execution_name=WORLD.name(0),
            statuses=("RUNNING", "FAILED"),
            started_after=datetime(2020, 1, 1, tzinfo=timezone.utc),
            started_before=datetime(2030, 1, 1, tzinfo=timezone.utc),
            reverse_order=True,
            qualifier="7",
            max_items=3,
        ):
            tried += 1
    refs = [ExecutionRef(WORLD.arn(at)) for at in range(20)]
    with suppress(DurastateError):
        async with client.fetch_many(refs, source="history", max_items=10) as results:
            async for _ in results:
                tried += 1
    return tried


@pytest.mark.asyncio
async def test_refused_credentials_and_a_wrong_clock_ask_for_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    async with Recorder(WORLD) as recorder, reading(recorder, session=None) as client:
        with pytest.raises(durastate.CredentialsError):
            await client.get_state(ref_of(recorder))
        recorder.known_credentials["AKIDOTHER"] = Credentials("AKIDOTHER", "other")
        recorder.faults = FaultPlan(on={0: Fault(FaultKind.WRONG_CLOCK)})
        await client.get_state(ref_of(recorder))
        assert [entry.status for entry in recorder.log] == [403, 403, 200]
        assert_read_only(recorder, GET_STATE)


# Through the command


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A recorder that the command finds in its environment."""
    with in_thread(lambda: Recorder(WORLD, FaultPlan(on={2: Fault(FaultKind.NOT_FOUND)}))) as found:
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", found.endpoint_url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", found.endpoint_url)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(Authority(tmp_path, "nobodys").bundle))
        yield found


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["durastate", *map(str, arguments)])
    monkeypatch.setattr(sys, "stdin", io.StringIO(WORLD.token(1)))
    return run()


def get(_: Path) -> Iterator[tuple[int, list[str]]]:
    for output in ("table", "json", "jsonl"):
        yield 0, ["get", WORLD.arn(1), "--token", "-", "--output", output]


def fetch(path: Path) -> Iterator[tuple[int, list[str]]]:
    refs = write_refs(path / "refs.jsonl", WORLD, '{"arn": "no"}', "[]")
    yield 2, ["fetch", str(refs), "-o", str(path / "out.jsonl"), "--max-items", "5"]
    yield 2, ["fetch", str(refs), "-o", str(path / "out.jsonl"), "--max-items", "5", "--resume"]


def policy(_: Path) -> Iterator[tuple[int, list[str]]]:
    yield 0, ["policy"]


def completion(_: Path) -> Iterator[tuple[int, list[str]]]:
    yield 0, ["completion", "bash"]


def verify(path: Path) -> Iterator[tuple[int, list[str]]]:
    yield 0, ["verify", str(written(path / "audit", 1))]


def query(path: Path) -> Iterator[tuple[int, list[str]]]:
    yield 0, ["query", str(written(path / "audit", 1)), "from executions"]


def audit(path: Path) -> Iterator[tuple[int, list[str]]]:
    out = str(path / "audit")
    yield 0, ["audit", "order-flow", WORLD.arn(1), "--plan"]
    yield 0, ["audit", "order-flow", WORLD.arn(1), "-o", out, "--max-items", "5"]
    yield 0, ["audit", "order-flow:live", WORLD.arn(1), "-o", out, "--refresh"]


def show(path: Path) -> Iterator[tuple[int, list[str]]]:
    yield 0, ["show", WORLD.arn(1)]
    yield 0, ["show", str(written(path / "audit", 1)), audited(1)]


def just_demo(_: Path) -> Iterator[tuple[int, list[str]]]:
    yield 0, ["demo"]


CASES: dict[str, Callable[[Path], Iterator[tuple[int, list[str]]]]] = {
    "get": get,
    "fetch": fetch,
    "policy": policy,
    "completion": completion,
    "verify": verify,
    "query": query,
    "audit": audit,
    "show": show,
    "demo": just_demo,
}
# It serves and asks nobody.
SERVES = {"emulator"}
ASKS_NOBODY = {"policy", "completion", "verify", "query", *SERVES}
ASKS = {
    "get": {GET_STATE},
    "fetch": {GET_STATE},
    "demo": {GET_STATE},
    "show": {GET_HISTORY},
    "audit": {LIST_EXECUTIONS, GET_HISTORY, GET_ALIAS, GET_QUOTA},
    **{command: set[str]() for command in ASKS_NOBODY},
}


def test_every_command_is_covered() -> None:
    assert sorted({*CASES, *SERVES}) == sorted(ASKS) == COMMANDS


def test_security_md_names_every_call_of_every_command() -> None:
    text = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[a-z]+`(?:, )?)+) \| (.+?) \|", text, re.MULTILINE)
    named = {
        command: set(re.findall(r"`([A-Z]\w+)`", calls))
        for commands, calls in rows
        for command in re.findall("`([a-z]+)`", commands)
    }
    assert named == ASKS


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({}, ASKS["get"]),
        ({"without_tokens": True}, {GET_EXECUTION, GET_HISTORY, LIST_EXECUTIONS}),
        ({"audit": True}, ASKS["audit"]),
    ],
    ids=["reading", "without-tokens", "audit"],
)
def test_the_policy_allows_those_calls_and_no_other(
    options: dict[str, bool], calls: set[str]
) -> None:
    document = policy_document((), None, None, **options)
    actions = [statement["Action"] for statement in document["Statement"]]
    listed = [[each] if isinstance(each, str) else each for each in actions]
    assert {each.partition(":")[2] for several in listed for each in several} == calls


@pytest.mark.parametrize("name", CASES)
def test_every_command_asks_for_what_it_reads_alone(
    name: str, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Recorder] = [recorder]

    def instead(*arguments: Any, **options: Any) -> Recorder:
        made.append(Recorder(*arguments, **options | {"latency_s": 0}))
        return made[-1]

    monkeypatch.setattr(demo, "EmulatorProcess", instead)
    monkeypatch.setattr(World, "demo", lambda: World(seed=0, executions=40))
    for code, arguments in CASES[name](tmp_path):
        assert command(monkeypatch, *arguments) == code
    assert len(made) == (2 if name == "demo" else 1)
    if name in ASKS_NOBODY:
        assert len(recorder.log) == 0
    else:
        assert_read_only(made[-1], *ASKS[name])


# In the source


def sources() -> dict[str, ast.AST]:
    """Every module of ours but those of the embedded service, by its name in the package."""
    return {
        str(path.relative_to(_ROOT)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(_ROOT.rglob("*.py"))
        if path.relative_to(_ROOT).parts[0] != "emulator"
    }


def texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_four_paths_are_built_and_they_are_those_of_the_model() -> None:
    found = {
        (name, text)
        for name, tree in sources().items()
        for text in texts(tree)
        if re.search(r"/20\d\d-\d\d-\d\d", text)
    }
    # The second one is presigned to learn the endpoint, and sent nowhere.
    assert found == {("requests.py", "/2025-12-01"), ("aws.py", "/2016-08-19/account-settings")}
    tree = sources()["requests.py"]
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    paths = {
        GET_STATE: state_path,
        GET_HISTORY: history_path,
        GET_EXECUTION: execution_path,
        LIST_EXECUTIONS: executions_path,
    }
    assert [name for name in functions if "path" in name] == [
        path.__name__ for path in paths.values()
    ]
    model = botocore.session.get_session().get_service_model("lambda")
    for call, path in paths.items():
        http = model.operation_model(call).http
        assert http["method"] == "GET"
        assert path("a-key") == re.sub(r"\{\w+\}", "a-key", http["requestUri"])


def test_every_http_request_is_a_get() -> None:
    calls = [
        (name, node.func.attr)
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            node.func.attr in {"post", "put", "patch", "delete", "head", "ws_connect"}
            or (
                (node.func.attr in {"get", "request", "_request", "options"})
                and "session" in ast.unparse(node.func.value).lower()
            )
        )
    ]
    assert calls == [("over_aiohttp.py", "get")]
    # Our own transport writes its requests itself, and only such ones.
    lines = [(name, text) for name, tree in sources().items() for text in texts(tree)]
    begun = [(name, text) for name, text in lines if re.match("[A-Z]+ $", text)]
    assert ("http1.py", "GET ") in begun
    writes = [
        (name, ast.unparse(node))
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_transport.write")
    ]
    assert writes == [("http1.py", "self._transport.write(request)")]
    verbs = {"POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT"}
    assert [name for name, text in lines if text.strip() in verbs] == []


def test_no_operation_of_a_botocore_client_is_called() -> None:
    model = botocore.session.get_session().get_service_model("lambda")
    operations = {xform_name(name) for name in model.operation_names}
    assert "checkpoint_durable_execution" in operations
    used = {
        (name, node.attr)
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in operations
    }
    assert used == {("audit/functions.py", "get_alias")}
    services = [
        [ast.literal_eval(argument) for argument in node.args]
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "create_client"
    ]
    assert services == [["lambda"], ["service-quotas"], ["lambda"]]
    of_quotas = operations_of("service-quotas")
    asked = {
        (name, node.attr)
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in of_quotas
    }
    assert asked == {("audit/quotas.py", "get_service_quota")}


def operations_of(service: str) -> set[str]:
    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(name) for name in model.operation_names}
