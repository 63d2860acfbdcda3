"""Read the state of AWS Lambda durable executions, of many at once.

    async with durastate.StateClient() as client:
        state = await client.get_state(ExecutionRef(arn, checkpoint_token))
        async with client.fetch_many(refs) as results:
            async for result in results:
                ...

`import durastate` stays light: a name is loaded when it is first used, aiobotocore and aiohttp when
a client is entered. `from durastate import StateClient` at the top of a module loads it there.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bulk import Failed, Fetched, FetchedPage, FetchResult
    from .calls import Statistics
    from .client import StateClient
    from .decoding import decode_page
    from .details import (
        CallbackDetails,
        ChainedInvokeDetails,
        ContextDetails,
        ErrorObject,
        ExecutionDetails,
        ExecutionStatus,
        OperationStatus,
        OperationType,
        PauseDetails,
        StepDetails,
        WaitDetails,
    )
    from .errors import (
        AccessDeniedError,
        ConfigurationError,
        CredentialsError,
        DeadlineError,
        DecodingError,
        DurastateError,
        EncryptionKeyError,
        ExecutionNotFoundError,
        FunctionNotFoundError,
        IncompleteHistoryError,
        InvalidRefError,
        InvalidRequestError,
        InvalidTokenError,
        MissingTokenError,
        OutageError,
        PaginationError,
        ServiceError,
        StateTooLargeError,
        ThrottledError,
        TransportError,
    )
    from .executions import (
        DurableConfig,
        ExecutionDescription,
        ExecutionSummary,
        TraceHeader,
    )
    from .history import (
        HistoryEvent,
        HistoryPage,
        decode_history,
        operations_from_history,
    )
    from .hooks import (
        Event,
        ExecutionDone,
        Hook,
        PageRead,
        Paused,
        RequestDone,
        Resumed,
        Retrying,
        Throttled,
        log_event,
    )
    from .limits import Limits
    from .models import ExecutionState, Operation, StatePage
    from .refs import ExecutionRef
    from .retries import RetryPolicy
    from .saved import read_history_file

__version__ = "0.1.0"

__all__ = [
    "AccessDeniedError",
    "CallbackDetails",
    "ChainedInvokeDetails",
    "ConfigurationError",
    "ContextDetails",
    "CredentialsError",
    "DeadlineError",
    "DecodingError",
    "DurableConfig",
    "DurastateError",
    "EncryptionKeyError",
    "ErrorObject",
    "Event",
    "ExecutionDescription",
    "ExecutionDetails",
    "ExecutionDone",
    "ExecutionNotFoundError",
    "ExecutionRef",
    "ExecutionState",
    "ExecutionStatus",
    "ExecutionSummary",
    "Failed",
    "FetchResult",
    "Fetched",
    "FetchedPage",
    "FunctionNotFoundError",
    "HistoryEvent",
    "HistoryPage",
    "Hook",
    "IncompleteHistoryError",
    "InvalidRefError",
    "InvalidRequestError",
    "InvalidTokenError",
    "Limits",
    "MissingTokenError",
    "Operation",
    "OperationStatus",
    "OperationType",
    "OutageError",
    "PageRead",
    "PaginationError",
    "PauseDetails",
    "Paused",
    "RequestDone",
    "Resumed",
    "RetryPolicy",
    "Retrying",
    "ServiceError",
    "StateClient",
    "StatePage",
    "StateTooLargeError",
    "Statistics",
    "StepDetails",
    "Throttled",
    "ThrottledError",
    "TraceHeader",
    "TransportError",
    "WaitDetails",
    "decode_history",
    "decode_page",
    "log_event",
    "operations_from_history",
    "read_history_file",
]

# Where the names above are, the light modules first.
_MODULES = (
    *("errors", "details", "models", "refs", "decoding", "retries", "limits", "hooks"),
    *("executions", "history", "saved", "bulk", "calls", "client"),
)


def __getattr__(name: str) -> object:
    """A public name at its first use."""
    if name in __all__:
        for module in _MODULES:
            found: object = getattr(import_module(f".{module}", __name__), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
