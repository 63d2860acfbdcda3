"""GetDurableExecutionState: from a request as it arrived to the answer, without I/O.

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
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_bytes
from urllib.parse import parse_qs, unquote

from durastate.emulator import answers, spoiling
from durastate.emulator.answers import Answer
from durastate.emulator.behaviour import Allowance, Behaviour
from durastate.emulator.faults import Fault, FaultKind, FaultPlan
from durastate.emulator.markers import MarkerRefused, Markers, Place
from durastate.emulator.pages import Listing, Pages
from durastate.emulator.signatures import Credentials, Received, SignatureRefused, verify
from durastate.emulator.world import World, next_token

_PATH = re.compile(r"/2025-12-01/durable-executions/(?P<label>[^/]+)/state")
_ARN = re.compile(
    r"arn:([a-zA-Z0-9-]+):lambda:([a-zA-Z0-9-]+):(\d{12}):function:([a-zA-Z0-9_-]+):"
    r"(\$LATEST(?:\.PUBLISHED)?|[0-9]+)/durable-execution/([a-zA-Z0-9_-]+)/([a-zA-Z0-9_-]+)"
)
_TOKEN = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_INTEGER = re.compile(r"[0-9]{1,9}")
_MAX_TOKEN = 2048
_DEFAULT_ITEMS = 100
_MOST_ITEMS = 1_000


@dataclass(frozen=True)
class Asked:
    """The parameters of one call as they arrived, decoded but not yet judged."""

    arn: str
    token: str = field(repr=False)
    marker: str = field(repr=False)
    max_items: str | None

    @property
    def items(self) -> int | None:
        """MaxItems with its default; None for what is no integer from 0 to 1,000."""
        text = "0" if self.max_items is None else self.max_items
        if not _INTEGER.fullmatch(text) or int(text) > _MOST_ITEMS:
            return None
        return int(text) or _DEFAULT_ITEMS


@dataclass(frozen=True)
class Decision:
    """The answer, and what the log should know about the request."""

    answer: Answer
    asked: Asked | None = None
    page: int | None = None
    region: str | None = None


@dataclass(frozen=True)
class _Target:
    """What a call is about: where the execution stands, its newest token, the place to go on."""

    index: int | None
    token: str = field(repr=False)
    place: Place | None


def parse(received: Received) -> Asked | None:
    """The call's parameters; None for a method or path of no call that is known here."""
    path, _, query = received.target.partition("?")
    match = _PATH.fullmatch(path)
    if match is None or received.method != "GET" or not received.target.isascii():
        return None
    given = parse_qs(query, keep_blank_values=True)
    return Asked(
        arn=unquote(match["label"]),
        token=given.get("CheckpointToken", [""])[0],
        marker=given.get("Marker", [""])[0],
        max_items=given["MaxItems"][0] if "MaxItems" in given else None,
    )


class StateCall:
    """Answers the call for one world; holds what changes: newest tokens, counters, allowance."""

    def __init__(
        self,
        world: World,
        faults: FaultPlan,
        behaviour: Behaviour,
        *,
        credentials: Iterable[Credentials],
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.known_credentials = {known.access_key_id: known for known in credentials}
        self.faults = faults
        self._world = world
        self._behaviour = behaviour
        self._now = now
        self._markers = Markers(token_bytes(32), now)
        self._pages = Pages(world, behaviour, self._markers)
        self._allowance = Allowance(behaviour.rate, behaviour.burst, monotonic)
        self._renewed: dict[str, str] = {}
        self._asked: Counter[str] = Counter()
        self._asked_page: Counter[tuple[str, int]] = Counter()

    def renew_token(self, arn: str) -> str:
        """Make the execution's token an old one, as a checkpoint does, and return the newest."""
        index = self._world.index_of(arn)
        if index is None:
            raise KeyError(arn)
        self._renewed[arn] = next_token(self._newest_token(arn, index))
        return self._renewed[arn]

    def decide(self, received: Received) -> Decision:
        """Judge one request in the service's order: call, signature, rate, parameters, token."""
        asked = parse(received)
        if asked is None:
            return Decision(answers.unknown_call())
        target = self._target(asked)
        page = target.place.page if target.place else 0
        fault = self._fault(asked.arn, target.index, page)
        skewed = fault is not None and fault.kind is FaultKind.WRONG_CLOCK
        skew_s = fault.skew_s if fault is not None and skewed else 0
        region = None
        try:
            now = self._now() + timedelta(seconds=skew_s)
            region = verify(received, self.known_credentials, now, self._behaviour.region)
        except SignatureRefused as refused:
            answer = answers.error(refused.code, refused.message)
            counts = skewed
        else:
            counts = self._allowance.take()
            answer = self._answer(asked, target, fault) if counts else self._throttled()
        if counts:
            self._asked[asked.arn] += 1
            self._asked_page[asked.arn, page] += 1
        if skewed:
            answer = answer.changed(fault=str(FaultKind.WRONG_CLOCK), clock_skew_s=skew_s)
        return Decision(answer, asked, page, region)

    def _fault(self, arn: str, index: int | None, page: int) -> Fault | None:
        asked, on_page = self._asked[arn], self._asked_page[arn, page]
        return self.faults.choose(arn, index, page, asked, on_page)

    def _target(self, asked: Asked) -> _Target:
        index = self._world.index_of(asked.arn)
        if index is None:
            return _Target(None, "", None if asked.marker else Place())
        token = self._newest_token(asked.arn, index)
        try:
            place = self._markers.read(asked.marker, asked.arn, token) if asked.marker else Place()
        except MarkerRefused:
            place = None
        return _Target(index, token, place)

    def _newest_token(self, arn: str, index: int) -> str:
        return self._renewed.get(arn) or self._world.token(index)

    def _throttled(self) -> Answer:
        return answers.throttled(self._behaviour.retry_after_s, self._behaviour.retry_after_ms)

    def _answer(self, asked: Asked, target: _Target, fault: Fault | None) -> Answer:
        wrong = _wrong_parameter(asked, exists=target.index is not None)
        if wrong is not None:
            return answers.error("InvalidParameterValueException", wrong)
        replaced = spoiling.instead(fault) if fault is not None else None
        if replaced is not None:
            return replaced
        if target.index is None or asked.token != target.token:
            return answers.invalid_token()
        if target.place is None:
            return answers.error("InvalidParameterValueException", "Invalid marker")
        listing = Listing(asked.arn, target.index, target.token, asked.marker, asked.items or 0)
        page = Answer(200, self._pages.page(listing, target.place, fault))
        return page if fault is None else spoiling.spoil(page, fault)


def _wrong_parameter(asked: Asked, *, exists: bool) -> str | None:
    """What AWS would say about the first parameter that breaks its constraint."""
    if not exists and not _ARN.fullmatch(asked.arn):
        return _constraint("durableExecutionArn", asked.arn, f"regular expression {_ARN.pattern}")
    if not _TOKEN.fullmatch(asked.token) or len(asked.token) > _MAX_TOKEN:
        rule = f"regular expression {_TOKEN.pattern}, length from 1 to {_MAX_TOKEN}"
        return _constraint("checkpointToken", asked.token, rule)
    if asked.items is None:
        return _constraint("maxItems", asked.max_items or "", "value from 0 to 1000")
    return None


def _constraint(name: str, value: str, rule: str) -> str:
    return (
        f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint:"
        f" Member must satisfy {rule}"
    )
