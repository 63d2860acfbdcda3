"""ministack as a real peer: an independent server whose states are written through the API.

A function without code is created and invoked, which starts a durable execution that nobody runs.
ARN and checkpoint token come back as headers of the invocation, and CheckpointDurableExecution
then writes any state. It stays as it is: only an invocation that answers PENDING, or somebody who
answers a callback, makes ministack move timers on.

Facts about version 1.4.21 that shape this module:

* It binds to all interfaces, opens ports for SFTP and MQTT, looks for a Docker socket and writes
  to fixed folders below /tmp, unless its environment says otherwise.
* `DurableConfig` needs the member `Enabled`, which botocore's model does not have.
* A checkpoint answers with every operation and with the next token; the one before is stale.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiobotocore.session import AioSession

from durastate.emulator import Credentials, session_with

REGION = "us-east-1"
READY_LIMIT_S = 30.0
STOP_LIMIT_S = 5.0
UPDATES_PER_CALL = 500

Update = dict[str, Any]

# ministack, until its stdin ends: a parent that is killed closes it, so nothing is left behind.
_RUN = """
import os, runpy, shutil, sys, threading

def end():
    sys.stdin.buffer.read()
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os._exit(0)

threading.Thread(target=end, daemon=True).start()
runpy.run_module("ministack", run_name="__main__")
"""
_LISTENING = "Running on http://"


@dataclass(frozen=True)
class WrittenExecution:
    """One execution in ministack, with the state that was written."""

    endpoint_url: str
    arn: str
    token: str = field(repr=False)
    stale_token: str = field(repr=False)  # of the invocation, before the first checkpoint
    count: int  # of operations, with the EXECUTION operation


@dataclass(frozen=True)
class Ministack:
    """The running server."""

    endpoint_url: str
    folder: Path
    session: AioSession
    _client: Any = field(repr=False)

    async def write(self, name: str, updates_of: Callable[[str], list[Update]]) -> WrittenExecution:
        """Starts an execution of function `name`; `updates_of` its id become its state."""
        await self._client.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role="arn:aws:iam::000000000000:role/nobody",
            Handler="no.code",
            Code={},
            DurableConfig={"ExecutionTimeout": 3600},
        )
        invoked = await self._client.invoke(FunctionName=name, Payload=b'{"order": "\\u00fc"}')
        headers = invoked["ResponseMetadata"]["HTTPHeaders"]
        arn = headers["x-amz-durable-execution-arn"]
        first = token = headers["x-amz-durable-checkpoint-token"]
        execution_id = arn.rpartition("/")[2]
        updates = updates_of(execution_id)
        for start in range(0, len(updates), UPDATES_PER_CALL):
            answer = await self._client.checkpoint_durable_execution(
                DurableExecutionArn=arn,
                CheckpointToken=token,
                Updates=updates[start : start + UPDATES_PER_CALL],
            )
            token = answer["CheckpointToken"]
        ids = {execution_id, *(update["Id"] for update in updates)}
        return WrittenExecution(self.endpoint_url, arn, token, first, len(ids))


@asynccontextmanager
async def running_ministack() -> AsyncIterator[Ministack]:
    """Starts ministack on a free port of the loopback interface, and ends it."""
    session = session_with(Credentials("AKIDEXAMPLE", "not-a-secret"))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="ministack-")))
        port = _free_port()
        await stack.enter_async_context(_process(folder, port))
        endpoint_url = f"http://127.0.0.1:{port}"
        client = await stack.enter_async_context(
            session.create_client("lambda", region_name=REGION, endpoint_url=endpoint_url)
        )
        client.meta.events.register("before-call.lambda.CreateFunction", _enable)
        yield Ministack(endpoint_url, folder, session, client)


def _enable(params: dict[str, Any], **_: Any) -> None:
    body = json.loads(params["body"])
    body["DurableConfig"]["Enabled"] = True
    params["body"] = json.dumps(body).encode()


@asynccontextmanager
async def _process(folder: Path, port: int) -> AsyncIterator[None]:
    with (folder / "log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _RUN),
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=_environment(folder, port),
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
    try:
        await _until_it_listens(child, folder / "log")
        yield
    finally:
        await _stop(child)


def _environment(folder: Path, port: int) -> dict[str, str]:
    """Everything local, in `folder`, or off; nothing of this process's own environment."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONUTF8": "1",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "SERVICES": "lambda",
        "LAMBDA_EXECUTOR": "local",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
    }


async def _until_it_listens(child: asyncio.subprocess.Process, log: Path) -> None:
    """Its own line, so that it is not somebody else who listens on that port."""

    def said() -> str:
        return log.read_text(errors="replace")

    with suppress(TimeoutError):
        async with asyncio.timeout(READY_LIMIT_S):
            while child.returncode is None:
                if _LISTENING in said():
                    return
                await asyncio.sleep(0.02)
    raise RuntimeError(f"ministack is not ready, status {child.returncode}: {said()[-2_000:]}")


async def _stop(child: asyncio.subprocess.Process) -> None:
    assert child.stdin is not None
    child.stdin.close()
    try:
        await asyncio.wait_for(child.wait(), STOP_LIMIT_S)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# States, as updates that CheckpointDurableExecution takes


def many_steps(count: int) -> Callable[[str], list[Update]]:
    """`count` steps that succeeded."""
    return lambda _: [
        {"Id": f"step-{i}", "Name": f"step {i}", "Type": "STEP", "SubType": "Step"}
        | {"Action": "SUCCEED", "Payload": f'"{i}"'}
        for i in range(count)
    ]


def ended(execution_id: str) -> list[Update]:
    """The EXECUTION operation alone, which succeeded. ministack goes on to serve its state."""
    return [{"Id": execution_id, "Type": "EXECUTION", "Action": "SUCCEED"}]


def every_kind(_: str) -> list[Update]:
    """Every type below EXECUTION, every action, nesting, retries, errors, callbacks."""
    return list(_every_kind())


def _every_kind() -> Iterator[Update]:
    yield from _operation("STEP", "unicode", _START, _succeed('"日本語 🧪 \u2028 \\\\ \u00e9"'))
    yield from _operation("STEP", "no-result", _START, {"Action": "SUCCEED"})
    yield from _operation("STEP", "empty-result", _START, _succeed(""))
    yield from _operation("STEP", "failed", _START, _FAIL)
    yield from _operation("STEP", "open", _START, sub_type="MyStep")
    yield from _operation("STEP", "retried", _START, _RETRY, _START, _succeed("2"))
    yield from _operation("STEP", "to-retry", _START, _RETRY, sub_type="WaitForCondition")
    yield from _operation("WAIT", "hour", _START | {"WaitOptions": {"WaitSeconds": 3600}})
    yield from _operation("WAIT", "over", _START, {"Action": "SUCCEED"})
    yield from _operation("WAIT", "cancelled", _START, {"Action": "CANCEL"})
    yield from _operation("CALLBACK", "asked", _START | {"CallbackOptions": {"TimeoutSeconds": 9}})
    heartbeat = {"CallbackOptions": {"TimeoutSeconds": 3600, "HeartbeatTimeoutSeconds": 60}}
    yield from _operation("CALLBACK", "answered", _START | heartbeat, _succeed('{"by": "Zoë"}'))
    yield from _operation("CALLBACK", "refused", _START, _FAIL)
    yield from _operation("CALLBACK", "withdrawn", _START, {"Action": "CANCEL"})
    yield from _operation("CHAINED_INVOKE", "running", _START)
    yield from _operation("CHAINED_INVOKE", "invoked", _START, _succeed("[1, 2.5, null]"))
    yield from _operation("CHAINED_INVOKE", "invoke-failed", _START, _FAIL)
    yield from _operation("CHAINED_INVOKE", "invoke-cancelled", _START, {"Action": "CANCEL"})
    yield from _context("outer", _START, sub_type="RunInChildContext")
    yield from _context("inner", _START, parent="outer", sub_type="Map")
    for place in range(3):
        item = f"item-{place}"
        yield from _context(item, _START, parent="inner", sub_type="MapIteration")
        yield from _operation("STEP", f"of-{item}", _START, _succeed(str(place)), parent=item)
    yield from _context("item-0", _succeed("0"))
    yield from _context("item-1", _FAIL)
    kept = {"ContextOptions": {"ReplayChildren": True}}
    yield from _context("keeps-children", _START, _succeed("") | kept, sub_type="Parallel")
    yield from _context("branch", _START, parent="keeps-children", sub_type="ParallelBranch")


def _context(name: str, *actions: Update, **fields: Any) -> Iterator[Update]:
    return _operation("CONTEXT", name, *actions, **fields)


def _operation(
    type_: str, name: str, *actions: Update, parent: str | None = None, sub_type: str | None = None
) -> Iterator[Update]:
    """The updates of one operation; its name is its id as well, with an umlaut more."""
    update = {"Id": name, "Type": type_, "Name": f"{name} ü"}
    if parent is not None:
        update["ParentId"] = parent
    if sub_type is not None:
        update["SubType"] = sub_type
    return (update | action for action in actions)


def _succeed(result: str) -> Update:
    return {"Action": "SUCCEED", "Payload": result}


_START: Update = {"Action": "START"}
_ERROR: Update = {
    "ErrorType": "PaymentDeclined",
    "ErrorMessage": "declined — « no funds »",
    "ErrorData": '{"code": 7}',
    "StackTrace": ["frame 1", "frame 2"],
}
_FAIL: Update = {"Action": "FAIL", "Error": _ERROR}
_RETRY: Update = {
    "Action": "RETRY",
    "Error": {"ErrorType": "ConnectionResetError"},
    "StepOptions": {"NextAttemptDelaySeconds": 1800},
}
