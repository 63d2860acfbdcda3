"""Durable functions, written with AWS's Python SDK, whose states the tests read.

Each comes to rest with one operation named `HOLD`: a wait of a second, or a step that is to be
retried in a second. When that timer fires, the function is invoked again, and the harness keeps
that invocation open (see `peer.py`). Waits and retries take real time, so no function has more
than two of them in a row; what must still be open while it is read has an hour.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from aws_durable_execution_sdk_python import (
    DurableContext,
    DurableOperationError,
    StepContext,
    StepError,
    durable_execution,
)
from aws_durable_execution_sdk_python.config import (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    Duration,
    MapConfig,
    ParallelConfig,
    StepConfig,
    StepSemantics,
)
from aws_durable_execution_sdk_python.lambda_service import ErrorObject
from aws_durable_execution_sdk_python.retries import RetryDecision
from aws_durable_execution_sdk_python.waits import WaitForConditionConfig, WaitForConditionDecision

Handler = Callable[[Any, Any], Any]

HOLD = "hold"
SECOND = Duration(seconds=1)
HOUR = Duration(seconds=3600)
UNICODE_NAME = "Grüße, 世界 🌍"
UNICODE_TEXT = "naïve — Ω≈ç√ — 日本語 🧪 \u2028\u0000 \\ \" '"
# More than the SDK's limit of 256 KiB for a context's result: the children are kept instead.
TOO_LARGE_TO_KEEP = 300_000


class Outside(Protocol):
    """What other people do to an execution through the service."""

    def succeed(self, callback_id: str, result: bytes) -> None: ...

    def fail(self, callback_id: str, error: ErrorObject) -> None: ...

    def stop(self, arn: str, error: ErrorObject) -> None: ...


class PaymentDeclined(Exception):
    """Raised by steps; its name on the wire has a module."""


def retry_after(delay: Duration, *, attempts: int) -> Callable[[Exception, int], RetryDecision]:
    def decide(error: Exception, attempts_made: int) -> RetryDecision:
        if attempts_made >= attempts:
            return RetryDecision.no_retry()
        return RetryDecision.retry(delay)

    return decide


ONE_ATTEMPT = StepConfig(retry_strategy=retry_after(SECOND, attempts=1))


def decline(_: StepContext) -> NoReturn:
    raise PaymentDeclined("card 4…42: declined — « no funds »")


def fail_with_everything(_: StepContext) -> NoReturn:
    # Version 3.0 of the SDK sends data and stack trace of its own exceptions only.
    raise StepError("all members set", "Custom.Type", '{"retry": false}', ["frame 1", "frame 2"])


def attempt_failed(action: Callable[[], Any]) -> str:
    """Runs a durable operation that fails, and goes on."""
    try:
        action()
    except DurableOperationError as error:
        return type(error).__name__
    raise AssertionError("expected the operation to fail")


@durable_execution
def steps(event: Any, ctx: DurableContext) -> Any:
    """Results of every kind, failures, a step that succeeds at its second attempt."""
    ctx.step(lambda _: {"order": event["order"], "text": UNICODE_TEXT}, UNICODE_NAME)
    ctx.step(lambda _: None, "returns-nothing")
    ctx.step(lambda _: "", "returns-an-empty-string")
    ctx.step(lambda _: [1, 2.5, True, {"deep": [[]]}], "returns-a-list")
    ctx.step(lambda _: "no name of its own")
    ctx.step(
        lambda _: "once",
        "at-most-once",
        StepConfig(step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, sub_type="MyStep"),
    )
    attempt_failed(lambda: ctx.step(decline, "fails-for-good", ONE_ATTEMPT))
    attempt_failed(lambda: ctx.step(fail_with_everything, "fails-with-everything", ONE_ATTEMPT))

    def fails_once(step: StepContext) -> str:
        if step.attempt == 1:
            raise ConnectionResetError("first attempt")
        return f"attempt {step.attempt}"

    ctx.step(fails_once, "flaky", StepConfig(retry_strategy=retry_after(SECOND, attempts=2)))
    ctx.wait(SECOND, HOLD)


@durable_execution
def contexts(event: Any, ctx: DurableContext) -> Any:
    """Child contexts, completed and failed, nested; map and parallel; children that are kept."""

    def inner(child: DurableContext) -> str:
        child.step(lambda _: "leaf", "leaf")
        return str(child.run_in_child_context(lambda c: c.step(lambda _: "deep"), "innermost"))

    ctx.run_in_child_context(lambda c: c.run_in_child_context(inner, "inner"), "outer")
    attempt_failed(
        lambda: ctx.run_in_child_context(
            lambda c: c.step(decline, "declined", ONE_ATTEMPT), "fails"
        )
    )
    ctx.run_in_child_context(
        lambda c: "x" * len(c.step(lambda _: "x" * TOO_LARGE_TO_KEEP, "large")),
        "keeps-its-children",
        ChildConfig(summary_generator=lambda result: f"{len(result)} characters"),
    )
    ctx.map(
        ["a", "b", "ç"],
        lambda c, item, index, _: c.step(lambda _: f"{item}{index}", f"item-{item}"),
        "letters",
    )

    def fails_for_two(c: DurableContext, item: int, index: int, items: Any) -> Any:
        return c.step(decline, None, ONE_ATTEMPT) if item == 2 else item

    tolerant: MapConfig[int] = MapConfig(
        completion_config=CompletionConfig(tolerated_failure_count=1)
    )
    ctx.map([1, 2, 3], fails_for_two, "one-fails", tolerant)
    ctx.parallel([lambda c: c.step(lambda _: 1), lambda c: c.step(lambda _: 2)], "both")
    ctx.wait(SECOND, HOLD)


def callbacks(outside: Outside) -> Handler:
    """Callbacks that succeeded, failed and timed out, and two that are waited for."""

    @durable_execution
    def handler(event: Any, ctx: DurableContext) -> Any:
        succeeded = ctx.create_callback("approved")
        failed = ctx.create_callback("rejected", CallbackConfig(heartbeat_timeout=HOUR))
        ctx.create_callback("nobody-answers", CallbackConfig(timeout=SECOND))
        ctx.create_callback("still-open", CallbackConfig(timeout=HOUR, sub_type="MyCallback"))
        ctx.create_callback()

        def answer(_: StepContext) -> None:
            outside.succeed(succeeded.callback_id, json.dumps({"by": "Zoë"}).encode())
            error = ErrorObject("not today", "Rejected", '{"code": 7}', ["frame 1", "frame 2"])
            outside.fail(failed.callback_id, error)

        ctx.step(answer, "answer")
        ctx.parallel(
            [
                lambda c: c.wait_for_callback(lambda *_: None, "a-person"),
                lambda c: c.wait(Duration(seconds=2), HOLD),
            ],
            "waiting",
        )

    return handler


def poll_twice(state: int, attempt: int) -> WaitForConditionDecision:
    if state >= 2:
        return WaitForConditionDecision.stop_polling()
    return WaitForConditionDecision.continue_waiting(SECOND)


def poll_hourly(state: int, attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.continue_waiting(HOUR)


@durable_execution
def conditions(event: Any, ctx: DurableContext) -> Any:
    """A condition that was met at the second poll."""
    config = WaitForConditionConfig(wait_strategy=poll_twice, initial_state=0)
    ctx.wait_for_condition(lambda state, _: state + 1, config, "met")
    ctx.wait(SECOND, HOLD)


@durable_execution
def unfinished(event: Any, ctx: DurableContext) -> Any:
    """Every kind of operation under way at once; the one that is due is a retry, so READY."""
    hourly = WaitForConditionConfig(wait_strategy=poll_hourly, initial_state=0)
    retried = StepConfig(retry_strategy=retry_after(HOUR, attempts=2))
    held = StepConfig(retry_strategy=retry_after(SECOND, attempts=2))

    def nested_wait(c: DurableContext) -> None:
        c.step(lambda _: "before")
        c.wait(HOUR, "an-hour")

    ctx.parallel(
        [
            lambda c: c.wait(HOUR),
            lambda c: c.run_in_child_context(nested_wait, "running-child"),
            lambda c: c.step(decline, "retried-in-an-hour", retried),
            lambda c: c.wait_for_condition(lambda state, _: state + 1, hourly, "polled-hourly"),
            lambda c: c.invoke("takes-an-hour", {"for": "parent"}, "running-invoke"),
            lambda c: c.step(decline, HOLD, held),
        ],
        "branches",
        ParallelConfig(completion_config=CompletionConfig.all_completed()),
    )


@durable_execution
def takes_an_hour(event: Any, ctx: DurableContext) -> Any:
    ctx.wait(HOUR)


@durable_execution
def echoes(event: Any, ctx: DurableContext) -> Any:
    return ctx.step(lambda _: event)


@durable_execution
def always_fails(event: Any, ctx: DurableContext) -> Any:
    raise PaymentDeclined("the child failed")


def plain_function(event: Any, context: Any) -> Any:
    """No durable function: invoked once."""
    return {"echo": event}


@durable_execution
def invokes(event: Any, ctx: DurableContext) -> Any:
    """Chained invokes: of durable and plain functions, one of them unknown; every outcome."""
    ctx.invoke("echoes", {"text": UNICODE_TEXT}, UNICODE_NAME)
    ctx.invoke("plain", [1, 2], "plain")
    attempt_failed(lambda: ctx.invoke("always-fails", None, "failed"))
    attempt_failed(lambda: ctx.invoke("unknown-function", None, "unknown"))
    attempt_failed(lambda: ctx.invoke("stopped", None, "stopped"))
    attempt_failed(lambda: ctx.invoke("times-out", None, "timed-out"))
    ctx.wait(SECOND, HOLD)


@durable_execution
def many_steps(event: Any, ctx: DurableContext) -> Any:
    """`count` steps, each with a result of `size` characters."""
    for index in range(event["count"]):
        ctx.step(lambda _, index=index: f"{index:0{event['size']}}", f"step-{index}")
    ctx.wait(SECOND, HOLD)


@durable_execution
def payloads(event: Any, ctx: DurableContext) -> Any:
    """One step for each size in `sizes`."""
    for size in event["sizes"]:
        ctx.step(lambda _, size=size: "é" * (size // 2))
    ctx.wait(SECOND, HOLD)


@durable_execution
def only_waits(event: Any, ctx: DurableContext) -> Any:
    """The smallest state there is."""
    ctx.wait(SECOND, HOLD)


def is_stopped(outside: Outside) -> Handler:
    @durable_execution
    def handler(event: Any, ctx: DurableContext) -> Any:
        error = ErrorObject("stopped by an operator", "Operator", None, None)
        outside.stop(ctx.execution_context.durable_execution_arn, error)

    return handler


def durable_targets(outside: Outside) -> dict[str, tuple[Handler, int]]:
    """What `invokes` and `unfinished` invoke: handler and execution timeout in seconds."""
    return {
        "echoes": (echoes, 3600),
        "always-fails": (always_fails, 3600),
        "stopped": (is_stopped(outside), 3600),
        "times-out": (takes_an_hour, 1),
        "takes-an-hour": (takes_an_hour, 7200),
    }
