"""What must be found nowhere, as data, and the search for it in every form that it may take."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, quote_plus

from durastate.emulator import Credentials, Execution, World


@dataclass(frozen=True)
class Canary:
    """One secret. `core` is the part of its value that no escaping changes.

    A key never leaves; a payload may stand where the user asked for payloads.
    """

    name: str
    value: str
    core: str
    is_key: bool = False

    @cached_property
    def forms(self) -> tuple[str, ...]:
        """In small letters, those that do not hold another one; white space may be in any."""
        found = {self.core, *self._in_base64()}
        found |= {spelled(self.core) for spelled in SPELLINGS.values()}
        squeezed = {re.sub(r"\s+", "", form).lower() for form in found}
        core = self.core.lower()
        return (core, *(form for form in squeezed if core not in form))

    def _in_base64(self) -> Iterator[str]:
        """Inside of anything."""
        for text in (self.core, self.value):
            for offset in range(3):
                # The characters at both ends depend on what is beside it.
                encoded = base64.b64encode(b"\0" * offset + text.encode())[4 if offset else 0 : -4]
                yield encoded.decode()
                yield encoded.decode().translate({43: "-", 47: "_"})


def _each(form: str, text: str) -> str:
    return "".join(form.format(byte) for byte in text.encode())


#: What a text may have become on its way through other programs.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a URL": lambda text: quote(text, safe=""),
    "in a query": quote_plus,
    "in a path": quote,
    "in a URL, in small letters": lambda text: quote(text, safe="").lower(),
    "escaped twice": lambda text: quote(quote(text, safe=""), safe=""),
    "escaped four times": lambda text: quote(quote(quote(quote(text, safe="")))),
    "every byte escaped": lambda text: _each("%{:02x}", text),
    "without padding": lambda text: text.rstrip("="),
    "in base64url": lambda text: text.translate({43: "-", 47: "_", 61: None}),
    "in JSON": lambda text: json.dumps(text)[1:-1],
    "in JSON as it is": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "in JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "in JSON with slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "every byte escaped as in JSON": lambda text: _each("\\u{:04x}", text),
    "as Python shows it": lambda text: repr(text)[1:-1],
    "every byte escaped as in Python": lambda text: _each("\\x{:02x}", text),
    "every byte escaped as in C": lambda text: _each("\\{:03o}", text),
    "in HTML": html.escape,
    "every byte escaped as in HTML": lambda text: _each("&#{};", text),
    "in HTML in a URL": lambda text: quote(_each("&#x{:X};", text), safe=""),
    "quoted and printable": lambda text: _each("={:02X}", text),
    "over several lines": lambda text: "\n    ".join(re.findall("(?s).{1,7}", text)),
    "over several lines with signs": lambda text: "\r\n> ".join(re.findall("(?s).{1,7}", text)),
    "over several lines of JSON": lambda text: "\\n".join(re.findall("(?s).{1,7}", text)),
    "in JSON with signs escaped": lambda text: (
        json.dumps(text)[1:-1].replace("/", "\\u002f").replace("+", "\\u002b")
    ),
    "in capitals": str.upper,
    "in hex": lambda text: text.encode().hex(),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "wide": lambda text: text.translate({code: code + 0xFEE0 for code in range(33, 127)}),
}


def _payload(name: str, core: str) -> Canary:
    return Canary(name, f'{core} "q" ü/+&=%\\ end', core)


TOKEN = Canary(
    "checkpoint token", "Q2FuYXJ5VG9rZW5PZlRoaXNUZXN0+/8=", "Q2FuYXJ5VG9rZW5PZlRoaXNUZXN0", True
)
OTHER_TOKEN = Canary(
    "another token", "T3RoZXJDYW5hcnlUb2tlbg+/+/8=", "T3RoZXJDYW5hcnlUb2tlbg", True
)
# Never sixteen letters and digits in a row, so that each spelling is another text.
BROKEN_TOKEN = "QUJD+REVG/R0hJ+SktM/TU5P+UFFS/U1RV+VldY/WVow+MTIz/NDU2+Nzg5/8="
ACCESS_KEY = Canary("access key", "KanariAccessKey55", "KanariAccessKey55", True)
SECRET_KEY = Canary("secret key", "KanariSecretKey77/+x==", "KanariSecretKey77", True)
SESSION_TOKEN = Canary("session token", "KanariSession88/+y==", "KanariSession88", True)
PROXY_PASSWORD = Canary("proxy password", "KanariProxy99/+z:@", "KanariProxy99", True)
CALLBACK_ID = Canary("callback id", "KanariCallback66/+c==", "KanariCallback66")
INPUT = _payload("input", "KanariInput01")
RESULT = _payload("result", "KanariResult02")
ERROR_MESSAGE = _payload("error message", "KanariMessage03")
ERROR_DATA = _payload("error data", "KanariData04")
STACK = _payload("stack trace", "KanariStack05")
UNKNOWN = _payload("unknown member", "KanariUnknown06")

CANARIES = (
    TOKEN,
    OTHER_TOKEN,
    ACCESS_KEY,
    SECRET_KEY,
    SESSION_TOKEN,
    PROXY_PASSWORD,
    CALLBACK_ID,
    INPUT,
    RESULT,
    ERROR_MESSAGE,
    ERROR_DATA,
    STACK,
    UNKNOWN,
)

KEYS = Credentials(ACCESS_KEY.value, SECRET_KEY.value, SESSION_TOKEN.value)
ARN = World().arn(0)


def found(text: str, *, keys_alone: bool = False) -> list[str]:
    """The names of the canaries that are in a text; `keys_alone` where payloads may be."""
    text = text.lower()
    texts = text, re.sub(r"(?:\s|\\+[nr]|>)+", "", text)
    return [
        canary.name
        for canary in CANARIES
        if (canary.is_key or not keys_alone)
        and any(form in each for form in canary.forms for each in texts)
    ]


def operations() -> list[dict[str, Any]]:
    """Every type of operation, with a canary in every place for a payload."""
    error = {
        "ErrorType": "ValueError",
        "ErrorMessage": ERROR_MESSAGE.value,
        "ErrorData": ERROR_DATA.value,
        "StackTrace": [STACK.value, STACK.value],
    }
    outcome = {"Result": RESULT.value, "Error": error}
    details: list[tuple[str, str, dict[str, Any]]] = [
        ("EXECUTION", "ExecutionDetails", {"InputPayload": INPUT.value}),
        ("CONTEXT", "ContextDetails", {"ReplayChildren": True, **outcome}),
        ("STEP", "StepDetails", {"Attempt": 2, **outcome}),
        ("WAIT", "WaitDetails", {"ScheduledEndTimestamp": 1_767_225_900}),
        ("CALLBACK", "CallbackDetails", {"CallbackId": CALLBACK_ID.value, **outcome}),
        ("CHAINED_INVOKE", "ChainedInvokeDetails", outcome),
    ]
    found = []
    for number in range(24):
        kind, member, value = details[min(number, 1) and 1 + number % 5]
        found.append(
            {
                "Id": str(number),
                "Type": kind,
                "Name": f"step-{number}",
                "Status": "STARTED" if number % 2 else "FAILED",
                "StartTimestamp": 1_767_225_600 + number,
                member: value | {"MemberOfTomorrow": UNKNOWN.value},
                "MemberOfTomorrow": {"Inner": [UNKNOWN.value]},
            }
        )
    return found


def world(executions: int = 0) -> World:
    """The execution of the canaries, after others without any."""
    extra = {ARN.replace("123456789012", "210987654321"): Execution(TOKEN.value, operations())}
    return World(seed=8, executions=executions, operations=2, extra=extra)
