"""docs/history.md: the example counts attempts. The emulator's tests read its table."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from .page import run

AT = {"EventTimestamp": "2026-01-01T00:00:00Z"}


def test_the_attempts_of_a_saved_history_are_counted(tmp_path: Path) -> None:
    page = asyncio.run(run("docs/history.md"))
    kinds = ("WaitStarted", "StepStarted", "StepFailed", "StepStarted", "StepSucceeded")
    events = [
        {"EventId": number, "EventType": kind, "Id": kind[:4], "Name": f"my {kind[:4]}", **AT}
        for number, kind in enumerate(kinds, 1)
    ]
    path = tmp_path / "history.json"
    path.write_text(json.dumps(events))
    assert page.attempts_by_step(str(path)) == {"my Step": 2}
