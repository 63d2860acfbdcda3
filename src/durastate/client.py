"""The client: one execution to its state, many executions to their results.

`_Walk` reads the pages of one execution, one after the other; everything public is a way to use
it. What happens to a single request is in `calls`, how many executions run at once in `bulk`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from .aws import Account
from .bulk import Bulk, Failed, Fetched, FetchedPage, FetchResult, PageResult, Refs
from .calls import Calls, Persistence, Statistics
from .decoding import decode_page, is_text
from .errors import (
    ConfigurationError,
    DeadlineError,
    DecodingError,
    DurastateError,
    InvalidRefError,
    MissingTokenError,
    OutageError,
    PaginationError,
    StateTooLargeError,
    TransportError,
)
from .gates import Stream
from .hooks import ExecutionDone, Hook, PageRead, log_event, logs_everything
from .limits import Limits
from .models import ExecutionState, Operation, StatePage
from .pace import Pace
from .refs import ExecutionRef, is_token, match_arn, parse_arn, shown_arn
from .requests import GET_STATE, Request, state_path, state_query
from .retries import Retries, RetryPolicy, check_seconds
from .transport import HttpTransport, Transport

if TYPE_CHECKING:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

_MAX_ITEMS = 1000
_MAX_ATTEMPTS = 3
_LONGEST_KEY = 1024
_LONGEST_KEPT_MARKER = 256
# An execution has at most 3,000 operations, so this many empty pages mean a server gone astray.
_MOST_EMPTY_PAGES = 1000


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
            transport = HttpTransport(
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
        await self._account.close()

    # One execution

    async def get_page(
        self,
        ref: ExecutionRef,
        *,
        marker: str | None = None,
        max_items: int = _MAX_ITEMS,
        timeout_s: float | None = None,
    ) -> StatePage:
        """One page, with one request (and its retries).

        Without a `marker` it is the first page as the service has it, whatever an invocation
        event held inline. `max_items` is 0 to 1,000; 0 means the service's default of 100.
        `timeout_s` bounds the whole call, waiting for limits included; `DeadlineError` after it.
        """
        persistence = _single(timeout_s)
        walk = _Walk(self, ref, marker, max_items, persistence, inline=False)
        async with _deadline(timeout_s, "get_page", walk):
            page = await walk.next()
        walk.release()
        return page

    async def iter_pages(
        self,
        ref: ExecutionRef,
        *,
        marker: str | None = None,
        max_items: int = _MAX_ITEMS,
    ) -> AsyncIterator[StatePage]:
        """The pages of one execution in order, from `marker` or from the start.

        Requests one page at a time and none before the first step. Between steps it holds no
        task, no slot and no bytes, so it may be left at any page.
        """
        walk = _Walk(self, ref, marker, max_items, inline=marker is None)
        while not walk.is_done:
            page = await walk.next()
            walk.release()
            yield page

    async def get_state(
        self,
        ref: ExecutionRef,
        *,
        max_items: int = _MAX_ITEMS,
        timeout_s: float | None = None,
    ) -> ExecutionState:
        """Every operation of one execution; complete, or an error.

        Reads page after page. Of a reference from an invocation event only what the event does
        not hold is read, and nothing at all where it is complete. `timeout_s` bounds the whole
        call, waiting for limits included; `DeadlineError` after it.
        """
        walk = _Walk(self, ref, None, max_items, _single(timeout_s))
        try:
            async with _deadline(timeout_s, "get_state", walk):
                state = await self._read_state(walk)
        except DurastateError as error:
            walk.tell_of_end(error)
            raise
        walk.tell_of_end()
        return state

    async def _read_state(self, walk: _Walk) -> ExecutionState:
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
        self, refs: Refs, *, max_executions: int = 64, max_items: int = _MAX_ITEMS
    ) -> Bulk[FetchResult]:
        """Whole states of many executions, in order of completion; use it with `async with`.

        `refs` is any iterable or async iterable; it is read as needed. Up to `max_executions`
        executions are read at once, and as many states wait for the consumer at most. One
        execution's failure is a `Failed`. A broken set-up is an exception, and so is an endpoint
        that cannot be reached before it has answered anything.
        """
        _check_max_items(max_items)

        async def read(ref: ExecutionRef, index: int, bulk: Bulk[FetchResult]) -> None:
            walk = None
            try:
                walk = _Walk(self, ref, None, max_items, Persistence.RUN)
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
        self, refs: Refs, *, max_executions: int = 64, max_items: int = _MAX_ITEMS
    ) -> Bulk[PageResult]:
        """Like `fetch_many`, page by page: for states too large to hold, in flat memory.

        The pages of one execution come in order, those of several interleaved. A page's bytes
        count against `max_bytes_in_flight` until the consumer has taken it. An execution ends
        with a page that `is_last`, or with a `Failed`; what came before that is then incomplete.
        """
        _check_max_items(max_items)
        stream = Stream()

        async def read(ref: ExecutionRef, index: int, bulk: Bulk[PageResult]) -> None:
            walk = None
            try:
                walk = _Walk(self, ref, None, max_items, Persistence.RUN, stream=stream)
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


def _failed(ref: ExecutionRef, walk: _Walk | None, error: DurastateError, index: int) -> Failed:
    if walk is not None:
        walk.tell_of_end(error)
    # The frames of its traceback hold the pages that were read before it.
    return Failed(ref, error.with_traceback(None), index=index)


class _Walk:
    """The pages of one execution, one request at a time, to the last or to an error."""

    def __init__(
        self,
        client: StateClient,
        ref: ExecutionRef,
        marker: str | None,
        max_items: int,
        persistence: Persistence = Persistence.ATTEMPTS,
        *,
        inline: bool = True,
        stream: Stream | None = None,
    ) -> None:
        if not client._is_open or client._calls is None:
            raise ConfigurationError("the client is not open: use `async with StateClient(…)`")
        _check_max_items(max_items)
        if not isinstance(ref, ExecutionRef):
            raise ConfigurationError(f"ref: expected an ExecutionRef, found {type(ref).__name__}")
        if marker is not None and not is_text(marker):
            raise ConfigurationError("marker: expected a string, as a page's next_marker has it")
        self.is_done = False
        self.has_read = False
        self.bytes_read = 0
        self.last_failure = ""
        self._pages = 0
        self._operations = 0
        self.arn = ref.arn
        self._calls = client._calls
        self._began_at = asyncio.get_running_loop().time() if self._calls.tells_all else 0.0
        self._target = _Target(ref, self._calls)
        self._marker = marker
        self._max_items = max_items
        self._persistence = persistence
        self._inline = ref._inline if inline else None
        self._seen = {_digest(marker)}
        self._empty_in_a_row = 0
        self._stream = stream
        self._hold = self._calls.shared.gate.hold(stream)

    async def next(self) -> StatePage:
        """The next page. Its bytes count as held until `release`, or until `hand_over`'s call."""
        if self._inline is not None:
            page, self._inline = self._inline, None
        else:
            page = await self._read()
        self._marker = page.next_marker
        self.is_done = self._marker is None
        if not self.is_done and not is_text(self._marker):
            self.release()
            raise DecodingError("NextMarker", "holds half of a surrogate pair, so cannot be sent")
        self._empty_in_a_row = 0 if page.operations else self._empty_in_a_row + 1
        seen = _digest(self._marker)
        if not self.is_done and seen in self._seen:
            self._refuse("the service sent the same marker a second time")
        if self._empty_in_a_row > _MOST_EMPTY_PAGES:
            self._refuse(f"the service sent {_MOST_EMPTY_PAGES} pages in a row without operations")
        self._seen.add(seen)
        return page

    def _refuse(self, what: str) -> NoReturn:
        self.release()
        raise PaginationError(f"{self.arn}: {what}, so the listing would never end")

    async def _read(self) -> StatePage:
        calls, target = self._calls, self._target
        request = await target.request(self._marker, self._max_items)
        try:
            response = await calls.answer(
                request,
                target.token,
                target.pace,
                self._hold,
                persistence=self._persistence,
                note=self._note,
            )
            size = len(response.body)
            if not calls.shared.turns.try_take(size):
                await calls.shared.turns.take(size)
            page = decode_page(response.body)
            self._count(page, size)
        except BaseException as error:
            self.release()
            if isinstance(error, DecodingError):
                error.add_note(f"while reading {self.arn}")
            raise
        self.has_read = True
        return page

    def _count(self, page: StatePage, size: int) -> None:
        calls, count = self._calls, len(page.operations)
        self.bytes_read += size
        self._pages += 1
        self._operations += count
        calls.pages += 1
        calls.bytes += size
        calls.operations += count
        if calls.tells_all:
            is_last = page.next_marker is None
            calls.tell(PageRead(self.arn, operations=count, bytes=size, is_last=is_last))

    def _note(self, error: DurastateError) -> None:
        self.last_failure = str(error)

    def tell_of_end(self, error: DurastateError | None = None) -> None:
        """Tell the hooks that nothing more will be read.

        Not of a reference that was refused: what stands for its ARN may be a token.
        """
        if self._calls.tells_all and not isinstance(error, ConfigurationError):
            self._calls.tell(
                ExecutionDone(
                    self.arn,
                    pages=self._pages,
                    operations=self._operations,
                    seconds=asyncio.get_running_loop().time() - self._began_at,
                    error=None if error is None else type(error).__name__,
                )
            )

    def release(self) -> None:
        """Stop counting the bytes of the last page as held."""
        self._hold.release()

    def hand_over(self) -> Callable[[], None]:
        """What will stop the counting later; the walk goes on with a new hold."""
        hold = self._hold
        hold.park()
        self._hold = self._calls.shared.gate.hold(self._stream)
        return hold.release


class _Target:
    """Where the requests for one reference go, and what they say; checked before the first."""

    def __init__(self, ref: ExecutionRef, calls: Calls) -> None:
        if ref.checkpoint_token is None:
            raise MissingTokenError(
                f"checkpoint_token: GetDurableExecutionState needs one for {shown_arn(ref.arn)}. "
                f"It is in the invocation event of the durable function"
            )
        self.arn = ref.arn
        self.token = ref.checkpoint_token
        self.pace: Pace
        self._calls = calls
        self._path = ""
        self._region = ""

    async def request(self, marker: str | None, max_items: int) -> Request:
        if not self._path:
            await self._check()
        query = state_query(self.token, marker, max_items)
        return Request(GET_STATE, self.arn, self._region, self._path, query)

    async def _check(self) -> None:
        parts = match_arn(self.arn)
        region, is_own = await self._calls.region_of(None if parts is None else parts.region)
        if region is None:
            if not is_own:
                parse_arn(self.arn)
            raise ConfigurationError("region_name: none is configured, and a key has none either")
        if is_own:
            self._check_for_own_endpoint()
        else:
            parse_arn(self.arn)
            if not is_token(self.token):
                raise InvalidRefError(
                    "checkpoint_token: expected base64 of 1 to 2,048 characters, as the "
                    "invocation event has it"
                )
        owner = None if parts is None else parts.account
        self.pace = self._calls.shared.pace(GET_STATE, owner, region, own_endpoint=is_own)
        self._region = region
        self._path = state_path(self.arn)

    def _check_for_own_endpoint(self) -> None:
        """Local servers have keys and tokens of other forms than AWS; only they may."""
        if not is_text(self.arn) or not 0 < len(self.arn) <= _LONGEST_KEY:
            raise InvalidRefError("arn: expected 1 to 1,024 characters")
        if self.arn in (".", ".."):
            raise InvalidRefError("arn: expected a key, found a relative path")
        if not is_text(self.token) or not self.token:
            raise InvalidRefError("checkpoint_token: expected a string that is not empty")


def _digest(marker: str | None) -> str | bytes | None:
    """What stands for a marker among those that were seen: a server may send 1 MB of it."""
    if marker is None or len(marker) <= _LONGEST_KEPT_MARKER:
        return marker
    return blake2b(marker.encode(), digest_size=16).digest()


def _check_max_items(max_items: int) -> None:
    if type(max_items) is not int or not 0 <= max_items <= _MAX_ITEMS:
        raise ConfigurationError(
            f"max_items: expected an integer from 0 to {_MAX_ITEMS}, found {max_items!r}"
        )


def _single(timeout_s: float | None) -> Persistence:
    return Persistence.ATTEMPTS if timeout_s is None else Persistence.DEADLINE


@asynccontextmanager
async def _deadline(timeout_s: float | None, call: str, walk: _Walk) -> AsyncIterator[None]:
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
