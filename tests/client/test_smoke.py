import pytest

from durastate import ExecutionRef, StateClient
from durastate.emulator import Emulator


@pytest.mark.asyncio
async def test_a_state_equals_what_the_service_holds(
    emulator: Emulator, client: StateClient
) -> None:
    for index, (arn, token) in enumerate(emulator.world.refs()):
        state = await client.get_state(ExecutionRef(arn, token))
        held = emulator.world.visible_operations(index)
        assert [operation.to_dict() for operation in state.operations] == held
