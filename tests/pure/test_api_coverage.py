"""`docs/api-coverage.md` names something for everything that the service's model has."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore.model import Shape

import durastate

from .strategies import call_model, get_state_model, modelled

_REPOSITORY = Path(__file__).parents[2]
_TABLE = _REPOSITORY / "docs" / "api-coverage.md"
_NAME = re.compile(r"([A-Za-z_][\w.]*)(?:\((\w+)\))?")


def rows() -> list[tuple[str, str, str]]:
    """What, Python name and test of every row; code marks taken off the last two."""
    found = []
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|") or line.startswith(("|---", "| what |")):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 3, line
        found.append((cells[0], cells[1].strip("`"), cells[2].strip("`")))
    return found


ROWS = rows() if _TABLE.exists() else []
_IDS = [f"{number}-{what}" for number, (what, _, _) in enumerate(ROWS)]


def things(kind: str) -> set[str]:
    """What the rows of one kind are about: `member`, `type`, `argument` …"""
    matches = (re.match(rf"{kind} `([^`]+)`", what) for what, _, _ in ROWS)
    return {matched[1] for matched in matches if matched}


@cache
def functions_in(path: Path) -> frozenset[str]:
    """The test functions of a file, without importing it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def resolve(name: str) -> Any:
    """The object behind a dotted name in `durastate`; a parameter for `method(parameter)`."""
    matched = _NAME.fullmatch(name)
    assert matched, f"no Python name: {name!r}"
    first, *rest = matched[1].split(".")
    value: Any = getattr(durastate, first)
    for part in rest:
        value = inspect.getattr_static(value, part)
        assert not part.startswith("_")
    if matched[2]:
        value = inspect.signature(value).parameters[matched[2]]
    return value


def test_there_is_a_table() -> None:
    assert len(ROWS) > 60


@pytest.mark.parametrize(("what", "name", "test"), ROWS, ids=_IDS)
def test_every_row_has_a_name_that_can_be_imported(what: str, name: str, test: str) -> None:
    assert what
    assert name, "a row without a Python name"
    assert name.partition(".")[0] in durastate.__all__
    assert resolve(name) is not None


@pytest.mark.parametrize(("what", "name", "test"), ROWS, ids=_IDS)
def test_every_row_has_a_test_that_exists(what: str, name: str, test: str) -> None:
    file, _, function = test.partition("::")
    assert function.startswith("test_"), "a row without a test"
    path = _REPOSITORY / file
    assert path.is_relative_to(_REPOSITORY / "tests")
    assert path.is_file(), file
    assert function in functions_in(path), test


def members(shape: Shape, path: str = "") -> Iterator[str]:
    """Every path into a shape, `[]` for the items of a list of structures."""
    if shape.type_name == "list":
        yield from members(shape.member, f"{path}[]")
    for name, member in getattr(shape, "members", {}).items():
        inner = f"{path}.{name}" if path else name
        yield inner
        yield from members(member, inner)


_OPERATION = get_state_model().output_shape.members["Operations"].member
_EVENT = call_model("GetDurableExecutionHistory").output_shape.members["Events"].member


# How the rows of each call begin.
CALLS = {
    "": "GetDurableExecutionState",
    "listing ": "ListDurableExecutionsByFunction",
    "description ": "GetDurableExecution",
    "history ": "GetDurableExecutionHistory",
}
calls = pytest.mark.parametrize(("kind", "call"), CALLS.items(), ids=CALLS.values())


@calls
def test_every_argument_of_the_model_has_a_row_and_no_other(kind: str, call: str) -> None:
    assert things(f"{kind}argument") == set(call_model(call).input_shape.members)


@calls
def test_every_member_of_the_model_has_a_row_and_no_other(kind: str, call: str) -> None:
    found = set(members(call_model(call).output_shape))
    if kind == "history ":
        # What is inside an event's details is there in wire form.
        found = {path for path in found if path.count(".") < 2}
    assert things(f"{kind}member") == modelled(f"{kind}member", found)


@calls
def test_every_error_of_the_model_has_a_row_and_no_other(kind: str, call: str) -> None:
    assert things(f"{kind}error") == {shape.name for shape in call_model(call).error_shapes}


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("type", _OPERATION.members["Type"]),
        ("status", _OPERATION.members["Status"]),
        ("execution status", call_model("GetDurableExecution").output_shape.members["Status"]),
        ("event type", _EVENT.members["EventType"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_enum_value_of_the_model_has_a_row_and_no_other(kind: str, shape: Any) -> None:
    assert things(kind) == modelled(kind, shape.enum)


def test_every_enum_of_the_library_is_covered() -> None:
    assert things("type") == set(durastate.OperationType)
    assert things("status") == set(durastate.OperationStatus)
    assert things("execution status") == set(durastate.ExecutionStatus)


def test_no_two_rows_are_about_the_same() -> None:
    assert len({what for what, _, _ in ROWS}) == len(ROWS)
