"""The failures beside OUT: what a line says, and what a resumed run makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from durastate import DecodingError, InvalidRefError
from durastate.cli.ending import Problem
from durastate.cli.failures import FailuresFile, failures_path

from .support import mode, records


@pytest.mark.parametrize(
    ("out", "failures"),
    [("a.jsonl", "a.failures.jsonl"), ("a", "a.failures.jsonl"), ("a.b", "a.b.failures.jsonl")],
)
def test_failures_stand_beside_out(out: str, failures: str) -> None:
    assert failures_path(Path("d", out)) == Path("d", failures)


def test_a_failure_has_line_arn_error_code_and_message(tmp_path: Path) -> None:
    failures = FailuresFile(tmp_path / "out.jsonl", resume=False)
    assert not failures.path.exists()
    failures.write(3, "a:1", DecodingError("Operations", "is missing"))
    failures.close()
    assert records(failures.path) == [
        {
            "line": 3,
            "arn": "a:1",
            "error": "DecodingError",
            "code": None,
            "message": "Operations: is missing",
        }
    ]
    assert mode(failures.path) == "600"


def test_what_stands_in_the_place_of_an_arn_is_not_repeated(tmp_path: Path) -> None:
    failures = FailuresFile(tmp_path / "out", resume=False)
    failures.write(1, "TOKEN", InvalidRefError("arn: expected arn:…, found 'TOKEN'"))
    failures.close()
    assert "TOKEN" not in failures.path.read_text()


def test_a_resumed_run_replaces_the_failures_with_its_first_result(tmp_path: Path) -> None:
    first = FailuresFile(tmp_path / "out", resume=False)
    first.write(1, "a:1", DecodingError("", "old"))
    first.close()
    second = FailuresFile(tmp_path / "out", resume=True)
    assert [record["message"] for record in records(second.path)] == ["old"]
    second.write(2, "a:2", DecodingError("", "new"))
    second.close()
    assert [record["message"] for record in records(second.path)] == ["new"]


@pytest.mark.parametrize("resume", [False, True])
def test_failures_of_somebody_else_are_left_as_they_are(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "out.failures.jsonl").write_text("mine\n")
    with pytest.raises(Problem):
        FailuresFile(tmp_path / "out", resume=resume)
    assert (tmp_path / "out.failures.jsonl").read_text() == "mine\n"


def test_torn_failures_can_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "out.failures.jsonl").write_text('{"line":1,"arn":null}\n{"li')
    FailuresFile(tmp_path / "out", resume=True).starts_anew()
    assert not (tmp_path / "out.failures.jsonl").exists()
