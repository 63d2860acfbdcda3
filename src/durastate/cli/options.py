"""The options that `get`, `fetch` and `show` share, and the client that they make."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durastate import Hook, StateClient

_Command = TypeVar("_Command", bound=Callable[..., Any])
_GET_STATE = "GetDurableExecutionState"


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
    call: str = _GET_STATE  # what `rate` is a ceiling on

    def client(self, hooks: Sequence[Hook] | None = None) -> StateClient:
        """The client, not entered yet."""
        from durastate import Limits, RetryPolicy, StateClient

        if self.ca_bundle is not None:
            # What aiobotocore reads, and before the profile. This process is our own.
            os.environ["AWS_CA_BUNDLE"] = self.ca_bundle
        limits = Limits(
            max_requests=self.max_requests,
            quota_share=self.quota_share,
            rates={} if self.rate is None else {self.call: self.rate},
        )
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


_CONNECTION = (
    click.option("--profile", metavar="NAME", help="Profile of the AWS CLI.  [env: AWS_PROFILE]"),
    click.option(
        "--region",
        metavar="REGION",
        help="For what is no ARN; an ARN names its own.  [env: AWS_REGION, AWS_DEFAULT_REGION]",
    ),
    click.option(
        "--endpoint-url",
        metavar="URL",
        help="A service other than AWS's own.  [env: AWS_ENDPOINT_URL_LAMBDA]",
    ),
    click.option(
        "--ca-bundle",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, readable=True),
        help="Certificates to trust, PEM.  [env: AWS_CA_BUNDLE]",
    ),
    click.option(
        "--rate",
        metavar="N",
        type=Number(min=0, min_open=True),
        help="Requests a second at most, per account and Region.",
    ),
    click.option(
        "--quota-share",
        metavar="SHARE",
        default="default",
        callback=_share,
        help="Share of AWS's published quota to use, above 0 and at most 1, or none for no "
        "ceiling. Running durable functions need the same quota.  [default: 0.2; none with an "
        "endpoint of your own]",
    ),
    click.option(
        "--max-items",
        metavar="N",
        type=click.IntRange(0, 1000),
        default=1000,
        show_default=True,
        help="Operations or events a page; 0 leaves it to the service.",
    ),
)


def connection_options(command: _Command) -> _Command:
    """Add the options that `Connection` is made of, and `--max-items`."""
    for option in reversed(_CONNECTION):
        command = option(command)
    return command
