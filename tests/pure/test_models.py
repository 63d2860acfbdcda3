"""States, operations and their details as objects."""

from __future__ import annotations

import copy
import json
import pickle
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import durastate
from durastate import (
    ErrorObject,
    ExecutionState,
    Operation,
    OperationStatus,
    OperationType,
    StatePage,
    StepDetails,
    decode_page,
)
from durastate.details import DETAILS_OF_TYPE

from .strategies import ARN, as_body, few, operation, page, pages


def state(*raws: dict[str, Any], source: Any = "state") -> ExecutionState:
    return ExecutionState(ARN, decode_page(page(*raws)).operations, source=source)


FAMILY = (
    operation(Id="root", Type="EXECUTION", ExecutionDetails={"InputPayload": "[1]"}),
    operation(Id="a", ParentId="root"),
    operation(Id="b", ParentId="root", Type="CONTEXT"),
    operation(Id="b1", ParentId="b"),
    operation(Id="orphan", ParentId="left-out"),
    operation(Id="b2", ParentId="b"),
    operation(Id="alone"),
)


def ids(operations: Any) -> list[str]:
    return [each.id for each in operations]


def test_operations_are_found_by_id() -> None:
    found = state(*FAMILY)
    assert found.by_id["b1"] is found.operations[3]
    assert set(found.by_id) == {"root", "a", "b", "b1", "orphan", "b2", "alone"}
    assert "nobody" not in found.by_id


def test_children_come_in_order() -> None:
    found = state(*FAMILY)
    assert ids(found.children("root")) == ["a", "b"]
    assert ids(found.children("b")) == ["b1", "b2"]
    assert ids(found.children("alone")) == []
    assert ids(found.children("nobody")) == []


def test_an_operation_whose_parent_was_left_out_is_a_root() -> None:
    found = state(*FAMILY)
    assert ids(found.roots) == ["root", "orphan", "alone"]
    assert ids(found.children("left-out")) == []


def test_every_operation_is_a_root_or_somebodys_child() -> None:
    found = state(*FAMILY)
    families = [found.roots, *(found.children(each.id) for each in found.operations)]
    assert sorted(one for family in families for one in ids(family)) == sorted(
        ids(found.operations)
    )


def test_an_empty_state_has_no_roots_and_no_execution() -> None:
    empty = state()
    assert (list(empty.roots), empty.execution, empty.input_payload) == ([], None, None)
    assert empty.operations == []


def test_the_execution_operation_and_its_payload() -> None:
    found = state(*FAMILY)
    assert found.execution is found.operations[0]
    assert found.input_payload == "[1]"
    assert state(*FAMILY[1:]).execution is None
    assert state(*FAMILY[1:]).input_payload is None
    assert state(operation(Type="EXECUTION")).input_payload is None


def test_to_dict_names_arn_and_source_and_gives_operations_in_the_wire_form() -> None:
    assert state(*FAMILY, source="event").to_dict() == {
        "arn": ARN,
        "source": "event",
        "operations": list(FAMILY),
    }


def test_to_json_is_one_line_of_what_to_dict_gives() -> None:
    found = state(*FAMILY, operation(Name="two\nlines ü", StepDetails={"Result": "\n"}))
    written = found.to_json()
    assert b"\n" not in written
    assert json.loads(written) == found.to_dict()


def test_to_json_escapes_a_lone_surrogate() -> None:
    found = state(operation(Name="\ud800"))
    assert json.loads(found.to_json()) == found.to_dict()
    found.to_json().decode("ascii")


@few
@given(pages())
def test_a_state_pickles_copies_and_compares_by_content(wire: dict[str, Any]) -> None:
    operations = decode_page(as_body(wire)).operations
    found = ExecutionState(ARN, operations, source="state")
    same = ExecutionState(ARN, decode_page(as_body(wire)).operations, source="state")
    assert found == same
    assert found.by_id.keys() == same.by_id.keys()
    assert len(found.roots) <= len(operations)
    assert pickle.loads(pickle.dumps(found)) == same  # noqa: S301
    assert copy.deepcopy(found) == same


def test_states_differ_by_arn_source_and_operations() -> None:
    found = state(*FAMILY)
    assert found != state(*FAMILY, source="event")
    assert found != state(*FAMILY[1:])
    assert found != ExecutionState("other", found.operations, source="state")
    assert found != "a state"
    assert found == state(*FAMILY)


def test_the_repr_of_a_state_counts_and_shows_no_payload() -> None:
    assert repr(state(*FAMILY)) == f"<ExecutionState {ARN}: 7 operations from state>"


def test_the_repr_of_a_page_says_whether_more_is_to_come() -> None:
    assert repr(StatePage([], "m")) == "<StatePage of 0 operations, more to come>"
    assert repr(StatePage([])) == "<StatePage of 0 operations, the last page>"


def test_a_page_is_a_sequence_of_its_operations() -> None:
    decoded = decode_page(page(*FAMILY))
    assert len(decoded) == 7
    assert list(decoded) == decoded.operations


@pytest.mark.parametrize("kind", [OperationType, OperationStatus])
def test_an_enum_member_is_its_string_on_the_wire(kind: type[StrEnum]) -> None:
    for member in kind:
        assert member == member.name == str(member) == f"{member}"
        assert json.dumps(member) == f'"{member.name}"'
        assert {member: 1}[member.name] == 1  # type: ignore[index]


def test_an_operation_has_slots_and_nothing_else() -> None:
    [each] = decode_page(page(operation()))
    assert not hasattr(each, "__dict__")
    with pytest.raises(AttributeError):
        each.nonsense = 1  # type: ignore[attr-defined]
    assert not hasattr(StepDetails({}), "__dict__")
    assert not hasattr(state(), "__dict__")
    assert not hasattr(StatePage([]), "__dict__")


@pytest.mark.parametrize("value", [operation(), operation(StepDetails={}), operation(Unknown=1)])
def test_operations_compare_by_content_and_do_not_hash(value: dict[str, Any]) -> None:
    [one], [other] = decode_page(page(value)), decode_page(page(value))
    assert one == other
    assert one is not other
    for name in ("Id", "ParentId", "Name", "Type", "SubType", "Status", "Unknown"):
        [different] = decode_page(page({**value, name: "different"}))
        assert one != different
    [later] = decode_page(page({**value, "StartTimestamp": 2}))
    assert one != later
    assert one != value
    with pytest.raises(TypeError):
        hash(one)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_operation_pickles_with_every_protocol_that_knows_slots(protocol: int) -> None:
    [each] = decode_page(page(operation(StepDetails={"Attempt": 1}, Unknown=[1])))
    if protocol < 2:
        with pytest.raises(TypeError):
            pickle.dumps(each, protocol)
        return
    again = pickle.loads(pickle.dumps(each, protocol))  # noqa: S301
    assert again == each
    assert again.type is OperationType.STEP


@pytest.mark.parametrize(("kind", "details"), DETAILS_OF_TYPE.items())
def test_each_type_has_its_own_details_and_none_of_the_others(kind: str, details: str) -> None:
    [each] = decode_page(page(operation(Type=kind, **{details: {}})))
    read = {
        name: getattr(each, name)
        for name in dir(Operation)
        if name.endswith("_details") and not name.startswith("_")
    }
    assert len(read) == 6
    present = [value for value in read.values() if value is not None]
    assert [type(value).__name__ for value in present] == [details]


def test_details_are_absent_where_the_service_sent_none() -> None:
    for kind in OperationType:
        [each] = decode_page(page(operation(Type=kind)))
        names = (name for name in dir(Operation) if name.endswith("_details"))
        assert all(getattr(each, name) is None for name in names)


def test_details_and_errors_read_their_members_and_compare_by_content() -> None:
    error = {"ErrorType": "E", "ErrorMessage": "m", "ErrorData": "d", "StackTrace": ["1", "2"]}
    raw = operation(StepDetails={"Attempt": 0, "Result": "", "Error": error, "New": None})
    [each] = decode_page(page(raw))
    step = each.step_details
    assert step is not None
    assert (step.attempt, step.result, step.next_attempt_timestamp) == (0, "", None)
    assert isinstance(step.error, ErrorObject)
    assert (step.error.error_type, step.error.error_message) == ("E", "m")
    assert (step.error.error_data, step.error.stack_trace) == ("d", ["1", "2"])
    assert step.error.to_dict() == error
    assert step == each.step_details
    assert step != step.error
    with pytest.raises(TypeError):
        hash(step)
    with pytest.raises(AttributeError):
        step.attempt = 3  # type: ignore[misc]


def test_the_repr_of_details_names_members_and_shows_no_value() -> None:
    [each] = decode_page(page(operation(StepDetails={"Attempt": 7, "Result": "SECRET"})))
    assert repr(each.step_details) == "<StepDetails with Attempt, Result>"
    assert repr(StepDetails({})) == "<StepDetails with nothing>"


def test_members_of_details_have_documentation() -> None:
    for name in durastate.__all__:
        kind = getattr(durastate, name)
        if not (isinstance(kind, type) and name.endswith("Details")) or kind is None:
            continue
        for member, descriptor in vars(kind).items():
            if not member.startswith("_"):
                assert descriptor.__doc__, f"{name}.{member}"


@few
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.sampled_from("abcde"))))
def test_families_of_any_shape_hold_every_operation_once(
    links: list[tuple[str, str | None]],
) -> None:
    # Ids that repeat, parents of themselves and cycles: nothing is lost, nothing hangs.
    found = state(
        *(operation(Id=one, ParentId=parent, N=n) for n, (one, parent) in enumerate(links))
    )
    families = [found.roots, *(found.children(one) for one in found.by_id)]
    numbers = [each.to_dict()["N"] for family in families for each in family]
    assert sorted(numbers) == list(range(len(links)))
