"""What must be found nowhere, as data, and the search for it in every form that it may take."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
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

    def forms(self) -> Iterator[str]:
        """Plain, in URLs, in JSON, as Python shows it, and inside of anything in base64."""
        yield from {
            self.core,
            self.value,
            quote(self.value),
            quote(self.value, safe=""),
            quote_plus(self.value),
            json.dumps(self.value)[1:-1],
            json.dumps(self.value, ensure_ascii=False)[1:-1],
            repr(self.value)[1:-1],
        }
        for text in {self.core, self.value}:
            for offset in range(3):
                # The characters at both ends depend on what is beside it.
                encoded = base64.b64encode(b"\0" * offset + text.encode())[4 if offset else 0 : -4]
                yield encoded.decode()
                yield encoded.decode().translate({43: "-", 47: "_"})


def _payload(name: str, core: str) -> Canary:
    return Canary(name, f'{core} "q" ü/+&=%\\ end', core)


TOKEN = Canary(
    "checkpoint token", "Q2FuYXJ5VG9rZW5PZlRoaXNUZXN0+/8=", "Q2FuYXJ5VG9rZW5PZlRoaXNUZXN0", True
)
OTHER_TOKEN = Canary(
    "another token", "T3RoZXJDYW5hcnlUb2tlbg+/+/8=", "T3RoZXJDYW5hcnlUb2tlbg", True
)
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

KEYS = Credentials("AKIDOFCANARY", SECRET_KEY.value, SESSION_TOKEN.value)
ARN = World().arn(0)


def found(text: str, *, keys_alone: bool = False) -> list[str]:
    """The names of the canaries that are in a text; `keys_alone` where payloads may be."""
    return [
        canary.name
        for canary in CANARIES
        if (canary.is_key or not keys_alone) and any(form in text for form in canary.forms())
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
