"""Every public name as a user writes it, for `mypy --strict`; a type that widens fails there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, assert_never, assert_type

import durastate
from durastate import (
    AccessDeniedError,
    CallbackDetails,
    ChainedInvokeDetails,
    ConfigurationError,
    ContextDetails,
    CredentialsError,
    DeadlineError,
    DecodingError,
    DurableConfig,
    DurastateError,
    EncryptionKeyError,
    ErrorObject,
    Event,
    ExecutionDescription,
    ExecutionDetails,
    ExecutionDone,
    ExecutionNotFoundError,
    ExecutionRef,
    ExecutionState,
    ExecutionStatus,
    ExecutionSummary,
    Failed,
    Fetched,
    FetchedPage,
    FetchResult,
    FunctionNotFoundError,
    HistoryEvent,
    HistoryPage,
    Hook,
    IncompleteHistoryError,
    InvalidRefError,
    InvalidRequestError,
    InvalidTokenError,
    Limits,
    MissingTokenError,
    Operation,
    OperationStatus,
    OperationType,
    OutageError,
    PageRead,
    PaginationError,
    Paused,
    PauseDetails,
    RequestDone,
    Resumed,
    Retrying,
    RetryPolicy,
    ServiceError,
    StateClient,
    StatePage,
    StateTooLargeError,
    Statistics,
    StepDetails,
    Throttled,
    ThrottledError,
    TraceHeader,
    TransportError,
    WaitDetails,
    decode_history,
    decode_page,
    log_event,
    operations_from_history,
    read_history_file,
)


def references(event: dict[str, Any]) -> Iterable[ExecutionRef]:
    ref = ExecutionRef("arn", "token")
    yield ref
    yield ExecutionRef("arn")
    yield ExecutionRef(arn="arn", checkpoint_token=None)
    yield ExecutionRef.from_event(event)
    yield ExecutionRef.from_event("{}")
    yield ExecutionRef.from_event(b"{}")
    assert_type(ref.arn, str)
    assert_type(ref.checkpoint_token, str | None)
    parts: tuple[str, ...] = (
        ref.partition,
        ref.region,
        ref.account,
        ref.function_name,
        ref.version,
        ref.execution_name,
        ref.execution_id,
    )
    assert len(parts) == 7


async def more_references() -> AsyncIterator[ExecutionRef]:
    yield ExecutionRef("arn", "token")


async def one_execution(ref: ExecutionRef) -> None:
    limits = Limits(
        max_requests=10,
        max_bytes_in_flight=1,
        max_page_bytes=1,
        max_state_bytes=1,
        quota_share="default",
        rates={"GetDurableExecutionState": 10.5},
        burst=5,
    )
    policy = RetryPolicy(max_attempts=5, attempt_timeout_s=3.5)
    async with StateClient(
        session=None,
        region_name="eu-west-1",
        profile_name=None,
        endpoint_url=None,
        config=None,
        limits=limits,
        retry=policy,
    ) as client:
        assert_type(client, StateClient)
        assert_type(await client.get_state(ref), ExecutionState)
        assert_type(await client.get_state(ref, max_items=0, timeout_s=5), ExecutionState)
        page = await client.get_page(ref, marker="m", max_items=10, timeout_s=2.5)
        assert_type(page, StatePage)
        async for each in client.iter_pages(ref, marker=None, max_items=1000):
            assert_type(each, StatePage)
        counted = client.statistics()
        assert_type(counted, Statistics)
        numbers: list[int] = [
            counted.requests,
            counted.pages,
            counted.operations,
            counted.bytes,
            counted.retries,
            counted.throttles,
            counted.in_flight,
            counted.waiting,
        ]
        seconds: list[float] = [
            counted.waited_for_requests_s,
            counted.waited_for_rate_s,
            counted.waited_for_bytes_s,
            counted.waited_for_retries_s,
        ]
        assert numbers
        assert seconds


def narrowed_by_match(result: FetchResult) -> ExecutionState | None:
    match result:
        case Fetched(ref, state):
            assert_type(ref, ExecutionRef)
            assert_type(state, ExecutionState)
            x: ExecutionState = result.state
            nothing: None = result.error
            assert nothing is None
            return x
        case Failed(ref, error):
            assert_type(ref, ExecutionRef)
            assert_type(error, DurastateError)
            failure: DurastateError = result.error
            assert failure is error
            return None
        case _:
            assert_never(result)


def narrowed_by_isinstance(result: FetchResult) -> int:
    assert_type(result.ref, ExecutionRef)
    assert_type(result.index, int)
    if isinstance(result, Failed):
        assert_type(result.error, DurastateError)
        assert_type(result.state, None)
        return -1
    assert_type(result, Fetched)
    return len(result.state.operations)


def narrowed_by_the_error(result: FetchResult) -> ExecutionState | None:
    # Both have both members, so one can be asked without a class.
    assert_type(result.error, DurastateError | None)
    assert_type(result.state, ExecutionState | None)
    return result.state


async def many_executions(client: StateClient, refs: list[ExecutionRef]) -> None:
    async with client.fetch_many(refs, max_executions=8, max_items=100) as results:
        async for result in results:
            narrowed_by_match(result)
            narrowed_by_isinstance(result)
            narrowed_by_the_error(result)
    async with client.fetch_many(more_references()) as results:
        assert_type(await anext(results), Fetched | Failed)
    async with client.stream_pages(more_references(), max_executions=8, max_items=100) as pages:
        async for step in pages:
            match step:
                case FetchedPage(ref, page, is_last):
                    assert_type(ref, ExecutionRef)
                    assert_type(page, StatePage)
                    assert_type(is_last, bool)
                case Failed(ref, error):
                    assert_type(error, DurastateError)
                case _:
                    assert_never(step)


async def without_tokens(client: StateClient, arn: str, moment: datetime) -> None:
    found = client.list_executions(
        "orders",
        qualifier="7",
        execution_name="order-1",
        statuses=[ExecutionStatus.FAILED, "TIMED_OUT"],
        started_after=moment,
        started_before=moment,
        reverse_order=True,
        max_items=100,
    )
    async for summary in found:
        assert_type(summary, ExecutionSummary)
        described(summary)
    execution = await client.get_execution(arn, include_execution_data=False, timeout_s=5)
    assert_type(execution, ExecutionDescription)
    assert_type(execution.version, str | None)
    assert_type(execution.input_payload, str | None)
    assert_type(execution.result, str | None)
    assert_type(execution.error, ErrorObject | None)
    assert_type(execution.execution_data_included, bool | None)
    assert_type(execution.trace_header, TraceHeader | None)
    assert_type(execution.durable_config, DurableConfig | None)
    assert_type(execution.pause_details, PauseDetails | None)
    assert_type(execution.expected_execution_timeout_timestamp, datetime | None)
    if execution.pause_details:
        assert_type(execution.pause_details.pause_request_timestamp, datetime | None)
        assert_type(execution.pause_details.reason, str | None)
        assert_type(execution.pause_details.execution_timeout_paused, bool | None)
    if execution.trace_header and execution.durable_config:
        assert_type(execution.trace_header.x_amzn_trace_id, str | None)
        assert_type(execution.durable_config.kms_key_arn, str | None)
        assert_type(execution.durable_config.retention_period_in_days, int | None)
        assert_type(execution.durable_config.execution_timeout, int | None)
    described(execution)
    async for page in client.iter_history(
        arn, include_execution_data=False, reverse_order=True, marker=None, max_items=5
    ):
        assert_type(page, HistoryPage)
    state = await client.get_state_from_history(
        arn, include_execution_data=False, max_items=5, timeout_s=5
    )
    assert_type(state, ExecutionState)
    refs = (ExecutionRef(arn) for _ in range(3))
    async with client.fetch_many(
        refs, source="history", include_execution_data=False, max_executions=8
    ) as results:
        async for result in results:
            narrowed_by_match(result)
    counted = client.statistics()
    assert_type(counted.events, int)
    assert_type(counted.executions, int)


def described(summary: ExecutionSummary) -> None:
    assert_type(summary.arn, str)
    assert_type(summary.name, str)
    assert_type(summary.function_arn, str)
    assert_type(summary.status, ExecutionStatus | str)
    assert_type(summary.start_timestamp, datetime)
    assert_type(summary.end_timestamp, datetime | None)
    assert_type(summary.kms_key_arn, str | None)
    assert_type(summary.to_dict(), dict[str, Any])


def states(state: ExecutionState) -> None:
    assert_type(state.arn, str)
    source: Literal["state", "event", "history"] = state.source
    assert source
    assert_type(state.operations, list[Operation])
    assert_type(state.by_id, Mapping[str, Operation])
    assert_type(state.children("id"), Sequence[Operation])
    assert_type(state.roots, Sequence[Operation])
    assert_type(state.execution, Operation | None)
    assert_type(state.input_payload, str | None)
    assert_type(state.status, ExecutionStatus | str | None)
    assert_type(state.to_dict(), dict[str, Any])
    assert_type(state.to_json(), bytes)


def pages(body: bytes) -> StatePage:
    page = decode_page(body)
    assert_type(page, StatePage)
    assert_type(page.operations, list[Operation])
    assert_type(page.next_marker, str | None)
    assert_type(len(page), int)
    for operation in page:
        assert_type(operation, Operation)
    return StatePage([], None)


def histories(body: bytes, path: str | Path) -> list[Operation]:
    page = decode_history(body)
    assert_type(page, HistoryPage)
    assert_type(page.events, list[HistoryEvent])
    assert_type(page.next_marker, str | None)
    assert_type(len(page), int)
    events = read_history_file(path)
    assert_type(events, list[HistoryEvent])
    for event in page:
        assert_type(event.event_id, int | None)
        assert_type(event.event_type, str | None)
        assert_type(event.sub_type, str | None)
        assert_type(event.id, str | None)
        assert_type(event.name, str | None)
        assert_type(event.parent_id, str | None)
        assert_type(event.event_timestamp, datetime | None)
        assert_type(event.to_dict(), dict[str, Any])
    assert_type(operations_from_history(page), list[Operation])
    return operations_from_history(iter(events), execution_id="id", zero_delay_ends=True)


def operations(operation: Operation) -> None:
    assert_type(operation.id, str)
    assert_type(operation.parent_id, str | None)
    assert_type(operation.name, str | None)
    assert_type(operation.type, OperationType | str)
    assert_type(operation.sub_type, str | None)
    assert_type(operation.status, OperationStatus | str)
    assert_type(operation.start_timestamp, datetime)
    assert_type(operation.end_timestamp, datetime | None)
    assert_type(operation.execution_details, ExecutionDetails | None)
    assert_type(operation.context_details, ContextDetails | None)
    assert_type(operation.step_details, StepDetails | None)
    assert_type(operation.wait_details, WaitDetails | None)
    assert_type(operation.callback_details, CallbackDetails | None)
    assert_type(operation.chained_invoke_details, ChainedInvokeDetails | None)
    assert_type(operation.truncated, tuple[str, ...])
    assert_type(operation.to_dict(), dict[str, Any])
    if operation.status is OperationStatus.FAILED and operation.type is OperationType.STEP:
        text: str = operation.status
        assert text


def details(
    *,
    execution: ExecutionDetails,
    context: ContextDetails,
    step: StepDetails,
    wait: WaitDetails,
    callback: CallbackDetails,
    chained: ChainedInvokeDetails,
) -> None:
    assert_type(execution.input_payload, str | None)
    assert_type(execution.result, str | None)
    assert_type(execution.error, ErrorObject | None)
    assert_type(context.replay_children, bool | None)
    assert_type(context.result, str | None)
    assert_type(context.error, ErrorObject | None)
    assert_type(step.attempt, int | None)
    assert_type(step.next_attempt_timestamp, datetime | None)
    assert_type(step.result, str | None)
    assert_type(step.error, ErrorObject | None)
    assert_type(wait.scheduled_end_timestamp, datetime | None)
    assert_type(wait.error, ErrorObject | None)
    assert_type(callback.callback_id, str | None)
    assert_type(callback.result, str | None)
    assert_type(callback.error, ErrorObject | None)
    assert_type(chained.result, str | None)
    assert_type(chained.error, ErrorObject | None)
    assert_type(chained.to_dict(), dict[str, Any])
    if step.error is not None:
        assert_type(step.error.error_type, str | None)
        assert_type(step.error.error_message, str | None)
        assert_type(step.error.error_data, str | None)
        assert_type(step.error.stack_trace, list[str] | None)


def remedies(error: DurastateError) -> str:
    """Every class of the tree in an order that reaches each."""
    match error:
        case ThrottledError() | InvalidTokenError() | InvalidRequestError():
            assert_type(error.retryable, bool)
        case ExecutionNotFoundError() | FunctionNotFoundError():
            assert_type(error.code, str)
        case AccessDeniedError() | EncryptionKeyError():
            assert_type(error.status, int)
        case ServiceError():
            assert_type(error.request_id, str | None)
            return error.operation + error.arn + error.code + error.message
        case DeadlineError():
            timeout: TimeoutError = error
            return str(timeout)
        case OutageError():
            return str(error)
        case TransportError():
            assert_type(error.retryable, bool)
            assert_type(error.connected, bool)
        case DecodingError():
            return error.path
        case PaginationError() | IncompleteHistoryError() | StateTooLargeError():
            return str(error)
        case CredentialsError() | InvalidRefError() | MissingTokenError():
            return str(error)
        case ConfigurationError():
            return str(error)
    return ""


def seconds_told(event: Event) -> float:
    """Every kind of event, and nothing else."""
    match event:
        case RequestDone():
            assert_type(event.status, int | None)
            return event.seconds
        case Retrying() | Throttled():
            return event.delay_s
        case PageRead():
            assert_type(event.operation, str)
            return event.items
        case ExecutionDone():
            assert_type(event.error, str | None)
            return event.seconds
        case Paused():
            assert_type(event.reason, str)
            return 0.0
        case Resumed():
            return event.seconds
        case _:
            assert_never(event)


def hooks() -> Sequence[Hook]:
    return (log_event, seconds_told_to_nobody)


def seconds_told_to_nobody(event: Event) -> None:
    seconds_told(event)


def test_every_public_name_is_used_here() -> None:
    assert set(durastate.__all__) <= set(globals())
