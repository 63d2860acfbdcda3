"""GetDurableExecutionHistory: its parameters and its events.

Not known of the service, and done so here: a payload that is left out or cut says ``Truncated``; a
marker goes on only with the IncludeExecutionData and the ReverseOrder that it was given for.
"""

from __future__ import annotations

from durastate.emulator import answers
from durastate.emulator.answers import Answer
from durastate.emulator.asking import Asked, wrong_arn, wrong_flag, wrong_items
from durastate.emulator.faults import Fault
from durastate.emulator.generation import Wire
from durastate.emulator.histories import by_time, shown
from durastate.emulator.names import Call
from durastate.emulator.pages import Encoded, Listing, Pages
from durastate.emulator.world import World


class HistoryCall:
    """Answers the call for one world; payloads longer than ``payload_size`` are cut.

    With ``is_by_time`` two events of one time come with the higher EventId first.
    """

    def __init__(self, world: World, pages: Pages, payload_size: int, *, is_by_time: bool) -> None:
        self._world = world
        self._is_by_time = is_by_time
        self._pages = pages
        self._payload_size = payload_size
        self._encoded = Encoded(self._events)

    def index(self, asked: Asked) -> int | None:
        return self._world.index_of(asked.label)

    def bound(self, asked: Asked) -> tuple[str, str]:
        return f"{Call.HISTORY} {asked.label}", f"{_with_data(asked)} {_backwards(asked)}"

    def wrong(self, asked: Asked) -> str | None:
        wrong = None if self.index(asked) is not None else wrong_arn(asked)
        flags = wrong_flag(asked, "IncludeExecutionData", "ReverseOrder")
        return wrong or flags or wrong_items(asked)

    def refused(self, asked: Asked) -> Answer | None:
        return answers.no_execution() if self.index(asked) is None else None

    def body(self, asked: Asked, listing: Listing, fault: Fault | None) -> bytes:
        index = self.index(asked)
        assert index is not None
        events = self._encoded.get((index, _with_data(asked)))
        if _backwards(asked):
            events = events[::-1]
        return self._pages.page("Events", events, listing, fault)

    def _events(self, which: tuple[int, bool]) -> list[Wire]:
        index, with_data = which
        events = self._world.events(index)
        return [
            shown(event, include_data=with_data, most_characters=self._payload_size)
            for event in (by_time(events) if self._is_by_time else events)
        ]


def _with_data(asked: Asked) -> bool:
    return asked.flag("IncludeExecutionData", default=True) is not False


def _backwards(asked: Asked) -> bool:
    return asked.flag("ReverseOrder", default=False) is True
