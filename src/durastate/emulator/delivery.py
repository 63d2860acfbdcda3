"""Send an :class:`Answer` over an aiohttp connection, in the manner that it asks for."""

from __future__ import annotations

import asyncio
import socket
import struct
from datetime import datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

from aiohttp import web

from durastate.emulator.answers import Answer, Delivery

_LINGER_ZERO = struct.pack("ii", 1, 0)


async def deliver(request: web.BaseRequest, answer: Answer, now: datetime) -> web.StreamResponse:
    """Send the answer; ``now`` is what the Date header says, the answer's own skew added."""
    headers = _headers(answer, now)
    if answer.delay_s > 0:
        await asyncio.sleep(answer.delay_s)
    if answer.delivery is Delivery.WHOLE:
        return web.Response(status=answer.status, body=answer.body, headers=headers)
    if answer.delivery is Delivery.RESET:
        reset(request.transport)
        return web.Response()
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    if answer.delivery is Delivery.SLOW:
        await _trickle(response, answer)
        return response
    await response.write(answer.body[: len(answer.body) // 2])
    if answer.delivery is Delivery.RESET_IN_BODY:
        reset(request.transport)
    elif request.transport is not None:
        request.transport.close()
    return response


async def _trickle(response: web.StreamResponse, answer: Answer) -> None:
    for start in range(0, len(answer.body), answer.chunk_bytes):
        if start:
            await asyncio.sleep(answer.pause_s)
        await response.write(answer.body[start : start + answer.chunk_bytes])
    await response.write_eof()


def _headers(answer: Answer, now: datetime) -> dict[str, str]:
    moment = now + timedelta(seconds=answer.clock_skew_s)
    headers = {
        "Date": format_datetime(moment.replace(microsecond=0), usegmt=True),
        "Content-Type": answer.content_type,
    }
    if answer.from_service:
        headers["x-amzn-RequestId"] = str(uuid4())
    return headers | dict(answer.headers)


def reset(transport: asyncio.Transport | None) -> None:
    """End a connection with a TCP reset, not with an orderly end."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()
