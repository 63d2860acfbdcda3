"""`durastate show` of executions of real durable functions."""

from __future__ import annotations

from cli.support import environment, finish, start

from .peer import HeldExecution


def shown(held: HeldExecution, *options: str) -> list[list[str]]:
    """The words of each line."""
    process = start("show", held.arn, *options, env=environment(held.endpoint_url))
    done = finish(process)
    assert (done.code, done.err) == (0, "")
    return [line.split() for line in done.out.splitlines()]


def test_what_has_failed_stands_below_what_it_is_in(
    held_executions: dict[str, HeldExecution],
) -> None:
    lines = shown(held_executions["contexts"], "--failed", "--messages")
    assert lines[1][0] == "RUNNING,"
    rows = [(line[0], line[1], line[2]) for line in lines[5:]]
    assert [row for row in rows if row[0] in ("fails", "declined")] == [
        ("fails", "RunInChildContext", "FAILED"),
        ("declined", "Step", "FAILED"),
    ]
    (declined,) = [" ".join(line) for line in lines if line[:1] == ["declined"]]
    assert "PaymentDeclined: card 4…42: declined — « no funds »" in declined


def test_retries_and_how_long_what_runs_has_been_running(
    held_executions: dict[str, HeldExecution],
) -> None:
    lines = shown(held_executions["unfinished"])
    (retried,) = [" ".join(line) for line in lines if line[:1] == ["retried-in-an-hour"]]
    assert " Step PENDING 1 " in retried
    assert " so far " in retried
    assert "PaymentDeclined; next attempt " in retried
