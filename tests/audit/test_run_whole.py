"""A run omits nothing in silence: a machine with another time, lists that change, old rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from client.scripts import START, arn_of, events, serving, summary
from virtual_clock import run

from durastate.audit import Store, read_manifest
from durastate.audit.errors import EmptyWindowError
from durastate.audit.order import Order
from durastate.audit.run import Run
from durastate.requests import LIST_EXECUTIONS
from durastate.testing import Asked, Response, service_error

from .support import rows
from .test_run import ORDERS, Script, Service, arns, audit, made


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """A run's event loop serves nobody else, so it writes its files without a detour."""


@dataclass
class Dated:
    """A script whose answers have a Date, `ahead` of this machine's clock; None: without."""

    script: Script
    ahead: timedelta | None

    def __call__(self, asked: Asked) -> Any:
        answer = self.script(asked)
        if isinstance(answer, Response) and self.ahead is not None:
            there = datetime.now(timezone.utc) + self.ahead
            answer.headers = {**answer.headers, "date": format_datetime(there, usegmt=True)}
        return answer


def recent(ago_s: list[float], ahead: timedelta) -> Script:
    """Executions that started so many seconds ago, by the service's clock."""
    now = (datetime.now(timezone.utc) + ahead).timestamp()
    listed = [summary(at, StartTimestamp=now - each) for at, each in enumerate(ago_s)]
    return serving({arn_of(at): events(1) for at in range(len(ago_s))}, listed)


def here() -> datetime:
    return datetime.now(timezone.utc)


def whole_run(service: Service, directory: Path, order: Order) -> Run:
    async def scenario() -> Run:
        with Store.open(directory) as store:
            async with service.places() as places:
                done = made(places, order, store)
                await done.find(here())
                await done.read()
            done.finish()
            return done

    return run(scenario())


HOURS = [timedelta(hours=2), timedelta(hours=-2)]


@pytest.mark.parametrize("ahead", HOURS, ids=["behind", "ahead"])
def test_what_started_by_the_service_s_clock_is_read(tmp_path: Path, ahead: timedelta) -> None:
    ago_s = [5.0, 60.0, 3_600.0, 7_100.0, 7_300.0, 90_000.0]
    service = Service(Dated(recent(ago_s, ahead), ahead))
    done = whole_run(service, tmp_path / "a", Order(functions=ORDERS, since=timedelta(days=1)))
    assert (done.progress.read, done.is_complete) == (5, True)
    listings = [each for each in service.asked if each.operation == LIST_EXECUTIONS]
    assert len(listings) == 2  # none for the clock alone
    manifest = read_manifest(tmp_path / "a")
    assert manifest.clock_skew_s == pytest.approx(ahead.total_seconds(), abs=2)
    written = datetime.fromisoformat(manifest.written_at)
    assert abs(written - here() - ahead) < timedelta(seconds=30)
    read_at = [each for (each,) in rows(tmp_path / "a", "executions", "read_at")]
    assert all(abs(each - here() - ahead) < timedelta(seconds=30) for each in read_at)


@pytest.mark.parametrize("ahead", [None, timedelta(), timedelta(seconds=50)], ids=str)
def test_a_clock_that_is_about_right_or_unknown_is_not_mentioned(
    tmp_path: Path, ahead: timedelta | None
) -> None:
    service = Service(Dated(recent([5.0], ahead or timedelta()), ahead))
    done = whole_run(service, tmp_path / "a", Order(functions=ORDERS))
    assert done.progress.read == 1
    assert read_manifest(tmp_path / "a").clock_skew_s is None


def test_failures_have_the_service_s_time(tmp_path: Path) -> None:
    ahead = timedelta(hours=2)

    def script(asked: Asked) -> Any:
        if asked.operation != LIST_EXECUTIONS:
            return service_error("ResourceNotFoundException", status=404)
        return recent([5.0], ahead)(asked)

    whole_run(Service(Dated(script, ahead)), tmp_path / "a", Order(functions=ORDERS))
    [failed_at] = [each for (each,) in rows(tmp_path / "a", "failures", "failed_at")]
    assert abs(failed_at - here() - ahead) < timedelta(seconds=30)


def test_whether_anything_can_start_after_since_is_decided_by_the_service_s_clock(
    tmp_path: Path,
) -> None:
    ahead = timedelta(hours=2)
    since = here() + timedelta(hours=1)
    service = Service(Dated(recent([5.0, 7_000.0], ahead), ahead))
    done = whole_run(service, tmp_path / "a", Order(functions=ORDERS, since=since))
    assert done.progress.read == 1
    for order in (
        Order(functions=ORDERS, since=since),
        Order(functions=ORDERS, since=since, until=since),
    ):
        with pytest.raises(EmptyWindowError):
            whole_run(Service(Dated(recent([5.0], -ahead), -ahead)), tmp_path / "b", order)


# What changes while it is listed


class ByPlace:
    """A service whose markers count places in a list that changes between two pages."""

    def __init__(self, running: int) -> None:
        self.running = [summary(at, "RUNNING") for at in range(running)]
        self.histories = {arn_of(at): events(1)[:2] for at in range(running)}
        self.pages = 0

    def __call__(self, asked: Asked) -> Any:
        if asked.operation == LIST_EXECUTIONS and "Statuses" in asked.query:
            self.pages += 1
            if self.pages == 2:
                del self.running[2:5]  # They have ended, and all others move up.
        return serving(self.histories, self.running)(asked)


def test_a_list_by_status_that_moves_up_between_its_pages_omits_nobody(tmp_path: Path) -> None:
    service = Service(ByPlace(30))
    order = Order(functions=ORDERS, statuses=("RUNNING",), max_items=10)
    done = audit(service, tmp_path / "a", order)
    assert sorted(arns(service.histories())) == sorted(map(arn_of, range(30)))
    assert (done.progress.found, done.progress.read) == (30, 30)


def test_what_started_at_the_very_ends_of_the_window_is_part_of_it(tmp_path: Path) -> None:
    moments = [datetime.fromtimestamp(START + at, timezone.utc) for at in range(10)]

    def exclusive(asked: Asked) -> Any:
        """As if StartedAfter and StartedBefore left out the moments that they name."""
        listed = [summary(at) for at in range(10)]
        if "StartedAfter" in asked.query:
            after, before = (
                datetime.fromisoformat(asked.query[name][0]).timestamp()
                for name in ("StartedAfter", "StartedBefore")
            )
            listed = [each for each in listed if after < each["StartTimestamp"] < before]
        return serving({arn_of(at): events(1) for at in range(10)}, listed)(asked)

    order = Order(functions=ORDERS, since=moments[2], until=moments[7])
    service = Service(exclusive)
    audit(service, tmp_path / "a", order)
    assert sorted(arns(service.histories())) == sorted(map(arn_of, range(2, 8)))


# What looks more complete than it is, and is said


def test_the_scope_says_what_is_older_than_the_run_or_not_whole(tmp_path: Path) -> None:
    running = events(1)[:2]
    cut = events(1)
    cut[0]["ExecutionStartedDetails"]["Input"] = {"Payload": "1", "Truncated": True}
    listed = [summary(0, "RUNNING"), summary(1)]
    service = Service(serving({arn_of(0): running, arn_of(1): running}, listed))
    first = audit(service, tmp_path / "a", Order(functions=ORDERS))
    assert (first.progress.unended, first.progress.cut) == (1, 0)

    async def later() -> Any:
        histories = {arn_of(0): running, arn_of(1): cut}
        with Store.open(tmp_path / "a") as store:
            async with Service(serving(histories, listed)).places() as places:
                done = made(places, Order(functions=ORDERS, limit=50), store)
                await done.find(here())
                await done.read()
            return done.scope()

    scope = run(later())
    assert (scope.outdated, scope.unended, scope.cut, scope.limit) == (1, 0, 1, 50)


def test_the_unfinished_run_of_another_profile_is_not_gone_on_with(tmp_path: Path) -> None:
    """A name without an account means another function there, and the window began long ago."""

    async def pinned(profile: str, at: datetime) -> str:
        service = Service(serving({}, []))
        with Store.open(tmp_path / "a") as store:
            async with service.places(profile=profile) as places:
                await made(places, Order(functions=ORDERS), store).find(at)
        return service.asked[-1].query["StartedBefore"][0]

    monday = datetime(2026, 2, 2, tzinfo=timezone.utc)
    assert run(pinned("a", monday)) == "2026-02-02T00:00:01Z"
    assert run(pinned("b", monday + timedelta(days=1))) == "2026-02-03T00:00:01Z"
