"""A state for people: every operation once, in its place, and no payload."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from rich.text import Text

from durastate import ExecutionState, decode_page
from durastate.cli.tree import View, in_tree_order, print_tree, that_fit
from durastate.models import dump_json


def operation(identity: str, parent: str | None = None, **members: Any) -> dict[str, Any]:
    wire = {"Id": identity, "Type": "STEP", "StartTimestamp": 0, "Status": "STARTED", **members}
    return wire if parent is None else {**wire, "ParentId": parent}


def state(*operations: dict[str, Any]) -> ExecutionState:
    page = decode_page(dump_json({"Operations": operations}))
    return ExecutionState("a:1", page.operations, source="state")


def order(*operations: dict[str, Any]) -> list[tuple[str, int]]:
    return [(each.id, depth) for each, depth in in_tree_order(state(*operations))]


def test_children_stand_below_their_parent_in_the_order_of_the_service() -> None:
    found = order(operation("a"), operation("b"), operation("c", "a"), operation("d", "a"))
    assert found == [("a", 0), ("c", 1), ("d", 1), ("b", 0)]


def test_operations_whose_parents_go_in_a_circle_are_not_lost() -> None:
    found = order(operation("a"), operation("b", "c"), operation("c", "b"), operation("d", "d"))
    assert sorted(found) == [("a", 0), ("b", 0), ("c", 1), ("d", 0)]


def test_two_operations_with_one_id_are_both_shown() -> None:
    assert order(operation("a"), operation("a")) == [("a", 0), ("a", 0)]


def test_three_thousand_levels_are_no_recursion() -> None:
    chain = [operation("0"), *(operation(str(n), str(n - 1)) for n in range(1, 3_000))]
    assert order(*chain)[-1] == ("2999", 2_999)


def test_the_table_says_status_attempt_duration_and_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = {"ErrorType": "ValueError", "ErrorMessage": "SECRET"}
    details = {"Attempt": 3, "NextAttemptTimestamp": 60, "Error": error, "Result": "SECRET"}
    print_tree(
        state(
            operation("e", Type="EXECUTION", ExecutionDetails={"InputPayload": "SECRET"}),
            operation("s", Name="charge", Status="PENDING", StepDetails=details),
            operation("w", Type="WAIT", WaitDetails={"ScheduledEndTimestamp": 3_600}),
            operation(
                "c", Type="CALLBACK", EndTimestamp=90, CallbackDetails={"CallbackId": "SECRET"}
            ),
        )
    )
    shown = capsys.readouterr().out
    rows = {line.split()[0]: " ".join(line.split()) for line in shown.splitlines() if line.strip()}
    assert "SECRET" not in shown
    assert rows["RUNNING,"] == "RUNNING, 4 operations from state"
    assert rows["charge"].startswith("charge STEP PENDING 3 1970-01-01 00:00:00 ")
    assert rows["charge"].endswith("so far ValueError; next attempt 1970-01-01 00:01:00")
    assert rows["w"].endswith("so far until 1970-01-01 01:00:00")
    assert rows["c"] == "c CALLBACK STARTED 1970-01-01 00:00:00 1 min 30 s"


NEEDED = {"Operation": 30, "Type": 9, "Status": 9, "Attempt": 7, "Started (UTC)": 19, "Took": 10}
NEEDED["Note"] = 18


@pytest.mark.parametrize(
    ("room", "names", "dropped"),
    [
        (1_000, 30, set()),
        (114, 30, set()),
        (113, 29, set()),
        (96, 12, set()),
        (95, 30, {"Started (UTC)"}),
        (80, 17, {"Started (UTC)"}),
        (70, 19, {"Started (UTC)", "Took"}),
        (20, 12, {"Started (UTC)", "Took"}),
    ],
)
def test_a_narrow_terminal_costs_names_and_times_but_no_reason(
    room: int, names: int, dropped: set[str]
) -> None:
    found = that_fit(NEEDED, room)
    assert (found.pop("Operation"), set(NEEDED) - {"Operation"} - set(found)) == (names, dropped)


def test_on_a_terminal_of_80_columns_the_reason_can_be_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    details = {"Attempt": 3, "Error": {"ErrorType": "ServiceUnavailable"}}
    long_name = operation("s", Name="reconcile-" * 5, Status="FAILED", StepDetails=details)
    print_tree(state({**long_name, "EndTimestamp": 100}))
    line = Text.from_ansi(capsys.readouterr().out.splitlines()[-1]).plain.rstrip()
    assert len(line) <= 80
    assert line.split() == [
        *("reconcile-reconcile-reco…", "STEP", "FAILED", "3", "1", "min", "40", "s"),
        "ServiceUnavailable",
    ]


def test_names_of_others_reach_no_terminal_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_tree(
        state(operation("a", Name="\x1b]0;x\x07[red]b[/red]", SubType="\x9b", Status="\x1b[1m"))
    )
    shown = capsys.readouterr().out
    assert "\\x1b]0;x\\x07[red]b[/red]" in shown
    assert shown.replace("\n", "").isprintable()


def test_a_long_note_goes_on_below_itself_instead_of_costing_the_duration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    details = {
        "Attempt": 3,
        "Error": {"ErrorType": "ServiceUnavailable", "ErrorMessage": "x" * 999},
    }
    failed = operation("s", Name="charge", Status="FAILED", EndTimestamp=100, StepDetails=details)
    print_tree(state(failed), View(messages=True))
    shown = Text.from_ansi(capsys.readouterr().out).plain
    assert "1 min 40 s" in shown
    assert shown.count("x") == 300
    assert shown.count("…") == 1
    assert max(map(len, shown.splitlines())) <= 80


def test_errors_of_the_execution_itself_and_of_a_wait_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = {"Error": {"ErrorType": "Cancelled"}}
    print_tree(
        state(
            operation("e", Type="EXECUTION", Status="FAILED", ExecutionDetails=error),
            operation("w", Type="WAIT", Status="CANCELLED", WaitDetails=error),
        )
    )
    assert capsys.readouterr().out.count("Cancelled") == 2
