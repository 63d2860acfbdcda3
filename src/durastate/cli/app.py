"""The commands: what they are called, what they take, and how they end.

Results go to stdout, everything else to stderr. Exit codes: 0 complete, 130 interrupted, 252
usage, 253 configuration or credentials, 254 the service, 255 anything else.
"""

from __future__ import annotations

import asyncio
import sys

import click

from durastate import ConfigurationError, DurastateError, __version__

_INTERRUPTED, _USAGE, _CONFIGURATION, _SERVICE, _OTHER = 130, 252, 253, 254, 255


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="durastate")
def commands() -> None:
    """Read the state of AWS Lambda durable executions, of many at once."""


@commands.command()
def demo() -> None:
    """Read a thousand executions from a local service; needs no AWS account.

    Starts durastate's embedded service in a process of its own, with 1,000 made-up executions
    of which a dozen are broken in different ways, reads them all, and sums up.

    Example: durastate demo
    """
    from .demo import run_demo

    asyncio.run(run_demo())


def run() -> int:
    """Run the command line and return the exit code."""
    try:
        commands.main(standalone_mode=False)
    except click.exceptions.Abort:
        return _fail("interrupted", _INTERRUPTED)
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return _USAGE
    except ConfigurationError as error:
        return _fail(str(error), _CONFIGURATION)
    except DurastateError as error:
        return _fail(str(error), _SERVICE)
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to say, not even at exit.
        sys.stderr.close()
        return _OTHER
    return 0


def _fail(message: str, code: int) -> int:
    click.echo(f"durastate: {message}", err=True)
    return code
