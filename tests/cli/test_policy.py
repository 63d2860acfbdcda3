"""`durastate policy`: what each option changes, and partitions against botocore's list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.session import Session

from durastate.cli.policy import partition_of, policy

from .conftest import Invoke

ACCOUNT = "123456789012"
ARN = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:order-flow"


def resource_of(document: dict[str, Any]) -> str | list[str]:
    """Where the one statement of a policy holds; the rest of it is the same in all."""
    [statement] = document.pop("Statement")
    assert document == {"Version": "2012-10-17"}
    resource: str | list[str] = statement.pop("Resource")
    assert statement == {"Effect": "Allow", "Action": "lambda:GetDurableExecutionState"}
    return resource


@pytest.mark.parametrize(
    ("arguments", "resource"),
    [
        ((), "arn:aws:lambda:*:*:function:*"),
        (("--function", "order-flow"), "arn:aws:lambda:*:*:function:order-flow:*"),
        (("--region", "eu-west-1"), "arn:aws:lambda:eu-west-1:*:function:*"),
        (("--region", "cn-north-1"), "arn:aws-cn:lambda:cn-north-1:*:function:*"),
        (("--account", ACCOUNT), f"arn:aws:lambda:*:{ACCOUNT}:function:*"),
        (
            ("--function", "order-flow", "--region", "eu-west-1", "--account", ACCOUNT),
            f"{ARN}:*",
        ),
        (("--function", ARN), f"{ARN}:*"),
        (("--function", f"{ARN}:7"), f"{ARN}:7/durable-execution/*"),
        (("--function", f"{ARN}:$LATEST"), f"{ARN}:$LATEST/durable-execution/*"),
        (
            ("--function", ARN, "--function", "claims"),
            [f"{ARN}:*", "arn:aws:lambda:*:*:function:claims:*"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_policy_names_what_the_options_say(
    invoke: Invoke, arguments: tuple[str, ...], resource: str | list[str]
) -> None:
    done = invoke("policy", *arguments)
    assert (done.code, done.err) == (0, "")
    assert resource_of(json.loads(done.out)) == resource


@pytest.mark.parametrize(
    "arguments",
    [
        ("--function", ""),
        ("--function", "*"),
        ("--function", f"{ARN}:live"),
        ("--function", "order-flow:live"),
        ("--function", ARN, "--region", "eu-west-1"),
        ("--function", ARN, "--account", ACCOUNT),
        ("--function", ARN.replace(":lambda:", ":s3:")),
        ("--function", ARN.replace("eu-west-1", "*")),
        ("--function", ARN.replace(ACCOUNT, "")),
        ("--function", ARN.replace("arn:aws:", "arn:*:")),
        ("--region", "everywhere"),
        ("--account", "12345"),
    ],
    ids=" ".join,
)
def test_what_would_match_nothing_or_too_much_is_a_usage_error(
    invoke: Invoke, arguments: tuple[str, ...]
) -> None:
    done = invoke("policy", *arguments)
    assert (done.code, done.out) == (252, "")
    assert f"{arguments[0]}: expected" in done.err or "names its own" in done.err


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("order-flow:", "a version after the colon: put $LATEST in single quotes"),
        (f"{ARN}:7/durable-execution/a/b", "a function, found an execution"),
        ("order-flow:live", "a version; aliases are in no execution's ARN"),
    ],
)
def test_what_is_no_version_is_told_for_what_it_is(
    invoke: Invoke, function: str, said: str
) -> None:
    done = invoke("policy", "--function", function)
    assert (done.code, f"--function: expected {said}" in done.err) == (252, True)


DESCRIBE = ["lambda:GetDurableExecution", "lambda:GetDurableExecutionHistory"]


@pytest.mark.parametrize(
    ("arguments", "executions", "requests"),
    [
        ((), "arn:aws:lambda:*:*:function:*", "arn:aws:lambda:*:*:function:*"),
        (("--function", ARN), f"{ARN}:*", [ARN, f"{ARN}:*"]),
        (
            ("--function", "claims:7", "--region", "eu-west-1", "--account", ACCOUNT),
            f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:claims:7/durable-execution/*",
            [
                f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:claims",
                f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:claims:7",
            ],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_without_tokens_it_is_what_listing_and_histories_need(
    invoke: Invoke, arguments: tuple[str, ...], executions: str, requests: str | list[str]
) -> None:
    done = invoke("policy", "--without-tokens", *arguments)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": DESCRIBE, "Resource": executions},
            {
                "Effect": "Allow",
                "Action": "lambda:ListDurableExecutionsByFunction",
                "Resource": requests,
            },
        ],
    }


def test_an_audit_needs_histories_listings_aliases_and_quotas(invoke: Invoke) -> None:
    done = invoke("policy", "--audit", "--function", ARN)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "lambda:GetDurableExecutionHistory",
                "Resource": f"{ARN}:*",
            },
            {
                "Effect": "Allow",
                "Action": ["lambda:ListDurableExecutionsByFunction", "lambda:GetAlias"],
                "Resource": [ARN, f"{ARN}:*"],
            },
            {"Effect": "Allow", "Action": "servicequotas:GetServiceQuota", "Resource": "*"},
        ],
    }
    assert invoke("policy", "--audit", "--without-tokens").code == 252


def test_partitions_are_botocores() -> None:
    session = Session()
    found = {
        region: partition
        for partition in session.get_available_partitions()
        for region in session.get_available_regions(
            "lambda", partition_name=partition, allow_non_regional=False
        )
    }
    assert len(set(found.values())) >= 5
    assert {region: partition_of(region) for region in found} == found
    for region, partition in found.items():
        expected = f"arn:{partition}:lambda:{region}:*:function:*"
        assert resource_of(policy((), region, None)) == expected
