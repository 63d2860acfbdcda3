"""What GetDurableExecution and a List's row say of an execution."""

from __future__ import annotations

from hashlib import blake2b

from durastate.emulator.generation import Wire
from durastate.emulator.world import ACCOUNT, World

_LONGEST_S = 366 * 86_400


def summary(world: World, index: int) -> Wire:
    """The row that ListDurableExecutionsByFunction has for an execution."""
    arn = world.arn(index)
    row: Wire = {
        "DurableExecutionArn": arn,
        "DurableExecutionName": world.name(index),
        "FunctionArn": _function_arn(arn),
        "Status": world.status(index),
        "StartTimestamp": world.started(index),
    }
    ended = world.ended(index)
    return row if ended is None else row | {"EndTimestamp": ended}


def description(world: World, index: int, *, include_data: bool = True) -> Wire:
    """The answer of GetDurableExecution."""
    outcome = world.outcome(index)
    described = summary(world, index)
    trace = blake2b(described["DurableExecutionArn"].encode(), digest_size=20).hexdigest()
    described |= {
        "Version": described["FunctionArn"].rpartition(":")[2],
        "TraceHeader": {"XAmznTraceId": f"Root=1-{trace[:8]}-{trace[8:32]}"},
        "ExecutionDataIncluded": include_data,
        "DurableConfig": {"RetentionPeriodInDays": 30, "ExecutionTimeout": outcome.timeout_s},
    }
    pause = world.pause(index)
    if pause is not None:
        # Only here, so that what was there before 1.44.8 is as an older model has it. 366 days are
        # the most while the time limit is paused too.
        is_held = described["Status"] == "PAUSED" and pause["ExecutionTimeoutPaused"]
        limit = _LONGEST_S if is_held else outcome.timeout_s
        described["ExpectedExecutionTimeoutTimestamp"] = described["StartTimestamp"] + limit
        kept = {name: value for name, value in pause.items() if include_data or name != "Reason"}
        described["PauseDetails"] = kept
    if include_data:
        data = {
            "InputPayload": world.input_payload(index),
            "Result": outcome.result,
            "Error": outcome.error,
        }
        described |= {name: value for name, value in data.items() if value is not None}
    return described


def _function_arn(arn: str) -> str:
    function, separator, _ = arn.partition("/durable-execution/")
    return function if separator else f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:by-hand:1"
