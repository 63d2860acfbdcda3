"""Credentials from wherever the user's profile has them, or one line that says how to get some.

The providers are botocore's, and what fails in them may be a login that has expired, a program
that the profile names, or a role: each is mended by another command.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from .errors import ConfigurationError, CredentialsError
from .redaction import presentable

_LONGEST_REASON = 500
_PROCESS = "credential_process"
_LOGIN = "login_session"
_SSO = ("sso_session", "sso_start_url")
_SILENCE = logging.NullHandler()


async def provided(session: Any, ask: Callable[[], Awaitable[Any]], what: str = "refreshed") -> Any:
    """What a provider of credentials gives; `CredentialsError` for whatever else comes of it."""
    from botocore.exceptions import BotoCoreError, ClientError, ConfigParseError, ProfileNotFound

    # It logs a traceback of each refresh that fails, which without this ends up on stderr.
    # botocore does the same for its own.
    logging.getLogger("aiobotocore").addHandler(_SILENCE)
    try:
        return await ask()
    except (ProfileNotFound, ConfigParseError) as error:
        failure = ConfigurationError(one_line(error))
    except (BotoCoreError, ClientError, OSError, RuntimeError) as error:
        failure = CredentialsError(_line(error, session, what))
    except Exception as error:  # noqa: BLE001 - providers are other people's code
        failure = CredentialsError(_line_of_unknown(error, session, what))
    # Raised out here, so that the exception does not hang on it: one of the JSON parser's holds
    # all that a credential process said, the keys too; one of the configuration's the line that
    # it does not understand, which may be a key.
    raise failure


def one_line(text: object) -> str:
    """Its end, if it is long, which is where a program says what went wrong."""
    return presentable(" ".join(str(text).split())[-_LONGEST_REASON:])


def _line(error: Exception, session: Any, what: str) -> str:
    from botocore import exceptions as known

    details = getattr(error, "kwargs", {})
    sso = details.get("provider") == "sso" or isinstance(error, known.SSOError)
    if sso:
        name = _profile_with(session, *_SSO)
        return (
            f"the SSO login of the profile {name!r} is missing or has expired: run "
            f"`aws sso login --profile {name}`"
        )
    if isinstance(error, known.LoginRefreshRequired | known.LoginTokenLoadError):
        name = _profile_with(session, _LOGIN)
        return (
            f"the login of the profile {name!r} is missing or has expired: run "
            f"`aws login --profile {name}`"
        )
    # Of a credential process it may be all that it wrote on stderr.
    said = one_line(details.get("error_msg", error))
    if details.get("provider") == "custom-process":
        name = _profile_with(session, _PROCESS)
        return f"the {_PROCESS} of the profile {name!r} failed: " + (
            said or "it said nothing; run its command by hand to see why"
        )
    if isinstance(error, FileNotFoundError | PermissionError) and _names(session, _PROCESS):
        name = _profile_with(session, _PROCESS)
        return f"the {_PROCESS} of the profile {name!r} cannot be run: {said}"
    said = one_line(error).rstrip(".") or type(error).__name__
    return f"the credentials cannot be {what}: {said}. {_hint(session)}"


def _line_of_unknown(error: Exception, session: Any, what: str) -> str:
    """Without its text."""
    if isinstance(error, ValueError | TypeError | AttributeError) and _names(session, _PROCESS):
        name = _profile_with(session, _PROCESS)
        return (
            f"the {_PROCESS} of the profile {name!r} did not print the JSON that it has to: run "
            f"its command by hand to see what it prints"
        )
    kind = type(error).__name__
    return f"the credentials cannot be {what}: their provider failed with {kind}. {_hint(session)}"


def _hint(session: Any) -> str:
    return f"`aws sts get-caller-identity --profile {_profile(session)}` may say more"


def _profile(session: Any) -> str:
    return str(session.get_config_variable("profile") or "default")


def _names(session: Any, *settings: str) -> bool:
    return any(setting in found for _, found in _chain(session) for setting in settings)


def _profile_with(session: Any, *settings: str) -> str:
    """The profile, or the one that it takes its credentials from, that has such a setting."""
    for name, found in _chain(session):
        if any(setting in found for setting in settings):
            return name
    return _profile(session)


def _chain(session: Any) -> list[tuple[str, dict[str, Any]]]:
    """The profile and those that it names as the source of its credentials."""
    from botocore.exceptions import BotoCoreError

    profiles: dict[str, dict[str, Any]] = {}
    with suppress(BotoCoreError):  # a file that has been damaged since
        known = session.full_config
        profiles = known.get("profiles", {})
    name: Any = _profile(session)
    found: dict[str, dict[str, Any]] = {}
    while isinstance(name, str) and name not in found:
        found[name] = profiles.get(name, {})
        name = found[name].get("source_profile")
    return list(found.items())
