"""Reaching into what carries a client's requests: names, the age of connections, time-outs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import aiohttp.connector
import pytest
from aiohttp.abc import AbstractResolver

from durastate import StateClient
from durastate.http1 import Http1
from durastate.transport import HttpTransport


class Names(AbstractResolver):
    """Resolves every name to this machine, unless it is told to fail; for both transports."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses or ("127.0.0.1",)
        self.asked = 0
        self.failures = 0

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[Any]:
        del family
        self._ask()
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in self._addresses
        ]

    async def getaddrinfo(self, host: str, port: int, **options: int) -> list[Any]:
        """In the place of the running loop's."""
        del host, options
        self._ask()
        found = [(address, port) for address in self._addresses]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]

    def _ask(self) -> None:
        self.asked += 1
        if self.failures:
            self.failures -= 1
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async def close(self) -> None:
        pass

    async def stand_in(self, client: StateClient, patch: pytest.MonkeyPatch) -> None:
        """Resolve what `client` looks up from now on."""
        patch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.getaddrinfo)
        connector: Any = client._account._endpoints["eu-west-1"].session.connector
        await connector._resolver.close()
        connector._resolver = self


Later = Callable[[float], None]


def ageing(client: StateClient, patch: pytest.MonkeyPatch) -> Later:
    """Lets the connections and the known names of `client` be so many seconds older."""
    ahead = 0.0
    clock = aiohttp.connector.monotonic

    def go(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds
        for connection in idle_connections(client):
            connection.idle_since -= seconds
            connection.ends_at -= seconds

    patch.setattr(aiohttp.connector, "monotonic", lambda: clock() + ahead)
    return go


def idle_connections(client: StateClient) -> list[Any]:
    """Those of our own transport; none with the other."""
    carriers = _carriers(client)
    return [each for carrier in carriers if isinstance(carrier, Http1) for each in carrier._idle]


def patient(client: StateClient, attempt_timeout_s: float) -> None:
    """Give the next attempts of a client more time."""
    for carrier in _carriers(client):
        carrier.timeout_s = attempt_timeout_s


def _carriers(client: StateClient) -> list[Any]:
    transport = client._transport
    assert isinstance(transport, HttpTransport)
    return list(transport._carriers.values())
