"""The failures beside OUT: a line for each line of REFS that came to nothing, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from durastate import DurastateError, InvalidRefError, MissingTokenError
from durastate.models import dump_json
from durastate.refs import match_arn

from .ending import USAGE, Problem, in_options
from .jsonl import FoundLine, LinesFile
from .plain import plain

_START = b'{"line":'


class FailuresFile:
    """The executions that could not be read, and why; made with the first of them.

    A resumed run asks for all of them again, so with its first result, at the latest at its end,
    it removes the file that the earlier run left.
    """

    def __init__(self, out: Path, *, resume: bool) -> None:
        self.path = failures_path(out)
        self._lines: LinesFile | None = None
        self._earlier = os.path.lexists(self.path)
        if self._earlier:
            self._check_earlier(resume=resume)

    def starts_anew(self) -> None:
        """This run has a result, or an end without any: an earlier one's failures are outdated."""
        if self._earlier:
            self.path.unlink(missing_ok=True)
            self._earlier = False

    def write(self, line: int, arn: str | None, error: DurastateError) -> None:
        """One line for a line of REFS. It holds no token and no payload."""
        self.starts_anew()
        if self._lines is None:
            self._lines = self._create()
        self._lines.append(dump_json(_failure(line, arn, error)) + b"\n")

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()

    def _create(self) -> LinesFile:
        try:
            return LinesFile.create(self.path)
        except FileExistsError:
            raise Problem(f"{plain(str(self.path))} has come into being meanwhile", USAGE) from None

    def _check_earlier(self, *, resume: bool) -> None:
        if not resume:
            raise Problem(
                f"{plain(str(self.path))} exists, and nothing is overwritten: choose another name",
                USAGE,
            )
        earlier = LinesFile.reopen(self.path)
        ours = all(_may_be_ours(line) for line in earlier.lines())
        earlier.close()
        if not ours:
            raise Problem(
                f"{plain(str(self.path))} was not written by durastate fetch: choose another name",
                USAGE,
            )


def failures_path(out: Path) -> Path:
    """`states.failures.jsonl` for `states.jsonl` and for `states`."""
    return out.with_name(f"{out.name.removesuffix('.jsonl')}.failures.jsonl")


def _may_be_ours(line: FoundLine) -> bool:
    return line.start.startswith(_START) or (not line.is_whole and _START.startswith(line.start))


def _failure(line: int, arn: str | None, error: DurastateError) -> dict[str, Any]:
    message = in_options(str(error))
    # What stands in the place of the ARN may be a token.
    if isinstance(error, InvalidRefError):
        arn, message = None, message.partition(", found")[0]
    elif isinstance(error, MissingTokenError) and match_arn(arn or "") is None:
        arn = None
    return {
        "line": line,
        "arn": arn,
        "error": type(error).__name__,
        "code": getattr(error, "code", None),
        "message": message,
    }
