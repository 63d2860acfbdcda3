"""A state for people: every operation once, in its place, and no payload."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from rich.text import Text

from durastate import ExecutionState, decode_page
from durastate.cli.columns import that_fit
from durastate.cli.tree import View, in_tree_order, print_tree
from durastate.models import dump_json


def operation(identity: str, parent: str | None = None, **members: Any) -> dict[str, Any]:
    wire = {"Id": identity, "Type": "STEP", "StartTimestamp": 0, "Status": "STARTED", **members}
    return wire if parent is None else {**wire, "ParentId": parent}


def state(*operations: dict[str, Any], arn: str = "a:1") -> ExecutionState:
    page = decode_page(dump_json({"Operations": operations}))
    return ExecutionState(arn, page.operations, source="state")


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
    ("room", "names", "gone"),
    [
        (1_000, 30, 0),
        (114, 30, 0),
        (108, 24, 0),
        (107, 30, 1),
        (97, 24, 1),
        (96, 30, 2),
        (80, 27, 2),
        (69, 16, 2),
        (68, 30, 3),
        (54, 22, 3),
        (40, 17, 4),
        (38, 27, 5),
        (20, 12, 5),
    ],
)
def test_a_narrow_terminal_costs_the_type_first_and_the_status_never(
    room: int, names: int, gone: int
) -> None:
    found = that_fit(NEEDED, room)
    assert found.pop("Operation") == names
    in_order = ["Type", "Note", "Started (UTC)", "Attempt", "Took"]
    assert set(NEEDED) - {"Operation"} - set(found) == set(in_order[:gone])


def terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> Callable[..., list[str]]:
    """What a terminal of that width shows, in lines."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))

    def shown(found: ExecutionState, view: View | None = None) -> list[str]:
        print_tree(found, view)
        return Text.from_ansi(capsys.readouterr().out).plain.splitlines()

    return shown


FAILED = {"Attempt": 3, "Error": {"ErrorType": "ServiceUnavailable", "ErrorMessage": "word " * 99}}


def test_80_columns_show_when_it_started_what_it_took_and_why_it_failed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    long_name = operation("s", Name="reconcile-" * 5, Status="FAILED", StepDetails=FAILED)
    *_, line, note = terminal(capsys, monkeypatch, 80)(state({**long_name, "EndTimestamp": 100}))
    assert len(line) <= 80
    assert line.split() == [
        *(
            "reconcile-reconcile-reconcile…",
            "FAILED",
            "3",
            "1970-01-01",
            "00:00:00",
            "1",
            "min",
            "40",
        ),
        "s",
    ]
    assert note.strip() == "ServiceUnavailable"


@pytest.mark.parametrize("columns", [40, 80])
def test_no_width_costs_a_reason_or_a_part_of_the_arn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    deep = [operation(str(at), str(at - 1) if at else None, Name=f"n{at}") for at in range(20)]
    failed = operation("s", "19", Name="charge", Status="FAILED", StepDetails=FAILED)
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:" + "x" * 90
    found = state(*deep, failed, arn=arn)
    lines = terminal(capsys, monkeypatch, columns)(found, View(messages=True))
    assert lines[0] == arn
    assert max(map(len, lines[1:])) <= columns
    at = next(at for at, line in enumerate(lines) if line.strip().startswith("charge"))
    reason = " ".join(line.strip() for line in lines[at + 1 :])
    assert reason == "ServiceUnavailable: " + ("word " * 60).strip() + " …"


def test_names_of_others_reach_no_terminal_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_tree(
        state(operation("a", Name="\x1b]0;x\x07[red]b[/red]", SubType="\x9b", Status="\x1b[1m"))
    )
    shown = capsys.readouterr().out
    assert "\\x1b]0;x\\x07[red]b[/red]" in shown
    assert shown.replace("\n", "").isprintable()


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
