"""The commands: what they are called and what they take. What they do is in modules of their own.

Those are imported when a command runs, so that `durastate --help` is quick.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from durastate import __version__

from . import completing
from .ending import COMPLETE, OTHER, USAGE, code_of, message_of
from .options import (
    Connection,
    NamedPath,
    Number,
    WithFaults,
    audit_connection_options,
    connection_options,
    history_connection_options,
)
from .streams import let_go, open_closed, results, say, unheard

_stat_option = click.option(
    "--stat", is_flag=True, help="At the end say what requests waited for, in seconds."
)
_outage_option = click.option(
    "--outage-limit",
    "outage_limit_s",
    metavar="SECONDS",
    type=Number(min=0, min_open=True),
    help="How long to wait for an endpoint that has gone away, before the run ends.  "
    "[default: 300]",
)
_partial_option = click.option(
    "--partial",
    is_flag=True,
    help="Read what an audit has saved that was killed or still runs. The answer is marked so.",
)
_directory_argument = click.argument(
    "directory",
    metavar="DIR",
    type=NamedPath(path_type=Path),
    shell_complete=completing.directories,
)
_PAYLOADS = ("full", "none", "size", "hash")  # what payloads.py knows
_SHELLS = ("bash", "zsh", "fish")
_NARROWEST, _WIDEST = 20, 100  # columns of help
_COMPLETE_VARIABLE = "_DURASTATE_COMPLETE"


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="durastate")
@click.pass_context
def commands(context: click.Context) -> None:
    """Read the state of AWS Lambda durable executions, of many at once; never change it.

    Results go to stdout, everything else to stderr. A checkpoint token is never an argument.

    \b
    Exit codes: 0 complete, 2 some executions failed or verify found something wrong,
    130 interrupted, 143 terminated, 252 usage, 253 configuration or credentials,
    254 the service, 255 anything else.

    \b
    Examples:
      durastate demo
      durastate fetch refs.jsonl -o states.jsonl
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(USAGE)


@commands.command()
@click.argument("arn")
@click.option(
    "--token-file", metavar="FILE", type=NamedPath(), help="File that holds the checkpoint token."
)
@click.option("--token-env", metavar="NAME", help="Environment variable that holds it.")
@click.option("--token", metavar="-", help="Only -: read it from stdin, hidden on a terminal.")
@click.option(
    "--output",
    type=click.Choice(("table", "json", "jsonl")),
    default="table",
    show_default=True,
    help="A tree without payloads; the whole state as one JSON object; one operation a line. "
    "Both kinds of JSON hold payloads and callback ids.",
)
@_stat_option
@connection_options
def get(
    *,
    arn: str,
    token_file: str | None,
    token_env: str | None,
    token: str | None,
    output: str,
    stat: bool,
    max_items: int,
    **connection: Any,
) -> None:
    """Print the state of one durable execution.

    Its checkpoint token is in the invocation event of the durable function.

    \b
    Example:
      durastate get "$ARN" --token-file token.txt --output json | jq .operations[].Status
    """
    from durastate import ExecutionRef

    from .get import run_get
    from .tokens import read_token

    ref = ExecutionRef(arn, read_token(token_file, token_env, token))
    run_get(Connection(**connection), ref, max_items, output, stat=stat)


@commands.command()
@click.argument("refs", type=NamedPath(allow_dash=True))
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="OUT.jsonl",
    type=NamedPath(path_type=Path),
    help="File to write, readable by you alone. It must not exist, except with --resume.",
)
@click.option(
    "--payloads",
    type=click.Choice(_PAYLOADS),
    default="full",
    show_default=True,
    help="Keep payloads, leave them out, or put their size, or size and SHA-256, in their place. "
    "Payloads are InputPayload, Result, ErrorMessage, ErrorData, StackTrace, CallbackId and every "
    "member that this version does not know. Short values can be guessed from their SHA-256.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue OUT: skip what it holds, drop a torn last line, read failures again.",
)
@click.option("--quiet", is_flag=True, help="No progress; the summary is printed all the same.")
@click.option(
    "--max-executions",
    metavar="N",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Executions read at once. Each is held in memory whole.",
)
@click.option(
    "--max-requests",
    metavar="N",
    type=click.IntRange(min=1),
    help="HTTP requests in flight at once.  [default: 64]",
)
@_outage_option
@_stat_option
@connection_options
def fetch(
    *,
    refs: str,
    out: Path,
    payloads: str,
    resume: bool,
    quiet: bool,
    stat: bool,
    max_executions: int,
    max_items: int,
    **connection: Any,
) -> int:
    """Read many durable executions into a file of JSON Lines.

    REFS is a file, or - for stdin, of lines that are {"arn": …, "checkpoint_token": …} or the
    invocation event of a durable function; it may be in gzip. OUT gets a line for each complete
    execution, in the order of completion: arn, source (state, or event where the event held
    everything) and operations as the service gives them. What could not be read is in
    OUT.failures.jsonl beside it, with the line of REFS and the reason.

    After Ctrl-C, a crash or a full disk OUT holds whole lines; the same command with --resume
    continues.

    \b
    Example:
      durastate fetch refs.jsonl -o states.jsonl --payloads none --rate 100
    """
    from .fetch import Job, run_fetch

    if str(out) == "-":
        raise click.UsageError("-o takes a file, with which a run that is broken off is resumed")
    job = Job(
        refs=refs,
        out=out,
        payloads=payloads,
        resume=resume,
        quiet=quiet,
        stat=stat,
        max_executions=max_executions,
        max_items=max_items,
    )
    return run_fetch(job, Connection(**connection))


@commands.command()
@click.argument("names", metavar="[FUNCTION|EXECUTION]...", nargs=-1)
@click.option(
    "--from",
    "source",
    metavar="FILE",
    shell_complete=completing.files,
    help="Read more of them from a file, or - for stdin: a name or an ARN a line, or the lines "
    "that fetch takes.",
)
@click.option(
    "-o",
    "--out",
    metavar="DIR",
    type=NamedPath(path_type=Path),
    shell_complete=completing.directories,
    help="Directory to write, readable by you alone; an audit in it is resumed. Required except "
    "with --plan.",
)
@click.option(
    "--since",
    metavar="TIME",
    help="Executions that started since: so long ago, such as 90m, 12h, 7d or 2w, or a time of "
    "ISO 8601, in UTC where it has no zone.  [default: all that are kept]",
)
@click.option("--until", metavar="TIME", help="Executions that started until.  [default: now]")
@click.option(
    "--status",
    metavar="STATUS,…",
    shell_complete=completing.statuses,
    help="Executions that are RUNNING, PAUSING, PAUSED, SUCCEEDED, FAILED, TIMED_OUT, STOPPED or "
    "DELETING, in capitals or not; several with commas.  [default: all]",
)
@click.option(
    "--plan",
    "only_plan",
    is_flag=True,
    help="Only say what it would cost: executions, requests, time, disk. Asks for no history.",
)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(min=1),
    help="Read N of all that are found, by chance; always the same ones.",
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help="Look at the first N that are listed only, the newest of each function first.",
)
@click.option(
    "--max-duration",
    metavar="SPAN",
    help="Begin no more executions after so long, such as 90m; the same command resumes.",
)
@click.option(
    "--payloads",
    type=click.Choice(("none", "size", "hash", "full")),
    default="none",
    show_default=True,
    help="Of payloads write nothing, their size, size and SHA-256, or all of it. Short values can "
    "be guessed from their SHA-256. Only full writes callback ids.",
)
@click.option(
    "--format",
    "table_format",
    type=click.Choice(("parquet", "jsonl")),
    default="parquet",
    show_default=True,
    help="Of the tables.",
)
@click.option(
    "--refresh", is_flag=True, help="Read anew what was running when an earlier audit read it."
)
@click.option(
    "--profile-map",
    metavar="ACCOUNT=PROFILE",
    multiple=True,
    help="Which profile reads ARNs of an account; may be repeated.",
)
@click.option("--quiet", is_flag=True, help="No progress and no plan; the summary all the same.")
@_outage_option
@audit_connection_options
def audit(
    *,
    names: tuple[str, ...],
    source: str | None,
    out: Path | None,
    since: str | None,
    until: str | None,
    status: str | None,
    only_plan: bool,
    sample: int | None,
    limit: int | None,
    max_duration: str | None,
    payloads: str,
    table_format: str,
    refresh: bool,
    profile_map: tuple[str, ...],
    quiet: bool,
    max_items: int,
    **connection: Any,
) -> int:
    """Read the executions of functions into tables, without tokens.

    FUNCTION is a name or an ARN, with :VERSION or :ALIAS or without, which is all versions;
    EXECUTION is the ARN of one. Lists them, says what reading them costs, reads the history of
    each, and writes tables of executions, operations and failures that verify, query and other
    tools read. The summary goes to stdout.

    The same command resumes a run that was interrupted, killed or had no space. What was
    read when it had ended is never read again. Ctrl-C finishes what is under way and saves; a
    second one stops at once. Needs the extra audit.

    \b
    Examples:
      durastate audit order-flow --since 7d --status RUNNING,FAILED --plan
      durastate audit order-flow --since 7d --status RUNNING,FAILED -o audit
    """
    from .audit import Job, run_audit

    job = Job(
        names=names,
        source=source,
        out=out,
        since=since,
        until=until,
        status=status,
        only_plan=only_plan,
        sample=sample,
        limit=limit,
        max_duration=max_duration,
        payloads=payloads,
        format=table_format,
        refresh=refresh,
        profile_map=profile_map,
        quiet=quiet,
        max_items=max_items,
    )
    return run_audit(job, Connection(**connection))


@commands.command()
@_directory_argument
def verify(*, directory: Path) -> int:
    """Check that the directory of an audit is as it was written.

    Every file by its SHA-256, every execution once and with the operations that were read, and
    the digest of it all, which is the same whenever the same was read. What is wrong goes to
    stdout, a line each, and the exit code is 2. Needs the extra audit.

    \b
    Example:
      durastate verify audit
    """
    from .verify import run_verify

    return run_verify(directory)


@commands.command()
@_directory_argument
@click.argument("sql")
@click.option(
    "--format",
    "output",
    type=click.Choice(("table", "json", "csv")),
    default="table",
    show_default=True,
    help="Columns for reading, long texts cut; one JSON array; CSV, in which a text that a "
    "spreadsheet would take for a formula has an apostrophe before it.",
)
@_partial_option
def query(*, directory: Path, sql: str, output: str, partial: bool) -> None:
    """Ask the tables of an audit, in SQL.

    The tables are executions, operations and failures; DESCRIBE operations shows the columns of
    one. The SQL is DuckDB's: one statement, which reads and reaches nothing but these tables.
    Times are UTC. With --partial the last column of the answer is partial. Needs the extra audit.

    \b
    Examples:
      durastate query audit "select status, count(*) from executions group by all"
      durastate query audit "describe operations"
      durastate query audit --format csv \\
        "select arn, name, attempt from operations where attempt > 3" > retried.csv
    """
    from .query import run_query

    run_query(directory, sql, output, partial=partial)


@commands.command()
@click.argument(
    "where",
    metavar="ARN|FILE|DIR ARN|NAME",
    nargs=-1,
    required=True,
    shell_complete=completing.shown,
)
@click.option("--all", "whole", is_flag=True, help="Every operation, however many are similar.")
@click.option(
    "--failed",
    is_flag=True,
    help="Only what has failed, timed out, been cancelled or is to be tried again, and what that "
    "is in.",
)
@click.option(
    "--messages",
    is_flag=True,
    help="The messages of errors too. They are payloads: an audit has them with --payloads full.",
)
@_partial_option
@_stat_option
@history_connection_options
def show(
    *,
    where: tuple[str, ...],
    whole: bool,
    failed: bool,
    messages: bool,
    partial: bool,
    stat: bool,
    max_items: int,
    **connection: Any,
) -> int:
    """Print one durable execution as a tree, without a checkpoint token.

    With an ARN alone its history is read; throttling is waited out. With FILE, a history that
    `aws lambda get-durable-execution-history` has printed, nothing is asked, nor with DIR, the
    directory of an audit: the execution is shown as it was when the audit read it, and instead of
    its ARN its name will do. Payloads are not shown. An operation that
    was still open when its execution ended is marked unfinished.

    Of more than five similar siblings, such as the iterations of a map, three are shown and the
    rest is one line; what stands out among them has a line of its own.

    \b
    Examples:
      durastate show "$ARN" --failed
      durastate show history.json --all
      durastate show audit order-17
    """
    from .show import run_show
    from .tree import View

    view = View(whole=whole, failed=failed, messages=messages, summed_up=True)
    return run_show(Connection(**connection), where, view, max_items, partial=partial, stat=stat)


@commands.command()
def demo() -> None:
    """Read a thousand executions from a local service; needs no AWS account.

    Starts durastate's embedded service in a process of its own, with 1,000 made-up executions
    of which a dozen are broken in different ways, reads them all, and sums up.

    \b
    Example:
      durastate demo
    """
    from .demo import run_demo
    from .running import run

    run(run_demo)


@commands.command(cls=WithFaults)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=0,
    help="On 127.0.0.1.  [default: a free one]",
)
@click.option(
    "--executions",
    metavar="N",
    type=click.IntRange(min=1),
    default=1_000,
    show_default=True,
    help="How many there are.",
)
@click.option(
    "--operations",
    metavar="N",
    type=click.IntRange(min=1),
    help="Per execution.  [default: a realistic mix]",
)
@click.option(
    "--functions",
    metavar="N",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="How many functions the executions are of.",
)
@click.option(
    "--versions",
    metavar="N",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="How many versions each function has.",
)
@click.option(
    "--statuses",
    metavar="STATUS=N,…",
    shell_complete=completing.weighted_statuses,
    help="Weights of RUNNING, SUCCEEDED, FAILED, TIMED_OUT, STOPPED, PAUSING, PAUSED and "
    "DELETING.  [default: a mix of the first five, four in five running]",
)
@click.option(
    "--first-start",
    metavar="TIME",
    help="When the first execution started, ISO 8601; one follows every 37.5 s.  [default: "
    "2026-01-01]",
)
@click.option(
    "--latency",
    metavar="SECONDS",
    type=Number(min=0),
    default=0.0,
    help="Added to each answer.",
)
@click.option(
    "--rate",
    metavar="N",
    type=Number(min=0, min_open=True),
    help="GetDurableExecutionState requests a second that are answered; the others are throttled.",
)
@click.option(
    "--history-rate",
    metavar="N",
    type=Number(min=0, min_open=True),
    help="The same of GetDurableExecutionHistory, which AWS allows 15 of.",
)
@click.option(
    "--get-rate",
    metavar="N",
    type=Number(min=0, min_open=True),
    help="The same of GetDurableExecution, which AWS allows 30 of.",
)
@click.option(
    "--list-rate",
    metavar="N",
    type=Number(min=0, min_open=True),
    help="The same of ListDurableExecutionsByFunction, which AWS allows 15 of.",
)
@click.option(
    "--faults",
    metavar="PLAN",
    default="none",
    show_default=True,
    shell_complete=completing.fault_plans,
    help="demo (a dozen broken executions and 2 % of faults that pass), SHARE of the answers that "
    "go wrong once, or KIND,…:SHARE such as throttle,reset:0.05, with the kinds below.",
)
@click.option(
    "--seed",
    metavar="N",
    type=int,
    default=0,
    show_default=True,
    help="Of the data and the faults.",
)
@click.option(
    "--write-refs",
    metavar="FILE",
    type=NamedPath(path_type=Path),
    help="Write references to all executions, for fetch. It must not exist.  [default: to a "
    "thousand, in a temporary file]",
)
def emulator(latency: float, **options: Any) -> None:
    """Serve made-up executions on this machine until Ctrl-C, to try things against.

    An imitation of the calls that read durable executions, which verifies signatures; not the
    service. Prints what to put into the environment of durastate or of any AWS SDK, and lines
    to try.

    \b
    Example:
      durastate emulator --executions 5000 --latency 0.05 --faults demo --write-refs refs.jsonl
    """
    from .emulator import Service, run_emulator

    run_emulator(Service(latency_s=latency, **options))


@commands.command()
@click.option(
    "--function",
    "functions",
    metavar="NAME|ARN",
    multiple=True,
    help="A function whose executions may be read, or NAME:VERSION; may be repeated.  [default: "
    "every function]",
)
@click.option("--region", metavar="REGION", help="Where it is; also says the partition.")
@click.option("--account", metavar="ID", help="Whose it is, twelve digits.")
@click.option(
    "--without-tokens",
    is_flag=True,
    help="What reading without checkpoint tokens needs instead: to list, to describe, histories.",
)
@click.option(
    "--audit",
    is_flag=True,
    help="What durastate audit needs instead: to list, histories, aliases, quotas.",
)
def policy(
    *,
    functions: tuple[str, ...],
    region: str | None,
    account: str | None,
    without_tokens: bool,
    audit: bool,
) -> None:
    """Print the least IAM policy that durastate needs.

    One action, lambda:GetDurableExecutionState, on the executions of the functions that are
    named. Asks nobody.

    \b
    Examples:
      durastate policy --function order-flow --region eu-west-1 --account 123456789012
      durastate policy --audit
    """
    from .policy import print_policy

    print_policy(functions, region, account, without_tokens=without_tokens, audit=audit)


@commands.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print a script that completes durastate's commands and options in a shell.

    \b
    Examples:
      echo 'eval "$(durastate completion bash)"' >> ~/.bashrc
      echo 'eval "$(durastate completion zsh)"' >> ~/.zshrc
      durastate completion fish > ~/.config/fish/completions/durastate.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    with results():
        click.echo(found(commands, {}, "durastate", _COMPLETE_VARIABLE).source())


def run() -> int:
    """Run the command line and return the exit code."""
    open_closed()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = commands.main(
            prog_name="durastate",
            complete_var=_COMPLETE_VARIABLE,
            standalone_mode=False,
            terminal_width=_help_width(),
        )
    except click.UsageError as error:
        with unheard():
            error.show()
        return USAGE
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as error:
        # click turns a broken pipe into its own exit.
        return _nobody_reads() if error.code == 1 else int(error.code or 0)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last resort
        if isinstance(error, OSError):
            let_go(sys.stdout)  # of help, say
        say(f"durastate: {_told(error)}")
        return code_of(error)
    return code if isinstance(code, int) else COMPLETE


def _help_width() -> int:
    """As wide as the terminal, which click's own layout is not where that is a narrow one."""
    return max(_NARROWEST, min(shutil.get_terminal_size().columns, _WIDEST) - 2)


def _nobody_reads() -> int:
    let_go(sys.stdout)
    return OTHER


def _told(error: BaseException) -> str:
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return message_of(error)
    from durastate import DurastateError

    from .plain import plain

    if isinstance(error, DurastateError | click.ClickException):
        return plain(message_of(error))
    if isinstance(error, OSError) and error.strerror:
        return plain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    # The text of an exception nobody foresaw may hold anything, a payload too.
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    where = (
        f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "an unknown place"
    )
    return f"unexpected {type(error).__name__} at {plain(where)}; please report it"
