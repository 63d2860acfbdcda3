"""One pure builder per call: from arguments to the request as it goes over the wire.

An ARN is one label of the path, so its `:`, `/` and `$` are percent-encoded. Query parameters
are written in the order and the encoding that SigV4 wants, so the signer need not touch them.
Each equals what botocore's serializer makes of the same arguments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote

GET_STATE = "GetDurableExecutionState"

_API = "/2025-12-01"
# What ARNs and tokens are made of; the reserved ones of these characters are five.
_COMMON = re.compile(r"[A-Za-z0-9._~:/$+=-]*")


@dataclass(frozen=True, slots=True)
class Request:
    """A GET request: everything but the host, the credentials and the time.

    `region` says which endpoint it belongs to. `query` holds the checkpoint token, so it is in
    no `repr`.
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


def _escaped(text: str) -> str:
    """`quote(text, safe="")`, which goes through every byte, faster for the common case."""
    if _COMMON.fullmatch(text) is None:
        return quote(text, safe="")
    for reserved, escape in _ESCAPES:
        text = text.replace(reserved, escape)
    return text


_ESCAPES = ((":", "%3A"), ("/", "%2F"), ("$", "%24"), ("+", "%2B"), ("=", "%3D"))
