"""The data: the same from the same seed, of the exact size, valid by the service's own model."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from durastate.emulator import Execution, World
from durastate.emulator.generation import visible


@pytest.fixture(scope="module")
def model() -> Any:
    return botocore.session.Session().get_service_model("lambda")


@pytest.fixture(scope="module")
def thousand() -> list[list[dict[str, Any]]]:
    world = World.demo(1)
    return [world.all_operations(index) for index in range(len(world))]


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    first, again, other = World(seed=3), World(seed=3), World(seed=4)
    assert again.all_operations(17) == first.all_operations(17)
    assert (again.arn(17), again.token(17)) == (first.arn(17), first.token(17))
    assert other.all_operations(17) != first.all_operations(17)
    assert other.token(17) != first.token(17)


def test_arns_and_tokens_fit_the_models_patterns_and_are_all_different(model: Any) -> None:
    members = model.operation_model("GetDurableExecutionState").input_shape.members
    arn_pattern = members["DurableExecutionArn"].metadata["pattern"]
    token_pattern = members["CheckpointToken"].metadata["pattern"]
    refs = list(World(executions=500, regions=("eu-west-1", "cn-north-1")).refs())
    assert len({arn for arn, _ in refs}) == len({token for _, token in refs}) == 500
    for arn, token in refs:
        assert re.fullmatch(arn_pattern, arn)
        assert re.fullmatch(token_pattern, token)
    assert {arn.split(":")[1] for arn, _ in refs} == {"aws", "aws-cn"}
    assert any("$LATEST/" in arn for arn, _ in refs)
    assert all(set("+/=") <= set(token) for _, token in refs)


def test_an_arn_leads_back_to_its_index_and_a_foreign_one_to_none() -> None:
    world = World(executions=50)
    assert [world.index_of(world.arn(index)) for index in range(50)] == list(range(50))
    assert world.index_of(World(executions=51).arn(50)) is None
    assert world.index_of(World(seed=1).arn(3)) is None
    assert world.index_of("nonsense") is None
    assert world.index_of("") is None
    assert world.index_of("arn/run-" + "9" * 5_000 + "/id") is None


def test_the_demo_has_a_thousand_executions_with_a_median_of_about_twenty(
    thousand: list[list[dict[str, Any]]],
) -> None:
    sizes = [len(visible(operations)) for operations in thousand]
    assert len(sizes) == 1_000
    assert 18 <= statistics.median(sizes) <= 22
    assert sizes.count(3_000) == 3
    assert max(len(operations) for operations in thousand) == 3_000


def test_every_type_status_and_sub_type_occurs(thousand: list[list[dict[str, Any]]]) -> None:
    seen: dict[str, Counter[Any]] = {
        name: Counter(operation.get(name) for told in thousand for operation in told)
        for name in ("Type", "Status", "SubType")
    }
    assert len(seen["Type"]) == 6
    assert len(seen["Status"]) == 8
    assert len(seen["SubType"]) == 12  # eleven, and none on EXECUTION


def test_every_operation_is_valid_by_the_model(
    model: Any, thousand: list[list[dict[str, Any]]]
) -> None:
    shape = model.shape_for("Operations")
    for operations in thousand[:300]:
        report = ParamValidator().validate(operations, shape)
        assert not report.has_errors(), report.generate_report()
        ids = [operation["Id"] for operation in operations]
        assert len(set(ids)) == len(ids)
        before: set[str] = set()
        for operation in operations:
            assert operation.get("ParentId") is None or operation["ParentId"] in before
            before.add(operation["Id"])


def test_an_execution_begins_with_its_execution_operation() -> None:
    first = World(operations=5).visible_operations(0)[0]
    assert first["Type"] == "EXECUTION"
    assert isinstance(first["ExecutionDetails"]["InputPayload"], str)


def test_operations_are_in_start_order_and_nothing_is_live_below_what_has_ended() -> None:
    world = World(executions=60, operations=80)
    for index in range(60):
        operations = world.all_operations(index)
        starts = [int(operation["StartTimestamp"]) for operation in operations]
        assert starts == sorted(starts)
        by_id = {operation["Id"]: operation for operation in operations}
        for operation in operations:
            parent = by_id.get(operation.get("ParentId", ""))
            if parent is not None and "EndTimestamp" in parent:
                assert "EndTimestamp" in operation


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 400), index=st.integers(0, 10**9), seed=st.integers())
def test_a_size_that_is_asked_for_is_what_state_shows(count: int, index: int, seed: int) -> None:
    world = World(seed=seed, executions=10**9 + 1, operations=count)
    shown = world.visible_operations(index)
    assert len(shown) == count
    assert len(world.all_operations(index)) <= 3_000
    assert world.index_of(world.arn(index)) == index


def test_sizes_can_be_gone_through_in_turn() -> None:
    world = World(executions=6, operations=(1, 20, 300))
    sizes = [len(world.visible_operations(index)) for index in range(6)]
    assert sizes == [1, 20, 300, 1, 20, 300]


def test_payloads_can_have_one_size() -> None:
    operations = World(operations=50, payload_size=777).all_operations(0)
    results = [
        details["Result"]
        for operation in operations
        for details in operation.values()
        if isinstance(details, dict) and "Result" in details
    ]
    assert results
    assert {len(result) for result in results} == {777}


def _context(name: str, status: str, parent: str | None = None, **details: object) -> Any:
    context = {"Id": name, "Type": "CONTEXT", "StartTimestamp": 1, "Status": status}
    context["ContextDetails"] = details
    return context if parent is None else context | {"ParentId": parent}


def _step(name: str, parent: str) -> Any:
    return {
        "Id": name,
        "Type": "STEP",
        "StartTimestamp": 1,
        "Status": "STARTED",
        "ParentId": parent,
    }


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "STOPPED"])
def test_what_lies_below_a_completed_context_is_left_out_however_deep(status: str) -> None:
    operations = [
        _context("done", status),
        _context("inner", "STARTED", "done"),
        _step("deep", "inner"),
        _context("kept", status, ReplayChildren=True),
        _step("replayed", "kept"),
        _context("open", "STARTED", ReplayChildren=False),
        _step("running", "open"),
        _step("straggler", "done"),
    ]
    shown = [operation["Id"] for operation in visible(operations)]
    assert shown == ["done", "kept", "replayed", "open", "running"]


def test_hidden_children_exist_in_the_full_list() -> None:
    world = World(executions=40, operations=60)
    hidden = [
        len(world.all_operations(index)) - len(world.visible_operations(index))
        for index in range(40)
    ]
    assert sum(hidden) > 100


def test_executions_written_by_hand_come_after_the_others() -> None:
    mine = Execution(token="bWluZQ==", operations=World(operations=2).all_operations(0))
    world = World(executions=3, extra={"key/of-mine": mine})
    assert len(world) == 4
    assert list(world.refs())[3] == ("key/of-mine", "bWluZQ==")
    assert world.index_of("key/of-mine") == 3
    assert world.visible_operations(3) == mine.operations
    assert "bWluZQ" not in repr(world)


def test_a_world_survives_the_way_to_another_process() -> None:
    mine = Execution(token="bWluZQ==", operations=[{"Id": "1"}])
    world = World(seed=5, operations=(1, 2), payload_size=3, extra={"mine": mine})
    assert World.from_dict(world.to_dict()) == world
