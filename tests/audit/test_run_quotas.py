"""What an account allows: of Service Quotas where it answers, otherwise as published."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from durastate.audit.places import Place
from durastate.audit.plan import Experience, make_plan, pages_each, time_left
from durastate.audit.quotas import Quota, facts_of, published
from durastate.errors import ConfigurationError
from durastate.requests import GET_HISTORY, LIST_EXECUTIONS

pytestmark = pytest.mark.asyncio
HISTORY_CODE, LIST_CODE = "L-BA29C22B", "L-6A3611ED"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """aiobotocore is loaded in a thread; the tests' own server is none of the library's."""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")


@contextmanager
def service_quotas(answers: dict[str, float | None]) -> Iterator[tuple[str, list[Any]]]:
    """Service Quotas with these values by code; None is a refusal. And what was asked."""
    asked: list[Any] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.headers["X-Amz-Target"], body))
            value = answers[body["QuotaCode"]]
            answer: dict[str, Any] = {"Quota": {"Value": value}}
            if value is None:
                answer = {"__type": "AccessDeniedException", "Message": "no"}
            data = json.dumps(answer).encode()
            self.send_response(200 if value is not None else 400)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


async def test_service_quotas_says_what_the_account_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with service_quotas({HISTORY_CODE: 100, LIST_CODE: 40}) as (url, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", url)
        facts = await facts_of(None, "eu-west-1", None)
    assert facts.quotas == {GET_HISTORY: Quota(100), LIST_EXECUTIONS: Quota(40)}
    assert (facts.region, facts.is_own_endpoint) == ("eu-west-1", False)
    assert (facts.rate(GET_HISTORY, "default"), facts.rate(LIST_EXECUTIONS, 0.5)) == (80, 20)
    assert facts.rate(GET_HISTORY, None) == float("inf")
    assert str(facts.quotas[GET_HISTORY]) == "100/s Service Quotas"
    assert {target for target, _ in asked} == {"ServiceQuotasV20190624.GetServiceQuota"}
    assert {(body["ServiceCode"], body["QuotaCode"]) for _, body in asked} == {
        ("lambda", HISTORY_CODE),
        ("lambda", LIST_CODE),
    }


async def test_where_it_may_not_be_asked_the_published_quota_holds_and_the_reason_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with service_quotas({HISTORY_CODE: None, LIST_CODE: 40}) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", url)
        facts = await facts_of(None, "eu-west-1", None)
    assert facts.quotas == {
        GET_HISTORY: Quota(15, "Service Quotas says AccessDeniedException"),
        LIST_EXECUTIONS: Quota(40),
    }


async def test_where_it_cannot_be_reached_the_published_quotas_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", NOWHERE)
    facts = await facts_of(None, "eu-west-1", None)
    why = "Service Quotas cannot be asked (EndpointConnectionError)"
    assert facts.quotas == published("eu-west-1", why)


async def test_at_an_endpoint_of_one_s_own_nobody_is_asked_and_nothing_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    for url, variable in ((NOWHERE, ""), (None, "AWS_ENDPOINT_URL_LAMBDA")):
        if variable:
            monkeypatch.setenv(variable, NOWHERE)
        facts = await facts_of(None, None, url)
        assert (facts.region, facts.is_own_endpoint) == ("eu-west-3", True)
        assert facts.quotas == published("eu-west-3", "the endpoint is no AWS endpoint")
        assert facts.rate(GET_HISTORY, "default") == float("inf")
        assert facts.rate(GET_HISTORY, 0.5) == 7.5


async def test_an_interface_endpoint_is_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", NOWHERE)
    url = "https://vpce-1.lambda.eu-west-1.vpce.amazonaws.com"
    facts = await facts_of(None, "eu-west-1", url)
    assert facts.is_own_endpoint is False


async def test_an_unknown_profile_is_a_matter_of_configuration() -> None:
    with pytest.raises(ConfigurationError, match="nobody"):
        await facts_of("nobody", "eu-west-1", None)


# Reckoning


async def test_a_plan_reckons_with_what_the_directory_has_seen() -> None:
    place = Place(None, "eu-west-1")
    options: dict[str, Any] = {
        "already": 5,
        "listings": 2,
        "max_items": 1_000,
        "format": "parquet",
        "payloads": "none",
    }
    rates = {place: (12.0, Quota(15))}
    guessed = make_plan({place: 1_200}, rates, experience=Experience(3, 9_000), **options)
    assert (guessed.found, guessed.to_read, guessed.requests) == (1_205, 1_200, 1_200)
    assert guessed.seconds == 100
    seen = make_plan({place: 1_200}, rates, experience=Experience(100, 100_000), **options)
    assert seen.requests == 2_640  # 1,000 operations are 2,200 events
    assert seen.seconds == 220
    assert seen.bytes > guessed.bytes
    larger = make_plan(
        {place: 1_200}, rates, experience=Experience(), **options | {"format": "jsonl"}
    )
    assert larger.bytes > guessed.bytes


async def test_several_places_take_as_long_as_the_slowest() -> None:
    here, there = Place(None, "eu-west-1"), Place("other", "us-east-1")
    plan = make_plan(
        {here: 120, there: 30},
        {here: (12.0, Quota(15)), there: (1.0, Quota(15, "published"))},
        already=0,
        listings=2,
        experience=Experience(),
        max_items=1_000,
        format="parquet",
        payloads="none",
    )
    assert [share.seconds for share in plan.shares] == [10, 30]
    assert plan.seconds == 30


async def test_pages_and_time_left() -> None:
    assert [pages_each(operations, 100) for operations in (1, 45, 100)] == [1, 1, 2.2]
    assert pages_each(100, 0) == pages_each(100, 100)
    assert time_left(50, 100, 20.0) == 10
    assert time_left(50, 0, 20.0) is None
