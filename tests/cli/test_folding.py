"""Alike siblings in short: what counts as alike, and that nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from durastate import ExecutionState, Operation
from durastate.cli.folding import Line, folded, only
from durastate.cli.tree import in_tree_order

from .test_tree import operation, state


def outcome(found: Operation) -> tuple[Any, ...]:
    return (str(found.status),)


def shown(found: ExecutionState) -> list[str]:
    return [text(line) for line in folded(list(in_tree_order(found)), outcome)]


def text(line: Line) -> str:
    if line.alike:
        return f"{line.depth}:{len(line.alike)} more+{line.below}"
    return f"{line.depth}:{line.operation.id}"


def siblings(count: int, parent: str | None = None, **members: Any) -> list[dict[str, Any]]:
    return [
        operation(f"{parent or ''}{at}", parent, Name=f"n{at}", **members) for at in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(5, ["0:0", "0:1", "0:2", "0:3", "0:4"]), (6, ["0:0", "0:1", "0:2", "0:3 more+0"])],
)
def test_five_are_shown_and_of_six_three(count: int, expected: list[str]) -> None:
    assert shown(state(*siblings(count))) == expected


@pytest.mark.parametrize(
    "difference",
    [{"Name": "other"}, {"Name": None}, {"Type": "WAIT"}, {"SubType": "S"}, {"Status": "FAILED"}],
)
def test_whatever_differs_keeps_its_line(difference: dict[str, Any]) -> None:
    many = siblings(10)
    many[7] = {name: value for name, value in (many[7] | difference).items() if value is not None}
    assert shown(state(*many)) == ["0:0", "0:1", "0:2", "0:7", "0:6 more+0"]


def test_what_differs_far_below_keeps_its_line_with_all_above_it() -> None:
    many = siblings(10)
    below = [operation(f"{at}.1", str(at)) for at in range(10)]
    deeper = [operation(f"{at}.2", f"{at}.1") for at in range(10)]
    deeper[8]["Status"] = "FAILED"
    found = shown(state(*many, *below, *deeper))
    assert found[:3] == ["0:0", "1:0.1", "2:0.2"]
    assert found[9:] == ["0:8", "1:8.1", "2:8.2", "0:6 more+12"]


def test_each_kind_of_what_is_left_over_has_a_line() -> None:
    ok, bad = siblings(20), siblings(10, Status="FAILED")
    found = shown(state(*ok, *({**each, "Id": f"b{each['Id']}"} for each in bad)))
    assert found == [
        *("0:0", "0:1", "0:2", "0:b0", "0:b1", "0:b2", "0:17 more+0", "0:7 more+0"),
    ]


def test_nothing_is_lost_of_three_thousand_in_a_chain_of_maps() -> None:
    wire = []
    for level in range(300):
        parent = f"m{level - 1}-" if level else None
        wire += [operation(f"m{level}-", parent), *siblings(9, f"m{level}-")]
    found = list(folded(list(in_tree_order(state(*wire))), outcome))
    assert sum(len(line.alike) + line.below if line.alike else 1 for line in found) == 3_000
    assert len(found) == 300 * 5


def test_only_what_is_wanted_and_what_it_is_in() -> None:
    many = state(operation("a"), operation("b", "a"), operation("c", "b"), operation("d", "a"))
    found = only(list(in_tree_order(many)), lambda each: each.id == "c")
    assert [(each.id, depth) for each, depth in found] == [("a", 0), ("b", 1), ("c", 2)]
