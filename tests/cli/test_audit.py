"""`durastate audit`: what each option changes, what it prints, how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from audit.support import add
from client.wires import Authority

from durastate.audit import Store, read_manifest
from durastate.audit.query import query
from durastate.emulator import Call, Emulator, Execution, Fault, FaultKind, FaultPlan, World

from .conftest import Invoke
from .support import KEYS, environment, finish, mode, serving, start

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:order-flow"


def rows(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    with query(directory, sql) as answer:
        return [tuple(each.values()) for batch in answer for each in batch.to_pylist()]


def arns(directory: Path) -> set[str]:
    return {arn for (arn,) in rows(directory, "select arn from executions")}


def indices(service: Emulator, directory: Path) -> set[int | None]:
    return {service.world.index_of(arn) for arn in arns(directory)}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "audit"


# What is read


def test_all_versions_of_a_function_are_read_and_all_adds_up(
    invoke: Invoke, service: Emulator, out: Path
) -> None:
    done = invoke("audit", "order-flow", "-o", out)
    assert done.code == 0, done.err
    expected = set(range(0, 30, 4))
    assert indices(service, out) == expected
    assert done.out.startswith("8 found = 0 read before + 8 read + 0 failed + 0 not attempted\n")
    assert "In the directory: 8 executions\n" in done.out
    groups = re.findall(r"^ +([\d,]+)  order-flow:\S+  [A-Z_]+$", done.out, re.MULTILINE)
    assert sum(map(int, groups)) == 8
    manifest = read_manifest(out)
    assert manifest.complete
    assert f"Digest: {manifest.digest}" in done.out
    operations = rows(out, "select count(*) from operations")[0][0]
    assert operations == sum(len(service.world.all_operations(index)) for index in expected)
    assert {mode(path) for path in out.iterdir()} == {"600"}
    statuses = dict(rows(out, "select arn, status from executions"))
    assert statuses == {service.world.arn(at): service.world.status(at) for at in expected}
    assert invoke("verify", out).code == 0


def test_versions_arns_and_several_functions_in_one_run(
    invoke: Invoke, service: Emulator, out: Path
) -> None:
    one = service.world.arn(3)
    assert invoke("audit", f"{FUNCTION}:$LATEST", "invoice-run", one, "-o", out).code == 0
    of_latest = {at for at in range(0, 30, 4) if at // 4 % 4 == 1}
    assert indices(service, out) == {*of_latest, *range(1, 30, 4), 3}


def test_an_alias_is_resolved_to_its_versions(
    invoke: Invoke, service: Emulator, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def with_an_alias(self: Emulator, request: web.BaseRequest) -> web.StreamResponse:
        if "/aliases/" not in request.path:
            return await unpatched(self, request)
        asked.append(f"{request.method} {request.path}")
        if not request.path.endswith("/live"):
            return web.json_response(
                {"Message": "no such alias"},
                status=404,
                headers={"x-amzn-errortype": "ResourceNotFoundException"},
            )
        weights = {"AdditionalVersionWeights": {"12": 0.1}}
        return web.json_response({"FunctionVersion": "7", "RoutingConfig": weights})

    unpatched = Emulator._handle
    monkeypatch.setattr(Emulator, "_handle", with_an_alias)
    with serving(service.world) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        assert invoke("audit", "order-flow:live", "-o", out).code == 0
        versions = {version for (version,) in rows(out, "select version from executions")}
        done = invoke("audit", "order-flow:dead", "-o", out)
    assert versions == {"7", "12"}
    assert asked[0] == "GET /2015-03-31/functions/order-flow/aliases/live"
    assert (done.code, len(done.err.splitlines())) == (252, 1)
    assert "order-flow:dead: there is no such function, version or alias" in done.err


def test_the_embedded_service_says_that_it_has_no_aliases(invoke: Invoke, out: Path) -> None:
    done = invoke("audit", "order-flow:prod", "-o", out)
    assert (done.code, "no aliases (GetAlias)" in done.err) == (254, True)


def test_from_reads_names_arns_and_refs_of_a_file_or_stdin(
    invoke: Invoke, service: Emulator, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = service.world
    (tmp_path / "list").write_text(
        f"claims\n\n{world.arn(0)}\n"
        + json.dumps({"arn": world.arn(1), "checkpoint_token": world.token(1)})
        + "\n"
        + json.dumps({"DurableExecutionArn": world.arn(2)})
    )
    assert invoke("audit", "--from", tmp_path / "list", "-o", out).code == 0
    assert indices(service, out) == {*range(3, 30, 4), 0, 1, 2}
    env = environment(service.endpoint_url)
    process = start("audit", "--from", "-", "-o", tmp_path / "b", env=env, stdin=subprocess.PIPE)
    done = finish(process, world.arn(5).encode())
    assert (done.code, indices(service, tmp_path / "b")) == (0, {5})
    for path in out.iterdir():
        assert world.token(1).encode() not in path.read_bytes()


def test_status_chooses(invoke: Invoke, service: Emulator, out: Path) -> None:
    assert invoke("audit", "order-flow", "claims", "--status", "RUNNING", "-o", out).code == 0
    every = [*range(0, 30, 4), *range(3, 30, 4)]
    expected = {at for at in every if service.world.status(at) == "RUNNING"}
    assert indices(service, out) == expected
    assert len(expected) < len(every)
    assert (
        invoke(
            "audit",
            "order-flow",
            "claims",
            "--status",
            "FAILED,TIMED_OUT,SUCCEEDED,STOPPED",
            "-o",
            out,
        ).code
        == 0
    )
    assert indices(service, out) == set(every)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # They start 37.5 s after one another.
        (("--since", "2026-01-01T00:10:00Z"), {16, 20, 24, 28}),
        (("--until", "2026-01-01T00:05:00"), {0, 4, 8}),
        (("--since", "2026-01-01T01:04+01:00", "--until", "2026-01-01T00:09Z"), {8, 12}),
        (("--since", "1s"), set()),
        (("--since", "5200w", "--until", "5000w"), set()),
    ],
)
def test_since_and_until_choose(
    invoke: Invoke, service: Emulator, out: Path, options: tuple[str, ...], expected: set[int]
) -> None:
    assert invoke("audit", "order-flow", *options, "-o", out).code == 0
    assert indices(service, out) == expected


def test_plan_says_what_it_costs_and_asks_for_no_history(
    invoke: Invoke, service: Emulator, out: Path
) -> None:
    done = invoke("audit", "order-flow", "--plan", "--quota-share", "0.5")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "8 executions found: 8 to read, 0 read before. Finding them took 2 requests.",
        "Reading takes about 8 requests of GetDurableExecutionHistory:",
        (
            "  eu-west-1: 8 executions, about 8 requests at 7.5/s, 50% of the quota of 15/s "
            "published: the endpoint is no AWS endpoint; 1.1 s"
        ),
        (
            "Time: about 1.1 s. Disk: about 0.0 MB. "
            "Estimated at 20 operations per execution (a guess)."
        ),
    ]
    assert {each.call for each in service.log} == {Call.LIST}
    assert not out.exists()
    assert invoke("audit", "order-flow", "--limit", "3", "-o", out).code == 0
    service.log.clear()
    done = invoke("audit", "order-flow", "--plan", "-o", out)
    assert done.out.startswith("8 executions found: 5 to read, 3 read before.")
    assert {each.call for each in service.log} == {Call.LIST}


def test_a_plan_removes_and_changes_nothing(invoke: Invoke, out: Path) -> None:
    with Store.open(out) as store:
        add(store, 1)
        store.save()
        _, name = store._journal.announce("operations", "parquet")
    (out / name).write_text("left over by a run that was killed")
    (out / ".manifest.json.tmp").write_text("the same")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert invoke("audit", "order-flow", "--plan", "-o", out).code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_function_that_does_not_exist_ends_no_audit_of_others(invoke: Invoke, out: Path) -> None:
    done = invoke("audit", "order-flow", "gone", "--plan", "-o", out)
    assert (done.code, "8 executions found" in done.out) == (2, True)
    assert done.err.startswith("gone cannot be listed, so none of its executions were read: ")
    done = invoke("audit", "order-flow", "gone", "-o", out, "--quiet")
    assert (done.code, done.err) == (2, "")
    assert done.out.startswith("8 found = 0 read before + 8 read + 0 failed + 0 not attempted\n")
    assert "Could not be read: 0 executions; could not be listed: 1 function\n" in done.out
    assert rows(out, "select arn, error, source from failures") == [
        ("gone", "FunctionNotFoundError", "list")
    ]
    assert read_manifest(out).complete
    done = invoke("audit", "gone", "-o", out)
    assert (done.code, "there is no such function" in done.err) == (252, True)


def test_the_plan_is_shown_before_a_run_unless_it_is_quiet(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("audit", "order-flow", "-o", tmp_path / "a")
    assert done.err.startswith("8 executions found: 8 to read, 0 read before.")
    done = invoke("audit", "order-flow", "-o", tmp_path / "b", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("8 found = 0 read before + 8 read")


def test_sample_and_limit_bound_what_is_read(
    invoke: Invoke, service: Emulator, tmp_path: Path
) -> None:
    assert invoke("audit", "order-flow", "--sample", "3", "-o", tmp_path / "a").code == 0
    assert len(arns(tmp_path / "a")) == 3
    assert invoke("audit", "order-flow", "--limit", "3", "-o", tmp_path / "c").code == 0
    assert indices(service, tmp_path / "c") == {28, 24, 20}


def test_max_duration_leaves_the_rest_for_the_same_command(invoke: Invoke, out: Path) -> None:
    command = ("audit", "order-flow", "-o", out, "--max-duration")
    done = invoke(*command, "0.001s")
    assert (done.code, read_manifest(out).complete) == (130, False)
    assert "0 read + 0 failed" in done.out
    assert f"The same command resumes it: durastate audit order-flow -o {out}" in done.err
    done = invoke(*command, "1h")
    assert (done.code, read_manifest(out).complete) == (0, True)
    assert len(arns(out)) == 8


@pytest.mark.parametrize("kept", ["none", "hash", "full"])
def test_payloads_are_written_as_asked_for_and_error_types_always(
    invoke: Invoke, service: Emulator, out: Path, kept: str
) -> None:
    assert invoke("audit", "order-flow", "-o", out, "--payloads", kept).code == 0
    sql = "select count(result), count(result_size), count(result_sha256), count(error_type) "
    ((full, sized, hashed, errors),) = rows(out, f"{sql} from operations")
    assert (full > 0, sized > 0, hashed > 0) == (
        kept == "full",
        kept in ("size", "hash"),
        kept == "hash",
    )
    expected = sum(
        1
        for at in range(0, 30, 4)
        for each in service.world.all_operations(at)
        for name, details in each.items()
        if name.endswith("Details") and "Error" in details
    )
    assert errors >= expected > 0


def test_format_is_that_of_the_tables(invoke: Invoke, service: Emulator, tmp_path: Path) -> None:
    digests = set()
    for name in ("parquet", "jsonl"):
        done = invoke("audit", "order-flow", "-o", tmp_path / name, "--format", name)
        assert done.code == 0
        assert list((tmp_path / name).glob(f"executions-*.{name}"))
        digests.add(read_manifest(tmp_path / name).digest)
    assert len(digests) == 1


def test_paused_executions_are_chosen_kept_and_not_read_anew_by_every_run(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--status` takes names in small letters too."""
    statuses = {"PAUSED": 2, "PAUSING": 1, "DELETING": 1, "RUNNING": 1, "FAILED": 1}
    world = World(seed=1, executions=24, operations=4, functions=("f",), statuses=statuses)
    of = {status: {at for at in range(24) if world.status(at) == status} for status in statuses}
    assert all(of.values())
    out, chosen = tmp_path / "a", tmp_path / "b"
    with serving(world, history_by_time=True) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)

        def asked(*options: str | Path) -> set[int | None]:
            emulator.log.clear()
            assert invoke("audit", "f", *options).code == 0
            arns = [each.arn for each in emulator.log if each.call is Call.HISTORY]
            return {world.index_of(arn or "") for arn in arns}

        assert asked("-o", out) == set(range(24))
        found = dict(rows(out, "select arn, status from executions"))
        assert found == {world.arn(at): world.status(at) for at in range(24)}
        assert asked("-o", out) == set()
        # What is deleted or has ended says nothing new; waits go on while an execution is paused.
        assert asked("-o", out, "--refresh") == of["PAUSED"] | of["PAUSING"] | of["RUNNING"]
        assert asked("-o", chosen, "--status", "paused,Deleting") == of["PAUSED"] | of["DELETING"]


def test_the_order_of_events_changes_nothing_of_an_audit(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service sends them by time, in which two of one millisecond come against their ids."""
    world = World(seed=6, executions=16, operations=25, functions=("f",))
    digests = set()
    for by_time in (False, True):
        out = tmp_path / str(by_time)
        with serving(world, history_by_time=by_time) as emulator:
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
            assert invoke("audit", "f", "-o", out, "--max-items", "9").code == 0
        digests.add(read_manifest(out).digest)
    assert len(digests) == 1


def test_refresh_reads_running_executions_anew_and_closed_ones_never(
    invoke: Invoke, service: Emulator, out: Path
) -> None:
    running = [at for at in range(0, 30, 4) if service.world.status(at) == "RUNNING"]
    for options, expected in (((), 8), ((), 0), (("--refresh",), len(running))):
        service.log.clear()
        assert invoke("audit", "order-flow", "-o", out, *options).code == 0
        asked = [each.arn for each in service.log if each.call is Call.HISTORY]
        assert len(asked) == expected
    assert set(asked) == {service.world.arn(at) for at in running}


# Where to, and how fast


def test_max_items_is_the_size_of_every_page(invoke: Invoke, service: Emulator, out: Path) -> None:
    assert invoke("audit", "order-flow", "-o", out, "--max-items", "5").code == 0
    # One execution is enough to see that a function exists.
    assert {(each.call, each.max_items) for each in service.log} == {
        (Call.LIST, 1),
        (Call.LIST, 5),
        (Call.HISTORY, 5),
    }


@pytest.mark.parametrize("option", [("--rate", "20"), ("--quota-share", "1")])
def test_rate_and_quota_share_hold_the_histories_back(
    invoke: Invoke, service: Emulator, out: Path, option: tuple[str, str]
) -> None:
    assert invoke("audit", "order-flow", "-o", out, *option).code == 0
    times = [each.at for each in service.log if each.call is Call.HISTORY]
    assert len(times) == 8
    assert times[-1] - times[0] > 0.9 * 7 / 20


def test_without_a_ceiling_they_go_at_once(invoke: Invoke, service: Emulator, out: Path) -> None:
    assert invoke("audit", "order-flow", "-o", out, "--quota-share", "none").code == 0
    times = [each.at for each in service.log if each.call is Call.HISTORY]
    assert times[-1] - times[0] < 0.3


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys stand in one profile; another has keys that nobody knows."""
    good = f"aws_access_key_id = {KEYS['AWS_ACCESS_KEY_ID']}\n"
    good += f"aws_secret_access_key = {KEYS['AWS_SECRET_ACCESS_KEY']}\n"
    bad = "aws_access_key_id = nobodys\naws_secret_access_key = nothing\n"
    (tmp_path / "config").write_text(
        f"[profile good]\nregion = eu-north-1\n{good}[profile bad]\nregion = eu-north-1\n{bad}"
    )
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


@pytest.mark.usefixtures("profiles")
def test_profile_and_profile_map_bring_the_credentials(invoke: Invoke, tmp_path: Path) -> None:
    def audit(*options: str) -> int:
        return invoke("audit", f"{FUNCTION}:7", "-o", tmp_path / "a", *options).code

    assert audit("--profile", "nobody") == 253
    assert audit("--profile", "bad") == 253
    assert audit("--profile", "good") == 0
    assert audit("--profile", "bad", "--profile-map", "123456789012=good") == 0
    assert audit("--profile", "good", "--profile-map", "123456789012=bad") == 253


def test_region_is_for_what_is_no_arn(
    invoke: Invoke, service: Emulator, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke("audit", "order-flow", "--region", "sa-east-1", "-o", out).code == 252
    assert {each.region for each in service.log} == {"sa-east-1"}
    assert invoke("audit", FUNCTION, "--region", "sa-east-1", "-o", out).code == 0
    monkeypatch.delenv("AWS_REGION")
    assert invoke("audit", "order-flow", "-o", out).code == 253


def test_endpoint_url_goes_before_the_environment(
    invoke: Invoke, service: Emulator, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    limited = ("--outage-limit", "0.2")
    done = invoke("audit", "claims", "-o", out, *limited)
    assert (done.code, "127.0.0.1:9" in done.err) == (254, True)
    done = invoke("audit", "claims", "-o", out, "--endpoint-url", service.endpoint_url)
    assert done.code == 0


def test_ca_bundle_says_whom_to_trust(
    invoke: Invoke, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Authority(tmp_path, "theirs")
    with serving(World(executions=2), ssl_context=theirs.server_context()) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        assert invoke("audit", "order-flow", "-o", out, "--outage-limit", "0.2").code == 254
        assert invoke("audit", "order-flow", "-o", out, "--ca-bundle", theirs.bundle).code == 0


# How it ends


def test_what_could_not_be_read_is_listed_and_the_exit_code_says_so(
    invoke: Invoke, service: Emulator, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = FaultPlan(on={0: Fault(FaultKind.NOT_FOUND), 8: Fault(FaultKind.KMS_DISABLED)})
    with serving(service.world, faults) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        done = invoke("audit", "order-flow", "-o", out)
    assert done.code == 2
    assert "8 found = 0 read before + 6 read + 2 failed + 0 not attempted" in done.out
    listed = done.out.partition("Could not be read: 2 executions\n")[2]
    assert "1  EncryptionKeyError: KMSDisabledException: The KMS key is disabled. (requ" in listed
    assert "1  ExecutionNotFoundError: ResourceNotFoundException: " in listed
    assert "Check the state and the policy of the function's KMS key\n" in listed  # its last words
    assert [listed.count(service.world.arn(at)) for at in (0, 8)] == [1, 1]
    shown = invoke("show", out, service.world.arn(8)).err
    assert shown.count(service.world.arn(8)) == 1
    assert "could not be read: EncryptionKeyError: KMSDisabledException: The KMS" in shown
    assert rows(out, "select count(*) from failures") == [(2,)]
    # Another run tries them again.
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", service.endpoint_url)
    assert invoke("audit", "order-flow", "-o", out).code == 0
    assert rows(out, "select count(*) from failures") == [(0,)]


def test_faults_that_pass_change_nothing(
    invoke: Invoke, service: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke("audit", "order-flow", "-o", tmp_path / "a", "--max-items", "4").code == 0
    with serving(service.world, FaultPlan(seed=3, rate=0.05)) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        done = invoke("audit", "order-flow", "-o", tmp_path / "b", "--max-items", "4")
        assert sum(each.fault is not None for each in emulator.log) > 2
    assert done.code == 0
    assert read_manifest(tmp_path / "a").digest == read_manifest(tmp_path / "b").digest


def test_the_summary_names_errors_the_longest_and_the_most_retried(
    invoke: Invoke, service: Emulator, out: Path
) -> None:
    done = invoke("audit", "order-flow", "-o", out)
    for part in (
        "What failed in them, by type of error:\n",
        "What took longest, or has so far:\n",
        "Most attempts after the first:\n",
    ):
        assert part in done.out
    errors = re.findall(r"^ +([\d,]+)  (\S+), in (\d+) exec", done.out, re.MULTILINE)
    sql = """select error_type, count(*), count(distinct arn) from operations
             where status in ('FAILED', 'TIMED_OUT') group by 1"""
    expected = {(str(n), name, str(k)) for name, n, k in rows(out, sql)}
    assert set(errors) == expected
    assert expected


def test_text_of_others_does_nothing_to_a_terminal(
    invoke: Invoke, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {"ErrorType": "\x1b[2Jgone\u202e", "ErrorMessage": "\x1b]0;title\x07"}
    operations = [
        {
            "Id": "1",
            "Type": "EXECUTION",
            "Name": "x",
            "Status": "FAILED",
            "StartTimestamp": 1_767_225_600,
            "EndTimestamp": 1_767_225_700,
            "ExecutionDetails": {},
        }
    ]
    key = World(executions=1).arn(0)
    world = World(executions=0, extra={key: Execution("AAAA", operations, error=error)})
    with serving(world) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        done = invoke("audit", key, "-o", out)
    assert done.code == 0, done.err
    assert "\\x1b[2Jgone\\u202e" in done.out
    assert done.out.replace("\n", "").isprintable()
    assert done.err.replace("\n", "").isprintable()


EMPTY = "arn:aws:lambda:eu-west-1:123456789012:function:order-flow:"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing-there",), "nothing-there: there is no such function, version or alias"),
        (("order-flow:99",), "order-flow:99: there is no such function, version or alias"),
        (("order-flow", "--status", "BUSY"), "--status: expected some of RUNNING, SUCCEEDED"),
        (("order-flow", "--status", "busy"), "found 'busy'"),
        (("order-flow", "--since", "yesterday"), "--since: expected a time such as 7d"),
        (("order-flow", "--until", "2026-13-01"), "--until: expected a time such as 7d"),
        (("order-flow", "--since", "99999w"), "--since: expected a span"),
        (("order-flow", "--since", "1d", "--until", "2d"), "--since is not before --until"),
        (("order-flow", "--since", "2099-01-01"), "--since is in the future"),
        (("order-flow", "--since", "2099-01-01", "--until", "1d"), "--since is in the future"),
        (("order-flow:",), "the version is empty"),
        ((EMPTY,), "the version is empty: put an ARN with $LATEST in single quotes"),
        ((f"{EMPTY}/durable-execution/a/b",), "the version is empty: put an ARN"),
        (("order-flow", "--max-duration", "soon"), "--max-duration: expected a span such as 90m"),
        (("order-flow", "--profile-map", "12=x"), "--profile-map: expected ACCOUNT=PROFILE"),
        (
            ("a b",),
            "of a function, with :VERSION or :ALIAS or without, found 'a b'",
        ),
        (("--from", "/nowhere/list"), "cannot read /nowhere/list"),
    ],
)
def test_bad_input_is_one_clear_line(
    invoke: Invoke, out: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = invoke("audit", *arguments, "-o", out)
    assert (done.code, done.out) == (252, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not out.exists() or {path.name.split(".")[0] for path in out.iterdir()} <= {
        "lock",
        "journal",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("order-flow",), "-o DIR is needed, or --plan"),
        (("-o", "x"), "nothing to audit"),
        ((World().arn(0), "--since", "7d", "-o", "x"), "are for executions of functions"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_a_usage_error(
    invoke: Invoke, arguments: tuple[str, ...], said: str
) -> None:
    done = invoke("audit", *arguments)
    assert (done.code, done.out, said in done.err) == (252, "", True)


def test_a_line_that_names_nothing_is_told_by_its_number_alone(
    invoke: Invoke, service: Emulator, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text('order-flow\n{"checkpoint_token": "c2VjcmV0"}\n')
    done = invoke("audit", "--from", tmp_path / "list", "-o", out)
    assert (done.code, "line 2: expected a name" in done.err) == (252, True)
    assert "c2VjcmV0" not in done.err
    assert len(service.log) == 0


def changed(directory: Path) -> None:
    (path,) = directory.glob("operations-*")
    path.write_bytes(path.read_bytes() + b"x")


def of_another_version(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2}))


def something_else(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
    (directory / "thesis.txt").write_text("mine")


@pytest.mark.parametrize(
    ("spoil", "options"),
    [
        (changed, ()),
        (of_another_version, ()),
        (something_else, ()),
        (lambda _: None, ("--format", "jsonl")),
        (lambda _: None, ("--payloads", "hash")),
    ],
)
def test_a_directory_that_is_not_as_it_should_be_is_one_line_and_stays_as_it_is(
    invoke: Invoke, service: Emulator, out: Path, spoil: Any, options: tuple[str, ...]
) -> None:
    with Store.open(out) as store:
        add(store, 1)
        store.finish(complete=True)
    spoil(out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".sqlite"}
    service.log.clear()
    done = invoke("audit", "order-flow", "-o", out, *options)
    assert (done.code, done.out, len(done.err.splitlines())) == (252, "", 1)
    assert done.err.startswith(f"durastate: {out}: ")
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert {name: after[name] for name in before} == before
    assert len(service.log) == 0


def test_a_service_that_goes_away_ends_the_run_and_the_same_command_goes_on(
    invoke: Invoke, service: Emulator, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closing(self: Emulator, request: web.BaseRequest) -> web.StreamResponse:
        if self._runner is not None and request.path.endswith("/history") and len(self.log) > 5:
            for site in list(self._runner.sites):
                await site.stop()
            assert request.transport is not None
            request.transport.abort()
        return await unpatched(self, request)

    unpatched = Emulator._handle
    with monkeypatch.context() as patch:
        patch.setattr(Emulator, "_handle", closing)
        with serving(service.world) as emulator:
            patch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
            limits = ("--outage-limit", "0.3", "--rate", "40")
            done = invoke("audit", "order-flow", "-o", out, *limits)
    assert done.code == 254
    assert re.search(r"8 found = .* 0 failed \+ [1-9] not attempted", done.out)
    said = done.err.splitlines()
    assert any(line.startswith("The service has gone away; waiting for it: ") for line in said)
    assert said[-2].startswith("durastate: no answer for 0.3 s (--outage-limit)")
    assert said[-1].startswith("The same command resumes it: durastate audit order-flow")
    assert invoke("audit", "order-flow", "-o", out).code == 0
    assert len(arns(out)) == 8


def test_without_the_extra_it_says_what_to_install(
    invoke: Invoke, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("durastate.audit")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = invoke("audit", "order-flow", "-o", out)
    assert (done.code, done.out) == (255, "")
    assert (
        done.err == "durastate: this needs pyarrow: pip install '.[audit]' in durastate's clone\n"
    )
    assert not out.exists()


def test_another_run_is_kept_out(invoke: Invoke, out: Path) -> None:
    with Store.open(out):
        done = invoke("audit", "order-flow", "-o", out)
    assert (done.code, "another run is writing here" in done.err) == (252, True)
