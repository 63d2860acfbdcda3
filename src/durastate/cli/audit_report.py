"""What an audit says: its plan, and the summary at its end. Names in it were written by others."""

from __future__ import annotations

import math
from collections.abc import Iterator

from durastate.audit.plan import Plan, Share
from durastate.audit.summary import Scope, Summary
from durastate.requests import GET_HISTORY

from .ending import reason
from .plain import plain
from .progress import counted, span

_LONGEST_TEXT = 200


def plan_lines(plan: Plan) -> Iterator[str]:
    """What is to be read, and what it costs."""
    yield (
        f"{counted(plan.found, 'execution')} found: {plan.to_read:,} to read, "
        f"{plan.already:,} read before. Finding them took {counted(plan.listings, 'request')}."
    )
    yield from clock_lines(plan.clock_skew_s)
    if not plan.to_read:
        return
    yield f"Reading takes about {counted(plan.requests, 'request')} of {GET_HISTORY}:"
    for share in plan.shares:
        yield f"  {_where(share)}: {counted(share.executions, 'execution')}, {_pace(share)}"
    each = f"{plan.experience.operations_each:,.0f} operations per execution"
    how = "as in the directory so far" if plan.experience.is_enough else "a guess"
    duration = f"about {span(plan.seconds)}" if plan.seconds else "depends on the service"
    disk = f"about {_size(plan.bytes)}{' and the payloads' if plan.with_payloads else ''}"
    yield f"Time: {duration}. Disk: {disk}. Estimated at {each} ({how})."


def _where(share: Share) -> str:
    region = share.place.region or "no Region"
    profile = share.place.profile
    return plain(region if profile is None else f"{region}, profile {profile}")


def _pace(share: Share) -> str:
    if share.rate == math.inf:
        return f"about {counted(share.requests, 'request')} without a ceiling"
    quota = share.quota
    why = "" if quota.why_published is None else f": {plain(quota.why_published)}"
    return (
        f"about {counted(share.requests, 'request')} at {share.rate:g}/s, "
        f"{share.rate / quota.per_second:.0%} of the quota of {quota}{why}; {span(share.seconds)}"
    )


def _size(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def clock_lines(skew_s: int | None) -> Iterator[str]:
    """Whose times they are, where that matters."""
    if skew_s is not None:
        how = "behind" if skew_s > 0 else "ahead of"
        yield (
            f"This machine's clock is {span(abs(skew_s))} {how} the service's. The service's "
            f"counts: all times here are by it."
        )


def scope_lines(scope: Scope) -> Iterator[str]:
    """What was looked at, and what may be missing from it."""
    if scope.until is not None:
        since = "" if scope.since is None else f"from {scope.since:%Y-%m-%d %H:%M:%S} "
        statuses = f", with the status {' or '.join(scope.statuses)}" if scope.statuses else ""
        limit = "" if scope.limit is None else f", the first {scope.limit:,} listed"
        sample = "" if scope.sample is None else f", a sample of {scope.sample:,}"
        yield (
            f"Looked at: what started {since}up to {scope.until:%Y-%m-%d %H:%M:%S} UTC"
            f"{statuses}{limit}{sample}"
        )
    if scope.outdated:
        yield (
            f"As an earlier run read them: {counted(scope.outdated, 'execution')} running then. "
            f"--refresh reads them anew"
        )
    if scope.unended:
        yield (
            f"Listed as ended, with a history that does not say so yet: "
            f"{counted(scope.unended, 'execution')}. The next run reads them again"
        )
    if scope.cut:
        yield f"Cut off or left out by the service: payloads of {counted(scope.cut, 'operation')}"


def summary_lines(summary: Summary) -> Iterator[str]:
    """Of the whole directory."""
    executions = sum(group.executions for group in summary.groups)
    yield f"In the directory: {counted(executions, 'execution')}"
    for group in summary.groups:
        name = f"{group.function or 'unknown function'}:{group.version or 'unknown version'}"
        yield f"  {group.executions:>9,}  {_text(name)}  {_text(group.status)}"
    if summary.errors:
        yield "What failed in them, by type of error:"
        for kind in summary.errors:
            name = "no type" if kind.error_type is None else _text(kind.error_type)
            yield (
                f"  {kind.operations:>9,}  {name}, in "
                f"{counted(kind.executions, 'execution')}, such as"
            )
            yield from (f"             {plain(arn)}" for arn in kind.samples)
    if summary.longest:
        yield "What took longest, or has so far:"
        for lasting in summary.longest:
            yield f"  {span(lasting.seconds):>11}  {_text(lasting.status)}  {plain(lasting.arn)}"
    if summary.retried:
        yield "Most attempts after the first:"
        for retried in summary.retried:
            yield f"  {retried.retries:>9,}  {_text(retried.status)}  {plain(retried.arn)}"
    unread = sum(each.executions for each in summary.unread)
    if unread:
        functions = sum(each.functions for each in summary.unread)
        unlisted = f"; could not be listed: {counted(functions, 'function')}" if functions else ""
        yield f"Could not be read: {counted(unread - functions, 'execution')}{unlisted}"
        for each in summary.unread:
            why = reason(each.message, each.samples[0])
            yield f"  {each.executions:>9,}  {plain(each.error)}: {plain(why)}"
            yield from (f"             {plain(arn)}" for arn in each.samples)


def _text(text: str) -> str:
    """What is no ARN and no reason, and may be cut."""
    shown = plain(text)
    return shown if len(shown) <= _LONGEST_TEXT else f"{shown[: _LONGEST_TEXT - 1]}…"
