"""The client: one execution to its state, many executions to their results.

A `Walk` reads the pages of one target, one after the other; everything public is a way to use it.
What can be asked for is in `targets`, what happens to a single request in `calls`, what becomes of
an execution's pages in `whole`, how many executions are read at once in `bulk` and `many`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from .arguments import shown
from .aws import Account
from .bulk import Bulk, FetchResult, PageResult, Refs
from .calls import Calls, Persistence, Statistics
from .errors import ConfigurationError
from .executions import ExecutionDescription, ExecutionSummary
from .history import HistoryPage
from .hooks import Hook, log_event, logs_everything
from .limits import Limits
from .loops import check_loop, running_loop
from .many import reading_pages, reading_whole
from .models import ExecutionState, StatePage
from .refs import ExecutionRef
from .retries import Retries, RetryPolicy
from .targets import (
    MAX_ITEMS,
    check_max_items,
    check_text,
    execution_target,
    executions_target,
    history_target,
    state_target,
)
from .transport import HttpTransport, Transport
from .walk import Reading, Walk
from .whole import Whole, deadline, read_within, whole_history, whole_state

if TYPE_CHECKING:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

_MAX_ATTEMPTS = 3


class StateClient:
    """Reads the states of durable executions; an async context manager, one per event loop.

    All tasks of the loop share one client. It serves every Region: an execution's Region is in
    its ARN, and `region_name` is for references without one. Several accounts are several
    clients.

    `session` is used and not closed; `profile_name` is for going without one. `config` and all
    that aiobotocore reads from profiles and the environment hold as anywhere else: credentials,
    proxies, CA bundle, client certificates, time-outs, dual-stack, FIPS, the variables
    `AWS_PROFILE`, `AWS_REGION`, `AWS_CA_BUNDLE`, `AWS_ENDPOINT_URL_LAMBDA`. Entering loads them,
    in a thread, and raises `CredentialsError` or `ConfigurationError` where something is missing.

    `hooks` are called with each `Event`. Without any, outages and retries go to the logger
    `durastate`, and everything else where that is set to DEBUG before the client is entered.
    """

    def __init__(
        self,
        *,
        session: AioSession | None = None,
        region_name: str | None = None,
        profile_name: str | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        limits: Limits | None = None,
        retry: RetryPolicy | None = None,
        hooks: Sequence[Hook] | None = None,
    ) -> None:
        if session is not None and profile_name is not None:
            raise ConfigurationError("profile_name: the session has a profile already; give one")
        check_text("region_name", region_name)
        check_text("profile_name", profile_name)
        check_text("endpoint_url", endpoint_url)
        _check_kind("limits", limits, Limits)
        _check_kind("retry", retry, RetryPolicy)
        self._account = Account(
            session=session,
            region_name=region_name,
            profile_name=profile_name,
            endpoint_url=endpoint_url,
            config=config,
        )
        self._limits = limits if limits is not None else Limits()
        self._retry = retry if retry is not None else RetryPolicy()
        self._hooks = _checked_hooks(hooks)
        self._transport: Transport | None = None  # durastate.testing puts its own here.
        self._calls: Calls | None = None
        self._loop: asyncio.AbstractEventLoop
        self._is_open = False

    async def __aenter__(self) -> Self:
        if self._calls is not None:
            raise ConfigurationError("a client can be entered once; make another one")
        account, policy, limits = self._account, self._retry, self._limits
        loop = self._loop = running_loop()
        shared = limits.shared(loop.time, loop=loop, max_requests=account.pool_size)
        transport = self._transport
        if transport is None:
            await account.open()
            transport = self._transport = HttpTransport(
                account,
                attempt_timeout_s=policy.attempt_timeout_s,
                max_page_bytes=limits.max_page_bytes,
            )
        attempts = policy.max_attempts or account.max_attempts or _MAX_ATTEMPTS
        self._calls = Calls(
            transport,
            Retries(attempts, random.random),
            shared,
            outage_limit_s=policy.outage_limit_s,
            hooks=(log_event,) if self._hooks is None else self._hooks,
            tell_all=self._hooks is not None or logs_everything(),
        )
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        if self._calls is not None:
            check_loop(self._loop, "the client")
            self._calls.close()
        if self._transport is not None:
            await self._transport.close()

    # One execution

    async def get_page(
        self,
        ref: ExecutionRef,
        *,
        marker: str | None = None,
        max_items: int = MAX_ITEMS,
        timeout_s: float | None = None,
    ) -> StatePage:
        """One page, with one request (and its retries).

        Without a `marker` it is the first page as the service has it, whatever an invocation
        event held inline. `max_items` is 0 to 1,000; 0 means the service's default of 100.
        `timeout_s` bounds the whole call, waiting for limits included; `DeadlineError` after it.
        """
        target = state_target(ref, max_items)
        walk = Walk(self._opened(), target, _single(timeout_s), marker=marker)
        async with deadline(timeout_s, "get_page", walk):
            page = await walk.next()
        walk.release()
        return page

    async def iter_pages(
        self,
        ref: ExecutionRef,
        *,
        marker: str | None = None,
        max_items: int = MAX_ITEMS,
    ) -> AsyncIterator[StatePage]:
        """The pages of one execution in order, from `marker` or from the start.

        Requests one page at a time and none before the first step. Between steps it holds no
        task, no slot and no bytes, so it may be left at any page.
        """
        target = state_target(ref, max_items)
        first = ref._inline if marker is None else None
        walk = Walk(self._opened(), target, marker=marker, first=first)
        while not walk.is_done:
            page = await walk.next()
            walk.release()
            yield page

    async def get_state(
        self,
        ref: ExecutionRef,
        *,
        max_items: int = MAX_ITEMS,
        timeout_s: float | None = None,
    ) -> ExecutionState:
        """Every operation of one execution; complete, or an error.

        Reads page after page. Of a reference from an invocation event only what the event does
        not hold is read, and nothing at all where it is complete. `timeout_s` bounds the whole
        call, waiting for limits included; `DeadlineError` after it.
        """
        whole = whole_state(
            self._opened(),
            ref,
            max_items=max_items,
            max_bytes=self._limits.max_state_bytes,
            persistence=_single(timeout_s),
        )
        return await read_within(timeout_s, "get_state", whole)

    # One execution without a token

    async def get_execution(
        self, arn: str, *, include_execution_data: bool = True, timeout_s: float | None = None
    ) -> ExecutionDescription:
        """What the service says of one execution: function, status, times, input, outcome.

        An execution that has just started is an `ExecutionNotFoundError` for a moment.
        """
        target = execution_target(arn, include_execution_data=include_execution_data)
        reading = Reading(self._opened(), target, _single(timeout_s))
        async with deadline(timeout_s, "get_execution", reading):
            described = await reading.ask()
        reading.release()
        return described

    async def iter_history(
        self,
        arn: str,
        *,
        include_execution_data: bool = True,
        reverse_order: bool | None = None,
        marker: str | None = None,
        max_items: int = MAX_ITEMS,
    ) -> AsyncIterator[HistoryPage]:
        """The events of one execution page by page, in the order in which they arrive.

        Without `reverse_order` that is the oldest first. AWS's documentation has the newest first
        where it is True. As `iter_pages` it holds nothing between steps.
        """
        target = history_target(
            arn,
            max_items,
            include_execution_data=include_execution_data,
            reverse_order=reverse_order,
        )
        walk = Walk(self._opened(), target, marker=marker)
        while not walk.is_done:
            page = await walk.next()
            walk.release()
            yield page

    async def get_state_from_history(
        self,
        arn: str,
        *,
        include_execution_data: bool = True,
        max_items: int = MAX_ITEMS,
        timeout_s: float | None = None,
    ) -> ExecutionState:
        """Every operation of one execution, from its events; its `source` is `"history"`.

        Unlike `get_state` it has the children of completed contexts. Without
        `include_execution_data` it has no payloads, and less is sent. A history that does not
        begin with the execution's start is an `IncompleteHistoryError`. `timeout_s` as in
        `get_state`.
        """
        whole = whole_history(
            self._opened(),
            arn,
            max_items=max_items,
            max_bytes=self._limits.max_state_bytes,
            include_execution_data=include_execution_data,
            persistence=_single(timeout_s),
        )
        return await read_within(timeout_s, "get_state_from_history", whole)

    # Many executions

    async def list_executions(
        self,
        function_name: str,
        *,
        qualifier: str | None = None,
        execution_name: str | None = None,
        statuses: Collection[str] = (),
        started_after: datetime | None = None,
        started_before: datetime | None = None,
        reverse_order: bool | None = None,
        max_items: int = MAX_ITEMS,
    ) -> AsyncIterator[ExecutionSummary]:
        """The executions of a function, in the order in which they arrive.

        `function_name` is a name, or an ARN, whose Region is then asked. Without a `qualifier`
        the executions of all versions come; the service refuses aliases. Times have a time zone.
        Without `reverse_order` AWS documents the newest first; new executions shift no pages
        where `started_before` is the start of the run. `max_items` is the size of a page.

        Requests one page at a time and none before the first step. Throttling and outages are
        waited out as in `fetch_many`. `FunctionNotFoundError` where there is no such function.
        """
        target = executions_target(
            function_name,
            max_items,
            qualifier=qualifier,
            execution_name=execution_name,
            statuses=statuses,
            started_after=started_after,
            started_before=started_before,
            reverse_order=reverse_order,
        )
        walk = Walk(self._opened(), target, Persistence.RUN)
        while not walk.is_done:
            page = await walk.next()
            walk.release()
            for summary in page.executions:
                yield summary

    def fetch_many(
        self,
        refs: Refs,
        *,
        max_executions: int = 64,
        max_items: int = MAX_ITEMS,
        source: Literal["state", "history"] = "state",
        include_execution_data: bool = True,
    ) -> Bulk[FetchResult]:
        """Whole states of many executions, in order of completion; use it with `async with`.

        `refs` is any iterable or async iterable; it is read as needed. Up to `max_executions`
        executions are read at once, and as many states wait for the consumer at most. One
        execution's failure is a `Failed`. A broken set-up is an exception, and so is an endpoint
        that cannot be reached before it has answered anything.

        With the source `"history"` the refs need no tokens, and each is read as by
        `get_state_from_history`; `include_execution_data` is for that source alone.
        """
        check_max_items(max_items)
        if source not in ("state", "history"):
            raise ConfigurationError(
                f"source: expected 'state' or 'history', found {shown(source)}"
            )
        if source == "state" and include_execution_data is not True:
            raise ConfigurationError("include_execution_data: a state always has its data")
        common: Any = {
            "max_items": max_items,
            "max_bytes": self._limits.max_state_bytes,
            "persistence": Persistence.RUN,
        }

        def begin(calls: Calls, ref: ExecutionRef) -> Whole[Any]:
            if source == "state":
                return whole_state(calls, ref, **common)
            return whole_history(
                calls, ref.arn, include_execution_data=include_execution_data, **common
            )

        read = reading_whole(self._opened, begin)
        return Bulk(refs, read, max_executions, self._waited_for_consumer)

    def stream_pages(
        self, refs: Refs, *, max_executions: int = 64, max_items: int = MAX_ITEMS
    ) -> Bulk[PageResult]:
        """Like `fetch_many`, page by page: for states too large to hold, in flat memory.

        The pages of one execution come in order, those of several interleaved. A page's bytes
        count against `max_bytes_in_flight` until the consumer has taken it. An execution ends
        with a page that `is_last`, or with a `Failed`; what came before that is then incomplete.
        """
        check_max_items(max_items)
        read = reading_pages(self._opened, max_items)
        return Bulk(refs, read, max_executions, self._waited_for_consumer)

    def _opened(self) -> Calls:
        if not self._is_open or self._calls is None:
            raise ConfigurationError("the client is not open: use `async with StateClient(…)`")
        check_loop(self._loop, "the client")
        return self._calls

    def _waited_for_consumer(self, seconds: float) -> None:
        if self._calls is not None:
            self._calls.waited_for_consumer_s += seconds

    def statistics(self) -> Statistics:
        """What this client has done since it was entered."""
        if self._calls is None:
            raise ConfigurationError("the client was never entered: use `async with`")
        return self._calls.statistics()


def _check_kind(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name}: expected {kind.__name__}, found {type(value).__name__}")


def _checked_hooks(hooks: object) -> tuple[Hook, ...] | None:
    if hooks is None:
        return None
    found = tuple(hooks) if isinstance(hooks, Iterable) else (None,)
    if not all(map(callable, found)):
        raise ConfigurationError(
            "hooks: expected a list of functions, each of which takes an event"
        )
    return found


def _single(timeout_s: float | None) -> Persistence:
    return Persistence.ATTEMPTS if timeout_s is None else Persistence.DEADLINE
