"""The directory of an audit: what is read again, what is there once, what is refused."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from durastate import (
    ConfigurationError,
    ExecutionState,
    decode_history,
    operations_from_history,
)
from durastate.audit import DirectoryError, ExecutionRow, Store, read_manifest, verify
from durastate.audit.rows import row_read
from durastate.models import dump_json

from .support import (
    START,
    access_denied,
    add,
    arn,
    failure,
    names,
    only_its_own,
    row,
    rows,
    state,
    step,
    written,
)

CLOSED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "DELETING")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def refusal(directory: Path, **options: Any) -> str:
    """Why it is not opened; every file is as it was, and none is new."""
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    with pytest.raises(DirectoryError) as caught:
        Store.open(directory, **options)
    after = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    for name in ("lock", "journal.sqlite"):
        after.pop(name, None)
        before.pop(name, None)
    assert after == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("bad", [None, 5, b"x", "", "\0", "\ud800", ["a"], object()])
def test_what_names_no_directory_is_a_configuration_error(bad: Any) -> None:
    for use in (Store.open, read_manifest, lambda path: list(verify(path))):
        with pytest.raises(ConfigurationError, match=r"^directory: "):
            use(bad)


@pytest.mark.parametrize("name", ["format", "payloads"])
@pytest.mark.parametrize("bad", [None, 5, "x", ["parquet"]])
def test_a_format_that_there_is_not_is_a_configuration_error(
    directory: Path, name: str, bad: Any
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: expected .*, found "):
        Store.open(directory, **{name: bad})
    assert not directory.exists()


def test_a_directory_may_be_a_string(directory: Path) -> None:
    with Store.open(str(directory)) as store:
        store.finish(complete=True)
    assert read_manifest(str(directory)).complete
    assert list(verify(str(directory))) == []


def test_an_execution_has_its_row_and_its_operations(directory: Path) -> None:
    failed = step(2, Status="FAILED", StepDetails={"Attempt": 4, "Error": {"ErrorType": "Bad"}})
    with Store.open(directory) as store:
        store.add(row(5, "FAILED", error_type="Bad"), state(5, [step(0), step(1), failed]))
        store.finish(complete=True)
    (found,) = rows(directory, "executions")
    assert {name: found[name] for name in ("arn", "region", "account", "function", "version")} == {
        "arn": arn(5),
        "region": "eu-west-1",
        "account": "123456789012",
        "function": "orders",
        "version": "$LATEST",
    }
    assert (found["name"], found["status"], found["error_type"]) == ("order-5", "FAILED", "Bad")
    assert (found["started_at"], found["ended_at"]) == (START, None)
    assert (found["operation_count"], found["failed_count"], found["retry_count"]) == (3, 1, 4)
    assert rows(directory, "operations", "arn", "sequence", "attempt", "error_type") == [
        (arn(5), 0, 1, None),
        (arn(5), 1, 2, None),
        (arn(5), 2, 4, "Bad"),
    ]


def test_a_key_that_is_no_arn_has_no_parts(directory: Path) -> None:
    with Store.open(directory) as store:
        store.add(ExecutionRow.of("uuid/x", status="RUNNING", name="n"), state("uuid/x", []))
        store.finish(complete=True)
    assert rows(directory, "executions", "arn", "region", "function", "name") == [
        ("uuid/x", None, None, "n")
    ]


@pytest.mark.parametrize("status", CLOSED)
def test_a_closed_execution_is_never_read_again(directory: Path, status: str) -> None:
    with Store.open(directory) as store:
        assert store.needs(arn(1), status)
        add(store, 1, status=status)
        assert not store.needs(arn(1), status)
        store.finish(complete=True)
        assert not store.needs(arn(1), status)
    with Store.open(directory, refresh=True) as store:
        assert not store.needs(arn(1), status)
        assert store.needs(arn(2), status)


@pytest.mark.parametrize("status", ["RUNNING", "PAUSING", "PAUSED", "NEW_IN_2031"])
def test_a_running_one_is_read_again_with_refresh_or_a_new_status(
    directory: Path, status: str
) -> None:
    with Store.open(directory) as store:
        add(store, 1, status=status)
        assert not store.needs(arn(1), "SUCCEEDED")  # this run has read it
        store.finish(complete=True)
    with Store.open(directory) as store:
        assert not store.needs(arn(1), status)
        assert not store.needs(arn(1))
        assert store.plan([row(1, "")]) == 0  # named, not listed
        assert store.needs(arn(1), "SUCCEEDED")
    with Store.open(directory, refresh=True) as store:
        assert store.needs(arn(1), status)
        add(store, 1, status=status)
        store.save()
        assert not store.needs(arn(1), status)


@pytest.mark.parametrize(
    ("listed", "events", "kept"),
    [
        ("RUNNING", ["Started"], "RUNNING"),
        ("", ["Started"], "RUNNING"),
        ("RUNNING", ["Started", "Paused"], "PAUSED"),
        ("PAUSED", ["Started", "Paused"], "PAUSED"),
        ("", ["Started", "Paused"], "PAUSED"),
        ("PAUSED", ["Started", "Paused", "Resumed"], "RUNNING"),
        ("PAUSING", ["Started"], "PAUSING"),  # no event tells of that
        ("PAUSING", ["Started", "Stopped"], "STOPPED"),
        ("NEW_IN_2031", ["Started"], "NEW_IN_2031"),
        ("SUCCEEDED", ["Started"], "RUNNING"),  # its history is behind
        ("DELETING", ["Started"], "RUNNING"),
        ("DELETING", ["Started", "Failed"], "DELETING"),
        ("PAUSED", ["Started", "Paused", "TimedOut"], "TIMED_OUT"),
    ],
)
def test_the_newer_of_listing_and_history_says_how_an_execution_stands(
    listed: str, events: list[str], kept: str
) -> None:
    raws = [
        {"EventId": number, "EventType": f"Execution{kind}", "Id": "e", "EventTimestamp": number}
        for number, kind in enumerate(events, 1)
    ]
    operations = operations_from_history(decode_history(dump_json({"Events": raws})))
    read = row_read(row(1, listed), ExecutionState(arn(1), operations, source="history"))
    assert (read.status, read.source) == (kept, "history")


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_what_is_read_anew_replaces_what_was_there(directory: Path, form: Any) -> None:
    with Store.open(directory, format=form, part_operations=4) as store:
        for number in range(6):
            add(store, number, 3, "RUNNING" if number == 2 else "SUCCEEDED")
        store.finish(complete=True)
    with Store.open(directory, format=form, refresh=True) as store:
        add(store, 2, 5)
        second = store.finish(complete=True)
    fresh = directory.with_name("fresh")
    with Store.open(fresh, format=form) as store:
        for number in (5, 2, 1, 0, 4, 3):  # in another order
            add(store, number, 5 if number == 2 else 3)
        assert store.finish(complete=True).digest == second.digest
    assert (second.executions, second.operations) == (6, 20)
    assert list(verify(directory)) == []
    assert only_its_own(directory)


def test_the_same_execution_twice_in_one_run_is_there_once(directory: Path) -> None:
    with Store.open(directory) as store:
        add(store, 1, 2)
        add(store, 1, 3)
        store.save()
        add(store, 1, 4)
        store.finish(complete=True)
    assert rows(directory, "operations", "sequence") == [(0,), (1,), (2,), (3,)]
    assert list(verify(directory)) == []


def test_an_execution_without_operations_is_there(directory: Path) -> None:
    with Store.open(directory) as store:
        add(store, 1, 0)
        store.finish(complete=True)
    assert rows(directory, "executions", "arn", "operation_count") == [(arn(1), 0)]
    assert list(verify(directory)) == []


def test_the_digest_is_of_content_alone(directory: Path) -> None:
    first = read_manifest(written(directory / "a", 1, 2, 3)).digest
    assert read_manifest(written(directory / "b", 3, 2, 1, part_operations=1)).digest == first
    assert read_manifest(written(directory / "c", 1, 2)).digest != first
    with Store.open(directory / "d") as store:
        for number in (1, 2, 3):
            add(store, number)
        store.fail(row(4), failure())
        assert store.finish(complete=True).digest != first


def test_a_later_audit_adds_to_the_same_directory(directory: Path) -> None:
    written(directory, 1, 2)
    written(directory, 3)
    assert rows(directory, "executions", "arn") == [(arn(1),), (arn(2),), (arn(3),)]
    assert only_its_own(directory)


def test_what_could_not_be_read_is_listed_and_needed_again(directory: Path) -> None:
    error = access_denied(1)
    with Store.open(directory) as store:
        store.fail(row(1), error)
        assert not store.needs(arn(1), "SUCCEEDED")
        manifest = store.finish(complete=True)
        assert not store.needs(arn(1), "SUCCEEDED")
    assert (manifest.executions, manifest.failures) == (0, 1)
    assert rows(directory, "failures", "arn", "function", "error", "code", "source", "message") == [
        (arn(1), "orders", "AccessDeniedError", "AccessDeniedException", "history", str(error))
    ]
    with Store.open(directory) as store:
        assert store.needs(arn(1), "SUCCEEDED")
        add(store, 1)
        assert store.finish(complete=True).failures == 0


def test_a_failed_refresh_leaves_what_an_earlier_run_read(directory: Path) -> None:
    with Store.open(directory) as store:
        add(store, 1, status="RUNNING")
        store.finish(complete=True)
    with Store.open(directory, refresh=True) as store:
        store.fail(row(1, "RUNNING"), failure())
        store.finish(complete=True)
    assert len(rows(directory, "operations")) == 3
    assert rows(directory, "failures", "arn") == [(arn(1),)]


def test_what_is_planned_is_given_back_until_it_is_read_or_failed(directory: Path) -> None:
    given = [row(number, "RUNNING", ended_at=START) for number in range(1200)]
    with Store.open(directory) as store:
        add(store, 0)
        assert store.plan(given) == 1199
        for planned in store.pending():
            assert planned == given[int(planned.arn[-8:], 16)]
            if planned.arn == arn(5):
                store.fail(planned, failure())
            elif planned.arn != arn(700):
                store.add(planned, state(planned.arn, []))
        assert store.counts()[:3] == (1198, 1, 1)
    with Store.open(directory) as store:
        assert [each.arn for each in store.pending()] == [arn(700)]


def test_a_run_goes_on_with_what_the_interrupted_one_was_pinned_to(directory: Path) -> None:
    selection = {"functions": ["a", "b"], "since": "7d"}
    with Store.open(directory) as store:
        assert store.begin(selection, {"before": "1"}) == {"before": "1"}
        store.plan([row(1), row(2)])
        store.finish(complete=False)
    with Store.open(directory) as store:
        assert store.begin(selection, {"before": "2"}) == {"before": "1"}
        assert len(list(store.pending())) == 2
        assert store.finish(complete=True).complete
    with Store.open(directory) as store:
        assert list(store.pending()) == []
        assert store.begin(selection, {"before": "3"}) == {"before": "3"}
        store.plan([row(1), row(2)])
        assert store.begin({"functions": []}, {"before": "4"}) == {"before": "4"}
        assert list(store.pending()) == []


def test_a_refresh_that_is_gone_on_with_reads_nothing_anew_twice(directory: Path) -> None:
    with Store.open(directory) as store:
        add(store, 1, status="RUNNING")
        add(store, 2, status="RUNNING")
        store.finish(complete=True)
    with Store.open(directory, refresh=True) as store:
        store.begin({}, {"before": "1"})
        add(store, 1, status="RUNNING")
        store.save()
    for _ in range(2):
        with Store.open(directory, refresh=True) as store:
            assert store.begin({}, {"before": "2"}) == {"before": "1"}
            assert [store.needs(arn(number), "RUNNING") for number in (1, 2)] == [False, True]
            assert store.needs(arn(1), "SUCCEEDED")
    with Store.open(directory, refresh=True) as store:
        store.begin({}, {"before": "2"})
        store.finish(complete=True)
    with Store.open(directory, refresh=True) as store:
        assert store.begin({}, {"before": "3"}) == {"before": "3"}
        assert [store.needs(arn(number), "RUNNING") for number in (1, 2)] == [True, True]


def test_a_refresh_after_an_unfinished_run_without_it_is_a_run_of_its_own(directory: Path) -> None:
    with Store.open(directory) as store:
        store.begin({}, {"before": "1"})
        add(store, 1, status="RUNNING")
        store.save()
    with Store.open(directory, refresh=True) as store:
        assert store.begin({}, {"before": "2"}) == {"before": "2"}
        assert store.needs(arn(1), "RUNNING")


def test_parts_are_saved_by_operations_and_by_time(directory: Path) -> None:
    moment = 0.0
    with Store.open(directory, part_operations=10, clock=lambda: moment) as store:

        def parts() -> int:
            return len(list(directory.glob("operations-*")))

        add(store, 1, 9)
        assert parts() == 0
        add(store, 2, 1)
        assert parts() == 1
        add(store, 3, 1)
        moment = 29.0
        add(store, 4, 1)
        assert parts() == 1
        moment = 31.0
        add(store, 5, 1)
        assert parts() == 2


def test_what_was_not_saved_is_needed_again(directory: Path) -> None:
    with Store.open(directory) as store:
        add(store, 1)
        store.save()
        add(store, 2)
    with Store.open(directory) as store:
        assert (store.needs(arn(1), "SUCCEEDED"), store.needs(arn(2), "SUCCEEDED")) == (False, True)


def test_readers_see_the_finish_before_while_a_run_goes_on(directory: Path) -> None:
    first = read_manifest(written(directory, 1))
    with Store.open(directory, refresh=True) as store:
        add(store, 2)
        store.save()
        assert read_manifest(directory) == first
        assert rows(directory, "executions", "arn") == [(arn(1),)]


def test_a_finish_that_was_killed_before_its_manifest_leaves_the_one_before(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_manifest(written(directory, 1))
    with Store.open(directory, refresh=True) as store:
        add(store, 2)
        monkeypatch.setattr(store, "_write_manifest", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.finish(complete=True)
    Store.open(directory).close()
    assert read_manifest(directory) == first
    assert [problem for problem in verify(directory) if "not in the manifest" not in problem] == []
    written(directory, 3)
    assert read_manifest(directory).executions == 3
    assert only_its_own(directory)


def test_a_file_is_no_directory(directory: Path) -> None:
    directory.write_text("mine")
    with pytest.raises(DirectoryError, match="is no directory"):
        Store.open(directory)


def test_many_executions_without_operations_are_saved_too(directory: Path) -> None:
    with Store.open(directory, clock=lambda: 0.0) as store:
        for number in range(20_000):
            store.fail(row(number), failure())
        assert len(store._failures) < 20_000


def test_only_the_owner_can_read_the_files_whatever_the_umask(directory: Path) -> None:
    before = os.umask(0)
    try:
        with Store.open(directory) as store:
            add(store, 1)
            store.save()
            modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
            store.finish(complete=True)
    finally:
        os.umask(before)
    modes |= {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert {"journal.sqlite-wal", "manifest.json", "lock"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert directory.stat().st_mode & 0o777 == 0o700


def test_two_runs_do_not_share_a_directory(directory: Path) -> None:
    with Store.open(directory):
        assert "another run is writing here" in refusal(directory)
    Store.open(directory).close()


@pytest.mark.parametrize("change", ["append", "same size", "remove"])
@pytest.mark.parametrize("which", ["operations", "executions", "manifest"])
def test_a_directory_with_files_changed_since_is_refused(
    directory: Path, change: str, which: str
) -> None:
    written(directory, 1)
    (path,) = directory.glob(f"{which}*.*")
    data = path.read_bytes()
    if change == "remove":
        path.unlink()
    else:
        path.write_bytes(data + b" " if change == "append" else b" " + data[1:])
    found = refusal(directory)
    assert path.name in found
    # A manifest that is no JSON any more is damaged, whoever did it.
    assert any(each in found for each in ("changed since", "is missing", "is damaged"))


def test_a_copy_of_a_directory_is_the_same_audit(directory: Path, tmp_path: Path) -> None:
    written(directory, 1)
    copied = tmp_path / "copy"
    copied.mkdir()
    for path in directory.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())  # with times of its own
    written(copied, 2)
    assert rows(copied, "executions", "arn") == [(arn(1),), (arn(2),)]


@pytest.mark.parametrize("where", ["manifest", "journal"])
def test_a_directory_of_another_schema_version_is_refused(directory: Path, where: str) -> None:
    written(directory, 1)
    if where == "manifest":
        path = directory / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    else:
        with sqlite3.connect(directory / "journal.sqlite") as database:
            database.execute("UPDATE setting SET value = '99' WHERE name = 'schema_version'")
        database.close()
    assert "its schema version is 99, and this durastate's is 1" in refusal(directory)


@pytest.mark.parametrize("options", [{"format": "jsonl"}, {"payloads": "size"}])
def test_another_format_or_other_payloads_are_refused(
    directory: Path, options: dict[str, Any]
) -> None:
    written(directory, 1)
    assert "was begun as parquet with payloads none" in refusal(directory, **options)


def test_a_directory_with_something_else_is_refused(directory: Path) -> None:
    directory.mkdir()
    (directory / "notes.txt").write_text("mine")
    assert "something else than an audit" in refusal(directory)
    assert names(directory) == {"notes.txt"}


@pytest.mark.parametrize("content", [b"no database at all, but long enough to look", b"other"])
def test_a_journal_that_is_none_is_refused(directory: Path, content: bytes) -> None:
    directory.mkdir()
    path = directory / "journal.sqlite"
    if content == b"other":
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE x (y)")
        database.close()
    else:
        path.write_bytes(content)
    found = refusal(directory)
    assert "journal.sqlite is damaged" in found or "journal.sqlite is no journal" in found


def test_without_its_journal_an_audit_is_not_gone_on_with(directory: Path) -> None:
    written(directory, 1)
    (directory / "journal.sqlite").unlink()
    assert "can be read and not gone on with" in refusal(directory)


def test_files_of_others_stay_where_they_are(directory: Path) -> None:
    written(directory, 1)
    mine = directory / "operations-999999.parquet"
    mine.write_text("mine")
    written(directory, 2)
    assert mine.read_text() == "mine"


def test_a_file_that_stands_where_a_part_would_go_is_not_overwritten(directory: Path) -> None:
    with Store.open(directory) as store:
        mine = directory / "operations-000001.parquet"
        mine.write_text("mine")
        add(store, 1)
        with pytest.raises(DirectoryError, match="is in the way"):
            store.save()
    assert mine.read_text() == "mine"


def test_a_link_to_nothing_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(DirectoryError, match="is a symbolic link to nothing"):
        Store.open(tmp_path / "link")


def test_a_directory_in_which_nothing_was_begun_is_left_as_it_was(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    for directory in (there, tmp_path / "new" / "one"):
        with Store.open(directory):
            assert (directory / "lock").exists()
    assert list(there.iterdir()) == []
    assert not (tmp_path / "new" / "one").exists()
    with Store.open(there) as store:
        add(store, 1)
        store.finish(complete=True)
    with Store.open(there):
        pass
    assert list(verify(there)) == []
