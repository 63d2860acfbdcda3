"""The command `durastate`; it needs the extra `cli`."""

from __future__ import annotations

import sys

_NEEDED = ("click", "rich")


def main() -> None:
    """Run the command, or say how to install what it needs."""
    try:
        from .app import run
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        message = f"durastate: the command needs {error.name}: pip install 'durastate[cli]'"
        print(message, file=sys.stderr)  # noqa: T201
        sys.exit(255)
    sys.exit(run())
