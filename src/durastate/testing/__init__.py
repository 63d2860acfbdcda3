"""For tests of code that uses durastate: a transport in memory, and the embedded service.

    answers = [service_error("ServiceException", status=500), page(step("1"))]
    transport = ScriptedTransport(answers)
    async with transport.client() as client:
        state = await client.get_state(ExecutionRef(arn, token))
    assert [asked.arn for asked in transport.asked] == [arn, arn]

`durastate.testing.fixtures` has the fixtures for pytest, and alone needs it.
"""

from durastate.emulator import (
    PASSING,
    Call,
    Emulator,
    Execution,
    Fault,
    FaultKind,
    FaultPlan,
    World,
)
from durastate.testing.scripted import (
    Answer,
    Asked,
    Late,
    Script,
    ScriptedTransport,
    Wire,
    no_answer,
    page,
    paged,
    service_error,
    step,
)
from durastate.transport import Response

__all__ = [
    "PASSING",
    "Answer",
    "Asked",
    "Call",
    "Emulator",
    "Execution",
    "Fault",
    "FaultKind",
    "FaultPlan",
    "Late",
    "Response",
    "Script",
    "ScriptedTransport",
    "Wire",
    "World",
    "no_answer",
    "page",
    "paged",
    "service_error",
    "step",
]
