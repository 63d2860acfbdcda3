"""How many requests a second an account's Region allows, and who says so.

Service Quotas knows what an account really has; where it may not or cannot be asked, AWS's
published quotas hold, and the plan says which of the two it goes by. An endpoint of the user's
own has nothing to do with AWS's quotas, so no one is asked about them there.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from durastate.arguments import shown
from durastate.errors import ConfigurationError
from durastate.limits import default_share, published_quota
from durastate.redaction import presentable
from durastate.requests import GET_HISTORY, LIST_EXECUTIONS
from durastate.threads import in_a_loop_of_its_own

from .functions import keys_of

# Not from a page of AWS's; where one of them is not known, the published quota holds.
_CODES = {LIST_EXECUTIONS: "L-6A3611ED", GET_HISTORY: "L-BA29C22B"}

Share = float | Literal["default"] | None


@dataclass(frozen=True, slots=True)
class Quota:
    """Requests a second of one call. `why_published` says why Service Quotas does not."""

    per_second: float
    why_published: str | None = None

    def __str__(self) -> str:
        said_by = "Service Quotas" if self.why_published is None else "published"
        return f"{self.per_second:g}/s {said_by}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an account's Region before it is asked for executions."""

    region: str | None
    is_own_endpoint: bool
    quotas: dict[str, Quota]

    def rate(self, call: str, share: Share) -> float:
        """Requests a second that may be sent; infinite where nothing holds them."""
        if share == "default":
            share = None if self.is_own_endpoint else default_share(call)
        return math.inf if share is None else share * self.quotas[call].per_second


async def facts_of(profile: str | None, region: str | None, endpoint_url: str | None) -> Facts:
    """Of a profile's Region, or the Region that it is set to."""
    return await in_a_loop_of_its_own(lambda: _facts(profile, region, endpoint_url))


def published(region: str | None, why: str) -> dict[str, Quota]:
    """AWS's own numbers."""
    return {call: Quota(published_quota(call, region), why) for call in _CODES}


async def _facts(profile: str | None, region: str | None, endpoint_url: str | None) -> Facts:
    from aiobotocore.session import AioSession
    from botocore.exceptions import BotoCoreError

    problem = None
    try:
        session = AioSession(profile=profile)
        found = region or os.environ.get("AWS_REGION") or session.get_config_variable("region")
        url = endpoint_url or _configured(session, "lambda")
        asked_elsewhere = _configured(session, "service_quotas")
        is_own = url is not None and not _is_of_aws(url, found)
    except (BotoCoreError, ValueError) as error:
        problem = f"{error}"
    if problem is not None:
        # Raised out here: what hangs on those exceptions may be a line of the credentials file.
        raise ConfigurationError(problem)
    if found is None or (is_own and asked_elsewhere is None):
        why = "the endpoint is no AWS endpoint" if is_own else "there is no Region"
        return Facts(found, is_own, published(found, why))
    return Facts(found, is_own, await _service_quotas(session, found))


def _is_of_aws(url: str, region: str | None) -> bool:
    """As the client decides it: an interface endpoint of a VPC is AWS."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError as error:
        raise ConfigurationError(f"endpoint_url: {error}, found {shown(url)}") from None
    return host.startswith((f"lambda.{region}.", f"lambda-fips.{region}.")) or ".vpce." in host


def _configured(session: Any, service: str) -> str | None:
    """The endpoint that the environment or the profile names for a service."""
    from botocore.configprovider import ConfiguredEndpointProvider

    url: str | None = ConfiguredEndpointProvider(
        full_config=session.full_config,
        scoped_config=session.get_scoped_config(),
        client_name=service,
    ).provide()
    return url


async def _service_quotas(session: Any, region: str) -> dict[str, Quota]:
    from aiobotocore.config import AioConfig
    from botocore.exceptions import BotoCoreError, ClientError

    found = {}
    config = AioConfig(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
    try:
        keys = await keys_of(session)
        async with session.create_client(
            "service-quotas", region_name=region, config=config
        ) as client:
            for call, code in _CODES.items():
                try:
                    answer = await client.get_service_quota(ServiceCode="lambda", QuotaCode=code)
                    found[call] = Quota(float(answer["Quota"]["Value"]))
                except ClientError as error:
                    said = presentable(str(error.response["Error"]["Code"]), keys)
                    found |= _published(call, region, said)
    except (BotoCoreError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        why = f"Service Quotas cannot be asked ({type(error).__name__})"
        found = published(region, why) | found
    return found


def _published(call: str, region: str, code: str) -> dict[str, Quota]:
    return {call: Quota(published_quota(call, region), f"Service Quotas says {code}")}
