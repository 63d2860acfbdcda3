"""What the tables of an audit come to: counts, errors, the slowest, what could not be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from .query import query

_MOST = 5
# One statement, since each costs a look at all files. What parts of it share are columns.
_SQL = f"""
WITH failed AS (
    SELECT error_type, arn, count(*) AS n FROM operations
    WHERE status IN ('FAILED', 'TIMED_OUT') GROUP BY ALL
), lasting AS (
    SELECT arn, status, epoch(coalesce(ended_at, read_at) - started_at) AS seconds
    FROM executions WHERE started_at IS NOT NULL
)
SELECT 'groups' AS part, function AS a, version AS b, status AS c, count(*) AS n,
       NULL::DOUBLE AS x, NULL::VARCHAR[] AS arns
FROM executions GROUP BY function, version, status
UNION ALL
SELECT 'errors', error_type, NULL, NULL, sum(n), count(*), min(arn, 3) FROM failed
GROUP BY error_type
UNION ALL
(SELECT 'longest', arn, status, NULL, NULL, seconds, NULL FROM lasting
 ORDER BY seconds DESC, arn LIMIT {_MOST})
UNION ALL
(SELECT 'retried', arn, status, NULL, retry_count, NULL, NULL FROM executions
 WHERE retry_count > 0 ORDER BY retry_count DESC, arn LIMIT {_MOST})
UNION ALL
SELECT 'failures', error, code, arg_min(message, arn), count(*),
       count(*) FILTER (source = 'list'), min(arn, 3)
FROM failures GROUP BY error, code
"""  # noqa: S608 - a number of our own


class Group(NamedTuple):
    """Executions alike; `function` and `version` are None where the key is no ARN."""

    function: str | None
    version: str | None
    status: str
    executions: int


class ErrorKind(NamedTuple):
    """Operations that failed with the same type of error, in so many executions."""

    error_type: str | None
    operations: int
    executions: int
    samples: list[str]


class Lasting(NamedTuple):
    """How long an execution took, or has taken so far."""

    arn: str
    status: str
    seconds: float


class Retried(NamedTuple):
    """How many attempts after the first an execution's operations took."""

    arn: str
    status: str
    retries: int


class Unread(NamedTuple):
    """What could not be read for the same reason; `message` is of the first sample.

    `functions` of the `executions` are functions whose executions could not be listed.
    """

    error: str
    code: str | None
    message: str
    executions: int
    functions: int
    samples: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a run has looked at, and why that may be less than there is.

    Times are the service's; `until` is None where no function was listed. `outdated` executions of
    the directory were running when an earlier run read them; `unended` ones are listed as ended
    and have histories without their end; `cut` operations lack payloads or parts of them.
    """

    since: datetime | None
    until: datetime | None
    statuses: tuple[str, ...]
    limit: int | None
    sample: int | None
    outdated: int
    unended: int
    cut: int


@dataclass(slots=True)
class Summary:
    """Of everything in the directory, whichever run has read it."""

    groups: list[Group] = field(default_factory=list)
    errors: list[ErrorKind] = field(default_factory=list)
    longest: list[Lasting] = field(default_factory=list)
    retried: list[Retried] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)


def summarise(directory: Path) -> Summary:
    """Read the tables that the manifest names."""
    found = Summary()
    for part, a, b, c, n, x, arns in _rows(directory):
        match part:
            case "groups":
                found.groups.append(Group(a, b, c, n))
            case "errors":
                found.errors.append(ErrorKind(a, int(n), int(x), arns))
            case "longest":
                found.longest.append(Lasting(a, b, x))
            case "retried":
                found.retried.append(Retried(a, b, n))
            case _:
                found.unread.append(Unread(a, b, c, n, int(x), arns))
    found.groups.sort(key=lambda each: (each.function or "", each.version or "", each.status))
    found.errors.sort(key=lambda each: (-each.executions, each.error_type or ""))
    found.longest.sort(key=lambda each: (-each.seconds, each.arn))
    found.retried.sort(key=lambda each: (-each.retries, each.arn))
    found.unread.sort(key=lambda each: (-each.executions, each.error, each.code or ""))
    return found


def _rows(directory: Path) -> Iterator[tuple[Any, ...]]:
    with query(directory, _SQL) as answer:
        for batch in answer:
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
