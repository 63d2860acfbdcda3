"""GetDurableExecution: one execution's status, times, input and outcome."""

from __future__ import annotations

import orjson

from durastate.emulator import answers
from durastate.emulator.answers import Answer
from durastate.emulator.asking import Asked, wrong_arn, wrong_flag
from durastate.emulator.descriptions import description
from durastate.emulator.faults import Fault
from durastate.emulator.names import Call
from durastate.emulator.pages import Listing
from durastate.emulator.world import World


class ExecutionCall:
    """Answers the call for one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def index(self, asked: Asked) -> int | None:
        return self._world.index_of(asked.label)

    def bound(self, asked: Asked) -> tuple[str, str]:
        return f"{Call.GET} {asked.label}", ""

    def wrong(self, asked: Asked) -> str | None:
        wrong = None if self.index(asked) is not None else wrong_arn(asked)
        return wrong or wrong_flag(asked, "IncludeExecutionData")

    def refused(self, asked: Asked) -> Answer | None:
        return answers.no_execution() if self.index(asked) is None else None

    def body(self, asked: Asked, listing: Listing, fault: Fault | None) -> bytes:  # noqa: ARG002
        index = self.index(asked)
        assert index is not None
        with_data = asked.flag("IncludeExecutionData", default=True) is not False
        return orjson.dumps(description(self._world, index, include_data=with_data))
