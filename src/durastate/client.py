"""The client: one execution to its state, many executions to their results.

A `Walk` reads the pages of one execution, one after the other; everything public is a way to use
it. What happens to a single request is in `calls`, how many executions run at once in `bulk`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .aws import Account
from .bulk import Bulk, Failed, Fetched, FetchedPage, FetchResult, PageResult, Refs
from .calls import Calls, Persistence, Statistics
from .errors import (
    ConfigurationError,
    DeadlineError,
    DurastateError,
    InvalidRefError,
    MissingTokenError,
    OutageError,
    StateTooLargeError,
    TransportError,
)
from .gates import Stream
from .hooks import Hook, log_event, logs_everything
from .limits import Limits
from .models import ExecutionState, Operation, StatePage
from .refs import ExecutionRef
from .retries import Retries, RetryPolicy, check_seconds
from .transport import HttpTransport, Transport
from .walk import MAX_ITEMS, Walk, check_max_items

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
        self._account = Account(
            session=session,
            region_name=region_name,
            profile_name=profile_name,
            endpoint_url=endpoint_url,
            config=config,
        )
        self._limits = limits if limits is not None else Limits()
        self._retry = retry if retry is not None else RetryPolicy()
        self._hooks = hooks
        self._transport: Transport | None = None  # durastate.testing puts its own here.
        self._calls: Calls | None = None
        self._is_open = False

    async def __aenter__(self) -> Self:
        if self._calls is not None:
            raise ConfigurationError("a client can be entered once; make another one")
        account, policy, limits = self._account, self._retry, self._limits
        clock = asyncio.get_running_loop().time
        shared = limits.shared(clock, max_requests=account.pool_size)
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
        persistence = _single(timeout_s)
        walk = Walk(self._opened(), ref, marker, max_items, persistence, inline=False)
        async with _deadline(timeout_s, "get_page", walk):
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
        walk = Walk(self._opened(), ref, marker, max_items, inline=marker is None)
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
        walk = Walk(self._opened(), ref, None, max_items, _single(timeout_s))
        try:
            async with _deadline(timeout_s, "get_state", walk):
                state = await self._read_state(walk)
        except DurastateError as error:
            walk.tell_of_end(error)
            raise
        walk.tell_of_end()
        return state

    async def _read_state(self, walk: Walk) -> ExecutionState:
        operations: list[Operation] = []
        while not walk.is_done:
            page = await walk.next()
            walk.release()
            operations += page.operations
            if walk.bytes_read > self._limits.max_state_bytes:
                raise StateTooLargeError(
                    f"{walk.arn}: more than max_state_bytes={self._limits.max_state_bytes} after "
                    f"{len(operations)} operations. stream_pages and iter_pages read it in parts"
                )
        return ExecutionState(walk.arn, operations, source="state" if walk.has_read else "event")

    # Many executions

    def fetch_many(
        self, refs: Refs, *, max_executions: int = 64, max_items: int = MAX_ITEMS
    ) -> Bulk[FetchResult]:
        """Whole states of many executions, in order of completion; use it with `async with`.

        `refs` is any iterable or async iterable; it is read as needed. Up to `max_executions`
        executions are read at once, and as many states wait for the consumer at most. One
        execution's failure is a `Failed`. A broken set-up is an exception, and so is an endpoint
        that cannot be reached before it has answered anything.
        """
        check_max_items(max_items)

        async def read(ref: ExecutionRef, index: int, bulk: Bulk[FetchResult]) -> None:
            walk = None
            try:
                walk = Walk(self._opened(), ref, None, max_items, Persistence.RUN)
                state = await self._read_state(walk)
            except DurastateError as error:
                if self._ends_the_run(error):
                    raise
                bulk.deliver(_failed(ref, walk, error, index))
            else:
                walk.tell_of_end()
                bulk.deliver(Fetched(ref, state, index=index))

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
        stream = Stream()

        async def read(ref: ExecutionRef, index: int, bulk: Bulk[PageResult]) -> None:
            walk = None
            try:
                walk = Walk(self._opened(), ref, None, max_items, Persistence.RUN, stream=stream)
                while True:
                    page = await walk.next()
                    result = FetchedPage(ref, page, walk.is_done, index=index)
                    bulk.deliver(result, taken=walk.hand_over())
                    if walk.is_done:
                        break
                    await bulk.permit()
            except DurastateError as error:
                if self._ends_the_run(error):
                    raise
                bulk.deliver(_failed(ref, walk, error, index))
            else:
                walk.tell_of_end()

        return Bulk(refs, read, max_executions, self._waited_for_consumer)

    def _opened(self) -> Calls:
        if not self._is_open or self._calls is None:
            raise ConfigurationError("the client is not open: use `async with StateClient(…)`")
        return self._calls

    def _waited_for_consumer(self, seconds: float) -> None:
        if self._calls is not None:
            self._calls.waited_for_consumer_s += seconds

    def _ends_the_run(self, error: DurastateError) -> bool:
        if isinstance(error, OutageError):
            return True
        if isinstance(error, TransportError):
            return error.retryable and self._calls is not None and not self._calls.answered
        return isinstance(error, ConfigurationError) and not isinstance(
            error, InvalidRefError | MissingTokenError
        )

    def statistics(self) -> Statistics:
        """What this client has done since it was entered."""
        if self._calls is None:
            raise ConfigurationError("the client was never entered: use `async with`")
        return self._calls.statistics()


def _failed(ref: ExecutionRef, walk: Walk | None, error: DurastateError, index: int) -> Failed:
    if walk is not None:
        walk.tell_of_end(error)
    # The frames of its traceback hold the pages that were read before it.
    return Failed(ref, error.with_traceback(None), index=index)


def _single(timeout_s: float | None) -> Persistence:
    return Persistence.ATTEMPTS if timeout_s is None else Persistence.DEADLINE


@asynccontextmanager
async def _deadline(timeout_s: float | None, call: str, walk: Walk) -> AsyncIterator[None]:
    if timeout_s is not None:
        check_seconds("timeout_s", timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        if isinstance(error, DurastateError):
            raise
        text = f"{call} of {walk.arn} took longer than timeout_s={timeout_s:g}"
        if walk.last_failure:
            text += f". The last failure before that: {walk.last_failure}"
        raise DeadlineError(text) from None
