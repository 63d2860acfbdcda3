"""Read the state of AWS Lambda durable executions, of many at once.

    async with durastate.StateClient() as client:
        state = await client.get_state(ExecutionRef(arn, checkpoint_token))
        async with client.fetch_many(refs) as results:
            async for result in results:
                ...

`import durastate` stays light: aiobotocore and aiohttp are loaded when a client is entered.
"""

from .bulk import Failed, Fetched, FetchedPage, FetchResult
from .calls import Statistics
from .client import StateClient
from .decoding import decode_page
from .errors import (
    AccessDeniedError,
    ConfigurationError,
    CredentialsError,
    DeadlineError,
    DecodingError,
    DurastateError,
    EncryptionKeyError,
    ExecutionNotFoundError,
    InvalidRefError,
    InvalidRequestError,
    InvalidTokenError,
    MissingTokenError,
    PaginationError,
    ServiceError,
    StateTooLargeError,
    ThrottledError,
    TransportError,
)
from .limits import Limits
from .models import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    ErrorObject,
    ExecutionDetails,
    ExecutionState,
    Operation,
    OperationStatus,
    OperationType,
    StatePage,
    StepDetails,
    WaitDetails,
)
from .refs import ExecutionRef
from .retries import RetryPolicy

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
    "DurastateError",
    "EncryptionKeyError",
    "ErrorObject",
    "ExecutionDetails",
    "ExecutionNotFoundError",
    "ExecutionRef",
    "ExecutionState",
    "Failed",
    "FetchResult",
    "Fetched",
    "FetchedPage",
    "InvalidRefError",
    "InvalidRequestError",
    "InvalidTokenError",
    "Limits",
    "MissingTokenError",
    "Operation",
    "OperationStatus",
    "OperationType",
    "PaginationError",
    "RetryPolicy",
    "ServiceError",
    "StateClient",
    "StatePage",
    "StateTooLargeError",
    "Statistics",
    "StepDetails",
    "ThrottledError",
    "TransportError",
    "WaitDetails",
    "decode_page",
]
