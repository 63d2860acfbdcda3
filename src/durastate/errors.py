"""Every exception durastate raises, as one tree.

::

    DurastateError
    ├── ServiceError                the service answered with an error
    │   ├── ThrottledError          429: too many requests
    │   ├── InvalidTokenError       the checkpoint token is refused or stale
    │   ├── InvalidRequestError     another parameter is refused
    │   ├── ExecutionNotFoundError  404: no such execution
    │   ├── FunctionNotFoundError   404: no such function, when its executions are listed
    │   ├── AccessDeniedError       403: no permission for this execution or function
    │   └── EncryptionKeyError      a KMS key is missing, disabled or not allowed
    ├── TransportError              no usable answer: connect, TLS, reset, timeout
    │   ├── DeadlineError           an attempt or a whole call ran out of time
    │   └── OutageError             an endpoint stayed away for too long: a bulk read ends
    ├── DecodingError               an answer that is no page of the service
    ├── PaginationError             markers that repeat
    ├── IncompleteHistoryError      a history without its beginning
    ├── StateTooLargeError          a state beyond Limits.max_state_bytes
    └── ConfigurationError          the set-up, found before or without a request
        ├── CredentialsError        none, not refreshable, or refused by AWS
        ├── InvalidRefError         an ARN or a token that cannot be one
        └── MissingTokenError       an ExecutionRef without a checkpoint token

No message ever holds a token, a credential, a payload or a callback id. All of them pickle, so
they cross process boundaries.
"""

from __future__ import annotations

from typing import Any


class DurastateError(Exception):
    """What every error of this library derives from."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args`, which keyword-only parameters do not survive.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[DurastateError], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ServiceError(DurastateError):
    """The service answered with an error; subclasses name the ones with a remedy of their own.

    `code` is AWS's error code, or `HTTP <status>` where the answer held none. `retryable` says
    whether the same request may succeed later; retries are used up by the time it is raised.
    """

    hint = ""

    def __init__(
        self,
        *,
        operation: str,
        arn: str,
        code: str,
        message: str,
        status: int,
        request_id: str | None = None,
        retryable: bool = False,
    ) -> None:
        self.operation = operation
        self.arn = arn
        self.code = code
        self.message = message
        self.status = status
        self.request_id = request_id
        self.retryable = retryable
        text = f"{operation} of {arn}: {code}: {message or 'no message'}"
        if request_id:
            text += f" (request id {request_id})"
        hint = self.hint.format(operation=operation)
        super().__init__(f"{text}. {hint}" if hint else text)


class ThrottledError(ServiceError):
    """The service said "too many requests" more often than the retries allow."""

    hint = "Lower Limits.rates or Limits.quota_share, or ask AWS for a higher quota"


class InvalidTokenError(ServiceError):
    """The checkpoint token is refused.

    A token is known to be valid only inside the invocation that received it, and only until its
    next checkpoint. What AWS does with an older one is not documented.
    """

    hint = "A checkpoint token lives only while its invocation runs and no newer one was issued"


class InvalidRequestError(ServiceError):
    """The service refuses a parameter, or the request as a whole."""


class ExecutionNotFoundError(ServiceError):
    """The service knows no such durable execution, or not any longer, or not yet."""

    hint = "One that has just started may be found in a moment"


class FunctionNotFoundError(ServiceError):
    """The service knows no such function, whose executions were to be listed."""


class AccessDeniedError(ServiceError):
    """The credentials are good and lack the permission for this execution or function."""

    hint = "The caller needs lambda:{operation} on the function"


class EncryptionKeyError(ServiceError):
    """The execution's data is encrypted with a KMS key that cannot be used; never retried."""

    hint = "Check the state and the policy of the function's KMS key"


class TransportError(DurastateError):
    """No usable answer arrived: connecting, TLS, a reset, a body cut short, a time-out.

    `retryable` is False where another attempt would end the same, such as a body too large.
    `reached` is True where part of an answer came, so that the endpoint is there. `connected` is
    False where there was no connection to send over. `was_idle` is True where the connection had
    been used before and was closed before any byte of an answer, as servers do with idle ones.
    """

    retryable = True
    reached = False
    connected = True
    was_idle = False


class DeadlineError(TransportError, TimeoutError):
    """An attempt (`RetryPolicy.attempt_timeout_s`) or a whole call (`timeout_s`) took too long."""


class OutageError(TransportError):
    """An endpoint that had answered stayed away for `RetryPolicy.outage_limit_s`.

    It ends a bulk read. Executions that were not complete by then are not reported as failed.
    """


class DecodingError(DurastateError):
    """A response or an event is not what the service's model says.

    `path` says where, in the wire's own names: `Operations[3].StartTimestamp`. The text shows
    what was expected and the JSON type that was found, never the value.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}" if path else problem)


class PaginationError(DurastateError):
    """A marker came a second time within one execution, so its listing would never end."""


class IncompleteHistoryError(DurastateError):
    """A history without the event ExecutionStarted, with which every execution begins.

    That of an execution that has just started may be empty for a moment.
    """


class StateTooLargeError(DurastateError):
    """A state or a history needs more than `Limits.max_state_bytes`.

    `stream_pages`, `iter_pages` and `iter_history` read it page by page.
    """


class ConfigurationError(DurastateError):
    """The set-up or an argument is wrong; found before a request is sent where possible."""


class CredentialsError(ConfigurationError):
    """No credentials, credentials that cannot be refreshed, or a signature that AWS refuses."""


class InvalidRefError(ConfigurationError):
    """An `ExecutionRef` holds something that is no ARN or no checkpoint token."""


class MissingTokenError(ConfigurationError):
    """`GetDurableExecutionState` needs a checkpoint token and the reference has none."""
