"""Whether a directory is an audit's that can be gone on with, before anything in it is changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from . import journal as journals
from . import manifest as manifests
from . import scratch
from .errors import DirectoryError
from .files import LOCK, sha256_of, temporary_name, writing
from .journal import Journal
from .manifest import check_version, read_manifest
from .schema import SCHEMA_VERSION, Format, Payloads


def check_ours(directory: Path) -> set[str]:
    """Refuse a directory that holds something else, or another version's audit.

    The files that its manifest names, if it has one.
    """
    names = {each.name for each in directory.iterdir() if not scratch.is_ours(each.name)}
    in_use: set[str] = set()
    if manifests.NAME in names:
        in_use = {each.name for each in read_manifest(directory).files}
    if journals.NAME in names or names <= {LOCK, *journals.NAMES}:
        return in_use
    if manifests.NAME in names:
        raise DirectoryError(
            directory, f"without its {journals.NAME} this audit can be read and not gone on with"
        )
    raise DirectoryError(directory, "holds something else than an audit: choose another directory")


def settle(directory: Path, journal: Journal, format: Format, payloads: Payloads) -> None:  # noqa: A002
    """Keep what a new audit is written with; refuse to go on with one that has it otherwise."""
    kept = journal.settings()
    if "schema_version" not in kept:
        journal.keep(schema_version=str(SCHEMA_VERSION), format=format, payloads=payloads)
        return
    check_settings(directory, kept, format, payloads)
    path = directory / manifests.NAME
    with writing(path):
        temporary_name(path).unlink(missing_ok=True)


def check_settings(
    directory: Path,
    kept: Mapping[str, str],
    format: Format,  # noqa: A002
    payloads: Payloads,
) -> None:
    """Refuse what was begun otherwise, or has another manifest than the journal knows."""
    if "schema_version" not in kept:
        return
    check_version(directory, int(kept["schema_version"]))
    if (kept["format"], kept["payloads"]) != (format, payloads):
        raise DirectoryError(
            directory,
            f"was begun as {kept['format']} with payloads {kept['payloads']}: go on with the "
            f"same, or choose another directory",
        )
    path = directory / manifests.NAME
    with writing(path):
        found = sha256_of(path) if os.path.lexists(path) else None
    expected = {kept.get("manifest")}
    if "next_manifest" in kept:  # killed while it was being put in its place
        expected.add(kept["next_manifest"])
    if found not in expected:
        what = "is missing" if found is None else "was changed since"
        raise DirectoryError(directory, f"{path.name} {what}, so nothing is added here")
