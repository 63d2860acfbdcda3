"""How far a long read is: a live line on a terminal, otherwise a plain line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from durastate import Statistics

_LINE_EVERY_S = 10.0


class ReadProgress:
    """Shows executions, pages, operations, rate and failures on stderr."""

    def __init__(self, total: int | None) -> None:
        self._console = Console(stderr=True)
        self._total = total
        self._done = 0
        self._failed = 0
        self._started = time.monotonic()
        self._next_line = self._started + _LINE_EVERY_S
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=False,
        )
        self._task = self._bar.add_task("Reading", total=total, detail="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def count(self, *, failed: bool, statistics: Statistics) -> None:
        """One more execution is done."""
        self._done += 1
        self._failed += failed
        if self._console.is_terminal:
            self._bar.update(self._task, advance=1, detail=self._detail(statistics))
        elif time.monotonic() >= self._next_line:
            self._next_line += _LINE_EVERY_S
            of = "" if self._total is None else f" of {self._total:,}"
            self._console.print(
                f"{self._done:,}{of} executions, {self._detail(statistics)}", highlight=False
            )

    def _detail(self, statistics: Statistics) -> str:
        rate = self._done / max(time.monotonic() - self._started, 1e-3)
        return (
            f"{statistics.pages:,} pages  {statistics.operations:,} operations  "
            f"{rate:,.0f}/s  {self._failed:,} failed"
        )
