"""The call itself: pages, parameters, tokens, the rate and the log."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import botocore.session
import pytest
from botocore.exceptions import ClientError

from durastate.emulator import Credentials, Emulator, Execution, World
from durastate.emulator.answers import ERRORS
from durastate.emulator.behaviour import Allowance
from durastate.emulator.pages import Encoded

from .wire import Caller, Clock, target

Call = Callable[[Emulator], Caller]


async def paginated(emulator: Emulator, index: int, page_size: int) -> list[list[dict[str, Any]]]:
    """What plain aiobotocore reads, page by page."""
    client = emulator.session().create_client(
        "lambda", region_name="eu-west-1", endpoint_url=emulator.endpoint_url
    )
    async with client as service:
        pages = service.get_paginator("get_durable_execution_state").paginate(
            DurableExecutionArn=emulator.world.arn(index),
            CheckpointToken=emulator.world.token(index),
            PaginationConfig={"PageSize": page_size},
        )
        return [page["Operations"] async for page in pages]


@pytest.mark.asyncio
async def test_aiobotocore_reads_every_operation_in_order_whatever_the_pages() -> None:
    world = World(seed=2, executions=8, operations=(1, 2, 99, 100, 101, 640, 1_000, 1_001))
    async with Emulator(world, short_pages=0.5, page_bytes=60_000) as emulator:
        for index in range(8):
            pages = await paginated(emulator, index, 100)
            read = [operation["Id"] for page in pages for operation in page]
            assert read == [operation["Id"] for operation in world.visible_operations(index)]
        statuses = {request.status for request in emulator.log}
        assert statuses == {200}


@pytest.mark.asyncio
async def test_the_bytes_on_the_wire_are_the_worlds_operations(call: Call) -> None:
    world = World(executions=2, operations=(30, 3_000))
    async with Emulator(world) as emulator:
        for index in range(2):
            pages = await call(emulator).all_pages(index)
            read = [operation for page in pages for operation in page["Operations"]]
            assert read == world.visible_operations(index)
        assert [len(page["Operations"]) for page in pages] == [1_000] * 3
        assert "NextMarker" not in pages[-1]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("max_items", "expected"), [(None, 100), (0, 100), (1, 1), (100, 100), (999, 150), (1_000, 150)]
)
async def test_max_items(call: Call, max_items: int | None, expected: int) -> None:
    async with Emulator(World(executions=1, operations=150)) as emulator:
        answer = await call(emulator).state(0, None, max_items)
        assert len(answer.content["Operations"]) == expected


@pytest.mark.asyncio
@pytest.mark.parametrize("max_items", ["-1", "1001", "ten", "", "1.0", " 5", "٣", "9" * 5_000])
async def test_max_items_out_of_range(call: Call, max_items: str) -> None:
    async with Emulator(World(executions=1)) as emulator:
        answer = await call(emulator).state(0, None, max_items)
        assert (answer.status, answer.code) == (400, "InvalidParameterValueException")
        assert "maxItems" in answer.message


@pytest.mark.asyncio
@pytest.mark.parametrize("token", [None, "", "not base64!", "AAAA===", "A" * 2_049])
async def test_a_missing_or_malformed_token(call: Call, token: str | None) -> None:
    async with Emulator(World(executions=1)) as emulator:
        answer = await call(emulator).signed(target(emulator.world.arn(0), token))
        assert (answer.status, answer.code) == (400, "InvalidParameterValueException")
        assert "checkpointToken" in answer.message


@pytest.mark.asyncio
async def test_another_executions_token_and_an_unknown_execution(call: Call) -> None:
    async with Emulator(World(executions=2)) as emulator:
        world = emulator.world
        foreign = target(world.arn(0), world.token(1))
        unknown = target(World(executions=3).arn(2), world.token(0))
        for path in (foreign, unknown):
            answer = await call(emulator).signed(path)
            assert (answer.status, answer.message) == (400, "Invalid checkpoint token")


@pytest.mark.asyncio
async def test_what_is_no_arn(call: Call) -> None:
    async with Emulator(World(executions=1)) as emulator:
        answer = await call(emulator).signed(target("arn:aws:lambda:nowhere", "AAAA"))
        assert (answer.status, answer.code) == (400, "InvalidParameterValueException")
        assert "durableExecutionArn" in answer.message


@pytest.mark.asyncio
async def test_a_token_is_refused_when_a_newer_one_exists(call: Call) -> None:
    async with Emulator(World(executions=2, operations=30)) as emulator:
        caller, arn = call(emulator), emulator.world.arn(0)
        marker = (await caller.state(0, None, 10)).content["NextMarker"]
        newer = emulator.renew_token(arn)
        old = await caller.state(0)
        fresh = await caller.signed(target(arn, newer))
        stale_marker = await caller.signed(target(arn, newer, marker))
        assert (old.status, old.message) == (400, "Invalid checkpoint token")
        assert len(fresh.content["Operations"]) == 30
        assert (stale_marker.status, stale_marker.message) == (400, "Invalid marker")
        assert emulator.renew_token(arn) not in {newer, emulator.world.token(0)}
        with pytest.raises(KeyError):
            emulator.renew_token("unknown")


@pytest.mark.asyncio
async def test_a_page_ends_where_its_bytes_do(call: Call) -> None:
    world = World(executions=1, operations=300, payload_size=500)
    async with Emulator(world, page_bytes=20_000) as emulator:
        pages = await call(emulator).all_pages(0)
        sizes = [len(page["Operations"]) for page in pages]
        assert sum(sizes) == 300
        assert min(sizes) > 1
        assert len(sizes) > 5
        answer = await call(emulator).state(0, None, 1_000)
        assert len(answer.body) <= 20_000


@pytest.mark.asyncio
async def test_an_operation_larger_than_a_page_goes_alone(call: Call) -> None:
    world = World(executions=1, operations=4, payload_size=50_000)
    async with Emulator(world, page_bytes=1_000) as emulator:
        pages = await call(emulator).all_pages(0)
        read = [operation for page in pages for operation in page["Operations"]]
        assert read == world.visible_operations(0)


@pytest.mark.asyncio
async def test_short_and_empty_pages_occur_by_themselves_and_nothing_is_missing(call: Call) -> None:
    world = World(executions=30, operations=50)
    async with Emulator(world, short_pages=0.5) as emulator:
        sizes: list[list[int]] = []
        for index in range(30):
            pages = await call(emulator).all_pages(index, 10)
            read = [operation for page in pages for operation in page["Operations"]]
            assert read == world.visible_operations(index)
            sizes.append([len(page["Operations"]) for page in pages])
        assert any(0 in found[:-1] for found in sizes)
        assert any(found[-1] == 0 for found in sizes)
        assert any(0 < size < 10 for found in sizes for size in found[:-2])


@pytest.mark.asyncio
async def test_the_server_may_give_less_than_asked_for(call: Call) -> None:
    async with Emulator(World(executions=1, operations=25), max_page_items=10) as emulator:
        pages = await call(emulator).all_pages(0)
        assert [len(page["Operations"]) for page in pages] == [10, 10, 5]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/", "GET"),
        ("/2025-12-01/durable-executions/a%3Ab/state/", "GET"),
        ("/2025-12-01/durable-executions/arn:x:y/durable-execution/n/i/state", "GET"),
        ("/2025-12-01/durable-executions/a/state", "POST"),
        ("/2025-12-01/durable-executions/a/checkpoint", "POST"),
        ("/2015-03-31/functions", "GET"),
        ("/%00/../..", "GET"),
    ],
)
async def test_anything_but_the_known_call_is_refused_and_logged(
    call: Call, path: str, method: str
) -> None:
    async with Emulator(World(executions=1)) as emulator:
        answer = await call(emulator).signed(path, method)
        assert (answer.status, answer.code) == (403, "AccessDeniedException")
        logged = emulator.log[0]
        assert (logged.method, logged.path, logged.arn) == (method, path, None)


@pytest.mark.asyncio
async def test_bytes_that_are_no_url_do_not_upset_the_server(call: Call) -> None:
    async with Emulator(World(executions=1)) as emulator:
        port = int(emulator.endpoint_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        path = b"/2025-12-01/durable-executions/\xff\xfe/state?CheckpointToken=\xff"
        writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        status = await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert status.split()[1] in (b"400", b"403")
        assert (await call(emulator).state(0)).status == 200


@pytest.mark.asyncio
async def test_every_answer_has_request_id_date_and_type(call: Call, clock: Clock) -> None:
    async with Emulator(World(executions=1), now=clock) as emulator:
        caller = call(emulator)
        answers = [
            await caller.state(0, at=clock()),
            await caller.state(0, "bad", at=clock()),
            await caller.raw("/"),
        ]
        for answer in answers:
            assert answer.headers["Date"] == "Thu, 30 Jul 2026 12:00:00 GMT"
            assert answer.headers["Content-Type"] == "application/json"
        assert len({answer.headers["x-amzn-RequestId"] for answer in answers}) == 3


def test_modelled_errors_have_the_models_status_and_message_member() -> None:
    model = botocore.session.Session().get_service_model("lambda")
    modelled = {shape.name: shape for shape in model.error_shapes if shape.name in ERRORS}
    assert len(modelled) >= 8
    for name, shape in modelled.items():
        form = ERRORS[name]
        assert form.status == shape.metadata["error"]["httpStatusCode"]
        assert form.member in shape.members
    call_errors = model.operation_model("GetDurableExecutionState").error_shapes
    assert {shape.name for shape in call_errors} <= set(ERRORS)


@pytest.mark.asyncio
async def test_aiobotocore_understands_an_error() -> None:
    async with Emulator(World(executions=2)) as emulator:
        emulator.renew_token(emulator.world.arn(0))
        with pytest.raises(ClientError) as caught:
            await paginated(emulator, 0, 10)
        assert caught.value.response["Error"] == {
            "Code": "InvalidParameterValueException",
            "Message": "Invalid checkpoint token",
        }


@pytest.mark.asyncio
async def test_executions_written_by_hand_are_served_under_any_key(call: Call) -> None:
    operations = World(operations=3).all_operations(0)
    world = World(executions=0, extra={"uuid/in vocation/ä": Execution("AAAA", operations)})
    async with Emulator(world) as emulator:
        answer = await call(emulator).state(0)
        assert answer.content == {"Operations": operations}


@pytest.mark.asyncio
async def test_the_longest_arn_and_token_fit_in_the_request_line(call: Call) -> None:
    key, token = "ä/" * 300, "+" * 2_046 + "=="
    async with Emulator(World(executions=0, extra={key: Execution(token, [])})) as emulator:
        assert (await call(emulator).state(0)).content == {"Operations": []}


@pytest.mark.asyncio
async def test_what_is_above_the_rate_is_throttled_with_the_hints_asked_for(call: Call) -> None:
    emulator = Emulator(
        World(executions=1), rate=0.001, burst=3, retry_after_s=7, retry_after_ms=250
    )
    async with emulator:
        answers = [await call(emulator).state(0) for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].code == "TooManyRequestsException"
        assert answers[-1].headers["Retry-After"] == "7"
        assert answers[-1].headers["x-amz-retry-after"] == "250"


def test_the_allowance_refills_at_its_rate_up_to_its_burst() -> None:
    moments = iter([0.0, 0.0, 0.0, 0.0, 0.4, 0.5, 0.5, 100, 100, 100])
    allowance = Allowance(2, 2, lambda: next(moments))
    taken = [allowance.take() for _ in range(9)]
    assert taken == [True, True, False, False, True, False, True, True, False]


@pytest.mark.asyncio
async def test_the_log_counts_what_arrived(call: Call) -> None:
    async with Emulator(World(executions=3, operations=20)) as emulator:
        log, world = emulator.log, emulator.world
        emulator.hold()
        async with asyncio.TaskGroup() as tasks:
            for index in (0, 0, 1, 2):
                tasks.create_task(call(emulator).state(index, None, 10))
            await log.wait_for(4)
            assert log.in_flight == 4
            emulator.release()
        await log.wait_idle()
        assert log.per_execution() == {world.arn(0): 2, world.arn(1): 1, world.arn(2): 1}
        assert len(log.of(world.arn(0))) == 2
        assert log.max_concurrent == log.max_in_window(60) == log.connections() == 4
        assert log.in_flight == 0
        assert (log[0].marker_given, log[0].max_items, log[0].status) == (False, 10, 200)
        assert log[0].page == 0
        assert all(world.token(index) not in repr(log[:]) for index in range(3))
        log.clear()
        assert (len(log), log.max_concurrent) == (0, 0)


@pytest.mark.asyncio
async def test_the_log_keeps_a_connection_apart_from_another(call: Call) -> None:
    async with Emulator(World(executions=1)) as emulator:
        for _ in range(3):
            await call(emulator).state(0)
        assert emulator.log.connections() == 1


@pytest.mark.asyncio
async def test_a_client_that_goes_away_ends_its_request(call: Call) -> None:
    async with Emulator(World(executions=1), latency_s=3_600) as emulator:
        request = asyncio.create_task(call(emulator).state(0))
        await emulator.log.wait_for(1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        async with asyncio.timeout(5):
            await emulator.log.wait_idle()


@pytest.mark.asyncio
async def test_only_the_loopback_is_listened_on_and_the_port_is_free_afterwards() -> None:
    async with Emulator(World(executions=1)) as emulator:
        assert emulator.endpoint_url.startswith("http://127.0.0.1:")
        port = int(emulator.endpoint_url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        pass
    async with Emulator(World(executions=1), port=port) as again:
        assert again.endpoint_url.endswith(f":{port}")
        with pytest.raises(OSError, match="address already in use"):
            await Emulator(World(executions=1), port=port).__aenter__()


@pytest.mark.asyncio
async def test_the_session_has_the_emulators_keys_and_no_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    keys = Credentials("mine", "secret", "token")
    session = Emulator(World(executions=1), credentials=keys).session()
    found = await session.get_credentials()
    assert (found.access_key, found.secret_key, found.token) == ("mine", "secret", "token")
    assert session.profile is None


@pytest.mark.asyncio
async def test_tls(call: Call, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    await asyncio.to_thread(
        subprocess.run,
        [
            openssl,
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", certificate),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate, key)
    trusted = ssl.create_default_context(cafile=str(certificate))
    connector = aiohttp.TCPConnector(ssl=trusted)
    async with (
        Emulator(World(executions=1, operations=5), ssl_context=served) as emulator,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        assert emulator.endpoint_url.startswith("https://127.0.0.1:")
        answer = await Caller(emulator, http).state(0)
        assert len(answer.content["Operations"]) == 5


def test_encoded_executions_are_kept_within_a_bound() -> None:
    made: list[int] = []

    def operations_of(index: int) -> list[dict[str, Any]]:
        made.append(index)
        return [{"Id": "x" * 30_000_000}]

    encoded = Encoded(operations_of)
    for index in (0, 0, 1, 0, 2, 0, 1):
        encoded.get(index)
    assert made == [0, 1, 2, 1]
