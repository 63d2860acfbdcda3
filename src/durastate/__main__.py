"""``python -m durastate``: the command."""

from durastate.cli import main

main()
