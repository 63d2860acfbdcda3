"""Every argument of the public API with what it cannot be: one clear line, of an error of ours."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from durastate import (
    ConfigurationError,
    DurastateError,
    ExecutionRef,
    Limits,
    RetryPolicy,
    StateClient,
    decode_page,
)
from durastate.testing import ScriptedTransport, page, step

from .support import standard_session

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f:1/durable-execution/run/id"
REF = ExecutionRef(ARN, "AAAA")
BAD = [
    *(None, 0, -1, True, 1.5, math.nan, math.inf, -math.inf, 10**400, 10**5_000),
    *("", "x", "\ud800", "a" * 5_000, "a\x00b", "a\nb", b"x", [], [1], ["x"], {}, {"a": 1}, {1}),
    *(object(), object, print, iter([]), Decimal(1), Path("x")),
    *(datetime(2020, 1, 1), datetime.max.replace(tzinfo=UTC)),  # noqa: DTZ001
]
METHODS: dict[str, tuple[str, ...]] = {
    "get_page": ("ref", "marker", "max_items", "timeout_s"),
    "iter_pages": ("ref", "marker", "max_items"),
    "get_state": ("ref", "max_items", "timeout_s"),
    "get_execution": ("arn", "include_execution_data", "timeout_s"),
    "iter_history": (*("arn", "include_execution_data", "reverse_order", "marker", "max_items"),),
    "get_state_from_history": ("arn", "include_execution_data", "max_items", "timeout_s"),
    "list_executions": (
        *("function_name", "qualifier", "execution_name", "statuses", "started_after"),
        *("started_before", "reverse_order", "max_items"),
    ),
    "fetch_many": ("refs", "max_executions", "max_items", "source", "include_execution_data"),
    "stream_pages": ("refs", "max_executions", "max_items"),
}
GOOD: dict[str, Any] = {"ref": REF, "arn": ARN, "function_name": "f", "refs": [REF]}


def assert_clear(
    error: BaseException, what: str, kind: type[BaseException] = DurastateError
) -> None:
    """One of ours with a line of its own; or, of refs alone, Python's TypeError that names them."""
    if isinstance(error, TypeError) and str(error).startswith("refs: expected "):
        return
    assert isinstance(error, kind), (what, error)
    assert len(str(error).splitlines()) == 1, (what, error)
    assert len(str(error)) < 1_000, (what, error)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "name",
    [
        *("region_name", "profile_name", "endpoint_url", "session", "config"),
        *("limits", "retry", "hooks"),
    ],
)
async def test_what_a_client_is_made_of(name: str) -> None:
    for bad in BAD:
        given = {"session": standard_session(), "region_name": "eu-west-1", name: bad}
        if name == "profile_name":
            del given["session"]
        try:
            async with StateClient(**given):
                pass
        except Exception as error:  # noqa: BLE001
            assert_clear(error, name, ConfigurationError)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [Limits, RetryPolicy])
async def test_what_limits_and_retries_are_made_of(kind: type) -> None:
    for field in fields(kind):
        for bad in BAD + [{"GetDurableExecutionState": bad} for bad in BAD]:
            given = {field.name: bad}
            try:
                made = kind(**given) if field.init else kind()
                argument = "limits" if kind is Limits else "retry"
                transport = ScriptedTransport([page(step("1"))])
                async with transport.client(**{argument: made}) as client:
                    await client.get_state(REF)
            except Exception as error:  # noqa: BLE001
                assert_clear(error, field.name)


@pytest.mark.asyncio
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("own_endpoint", [True, False])
async def test_what_methods_are_given(method: str, own_endpoint: bool) -> None:
    transport = ScriptedTransport(lambda _: page(step("1")), own_endpoint=own_endpoint)
    async with transport.client() as client:
        for argument in METHODS[method]:
            bad_refs = [ExecutionRef(bad, "AAAA") for bad in BAD]
            bad_refs += [ExecutionRef(ARN, bad) for bad in BAD]
            for bad in BAD + (bad_refs if argument == "ref" else []):
                given = {name: GOOD[name] for name in METHODS[method] if name in GOOD}
                try:
                    async with asyncio.timeout(5):
                        await asked(getattr(client, method), given | {argument: bad})
                except Exception as error:  # noqa: BLE001
                    assert_clear(error, f"{method}: {argument}")


async def asked(method: Callable[..., Any], given: dict[str, Any]) -> None:
    """Ask, and take whatever comes."""
    answer = method(**given)
    if hasattr(answer, "__aenter__"):
        async with answer as results:
            async for _ in results:
                pass
    elif hasattr(answer, "__aiter__"):
        async for _ in answer:
            pass
    else:
        await answer


@pytest.mark.parametrize("read", [decode_page, ExecutionRef.from_event])
def test_what_is_decoded(read: Callable[[Any], Any]) -> None:
    for bad in BAD:
        try:
            read(bad)
        except Exception as error:  # noqa: BLE001
            assert_clear(error, read.__name__)


def test_a_reference_shows_nothing_that_it_should_not_and_has_no_parts_of_nonsense() -> None:
    for bad in BAD:
        if bad is not BAD[9]:  # of which Python itself prints nothing
            assert repr(ExecutionRef(bad, "canary")).count("canary") == 0
        with pytest.raises(DurastateError, match=r"^arn: "):
            _ = ExecutionRef(bad).region


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("htp://127.0.0.1:1", "expected http://… or https://…, found htp://"),
        ("unix:///run/lambda", "endpoint"),
        ("http://127.0.0.1:99999", "[Pp]ort"),
        ("http://127.0.0.1:0", "port from 1"),
        ("ftp://somebody:canary@127.0.0.1", "found ftp://"),
    ],
)
async def test_an_endpoint_that_cannot_be_sent_to(url: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected) as raised:
        async with StateClient(
            session=standard_session(), region_name="eu-west-1", endpoint_url=url
        ):
            pass
    assert "canary" not in str(raised.value)


# The environment

VARIABLES = (
    *("AWS_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE"),
    *("AWS_CA_BUNDLE", "AWS_ENDPOINT_URL_LAMBDA", "AWS_USE_FIPS_ENDPOINT", "AWS_MAX_ATTEMPTS"),
    *("AWS_RETRY_MODE", "AWS_DEFAULTS_MODE", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"),
    *("AWS_METADATA_SERVICE_TIMEOUT", "HTTPS_PROXY", "NO_PROXY"),
)


@pytest.mark.asyncio
@pytest.mark.parametrize("variable", VARIABLES)
async def test_what_the_environment_says(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOURS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for bad in ("", "x", "-1", "a\nb", "\udcff", "htp://127.0.0.1:1"):
        monkeypatch.setenv(variable, bad)
        try:
            async with StateClient():
                pass
        except Exception as error:  # noqa: BLE001
            assert_clear(error, f"{variable}={bad!r}", ConfigurationError)


# Event loops


def test_on_trio_or_without_a_loop_it_says_that_asyncio_is_needed() -> None:
    """trio's tasks are coroutines that run while no event loop of asyncio's does, as here."""
    client = ScriptedTransport([page()]).client()
    for begun in (client.__aenter__(), client.fetch_many([]).__aenter__()):
        with pytest.raises(ConfigurationError, match=r"asyncio alone.* not on trio"):
            begun.send(None)


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_client_belongs_to_the_event_loop_in_which_it_was_entered(is_closed: bool) -> None:
    first = asyncio.new_event_loop()
    client = ScriptedTransport([page(step("1"))]).client()
    first.run_until_complete(client.__aenter__())
    bulk = client.fetch_many([REF])
    first.run_until_complete(bulk.__aenter__())
    if is_closed:
        first.run_until_complete(bulk.__aexit__(None, None, None))
        first.close()

    async def elsewhere() -> None:
        for read in (
            client.get_state(REF),
            anext(client.iter_pages(REF)),
            anext(client.list_executions("f")),
            anext(bulk),
            client.__aexit__(None, None, None),
        ):
            with pytest.raises(ConfigurationError, match="another event loop") as raised:
                await read
            assert ("which is closed" in str(raised.value)) is is_closed

    asyncio.run(elsewhere())
    if not is_closed:
        first.run_until_complete(bulk.__aexit__(None, None, None))
        first.run_until_complete(client.__aexit__(None, None, None))
        first.close()


def test_limits_outlive_an_event_loop_and_are_for_one_at_a_time() -> None:
    limits = Limits(max_requests=1)

    async def read() -> int:
        transport = ScriptedTransport([page(step("1"))])
        client = transport.client(limits=limits)
        async with client, client.fetch_many([REF] * 5) as results:
            return len([result async for result in results])

    for _ in range(2):
        assert asyncio.run(read()) == 5
    first = asyncio.new_event_loop()
    client = ScriptedTransport([page()]).client(limits=limits)
    first.run_until_complete(client.__aenter__())
    with pytest.raises(ConfigurationError, match=r"limits: .*another event loop"):
        asyncio.run(read())
    first.run_until_complete(client.__aexit__(None, None, None))
    first.close()
