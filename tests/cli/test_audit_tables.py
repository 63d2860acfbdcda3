"""`durastate verify` and `durastate query`: what they print, and how they end."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from audit.support import add, arn, failure, row, state, step

from durastate.audit import Store
from durastate.cli.signals import ends_tidily

from .conftest import Invoke
from .support import environment, finish, mode, start, wait_until

# Names that others have given.
NAMES = (
    "=1+1",
    "+1",
    "-1",
    "@x",
    " =1",
    "\x1b[2Jgone",
    "a\u202eb",
    "two\nlines",
    'quo"te',
    "Grüße",
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "audit"
    with Store.open(made) as store:
        add(store, 1)
        add(store, 2, status="RUNNING")
        store.add(row(4), state(4, [step(at, Name=name) for at, name in enumerate(NAMES)]))
        store.fail(row(3), failure())
        store.finish(complete=True)
    return made


def test_verify_says_that_all_is_well(invoke: Invoke, directory: Path) -> None:
    done = invoke("verify", directory)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(
        "As it was written: 3 files, 3 executions, 16 operations, 1 failures.\nDigest: "
    )


def test_verify_says_that_a_run_was_broken_off(invoke: Invoke, tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as store:
        add(store, 1)
        store.finish(complete=False)
    done = invoke("verify", tmp_path / "a")
    assert (done.code, "The run was broken off" in done.out) == (0, True)


def test_verify_names_what_is_wrong(invoke: Invoke, directory: Path) -> None:
    (path,) = directory.glob("operations-*")
    path.unlink()
    done = invoke("verify", directory)
    assert (done.code, done.err) == (2, "")
    assert done.out.splitlines() == [
        f"{path.name}: is missing",
        "Not as it was written: 1 problem found",
    ]


@pytest.mark.parametrize("command", [("verify",), ("query", "select 1")])
def test_what_is_no_audit_is_one_line(
    invoke: Invoke, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("mine")
    for where, why in (
        (tmp_path, "no manifest.json: no audit was written here"),
        (tmp_path / "not there", "there is no such directory"),
        (tmp_path / "file", "is no directory"),
    ):
        done = invoke(command[0], where, *command[1:])
        assert (done.code, done.out) == (252, "")
        assert done.err == f"durastate: {where}: {why}\n"


@pytest.fixture(params=["parquet", "jsonl"])
def killed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A first audit that was killed: read in several parts, one twice, one not read yet."""
    made = tmp_path / "killed"
    with Store.open(made, format=request.param, part_operations=3) as store:
        store.begin({}, {})
        store.plan(row(number) for number in (1, 2, 5))
        add(store, 1)
        add(store, 2, status="RUNNING")
        add(store, 2, 4, status="RUNNING")
        store.fail(row(3), failure())
        store.save()
    return made


SAVED = (
    "Partial: 2 executions are saved, 1 could not be read, 1 are planned and not read yet; what "
    "is not listed yet is not counted.\n"
)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("table", "n  m  partial\n-  -  -------\n2  7  true\n"),
        ("json", '[\n{"n":2,"m":7,"partial":true}\n]\n'),
        ("csv", '"n","m","partial"\n2,7,true\n'),
    ],
)
def test_what_an_audit_that_was_killed_has_saved_is_read_on_demand_and_marked(
    invoke: Invoke, killed: Path, output: str, expected: str
) -> None:
    sql = "select count(distinct arn) as n, count(*) as m from operations"
    done = invoke("query", killed, sql, "--partial", "--format", output)
    assert (done.code, done.out, done.err) == (0, expected, SAVED)
    done = invoke("query", killed, "select 1 from failures", "--partial", "--format", output)
    assert (done.code, "partial" in done.out) == (0, True)


def test_show_reads_what_was_saved_and_says_so(invoke: Invoke, killed: Path) -> None:
    done = invoke("show", killed, "order-2", "--partial")
    assert (done.code, done.err) == (0, SAVED)
    assert done.out.startswith("Partial: ")
    assert "4 operations" in done.out


@pytest.mark.parametrize(
    "command", [("verify",), ("query", "select 1"), ("show", "order-1")], ids=lambda each: each[0]
)
def test_an_audit_that_was_killed_is_told_from_none(
    invoke: Invoke, killed: Path, command: tuple[str, ...]
) -> None:
    done = invoke(command[0], killed, *command[1:])
    assert (done.code, done.out, len(done.err.splitlines())) == (252, "", 1)
    assert "the first audit here has not come to its end. The same command goes on" in done.err
    assert "--partial" in done.err


def test_partial_needs_an_audit_that_was_begun(invoke: Invoke, tmp_path: Path) -> None:
    for where, why in ((tmp_path, "no audit was written here"), (tmp_path / "x", "no such")):
        done = invoke("query", where, "select 1", "--partial")
        assert (done.code, done.out, why in done.err) == (252, "", True)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_broken_off_is_not_taken_for_all(invoke: Invoke, tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as store:
        add(store, 1)
        store.finish(complete=False)
    for command in (("query", "select 1"), ("show", "order-1")):
        done = invoke(command[0], tmp_path / "a", *command[1:])
        assert (done.code, done.err.startswith("The run was broken off")) == (0, True)


def test_a_table_is_in_columns(invoke: Invoke, directory: Path) -> None:
    sql = "select status, count(*) as n, null as none from executions group by 1 order by 2"
    done = invoke("query", directory, sql)
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "status     n  none\n---------  -  ----\nRUNNING    1  NULL\nSUCCEEDED  2  NULL\n"
    )


def test_a_table_cuts_what_is_long_and_shows_no_control_character(
    invoke: Invoke, directory: Path
) -> None:
    done = invoke("query", directory, "select name from operations")
    assert done.out.replace("\n", "").isprintable()
    assert "\\x1b[2Jgone" in done.out
    assert "two\\nlines" in done.out
    done = invoke("query", directory, "select repeat('x', 2000) as a, 1 as b")
    assert done.out.splitlines()[-1] == "x" * 1023 + "…  1"


@pytest.mark.parametrize(("columns", "is_wide"), [(40, False), (120, True)])
def test_a_terminal_too_narrow_for_the_columns_gets_a_line_for_each_value(
    invoke: Invoke,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    is_wide: bool,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    sql = "select arn, null as x, status from executions where name in ('order-1', 'order-2')"
    lines = invoke("query", directory, f"{sql} order by arn").out.splitlines()
    if is_wide:
        assert lines[2] == f"{arn(1)}  NULL  SUCCEEDED"
    else:
        first = ["- row 1 -", f"arn     {arn(1)}", "x       NULL", "status  SUCCEEDED"]
        second = ["- row 2 -", f"arn     {arn(2)}", "x       NULL", "status  RUNNING"]
        assert lines == first + second


def test_into_a_file_no_arn_is_cut(invoke: Invoke, directory: Path) -> None:
    long_arn = arn(1).replace("orders", "o" * 140)
    done = invoke("query", directory, f"select '{long_arn}' as arn, 1 as n")
    assert done.out.splitlines()[-1] == f"{long_arn}  1"


def test_a_plan_is_drawn_over_its_lines(invoke: Invoke, directory: Path) -> None:
    done = invoke("query", directory, "explain select count(*) from executions")
    assert (done.code, "\\n" in done.out) == (0, False)
    assert len({len(line) for line in done.out.splitlines()}) == 1  # boxes
    assert len(done.out.splitlines()) > 5


def test_columns_line_up_where_characters_are_two_columns_wide(
    invoke: Invoke, directory: Path
) -> None:
    sql = "select unnest(['世界', 'abcd', 'e']) as a, 1 as n"
    lines = invoke("query", directory, sql).out.splitlines()
    assert lines[1:] == ["----  -", "世界  1", "abcd  1", "e     1"]


def test_csv_has_no_formula_and_no_control_character(invoke: Invoke, directory: Path) -> None:
    sql = "select name, -1 as number, null as none from operations where arn like '%order-4%'"
    done = invoke("query", directory, f"{sql} order by sequence", "--format", "csv")
    found = list(csv.reader(io.StringIO(done.out)))
    assert found[0] == ["name", "number", "none"]
    assert [each[0] for each in found[1:]] == [
        *("'=1+1", "'+1", "'-1", "'@x", "' =1"),
        *("\\x1b[2Jgone", "a\\u202eb", "two\\nlines", 'quo"te', "Grüße"),
    ]
    assert {tuple(each[1:]) for each in found[1:]} == {("-1", "")}
    assert {line.count('"') >= 2 for line in done.out.splitlines()} == {True}


def test_csv_has_no_formula_whatever_a_spreadsheet_takes_for_the_separator(
    invoke: Invoke, directory: Path
) -> None:
    texts = ["name;=1+1", "x|@y", "a,+1", "a;\t=1", 'a; "=1+1"', "a;\uff1d1", ";-1", "a;b=c", "-x"]
    literals = ", ".join(f"'{text}'" for text in texts)
    sql = f"select unnest([{literals}]) as a, 1 as n, a as b, [a] as many, {{'k': a}} as \"c;=1\""
    done = invoke("query", directory, sql, "--format", "csv")
    assert done.code == 0
    for separator in ",;|\t":
        rows = csv.reader(io.StringIO(done.out), delimiter=separator)
        cells = [cell.lstrip(' \t"') for row in rows for cell in row]
        assert [cell for cell in cells if cell[:1] in tuple("=+-@\uff1d")] == []
    assert done.out.splitlines()[8] == '"a;b=c",1,"a;b=c","[\'a;b=c\']","{\'k\': \'a;b=c\'}"'


def test_json_is_one_array_with_everything_as_it_is(invoke: Invoke, directory: Path) -> None:
    sql = "select name, started_at from operations where arn like '%order-4%' order by sequence"
    done = invoke("query", directory, sql, "--format", "json")
    found = json.loads(done.out)
    assert [each["name"] for each in found] == list(NAMES)
    assert found[0]["started_at"] == "2026-01-02T03:04:05.678Z"
    assert (
        json.loads(invoke("query", directory, "from failures where false", "--format", "json").out)
        == []
    )


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("table", ["1", "day", "09:12:45.5", "0.1", "NULL"]),
        ("csv", ['"1', 'day","09:12:45.5",0.1,']),
        ("json", ['{"a":"P1D","b":"PT9H12M45.5S","c":0.1,"d":null}']),
    ],
)
def test_intervals_are_readable(
    invoke: Invoke, directory: Path, output: str, expected: list[str]
) -> None:
    values = "interval '1 day' as a, interval '9 hours 12 minutes 45.5 seconds' as b"
    sql = f"select {values}, 0.1::float as c, null as d"
    done = invoke("query", directory, sql, "--format", output)
    assert expected in [line.split() for line in done.out.splitlines()]


def test_sql_of_another_encoding_is_one_line(invoke: Invoke, directory: Path) -> None:
    done = invoke("query", directory, "select '\udcff'")
    assert (done.code, done.out, done.err) == (252, "", "durastate: the SQL is not in UTF-8\n")


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_columns_of_one_name_are_all_there(invoke: Invoke, directory: Path, output: str) -> None:
    done = invoke("query", directory, "select 1 as a, 2 as a", "--format", output)
    assert done.code == 0
    assert ("1" in done.out, "2" in done.out) == (True, True)


@pytest.mark.parametrize(
    "sql", ["selec", "drop view operations", "select * from '/etc/passwd'", "select 'x'::int"]
)
def test_a_query_that_is_refused_is_one_line(invoke: Invoke, directory: Path, sql: str) -> None:
    done = invoke("query", directory, sql)
    assert done.code == 252
    assert done.err.startswith("durastate: ")
    assert len(done.err.splitlines()) == 1


def test_a_reader_that_goes_away_is_no_traceback(directory: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sql = "select o.* from operations o, range(1000)"
    process = start("query", directory, sql, env=environment(""), stdout=writing)
    os.close(writing)
    assert (process.wait(30), finish(process).err) == (255, "")


def test_ctrl_c_ends_a_long_query(directory: Path) -> None:
    sql = (
        "select 1 union all select max(a.range * b.range) from range(1000000) a, range(10000000) b"
    )
    process = start(
        "query", directory, sql, "--format", "csv", env=environment("", PYTHONUNBUFFERED="1")
    )
    wait_until_busy(process)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert (done.code, done.err.strip()) == (130, "durastate: interrupted")


LONG = bool(os.environ.get("DURASTATE_LONG"))
SIGNALS = (signal.SIGTERM, *(signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM) * LONG)


@pytest.fixture
def secrets_in_lines(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "lines", format="jsonl", payloads="full") as store:
        add(store, 1)
        store.finish(complete=True)
    return tmp_path / "lines"


def query_for_long(directory: Path, temporary: Path) -> subprocess.Popen[bytes]:
    """A query that has opened the tables and goes on."""
    temporary.mkdir(exist_ok=True)
    env = environment("", TMPDIR=str(temporary))
    sql = "select max(a.range * b.range) from range(1000000) a, range(10000000) b"
    process = start("query", directory, sql, env=env)
    wait_until(lambda: any(directory.glob(".query-*")), process)
    return process


@pytest.mark.parametrize("number", SIGNALS)
def test_nothing_of_a_query_stays_behind_a_signal(
    secrets_in_lines: Path, tmp_path: Path, number: signal.Signals
) -> None:
    before = {path.name for path in secrets_in_lines.iterdir()}
    process = query_for_long(secrets_in_lines, tmp_path / "temporary")
    process.send_signal(number)
    done = finish(process)
    assert (done.code, done.out) == (-number, "")
    assert {path.name for path in secrets_in_lines.iterdir()} == before
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_sigkill_leaves_of_a_query_is_private_and_goes_at_the_next_opening(
    invoke: Invoke, secrets_in_lines: Path, tmp_path: Path
) -> None:
    before = {path.name for path in secrets_in_lines.iterdir()}
    process = query_for_long(secrets_in_lines, tmp_path / "temporary")
    (folder,) = secrets_in_lines.glob(".query-*")
    assert invoke("query", secrets_in_lines, "select 1").code == 0
    assert folder.exists()  # it is in use
    process.kill()
    finish(process)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert (mode(folder), list(folder.iterdir())) == ("700", [])
    (folder / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("spilled")
    assert invoke("query", secrets_in_lines, "select 1").code == 0
    assert {path.name for path in secrets_in_lines.iterdir()} == before


def test_what_is_written_meanwhile_is_private_and_the_first_signal_is_the_last(
    tmp_path: Path,
) -> None:
    def interrupted_and_terminated() -> None:
        with ends_tidily():
            (tmp_path / "aside").write_text("payload")
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                signal.raise_signal(signal.SIGTERM)

    handler, mask = signal.getsignal(signal.SIGTERM), os.umask(0o022)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_and_terminated()
        assert mode(tmp_path / "aside") == "600"
        assert signal.getsignal(signal.SIGTERM) is handler
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(mask)


def wait_until_busy(process: subprocess.Popen[bytes]) -> None:
    """Until DuckDB computes: its threads have used more time than the start takes."""
    pause = threading.Event()
    stat = Path(f"/proc/{process.pid}/stat")
    for _ in range(3_000):
        assert process.poll() is None, process.communicate()
        used = sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))
        if used > 120:  # hundredths of a second
            return
        pause.wait(0.01)
    process.kill()
    raise AssertionError(f"it did not begin: {process.communicate()}")


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("pyarrow", ("verify",)),
        ("pyarrow", ("query", "select 1")),
        ("duckdb", ("query", "select 1")),
        ("pyarrow", ("show", "order-1")),
        ("duckdb", ("show", "order-1")),
    ],
)
def test_without_its_extra_a_command_says_what_to_install(
    invoke: Invoke,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
    command: tuple[str, ...],
) -> None:
    for name in [name for name in sys.modules if name.startswith("durastate.audit")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    done = invoke(command[0], directory, *command[1:])
    assert (done.code, done.out) == (255, "")
    assert (
        done.err
        == f"durastate: this needs {missing}: pip install '.[audit]' in durastate's clone\n"
    )
