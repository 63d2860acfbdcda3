"""The options that commands share, and the client that they make."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from durastate import Hook, StateClient

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach the service, and how hard to press it."""

    profile: str | None
    region: str | None
    endpoint_url: str | None
    ca_bundle: str | None
    rate: float | None
    quota_share: float | Literal["default"] | None
    max_requests: int | None = None
    outage_limit_s: float | None = None

    def client(
        self, hooks: Sequence[Hook] | None = None, *, rates: Mapping[str, float] | None = None
    ) -> StateClient:
        """The client, not entered yet; with `rates` by call these, and no share of a quota."""
        from durastate import Limits, RetryPolicy, StateClient
        from durastate.requests import GET_HISTORY, GET_STATE

        if self.ca_bundle is not None:
            # What aiobotocore reads, and before the profile. This process is our own.
            os.environ["AWS_CA_BUNDLE"] = self.ca_bundle
        share = self.quota_share if rates is None else None
        if rates is None:
            rate = self.rate
            rates = {} if rate is None else {GET_STATE: rate, GET_HISTORY: rate}
        limits = Limits(max_requests=self.max_requests, quota_share=share, rates=rates)
        limit_s = self.outage_limit_s
        return StateClient(
            region_name=self.region,
            profile_name=self.profile,
            endpoint_url=self.endpoint_url,
            limits=limits,
            retry=RetryPolicy() if limit_s is None else RetryPolicy(outage_limit_s=limit_s),
            hooks=hooks,
        )


class Number(click.FloatRange):
    """A number within a range, of which NaN and infinity, which click lets pass, are no part."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


class NamedPath(click.Path):
    """A path. An empty one, such as of a variable that is not set, would be where one stands."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        if not os.fspath(value):
            self.fail("expected a name, found an empty text: is its variable set?", param, ctx)
        return super().convert(value, param, ctx)


class WithFaults(click.Command):
    """A command with `--faults`, whose help ends with the kinds that there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        from durastate.emulator import FaultKind

        with formatter.section("Kinds of --faults"):
            formatter.write_dl([(kind.value, f"{kind.about}.") for kind in FaultKind])


def _share(
    _context: click.Context, _parameter: click.Parameter, value: str
) -> float | Literal["default"] | None:
    if value == "default":
        return "default"
    if value == "none":
        return None
    try:
        share = float(value)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise click.BadParameter("expected a number above 0, at most 1, or none")
    return share


_WHERE = (
    click.option("--profile", metavar="NAME", help="Profile of the AWS CLI.  [env: AWS_PROFILE]"),
    click.option(
        "--region",
        metavar="REGION",
        help="For names that are not ARNs; an ARN names its own.  [env: AWS_REGION, "
        "AWS_DEFAULT_REGION]",
    ),
    click.option(
        "--endpoint-url",
        metavar="URL",
        help="A service other than AWS's own.  [env: AWS_ENDPOINT_URL_LAMBDA]",
    ),
    click.option(
        "--ca-bundle",
        metavar="FILE",
        type=NamedPath(exists=True, dir_okay=False, readable=True),
        help="Certificates to trust, PEM.  [env: AWS_CA_BUNDLE]",
    ),
)


def _connection(rate: str, share: str, items: str) -> Callable[[_Command], _Command]:
    """Adds the options that `Connection` is made of, and `--max-items`; what some of them mean."""
    options = (
        *_WHERE,
        click.option("--rate", metavar="N", type=Number(min=0, min_open=True), help=rate),
        click.option(
            "--quota-share", metavar="SHARE", default="default", callback=_share, help=share
        ),
        click.option(
            "--max-items",
            metavar="N",
            type=click.IntRange(0, 1000),
            default=1000,
            show_default=True,
            help=items,
        ),
    )

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


connection_options = _connection(
    "Requests a second at most, per account and Region.",
    "Share of AWS's published quota to use, above 0 and at most 1, or none for no ceiling. "
    "Running durable functions need the same quota.  [default: 0.2; none with an endpoint of "
    "your own]",
    "Operations a page; 0 leaves it to the service.",
)
history_connection_options = _connection(
    "Requests a second at most, per account and Region.",
    "Share of AWS's published quota to use, above 0 and at most 1, or none for no ceiling.  "
    "[default: 0.8; none with an endpoint of your own]",
    "Events a page; 0 leaves it to the service.",
)
audit_connection_options = _connection(
    "Histories' requests a second at most, per account and Region.",
    "Share of the account's quotas to use, above 0 and at most 1, or none for no ceiling.  "
    "[default: 0.8; none with an endpoint of your own]",
    "Executions and events a page; 0 leaves it to the service.",
)
