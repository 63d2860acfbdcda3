"""`manifest.json`: which files belong to an audit, with their digests, and the digest of it all.

The digest is one of content. It is the SHA-256 of a line for each execution in the order of its
ARN (of the ARN's UTF-8): the row of `executions` without `read_at`, as a compact JSON array of the
columns that the mode of payloads fills, times in microseconds since 1970. `operations_sha256`
in that row is the SHA-256 of the execution's operations: a JSON array of their columns without
`arn`, each an array. After them comes a line `[arn, error, code]` for each failure.

`manifest_sha256` is the digest of the manifest's own members, in their order, as compact JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import orjson

from . import kept
from .errors import DirectoryError
from .files import directory_named, is_table_file, opened
from .journal import NAME as JOURNAL
from .schema import SCHEMA_VERSION, Format, Payloads, Table, columns

NAME = "manifest.json"
_TOLERATED_SKEW_S = 60.0
#: Raised with every change of the manifest's own members.
MANIFEST_VERSION = 2
_MOST_BYTES = 64 * 1024**2


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

    `manifest_version` is 1 where an earlier durastate has left its own members out of any digest.
    """

    manifest_version: int
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
        members = asdict(self)
        sealed = members | {"manifest_sha256": _digest_of(members)}
        return orjson.dumps(sealed, option=orjson.OPT_INDENT_2) + b"\n"

    def paths(self, directory: Path, table: Table) -> list[Path]:
        """The files of one table, in order."""
        return [directory / each.name for each in self.files if each.table == table]


def worth_saying(clock_skew_s: float) -> int | None:
    """Whole seconds of a skew above a minute."""
    return round(clock_skew_s) if abs(clock_skew_s) > _TOLERATED_SKEW_S else None


def read_manifest(directory: str | PathLike[str]) -> Manifest:
    """The manifest of a directory; `DirectoryError` where there is none, or it was changed."""
    directory = directory_named(directory)
    manifest, is_as_written = load_manifest(directory)
    if not is_as_written:
        raise DirectoryError(
            directory,
            f"{NAME} was changed since it was written: the next run of the audit refuses the "
            f"directory too, so audit into another one, or bring back the {NAME} that was here",
        )
    return manifest


def load_manifest(directory: Path) -> tuple[Manifest, bool]:
    """The manifest, and whether its members are those that were written."""
    members = _members(directory)
    check_version(directory, members["schema_version"])
    version = members.setdefault("manifest_version", 1)
    if type(version) is int and version > MANIFEST_VERSION:
        raise DirectoryError(
            directory,
            f"the version of {NAME} is {version}, and this durastate reads up to "
            f"{MANIFEST_VERSION}: use the durastate that wrote it",
        )
    try:
        expected = None if version == 1 else members.pop("manifest_sha256")
        found = None if version == 1 else _digest_of(members)
        return _checked(members), found == expected
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise DirectoryError(directory, f"{NAME} is damaged") from None


def _members(directory: Path) -> dict[str, Any]:
    try:
        with opened(directory / NAME) as file:
            data = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise DirectoryError(directory, _why_none(directory)) from None
    except OSError as error:
        raise DirectoryError(directory, f"cannot read {NAME}: {error.strerror}") from None
    try:
        members = orjson.loads(data if len(data) <= _MOST_BYTES else b"")
    except orjson.JSONDecodeError:
        members = None
    if not isinstance(members, dict) or type(members.get("schema_version")) is not int:
        raise DirectoryError(directory, f"{NAME} is damaged")
    return members


def _why_none(directory: Path) -> str:
    """Which it is of what has no manifest, and what to do."""
    if not directory.exists():
        return "there is no such directory"
    if not directory.is_dir():
        return "is no directory"
    if (directory / JOURNAL).exists():
        return (
            f"no {NAME} yet: the first audit here has not come to its end. The same command goes "
            f"on with it, and query and show read what it has saved with --partial"
        )
    return f"no {NAME}: no audit was written here"


def check_version(directory: Path, version: int) -> None:
    """Refuse a directory of another schema than this version's."""
    if version != SCHEMA_VERSION:
        raise DirectoryError(
            directory,
            f"its schema version is {version}, and this durastate's is {SCHEMA_VERSION}: choose "
            f"another directory, or the durastate that wrote it",
        )


def _digest_of(members: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(members)).hexdigest()


def _checked(members: dict[str, Any]) -> Manifest:
    """Every member of its kind, every file one that an audit writes."""
    listed = members["files"]
    if type(listed) is not list:
        raise ValueError("files")
    files = tuple(ManifestFile(**_of_kinds(ManifestFile, each)) for each in listed)
    members = {name: value for name, value in members.items() if name != "files"}
    manifest = Manifest(**_of_kinds(Manifest, members), files=files)
    datetime.fromisoformat(manifest.written_at)
    kept.digest(manifest.digest)
    for file in files:
        kept.digest(file.sha256)
        if not is_table_file(file.name, file.table, manifest.format):
            raise ValueError("a file that is none of an audit's")
    if len({file.name for file in files}) < len(files):
        raise ValueError("a file twice")
    return manifest


_kinds_of = cache(get_type_hints)


def _of_kinds(record: type, members: dict[str, Any]) -> dict[str, Any]:
    for name, kind in _kinds_of(record).items():
        value = members.get(name)
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise ValueError(name)
        elif kind is int:
            kept.count(value)
        elif kind in (str, bool, int | None) and type(value) not in (get_args(kind) or (kind,)):
            raise ValueError(name)
    return members


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
