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
        print(  # noqa: T201
            f"durastate: the command needs {error.name}: pip install '.[cli]' in durastate's clone",
            file=sys.stderr,
        )
        sys.exit(255)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(run())
