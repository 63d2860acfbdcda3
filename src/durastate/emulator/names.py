"""The calls that the emulator answers, by their names in the service's model."""

from __future__ import annotations

from enum import StrEnum


class Call(StrEnum):
    """One call of the service."""

    STATE = "GetDurableExecutionState"
    HISTORY = "GetDurableExecutionHistory"
    GET = "GetDurableExecution"
    LIST = "ListDurableExecutionsByFunction"
