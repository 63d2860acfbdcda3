"""`durastate.testing` as a type checker sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from durastate import Limits, StateClient, TransportError, log_event, testing
from durastate.testing import (
    PASSING,
    Answer,
    Asked,
    Call,
    Emulator,
    Execution,
    Fault,
    FaultKind,
    FaultPlan,
    Late,
    Response,
    Script,
    ScriptedTransport,
    Wire,
    World,
    no_answer,
    page,
    paged,
    service_error,
    step,
)
from durastate.testing.fixtures import state_faults, state_world


def by_what_is_asked(asked: Asked) -> Answer:
    assert_type(asked.marker, str | None)
    if asked.number == 0:
        return Late(1.5, no_answer("away", connected=False))
    return page(step("1", "FAILED", Name="charge"), next_marker=asked.arn)


def transports() -> list[ScriptedTransport]:
    operations: Sequence[Wire] = [step("1")]
    answers: Script = [service_error("ServiceException", status=500), page(*operations)]
    return [
        ScriptedTransport(answers, takes_s=0.1),
        ScriptedTransport(by_what_is_asked, region="us-east-1", own_endpoint=False),
        ScriptedTransport(paged({"arn": operations})),
    ]


def client_of(transport: ScriptedTransport) -> StateClient:
    return assert_type(
        transport.client(limits=Limits(max_requests=1), hooks=[log_event]), StateClient
    )


def service() -> Emulator:
    plan = FaultPlan(on={0: Fault(FaultKind.RESET, call=Call.LIST)}, rate=0.1, kinds=PASSING)
    return Emulator(World(extra={"key": Execution("token", [step("1")])}), plan)


def test_every_public_name_is_used_here() -> None:
    assert_type(no_answer(), TransportError)
    assert_type(page(), Response)
    assert {"state_faults", "state_world", *testing.__all__} <= set(globals())
    assert state_faults is not state_world
