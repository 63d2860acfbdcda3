"""AWS's own emulator as a real peer: durable functions run in it, and are read over HTTP.

A checkpoint token is valid while the invocation that received it runs, until its first
checkpoint. So the harness lets a durable function come to rest, waits for the timer that invokes
it again, and keeps *that* invocation open before the function sees it: until the peer is closed
its token is the newest one, and its state does not change.

Facts about version 1.4.0 that shape this module:

* The runner invokes handlers on `os.cpu_count() + 4` threads, and a held invocation occupies one
  for as long as it is held; a pool of our own size replaces it.
* Its default clock skips every wait, also the ones that are to be read while they run; with
  `skip_time=False` a wait takes its time.
* `WebServer` changes the process's root logger and botocore's; both are put back.
* `DurableFunctionTestRunner.close()` joins no pool thread and leaves its event loop open, which
  is a ResourceWarning later on; both are done here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aws_durable_execution_sdk_python.execution import DurableExecutionInvocationInput
from aws_durable_execution_sdk_python.lambda_service import ErrorObject
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner
from aws_durable_execution_sdk_python_testing.threads import DaemonThreadPool
from aws_durable_execution_sdk_python_testing.web.server import (
    RequestHandler,
    WebServer,
    WebServiceConfig,
)

from .functions import HOLD, Handler, durable_targets, plain_function

REGION = "us-east-1"
READY_LIMIT_S = 60.0
HOLD_LIMIT_S = 600.0
CLOSE_LIMIT_S = 20.0
INVOCATION_THREADS = 64

_REACHED_HOLD = frozenset({"SUCCEEDED", "READY"})
# What a released invocation answers: the execution is over and nothing is invoked again.
_OVER = {"Status": "SUCCEEDED", "Result": "null"}


@dataclass
class HeldExecution:
    """One execution in the emulator; from `ready` until `released` it can be read."""

    name: str
    endpoint_url: str
    handler: Handler
    arn: str = ""  # the execution's key; the emulator's are no ARNs but `uuid/invocation-id`
    events: list[dict[str, Any]] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def event(self) -> dict[str, Any]:
        """The event of the held invocation as Lambda would send it: times in milliseconds."""
        return self.events[-1]

    @property
    def token(self) -> str:
        return str(self.event["CheckpointToken"])

    @property
    def stale_token(self) -> str:
        """The token of the execution's first invocation."""
        return str(self.events[0]["CheckpointToken"])

    def __repr__(self) -> str:
        return f"<HeldExecution {self.name}>"


class _Server(WebServer):
    daemon_threads = False  # so that server_close() joins the threads of open requests


class _Handler(RequestHandler):
    timeout = 10  # a connection that sends nothing does not hold up server_close()


class AwsEmulator:
    """The emulator, its HTTP server and the executions in it. Use it as a context manager."""

    def __init__(self, *, max_invocation_page_bytes: int | None = None) -> None:
        self._page_bytes = max_invocation_page_bytes
        self._executions: dict[str, HeldExecution] = {}
        self._clean_up = contextlib.ExitStack()

    def __enter__(self) -> AwsEmulator:
        with contextlib.ExitStack() as stack:
            self._runner = stack.enter_context(_runner(self._invoke, self._page_bytes))
            for name, (target, timeout_s) in durable_targets(self).items():
                self._runner.register_durable_function(name, target, execution_timeout=timeout_s)
            self._runner.register_function("plain", plain_function)
            self._executor = self._runner._executor
            stack.callback(self._finish_all)
            self._server = stack.enter_context(_serving(self._executor))
            self._clean_up = stack.pop_all()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._clean_up.__exit__(*exc_info)

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self, name: str, handler: Handler, payload: Any = None) -> HeldExecution:
        """Starts `handler` under `name`; `wait_until_ready` says when it can be read."""
        held = HeldExecution(name, self.endpoint_url, handler)
        self._executions[name] = held
        held.arn = self._runner.run_async(
            input=None if payload is None else json.dumps(payload),
            function_name=name,
            execution_name=name,
            execution_timeout=3600,
        )
        return held

    def wait_until_ready(self) -> None:
        """Returns when every started execution is held."""
        deadline = time.monotonic() + READY_LIMIT_S
        for held in self._executions.values():
            if not held.ready.wait(max(deadline - time.monotonic(), 0)):
                status = self._executor.get_execution_details(held.arn).status
                raise TimeoutError(f"{held}: not ready, {status}, {len(held.events)} invocations")

    def finish(self, held: HeldExecution) -> None:
        """Ends the held invocation and with it the execution: its token is refused from now on."""
        held.released.set()
        if not self._executor.wait_until_complete(held.arn, CLOSE_LIMIT_S):
            raise TimeoutError(f"{held} did not end")

    def succeed(self, callback_id: str, result: bytes) -> None:
        self._runner.send_callback_success(callback_id, result)

    def fail(self, callback_id: str, error: ErrorObject) -> None:
        self._runner.send_callback_failure(callback_id, error)

    def stop(self, arn: str, error: ErrorObject) -> None:
        self._executor.stop_execution(arn, error)

    def _invoke(self, event: DurableExecutionInvocationInput, context: Any) -> Any:
        """The handler of every execution: keeps what arrives, holds the replay after HOLD."""
        held = self._executions[context.function_name]
        held.events.append(json.loads(json.dumps(event.to_json_dict())))
        if self._is_at_rest(event.durable_execution_arn):
            held.ready.set()
            held.released.wait(HOLD_LIMIT_S)
            return _OVER
        return _OVER if held.released.is_set() else held.handler(event, context)

    def _is_at_rest(self, key: str) -> bool:
        operations = self._executor.get_execution(key).operations
        return any(each.name == HOLD and each.status.value in _REACHED_HOLD for each in operations)

    def _finish_all(self) -> None:
        open_ones = [held for held in self._executions.values() if not held.released.is_set()]
        for held in open_ones:
            held.released.set()
        for held in open_ones:
            if held.ready.is_set():
                self.finish(held)


@contextlib.contextmanager
def _runner(handler: Handler, page_bytes: int | None) -> Iterator[DurableFunctionTestRunner]:
    runner = DurableFunctionTestRunner(
        handler, max_invocation_page_bytes=page_bytes, skip_time=False, region=REGION
    )
    runner._executor._invocation_pool = DaemonThreadPool(INVOCATION_THREADS, "held-invocation")
    try:
        yield runner
    finally:
        threads = list(_threads_of(runner))
        runner.close()
        runner._scheduler._loop.close()
        _join(threads)


def _threads_of(runner: DurableFunctionTestRunner) -> Iterator[threading.Thread]:
    executor = runner._executor
    for pool in (executor._invocation_pool, executor._dispatch_pool, executor._target_pool):
        yield from pool._threads
    for worker in list(runner._registry._workers.values()):
        yield worker._lane._thread


def _join(threads: list[threading.Thread]) -> None:
    deadline = time.monotonic() + CLOSE_LIMIT_S
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    left = sorted(thread.name for thread in threads if thread.is_alive())
    if left:
        raise TimeoutError(f"threads of AWS's emulator still run: {left}")


@contextlib.contextmanager
def _serving(executor: Any) -> Iterator[WebServer]:
    with _loggers_put_back():
        server = _Server(WebServiceConfig("127.0.0.1", 0, logging.WARNING), executor)
    server.RequestHandlerClass = _Handler
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="aws-emulator")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        _join([thread])


@contextlib.contextmanager
def _loggers_put_back() -> Iterator[None]:
    root, botocore = logging.getLogger(), logging.getLogger("botocore")
    levels, handlers = (root.level, botocore.level), list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(levels[0])
        botocore.setLevel(levels[1])
        root.handlers[:] = handlers
