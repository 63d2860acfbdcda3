"""OUT: a line for each complete execution, and what a resumed run finds there.

OUT is recognised by the form of its lines, which is ours to the byte: the ARN, the source, how
payloads were treated unless they are all there, and the operations. So a resumed run reads the
start and the end of each line and need not parse gigabytes.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from durastate import ExecutionState
from durastate.models import dump_json

from .ending import USAGE, Problem
from .jsonl import LinesFile
from .payloads import without_payloads
from .plain import plain

_START = re.compile(
    rb'\{"arn":(?P<arn>"(?:[^"\\]|\\.)*"),"source":"[a-z]+",'
    rb'(?:"payloads":"(?P<payloads>none|size|hash)",)?"operations":\['
)
_END = b"]}\n"
_TORN_START = b'{"arn":"'


class OutFile:
    """The states. `already` knows the executions that an earlier run has written."""

    def __init__(self, lines: LinesFile, payloads: str, *, is_new: bool) -> None:
        self._lines = lines
        self._payloads = payloads
        self._is_new = is_new
        self._already: set[bytes] = set()
        self.dropped = 0
        """The bytes of a torn last line that was dropped."""

    @classmethod
    def open(cls, path: Path, *, payloads: str, resume: bool) -> OutFile:
        """OUT, new or with `resume` perhaps an earlier run's; anything else is refused."""
        if resume:
            try:
                out = cls(LinesFile.reopen(path), payloads, is_new=False)
            except FileNotFoundError:
                pass
            else:
                out._take_stock()
                out._lines.keep_from_others()
                return out
        try:
            return cls(LinesFile.create(path), payloads, is_new=True)
        except FileExistsError:
            raise Problem(
                f"{plain(str(path))} exists, and nothing is overwritten: --resume continues "
                f"an earlier run's, or choose another name",
                USAGE,
            ) from None

    def holds(self, arn: str) -> bool:
        """Whether an earlier run has written this execution."""
        return bool(self._already) and _digest(arn) in self._already

    def write(self, state: ExecutionState) -> None:
        """One line; `Problem` where the disk does not take it, and then nothing is written."""
        self._lines.append(_line(state, self._payloads))

    def close(self, *, finished: bool) -> None:
        """Close it. An empty one that a broken-off run would leave in the way is removed."""
        if self._is_new and self._lines.is_empty and not finished:
            self._lines.discard()
        else:
            self._lines.close()

    def _take_stock(self) -> None:
        for number, line in enumerate(self._lines.lines(), 1):
            if line.is_whole:
                found = _START.match(line.start) if line.end.endswith(_END) else None
                arn = None if found is None else _arn(found["arn"])
                if found is None or arn is None:
                    raise self._not_ours(f"line {number} is none of its own")
                self._check_payloads(found["payloads"])
                self._already.add(_digest(arn))
            elif not (line.start.startswith(_TORN_START) or _TORN_START.startswith(line.start)):
                raise self._not_ours(f"line {number} is none of its own")
            else:
                self.dropped = line.size
        if self.dropped:
            self._lines.cut(self.dropped)

    def _check_payloads(self, found: bytes | None) -> None:
        before = found.decode() if found else "full"
        if before != self._payloads:
            raise Problem(
                f"{plain(str(self._lines.path))} was written with --payloads {before}: resume it "
                f"with the same, or choose another name",
                USAGE,
            )

    def _not_ours(self, why: str) -> Problem:
        return Problem(
            f"{plain(str(self._lines.path))} was not written by durastate fetch ({why}), so it is "
            f"left as it is: choose another name",
            USAGE,
        )


def _arn(text: bytes) -> str | None:
    try:
        arn: str = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return arn


def _line(state: ExecutionState, payloads: str) -> bytes:
    members: dict[str, Any] = {"arn": state.arn, "source": state.source}
    if payloads == "full":
        members["operations"] = [operation.to_dict() for operation in state.operations]
    else:
        members["payloads"] = payloads
        members["operations"] = [
            without_payloads(operation.to_dict(), payloads) for operation in state.operations
        ]
    return dump_json(members) + b"\n"


def _digest(arn: str) -> bytes:
    """16 bytes instead of 150: a resumed run remembers every execution of OUT."""
    return blake2b(arn.encode("utf-8", "surrogatepass"), digest_size=16).digest()
