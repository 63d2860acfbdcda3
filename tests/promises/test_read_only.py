"""Nothing but `GET /2025-12-01/durable-executions/{arn}/state` is ever asked of Lambda.

What the permission for that is, `durastate policy` prints: `cli/test_policy.py`.
"""

from __future__ import annotations

import ast
import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from aiohttp import web
from audit.support import written
from botocore import xform_name
from cli.support import KEYS, write_refs
from cli.test_app import COMMANDS
from client.support import reading, ref_of, refs_of, without_delays
from client.wires import Authority

import durastate
from durastate import DurastateError, ExecutionRef, Failed
from durastate.cli import demo
from durastate.cli.app import run
from durastate.emulator import Credentials, Emulator, Fault, FaultKind, FaultPlan, World
from durastate.requests import state_path

from .threads import in_thread

_ROOT = Path(durastate.__file__).parent
_STATE = re.compile(r"/2025-12-01/durable-executions/[^/?]+/state")
_PARAMETERS = {"CheckpointToken", "Marker", "MaxItems"}
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

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        is_state = (
            request.method == "GET"
            and _STATE.fullmatch(request.raw_path.partition("?")[0]) is not None
            and set(request.query) <= _PARAMETERS
            and not request.can_read_body
        )
        if not is_state:
            self.forbidden.append(f"{request.method} {request.path}")
        return await super()._handle(request)


def assert_read_only(recorder: Recorder) -> None:
    assert recorder.forbidden == []
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
                ("get_durable_execution", {"DurableExecutionArn": WORLD.arn(0)}),
                ("stop_durable_execution", {"DurableExecutionArn": WORLD.arn(0)}),
                ("get_account_settings", {}),
            ):
                with pytest.raises(client.exceptions.ClientError):
                    await getattr(client, call)(**arguments)
        assert [each.partition(" ")[0] for each in recorder.forbidden] == ["GET", "POST", "GET"]


@pytest.mark.asyncio
@pytest.mark.parametrize("faults", [FaultPlan(), FAULTS], ids=["no-faults", "faults"])
async def test_everything_public_asks_for_states_alone(faults: FaultPlan) -> None:
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
        client.statistics()
        assert tried > 10
        assert_read_only(recorder)


@pytest.mark.asyncio
async def test_refused_credentials_and_a_wrong_clock_ask_for_states_alone(
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
        assert_read_only(recorder)


# Through the command


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A recorder that the command finds in its environment."""
    with in_thread(lambda: Recorder(WORLD, FaultPlan(on={2: Fault(FaultKind.NOT_FOUND)}))) as found:
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", found.endpoint_url)
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


def just_demo(_: Path) -> Iterator[tuple[int, list[str]]]:
    yield 0, ["demo"]


CASES: dict[str, Callable[[Path], Iterator[tuple[int, list[str]]]]] = {
    "get": get,
    "fetch": fetch,
    "policy": policy,
    "completion": completion,
    "verify": verify,
    "query": query,
    "demo": just_demo,
}
# It serves and asks nobody.
SERVES = {"emulator"}
ASKS_NOBODY = {"policy", "completion", "verify", "query"}


def test_every_command_is_covered() -> None:
    assert sorted({*CASES, *SERVES}) == COMMANDS


@pytest.mark.parametrize("name", CASES)
def test_every_command_asks_for_states_alone(
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
        assert_read_only(made[-1])


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


def test_one_path_is_built_and_it_is_that_of_the_model() -> None:
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
    assert [name for name in functions if "path" in name] == ["state_path"]
    model = botocore.session.get_session().get_service_model("lambda")
    http = model.operation_model("GetDurableExecutionState").http
    assert http["method"] == "GET"
    assert state_path("an-arn") == http["requestUri"].replace("{DurableExecutionArn}", "an-arn")


def test_one_http_call_is_made_and_it_is_a_get() -> None:
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
    assert calls == [("transport.py", "get")]
    verbs = {"POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT"}
    assert [name for name, tree in sources().items() if verbs & set(texts(tree))] == []


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
    assert used == set()
    services = [
        [ast.literal_eval(argument) for argument in node.args]
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "create_client"
    ]
    assert services == [["lambda"]]
