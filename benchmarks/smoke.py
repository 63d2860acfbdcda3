"""Does every adapter still do the same work? No figures, a few seconds."""

from __future__ import annotations

from .cases import Case, Work, expected
from .clients import CLIENTS, LIMITS
from .measure import Unavailable, interpreter, run_once
from .service import running
from .worker import Plan

_CASE = Case("smoke", executions=20, operations=250, max_items=100, in_flight=4)
_REQUIRED = ("ours", "aiobotocore", *LIMITS)


def smoke() -> int:
    """One line for each adapter; 1 where one that must run does not, or does other work."""
    wanted = expected(_CASE)
    failed = False
    with running(_CASE) as service:
        for name, uvloop in [*((name, False) for name in CLIENTS), ("ours", True)]:
            plan = Plan(name, _CASE, service.url, service.ca_bundle, uvloop=uvloop)
            try:
                work = Work(**run_once(plan, interpreter(name, install=False))["work"])
            except Unavailable as reason:
                said = f"not run: {reason}"
                failed |= name in _REQUIRED
            except RuntimeError as error:
                said = str(error)
                failed = True
            else:
                wrong = "" if name == "socket reader" else work.differs(wanted)
                said = f"UNEQUAL WORK: {wrong}" if wrong else f"same work: {_counts(work)}"
                failed |= bool(wrong)
            print(f"{name}{' + uvloop' * uvloop}: {said}", flush=True)
    return int(failed)


def _counts(work: Work) -> str:
    return f"{work.executions} executions, {work.pages} pages, {work.operations} operations"
