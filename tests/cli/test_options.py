"""What each option of the connection changes, and the variables that say the same."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from client.wires import Authority

from durastate.emulator import Emulator, Execution, World

from .conftest import Invoke
from .support import clear_aws, serving, write_refs


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The keys stand in a profile and nowhere else."""
    keys = "aws_access_key_id = emulator-key\naws_secret_access_key = emulator-secret\n"
    (tmp_path / "config").write_text(f"[profile audit]\nregion = eu-north-1\n{keys}")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return "audit"


def test_profile_brings_the_credentials(
    invoke: Invoke, refs: Path, tmp_path: Path, profile: str
) -> None:
    assert invoke("fetch", refs, "-o", tmp_path / "a").code == 253
    assert invoke("fetch", refs, "-o", tmp_path / "a", "--profile", profile).code == 0


def test_aws_profile_says_the_same(
    invoke: Invoke, refs: Path, tmp_path: Path, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", profile)
    assert invoke("fetch", refs, "-o", tmp_path / "a").code == 0


def test_an_unknown_profile_is_a_matter_of_configuration(
    invoke: Invoke, refs: Path, tmp_path: Path
) -> None:
    done = invoke("fetch", refs, "-o", tmp_path / "a", "--profile", "nobody")
    assert (done.code, "nobody" in done.err) == (253, True)
    assert "30 requested = 0 complete + 0 failed + 30 not attempted" in done.err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_region_is_for_what_is_no_arn(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    extra = {"key": Execution("AAAA", World(operations=2).all_operations(0))}
    monkeypatch.delenv("AWS_REGION")
    with serving(World(executions=0, extra=extra)) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        assert invoke("get", "key", "--token", "-", stdin="AAAA").code == 253
        monkeypatch.setenv(variable, "eu-south-1")
        assert invoke("get", "key", "--token", "-", stdin="AAAA").code == 0
        assert invoke("get", "key", "--token", "-", "--region", "sa-east-1", stdin="AAAA").code == 0
        assert [each.region for each in emulator.log] == ["eu-south-1", "sa-east-1"]


def test_endpoint_url_goes_before_the_environment(
    invoke: Invoke, service: Emulator, refs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    done = invoke("fetch", refs, "-o", tmp_path / "a")
    assert (done.code, "http://127.0.0.1:9: cannot connect" in done.err) == (254, True)
    done = invoke("fetch", refs, "-o", tmp_path / "a", "--endpoint-url", service.endpoint_url)
    assert done.code == 0


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "http://user:SECRET@"])
def test_an_endpoint_without_http_or_a_host_is_told_and_not_repeated(
    invoke: Invoke, service: Emulator, url: str
) -> None:
    done = invoke("show", service.world.arn(1), "--endpoint-url", url)
    said = "durastate: the endpoint's URL: expected http://… or https://… and a host\n"
    assert (done.code, done.err) == (253, said)


def test_ca_bundle_says_whom_to_trust(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Authority(tmp_path, "theirs")
    world = World(executions=2, operations=2)
    refs = write_refs(tmp_path / "refs", world)
    with serving(world, ssl_context=theirs.server_context()) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        done = invoke("fetch", refs, "-o", tmp_path / "a")
        assert (done.code, "certificate" in done.err) == (254, True)
        assert invoke("fetch", refs, "-o", tmp_path / "b", "--ca-bundle", theirs.bundle).code == 0
        monkeypatch.setenv("AWS_CA_BUNDLE", str(theirs.bundle))
        assert invoke("fetch", refs, "-o", tmp_path / "c").code == 0


@pytest.mark.parametrize(
    # 20 % of the burst of a second are spent at once; 0.0015 of eu-west-1's quota are 30 a second.
    "option",
    [("--rate", "30"), ("--quota-share", "0.0015")],
)
def test_rate_and_quota_share_hold_the_requests_back(
    invoke: Invoke, service: Emulator, refs: Path, tmp_path: Path, option: tuple[str, str]
) -> None:
    assert invoke("fetch", refs, "-o", tmp_path / "a", *option).code == 0
    times = [each.at for each in service.log]
    assert len(times) == 30
    assert times[-1] - times[0] > 0.9


def test_without_a_ceiling_they_go_at_once(
    invoke: Invoke, service: Emulator, refs: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    assert invoke("fetch", refs, "-o", tmp_path / "a", "--quota-share", "none").code == 0
    assert service.log[-1].at - service.log[0].at < 0.9, time.monotonic() - started


def test_max_items_is_the_size_of_a_page(
    invoke: Invoke, service: Emulator, refs: Path, tmp_path: Path
) -> None:
    assert invoke("fetch", refs, "-o", tmp_path / "a", "--max-items", "10").code == 0
    assert {each.max_items for each in service.log} == {10}
    assert len(service.log) == 10 * 1 + 10 * 1 + 10 * 3


def test_max_requests_and_max_executions_bound_what_is_under_way(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(executions=30, operations=3)
    refs = write_refs(tmp_path / "refs", world)
    with serving(world, latency_s=0.02) as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", emulator.endpoint_url)
        found = []
        for number, option in enumerate([(), ("--max-requests", "3"), ("--max-executions", "2")]):
            emulator.log.clear()
            assert invoke("fetch", refs, "-o", tmp_path / str(number), *option).code == 0
            found.append(emulator.log.max_concurrent)
    assert found[0] > 10
    assert found[1:] == [3, 2]


def test_no_credentials_is_a_matter_of_configuration(
    invoke: Invoke, refs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear_aws(monkeypatch)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    done = invoke("fetch", refs, "-o", tmp_path / "a")
    assert (done.code, "no credentials found" in done.err) == (253, True)


@pytest.mark.parametrize(
    "option",
    [
        ("--rate", "0"),
        ("--rate", "nan"),
        ("--rate", "inf"),
        ("--quota-share", "0"),
        ("--quota-share", "1.5"),
        ("--quota-share", "nan"),
        ("--quota-share", "much"),
        ("--max-items", "1001"),
        ("--max-requests", "0"),
        ("--max-executions", "0"),
        ("--payloads", "some"),
        ("--ca-bundle", "/nowhere"),
        ("--nonsense", "1"),
    ],
)
def test_a_value_out_of_range_is_a_usage_error(
    invoke: Invoke, refs: Path, tmp_path: Path, option: tuple[str, str]
) -> None:
    done = invoke("fetch", refs, "-o", tmp_path / "a", *option)
    assert (done.code, option[0] in done.err) == (252, True)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        *(["verify", ""], ["query", "", "select 1"], ["audit", "f", "-o", ""]),
        *(["fetch", "refs", "-o", ""], ["get", "arn", "--token-file", ""]),
    ],
)
def test_an_empty_name_is_not_the_current_directory(invoke: Invoke, arguments: list[str]) -> None:
    done = invoke(*arguments)
    assert (done.code, done.out) == (252, "")
    assert "found an empty text: is its variable set?" in done.err
