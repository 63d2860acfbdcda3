"""`durastate policy`: the IAM policy that reading needs, and nothing beside it.

Lambda authorizes most calls on a durable execution against the execution's ARN, which goes on
after the function's: `function:NAME:VERSION/durable-execution/…`. A function's ARN without a
version never matches one, and neither does an alias, so the resource ends in `NAME:*` or names
a version. Source: AWS Lambda Developer Guide, "Security and permissions for Lambda durable
functions", whose minimal policy has GetDurableExecutionState with such a resource. That page does
not say in so many words which resource this one call takes.

ListDurableExecutionsByFunction alone is authorized against the function's ARN as the request names
it, so `NAME` for a request without a version and `NAME:VERSION` for one with it (same guide).
An audit also asks what an alias points to, authorized against the function too, and Service Quotas,
which knows no resource for that (Service Authorization Reference).
"""

from __future__ import annotations

import json
import re
from typing import Any

import click

_WITH_TOKENS = "lambda:GetDurableExecutionState"
_HISTORY = "lambda:GetDurableExecutionHistory"
_WITHOUT_TOKENS = ["lambda:GetDurableExecution", _HISTORY]
_LIST = "lambda:ListDurableExecutionsByFunction"
_ALIAS = "lambda:GetAlias"
_QUOTA = "servicequotas:GetServiceQuota"
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_VERSION = re.compile(r"[0-9]+|\$LATEST(?:\.PUBLISHED)?")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+")
_ACCOUNT = re.compile(r"[0-9]{12}")
# An ARN's Region starts with one of these where its partition is another than `aws`.
_PARTITIONS = {
    "cn-": "aws-cn",
    "eu-isoe-": "aws-iso-e",
    "eusc-": "aws-eusc",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "us-isof-": "aws-iso-f",
}


def print_policy(
    functions: tuple[str, ...],
    region: str | None,
    account: str | None,
    *,
    without_tokens: bool,
    audit: bool,
) -> None:
    """Print it on stdout, as JSON."""
    if without_tokens and audit:
        raise click.UsageError("give one of --without-tokens and --audit")
    document = policy(functions, region, account, without_tokens=without_tokens, audit=audit)
    click.echo(json.dumps(document, indent=2))


def policy(
    functions: tuple[str, ...],
    region: str | None,
    account: str | None,
    *,
    without_tokens: bool = False,
    audit: bool = False,
) -> dict[str, Any]:
    """The policy document for these functions, by name or ARN; for all functions without any.

    For reading with tokens, unless it is for what needs none, or for `durastate audit`.
    """
    _check("--region", region, _REGION, "a Region such as eu-west-1")
    _check("--account", account, _ACCOUNT, "the twelve digits of an account")
    named = [_named(function, region, account) for function in functions]
    resources = [f"{start}{_executions(function)}" for start, function in named]
    if not resources:
        resources = [_arn(region, account, "*")]
    listed = [f"{start}{each}" for start, function in named for each in _requests(function)]
    if audit:
        return _document(
            _statement(_HISTORY, resources),
            _statement([_LIST, _ALIAS], listed or resources),
            _statement(_QUOTA, ["*"]),
        )
    if without_tokens:
        return _document(
            _statement(_WITHOUT_TOKENS, resources), _statement(_LIST, listed or resources)
        )
    return _document(_statement(_WITH_TOKENS, resources))


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _statement(action: str | list[str], resources: list[str]) -> dict[str, Any]:
    resource = resources[0] if len(resources) == 1 else resources
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def partition_of(region: str | None) -> str:
    """The partition of a Region, by the way its name starts; `aws` where none is given."""
    starts = (start for start in _PARTITIONS if region is not None and region.startswith(start))
    return _PARTITIONS.get(next(starts, ""), "aws")


def _named(function: str, region: str | None, account: str | None) -> tuple[str, str]:
    """The start of a function's ARN, and `NAME` or `NAME:VERSION`."""
    if not function.startswith("arn:"):
        return _arn(region, account, ""), function
    if region is not None or account is not None:
        raise click.UsageError("--function: an ARN names its own Region and account")
    parts = function.split(":", 6)
    if len(parts) < 7 or (parts[2], parts[5]) != ("lambda", "function"):
        raise click.UsageError("--function: expected a name or the ARN of a function")
    _check("--function", parts[3], _REGION, "a Region in its ARN")
    _check("--function", parts[4], _ACCOUNT, "an account in its ARN")
    if not re.fullmatch("aws[a-z-]*", parts[1]):
        raise click.UsageError("--function: expected a partition such as aws in its ARN")
    return ":".join([*parts[:6], ""]), parts[6]


def _arn(region: str | None, account: str | None, executions: str) -> str:
    where = f"{region or '*'}:{account or '*'}"
    return f"arn:{partition_of(region)}:lambda:{where}:function:{executions}"


def _executions(function: str) -> str:
    """The end of a pattern for the executions of `NAME`, or of one version: `NAME:7`."""
    if "/" in function:
        raise click.UsageError("--function: expected a function, found an execution")
    name, separator, version = function.partition(":")
    _check("--function", name, _NAME, "a function's name or ARN")
    if not separator:
        return f"{name}:*"
    if not version:
        raise click.UsageError(
            "--function: expected a version after the colon: put $LATEST in single quotes"
        )
    _check("--function", version, _VERSION, "a version; aliases are in no execution's ARN")
    return f"{name}:{version}/durable-execution/*"


def _requests(function: str) -> list[str]:
    """How a request may name a function whose executions it lists; checked already."""
    name, separator, _ = function.partition(":")
    return [name, function if separator else f"{name}:*"]


def _check(option: str, value: str | None, form: re.Pattern[str], expected: str) -> None:
    if value is not None and not form.fullmatch(value):
        raise click.UsageError(f"{option}: expected {expected}")
