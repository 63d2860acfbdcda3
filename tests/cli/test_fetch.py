"""`durastate fetch`: what is written, what is counted, how it goes on."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan, World
from durastate.emulator.generation import Wire

from .conftest import Invoke
from .support import environment, finish, mode, records, serving, start, write_refs

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f:1/durable-execution/n/i"
BROKEN = FaultPlan(on={1: Fault(FaultKind.INVALID_TOKEN), 4: Fault(FaultKind.KMS_DISABLED)})


def held(emulator: Emulator) -> dict[str, list[Wire]]:
    world = emulator.world
    return {world.arn(index): world.visible_operations(index) for index in range(len(world))}


def test_out_has_every_execution_as_the_service_has_it(
    invoke: Invoke, service: Emulator, refs: Path, tmp_path: Path
) -> None:
    done = invoke("fetch", refs, "-o", tmp_path / "out.jsonl")
    written = records(tmp_path / "out.jsonl")
    assert (done.code, done.out) == (0, "")
    assert {each["arn"]: each["operations"] for each in written} == held(service)
    assert {tuple(each) for each in written} == {("arn", "source", "operations")}
    assert {each["source"] for each in written} == {"state"}
    assert mode(tmp_path / "out.jsonl") == "600"
    assert not (tmp_path / "out.failures.jsonl").exists()
    assert done.err.splitlines()[0] == ("30 requested = 30 complete + 0 failed + 0 not attempted")


@pytest.mark.parametrize("level", ["DEBUG", "WARNING"])
def test_logging_that_somebody_has_set_up_hears_of_each_execution(
    invoke: Invoke,
    refs: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    level: str,
) -> None:
    with caplog.at_level(level, "durastate"):
        done = invoke("fetch", refs, "-o", tmp_path / "out")
    events = [each.durastate["event"] for each in caplog.records if each.name == "durastate"]
    assert (done.code, done.err.count("ExecutionDone")) == (0, 0)
    if level == "DEBUG":
        assert events.count("ExecutionDone") == 30
        assert {*events} == {"RequestDone", "PageRead", "ExecutionDone"}
    else:
        assert events == []


def test_no_token_is_in_anything_it_writes(
    invoke: Invoke, refs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(seed=4, executions=30, operations=3)
    with serving(world, BROKEN) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        done = invoke("fetch", refs, "-o", tmp_path / "out")
    written = (tmp_path / "out").read_text() + (tmp_path / "out.failures.jsonl").read_text()
    assert done.code == 2
    assert not [token for _, token in world.refs() if token in written + done.out + done.err]


@pytest.mark.parametrize("payloads", ["full", "none", "size", "hash"])
def test_payloads_says_what_becomes_of_them(
    invoke: Invoke, service: Emulator, refs: Path, tmp_path: Path, payloads: str
) -> None:
    done = invoke("fetch", refs, "-o", tmp_path / "out", "--payloads", payloads)
    arn = service.world.arn(0)
    record = next(each for each in records(tmp_path / "out") if each["arn"] == arn)
    sent = held(service)[arn][0]["ExecutionDetails"]["InputPayload"]
    size, digest = len(sent.encode()), hashlib.sha256(sent.encode()).hexdigest()
    expected = {
        "full": {"InputPayload": sent},
        "none": {},
        "size": {"InputPayload": {"size": size}},
        "hash": {"InputPayload": {"size": size, "sha256": digest}},
    }
    assert done.code == 0
    assert record["operations"][0]["ExecutionDetails"] == expected[payloads]
    assert record.get("payloads", "full") == payloads


def test_references_and_events_from_stdin(service: Emulator, refs: Path, tmp_path: Path) -> None:
    world = service.world
    operations = world.visible_operations(3)
    event = {
        "DurableExecutionArn": world.arn(3),
        "CheckpointToken": world.token(3),
        "InitialExecutionState": {"Operations": list(map(_in_milliseconds, operations))},
    }
    lines = [refs.read_text().splitlines()[0], "", json.dumps(event)]
    process = start(
        *("fetch", "-", "-o", tmp_path / "out"),
        env=environment(service.endpoint_url),
        stdin=subprocess.PIPE,
    )
    done = finish(process, "\n".join(lines).encode())
    written = {each["arn"]: each for each in records(tmp_path / "out")}
    assert (done.code, len(written)) == (0, 2)
    assert "2 requested = 2 complete + 0 failed + 0 not attempted" in done.err
    assert written[world.arn(0)]["source"] == "state"
    assert written[world.arn(3)]["source"] == "event"
    assert written[world.arn(3)]["operations"] == operations
    assert {each.arn for each in service.log} == {world.arn(0)}


def _in_milliseconds(value: Wire) -> Wire:
    return {
        name: _in_milliseconds(member)
        if isinstance(member, dict)
        else round(member * 1000)
        if name.endswith("Timestamp")
        else member
        for name, member in value.items()
    }


def test_a_bad_line_is_one_failure_with_its_number(
    invoke: Invoke, service: Emulator, tmp_path: Path
) -> None:
    arn = service.world.arn(0)
    refs = write_refs(
        tmp_path / "refs",
        service.world,
        "",
        "no json",
        '{"checkpoint_token": "SECRET"}',
        json.dumps({"arn": arn}),
        json.dumps({"arn": "SECRET", "checkpoint_token": 5}),
    )
    done = invoke("fetch", refs, "-o", tmp_path / "out.jsonl")
    failures = {each.pop("line"): each for each in records(tmp_path / "out.failures.jsonl")}
    assert done.code == 2
    assert "34 requested = 30 complete + 4 failed + 0 not attempted" in done.err
    assert {line: (each["arn"], each["error"]) for line, each in failures.items()} == {
        32: (None, "DecodingError"),
        33: (None, "InvalidRefError"),
        34: (arn, "MissingTokenError"),
        35: (None, "InvalidRefError"),
    }
    assert "SECRET" not in (tmp_path / "out.failures.jsonl").read_text() + done.err
    assert mode(tmp_path / "out.failures.jsonl") == "600"


def test_bad_lines_before_the_first_good_one_are_failures_too(
    invoke: Invoke, service: Emulator, refs: Path, tmp_path: Path
) -> None:
    refs.write_text("no json\n" * 5 + json.dumps({"arn": "SECRET"}) + "\n" + refs.read_text())
    done = invoke("fetch", refs, "-o", tmp_path / "out")
    failures = [(each["line"], each["arn"]) for each in records(tmp_path / "out.failures.jsonl")]
    assert "36 requested = 30 complete + 6 failed + 0 not attempted" in done.err
    assert failures == [(line, None) for line in range(1, 7)]
    assert "SECRET" not in (tmp_path / "out.failures.jsonl").read_text()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("garbage", 'no {"arn": …, "checkpoint_token": …} and no invocation event up to line 10'),
        ("arn,token", "up to line 10. Line 1: not JSON at character 0"),
        ('{"checkpoint_token": "SECRET"}', "Line 1: arn: missing"),
        (f"{ARN}", "no checkpoint token up to line 10"),
        (json.dumps({"arn": ARN}), "audit --from reads executions by their ARNs alone"),
        (json.dumps([{"arn": ARN}]), "one JSON array"),
    ],
)
def test_a_file_of_another_kind_ends_the_run_with_one_line_and_leaves_nothing(
    invoke: Invoke, service: Emulator, tmp_path: Path, line: str, why: str
) -> None:
    refs = tmp_path / "refs"
    refs.write_text(f"{line}\n" * 20_000)
    for more in ((), ("--resume",)):
        done = invoke("fetch", refs, "-o", tmp_path / "out", *more)
        assert (done.code, done.out, done.err.count("\n")) == (252, "", 1)
        assert why in done.err
        assert "SECRET" not in done.err
    assert list(tmp_path.iterdir()) == [refs]
    assert len(service.log) == 0


def test_stdin_of_another_kind_does_so_before_it_ends(service: Emulator, tmp_path: Path) -> None:
    process = start(
        *("fetch", "-", "-o", tmp_path / "out"),
        env=environment(service.endpoint_url),
        stdin=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"garbage\n" * 10)
    process.stdin.flush()
    assert process.wait(30) == 252
    assert finish(process).err.startswith("durastate: cannot read stdin: it has no ")
    assert list(tmp_path.iterdir()) == []


def test_references_in_gzip(invoke: Invoke, service: Emulator, refs: Path, tmp_path: Path) -> None:
    (tmp_path / "refs.gz").write_bytes(gzip.compress(refs.read_bytes()))
    done = invoke("fetch", tmp_path / "refs.gz", "-o", tmp_path / "out")
    assert (done.code, len(records(tmp_path / "out"))) == (0, 30)
    assert "30 requested = 30 complete + 0 failed + 0 not attempted" in done.err


def test_a_failure_says_what_the_service_said_and_resume_asks_again(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(seed=1, executions=6, operations=3)
    refs = write_refs(tmp_path / "refs", world)
    out, failures = tmp_path / "out.jsonl", tmp_path / "out.failures.jsonl"
    with serving(world, BROKEN) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        done = invoke("fetch", refs, "-o", out)
        assert (done.code, len(records(out))) == (2, 4)
        assert "6 requested = 4 complete + 2 failed + 0 not attempted" in done.err
        assert sorted((each["line"], each["arn"], each["code"]) for each in records(failures)) == [
            (2, world.arn(1), "InvalidParameterValueException"),
            (5, world.arn(4), "KMSDisabledException"),
        ]
        emulator.faults = FaultPlan(on={4: Fault(FaultKind.KMS_DISABLED)})
        emulator.log.clear()
        done = invoke("fetch", refs, "-o", out, "--resume")
        assert (done.code, len(records(out))) == (2, 5)
        assert "6 requested = 4 already there + 1 complete + 1 failed + 0 not" in done.err
        assert {each.arn for each in emulator.log} == {world.arn(1), world.arn(4)}
        assert [each["line"] for each in records(failures)] == [5]
        emulator.faults = FaultPlan()
        assert invoke("fetch", refs, "-o", out, "--resume").code == 0
    assert {each["arn"] for each in records(out)} == {world.arn(index) for index in range(6)}
    assert not failures.exists()


def test_a_resumed_run_without_any_failure_leaves_none_of_an_earlier_one(
    invoke: Invoke, refs: Path, tmp_path: Path
) -> None:
    refs_text = refs.read_text()
    refs.write_text(refs_text + "no json\n")
    assert invoke("fetch", refs, "-o", tmp_path / "out").code == 2
    refs.write_text(refs_text)
    done = invoke("fetch", refs, "-o", tmp_path / "out", "--resume")
    assert "30 requested = 30 already there + 0 complete + 0 failed + 0 not" in done.err
    assert (done.code, (tmp_path / "out.failures.jsonl").exists()) == (0, False)


def test_resume_drops_a_torn_last_line_and_reads_it_again(
    invoke: Invoke, refs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert invoke("fetch", refs, "-o", out).code == 0
    out.write_bytes(out.read_bytes()[:-10])
    done = invoke("fetch", refs, "-o", out, "--resume")
    assert "30 requested = 29 already there + 1 complete + 0 failed + 0 not" in done.err
    assert "A torn last line" in done.err
    assert len({each["arn"] for each in records(out)}) == len(records(out)) == 30


def test_an_existing_out_is_refused_before_anything_is_asked(
    invoke: Invoke, service: Emulator, refs: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("mine")
    for more in ((), ("--resume",)):
        done = invoke("fetch", refs, "-o", tmp_path / "out", *more)
        assert (done.code, len(done.err.splitlines())) == (252, 1)
    assert (tmp_path / "out").read_text() == "mine"
    assert len(service.log) == 0


def test_an_out_that_cannot_be_made_is_one_clear_line(
    invoke: Invoke, refs: Path, tmp_path: Path
) -> None:
    done = invoke("fetch", refs, "-o", tmp_path / "no" / "out")
    assert (done.code, len(done.err.splitlines())) == (255, 1)
    assert "cannot create" in done.err


def test_out_is_no_pipe(invoke: Invoke, refs: Path) -> None:
    assert invoke("fetch", refs, "-o", "-").code == 252
    assert not Path("-").exists()


def test_refs_that_are_not_there_are_a_usage_error(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("fetch", tmp_path / "none", "-o", tmp_path / "out")
    assert (done.code, "No such file" in done.err) == (252, True)
    assert not (tmp_path / "out").exists()


def test_refused_credentials_end_the_run_and_nothing_is_called_failed(
    invoke: Invoke, refs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    done = invoke("fetch", refs, "-o", tmp_path / "out")
    assert done.code == 253
    assert "30 requested = 0 complete + 0 failed + 30 not attempted" in done.err


def test_no_references_is_a_complete_run(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "refs").write_text("")
    done = invoke("fetch", tmp_path / "refs", "-o", tmp_path / "out")
    assert (done.code, records(tmp_path / "out")) == (0, [])
    assert "0 requested = 0 complete + 0 failed + 0 not attempted" in done.err
