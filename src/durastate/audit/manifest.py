"""`manifest.json`: which files belong to an audit, with their digests, and the digest of it all.

The digest is one of content. It is the SHA-256 of a line for each execution in the order of its
ARN (of the ARN's UTF-8): the row of `executions` without `read_at`, as a compact JSON array of the
columns that the mode of payloads fills, times in microseconds since 1970. `operations_sha256`
in that row is the SHA-256 of the execution's operations: a JSON array of their columns without
`arn`, each an array. After them comes a line `[arn, error, code]` for each failure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from .errors import DirectoryError
from .schema import FORMATS, PAYLOADS, SCHEMA_VERSION, Format, Payloads, Table, columns

NAME = "manifest.json"
_TOLERATED_SKEW_S = 60.0


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file: `name` within the directory."""

    name: str
    table: Table
    rows: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an audit has written. `complete` is False where the run was broken off.

    `clock_skew_s` is how far the service's clock was ahead of the machine's in the last run, where
    that was more than a minute; times here are the service's.
    """

    schema_version: int
    durastate: str
    written_at: str
    complete: bool
    format: Format
    payloads: Payloads
    digest: str
    executions: int
    operations: int
    failures: int
    files: tuple[ManifestFile, ...]
    clock_skew_s: int | None = None

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2) + b"\n"

    def paths(self, directory: Path, table: Table) -> list[Path]:
        """The files of one table, in order."""
        return [directory / each.name for each in self.files if each.table == table]


def worth_saying(clock_skew_s: float) -> int | None:
    """Whole seconds of a skew above a minute."""
    return round(clock_skew_s) if abs(clock_skew_s) > _TOLERATED_SKEW_S else None


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a directory; `DirectoryError` where there is none that can be read."""
    try:
        data = (directory / NAME).read_bytes()
    except FileNotFoundError:
        raise DirectoryError(
            directory,
            f"no {NAME}: no audit was written here, or it has not come to an end yet",
        ) from None
    except OSError as error:
        raise DirectoryError(directory, f"cannot read {NAME}: {error.strerror}") from None
    try:
        members = orjson.loads(data)
        version = members["schema_version"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise DirectoryError(directory, f"{NAME} is damaged") from None
    check_version(directory, version)
    try:
        return _checked(members)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DirectoryError(directory, f"{NAME} is damaged") from None


def check_version(directory: Path, version: Any) -> None:
    """Refuse a directory of another schema than this version's."""
    if version != SCHEMA_VERSION:
        raise DirectoryError(
            directory,
            f"its schema version is {version}, and this durastate's is {SCHEMA_VERSION}: choose "
            f"another directory, or the durastate that wrote it",
        )


def _checked(members: dict[str, Any]) -> Manifest:
    files = tuple(ManifestFile(**each) for each in members.pop("files"))
    if any(Path(each.name).name != each.name or "\0" in each.name for each in files):
        raise ValueError("a file elsewhere")
    manifest = Manifest(**members, files=files)
    if manifest.format not in FORMATS or manifest.payloads not in PAYLOADS:
        raise ValueError("unknown")
    return manifest


class ContentDigest:
    """The digest of an audit, fed with its rows in order."""

    def __init__(self, payloads: Payloads) -> None:
        self._hash = hashlib.sha256()
        self._names = [each for each in columns("executions", payloads) if each != "read_at"]

    def executions(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self._line([row.get(name) for name in self._names])

    def failures(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self._line([row.get(name) for name in ("arn", "error", "code")])

    def _line(self, values: list[Any]) -> None:
        self._hash.update(orjson.dumps(values) + b"\n")

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
