"""`durastate show`: one execution as a tree, from its history or out of an audit's directory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from audit.support import arn, failure, row, state, step

from durastate.audit import Store
from durastate.audit.query import query
from durastate.audit.states import find
from durastate.emulator import Emulator, Fault, FaultKind, FaultPlan, World
from durastate.emulator.histories import by_time
from durastate.emulator.world import STATUSES

from .conftest import Invoke
from .support import clear_aws, serving

START = 1_767_323_045.0


def operation(identity: str, parent: str | None = None, **members: Any) -> dict[str, Any]:
    details = {"Attempt": 1, "Result": "SECRET"}
    times = {"StartTimestamp": START, "EndTimestamp": START + 1}
    made = {"Id": identity, "ParentId": parent, "Type": "STEP", "Status": "SUCCEEDED", **times}
    found = made | ({} if "Type" in members else {"StepDetails": details}) | members
    return {name: value for name, value in found.items() if value is not None}


def failing(identity: str, parent: str | None = None, **members: Any) -> dict[str, Any]:
    error = {"ErrorType": "CardDeclined", "ErrorMessage": "SECRET \x1b[31mcard"}
    details = {"Attempt": 3, "Error": error}
    return operation(identity, parent, **{"Status": "FAILED", "StepDetails": details} | members)


def map_of(iterations: int, *, failed: int) -> list[dict[str, Any]]:
    """A map of which one iteration has failed, in an execution that runs."""
    execution = {"Type": "EXECUTION", "Status": "STARTED", "EndTimestamp": None}
    found = [operation("e", **execution), operation("m", Type="CONTEXT", Name="charge all")]
    for at in range(iterations):
        name = f"item-{at}"
        took = {"EndTimestamp": START + 1 + at}
        wire = {"Type": "CONTEXT", "SubType": "MapIteration", "Name": name, **took}
        make = failing if at == failed else operation
        outcome = {"Status": "FAILED"} if at == failed else {}
        found += [operation(name, "m", **wire, **outcome), make(f"{at}", name, Name="charge")]
    return found


def audited(directory: Path, *, payloads: Any = "none", format: Any = "parquet") -> Path:  # noqa: A002
    with Store.open(directory, payloads=payloads, format=format) as store:
        store.add(row(1, "RUNNING"), state(1, map_of(1_000, failed=400)))
        store.add(row(5), state(5, map_of(9, failed=4)))
        store.add(row(2), state(2, [step(0)]))
        store.add(row(3, name="order-2"), state(3, [step(0)]))
        store.add(row(6), state(6, []))
        store.fail(row(2), failure())
        store.fail(row(4), failure())
        store.finish(complete=True)
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return audited(tmp_path_factory.mktemp("show") / "audit")


def lines(out: str) -> list[str]:
    """What is shown of operations, blanks run together."""
    return [" ".join(line.split()) for line in out.partition("Operation ")[2].splitlines()[1:]]


def names(out: str) -> list[str]:
    return [re.split(r" {2,}", line.strip())[0] for line in out.splitlines()[5:]]


def test_a_history_is_read_without_a_token(invoke: Invoke, service: Emulator) -> None:
    done = invoke("show", service.world.arn(1))
    assert (done.code, done.err) == (0, "")
    assert [each.call for each in service.log] == ["GetDurableExecutionHistory"]
    first, second, counted = done.out.splitlines()[:3]
    assert first == service.world.arn(1)
    operations = service.world.all_operations(1)
    assert f", {len(operations)} operations from history" in second
    assert sum(map(int, re.findall(r"(\d+) [A-Z]", counted))) == len(operations)
    assert lines(done.out)[0].split()[1] == "EXECUTION"
    assert operations[0]["ExecutionDetails"]["InputPayload"] not in done.out


def test_an_execution_that_is_not_there_is_the_services_error(
    invoke: Invoke, service: Emulator
) -> None:
    unknown = service.world.arn(1).replace("run-000001", "run-999999")
    done = invoke("show", unknown)
    assert (done.code, done.out, len(done.err.splitlines())) == (254, "", 1)


@pytest.mark.parametrize("name", ["nope.json", "run-000000"])
def test_what_a_service_of_ones_own_refuses_may_have_been_meant_for_a_file(
    invoke: Invoke, name: str
) -> None:
    done = invoke("show", name)
    assert (done.code, done.out, len(done.err.splitlines())) == (254, "", 1)
    assert "neither an ARN of a durable execution nor a file that exists\n" in done.err


def test_an_arn_that_a_shell_took_the_version_from_is_refused_here(
    invoke: Invoke, service: Emulator, directory: Path
) -> None:
    emptied = re.sub(":[^:/]+/", ":/", service.world.arn(1))
    for done in (invoke("show", emptied), invoke("show", directory, emptied)):
        assert (done.code, len(service.log)) == (252, 0)
        assert "the version is empty: put an ARN with $LATEST in single quotes" in done.err


def test_the_options_of_the_connection_are_those_of_get(invoke: Invoke, service: Emulator) -> None:
    done = invoke("show", service.world.arn(2), "--max-items", "10", "--stat")
    assert (done.code, "What requests waited for" in done.err) == (0, True)
    assert {each.max_items for each in service.log} == {10}


def test_the_rate_is_a_ceiling_on_histories(invoke: Invoke, service: Emulator) -> None:
    wanted = ("--rate", "20", "--max-items", "2", "--stat")
    done = invoke("show", service.world.arn(1), *wanted)
    assert len(service.log) > 3
    waited = re.search(r"rate ceiling +([\d.]+)", done.err)
    assert waited is not None
    assert float(waited[1]) > 0.1


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials, a Region or a service, and with no way to look for any."""
    clear_aws(monkeypatch)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")


def test_throttling_is_waited_out_as_in_an_audit(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(executions=1, operations=3)
    throttled = Fault(FaultKind.THROTTLE, first=4)
    # How long is not what this is about.
    monkeypatch.setattr("durastate.retries.Retries.throttled_s", lambda *_, **__: 0.0)
    monkeypatch.setattr("durastate.pace.Pace.throttled", lambda *_: None)
    with serving(world, FaultPlan(on={0: throttled})) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        done = invoke("show", world.arn(0))
    assert (done.code, len(lines(done.out))) == (0, 3)
    assert len(emulator.log) == 5
    assert done.err == "The service throttles; waiting until it answers. Ctrl-C ends this.\n"


@pytest.fixture(scope="module")
def pausing() -> Iterator[Emulator]:
    """Executions of every status, their histories in the order of time."""
    statuses = dict.fromkeys(STATUSES, 1)
    world = World(seed=3, executions=24, operations=5, functions=("f",), statuses=statuses)
    with serving(world, history_by_time=True) as emulator:
        yield emulator


def test_an_execution_has_one_status_whoever_tells_of_it(
    invoke: Invoke, pausing: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", pausing.endpoint_url)
    assert invoke("audit", "f", "-o", tmp_path / "audit", "--quiet").code == 0
    with query(tmp_path / "audit", "select arn, status from executions") as answer:
        kept = {row["arn"]: row["status"] for batch in answer for row in batch.to_pylist()}
    world = pausing.world
    assert kept == {world.arn(index): world.status(index) for index in range(24)}
    for status in STATUSES:
        key = next(key for key in kept if kept[key] == status)
        shown = invoke("show", key).out
        # No event tells of a pause that is not in effect yet, nor that an execution is deleted.
        told = {"PAUSING": "RUNNING", "DELETING": "SUCCEEDED"}.get(status, status)
        assert shown.splitlines()[1].partition(",")[0] == told
        assert ("paused, asked for 2026-" in shown) == (status == "PAUSED")
        if status in ("RUNNING", "PAUSED"):
            again = invoke("show", tmp_path / "audit", key).out
            assert again.splitlines()[1].partition(",")[0] == status


def events_saved(index: int, world: World) -> list[dict[str, Any]]:
    return by_time(world.events(index))


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("form", ["a response", "newest first", "pages", "lines"])
def test_a_saved_history_is_shown_without_credentials(
    invoke: Invoke, tmp_path: Path, form: str
) -> None:
    world = World(seed=6, executions=3, operations=30, statuses={"SUCCEEDED": 1})
    events = events_saved(2, world)
    forms: dict[str, list[Any]] = {
        "a response": [{"Events": events}],
        "newest first": [{"Events": events[::-1]}],
        "pages": [{"Events": events[:20], "NextMarker": "m"}, {"Events": events[19:]}],
        "lines": events,
    }
    path = tmp_path / "saved.json"
    path.write_text("\n".join(map(json.dumps, forms[form])))
    done = invoke("show", path, "--all")
    assert (done.code, done.err) == (0, "")
    count = len(world.all_operations(2))
    assert done.out.splitlines()[:2] == [str(path), f"SUCCEEDED, {count} operations from history"]
    assert world.name(2) in lines(done.out)[0]
    assert len(lines(done.out)) == count


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ('{"Events": [], "NextToken": "SECRET"}', "NextToken: more events follow"),
        ('{"Events": []}', "no event is ExecutionStarted"),
        ('{"Events": [{"EventType": "StepStarted", "Id": "s", "EventTimestamp": 1}]}', "no event"),
        ('{"Events": [{"EventType": "ExecutionStarted"}]}', "Events[0].EventTimestamp: is missing"),
        ("SECRET", "not JSON at character 0"),
    ],
)
def test_a_file_that_holds_no_whole_history_is_one_line(
    invoke: Invoke, tmp_path: Path, saved: str, said: str
) -> None:
    path = tmp_path / "saved.json"
    path.write_text(saved)
    done = invoke("show", path)
    assert (done.code, done.out, len(done.err.splitlines())) == (252, "", 1)
    assert done.err.startswith(f"durastate: {path}: ")
    assert said in done.err
    assert "SECRET" not in done.err


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", "an empty text: is its variable set?"),
        ("missing.json", "'missing.json', and no such file"),
        ("arn:aws:lambda:eu-west-1:1", "'arn:aws:lambda:eu-west-1:1', and no such file"),
        ("dG9rZW4tU0VDUkVU", "something that is no ARN, and no such file"),
        ("a" * 5_000, "something that is no ARN, and no such file"),
    ],
)
def test_what_is_no_arn_is_said_to_be_none_and_nothing_about_credentials(
    invoke: Invoke, name: str, found: str
) -> None:
    done = invoke("show", name)
    assert (done.code, done.out, len(done.err.splitlines())) == (252, "", 1)
    assert f"or the file of a saved history, found {found}" in done.err
    assert "credentials" not in done.err


@pytest.mark.usefixtures("nowhere")
def test_an_arn_without_credentials_says_that_they_are_missing(invoke: Invoke) -> None:
    done = invoke("show", arn(1))
    assert (done.code, "credentials" in done.err) == (253, True)


@pytest.mark.usefixtures("nowhere")
def test_what_had_not_ended_with_its_execution_is_unfinished_and_no_longer_than_it(
    invoke: Invoke, tmp_path: Path
) -> None:
    """A race that was lost, an invocation that ran out of time, a retry and a wait in vain."""

    def event(number: int, kind: str, identity: str, at: float, **details: Any) -> dict[str, Any]:
        about = {"EventId": number, "EventType": kind, "Id": identity, "EventTimestamp": START + at}
        return about | {f"{kind}Details": details}

    retry = {"CurrentAttempt": 1, "NextAttemptDelaySeconds": 3_600}
    events = [
        event(1, "ExecutionStarted", "e", 0),
        event(2, "StepStarted", "lost", 10),
        event(3, "StepStarted", "retried", 20),
        event(4, "StepFailed", "retried", 25, RetryDetails=retry),
        event(5, "WaitStarted", "wait", 30, ScheduledEndTimestamp=START + 9_000),
        event(6, "StepStarted", "late", 90),
        event(7, "ExecutionTimedOut", "e", 60),
    ]
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(events))
    done = invoke("show", path)
    assert done.out.splitlines()[1:3] == [
        "TIMED_OUT, 5 operations from history",
        "3 STARTED, 1 TIMED_OUT, 1 PENDING",
    ]
    words = [line.split(maxsplit=1) for line in lines(done.out)]
    ends = {identity: rest.rpartition("2026-01-02 ")[2][9:] for identity, rest in words}
    assert ends == {
        "e": "1 min 0 s",
        "lost": "50 s unfinished",
        "retried": "40 s unfinished",
        "wait": "30 s unfinished",
        "late": "0 ms unfinished",  # by a clock that was ahead
    }
    path.write_text(json.dumps(events[:-1]))
    shown = invoke("show", path).out
    assert (shown.count(" so far"), "unfinished" in shown) == (5, False)


def test_out_of_a_directory_it_is_shown_as_it_was_read(invoke: Invoke, directory: Path) -> None:
    done = invoke("show", directory, arn(1))
    assert (done.code, done.err) == (0, "")
    head = done.out.splitlines()[:3]
    assert head[0] == arn(1)
    assert re.fullmatch(
        r"RUNNING, 2,002 operations from history, read \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", head[1]
    )
    assert head[2] == "1,999 SUCCEEDED, 2 FAILED, 1 STARTED, 2 retries"
    assert "SECRET" not in done.out


def test_what_runs_has_taken_as_long_as_when_it_was_read(
    invoke: Invoke, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = invoke("show", directory, arn(1)).out
    monkeypatch.setattr("time.time", lambda: 9e9)
    assert invoke("show", directory, arn(1)).out == shown
    assert " so far" in shown


def test_of_alike_siblings_three_are_shown_and_whatever_stands_out(
    invoke: Invoke, directory: Path
) -> None:
    out = invoke("show", directory, arn(1)).out
    assert names(out) == [
        *("e", "charge all", "item-0", "charge", "item-1", "charge", "item-2", "charge"),
        *("item-400", "charge", "… 996 more"),
    ]
    assert lines(out)[-1] == (
        "… 996 more MapIteration SUCCEEDED 2026-01-02 03:04:05 4.0 s to 16 min 40 s "
        "996 operations below"
    )


def test_all_shows_every_operation(invoke: Invoke, directory: Path) -> None:
    assert len(lines(invoke("show", directory, arn(5)).out)) == 11
    assert len(lines(invoke("show", directory, arn(5), "--all").out)) == 20


def test_failed_shows_what_has_failed_and_what_that_is_in(invoke: Invoke, directory: Path) -> None:
    out = invoke("show", directory, arn(1), "--failed").out
    assert names(out) == ["charge all", "item-400", "charge"]
    assert lines(out)[-1].endswith("FAILED 3 2026-01-02 03:04:05 1.0 s CardDeclined")


def test_failed_says_that_nothing_has(invoke: Invoke, directory: Path) -> None:
    out = invoke("show", directory, arn(3), "--failed").out
    assert out.splitlines()[-1] == "Nothing has failed."


def test_an_execution_without_operations_says_so(invoke: Invoke, directory: Path) -> None:
    done = invoke("show", directory, arn(6))
    assert (done.code, done.out.splitlines()[-1]) == (0, "No operations.")


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_messages_of_errors_are_shown_on_demand_where_they_were_kept(
    invoke: Invoke, tmp_path: Path, form: str
) -> None:
    kept = audited(tmp_path / "audit", payloads="full", format=form)
    assert "SECRET" not in invoke("show", kept, arn(1)).out
    done = invoke("show", kept, arn(1), "--failed", "--messages")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("SECRET") == 1  # the results are not shown
    assert done.out.splitlines()[-1].endswith("CardDeclined: SECRET \\x1b[31mcard")


def test_messages_that_an_audit_has_not_kept_are_said_to_be_missing(
    invoke: Invoke, directory: Path
) -> None:
    done = invoke("show", directory, arn(1), "--messages")
    assert (done.code, "holds no messages" in done.err) == (0, True)


def test_in_a_directory_a_name_will_do(invoke: Invoke, directory: Path) -> None:
    done = invoke("show", directory, "order-1")
    assert (done.code, done.out.splitlines()[0]) == (0, arn(1))


def test_a_name_of_several_executions_asks_for_the_arn(invoke: Invoke, directory: Path) -> None:
    done = invoke("show", directory, "order-2")
    assert (done.code, done.out, len(done.err.splitlines())) == (252, "", 1)
    assert "2 executions are called order-2: give the ARN of one" in done.err


def test_what_could_not_be_read_anew_is_said(invoke: Invoke, directory: Path) -> None:
    done = invoke("show", directory, arn(2))
    assert (done.code, len(lines(done.out))) == (0, 1)
    assert "could not read it anew: DecodingError: Events[3].Id: is missing" in done.err


def test_what_could_never_be_read_is_exit_code_2(invoke: Invoke, directory: Path) -> None:
    done = invoke("show", directory, arn(4))
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "could not be read: DecodingError: Events[3].Id: is missing" in done.err


@pytest.mark.parametrize("name", ["nobody", "x' or 'a' = 'a", "\x1b[31m"])
def test_what_is_not_in_the_directory_is_a_usage_error(
    invoke: Invoke, directory: Path, name: str
) -> None:
    done = invoke("show", directory, name)
    assert (done.code, done.out, len(done.err.splitlines())) == (252, "", 1)
    assert name not in done.err
    assert f"{directory} has no execution of that ARN or name; a name has to be whole\n" in done.err


@pytest.mark.parametrize("count", [0, 1, 3])
def test_other_than_an_arn_or_a_directory_and_an_arn_is_a_usage_error(
    invoke: Invoke, directory: Path, count: int
) -> None:
    done = invoke("show", *[directory] * count)
    assert (done.code, done.out) == (252, "")


def test_a_directory_without_an_audit_is_one_line(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("show", tmp_path, arn(1))
    assert (done.code, done.err.count("no manifest.json")) == (252, 1)


def test_a_state_comes_back_as_it_was_but_for_payloads(tmp_path: Path) -> None:
    """Every member that the tables have, and values that this version does not know."""
    wire = [
        operation("e", Type="EXECUTION", Name="é\n", SubType="S", StartTimestamp=START + 0.123456),
        failing("s", "e", Status="PENDING", EndTimestamp=None),
        operation("w", Type="WAIT", WaitDetails={"ScheduledEndTimestamp": START + 9.5}),
        operation("c", Type="CONTEXT", ContextDetails={"ReplayChildren": True}),
        operation("n", Type="NEW", Status="NEWER"),
    ]
    wire[1]["StepDetails"]["NextAttemptTimestamp"] = START + 60
    before = state(1, wire, source="state")
    with Store.open(tmp_path / "a") as store:
        store.add(row(1, "RUNNING"), before)
        store.finish(complete=True)
    for each in wire:
        each.get("StepDetails", {}).pop("Result", None)
        each.get("StepDetails", {}).get("Error", {}).pop("ErrorMessage", None)
    (kept,) = find(tmp_path / "a", arn(1)).found
    assert kept.state == state(1, wire, source="state")
    assert (kept.arn, kept.status, kept.failure) == (arn(1), "RUNNING", None)
    assert kept.read_at is not None
    assert abs(kept.read_at - datetime.now(timezone.utc)).total_seconds() < 60
