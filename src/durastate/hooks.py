"""What a client tells whoever wants to know: one named tuple an event.

    def count(event: durastate.Event) -> None:
        if isinstance(event, durastate.Throttled):
            throttled.add(1, {"region": event.region})

    async with durastate.StateClient(hooks=[count]) as client: ...

A hook is called where the event happens, on the event loop, so it must not block. What it raises
comes out of the read that it was told about and ends nothing else; the log says it, once a client.
The other hooks are told all the same. No event holds a token, a payload, a marker or a header.
`operation` is AWS's name of the call; `arn` is the execution's or, of a listing, what the function
was named by.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

_LOGGER = logging.getLogger("durastate")


class RequestDone(NamedTuple):
    """One HTTP exchange is over. `status` is None where no whole answer came."""

    operation: str
    arn: str
    region: str
    attempt: int
    status: int | None
    bytes: int
    seconds: float


class Retrying(NamedTuple):
    """A request will be sent again after `delay_s`. `reason` is AWS's code or our error's name."""

    operation: str
    arn: str
    region: str
    attempt: int
    reason: str
    delay_s: float


class Throttled(NamedTuple):
    """The service has refused a request as one too many.

    `rate` is the pace from now on: unchanged where one refusal in hundreds is no sign of going too
    fast, and infinite where nothing bounds it.
    """

    operation: str
    arn: str
    region: str
    rate: float
    delay_s: float


class PageRead(NamedTuple):
    """A page has been decoded; `items` are its operations, events or executions."""

    operation: str
    arn: str
    items: int
    bytes: int
    is_last: bool


class ExecutionDone(NamedTuple):
    """An execution has been read to its end, or to the `error` (its class) that ended it.

    Told by `get_state`, `get_state_from_history`, `fetch_many` and `stream_pages`; not of a
    reference that was refused before anything was asked. `operation` is the call that it was read
    with, `items` counts the operations or events.
    """

    operation: str
    arn: str
    pages: int
    items: int
    seconds: float
    error: str | None


class Paused(NamedTuple):
    """An endpoint has gone away, and bulk reads wait for it. `reason` is our error's text.

    An outage within 10 s of another is told once it has lasted a second, so that an endpoint which
    comes and goes many times a second is no flood of events.
    """

    region: str
    reason: str


class Resumed(NamedTuple):
    """The endpoint has answered again, `seconds` after it went away."""

    region: str
    seconds: float


Event: TypeAlias = RequestDone | Retrying | Throttled | PageRead | ExecutionDone | Paused | Resumed
_LEVELS = {Paused: logging.WARNING, Resumed: logging.WARNING, Retrying: logging.INFO}


class Hook(Protocol):
    """Anything that can be called with an event."""

    def __call__(self, event: Event, /) -> None: ...


def log_event(event: Event) -> None:
    """The default hook: to the logger `durastate`, with the event's fields in `extra`.

    Outages are warnings, retries are infos, everything else is for debugging. The fields are in
    the record's attribute `durastate`, a dict.
    """
    level = _LEVELS.get(type(event), logging.DEBUG)
    if _LOGGER.isEnabledFor(level):
        fields = event._asdict()
        name = type(event).__name__
        text = " ".join(f"{key}={value}" for key, value in fields.items())
        _LOGGER.log(level, "%s %s", name, text, extra={"durastate": {"event": name, **fields}})


def teller(hooks: Sequence[Hook]) -> Callable[[Event], None]:
    """Tells every hook of an event, then raises what the first of those that raised did."""
    has_logged = False

    def tell(event: Event) -> None:
        nonlocal has_logged
        raised: BaseException | None = None
        for hook in hooks:
            try:
                hook(event)
            except BaseException as error:  # noqa: BLE001 - raised below
                raised = raised or error
        if raised is None:
            return
        if not has_logged:
            has_logged = True
            names = (type(raised).__name__, type(event).__name__)
            _LOGGER.error("a hook raised %s when it was told of %s", *names)
        raise raised

    return tell


def logs_everything() -> bool:
    """Whether anybody would see the events that come with each request."""
    return _LOGGER.isEnabledFor(logging.DEBUG)
