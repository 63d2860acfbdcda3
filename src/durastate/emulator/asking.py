"""What every call asks: path and query as they arrived, decoded but not yet judged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote

from durastate.emulator.names import Call
from durastate.emulator.signatures import Received

Query = Mapping[str, Sequence[str]]

_EXECUTIONS = r"/2025-12-01/durable-executions/(?P<label>[^/]+)"
_PATHS = {
    Call.STATE: re.compile(_EXECUTIONS + "/state"),
    Call.HISTORY: re.compile(_EXECUTIONS + "/history"),
    Call.GET: re.compile(_EXECUTIONS),
    Call.LIST: re.compile(r"/2025-12-01/functions/(?P<label>[^/]+)/durable-executions"),
}
_ARN = re.compile(
    r"arn:([a-zA-Z0-9-]+):lambda:([a-zA-Z0-9-]+):(\d{12}):function:([a-zA-Z0-9_-]+):"
    r"(\$LATEST(?:\.PUBLISHED)?|[0-9]+)/durable-execution/([a-zA-Z0-9_-]+)/([a-zA-Z0-9_-]+)"
)
# NamespacedFunctionName of the model.
_FUNCTION = re.compile(
    r"(?:arn:(?:aws[a-zA-Z-]*)?:lambda:)?"
    r"(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?(?:function:)?(?P<name>[a-zA-Z0-9-_.]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
_LONGEST_FUNCTION = 256
_INTEGER = re.compile(r"[0-9]{1,9}")
_DEFAULT_ITEMS = 100
_MOST_ITEMS = 1_000


@dataclass(frozen=True)
class Function:
    """What a function's name or ARN says; None for what it does not say."""

    name: str
    region: str | None
    account: str | None
    qualifier: str | None


@dataclass(frozen=True)
class Asked:
    """One call. ``label`` is the ARN or the function in its path; ``region`` is not verified."""

    call: Call
    label: str
    query: Query = field(repr=False)
    region: str

    def given(self, name: str) -> str | None:
        """The first value of a parameter; None where it was not sent."""
        return self.query[name][0] if name in self.query else None

    @property
    def arn(self) -> str | None:
        """The execution that the call is about."""
        return None if self.call is Call.LIST else self.label

    @property
    def function(self) -> str | None:
        """The name of the function that the call is about, without ARN and version."""
        named = function_of(self.label) if self.call is Call.LIST else None
        return None if named is None else named.name

    @property
    def subject(self) -> str:
        """What faults go by: the execution's ARN, or the function's name."""
        return self.function or self.label

    @property
    def marker(self) -> str:
        """The marker; an empty one is the same as none."""
        return self.given("Marker") or ""

    @property
    def items(self) -> int | None:
        """MaxItems with its default; None for what is no integer from 0 to 1,000."""
        text = self.given("MaxItems")
        text = "0" if text is None else text
        if not _INTEGER.fullmatch(text) or int(text) > _MOST_ITEMS:
            return None
        return int(text) or _DEFAULT_ITEMS

    def flag(self, name: str, *, default: bool) -> bool | None:
        """A boolean parameter; None for what is neither true nor false."""
        text = self.given(name)
        return default if text is None else {"true": True, "false": False}.get(text)


def parse(received: Received, region: str) -> Asked | None:
    """The call; None for a method or path of no call that is known here."""
    path, _, query = received.target.partition("?")
    if received.method != "GET" or not received.target.isascii():
        return None
    for call, pattern in _PATHS.items():
        match = pattern.fullmatch(path)
        if match is not None:
            given = parse_qs(query, keep_blank_values=True)
            return Asked(call, unquote(match["label"]), given, region)
    return None


def function_of(label: str) -> Function | None:
    """The parts of a function's name or ARN; None for what is neither."""
    match = _FUNCTION.fullmatch(label)
    if match is None or len(label) > _LONGEST_FUNCTION:
        return None
    return Function(match["name"], match["region"], match["account"], match["qualifier"])


def moment(text: str) -> float:
    """Epoch seconds of an ISO 8601 time, UTC where it says nothing else; or ``ValueError``."""
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def constraint(name: str, value: str, rule: str) -> str:
    """What AWS says of a parameter that breaks its constraint."""
    return (
        f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint:"
        f" Member must satisfy {rule}"
    )


def wrong_arn(asked: Asked) -> str | None:
    """What is wrong with the ARN's form."""
    if _ARN.fullmatch(asked.label):
        return None
    return constraint("durableExecutionArn", asked.label, f"regular expression {_ARN.pattern}")


def wrong_items(asked: Asked) -> str | None:
    """What is wrong with MaxItems."""
    if asked.items is not None:
        return None
    return constraint("maxItems", asked.given("MaxItems") or "", "value from 0 to 1000")


def wrong_flag(asked: Asked, *names: str) -> str | None:
    """What is wrong with one of the boolean parameters."""
    for name in names:
        if asked.flag(name, default=True) is None:
            member = name[0].lower() + name[1:]
            return constraint(member, asked.given(name) or "", "enum value set: [true, false]")
    return None
