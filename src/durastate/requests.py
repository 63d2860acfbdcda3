"""One pure builder per call: from arguments to the request as it goes over the wire.

An ARN is one label of the path, so its `:`, `/` and `$` are percent-encoded. Query parameters
are written in the order and the encoding that SigV4 wants, so the signer need not touch them.
Each equals what botocore's serializer makes of the same arguments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from urllib.parse import quote

GET_STATE = "GetDurableExecutionState"
GET_HISTORY = "GetDurableExecutionHistory"
GET_EXECUTION = "GetDurableExecution"
LIST_EXECUTIONS = "ListDurableExecutionsByFunction"

_API = "/2025-12-01"
# What ARNs and tokens are made of; the reserved ones of these characters are five.
_COMMON = re.compile(r"[A-Za-z0-9._~:/$+=-]*")


@dataclass(frozen=True, slots=True)
class Request:
    """A GET request: everything but the host, the credentials and the time.

    `arn` is what it asks about: an execution, or the function of a listing, whose name may stand
    there. `region` says which endpoint it belongs to. `query` holds the checkpoint token, so it
    is in no `repr`.
    """

    operation: str
    arn: str
    region: str
    path: str
    query: str = field(repr=False)


def state_path(arn: str) -> str:
    """The path of GetDurableExecutionState for one execution."""
    return f"{_API}/durable-executions/{_escaped(arn)}/state"


def state_query(checkpoint_token: str, marker: str | None, max_items: int) -> str:
    """The query of GetDurableExecutionState, its parameters sorted by name."""
    token = _escaped(checkpoint_token)
    if marker is None:
        return f"CheckpointToken={token}&MaxItems={max_items}"
    return f"CheckpointToken={token}&Marker={_escaped(marker)}&MaxItems={max_items}"


def history_path(arn: str) -> str:
    """The path of GetDurableExecutionHistory for one execution."""
    return f"{_API}/durable-executions/{_escaped(arn)}/history"


def history_query(
    marker: str | None,
    max_items: int,
    *,
    include_execution_data: bool,
    reverse_order: bool | None = None,
) -> str:
    """The query of GetDurableExecutionHistory.

    IncludeExecutionData is always said: AWS's emulator has another default than the service.
    """
    return _query(
        IncludeExecutionData=_flag(include_execution_data),
        Marker=marker,
        MaxItems=str(max_items),
        ReverseOrder=None if reverse_order is None else _flag(reverse_order),
    )


def execution_path(arn: str) -> str:
    """The path of GetDurableExecution."""
    return f"{_API}/durable-executions/{_escaped(arn)}"


def execution_query(*, include_execution_data: bool) -> str:
    """The query of GetDurableExecution."""
    return _query(IncludeExecutionData=_flag(include_execution_data))


def executions_path(function_name: str) -> str:
    """The path of ListDurableExecutionsByFunction; the function by its name or ARN."""
    return f"{_API}/functions/{_escaped(function_name)}/durable-executions"


def executions_query(
    marker: str | None,
    max_items: int,
    *,
    qualifier: str | None = None,
    execution_name: str | None = None,
    statuses: Sequence[str] = (),
    started_after: datetime | None = None,
    started_before: datetime | None = None,
    reverse_order: bool | None = None,
) -> str:
    """The query of ListDurableExecutionsByFunction.

    Statuses is repeated, in the alphabetical order that SigV4 wants. Times go as ISO 8601 in UTC,
    unlike those of answers.
    """
    return _query(
        DurableExecutionName=execution_name,
        Marker=marker,
        MaxItems=str(max_items),
        Qualifier=qualifier,
        ReverseOrder=None if reverse_order is None else _flag(reverse_order),
        StartedAfter=None if started_after is None else _time(started_after),
        StartedBefore=None if started_before is None else _time(started_before),
        Statuses=sorted(statuses),
    )


def _query(**members: str | Sequence[str] | None) -> str:
    """Members that are given, in the order of their names that SigV4 wants."""
    pairs = []
    for name, given in members.items():
        values = (given,) if isinstance(given, str) else given or ()
        pairs += [f"{name}={_escaped(value)}" for value in values]
    return "&".join(pairs)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _time(moment: datetime) -> str:
    utc = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return f"{utc.isoformat()}Z"


def _escaped(text: str) -> str:
    """`quote(text, safe="")`, which goes through every byte, faster for the common case."""
    if _COMMON.fullmatch(text) is None:
        return quote(text, safe="")
    for reserved, escape in _ESCAPES:
        text = text.replace(reserved, escape)
    return text


_ESCAPES = ((":", "%3A"), ("/", "%2F"), ("$", "%24"), ("+", "%2B"), ("=", "%3D"))
