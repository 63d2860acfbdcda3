"""GetDurableExecutionState: its parameters and its operations.

Where nobody outside AWS knows what the service does, this is what is done here:

* an execution that does not exist: 400 with "Invalid checkpoint token", as the call's model has no
  ResourceNotFoundException;
* a parameter outside its constraints: InvalidParameterValueException, the model's only 400, in the
  words that AWS's front end has for a ValidationException;
* an empty Marker: the first page;
* a marker from before the token was renewed: refused like a foreign one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from durastate.emulator import answers
from durastate.emulator.answers import Answer
from durastate.emulator.asking import Asked, constraint, wrong_arn, wrong_items
from durastate.emulator.faults import Fault
from durastate.emulator.pages import Encoded, Listing, Pages
from durastate.emulator.world import World

_TOKEN = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_MAX_TOKEN = 2048


class StateCall:
    """Answers the call for one world; ``renewed`` has the tokens that are newer than its own."""

    def __init__(self, world: World, pages: Pages, renewed: Mapping[str, str]) -> None:
        self._world = world
        self._pages = pages
        self._renewed = renewed
        self._encoded = Encoded(world.visible_operations)

    def index(self, asked: Asked) -> int | None:
        return self._world.index_of(asked.label)

    def bound(self, asked: Asked) -> tuple[str, str]:
        return asked.label, self._newest_token(asked)

    def wrong(self, asked: Asked) -> str | None:
        if self.index(asked) is None:
            wrong = wrong_arn(asked)
            if wrong is not None:
                return wrong
        token = asked.given("CheckpointToken") or ""
        if not _TOKEN.fullmatch(token) or len(token) > _MAX_TOKEN:
            rule = f"regular expression {_TOKEN.pattern}, length from 1 to {_MAX_TOKEN}"
            return constraint("checkpointToken", token, rule)
        return wrong_items(asked)

    def refused(self, asked: Asked) -> Answer | None:
        newest = self._newest_token(asked)
        return None if newest == asked.given("CheckpointToken") else answers.invalid_token()

    def body(self, asked: Asked, listing: Listing, fault: Fault | None) -> bytes:
        index = self._world.index_of(asked.label)
        assert index is not None
        return self._pages.page("Operations", self._encoded.get(index), listing, fault)

    def _newest_token(self, asked: Asked) -> str:
        index = self.index(asked)
        if index is None:
            return ""
        return self._renewed.get(asked.label) or self._world.token(index)
