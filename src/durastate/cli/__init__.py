"""The command `durastate`; it needs the extra `cli`."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

_NEEDED = ("click", "rich")
_INTERRUPTED, _TERMINATED = 130, 143


def main() -> None:
    """Run the command, or say how to install what it needs."""
    try:
        from .app import run

        code = run()
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        print(  # noqa: T201
            f"durastate: the command needs {error.name}: pip install '.[cli]' in durastate's clone",
            file=sys.stderr,
        )
        sys.exit(255)
    except KeyboardInterrupt:  # A second one, or before there was anything to interrupt.
        code = _INTERRUPTED
    if code in (_INTERRUPTED, _TERMINATED):
        # All is said; another one would only break off what Python does at its end.
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            with suppress(KeyboardInterrupt):
                signal.signal(number, signal.SIG_IGN)
    sys.exit(code)
