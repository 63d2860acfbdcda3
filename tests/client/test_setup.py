"""What aiobotocore is asked for: credentials, Regions, endpoints, proxies, TLS; and bad input."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from durastate import (
    ConfigurationError,
    CredentialsError,
    DeadlineError,
    DurastateError,
    ExecutionRef,
    InvalidRefError,
    Limits,
    MissingTokenError,
    RetryPolicy,
    ServiceError,
    StateClient,
    TransportError,
)
from durastate.aws import Account
from durastate.emulator import (
    Credentials,
    Emulator,
    Execution,
    Fault,
    FaultKind,
    FaultPlan,
    World,
    session_with,
)

from .support import (
    assert_at_rest,
    client_tasks,
    held,
    reading,
    ref_of,
    refs_of,
    standard_session,
    until,
    wire,
    without_delays,
)
from .wires import Authority, forwarding, full_house

pytestmark = pytest.mark.asyncio

ARN = World().arn(0)
TOKEN = World().token(0)
KEYS = Credentials("AKIDFILE", "secret-of-file", "session-of-file")
FAILING = FaultPlan(on={0: Fault(FaultKind.SERVICE_ERROR)})


@pytest.fixture
def keys_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_access_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", str(KEYS.session_token))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes AWS's config and credentials files and points the environment at them."""

    def write(config: str, credentials: str) -> None:
        for name, text, variable in (
            ("config", config, "AWS_CONFIG_FILE"),
            ("credentials", credentials, "AWS_SHARED_CREDENTIALS_FILE"),
        ):
            (tmp_path / name).write_text(text)
            monkeypatch.setenv(variable, str(tmp_path / name))

    return write


def keys_section(profile: str) -> str:
    return (
        f"[{profile}]\naws_access_key_id = {KEYS.access_key_id}\n"
        f"aws_secret_access_key = {KEYS.secret_access_key}\n"
        f"aws_session_token = {KEYS.session_token}\n"
    )


async def enter(**options: Any) -> None:
    async with StateClient(**options):
        pass


# What is missing


async def test_without_credentials_entering_says_what_to_do() -> None:
    with pytest.raises(CredentialsError, match="no credentials found") as raised:
        await enter(region_name="eu-west-1")
    assert "AWS_PROFILE" in str(raised.value)
    assert "aws sso login" in str(raised.value)


async def test_half_a_pair_of_keys_is_a_credentials_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDHALF")
    with pytest.raises(CredentialsError, match=r"(?i)secret"):
        await enter(region_name="eu-west-1")


@pytest.mark.parametrize("way", ["argument", "AWS_PROFILE"])
async def test_an_unknown_profile_is_named(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "AWS_PROFILE":
        monkeypatch.setenv("AWS_PROFILE", "nobodys")
    with pytest.raises(ConfigurationError, match="nobodys") as raised:
        await enter(profile_name="nobodys" if way == "argument" else None)
    assert not isinstance(raised.value, CredentialsError)


async def test_a_profile_and_a_session_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match="profile_name"):
        StateClient(session=AioSession(), profile_name="default")


async def test_a_client_that_could_not_be_entered_leaves_nothing_and_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, emulator: Emulator
) -> None:
    client = StateClient(endpoint_url=emulator.endpoint_url, region_name="eu-west-1")
    with pytest.raises(CredentialsError):
        await client.__aenter__()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "emulator-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "emulator-secret")
    async with client:
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)


@pytest.mark.parametrize("endpoint_url", ["localhost:1234", "http://", "http://[::1"])
async def test_an_endpoint_that_is_no_url_is_a_configuration_error(endpoint_url: str) -> None:
    with pytest.raises(ConfigurationError):
        await enter(session=standard_session(), region_name="eu-west-1", endpoint_url=endpoint_url)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_MAX_ATTEMPTS", "many"),
        ("AWS_CONFIG_FILE", "a broken file"),
        ("AWS_USE_FIPS_ENDPOINT", "perhaps"),
    ],
)
@pytest.mark.usefixtures("keys_in_environment")
async def test_a_setting_that_makes_no_sense_is_a_configuration_error(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if value == "a broken file":
        (tmp_path / "broken").write_text("[default\nregion")
        value = str(tmp_path / "broken")
    monkeypatch.setenv(variable, value)
    try:
        await enter(region_name="eu-west-1")
    except ConfigurationError as error:
        assert str(error)  # noqa: PT017
    # Where botocore itself takes the value, so do we.


async def test_a_region_that_cannot_be_a_host_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"evil"):
        await enter(session=standard_session(), region_name="evil.example.com/")


async def test_no_region_is_needed_for_arns() -> None:
    world = World(executions=3, operations=3, regions=("eu-west-1", "us-east-1", "cn-north-1"))
    async with Emulator(world) as emulator, reading(emulator) as client:
        for index, ref in enumerate(refs_of(emulator)):
            assert wire(await client.get_state(ref)) == held(emulator, index)
        assert [entry.region for entry in emulator.log] == ["eu-west-1", "us-east-1", "cn-north-1"]


KEYED = World(
    executions=0, extra={"a-uuid/invocation": Execution(TOKEN, World().all_operations(0))}
)


async def test_a_key_that_is_no_arn_needs_a_region() -> None:
    async with Emulator(KEYED) as emulator, reading(emulator) as client:
        with pytest.raises(ConfigurationError, match="region_name"):
            await client.get_state(ref_of(emulator))
        assert len(emulator.log) == 0


async def test_a_key_that_is_no_arn_is_read_at_an_endpoint_of_ones_own() -> None:
    async with Emulator(KEYED) as emulator, reading(emulator, region_name="eu-central-1") as client:
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
        assert emulator.log[0].region == "eu-central-1"


async def test_a_local_servers_tokens_pass_in_every_region_from_the_first_request_on() -> None:
    world = World(executions=2, operations=3, regions=("eu-west-1", "us-east-1"))
    async with Emulator(world) as emulator, reading(emulator, region_name="eu-west-1") as client:
        for index in (0, 1):
            ref = ExecutionRef(world.arn(index), "no-base64!")
            # The emulator refuses it, like AWS; that it was asked is what matters.
            with pytest.raises(ServiceError):
                await client.get_state(ref)
        assert len(emulator.log) == 2


# Bad references

BAD_ARNS = [
    "",
    "arn:aws:lambda",
    ARN + "\n",
    ARN.replace("eu-west-1", "evil.example.com/"),
    ARN.replace("eu-west-1", "eu-west-1@evil.example.com:443#"),
    ARN.replace(":lambda:", ":s3:"),
    ARN.replace("/durable-execution/", "/durable/"),
    ARN + "x" * 1_024,
    None,
    5,
]
BAD_TOKENS = ["", " ", "not base64!", TOKEN + "\n", "ä", "A" * 2_049, "====", 5, b"AAAA"]


@pytest.mark.parametrize("arn", BAD_ARNS, ids=repr)
async def test_what_is_no_arn_is_refused_by_name_without_a_request(arn: Any) -> None:
    async with StateClient(session=standard_session(), region_name="eu-west-1") as client:
        for read in (client.get_state, client.get_page):
            with pytest.raises(InvalidRefError, match=r"^arn: "):
                await read(ExecutionRef(arn, TOKEN))
        async with client.fetch_many([ExecutionRef(arn, TOKEN)]) as many:
            results = [result async for result in many]
        assert [type(result.error) for result in results] == [InvalidRefError]
        assert client.statistics().requests == 0


@pytest.mark.parametrize("token", BAD_TOKENS, ids=repr)
async def test_what_is_no_token_is_refused_by_name_without_a_request(token: Any) -> None:
    async with StateClient(session=standard_session(), region_name="eu-west-1") as client:
        for read in (client.get_state, client.get_page):
            with pytest.raises(InvalidRefError, match=r"^checkpoint_token: ") as raised:
                await read(ExecutionRef(ARN, token))
            assert token in ("", " ", 5, b"AAAA") or token not in str(raised.value)
        async with client.stream_pages([ExecutionRef(ARN, token)]) as many:
            results = [result async for result in many]
        assert [type(result.error) for result in results] == [InvalidRefError]
        assert client.statistics().requests == 0


async def test_a_missing_token_is_an_error_of_its_own() -> None:
    async with StateClient(session=standard_session(), region_name="eu-west-1") as client:
        with pytest.raises(MissingTokenError, match=r"^checkpoint_token: "):
            await client.get_state(ExecutionRef(ARN))
        async with client.fetch_many([ExecutionRef(ARN)]) as many:
            results = [result async for result in many]
        assert [type(result.error) for result in results] == [MissingTokenError]
        assert client.statistics().requests == 0


@pytest.mark.parametrize(
    ("arn", "token", "name"),
    [
        ("", TOKEN, "arn"),
        (".", TOKEN, "arn"),
        ("..", TOKEN, "arn"),
        ("x" * 1_025, TOKEN, "arn"),
        (5, TOKEN, "arn"),
        ("any-key", "", "checkpoint_token"),
        ("any-key", 5, "checkpoint_token"),
        ("any-key", None, "checkpoint_token"),
    ],
)
async def test_even_an_endpoint_of_ones_own_has_rules(
    emulator: Emulator, arn: Any, token: Any, name: str
) -> None:
    async with reading(emulator, region_name="eu-west-1") as client:
        with pytest.raises(ConfigurationError, match=f"^{name}: "):
            await client.get_state(ExecutionRef(arn, token))
        assert len(emulator.log) == 0


async def test_swapped_arguments_do_not_show_the_token() -> None:
    async with StateClient(session=standard_session(), region_name="eu-west-1") as client:
        with pytest.raises(InvalidRefError) as raised:
            await client.get_state(ExecutionRef(TOKEN, ARN))
        assert TOKEN not in str(raised.value)


# Environment and files


async def test_profiles_are_honoured(
    files: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    files("[profile nightly]\nregion = eu-north-1\n", keys_section("nightly"))
    async with Emulator(KEYED, credentials=KEYS) as emulator:
        async with reading(emulator, profile_name="nightly") as client:
            assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
        monkeypatch.setenv("AWS_PROFILE", "nightly")
        async with reading(emulator, session=None) as client:
            assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
        assert [entry.region for entry in emulator.log] == ["eu-north-1"] * 2


@pytest.mark.usefixtures("keys_in_environment")
@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
async def test_the_region_of_the_environment_is_for_references_without_one(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "sa-east-1")
    async with Emulator(KEYED, credentials=KEYS) as emulator:
        async with reading(emulator, session=None) as client:
            await client.get_state(ref_of(emulator))
        async with reading(emulator, session=None, region_name="ap-south-1") as client:
            await client.get_state(ref_of(emulator))
        assert [entry.region for entry in emulator.log] == ["sa-east-1", "ap-south-1"]


@pytest.mark.usefixtures("keys_in_environment")
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"])
async def test_the_endpoint_of_the_environment_is_used_and_is_ones_own(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator(KEYED, credentials=KEYS) as emulator:
        monkeypatch.setenv(variable, emulator.endpoint_url)
        async with StateClient(region_name="eu-west-1") as client:
            assert wire(await client.get_state(ref_of(emulator))) == held(emulator)


@pytest.mark.usefixtures("keys_in_environment")
async def test_the_number_of_attempts_comes_from_where_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = AioConfig(retries={"total_max_attempts": 2})
    legacy = AioConfig(retries={"max_attempts": 0})
    async with Emulator(World(executions=1), FAILING, credentials=KEYS) as emulator:
        for variable, given, policy, expected in (
            (None, None, RetryPolicy(), 3),
            ("4", None, RetryPolicy(), 4),
            ("4", config, RetryPolicy(), 2),
            ("4", legacy, RetryPolicy(), 1),
            ("4", config, RetryPolicy(max_attempts=5), 5),
        ):
            if variable is not None:
                monkeypatch.setenv("AWS_MAX_ATTEMPTS", variable)
            emulator.log.clear()
            async with reading(emulator, session=None, config=given, retry=policy) as client:
                without_delays(client)
                with pytest.raises(ServiceError):
                    await client.get_state(ref_of(emulator))
                assert len(emulator.log) == expected


@pytest.mark.parametrize("expires", [False, True])
async def test_a_credential_process_is_honoured(
    expires: bool, files: Callable[[str, str], None], tmp_path: Path
) -> None:
    answer = {
        "Version": 1,
        "AccessKeyId": KEYS.access_key_id,
        "SecretAccessKey": KEYS.secret_access_key,
        "SessionToken": KEYS.session_token,
    }
    if expires:
        answer["Expiration"] = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    script = tmp_path / "credentials.py"
    script.write_text(
        f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\nprint({json.dumps(answer)!r})\n"
    )
    files(f"[default]\ncredential_process = {sys.executable} -S {script}\n", "")
    async with (
        Emulator(World(executions=10), credentials=KEYS) as emulator,
        reading(emulator, session=None) as client,
    ):
        for index, ref in enumerate(refs_of(emulator)):
            assert wire(await client.get_state(ref)) == held(emulator, index)
    assert (tmp_path / "runs").read_text() == "x"


SSO_OF = "sso_account_id = 123456789012\nsso_role_name = R"
CORP = "sso_region = eu-west-1\nsso_start_url = https://x.awsapps.com/start"
BY_ITSELF = "run its command by hand to see"


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (f"{CORP}\n{SSO_OF}", "the SSO login .* run `aws sso login --profile ours`"),
        (f"sso_session = corp\n{SSO_OF}", "the SSO login .* run `aws sso login --profile ours`"),
        (
            "role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = other",
            "the SSO login of the profile 'other' .* run `aws sso login --profile other`",
        ),
        ("credential_process = false", f"process .*'ours' failed: it said nothing; {BY_ITSELF}"),
        ("credential_process = sh -c 'echo log in >&2; exit 1'", "'ours' failed: log in$"),
        ("credential_process = echo no JSON", f"did not print the JSON .*{BY_ITSELF}"),
        ("credential_process = echo []", f"did not print the JSON .*{BY_ITSELF}"),
        ("credential_process = echo '{\"Version\": 1}'", "failed: .*'AccessKeyId'"),
        ("credential_process = no-such-program", "cannot be run: .*'no-such-program'"),
        ("aws_access_key_id = AKIDHALF", "aws_secret_access_key. `aws sts .* --profile ours` may"),
        (
            "role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = nowhere",
            '"nowhere" .*`aws sts get-caller-identity --profile ours` may say more',
        ),
    ],
)
async def test_credentials_that_cannot_be_had_are_one_line_that_says_how_to_mend_it(
    profile: str, expected: str, files: Callable[[str, str], None]
) -> None:
    other = f"[sso-session corp]\n{CORP}\n[profile other]\nsso_session = corp\n{SSO_OF}"
    files(f"[profile ours]\n{profile}\n{other}\n", "")
    with pytest.raises(CredentialsError, match=expected) as raised:
        await enter(region_name="eu-west-1", profile_name="ours")
    assert str(raised.value).splitlines() == [str(raised.value)]
    assert not str(raised.value).endswith(":")


async def test_credentials_that_have_expired_are_told_from_those_that_aws_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    for expires, expected in ((long_ago, "have expired.*aws sso login"), (None, "no such access")):
        keys = Credentials("AKIDOLD", "old-secret", "old-token", expires_at=expires)
        known = keys if expires else Credentials()
        async with (
            Emulator(World(executions=1), credentials=known) as emulator,
            reading(emulator, session=session_with(keys)) as client,
        ):
            with pytest.raises(CredentialsError, match=expected) as raised:
                await client.get_state(ref_of(emulator))
            assert "clock" not in str(raised.value)


@pytest.mark.parametrize("which", ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"])
@pytest.mark.usefixtures("keys_in_environment")
async def test_a_key_that_is_no_text_is_an_error_that_does_not_quote_it(
    which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AWS_{which}", "canary\udcff")
    with pytest.raises(CredentialsError, match="characters") as raised:
        await enter(region_name="eu-west-1")
    assert "canary" not in str(raised.value)
    assert raised.value.__context__ is None


# TLS


@pytest.mark.usefixtures("keys_in_environment")
async def test_a_ca_bundle_of_the_environment_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path, "ours")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    tls = authority.server_context()
    async with (
        Emulator(World(executions=1), credentials=KEYS, ssl_context=tls) as emulator,
        reading(emulator, session=None) as client,
    ):
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)


@pytest.mark.usefixtures("keys_in_environment")
@pytest.mark.parametrize("bundle", ["another", None])
async def test_a_certificate_of_somebody_else_is_refused_in_plain_words(
    bundle: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bundle:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(Authority(tmp_path, bundle).bundle))
    tls = Authority(tmp_path, "ours").server_context()
    async with (
        Emulator(World(executions=1), credentials=KEYS, ssl_context=tls) as emulator,
        reading(emulator, session=None) as client,
    ):
        without_delays(client)
        with pytest.raises(TransportError, match="certificate") as raised:
            await client.get_state(ref_of(emulator))
        assert emulator.endpoint_url in str(raised.value)
        assert len(emulator.log) == 0
        assert_at_rest(client)


@pytest.mark.usefixtures("keys_in_environment")
async def test_a_ca_bundle_that_is_not_there_is_an_error_of_ours_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    tls = Authority(tmp_path, "ours").server_context()
    async with Emulator(World(executions=1), credentials=KEYS, ssl_context=tls) as emulator:
        with pytest.raises(DurastateError):
            async with reading(emulator, session=None) as client:
                await client.get_state(ref_of(emulator))


# AioConfig


async def test_the_pool_size_of_the_config_is_the_default_of_max_requests() -> None:
    world = World(executions=20, operations=2)
    for limits, expected in ((None, 3), (Limits(max_requests=5), 5)):
        async with Emulator(world) as emulator:
            config = AioConfig(max_pool_connections=3)
            async with reading(emulator, config=config, limits=limits) as client:
                emulator.hold()
                async with client.fetch_many(refs_of(emulator)) as many:
                    await emulator.log.wait_for(expected)
                    assert client.statistics().in_flight == expected
                    await until(lambda: client.statistics().waiting > 0)
                    emulator.release()
                    results = [result async for result in many]
                assert len(results) == 20
                assert emulator.log.max_concurrent == expected


async def test_without_a_config_64_requests_go_at_once() -> None:
    async with (
        Emulator(World(executions=80, operations=1)) as emulator,
        reading(emulator) as client,
    ):
        emulator.hold()
        async with client.fetch_many(refs_of(emulator), max_executions=80) as many:
            await emulator.log.wait_for(64)
            emulator.release()
            assert len([result async for result in many]) == 80
        assert emulator.log.max_concurrent == 64
        assert emulator.log.connections() == 64


async def test_the_read_timeout_of_the_config_holds() -> None:
    faults = FaultPlan(on={0: Fault(FaultKind.STALL, delay_s=30)})
    config = AioConfig(read_timeout=0.2, retries={"total_max_attempts": 1})
    async with (
        Emulator(World(executions=1), faults) as emulator,
        reading(emulator, config=config) as client,
    ):
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineError):
            await client.get_state(ref_of(emulator))
        assert asyncio.get_running_loop().time() - began < 3
        assert_at_rest(client)


async def test_the_connect_timeout_of_the_config_holds() -> None:
    config = AioConfig(connect_timeout=0.2, retries={"total_max_attempts": 1})
    with full_house() as url:
        async with StateClient(
            session=standard_session(), endpoint_url=url, config=config
        ) as client:
            began = asyncio.get_running_loop().time()
            with pytest.raises(TransportError):
                await client.get_state(ExecutionRef(ARN, TOKEN))
            assert asyncio.get_running_loop().time() - began < 3


async def test_a_proxy_of_the_config_carries_the_requests() -> None:
    async with forwarding() as proxy, Emulator(World(executions=3, operations=3)) as emulator:
        config = AioConfig(proxies={"http": proxy.url})
        async with reading(emulator, config=config) as client:
            for index, ref in enumerate(refs_of(emulator)):
                assert wire(await client.get_state(ref)) == held(emulator, index)
        assert len(proxy.asked) == 3
        assert all(f"GET {emulator.endpoint_url}/" in asked for asked in proxy.asked)


@pytest.mark.usefixtures("keys_in_environment")
async def test_a_proxy_of_the_environment_tunnels_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path, "ours")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    tls = authority.server_context()
    async with (
        Emulator(World(executions=1), credentials=KEYS, ssl_context=tls) as emulator,
        forwarding() as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with reading(emulator, session=None) as client:
            assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
        assert proxy.asked == [f"CONNECT {urlsplit(emulator.endpoint_url).netloc}"]


async def test_a_proxy_that_is_not_there_is_a_transport_error() -> None:
    config = AioConfig(proxies={"http": "http://127.0.0.1:9"})
    async with StateClient(
        session=standard_session(), endpoint_url="http://127.0.0.1:8", config=config
    ) as client:
        without_delays(client)
        with pytest.raises(TransportError, match="cannot connect"):
            await client.get_state(ExecutionRef(ARN, TOKEN))


async def test_the_user_agent_names_us_and_what_the_config_adds() -> None:
    config = AioConfig(user_agent_extra="night-audit/7")
    account = an_account(config=config)
    await account.open()
    agent = (await account.endpoint("eu-west-1")).user_agent
    await account.close()
    assert "aiobotocore/" in agent
    assert "night-audit/7" in agent
    assert agent.split()[-1].startswith("durastate/")


# Sessions


async def test_a_session_of_the_users_is_used_and_still_good_afterwards(
    emulator: Emulator,
) -> None:
    session = emulator.session()
    async with session.create_client(
        "lambda", region_name="eu-west-1", endpoint_url=emulator.endpoint_url
    ) as before:
        async with reading(emulator, session=session) as client:
            state = await client.get_state(ref_of(emulator))
        call = {"DurableExecutionArn": state.arn, "CheckpointToken": emulator.world.token(0)}
        page = await before.get_durable_execution_state(**call)
        assert [o["Id"] for o in page["Operations"]] == [o.id for o in state.operations]
    async with session.create_client(
        "lambda", region_name="eu-west-1", endpoint_url=emulator.endpoint_url
    ) as after:
        page = await after.get_durable_execution_state(**call)
        assert [o["Id"] for o in page["Operations"]] == [o.id for o in state.operations]
    async with reading(emulator, session=session) as client:
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)


async def test_the_default_config_of_a_users_session_holds() -> None:
    session = session_with(Credentials())
    session.set_default_client_config(AioConfig(retries={"total_max_attempts": 2}))
    async with (
        Emulator(World(executions=1), FAILING) as emulator,
        reading(emulator, session=session) as client,
    ):
        without_delays(client)
        with pytest.raises(ServiceError):
            await client.get_state(ref_of(emulator))
        assert len(emulator.log) == 2


async def test_two_clients_of_two_accounts_live_side_by_side() -> None:
    other = Credentials("AKIDOTHER", "other-secret")
    async with Emulator(credentials=(Credentials(), other)) as emulator:
        async with reading(emulator) as one, reading(emulator, session=session_with(other)) as two:
            states = await asyncio.gather(
                *(client.get_state(ref_of(emulator)) for client in (one, two) for _ in range(5))
            )
        assert all(wire(state) == held(emulator) for state in states)


# Endpoints


def an_account(**options: Any) -> Account:
    defaults = dict.fromkeys(("region_name", "profile_name", "endpoint_url", "config"))
    return Account(**{"session": standard_session(), **defaults, **options})


class _Captured(Exception):
    pass


async def asked_of_aiobotocore(session: AioSession, region: str, config: AioConfig | None) -> str:
    """Where aiobotocore's own client would send GetDurableExecutionState, without sending it."""
    urls: list[str] = []

    def capture(request: Any, **_: Any) -> None:
        urls.append(request.url)
        raise _Captured

    async with session.create_client("lambda", region_name=region, config=config) as client:
        client.meta.events.register("before-send.lambda.*", capture)
        with pytest.raises(_Captured):
            await client.get_durable_execution_state(
                DurableExecutionArn="key", CheckpointToken="AAAA"
            )
    url = urlsplit(urls[0])
    return f"{url.scheme}://{url.netloc}{url.path.partition('/2025-12-01/')[0]}"


REGIONS = [
    "eu-west-1",
    "us-east-1",
    "us-gov-west-1",
    "cn-north-1",
    "ap-southeast-5",
    "us-iso-east-1",
]
VARIANTS = {
    "plain": {},
    "dual-stack": {"use_dualstack_endpoint": True},
    "fips": {"use_fips_endpoint": True},
    "both": {"use_dualstack_endpoint": True, "use_fips_endpoint": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
async def test_endpoints_are_those_of_aiobotocore(variant: str) -> None:
    from botocore.exceptions import BotoCoreError

    config = AioConfig(**VARIANTS[variant])
    account = an_account(config=config)
    await account.open()
    seen = set()
    for region in REGIONS:
        try:
            expected = await asked_of_aiobotocore(standard_session(), region, config)
        except BotoCoreError:
            with pytest.raises(ConfigurationError, match=region):
                await account.endpoint(region)
            continue
        endpoint = await account.endpoint(region)
        assert f"{endpoint.origin}{endpoint.prefix}" == expected
        assert endpoint.is_own is False
        seen.add(expected)
    await account.close()
    assert len(seen) >= 4


@pytest.mark.usefixtures("keys_in_environment")
@pytest.mark.parametrize(
    "settings",
    [
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_ENDPOINT_URL_LAMBDA": "https://vpce-1.lambda.eu-west-1.vpce.amazonaws.com"},
        {"AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:4566/a/prefix"},
        {"AWS_ENDPOINT_URL": "http://[::1]:4566"},
        {
            "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:1",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        },
    ],
    ids=",".join,
)
async def test_endpoints_of_the_environment_are_those_of_aiobotocore(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    account = an_account(session=None)
    await account.open()
    endpoint = await account.endpoint("eu-west-1")
    await account.close()
    expected = await asked_of_aiobotocore(AioSession(), "eu-west-1", None)
    assert f"{endpoint.origin}{endpoint.prefix}" == expected
    assert endpoint.host == urlsplit(expected).netloc
    own = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" not in settings and "127" in expected
    assert endpoint.is_own is ("vpce" not in expected and (own or "::1" in expected))


async def test_one_region_is_looked_up_once_however_many_ask() -> None:
    account = an_account()
    await account.open()
    found = await asyncio.gather(*(account.endpoint("eu-west-1") for _ in range(20)))
    await account.close()
    assert all(one is other for one, other in pairwise(found))


# Opening and closing


async def test_a_client_is_entered_once(emulator: Emulator) -> None:
    client = StateClient(endpoint_url=emulator.endpoint_url, session=standard_session())
    async with client:
        with pytest.raises(ConfigurationError, match="once"):
            await client.__aenter__()
        assert wire(await client.get_state(ref_of(emulator))) == held(emulator)
    with pytest.raises(ConfigurationError, match="once"):
        await client.__aenter__()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_client_that_is_not_open_says_so(when: str, emulator: Emulator) -> None:
    client = StateClient(endpoint_url=emulator.endpoint_url, session=standard_session())
    if when == "after":
        async with client:
            await client.get_state(ref_of(emulator))
    requests = len(emulator.log)
    ref = ref_of(emulator)
    for read in (client.get_state, client.get_page):
        with pytest.raises(ConfigurationError, match="async with"):
            await read(ref)
    with pytest.raises(ConfigurationError, match="async with"):
        await anext(client.iter_pages(ref))
    for many in (client.fetch_many, client.stream_pages):
        with pytest.raises(ConfigurationError, match="async with"):  # noqa: PT012
            async with many([ref]) as results:
                async for _ in results:
                    pass
    if when == "before":
        with pytest.raises(ConfigurationError, match="async with"):
            client.statistics()
    else:
        assert client.statistics().requests == 1
    assert len(emulator.log) == requests


@pytest.mark.parametrize("waits_for", ["an answer", "a slot", "the next attempt"])
async def test_what_still_runs_when_the_client_is_left_ends_in_an_error_of_ours(
    waits_for: str,
) -> None:
    throttled = FaultPlan(on={0: Fault(FaultKind.THROTTLE, first=1, retry_after_s=1)})
    faults = throttled if waits_for == "the next attempt" else FaultPlan()
    async with Emulator(World(executions=2, operations=3), faults) as emulator:
        limits = Limits(max_requests=1)
        async with reading(emulator, limits=limits) as client:
            if waits_for == "the next attempt":
                left = asyncio.create_task(client.get_state(ref_of(emulator)))
                await until(lambda: client.statistics().retries == 1)
                others = []
            else:
                emulator.hold()
                others = [asyncio.create_task(client.get_state(ref_of(emulator, 1)))]
                await emulator.log.wait_for(1)
                left = others[0]
                if waits_for == "a slot":
                    left = asyncio.create_task(client.get_state(ref_of(emulator)))
                    await until(lambda: client.statistics().waiting == 1)
        requests = len(emulator.log)
        ended = await asyncio.wait_for(
            asyncio.gather(left, *others, return_exceptions=True), timeout=2
        )
        emulator.release()
        assert [isinstance(error, DurastateError) for error in ended] == [True] * len(ended)
        assert len(emulator.log) == requests
        assert client._account._clients == []


async def test_entering_that_is_cancelled_leaves_nothing() -> None:
    for turns in (1, 5, 20, 100):
        before = client_tasks()
        client = StateClient(
            session=standard_session(),
            endpoint_url="http://127.0.0.1:1",
            region_name="eu-west-1",
        )
        task = asyncio.create_task(client.__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert client_tasks() - before == set()
        else:
            await client.__aexit__(None, None, None)
            assert client_tasks() - before == set()


# Credentials that never come


@pytest.fixture
def never(files: Callable[[str, str], None], tmp_path: Path) -> Callable[[str], Path]:
    """A credential_process that answers this once, and then never; the file has its pid."""

    def install(first_answer: str) -> Path:
        os.mkfifo(tmp_path / "never")
        (tmp_path / "first").write_text(first_answer)
        script = tmp_path / "credentials.sh"
        script.write_text(
            f"#!/bin/sh\ncd {tmp_path}\nif [ -s first ]; then cat first; rm first; exit; fi\n"
            f"echo $$ > pid.new; mv pid.new pid\nread answer < never\n"
        )
        script.chmod(0o700)
        files(f"[default]\ncredential_process = {script}\n", "")
        return tmp_path / "pid"

    return install


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def waiting(said: Path) -> int:
    """The id of the process, once it waits."""
    await until(said.exists)
    return int(said.read_text())  # noqa: ASYNC240


@pytest.mark.parametrize("given", ["nothing", "a session"])
async def test_entering_that_waits_for_credentials_can_be_cancelled(
    never: Callable[[str], Path], given: str
) -> None:
    said = never("")
    client = StateClient(session=None if given == "nothing" else AioSession())
    entering = asyncio.create_task(client.__aenter__())
    process = await waiting(said)
    turns = 0
    entering.cancel()
    while not entering.done() and turns < 100:
        turns += 1
        await asyncio.sleep(0)
    assert entering.cancelled()
    await until(lambda: not is_running(process))


async def test_a_timeout_holds_where_a_call_has_the_credentials_refreshed(
    never: Callable[[str], Path], emulator: Emulator
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    keys = {"AccessKeyId": "emulator-key", "SecretAccessKey": "emulator-secret"}
    said = never(json.dumps({"Version": 1, "Expiration": later.isoformat(), **keys}))
    async with reading(emulator, session=None) as client:
        client._account._source._expiry_time = datetime.now(UTC) + timedelta(minutes=5)
        client._account._next_check = 0.0
        began = asyncio.create_task(client.get_state(ref_of(emulator, 1)))
        with pytest.raises(DeadlineError, match=r"timeout_s=0\.5"):
            await client.get_state(ref_of(emulator), timeout_s=0.5)
        process = await waiting(said)
        assert not began.done()  # It has no timeout, and another's is not its own.
    with pytest.raises(ConfigurationError, match="was left"):
        await began
    await until(lambda: not is_running(process))
    assert len(emulator.log) == 0


@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled"])
async def test_a_loop_of_its_own_gives_back_what_its_coroutine_comes_to(how: str) -> None:
    from durastate.threads import in_a_loop_of_its_own

    async def work() -> str:
        await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
        if how == "raises":
            raise KeyError("there")
        if how == "is cancelled":
            raise asyncio.CancelledError
        return "done"

    if how == "returns":
        assert await in_a_loop_of_its_own(work) == "done"
    else:
        with pytest.raises(KeyError if how == "raises" else asyncio.CancelledError):
            await in_a_loop_of_its_own(work)


@pytest.mark.parametrize("region", ["eu-west-1\n", "eu west", "a/b", "x.example.org"])
async def test_a_region_is_a_part_of_a_hosts_name_and_no_more(region: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Region|region_name"):
        async with StateClient(region_name=region, session=standard_session()):
            pass
