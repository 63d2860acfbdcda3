"""What a read asks for: where its requests go, what they say, what their answers are.

A `Target` is one of the four calls with its arguments. Everything about it that can be checked
without knowing the endpoint is checked when it is made, the rest before the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from .arguments import shown
from .calls import Calls
from .decoding import decode_page, is_text
from .errors import ConfigurationError, InvalidRefError, MissingTokenError
from .executions import ExecutionDescription, ExecutionPage, decode_execution, decode_executions
from .history import HistoryPage, decode_history
from .models import StatePage
from .pace import Pace
from .refs import (
    ExecutionRef,
    check_version,
    is_token,
    match_arn,
    match_function,
    parse_arn,
    shown_arn,
)
from .requests import (
    GET_EXECUTION,
    GET_HISTORY,
    GET_STATE,
    LIST_EXECUTIONS,
    Request,
    execution_path,
    execution_query,
    executions_path,
    executions_query,
    history_path,
    history_query,
    state_path,
    state_query,
)

MAX_ITEMS = 1000
_MOST_STATUSES = 10
_LONGEST_KEY = 1024

A = TypeVar("A")


class Subject(Protocol):
    """What a request is about, by the key that stands in its path."""

    @property
    def key(self) -> str: ...

    def place(self) -> tuple[str | None, str | None]:
        """Its Region and its account, as far as the key tells."""
        ...

    def check(self) -> None:
        """Refuse what AWS cannot have."""
        ...

    def check_for_own_endpoint(self) -> None:
        """Refuse what cannot be sent; local servers have keys of other forms than AWS."""
        ...


class Execution:
    """An execution, with its checkpoint token where the call takes one."""

    def __init__(self, arn: str, token: str | None = None) -> None:
        self.key = arn
        self._token = token

    def place(self) -> tuple[str | None, str | None]:
        parts = match_arn(self.key)
        return (None, None) if parts is None else (parts.region, parts.account)

    def check(self) -> None:
        parse_arn(self.key)
        if self._token is not None and not is_token(self._token):
            raise InvalidRefError(
                "checkpoint_token: expected base64 of 1 to 2,048 characters, as the "
                "invocation event has it"
            )

    def check_for_own_endpoint(self) -> None:
        _check_key("arn", self.key, InvalidRefError)
        check_version(self.key)
        if self._token is not None and (not is_text(self._token) or not self._token):
            raise InvalidRefError("checkpoint_token: expected a string that is not empty")


class Function:
    """A function, by its name or ARN."""

    def __init__(self, name: str) -> None:
        self.key = name

    def place(self) -> tuple[str | None, str | None]:
        parts = match_function(self.key)
        return (None, None) if parts is None else (parts.region, parts.account)

    def check(self) -> None:
        if match_function(self.key) is None:
            shown = repr(self.key[:200]) if isinstance(self.key, str) else "something else"
            raise ConfigurationError(
                f"function_name: expected the name or the ARN of a function, found {shown}"
            )

    def check_for_own_endpoint(self) -> None:
        _check_key("function_name", self.key, ConfigurationError)


class Target(Generic[A]):
    """One call about one subject; `decode` makes its answer of a response's bytes."""

    def __init__(
        self,
        operation: str,
        subject: Subject,
        *,
        path: Callable[[str], str],
        query: Callable[[str | None], str],
        decode: Callable[[bytes | bytearray], A],
        token: str | None = None,
    ) -> None:
        self.operation = operation
        self.key = subject.key
        self.decode = decode
        self.token = token
        self.pace: Pace
        self._subject = subject
        self._make_path = path
        self._query = query
        self._path = ""
        self._region = ""

    async def request(self, calls: Calls, marker: str | None) -> Request:
        """The request for what comes at `marker`."""
        if not self._path:
            await self._find_place(calls)
        return Request(self.operation, self.key, self._region, self._path, self._query(marker))

    async def _find_place(self, calls: Calls) -> None:
        named, account = self._subject.place()
        region, is_own = await calls.region_of(named)
        if region is None:
            if not is_own:
                self._subject.check()
            raise ConfigurationError("region_name: none is configured, and a key has none either")
        if is_own:
            self._subject.check_for_own_endpoint()
        else:
            self._subject.check()
        self.pace = calls.shared.pace(self.operation, account, region, own_endpoint=is_own)
        self._region = region
        self._path = self._make_path(self.key)


def state_target(ref: ExecutionRef, max_items: int) -> Target[StatePage]:
    """GetDurableExecutionState."""
    check_max_items(max_items)
    check_ref(ref)
    token = ref.checkpoint_token
    if token is None:
        raise MissingTokenError(
            f"checkpoint_token: GetDurableExecutionState needs one for {shown_arn(ref.arn)}. "
            f"It is in the invocation event of the durable function"
        )
    return Target(
        GET_STATE,
        Execution(ref.arn, token),
        path=state_path,
        query=lambda marker: state_query(token, marker, max_items),
        decode=decode_page,
        token=token,
    )


def history_target(
    arn: str,
    max_items: int,
    *,
    include_execution_data: bool,
    reverse_order: bool | None = None,
) -> Target[HistoryPage]:
    """GetDurableExecutionHistory."""
    check_max_items(max_items)
    _check_flag("include_execution_data", include_execution_data)
    _check_flag("reverse_order", reverse_order)
    return Target(
        GET_HISTORY,
        Execution(arn),
        path=history_path,
        query=lambda marker: history_query(
            marker,
            max_items,
            include_execution_data=include_execution_data,
            reverse_order=reverse_order,
        ),
        decode=decode_history,
    )


def execution_target(arn: str, *, include_execution_data: bool) -> Target[ExecutionDescription]:
    """GetDurableExecution."""
    _check_flag("include_execution_data", include_execution_data)
    return Target(
        GET_EXECUTION,
        Execution(arn),
        path=execution_path,
        query=lambda _: execution_query(include_execution_data=include_execution_data),
        decode=decode_execution,
    )


def executions_target(
    function_name: str,
    max_items: int,
    *,
    qualifier: str | None = None,
    execution_name: str | None = None,
    statuses: Collection[str] = (),
    started_after: datetime | None = None,
    started_before: datetime | None = None,
    reverse_order: bool | None = None,
) -> Target[ExecutionPage]:
    """ListDurableExecutionsByFunction."""
    check_max_items(max_items)
    check_text("qualifier", qualifier)
    check_text("execution_name", execution_name)
    _check_moment("started_after", started_after)
    _check_moment("started_before", started_before)
    _check_flag("reverse_order", reverse_order)
    wanted = _checked_statuses(statuses)
    return Target(
        LIST_EXECUTIONS,
        Function(function_name),
        path=executions_path,
        query=lambda marker: executions_query(
            marker,
            max_items,
            qualifier=qualifier,
            execution_name=execution_name,
            statuses=wanted,
            started_after=started_after,
            started_before=started_before,
            reverse_order=reverse_order,
        ),
        decode=decode_executions,
    )


def check_ref(ref: object) -> None:
    if not isinstance(ref, ExecutionRef):
        raise ConfigurationError(f"ref: expected an ExecutionRef, found {type(ref).__name__}")


def check_max_items(max_items: int) -> None:
    if type(max_items) is not int or not 0 <= max_items <= MAX_ITEMS:
        raise ConfigurationError(
            f"max_items: expected an integer from 0 to {MAX_ITEMS}, found {shown(max_items)}"
        )


def _check_key(name: str, key: object, kind: type[ConfigurationError]) -> None:
    if not isinstance(key, str) or not is_text(key) or not 0 < len(key) <= _LONGEST_KEY:
        raise kind(f"{name}: expected 1 to 1,024 characters")
    if key in (".", ".."):
        raise kind(f"{name}: expected a key, found a relative path")


def check_text(name: str, value: object) -> None:
    if value is not None and not (value and is_text(value)):
        raise ConfigurationError(f"{name}: expected a string that is not empty")


def _check_flag(name: str, value: object) -> None:
    if value is not None and not isinstance(value, bool):
        raise ConfigurationError(f"{name}: expected True or False, found {shown(value)}")


def _check_moment(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ConfigurationError(
            f"{name}: expected a datetime with a time zone, found {shown(value)}"
        )


def _checked_statuses(statuses: object) -> tuple[str, ...]:
    if isinstance(statuses, str) or not isinstance(statuses, Collection):
        raise ConfigurationError(
            f"statuses: expected a collection of names, found {shown(statuses)}"
        )
    if not all(is_text(each) and each for each in statuses):
        raise ConfigurationError(f"statuses: expected names, found {shown(statuses)}")
    if len(statuses) > _MOST_STATUSES:
        raise ConfigurationError(f"statuses: expected at most {_MOST_STATUSES} names")
    return tuple({str(each) for each in statuses})
