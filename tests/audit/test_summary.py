"""What a directory comes to: counts, errors with examples, the slowest, what could not be read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from durastate.audit import ExecutionRow, Store
from durastate.audit.summary import ErrorKind, Group, Lasting, Retried, Unread, summarise

from .support import START, access_denied, arn, failure, row, state, step


def failed(kind: str | None, number: int = 0) -> dict[str, Any]:
    error = {} if kind is None else {"Error": {"ErrorType": kind}}
    return step(number, Status="FAILED", StepDetails=error)


def kept(directory: Path, *executions: tuple[ExecutionRow, list[dict[str, Any]]]) -> Path:
    with Store.open(directory) as store:
        for each, operations in executions:
            store.add(each, state(each.arn, operations))
        store.finish(complete=True)
    return directory


def test_executions_are_counted_by_function_version_and_status(tmp_path: Path) -> None:
    def of(number: int, version: str, status: str) -> tuple[ExecutionRow, list[Any]]:
        return row(number, status, version=version), []

    directory = kept(
        tmp_path / "a",
        *(of(1, "8", "FAILED"), of(2, "7", "RUNNING"), of(3, "7", "FAILED"), of(4, "7", "RUNNING")),
        (ExecutionRow.of("uuid/x", status="STOPPED"), []),
    )
    assert summarise(directory).groups == [
        Group(None, None, "STOPPED", 1),
        Group("orders", "7", "FAILED", 1),
        Group("orders", "7", "RUNNING", 2),
        Group("orders", "8", "FAILED", 1),
    ]


def test_errors_are_counted_by_type_with_examples_the_widest_spread_first(tmp_path: Path) -> None:
    directory = kept(
        tmp_path / "a",
        *((row(number), [failed("Bad", at) for at in range(2)]) for number in range(1, 5)),
        (row(5), [failed("Bad"), failed("Rare", 1), *(failed(None, at) for at in range(2, 9))]),
        (row(6), [step(Status="TIMED_OUT", StepDetails={"Error": {"ErrorType": "Late"}})]),
        (row(7), [step()]),
    )
    assert summarise(directory).errors == [
        ErrorKind("Bad", 9, 5, [arn(1), arn(2), arn(3)]),
        ErrorKind(None, 7, 1, [arn(5)]),
        ErrorKind("Late", 1, 1, [arn(6)]),
        ErrorKind("Rare", 1, 1, [arn(5)]),
    ]


def test_the_longest_are_told_until_their_end_or_until_they_were_read(tmp_path: Path) -> None:
    def lasting(number: int, hours: int) -> tuple[ExecutionRow, list[Any]]:
        return row(number, ended_at=START + timedelta(hours=hours)), []

    directory = kept(
        tmp_path / "a",
        *(lasting(number, hours) for number, hours in enumerate((3, 1, 7, 2, 5, 4))),
        (row(9, "RUNNING"), []),
    )
    longest = summarise(directory).longest
    assert (longest[0].arn, longest[0].status) == (arn(9), "RUNNING")
    assert longest[0].seconds > 24 * 3_600
    assert longest[1:] == [
        Lasting(arn(number), "SUCCEEDED", hours * 3_600)
        for number, hours in ((2, 7), (4, 5), (5, 4), (0, 3))
    ]


def test_the_most_retried_are_told_by_all_their_attempts_after_the_first(tmp_path: Path) -> None:
    def tried(number: int, *attempts: int) -> tuple[ExecutionRow, list[Any]]:
        steps = [step(at, StepDetails={"Attempt": each}) for at, each in enumerate(attempts)]
        return row(number), steps

    directory = kept(
        tmp_path / "a",
        *(tried(1, 2), tried(2, 4, 4), tried(3, 1, 1), tried(4, 6), tried(5, 3), tried(6, 2)),
        tried(7, 9),
    )
    assert summarise(directory).retried == [
        Retried(arn(number), "SUCCEEDED", retries)
        for number, retries in ((7, 8), (2, 6), (4, 5), (5, 2), (1, 1))
    ]


def test_what_could_not_be_read_is_told_by_its_reason(tmp_path: Path) -> None:
    denied = access_denied(5)
    with Store.open(tmp_path / "a") as store:
        for number in range(4):
            store.fail(row(number), failure())
        store.fail(row(5), denied)
        store.finish(complete=True)
    assert summarise(tmp_path / "a").unread == [
        Unread("DecodingError", None, str(failure()), 4, 0, [arn(0), arn(1), arn(2)]),
        Unread("AccessDeniedError", "AccessDeniedException", str(denied), 1, 0, [arn(5)]),
    ]
