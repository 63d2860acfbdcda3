"""What a run shows of itself while it goes."""

from __future__ import annotations

import asyncio
import os
import pty
import re
from dataclasses import replace
from pathlib import Path

import pytest
import virtual_clock

from durastate import Paused, Resumed, Statistics
from durastate.cli.progress import Absence, Pace, Progress, Tally, longest_wait, span
from durastate.cli.streams import say
from durastate.emulator import World

from .support import environment, serving, start, write_refs

NOTHING = Statistics(
    requests=0,
    pages=0,
    operations=0,
    events=0,
    executions=0,
    bytes=0,
    retries=0,
    throttles=0,
    in_flight=0,
    waiting=0,
    waited_for_requests_s=0,
    waited_for_rate_s=0,
    waited_for_throttling_s=0,
    waited_for_bytes_s=0,
    waited_for_retries_s=0,
    waited_for_outages_s=0,
    waited_for_consumer_s=0,
    waited_for_service_s=0,
    transport="httptools",
)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "refs"),
        ({"in_flight": 5}, "answers"),
        ({"in_flight": 5, "waited_for_rate_s": 6.0}, "rate"),
        ({"in_flight": 5, "waited_for_requests_s": 6.0}, "slots"),
        ({"in_flight": 5, "waited_for_bytes_s": 6.0}, "bytes"),
        ({"in_flight": 5, "waited_for_retries_s": 6.0}, "retries"),
        ({"in_flight": 5, "waited_for_retries_s": 4.0}, "answers"),
        ({"in_flight": 5, "waited_for_throttling_s": 6.0}, "throttling"),
        ({"in_flight": 5, "waited_for_consumer_s": 6.0}, "consumer"),
        ({"in_flight": 1, "waiting": 9}, "rate"),
        ({"in_flight": 1, "waiting": 9, "waited_for_throttling_s": 2.0}, "throttling"),
    ],
)
def test_the_longest_wait_is_the_reason(changes: dict[str, float], found: str) -> None:
    assert longest_wait(NOTHING, replace(NOTHING, **changes), 1.0) == found


def test_what_was_waited_for_earlier_is_no_reason_now() -> None:
    before = replace(NOTHING, waited_for_rate_s=100.0)
    assert longest_wait(before, replace(before, in_flight=1), 1.0) == "answers"


def test_the_pace_is_that_of_the_last_half_minute() -> None:
    pace = Pace()
    for second in range(100):
        pace.see(second, done=second * 2 if second < 50 else 100 + (second - 50) * 5)
    assert pace.per_second() == 5


def test_before_anything_happened_there_is_no_pace() -> None:
    pace = Pace()
    pace.see(0, 0)
    assert pace.per_second() == 0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0 ms"),
        (0, "0 ms"),
        (0.25, "250 ms"),
        (1.25, "1.2 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (18_600, "5 h 10 min"),
        (370_800, "4 d 7 h"),
    ],
)
def test_time_is_shown_in_two_units(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def shown(tally: Tally, *, seconds: float, **statistics: int) -> str:
    times = iter((0.0, seconds))
    now = NOTHING

    async def show() -> str:
        nonlocal now
        display = Progress(tally, lambda: now, quiet=True, clock=lambda: next(times))
        before = tally.complete
        tally.complete = 0
        async with display:
            tally.complete = before
            now = replace(NOTHING, **statistics)
            display._look()
            return display.line()

    return asyncio.run(show())


def test_a_line_says_everything() -> None:
    tally = Tally(requested=1_000, already=100, complete=180, failed=0)
    line = shown(tally, seconds=10, pages=200, operations=5_000, in_flight=3)
    assert line == (
        "180 of 900 executions, 200 pages, 5,000 operations, 18 executions/s, 0 failed; "
        "waiting for the service's answers, 40 s left"
    )


def test_without_a_total_there_is_no_time_left() -> None:
    line = shown(Tally(complete=180), seconds=10)
    assert line == (
        "180 executions, 0 pages, 0 operations, 18 executions/s, 0 failed; waiting for references"
    )


def test_while_an_endpoint_is_away_that_is_the_reason(capfd: pytest.CaptureFixture[str]) -> None:
    def reason(*, waiting: int) -> str:
        now = replace(NOTHING, waiting=waiting)
        display = Progress(Tally(), lambda: now, absence, quiet=True)
        display._look()
        display._look()
        return display.line().partition("; ")[2]

    absence = Absence()
    absence(Paused("eu-west-1", "cannot connect\x1b"))
    absence(Paused("us-east-1", "cannot connect"))
    assert reason(waiting=9) == "waiting for the endpoint to come back"
    absence(Resumed("eu-west-1", 12.4))
    assert reason(waiting=9) == "waiting for the endpoint to come back"
    absence(Resumed("us-east-1", 12.4))
    assert reason(waiting=0) == "waiting for references"
    said = capfd.readouterr().err.splitlines()
    assert said[0] == "The service has gone away; waiting for it: cannot connect\\x1b"
    assert said[2:] == ["The service answers again, after 12 s."] * 2

    Absence(quiet=True)(Paused("eu-west-1", "cannot connect"))
    assert capfd.readouterr().err == ""


def test_without_a_terminal_there_is_a_line_every_ten_seconds(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def show(*, quiet: bool) -> None:
        async with Progress(Tally(complete=1), lambda: NOTHING, quiet=quiet):
            await asyncio.sleep(35)

    virtual_clock.run(show(quiet=False))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("1 executions, ") for line in lines)
    virtual_clock.run(show(quiet=True))
    assert capfd.readouterr() == ("", "")


def on_terminal(tmp_path: Path, *arguments: str, term: str = "xterm") -> str:
    """What a fetch with `arguments` shows on a terminal of its own."""
    world = World(executions=100, operations=3)
    refs = write_refs(tmp_path / "refs", world)
    ours, theirs = pty.openpty()
    with serving(world, latency_s=0.1) as emulator:
        process = start(
            *("fetch", refs, "-o", tmp_path / "out", "--max-executions", "10", *arguments),
            env=environment(emulator.endpoint_url, TERM=term),
            stderr=theirs,
        )
        os.close(theirs)
        text = read_to_the_end(ours)
        assert process.wait(10) == 0
        process.communicate()
    return text


def read_to_the_end(terminal: int) -> str:
    """All that was written to a terminal until its other side was closed."""
    text = b""
    while True:
        try:
            text += os.read(terminal, 10_000)
        except OSError:  # the other side has closed
            os.close(terminal)
            return text.decode()


def test_a_terminal_shows_a_live_display_that_goes_away(tmp_path: Path) -> None:
    text = on_terminal(tmp_path)
    assert re.search(r"[1-9]\d? of 100 executions.*left", text)
    assert "waiting for the service's answers" in text
    assert "\x1b[1A\x1b[2K" in text
    assert "100 requested = 100 complete + 0 failed + 0 not attempted" in text


@pytest.mark.parametrize(("arguments", "term"), [(("--quiet",), "xterm"), ((), "dumb")])
def test_quiet_and_a_dumb_terminal_show_the_summary_alone(
    tmp_path: Path, arguments: tuple[str, ...], term: str
) -> None:
    lines = on_terminal(tmp_path, *arguments, term=term).splitlines()
    assert lines[0] == "100 requested = 100 complete + 0 failed + 0 not attempted"
    assert len(lines) == 2


@pytest.mark.asyncio
async def test_a_message_stands_above_the_display_and_not_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(writing, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        async with Progress(Tally(requested=10), lambda: NOTHING):
            for _ in range(5):
                await asyncio.sleep(0)
            say("a message")
    shown = read_to_the_end(reading)
    assert "0 of 10 executions" in shown
    # The frame was erased first, so that the message begins a line.
    assert re.search(r"(?:\n|\x1b\[2K|\r)a message *\r\n", shown), shown


def test_a_span_that_is_infinite_is_told_too() -> None:
    assert span(float("inf")) == span(1e300) == "1,000 years or more"
