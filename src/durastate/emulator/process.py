"""The emulator in a process of its own, so that its work does not share the client's core.

The child gets its whole configuration as one JSON line on stdin and says one JSON line on stdout
when it is ready. It ends when its stdin does: a parent that is killed closes the pipe, so nothing
is left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Self, Unpack

from aiobotocore.session import AioSession

from durastate.emulator.behaviour import Options
from durastate.emulator.faults import FaultPlan
from durastate.emulator.service import Emulator, session_with
from durastate.emulator.signatures import STANDARD, Credentials
from durastate.emulator.world import World

_STOP_TIMEOUT_S = 5
_PARENT_CHECK_S = 1


@dataclass(frozen=True)
class Configuration:
    """All that an emulator in another process is told."""

    world: World
    faults: FaultPlan
    credentials: tuple[Credentials, ...]
    port: int
    options: Options

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "world": self.world.to_dict(),
                "faults": self.faults.to_dict(),
                "credentials": [_plain(credentials) for credentials in self.credentials],
                "port": self.port,
                "options": self.options,
            }
        ).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        data = json.loads(text)
        return cls(
            world=World.from_dict(data["world"]),
            faults=FaultPlan.from_dict(data["faults"]),
            credentials=tuple(map(_credentials, data["credentials"])),
            port=data["port"],
            options=data["options"],
        )

    def emulator(self) -> Emulator:
        return Emulator(
            self.world,
            self.faults,
            credentials=self.credentials,
            port=self.port,
            **self.options,
        )


class EmulatorProcess:
    """``Emulator`` in its own process; the same arguments, without a clock of the test's own.

    ``async with`` starts it and waits until it is ready. The log stays in the other process.
    """

    def __init__(
        self,
        world: World | None = None,
        faults: FaultPlan | None = None,
        *,
        credentials: Credentials | Sequence[Credentials] = STANDARD,
        port: int = 0,
        start_timeout_s: float = 30,
        **options: Unpack[Options],
    ) -> None:
        accepted = (credentials,) if isinstance(credentials, Credentials) else tuple(credentials)
        self.world = World() if world is None else world
        self.faults = FaultPlan() if faults is None else faults
        self.faults.check(self.world)
        self.credentials = accepted[0]
        self.endpoint_url = ""
        self._configuration = Configuration(self.world, self.faults, accepted, port, options)
        self._start_timeout_s = start_timeout_s
        self._child: asyncio.subprocess.Process | None = None
        self._errors: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child else None

    def session(self) -> AioSession:
        """An aiobotocore session with the emulator's keys and nothing from profiles or files."""
        return session_with(self.credentials)

    async def __aenter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __aexit__
        try:
            self._child = await asyncio.create_subprocess_exec(
                *_python(),
                *("--config", "-"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self._errors,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
            self.endpoint_url = await self._ready(self._child)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        child, self._child = self._child, None
        errors, self._errors = self._errors, None
        try:
            if child is not None:
                await _stop(child)
        finally:
            if errors is not None:
                errors.close()

    async def _ready(self, child: asyncio.subprocess.Process) -> str:
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(ConnectionError):
            child.stdin.write(self._configuration.to_json() + b"\n")
            await child.stdin.drain()
        try:
            line = await asyncio.wait_for(child.stdout.readline(), self._start_timeout_s)
        except TimeoutError:
            limit = f"{self._start_timeout_s:g} s"
            raise RuntimeError(f"the emulator was not ready after {limit}") from None
        if not line:
            status = await child.wait()
            raise RuntimeError(f"the emulator ended at once, status {status}: {self._said()}")
        return str(json.loads(line)["endpoint_url"])

    def _said(self) -> str:
        assert self._errors is not None
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-2_000:] or "it said nothing"


async def serve(configuration: Configuration, *, watch_stdin: bool) -> None:
    """Run until a signal, or with ``watch_stdin`` until stdin or the parent has gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if watch_stdin:
        with suppress(PermissionError):  # a file: it has no end to wait for
            loop.add_reader(0, _on_stdin, stop)
    async with configuration.emulator() as emulator:
        ready = {
            "endpoint_url": emulator.endpoint_url,
            "access_key_id": emulator.credentials.access_key_id,
            "secret_access_key": emulator.credentials.secret_access_key,
            "session_token": emulator.credentials.session_token,
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        parent = os.getppid()
        while not stop.is_set() and (not watch_stdin or os.getppid() == parent):
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _PARENT_CHECK_S)
    if watch_stdin:
        loop.remove_reader(0)


def _on_stdin(stop: asyncio.Event) -> None:
    if not os.read(0, 4096):
        stop.set()


async def _stop(child: asyncio.subprocess.Process) -> None:
    """End the child: its stdin first, which it obeys, and a kill if it does not."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        await asyncio.wait_for(child.wait(), _STOP_TIMEOUT_S)
    except TimeoutError:
        pass
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def _python() -> list[str]:
    """The interpreter that runs here, with its options, to run the emulator's `main`.

    It imports from where this process does, and not from the current directory: `-m` and `-c`
    alone would put that first.
    """
    # As multiprocessing does it; there is no public way.
    options: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    code = (
        f"import sys; sys.path[:] = {_import_path()!r}; "
        f"from durastate.emulator.__main__ import main; main()"
    )
    return [sys.executable, *options, "-P", "-s", "-c", code]


def _import_path() -> list[str]:
    """Where this process imports from, without the current directory: unless we are from there."""
    here, source = Path().resolve(), Path(__file__).parents[2].resolve()
    found = [(str(Path(entry).absolute()), Path(entry).resolve()) for entry in sys.path]
    return [entry for entry, place in found if place != here or place == source]


def _environment() -> dict[str, str]:
    """This process's environment without what a Python goes by as it starts.

    `_python` says all of that; but where the standard library is cannot be said otherwise.
    """
    kept = () if sys.flags.ignore_environment else ("PYTHONHOME",)
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or not name.startswith("PYTHON")
    }


def _plain(credentials: Credentials) -> dict[str, Any]:
    expires = credentials.expires_at
    return {**asdict(credentials), "expires_at": expires.isoformat() if expires else None}


def _credentials(data: Mapping[str, Any]) -> Credentials:
    expires = data["expires_at"]
    return Credentials(
        **{**data, "expires_at": datetime.fromisoformat(expires) if expires else None}
    )
