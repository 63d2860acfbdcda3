"""A local server of the calls that read durable executions, for tests and the demo, without AWS.

::

    async with Emulator(World(executions=3)) as emulator:
        arn, token = next(emulator.world.refs())
        async with emulator.session().create_client(
            "lambda", region_name="eu-west-1", endpoint_url=emulator.endpoint_url
        ) as client:
            await client.get_durable_execution_state(
                DurableExecutionArn=arn, CheckpointToken=token
            )

It verifies every signature, its pages and errors have the service's form, its data come from a
seed, and it logs each request. It imitates the service; it is not the service.
"""

from durastate.emulator.faults import PASSING, Fault, FaultKind, FaultPlan
from durastate.emulator.log import LoggedRequest, RequestLog
from durastate.emulator.names import Call
from durastate.emulator.process import EmulatorProcess
from durastate.emulator.service import Emulator, session_with
from durastate.emulator.signatures import Credentials
from durastate.emulator.world import Execution, World

__all__ = [
    "PASSING",
    "Call",
    "Credentials",
    "Emulator",
    "EmulatorProcess",
    "Execution",
    "Fault",
    "FaultKind",
    "FaultPlan",
    "LoggedRequest",
    "RequestLog",
    "World",
    "session_with",
]
