"""Which of a host's addresses to connect to: none that has just failed, while there are others.

An address may swallow connections, as those of a broken IPv6 or of a dead zone do. So the next one
is tried a quarter of a second later (Happy Eyeballs, RFC 8305), and a retry begins elsewhere.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

# asyncio has this too, uvloop has not.
from aiohappyeyeballs import AddrInfoType, addr_to_addr_infos, start_connection

_DELAY_S = 0.25

Address: TypeAlias = "tuple[Any, ...]"
_T = TypeVar("_T")


class Addresses:
    """Remembers which addresses of a host have failed, and when."""

    def __init__(self) -> None:
        self._known: list[Address] = []
        self._failed: dict[Address, int] = {}
        self._clock = itertools.count(1)

    def failed(self, address: Address) -> None:
        """A connection to it was not made, or was made and kept silent."""
        self._failed[address[:2]] = next(self._clock)

    @contextmanager
    def trying(self, address: Address, deadline: asyncio.Timeout) -> Iterator[None]:
        """An error or the end of the time is a failure of the address, a cancellation is none."""
        try:
            yield
        except BaseException as error:  # The end of the time arrives as a cancellation, too.
            if isinstance(error, Exception) or deadline.expired():
                self.failed(address)
            raise

    def has_another(self, address: Address) -> bool:
        """Whether the host had any but this one when it was last looked up."""
        return any(known != address[:2] for known in self._known)

    def ordered(self, found: Sequence[_T], address_of: Callable[[_T], Address]) -> list[_T]:
        """Put those that have failed last, the one that failed last at the very end."""
        keys = [address_of(each)[:2] for each in found]
        self._known = keys
        self._failed = {key: self._failed[key] for key in keys if key in self._failed}
        return sorted(found, key=lambda each: self._failed.get(address_of(each)[:2], 0))


class Host:
    """Connects to one host, by name or address."""

    def __init__(self, name: str, port: int) -> None:
        self.addresses = Addresses()
        self._name, self._port = name, port

    async def connect(self, deadline: asyncio.Timeout) -> tuple[socket.socket, Address]:
        """Connect to the first address that answers, and say which one it is.

        `deadline` is the one that this runs in.
        """
        loop = asyncio.get_running_loop()
        found = self.addresses.ordered(await self._found(loop), lambda info: info[4])
        first = found[0][4]
        with self.addresses.trying(first, deadline):
            made = await start_connection(found, happy_eyeballs_delay=_DELAY_S, loop=loop)
        try:
            peer: Address = made.getpeername()
        except OSError:  # It is closed already.
            made.close()
            raise
        if peer[:2] != first[:2]:
            self.addresses.failed(first)
        return made, peer

    async def _found(self, loop: asyncio.AbstractEventLoop) -> Sequence[AddrInfoType]:
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in self._name else socket.AF_INET, self._name)
        except OSError:
            return await loop.getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM)
        return addr_to_addr_infos((self._name, self._port)) or ()  # Without a thread.
