"""What a service, a file or a program quotes, and what cannot be sent: no secret comes out of it.

In whatever spelling, in no error, nothing that hangs on one, no result, event or log.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from client.support import reading, ref_of, without_delays

import durastate
from durastate import (
    ConfigurationError,
    DurastateError,
    ExecutionRef,
    ServiceError,
    StateClient,
)
from durastate.audit.functions import function_named, versions_of
from durastate.emulator import Emulator

from .canaries import (
    ACCESS_KEY,
    ARN,
    BROKEN_TOKEN,
    KEYS,
    SECRET_KEY,
    SESSION_TOKEN,
    SPELLINGS,
    TOKEN,
    found,
    world,
)
from .quoting import SECRETS, refusing
from .test_secrets import canary_session, everything_logged, everything_said, shown


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """An alias is asked about on an event loop of its own, which serves nobody else."""


def as_lines(line: str, headers: dict[str, str]) -> str:
    return "\r\n".join([*(f"{name}: {value}" for name, value in headers.items()), line])


def as_json(line: str, headers: dict[str, str]) -> str:
    return json.dumps({"headers": headers, "request": line})


@pytest.mark.asyncio
@pytest.mark.parametrize("quote_it", [as_lines, as_json, lambda *request: str(request[::-1])])
async def test_a_service_that_quotes_the_request_is_not_quoted(
    quote_it: Callable[[str, dict[str, str]], str],
) -> None:
    """Some proxies and firewalls answer with the request that they refuse."""
    signatures = []

    def quoted(line: str, headers: dict[str, str]) -> str:
        for long in ("User-Agent", "Host"):  # a message is cut after 500 characters
            del headers[long]
        signatures.append(headers["Authorization"].partition("Signature=")[2])
        return f"cannot do {quote_it(line, headers)} {TOKEN.value}"

    async with (
        refusing(quoted) as url,
        StateClient(endpoint_url=url, session=canary_session()) as client,
    ):
        without_delays(client)
        with pytest.raises(ServiceError, match="left out") as raised:
            await client.get_state(ExecutionRef(ARN, TOKEN.value))
    said = "\n".join(everything_said(raised.value))
    assert found(said) == []
    assert [signature for signature in signatures if signature in said] == []


@pytest.mark.asyncio
@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("secret", SECRETS)
async def test_a_secret_is_not_quoted_in_any_spelling(secret: str) -> None:
    """In errors, pickles, results, events and logs; whatever quotes it is left out."""
    events: list[durastate.Event] = []
    said: list[str] = []
    forms = iter([spelled(SECRETS[secret]) for spelled in SPELLINGS.values()])
    token = BROKEN_TOKEN if secret == "broken-token" else TOKEN.value
    with everything_logged() as log:
        async with refusing(lambda *_: f"before\n{next(forms)} after") as url:
            options: dict[str, Any] = {"session": canary_session(), "hooks": [events.append]}
            async with StateClient(endpoint_url=url, **options) as client:
                without_delays(client)
                refs = [ExecutionRef(ARN, token)] * len(SPELLINGS)
                async with client.fetch_many(refs, max_executions=1) as results:
                    async for result in results:
                        assert result.error is not None
                        said += [*everything_said(result.error), shown(result)]
                        assert "left out" in str(result.error)
    said += map(shown, events)
    for text in ("\n".join(said), "\n".join(log.texts)):
        assert found(text) == []
        assert [name for name, spelled in SPELLINGS.items() if spelled(token) in text] == []


@pytest.mark.asyncio
async def test_what_is_said_of_an_alias_quotes_no_key_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in zip(KEY_VARIABLES, (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN), strict=True):
        monkeypatch.setenv(name, value.value)
    alias = function_named("order-flow:live")
    for spelling in ("as it is", "in a URL, in small letters", "every byte escaped as in HTML"):
        text = SPELLINGS[spelling](SESSION_TOKEN.value)
        async with refusing(lambda *_, text=text: text) as url:  # type: ignore[misc]
            with pytest.raises(DurastateError, match="left out") as raised:
                await versions_of(alias, profile=None, region="eu-west-1", endpoint_url=url)
        assert found("\n".join(everything_said(raised.value))) == []


# What cannot be sent

KEY_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@pytest.mark.asyncio
@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("variable", KEY_VARIABLES)
@pytest.mark.parametrize("byte", [b"\xff", b"\x01"], ids=repr)
async def test_keys_that_cannot_be_sent_are_one_error_that_holds_none(
    variable: str, byte: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a character's error holds all that was to be encoded: the request and both tokens."""
    for name, value in zip(KEY_VARIABLES, (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN), strict=True):
        monkeypatch.setenv(name, value.value)
    text = os.environ[variable].encode() + byte + b"x"
    monkeypatch.setenv(variable, os.fsdecode(text))
    async with Emulator(world(), credentials=KEYS) as emulator:
        options: dict[str, Any] = {"region_name": "eu-west-1", "session": None}
        with pytest.raises(ConfigurationError, match="the credentials hold") as raised:
            async with reading(emulator, **options) as client:
                await client.get_state(ref_of(emulator))
        assert len(emulator.log) == 0
    assert found("\n".join(everything_said(raised.value))) == []
    alias, nowhere = function_named("f:live"), "http://127.0.0.1:9"
    with pytest.raises(DurastateError) as failed:
        await versions_of(alias, profile=None, region="eu-west-1", endpoint_url=nowhere)
    assert found("\n".join(everything_said(failed.value))) == []


@pytest.mark.asyncio
async def test_a_user_agent_that_cannot_be_sent_is_an_error_without_the_request() -> None:
    options: dict[str, Any] = {"session": canary_session(), "endpoint_url": "http://127.0.0.1:9"}
    config = AioConfig(user_agent_extra="x\udcff")
    async with StateClient(config=config, **options) as client:
        with pytest.raises(ConfigurationError, match="no UTF-8") as raised:
            await client.get_state(ExecutionRef(ARN, TOKEN.value))
    assert found("\n".join(everything_said(raised.value))) == []


Making = Callable[[Path, pytest.MonkeyPatch], None]


def _credentials_file(text: bytes) -> Making:
    def make(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (path / "credentials").write_bytes(text)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path / "credentials"))

    return make


def _credential_process(script: str) -> Making:
    def make(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (path / "process.py").write_text(script)
        command = f"{sys.executable} -I -S {path / 'process.py'}"
        (path / "config").write_text(f"[default]\ncredential_process = {command}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(path / "config"))

    return make


_PAIR = f"aws_access_key_id = {ACCESS_KEY.value}\naws_secret_access_key"
_SAID = f'{{"SecretAccessKey": "{SECRET_KEY.value}"'
BROKEN_SOURCES = {
    "a line without =": _credentials_file(f"[default]\n{_PAIR} {SECRET_KEY.value}\n".encode()),
    "no UTF-8": _credentials_file(f"[default]\n{_PAIR} = {SECRET_KEY.value}".encode() + b"\xff\n"),
    "before any section": _credentials_file(f"{_PAIR} = {SECRET_KEY.value}\n".encode()),
    "a process that prints no JSON": _credential_process(f"print({_SAID!r})"),
    "a process that fails with its keys": _credential_process(f"raise SystemExit({_SAID!r})"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("source", BROKEN_SOURCES)
async def test_a_broken_source_of_credentials_is_an_error_without_what_it_holds(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BROKEN_SOURCES[source](tmp_path, monkeypatch)
    with pytest.raises(ConfigurationError) as raised:
        async with StateClient(region_name="eu-west-1"):
            pass
    assert found("\n".join(everything_said(raised.value))) == []
