"""Whose executions an audit is of: functions and versions as users name them, aliases resolved.

ListDurableExecutionsByFunction takes a version and refuses an alias, and without either it lists
all versions (botocore's model), so that an alias is all that has to be asked about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from durastate.errors import (
    AccessDeniedError,
    ConfigurationError,
    DurastateError,
    FunctionNotFoundError,
    ServiceError,
    TransportError,
)
from durastate.redaction import presentable, quotes
from durastate.refs import shown_arn
from durastate.signing import Credentials
from durastate.threads import in_a_loop_of_its_own

_FUNCTION = re.compile(
    r"(?P<function>(?:arn:aws[a-z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):function:"
    r"|(?P<owner>[0-9]{12}):function:)?[a-zA-Z0-9_-]{1,140})"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]{1,128}))?"
)
_VERSION = re.compile(r"\$LATEST(?:\.PUBLISHED)?|[0-9]+")
_GET_ALIAS = "GetAlias"


@dataclass(frozen=True, slots=True)
class FunctionName:
    """A function, or with a `qualifier` one of its versions or aliases."""

    function: str
    qualifier: str | None = None
    region: str | None = None
    account: str | None = None

    @property
    def is_alias(self) -> bool:
        return self.qualifier is not None and not _VERSION.fullmatch(self.qualifier)

    def __str__(self) -> str:
        return self.function if self.qualifier is None else f"{self.function}:{self.qualifier}"


def function_named(text: str) -> FunctionName:
    """What a name or an ARN says; `ConfigurationError` where it is neither."""
    found = _FUNCTION.fullmatch(text)
    if found is None:
        raise ConfigurationError(
            f"expected the name or the ARN of a function, with :VERSION or :ALIAS or without, "
            f"found {shown_arn(text)}"
        )
    account = found["account"] or found["owner"]
    return FunctionName(found["function"], found["qualifier"], found["region"], account)


def is_execution(text: str) -> bool:
    """Whether it is an execution that is meant: its key has a slash, a function's has none."""
    return "/" in text


def without_repetitions(names: list[FunctionName]) -> list[FunctionName]:
    """Each once, and no version beside the whole of its function; in the order given."""
    whole = {each.function for each in names if each.qualifier is None}
    kept = dict.fromkeys(
        each for each in names if each.qualifier is None or each.function not in whole
    )
    return list(kept)


async def versions_of(
    name: FunctionName, *, profile: str | None, region: str | None, endpoint_url: str | None
) -> list[FunctionName]:
    """The versions that an alias points to now; anything else is itself."""
    if not name.is_alias:
        return [name]
    # Loading aiobotocore's models would hold up the event loop for half a second.
    alias = await in_a_loop_of_its_own(lambda: _get_alias(name, profile, region, endpoint_url))
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    versions = dict.fromkeys([alias["FunctionVersion"], *weights])
    return [replace(name, qualifier=version) for version in versions]


async def _get_alias(
    name: FunctionName, profile: str | None, region: str | None, endpoint_url: str | None
) -> dict[str, Any]:
    from aiobotocore.session import AioSession
    from botocore.exceptions import BotoCoreError, ClientError

    failure: DurastateError
    keys: tuple[str, ...] = ()
    try:
        session = AioSession(profile=profile)
        keys = await keys_of(session)
        async with session.create_client(
            "lambda", region_name=region, endpoint_url=endpoint_url
        ) as client:
            alias: dict[str, Any] = await client.get_alias(
                FunctionName=name.function, Name=name.qualifier
            )
            return alias
    except ClientError as error:
        failure = _refusal(name, error.response, keys)
    except (BotoCoreError, ValueError) as error:
        # Its text may quote the URL of a proxy; a UnicodeEncodeError holds the whole request.
        failure = TransportError(f"{_GET_ALIAS} of {name}: {type(error).__name__}")
    raise failure  # Out here, so that no exception of botocore's hangs on it.


async def keys_of(session: Any) -> tuple[str, ...]:
    """What no text of the service may quote."""
    credentials = await session.get_credentials()
    if credentials is None:
        return ()
    frozen = await credentials.get_frozen_credentials()
    keys = Credentials(frozen.access_key, frozen.secret_key, frozen.token)
    keys.check()
    return keys.secrets


def _refusal(name: FunctionName, response: Any, keys: tuple[str, ...]) -> DurastateError:
    code = presentable(str(response.get("Error", {}).get("Code", "Unknown")), keys)
    kind: type[ServiceError] = ServiceError
    if code in ("ResourceNotFoundException", "404"):
        kind = FunctionNotFoundError
    elif code.startswith("AccessDenied"):
        kind = AccessDeniedError
    metadata = response.get("ResponseMetadata", {})
    request_id = metadata.get("RequestId")
    return kind(
        operation=_GET_ALIAS,
        arn=str(name),
        code=code,
        message=presentable(str(response.get("Error", {}).get("Message", "")), keys),
        status=int(metadata.get("HTTPStatusCode", 0)),
        request_id=None if quotes(str(request_id), keys) else request_id,
    )
