"""The exception tree, and what an answer with an error becomes."""

from __future__ import annotations

import json
import pickle
import re
from typing import Any
from urllib.parse import quote

import pytest
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

import durastate
from durastate import (
    AccessDeniedError,
    ConfigurationError,
    CredentialsError,
    DeadlineError,
    DecodingError,
    DurastateError,
    EncryptionKeyError,
    ExecutionNotFoundError,
    InvalidRequestError,
    InvalidTokenError,
    ServiceError,
    ThrottledError,
    TransportError,
    errors,
)
from durastate.redaction import LEFT_OUT
from durastate.requests import GET_STATE, Request
from durastate.responses import error_of
from durastate.retries import Failure

from .strategies import ARN, as_body, get_state_model, plain_text, some

TOKEN = "U0VDUkVU+/tok=="
REQUEST = Request(GET_STATE, ARN, "eu-west-1", "/path", "CheckpointToken=U0VDUkVU%2B%2Ftok%3D%3D")


def drawn_tree() -> dict[str, str]:
    """Child to parent, as drawn in the docstring of `errors`."""
    drawing = re.findall(r"^    ([│├└─ ]*)([A-Z]\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    above: list[str] = []
    parents: dict[str, str] = {}
    for indent, name in drawing:
        depth = len(indent) // 4
        del above[depth:]
        if above:
            parents[name] = above[-1]
        above.append(name)
    return parents


def all_classes() -> dict[str, type[BaseException]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }


def test_the_tree_is_as_drawn() -> None:
    actual = {
        name: kind.__bases__[0].__name__
        for name, kind in all_classes().items()
        if kind is not DurastateError
    }
    assert drawn_tree() == actual


def test_every_exception_is_public_and_one_of_ours() -> None:
    assert set(all_classes()) <= set(durastate.__all__)
    assert all(issubclass(kind, DurastateError) for kind in all_classes().values())


def test_a_deadline_is_a_timeout_too() -> None:
    assert issubclass(DeadlineError, TimeoutError)


def service_error(kind: type[ServiceError]) -> ServiceError:
    return kind(
        operation=GET_STATE,
        arn=ARN,
        code="Code",
        message="message",
        status=400,
        request_id="id-1",
        retryable=True,
    )


def example_of(kind: type[BaseException]) -> BaseException:
    if issubclass(kind, ServiceError):
        return service_error(kind)
    if issubclass(kind, DecodingError):
        return kind("Operations[3].Id", "is missing")
    return kind("what happened")


@pytest.mark.parametrize("kind", all_classes().values(), ids=all_classes())
def test_every_exception_pickles_with_its_attributes(kind: type[BaseException]) -> None:
    error = example_of(kind)
    error.extra = ["set later"]  # type: ignore[attr-defined]
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is kind
    assert (str(again), again.args) == (str(error), error.args)
    assert vars(again) == vars(error)
    assert again.__notes__ == ["a note"]


def test_what_a_transport_says_about_retries_survives_pickling() -> None:
    error = TransportError("too large")
    assert error.retryable is True
    error.retryable = False
    assert pickle.loads(pickle.dumps(error)).retryable is False  # noqa: S301


@pytest.mark.parametrize("kind", all_classes().values(), ids=all_classes())
def test_every_text_is_one_line_and_not_empty(kind: type[BaseException]) -> None:
    text = str(example_of(kind))
    assert text
    assert "\n" not in text


def test_the_text_of_a_service_error_has_everything() -> None:
    text = str(service_error(InvalidTokenError))
    start = f"GetDurableExecutionState of {ARN}: Code: message (request id id-1)"
    assert text == f"{start}. {InvalidTokenError.hint}"
    assert str(service_error(ServiceError)) == start


# Answers


def answer(
    status: int = 400, body: bytes = b"", *, token: str = TOKEN, **headers: str
) -> tuple[ServiceError | CredentialsError, Failure]:
    lowered = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_of(REQUEST, (token,), status=status, headers=lowered, body=body)


def service(status: int = 400, body: bytes = b"", **headers: str) -> ServiceError:
    error, _ = answer(status, body, **headers)
    assert isinstance(error, ServiceError)
    return error


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("ServiceException", {}),
        ("ServiceException:http://internal.amazon.com/coral/com.amazon.lambda/", {}),
        ("com.amazon.lambda#ServiceException", {}),
        ("com.amazon.lambda#ServiceException:http://x/", {}),
        ("ServiceException", {"__type": "Other", "code": "Other", "Type": "Other"}),
        (None, {"__type": "ServiceException"}),
        (None, {"__type": "com.amazon.lambda#ServiceException"}),
        (None, {"code": "ServiceException"}),
        (None, {"Type": "ServiceException"}),
        (None, {"Type": "ServiceException", "Message": "m"}),
        (None, {"__type": None, "code": 7, "Type": "ServiceException"}),
        ("", {"__type": "ServiceException"}),
    ],
)
def test_the_code_is_found_in_every_form(header: str | None, body: dict[str, Any]) -> None:
    headers = {} if header is None else {"x_amzn_errortype": header}
    error = service(500, as_body(body), **headers)
    assert (error.code, error.status, error.retryable) == ("ServiceException", 500, True)
    assert (error.operation, error.arn) == (GET_STATE, ARN)


@pytest.mark.parametrize("name", ["message", "Message"])
def test_the_message_is_found_in_both_spellings(name: str) -> None:
    error = service(body=as_body({"Type": "A", name: "what is wrong"}))
    assert error.message == "what is wrong"
    assert "A: what is wrong" in str(error)


@pytest.mark.parametrize("wrong", [None, 7, ["m"], {"m": 1}, ""])
def test_a_message_that_is_no_text_counts_as_none(wrong: Any) -> None:
    error = service(body=as_body({"Type": "A", "message": wrong, "Message": "second"}))
    assert error.message == "second"
    bare = service(body=as_body({"Type": "A", "message": wrong}))
    assert bare.message == ""
    assert "A: no message" in str(bare)


def test_the_request_id_is_kept() -> None:
    assert service(x_amzn_requestid="id-7").request_id == "id-7"
    assert "(request id id-7)" in str(service(x_amzn_requestid="id-7"))
    assert service().request_id is None


_CLASSES = [
    ("InvalidParameterValueException", 400, InvalidRequestError, False),
    ("KMSAccessDeniedException", 502, EncryptionKeyError, False),
    ("KMSDisabledException", 502, EncryptionKeyError, False),
    ("KMSInvalidStateException", 502, EncryptionKeyError, False),
    ("KMSNotFoundException", 502, EncryptionKeyError, False),
    ("ServiceException", 500, ServiceError, True),
    ("TooManyRequestsException", 429, ThrottledError, True),
    ("ResourceNotFoundException", 404, ExecutionNotFoundError, False),
    ("AccessDeniedException", 403, AccessDeniedError, False),
    ("ThrottlingException", 400, ThrottledError, True),
    ("SomethingNew", 400, ServiceError, False),
    ("SomethingNew", 503, ServiceError, True),
]


@pytest.mark.parametrize(("code", "status", "kind", "retryable"), _CLASSES)
def test_each_code_has_its_exception(
    code: str, status: int, kind: type[ServiceError], retryable: bool
) -> None:
    error = service(status, x_amzn_errortype=code)
    assert type(error) is kind
    assert (error.code, error.status, error.retryable) == (code, status, retryable)
    assert pickle.loads(pickle.dumps(error)).code == code  # noqa: S301


def test_every_error_of_the_model_is_in_the_table() -> None:
    modelled = {
        (shape.name, shape.metadata["error"]["httpStatusCode"])
        for shape in get_state_model().error_shapes
    }
    assert modelled <= {(code, status) for code, status, _, _ in _CLASSES}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 404, 403, 418])
@pytest.mark.parametrize(
    "body", [b"", b"<html>\n<b>Bad gateway</b></html>", b"nonsense", b"[]", b"null", b"\xff", b"7"]
)
def test_a_body_that_says_nothing_leaves_the_status(status: int, body: bytes) -> None:
    error = service(status, body)
    assert error.code == f"HTTP {status}"
    assert error.message == ""
    assert isinstance(error, ThrottledError) is (status == 429)


def test_a_lone_surrogate_in_the_message_does_not_hide_the_code() -> None:
    body = as_body({"Type": "KMSDisabledException", "Message": "one\ud800two"})
    error = service(502, body)
    assert type(error) is EncryptionKeyError
    assert error.retryable is False
    str(error).encode()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_told_and_not_followed(status: int) -> None:
    error = service(status, b'{"message": "go"}', location="https://evil.example/?t=x")
    assert error.code == f"HTTP {status}"
    assert "redirect" in str(error)
    assert "evil" not in str(error)
    assert error.retryable is False


@pytest.mark.parametrize(
    "message",
    ["Invalid checkpoint token", "Invalid Checkpoint Token: expired", "stale checkpoint token"],
)
def test_a_refused_token_is_an_error_of_its_own_with_a_hint(message: str) -> None:
    body = as_body({"Type": "InvalidParameterValueException", "message": message})
    error = service(400, body)
    assert type(error) is InvalidTokenError
    assert "lives only while its invocation runs" in str(error)


@pytest.mark.parametrize(
    "code",
    ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"],
)
def test_refused_credentials_are_an_error_of_the_set_up(code: str) -> None:
    body = as_body({"message": f"The Canonical String was GET ... {TOKEN}"})
    error, failure = answer(403, body, x_amzn_errortype=code)
    assert isinstance(error, CredentialsError)
    assert isinstance(error, ConfigurationError)
    assert failure is Failure.PERMANENT
    assert code in str(error)
    assert "Canonical" not in str(error)
    assert TOKEN not in str(error)


@pytest.mark.parametrize(
    "shown", [TOKEN, quote(TOKEN, safe=""), f"?CheckpointToken={quote(TOKEN, safe='')}&x=1"]
)
def test_a_message_that_quotes_the_token_is_left_out(shown: str) -> None:
    error = service(400, as_body({"Type": "A", "message": f"bad {shown} and {shown}!"}))
    for text in (str(error), error.message, repr(error), repr(vars(error))):
        assert TOKEN not in text
        assert quote(TOKEN, safe="") not in text
    assert error.message == LEFT_OUT


def test_the_start_of_a_token_at_the_cut_of_a_long_message_is_left_out() -> None:
    message = "x" * 490 + TOKEN * 3
    error = service(400, as_body({"Type": "A", "message": message}))
    assert TOKEN[:8] not in str(error)
    assert len(error.message) <= 500


@pytest.mark.parametrize("where", ["x_amzn_errortype", "__type", "code", "Type"])
def test_a_token_in_place_of_the_code_is_not_shown(where: str) -> None:
    token = "SECRETtoken123"
    headers = {where: token} if where.startswith("x") else {}
    body = as_body({} if headers else {where: token, "message": "m"})
    error, _ = answer(400, body, token=token, **headers)
    assert token not in str(error)
    assert token not in repr(vars(error))


@pytest.mark.parametrize(
    "code",
    ["a b", "x\ny", "\x1b[31mred", "é", "<script>", "A" * 101, "1A", "A/B", "{}", "\ud800"],
)
def test_a_hostile_code_is_not_shown(code: str) -> None:
    error = service(500, as_body({"__type": code}))
    assert error.code == "HTTP 500"
    assert error.retryable is True
    assert code not in str(error)
    assert error.code.isascii()


_LINE_BREAKS = ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029")


@pytest.mark.parametrize("broken", _LINE_BREAKS, ids=ascii)
def test_a_message_of_several_lines_is_one_line_in_the_text(broken: str) -> None:
    error = service(400, as_body({"Type": "A", "message": f"one{broken}two"}))
    assert len(str(error).splitlines()) == 1
    assert "one" in str(error)
    assert "two" in str(error)


@pytest.mark.parametrize("control", ["\x1b[2J", "\x07", "\x00", "\x9b31m"], ids=ascii)
def test_control_characters_do_not_reach_a_terminal(control: str) -> None:
    error = service(400, as_body({"Type": "A", "message": f"one{control}two"}))
    assert control[0] not in str(error)


def test_a_message_with_a_lone_surrogate_can_be_printed_and_pickled() -> None:
    error = service(400, as_body({"Type": "A", "message": "one\ud800two"}))
    str(error).encode()
    assert pickle.loads(pickle.dumps(error)).message == error.message  # noqa: S301


# botocore as oracle

_CODES = st.from_regex(r"[A-Za-z][A-Za-z0-9.]{0,40}", fullmatch=True)
_DECORATED = st.builds(
    "{}{}{}".format,
    st.sampled_from(("", "com.amazon.lambda#", "ns.v1#")),
    _CODES,
    st.sampled_from(("", ":http://internal.amazon.com/coral/", ":x#y:z")),
)
_PARSER = create_parser("rest-json")


@some
@given(
    status=st.sampled_from((400, 403, 404, 409, 429, 500, 502, 503)),
    place=st.sampled_from(("x-amzn-errortype", "__type", "code")),
    code=_DECORATED,
    spelling=st.sampled_from(("message", "Message")),
    # Ours is one line, so white space and control characters are not comparable.
    message=plain_text.map(lambda text: " ".join(text.split())).filter(
        lambda text: bool(text) and text.isprintable()
    ),
    more=st.dictionaries(st.sampled_from(("Type", "Reason", "Other")), plain_text),
)
def test_code_and_message_are_those_of_botocores_parser(
    *, status: int, place: str, code: str, spelling: str, message: str, more: dict[str, str]
) -> None:
    fields = {**more, spelling: message}
    headers = {}
    if place.startswith("x"):
        headers[place] = code
    else:
        fields[place] = code
    body = json.dumps(fields).encode()
    wire = {"status_code": status, "headers": headers, "body": body}
    theirs = _PARSER.parse(wire, get_state_model().output_shape)["Error"]
    ours, _ = error_of(REQUEST, (TOKEN,), status=status, headers=headers, body=body)
    if isinstance(ours, CredentialsError):
        assert theirs["Code"] in str(ours)
        return
    assert (ours.code, ours.message) == (theirs["Code"], theirs["Message"])


@some
@given(
    st.integers(300, 599),
    st.dictionaries(
        st.sampled_from(("x-amzn-errortype", "x-amzn-requestid", "retry-after")),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    ),
    st.one_of(
        st.binary(max_size=30),
        st.dictionaries(
            st.sampled_from(("__type", "code", "Type", "message", "Message")),
            st.one_of(st.none(), st.integers(), st.text(), st.just(TOKEN), st.lists(st.text())),
        ).map(as_body),
    ),
)
def test_any_answer_becomes_one_line_without_the_token(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    error, failure = error_of(REQUEST, (TOKEN,), status=status, headers=headers, body=body)
    assert isinstance(error, ServiceError | CredentialsError)
    assert isinstance(failure, Failure)
    assert TOKEN not in str(error)
    assert len(str(error).splitlines()) == 1
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert str(again) == str(error)
