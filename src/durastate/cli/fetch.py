"""`durastate fetch`: the states of many executions, into a file, with nothing lost or hidden."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import click

from durastate import (
    DurastateError,
    ExecutionRef,
    Failed,
    FetchResult,
    Hook,
    Statistics,
    log_event,
)

from .delays import print_delays
from .ending import COMPLETE, SOME_FAILED, code_of, message_of
from .failures import FailuresFile
from .options import Connection
from .outfile import OutFile
from .plain import plain
from .progress import Absence, Progress, Tally, span
from .refsfile import RefLine, RefsFile
from .running import Signals, tune_collector
from .streams import say

# When none of so many lines is a reference, the file holds something else.
_ENOUGH_LINES = 10


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the user asked for."""

    refs: str
    out: Path
    payloads: str
    resume: bool
    quiet: bool
    stat: bool
    max_executions: int
    max_items: int


def run_fetch(job: Job, connection: Connection) -> int:
    """Read, write, sum up; the exit code. Ends the same way after Ctrl-C, a full disk, an error."""
    fetching = Fetching.open(job)
    ending: BaseException | None = None
    with Signals() as signals:
        try:
            signals.run(lambda: fetching.run(connection))
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - told below
            ending = error
        ending = fetching.close(ending)
        if isinstance(ending, click.ClickException) and not fetching.has_begun:
            raise ending  # such as REFS that are something else: there is nothing to sum up
        fetching.print_summary()
        if ending is None:
            return SOME_FAILED if fetching.tally.failed else COMPLETE
        if not isinstance(ending, KeyboardInterrupt | DurastateError | click.ClickException):
            raise ending
        say(f"durastate: {plain(message_of(ending))}")
        if isinstance(ending, KeyboardInterrupt) or fetching.tally.complete:
            say(_how_to_go_on(job))
        return code_of(ending)


class Fetching:
    """One run: from the lines of REFS to the lines of OUT."""

    def __init__(self, job: Job, refs: RefsFile, out: OutFile, failures: FailuresFile) -> None:
        self.tally = Tally(requested=refs.total)
        self._job = job
        self._refs = refs
        self._out = out
        self._failures = failures
        self._line_of: dict[int, int] = {}  # of executions under way, by their index
        self._statistics: Statistics | None = None
        self._seconds = 0.0

    @classmethod
    def open(cls, job: Job) -> Self:
        """Open the files, or say which of them is not as it should be, before any request."""
        refs = RefsFile(job.refs)
        out = OutFile.open(job.out, payloads=job.payloads, resume=job.resume)
        try:
            return cls(job, refs, out, FailuresFile(job.out, resume=job.resume))
        except BaseException:
            out.close(finished=False)
            raise

    def close(self, ending: BaseException | None) -> BaseException | None:
        """Close the files; what ended the run, which may be that this fails."""
        if ending is None:
            self._failures.starts_anew()
        finish_out = partial(self._out.close, finished=ending is None)
        for close in (self._failures.close, finish_out, self._refs.close):
            try:
                close()
            except click.ClickException as error:
                ending = ending or error
        return ending

    async def run(self, connection: Connection) -> None:
        """Until every line has its result, or something ends it."""
        job = self._job
        clock = asyncio.get_running_loop().time
        absence = Absence(quiet=job.quiet)
        async with (
            connection.client(hooks=hooks_with(absence)) as client,
            aclosing(self._references()) as references,
        ):
            tune_collector()
            started = clock()
            results = client.fetch_many(
                references, max_executions=job.max_executions, max_items=job.max_items
            )
            try:
                async with (
                    Progress(self.tally, client.statistics, absence, quiet=job.quiet),
                    results,
                ):
                    async for result in results:
                        self._take(result)
            finally:
                self._statistics = client.statistics()
                self._seconds = clock() - started

    async def _references(self) -> AsyncGenerator[ExecutionRef]:
        async with aclosing(self._recognised()) as lines:
            async for number, line in lines:
                if self._has(line):
                    self.tally.already += 1
                elif line.ref is None:
                    assert line.error is not None
                    self._fail(number, line.arn, line.error)
                else:
                    self._line_of[self.tally.taken] = number
                    self.tally.taken += 1
                    yield line.ref

    async def _recognised(self) -> AsyncGenerator[tuple[int, RefLine]]:
        """The lines, the first held back until one shows that the file holds references."""
        held_back: list[tuple[int, RefLine]] = []
        is_known = False
        async with aclosing(self._refs.lines()) as lines:
            async for number, text in lines:
                line = RefLine(text)
                is_known = is_known or line.has_token or self._has(line)
                held_back.append((number, line))
                if is_known:
                    for each in held_back:
                        yield each
                    held_back.clear()
                elif len(held_back) == _ENOUGH_LINES:
                    break
        if held_back:
            raise self._refs.useless(held_back)

    def _has(self, line: RefLine) -> bool:
        return line.arn is not None and self._out.holds(line.arn)

    def _take(self, result: FetchResult) -> None:
        number = self._line_of.pop(result.index)
        if isinstance(result, Failed):
            self._fail(number, result.ref.arn, result.error)
        else:
            self._out.write(result.state)
            self.tally.complete += 1
            self._failures.starts_anew()

    def _fail(self, number: int, arn: str | None, error: DurastateError) -> None:
        self.tally.failed += 1
        self._failures.write(number, arn, error)

    @property
    def has_begun(self) -> bool:
        """Whether anything has become of any line."""
        return bool(self.tally.taken or self.tally.already or self.tally.failed)

    def print_summary(self) -> None:
        """What became of every line; on stderr, whatever the ending."""
        tally, read = self.tally, self._refs.read
        requested = read if tally.requested is None else max(tally.requested, read)
        not_attempted = requested - tally.already - tally.complete - tally.failed
        already = f"{tally.already:,} already there + " if self._job.resume else ""
        say(
            f"{requested:,} requested = {already}{tally.complete:,} complete + "
            f"{tally.failed:,} failed + {not_attempted:,} not attempted"
        )
        if tally.requested is None and not_attempted:
            say("The references were not read to their end; what was not read is not counted.")
        if self._out.dropped:
            say(f"A torn last line of {self._out.dropped:,} bytes was dropped from the output.")
        if (statistics := self._statistics) is not None:
            say(_work(statistics, self._seconds))
            if self._job.stat:
                print_delays(statistics)
        if tally.failed:
            say(f"Failures: {plain(str(self._failures.path))}")


def hooks_with(absence: Absence) -> list[Hook]:
    """What a client of a long run tells of itself, and to whom."""
    # Where nobody has set up logging, Python prints warnings, which `absence` says already.
    if logging.getLogger("durastate").hasHandlers():
        return [absence, log_event]
    return [absence]


def _work(statistics: Statistics, seconds: float) -> str:
    return (
        f"Read {statistics.pages:,} pages, {statistics.operations:,} operations, "
        f"{statistics.bytes / 1e6:,.1f} MB in {span(seconds)}: {statistics.requests:,} requests, "
        f"{statistics.retries:,} retries, {statistics.throttles:,} throttled"
    )


def _how_to_go_on(job: Job) -> str:
    arguments = sys.argv[1:]
    if not job.resume:
        arguments = [*arguments, "--resume"]
    again = " (with the same references on stdin)" if job.refs == "-" else ""
    return f"To resume{again}: {plain(shlex.join(['durastate', *arguments]))}"
