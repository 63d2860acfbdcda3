"""What an audit shows of itself while it goes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from durastate import Statistics
from durastate.audit.places import Opened, Place
from durastate.audit.plan import Experience, make_plan
from durastate.audit.quotas import Facts, Quota, published
from durastate.audit.run import Progress, Reading
from durastate.cli.audit_display import AuditDisplay, total
from durastate.cli.audit_report import plan_lines
from durastate.cli.progress import Absence
from durastate.requests import GET_HISTORY

from .test_progress import NOTHING


def reading(to_read: int, rate: float, read: int = 0) -> Reading:
    place = Place(None, "eu-west-1")
    facts = Facts("eu-west-1", False, published("eu-west-1", ""))
    client: Any = None
    return Reading(Opened(place, client, facts, {GET_HISTORY: rate}), to_read, read=read)


class Shown:
    """A display whose run, counters and clock the test moves."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.now = 0.0
        self.statistics = NOTHING
        run: Any = SimpleNamespace(progress=self.progress, is_stopped=False)
        self.run = run
        self.display = AuditDisplay(
            run, lambda: self.statistics, Absence(), quiet=True, clock=lambda: self.now
        )
        self.display._look()

    def line(self, at: float, **changes: Any) -> str:
        self.now, self.statistics = at, replace(NOTHING, **changes)
        self.display._look()
        return self.display.line()


def test_while_it_lists_it_says_how_many_it_has_found() -> None:
    shown = Shown()
    shown.progress.found = 12_000
    assert shown.line(2, requests=12, in_flight=1) == (
        "12,000 found, listing, 12 requests, 6.0 requests/s; waiting for the service's answers"
    )


def test_while_it_reads_it_says_what_the_quota_allows_and_what_is_left() -> None:
    shown = Shown()
    shown.progress.is_reading = True
    shown.progress.readings = [reading(1_000, 12.0, read=100), reading(50, 12.0, read=50)]
    assert shown.line(10, requests=118, waited_for_rate_s=90.0) == (
        "150 of 1,050 executions, 118 requests, 11.8 requests/s of 12.0, 0 failed; "
        "held by the rate ceiling (--rate, --quota-share), 1 min 30 s left"
    )
    shown.run.is_stopped = True
    assert "left" not in shown.line(11)


@pytest.mark.parametrize(("rate", "said"), [(float("inf"), "5.0 requests/s, "), (8.0, " of 8.0, ")])
def test_without_a_ceiling_there_is_nothing_to_compare_with(rate: float, said: str) -> None:
    shown = Shown()
    shown.progress.is_reading = True
    shown.progress.readings = [reading(10, rate)]
    assert said in shown.line(1, requests=5)


def test_a_plan_names_each_place_with_who_says_what_it_allows() -> None:
    here, there = Place(None, "eu-west-1"), Place("other", "us-east-1")
    plan = make_plan(
        {here: 24_000, there: 50},
        {
            here: (12.0, Quota(15, "Service Quotas says AccessDeniedException")),
            there: (80.0, Quota(100)),
        },
        already=950,
        listings=27,
        experience=Experience(100, 40_000),
        max_items=1_000,
        format="parquet",
        payloads="full",
    )
    assert list(plan_lines(plan)) == [
        "25,000 executions found: 24,050 to read, 950 read before. Finding them took 27 requests.",
        "Reading takes about 24,050 requests of GetDurableExecutionHistory:",
        (
            "  eu-west-1: 24,000 executions, about 24,000 requests at 12/s, 80% of the quota of "
            "15/s published: Service Quotas says AccessDeniedException; 33 min 20 s"
        ),
        (
            "  us-east-1, profile other: 50 executions, about 50 requests at 80/s, 80% of the "
            "quota of 100/s Service Quotas; 625 ms"
        ),
        (
            "Time: about 33 min 20 s. Disk: about 939.2 MB and the payloads. Estimated at "
            "400 operations per execution (as in the directory so far)."
        ),
    ]


def test_one_is_singular_and_no_ceiling_promises_no_time() -> None:
    plan = make_plan(
        {Place(None, "eu-west-1"): 1},
        {Place(None, "eu-west-1"): (float("inf"), Quota(15))},
        already=0,
        listings=1,
        experience=Experience(0, 0),
        max_items=1_000,
        format="parquet",
        payloads="none",
    )
    assert list(plan_lines(plan)) == [
        "1 execution found: 1 to read, 0 read before. Finding them took 1 request.",
        "Reading takes about 1 request of GetDurableExecutionHistory:",
        "  eu-west-1: 1 execution, about 1 request without a ceiling",
        (
            "Time: depends on the service. Disk: about 0.0 MB. "
            "Estimated at 20 operations per execution (a guess)."
        ),
    ]


def test_there_is_no_time_left_before_every_place_has_begun() -> None:
    progress = Progress(is_reading=True, readings=[reading(10, 12.0, read=5), reading(10, 12.0)])
    assert progress.time_left(5) is None
    progress.readings[1].failed = 1
    assert progress.time_left(5) == 45


def test_statistics_of_several_clients_are_added_up() -> None:
    one = replace(NOTHING, requests=3, waited_for_rate_s=1.5)
    assert total([one, replace(one, transport="aiohttp")]) == replace(
        one, requests=6, waited_for_rate_s=3.0, transport="aiohttp, httptools"
    )
    assert isinstance(total([]), Statistics)
