"""`durastate audit`: the executions of functions, into tables that survive whatever happens."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from durastate import (
    ConfigurationError,
    DecodingError,
    DurastateError,
    ExecutionStatus,
    Statistics,
)
from durastate.decoding import load_answer
from durastate.refs import EMPTY_VERSION, check_version, is_token

from .ending import COMPLETE, SOME_FAILED, USAGE, Problem, code_of, message_of
from .extras import audit_extra, directory_problems, order_problems
from .fetch import hooks_with
from .moments import moment_of, span_of
from .options import Connection
from .plain import plain
from .progress import Absence, counted, span
from .refsfile import RefsFile
from .running import Signals, tune_collector
from .signals import ends_tidily
from .streams import results, say

if TYPE_CHECKING:
    from durastate import StateClient
    from durastate.audit import Manifest, Store
    from durastate.audit.functions import FunctionName
    from durastate.audit.order import Order
    from durastate.audit.places import Place, Places, Rates
    from durastate.audit.run import Run

_ACCOUNT = re.compile("[0-9]{12}")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the user asked for, as it was written."""

    names: tuple[str, ...]
    source: str | None
    out: Path | None
    since: str | None
    until: str | None
    status: str | None
    only_plan: bool
    sample: int | None
    limit: int | None
    max_duration: str | None
    payloads: str
    format: str
    refresh: bool
    profile_map: tuple[str, ...]
    quiet: bool
    max_items: int


def run_audit(job: Job, connection: Connection) -> int:
    """Find, plan, read, sum up; the exit code."""
    with audit_extra():
        import durastate.audit.run
        import durastate.audit.summary  # noqa: F401 - now rather than at the end, where it is needed
    checked = check(job)
    if connection.ca_bundle is not None:
        os.environ["AWS_CA_BUNDLE"] = connection.ca_bundle  # for what aiobotocore sends itself
    with _store(job) as store, _botocore_is_quiet():
        auditing = Auditing(checked, connection, store)
        return auditing.plan() if job.only_plan else auditing.audit()


@contextmanager
def _botocore_is_quiet() -> Iterator[None]:
    """It writes the headers of what it sends, the session token too, where logs are for debugging.

    Elsewhere only our own transport sends; here aliases and quotas are asked for by botocore.
    """
    names = ("botocore", "aiobotocore", *logging.root.manager.loggerDict)
    loggers = [logging.getLogger(name) for name in names if "botocore" in name]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@dataclass(frozen=True)
class Checked:
    """What the user asked for, as it was understood; profiles by account."""

    job: Job
    order: Order
    profiles: dict[str, str]
    max_duration_s: float | None


def check(job: Job) -> Checked:
    """A usage error for whatever is wrong with it."""
    from durastate.audit.functions import without_repetitions
    from durastate.audit.order import Order

    if job.out is None and not job.only_plan:
        raise click.UsageError("-o DIR is needed, or --plan")
    options: dict[str, Any] = {
        "since": None if job.since is None else moment_of(job.since, "--since"),
        "until": None if job.until is None else moment_of(job.until, "--until"),
        "statuses": _statuses(job.status),
    }
    max_duration = job.max_duration
    limit_s = (
        None if max_duration is None else span_of(max_duration, "--max-duration").total_seconds()
    )
    profiles = _profiles(job.profile_map)
    functions, keys = _functions_and_executions(job)
    if not functions and not keys:
        raise click.UsageError("nothing to audit: name functions or executions, or use --from")
    if not functions and any(options.values()):
        raise click.UsageError("--since, --until and --status are for executions of functions")
    order = Order(
        functions=tuple(without_repetitions(functions)),
        keys=tuple(dict.fromkeys(keys)),
        sample=job.sample,
        limit=job.limit,
        max_items=job.max_items,
        format="jsonl" if job.format == "jsonl" else "parquet",
        payloads=job.payloads,  # type: ignore[arg-type]
        **options,
    )
    with order_problems(order):
        order.check_window()
    return Checked(job, order, profiles, limit_s)


def _statuses(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",")]
    known = [str(status) for status in ExecutionStatus]
    for name in names:
        if name.upper() not in known:
            raise Problem(
                plain(f"--status: expected some of {', '.join(known)}, found {name!r}"), USAGE
            )
    return tuple(dict.fromkeys(name.upper() for name in names))


def _profiles(pairs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        account, _, profile = pair.partition("=")
        if not _ACCOUNT.fullmatch(account) or not profile:
            raise Problem(
                plain(
                    f"--profile-map: expected ACCOUNT=PROFILE, an account's twelve digits, "
                    f"found {pair!r}"
                ),
                USAGE,
            )
        found[account] = profile
    return found


def _functions_and_executions(job: Job) -> tuple[list[FunctionName], list[str]]:
    from durastate.audit.functions import function_named, is_execution

    functions: list[FunctionName] = []
    keys: list[str] = []
    for where, name in _named(job):
        try:
            if is_execution(name):
                check_version(name)
                keys.append(name)
            else:
                functions.append(function_named(name))
        except ConfigurationError as error:
            raise Problem(
                plain(f"{where}{_told(error, name, is_argument=not where)}"), USAGE
            ) from None
    return functions, keys


def _told(error: ConfigurationError, name: str, *, is_argument: bool) -> str:
    """What is wrong with a name. What a file holds may be a token, and so may a long argument."""
    if name.endswith(":"):
        return EMPTY_VERSION
    expected, found, _ = str(error).partition(", found ")
    if found and is_argument and not is_token(name):
        return f"{expected}{found}{name[:200]!r}"
    return str(error)


def _named(job: Job) -> Iterator[tuple[str, str]]:
    """Every function and execution that is named, and where that stands."""
    yield from (("", name) for name in job.names)
    if job.source is not None:
        yield from asyncio.run(_lines(job.source))


async def _lines(source: str) -> list[tuple[str, str]]:
    file = RefsFile(source)
    try:
        return [(f"line {number}: ", _line(number, text)) async for number, text in file.lines()]
    finally:
        file.close()


def _line(number: int, text: bytes | None) -> str:
    """A name, an ARN, or an object as `fetch` takes it. What it holds may be a token."""
    if text is not None and not text.startswith(b"{"):
        found: Any = text.decode("utf-8", "replace")
    else:
        try:
            members = load_answer(text or b"")
            found = members.get("arn", members.get("DurableExecutionArn"))
        except DecodingError:
            found = None
    if not isinstance(found, str) or not found:
        raise Problem(f"line {number}: expected a name, an ARN or an object with arn", USAGE)
    return found


@contextmanager
def _store(job: Job) -> Iterator[Store | None]:
    """The directory, opened; none where a plan needs none."""
    from durastate.audit import Store

    if job.out is None:
        yield None
        return
    wanted: dict[str, Any] = {
        "format": "jsonl" if job.format == "jsonl" else "parquet",
        "payloads": job.payloads,
        "refresh": job.refresh,
    }
    with directory_problems():
        opened = (Store.look if job.only_plan else Store.open)(job.out, **wanted)
        with opened or nullcontext() as store:
            yield store


class Auditing:
    """One run of the command."""

    def __init__(self, checked: Checked, connection: Connection, store: Store | None) -> None:
        self._checked = checked
        self._job = checked.job
        self._connection = connection
        self._store = store
        self._absence = Absence(quiet=checked.job.quiet)
        self._signals = Signals()
        self._run: Run | None = None
        self._seconds = 0.0
        self._requests = 0

    def plan(self) -> int:
        """Find, and print the plan."""
        from .audit_report import plan_lines

        with self._problems(), self._signals as signals:
            plan = signals.run(self._find_only)
            if self._run is not None and self._run.is_stopped:
                raise signals.ending()
        with results():
            for line in plan_lines(plan):
                click.echo(line)
        assert self._run is not None
        self._say_unlisted(self._run)
        return SOME_FAILED if self._run.progress.unlisted else COMPLETE

    def audit(self) -> int:
        """The whole of it. A second Ctrl-C ends the reading, a third the saving too."""
        with self._signals:
            try:
                return self._find_read_and_sum_up()
            except KeyboardInterrupt:
                say(self._how_to_go_on())
                raise

    def _find_read_and_sum_up(self) -> int:
        """What ended the reading, if anything did, is told after what was saved."""
        ending: DurastateError | KeyboardInterrupt | None = None
        try:
            with self._problems():
                self._signals.run(self._find_and_read)
        except (DurastateError, KeyboardInterrupt) as error:
            ending = error
            if self._run is None or not self._run.progress.is_reading:
                raise
        assert self._run is not None
        with directory_problems(), self._signals.until_the_third():
            manifest = self._run.finish()
            self._print_summary(manifest)
        if ending is None and manifest.complete:
            progress = self._run.progress
            return SOME_FAILED if progress.failed or progress.unlisted else COMPLETE
        if ending is not None:
            say(f"durastate: {plain(message_of(ending))}")
        say(self._how_to_go_on())
        return code_of(self._signals.ending() if ending is None else ending)

    async def _find_only(self) -> Any:
        async with self._places() as places:
            audit = self._make_run(places, only_plan=True)
            async with self._display(audit, places):
                return await audit.find(datetime.now(timezone.utc))

    async def _find_and_read(self) -> None:
        from .audit_report import plan_lines

        async with self._places() as places:
            audit = self._make_run(places, only_plan=False)
            tune_collector()
            clock = asyncio.get_running_loop().time
            began = clock()
            try:
                async with self._display(audit, places):
                    plan = await audit.find(datetime.now(timezone.utc))
                    if not self._job.quiet:
                        for line in plan_lines(plan):
                            say(line)
                        self._say_unlisted(audit)
                    await audit.read()
            finally:
                self._seconds = clock() - began
                self._requests = self._statistics(places).requests

    @staticmethod
    def _say_unlisted(audit: Run) -> None:
        for name, error in audit.progress.unlisted.items():
            say(plain(f"{name} cannot be listed, so none of its executions were read: {error}"))

    @contextmanager
    def _problems(self) -> Iterator[None]:
        with directory_problems(), order_problems(self._checked.order):
            yield

    def _places(self) -> Places:
        from durastate.audit.places import Places
        from durastate.audit.quotas import facts_of

        connection = self._connection
        return Places(
            self._connect,
            lambda profile, region: facts_of(profile, region, connection.endpoint_url),
            profile=connection.profile,
            region=connection.region,
            profiles=self._checked.profiles,
            share=connection.quota_share,
            rate=connection.rate,
        )

    def _connect(self, place: Place, rates: Rates) -> StateClient:
        there = replace(self._connection, profile=place.profile, region=place.region)
        finite = {call: rate for call, rate in rates.items() if rate != float("inf")}
        return there.client(hooks_with(self._absence), rates=finite)

    def _make_run(self, places: Places, *, only_plan: bool) -> Run:
        from durastate.audit.functions import versions_of
        from durastate.audit.run import Run

        url = self._connection.endpoint_url

        async def resolve(name: FunctionName, place: Place) -> list[FunctionName]:
            return await versions_of(
                name, profile=place.profile, region=place.region, endpoint_url=url
            )

        made = self._run = Run(
            places,
            self._checked.order,
            self._store,
            resolve=resolve,
            clock=asyncio.get_running_loop().time,
            max_duration_s=self._checked.max_duration_s,
            only_plan=only_plan,
        )

        def stop() -> None:
            if places.is_opening or not made.progress.found:
                self._signals.cancel()  # Nothing is under way that would be lost.
                return
            made.stop()
            say("Finishing what is under way; Ctrl-C once more stops at once.")

        self._signals.on_first = stop
        return made

    def _display(self, audit: Run, places: Places) -> Any:
        from .audit_display import AuditDisplay

        return AuditDisplay(
            audit, lambda: self._statistics(places), self._absence, quiet=self._job.quiet
        )

    @staticmethod
    def _statistics(places: Places) -> Statistics:
        from .audit_display import total

        return total([each.client.statistics() for each in places.opened])

    def _print_summary(self, manifest: Manifest) -> None:
        from durastate.audit.summary import summarise

        from .audit_report import clock_lines, scope_lines, summary_lines

        assert self._run is not None
        assert self._job.out is not None
        progress = self._run.progress
        left = progress.to_read - progress.read - progress.failed
        with ends_tidily(), results():
            click.echo(
                f"{progress.already + progress.to_read:,} found = {progress.already:,} read before "
                f"+ {progress.read:,} read + {progress.failed:,} failed + {left:,} not attempted"
            )
            click.echo(f"{counted(self._requests, 'request')} in {span(self._seconds)}")
            for line in (*clock_lines(manifest.clock_skew_s), *scope_lines(self._run.scope())):
                click.echo(line)
            for line in summary_lines(summarise(self._job.out)):
                click.echo(line)
            click.echo(f"Digest: {manifest.digest}")

    def _how_to_go_on(self) -> str:
        again = " (with the same lines on stdin)" if self._job.source == "-" else ""
        if not all(key.startswith("arn:") for key in self._checked.order.keys):
            return f"The same command resumes it{again}."  # What is no ARN may be a token.
        command = shlex.join(["durastate", *sys.argv[1:]])
        return f"The same command resumes it{again}: {plain(command)}"
