"""`durastate.testing`: the scripted transport, and the fixtures in a project of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from virtual_clock import now, run, settle

from durastate import (
    ExecutionNotFoundError,
    ExecutionRef,
    Limits,
    RetryPolicy,
    ServiceError,
    ThrottledError,
    TransportError,
)
from durastate.testing import (
    Asked,
    Late,
    Response,
    ScriptedTransport,
    World,
    no_answer,
    page,
    paged,
    service_error,
    step,
)

from .support import assert_at_rest

WORLD = World(seed=3, executions=3, regions=("eu-west-1", "us-east-2"))
REF = ExecutionRef(WORLD.arn(1), WORLD.token(1))


def test_answers_come_in_order_and_the_last_one_again_and_again() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport([page(step("1")), page(step("2", "FAILED"))])
        async with transport.client() as client:
            ids = [(await client.get_state(REF)).operations[0].id for _ in range(3)]
            assert ids == ["1", "2", "2"]
            assert_at_rest(client)

    run(scenario())


def test_what_was_asked_is_kept_and_no_token_is_in_its_repr() -> None:
    async def scenario() -> None:
        operations = [step(str(number)) for number in range(5)]
        transport = ScriptedTransport(paged({REF.arn: operations}), takes_s=2)
        async with transport.client() as client:
            began = now()
            state = await client.get_state(REF, max_items=2)
        assert [operation.to_dict() for operation in state.operations] == operations
        first, *_, last = transport.asked
        assert [asked.number for asked in transport.asked] == [0, 1, 2]
        assert [asked.at - began for asked in transport.asked] == [0, 2, 4]
        assert (first.operation, first.arn, first.region, first.max_items, first.marker) == (
            *("GetDurableExecutionState", REF.arn, "us-east-2", 2),
            None,
        )
        assert first.checkpoint_token == REF.checkpoint_token
        assert last.marker == "4"
        assert str(REF.checkpoint_token) not in repr(transport.asked)
        assert transport.most_at_once == 1

    run(scenario())


def test_a_function_answers_by_what_is_asked() -> None:
    def script(asked: Asked) -> Response:
        if asked.arn == WORLD.arn(0):
            return service_error(
                "TooManyRequestsException", status=429, headers={"Retry-After": "7"}
            )
        return page(step(asked.region))

    async def scenario() -> None:
        transport = ScriptedTransport(script)
        async with transport.client(retry=RetryPolicy(max_attempts=2)) as client:
            assert (await client.get_state(REF)).operations[0].id == "us-east-2"
            with pytest.raises(ThrottledError):
                await client.get_state(ExecutionRef(WORLD.arn(0), "token"))
        assert transport.asked[2].at - transport.asked[1].at == pytest.approx(7)

    run(scenario())


def test_an_error_is_raised_with_its_attributes_each_time_anew() -> None:
    async def scenario() -> None:
        away = no_answer("cannot connect", connected=False)
        transport = ScriptedTransport([away])
        async with transport.client(retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(TransportError, match="cannot connect") as one:
                await client.get_state(REF)
            with pytest.raises(TransportError) as two:
                await client.get_state(REF)
            assert_at_rest(client)
        assert (one.value.connected, one.value.was_idle, one.value.reached) == (False, False, False)
        assert one.value is not two.value
        assert away.__traceback__ is None

    run(scenario())


def test_an_answer_may_be_late_and_what_waits_for_it_is_counted() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport([Late(30, page(step("1"))), Late(5, no_answer())])
        async with transport.client(retry=RetryPolicy(max_attempts=1)) as client:
            began = now()
            reads = [asyncio.create_task(client.get_state(REF)) for _ in range(2)]
            await settle()
            assert (transport.in_flight, transport.most_at_once) == (2, 2)
            await asyncio.wait(reads)
            assert now() - began == pytest.approx(30)
            assert type(reads[1].exception()) is TransportError
            assert transport.in_flight == 0

    run(scenario())


def test_bytes_count_against_the_limit_as_they_do_over_a_wire() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(lambda _: page(step("1")))
        async with transport.client(limits=Limits(max_bytes_in_flight=1)) as client:
            refs = [ExecutionRef(*pair) for pair in WORLD.refs()]
            async with client.stream_pages(refs) as results:
                await settle()
                assert client.statistics().waiting > 0
                assert [result.error async for result in results] == [None] * 3
            assert_at_rest(client)

    run(scenario())


def test_ceilings_hold_where_the_endpoint_is_not_the_users_own() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport([page(step("1"))], own_endpoint=False)
        limits = Limits(rates={"GetDurableExecutionState": 2}, burst=1)
        async with transport.client(limits=limits) as client:
            for _ in range(3):
                await client.get_state(REF)
            with pytest.raises(Exception, match="no ARN"):
                await client.get_state(ExecutionRef("key-of-a-local-server", "token"))
        assert [asked.at - transport.asked[0].at for asked in transport.asked] == [0, 0.5, 1]

    run(scenario())


def test_an_arn_that_no_state_was_given_for_is_refused() -> None:
    async def scenario() -> None:
        async with ScriptedTransport(paged({})).client() as client:
            with pytest.raises(ServiceError) as caught:
                await client.get_state(REF)
        assert type(caught.value) is ExecutionNotFoundError

    run(scenario())


def test_a_script_without_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ScriptedTransport([])


PROJECT = """
import pytest
from durastate import ExecutionRef, StateClient

pytest_plugins = ["durastate.testing.fixtures"]
pytestmark = pytest.mark.asyncio

async def test_the_service_and_a_client_of_it(state_service, state_client):
    assert len(state_service.world) == 100
    state = await state_client.get_state(ExecutionRef(*next(state_service.world.refs())))
    assert state.execution.name == "run-000000"
    assert [entry.status for entry in state_service.log] == [200]

async def test_a_client_of_ones_own_finds_it(state_environment):
    async with StateClient() as client:
        await client.get_state(ExecutionRef(*next(state_environment.world.refs())))
    assert len(state_environment.log) == 1
"""


def test_a_project_gets_the_fixtures_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(PROJECT)
    scope = "asyncio_default_fixture_loop_scope=function"
    command = ("-p", "no:cacheprovider", "-W", "error", "-o", scope, "-q", "test_own.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert "2 passed" in done.stdout, done.stdout
