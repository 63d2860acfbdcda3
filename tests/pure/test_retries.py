"""Retries follow AWS's standard rules of 2026; botocore's own implementation is the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.retries import quota, standard
from hypothesis import given
from hypothesis import strategies as st

from durastate import ConfigurationError, RetryPolicy
from durastate.retries import Failure, Retries, classify

from .strategies import few, get_state_model, some


def fixed(number: float) -> Any:
    return lambda: number


# The decision table


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (429, "TooManyRequestsException", Failure.THROTTLED),
        (429, "HTTP 429", Failure.THROTTLED),
        (400, "ThrottlingException", Failure.THROTTLED),
        (503, "SlowDown", Failure.THROTTLED),
        (500, "ServiceException", Failure.TRANSIENT),
        (502, "HTTP 502", Failure.TRANSIENT),
        (503, "HTTP 503", Failure.TRANSIENT),
        (504, "HTTP 504", Failure.TRANSIENT),
        (400, "RequestTimeout", Failure.TRANSIENT),
        (408, "RequestTimeoutException", Failure.TRANSIENT),
        (501, "HTTP 501", Failure.PERMANENT),
        (400, "InvalidParameterValueException", Failure.PERMANENT),
        (403, "AccessDeniedException", Failure.PERMANENT),
        (404, "ResourceNotFoundException", Failure.PERMANENT),
        (302, "HTTP 302", Failure.PERMANENT),
    ],
)
def test_what_kind_of_failure_an_answer_is(status: int, code: str, expected: Failure) -> None:
    assert classify(status, code) is expected


@pytest.mark.parametrize("name", ["AccessDenied", "Disabled", "InvalidState", "NotFound", "New"])
@pytest.mark.parametrize("status", [400, 429, 500, 502, 503])
def test_a_kms_error_is_never_retried(name: str, status: int) -> None:
    failure = classify(status, f"KMS{name}Exception")
    assert failure is Failure.PERMANENT
    retries = Retries(10, fixed(0.5))
    assert retries.delay_s(failure, 1) is None
    assert retries.available == 500


@pytest.mark.parametrize(
    ("failure", "attempt", "random", "expected"),
    [
        (Failure.TRANSIENT, 1, 1.0, 0.05),
        (Failure.TRANSIENT, 2, 1.0, 0.1),
        (Failure.TRANSIENT, 2, 0.5, 0.05),
        (Failure.TRANSIENT, 1, 0.0, 0.0),
        (Failure.THROTTLED, 1, 1.0, 1.0),
        (Failure.THROTTLED, 2, 0.25, 0.5),
        (Failure.THROTTLED, 5, 1.0, 16.0),
        # The cap comes before the jitter.
        (Failure.THROTTLED, 6, 1.0, 20.0),
        (Failure.THROTTLED, 6, 0.5, 10.0),
        (Failure.TRANSIENT, 10_000, 0.5, 10.0),
    ],
)
def test_the_delay_doubles_up_to_a_cap_and_is_drawn_below_it(
    failure: Failure, attempt: int, random: float, expected: float
) -> None:
    assert Retries(10**6, fixed(random)).delay_s(failure, attempt) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 0.5),
        ({"x-amz-retry-after": "1500"}, 1.5),
        ({"x-amz-retry-after": "0"}, 0.5),
        ({"x-amz-retry-after": "100"}, 0.5),
        ({"x-amz-retry-after": "5500"}, 5.5),
        ({"x-amz-retry-after": "999999999"}, 5.5),
        ({"x-amz-retry-after": "-1"}, 0.5),
        ({"x-amz-retry-after": "soon"}, 0.5),
        ({"x-amz-retry-after": ""}, 0.5),
        ({"x-amz-retry-after": "1.5"}, 0.5),
        ({"x-amz-retry-after": "１５００"}, 0.5),  # noqa: RUF001
        ({"x-amz-retry-after": "9" * 5_000}, 0.5),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 0.5),
        ({"retry-after": "60"}, 60.0),
        ({"retry-after": "86400"}, 60.0),
        ({"retry-after": "-3"}, 0.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.5),
        ({"x-amz-retry-after": "1500", "retry-after": "30"}, 1.5),
        ({"x-amz-retry-after": "soon", "retry-after": "30"}, 30.0),
    ],
)
def test_the_servers_hint_wins_within_bounds(headers: dict[str, str], expected: float) -> None:
    assert Retries(3, fixed(0.5)).delay_s(Failure.THROTTLED, 1, headers) == expected


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
def test_no_more_than_the_attempts_that_were_asked_for(attempts: int) -> None:
    retries = Retries(attempts, fixed(0.5))
    delays = [retries.delay_s(Failure.TRANSIENT, attempt) for attempt in range(1, 12)]
    assert [delay is not None for delay in delays] == [n < attempts for n in range(1, 12)]


@pytest.mark.parametrize(("failure", "extra"), [(Failure.THROTTLED, 100), (Failure.TRANSIENT, 35)])
def test_a_full_outage_costs_at_most_a_hundred_extra_attempts(failure: Failure, extra: int) -> None:
    retries = Retries(3, fixed(0.5))
    granted = [
        retries.delay_s(failure, attempt) is not None for _ in range(40_000) for attempt in (1, 2)
    ]
    assert sum(granted) == extra
    assert sum(granted) <= 100


def test_a_permanent_failure_costs_nothing() -> None:
    retries = Retries(3, fixed(0.5))
    assert retries.delay_s(Failure.PERMANENT, 1) is None
    assert retries.available == 500


def test_a_success_gives_back_what_its_last_retry_cost() -> None:
    retries = Retries(3, fixed(0.5))
    retries.delay_s(Failure.TRANSIENT, 1)
    retries.delay_s(Failure.THROTTLED, 2)
    assert retries.available == 500 - 14 - 5
    retries.succeeded(Failure.THROTTLED)
    assert retries.available == 500 - 14
    retries.succeeded(None)
    assert retries.available == 500 - 13
    retries.succeeded(Failure.TRANSIENT)
    assert retries.available == 500


def test_an_outage_that_ends_leaves_room_for_retries_again() -> None:
    retries = Retries(3, fixed(0.5))
    while retries.delay_s(Failure.TRANSIENT, 1) is not None:
        pass
    for _ in range(14):
        retries.succeeded(None)
    assert retries.delay_s(Failure.TRANSIENT, 1) is not None


@pytest.mark.parametrize("attempts", [0, -1])
def test_a_policy_wants_one_attempt_at_least(attempts: int) -> None:
    with pytest.raises(ConfigurationError, match=r"max_attempts: expected at least 1, found"):
        RetryPolicy(max_attempts=attempts)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_policy_wants_time_for_an_attempt(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match=r"attempt_timeout_s: expected more than 0"):
        RetryPolicy(attempt_timeout_s=seconds)


# botocore as oracle


@pytest.fixture(scope="module", autouse=True)
def rules_of_2026() -> Iterator[None]:
    """botocore's switch for them; its default is still the legacy mode."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standard, "NEW_RETRIES_ENABLED", True)
        yield


class Botocore:
    """botocore's standard retries for the Lambda client, one request at a time."""

    def __init__(self, max_attempts: int, random: Any) -> None:
        adapter = standard.RetryEventAdapter()
        throttling = standard.ThrottlingErrorDetector(adapter)
        self.quota = quota.RetryQuota()
        self._checker = standard.RetryQuotaChecker(self.quota, throttling)
        self._handler = standard.RetryHandler(
            retry_policy=standard.RetryPolicy(
                standard.StandardRetryConditions(max_attempts),
                standard.ExponentialBackoff(
                    random=random, service_name="lambda", throttling_detector=throttling
                ),
            ),
            retry_event_adapter=adapter,
            retry_quota=self._checker,
            service_name="lambda",
        )
        self._context: dict[str, Any] = {}

    def delay_s(
        self, status: int, code: str, attempt: int, headers: dict[str, str]
    ) -> float | None:
        response = SimpleNamespace(status_code=status, headers=headers)
        delay: float | None = self._handler.needs_retry(
            response=(response, {"Error": {"Code": code}}),
            attempts=attempt,
            operation=get_state_model(),
            caught_exception=None,
            request_dict={"context": self._context},
        )
        return delay

    def succeeded(self) -> None:
        self._checker.release_retry_quota(self._context, SimpleNamespace(status_code=200))
        self._context = {}

    def gave_up(self) -> None:
        self._context = {}


_BOTOCORE_CODES = (
    *standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
    *standard.TransientRetryableChecker._TRANSIENT_ERROR_CODES,
    "ServiceException",
    "InvalidParameterValueException",
    "AccessDeniedException",
    "ResourceNotFoundException",
    "SomethingNew",
)
# Not 429 without a throttling code, which botocore does not retry and we do; not KMS errors,
# which botocore retries and we do not; a hint has nine digits at most here.
_FAILURES = st.tuples(
    st.sampled_from((400, 403, 404, 500, 501, 502, 503, 504)), st.sampled_from(_BOTOCORE_CODES)
)
_HINTS = st.one_of(
    st.just({}),
    st.one_of(
        st.integers(0, 999_999_999).map(str),
        st.integers(0, 10_000).map(str),
        st.sampled_from(("-1", "-500", "soon", "", "1.5", "1e3", "0x10")),
    ).map(lambda value: {"x-amz-retry-after": value}),
)
_REQUESTS = st.lists(
    st.tuples(
        st.lists(st.tuples(_FAILURES, _HINTS, st.floats(0, 1, exclude_max=True)), max_size=6),
        st.booleans(),
    ),
    max_size=8,
)


@some
@given(st.integers(1, 6), _REQUESTS)
def test_decisions_delays_and_quota_are_botocores(max_attempts: int, requests: Any) -> None:
    drawn = [0.0]
    ours = Retries(max_attempts, lambda: drawn[0])
    theirs = Botocore(max_attempts, lambda: drawn[0])
    for failures, ends_well in requests:
        last: Failure | None = None
        for attempt, ((status, code), hint, number) in enumerate(failures, 1):
            drawn[0] = number
            failure = classify(status, code)
            delay = ours.delay_s(failure, attempt, hint)
            assert delay == theirs.delay_s(status, code, attempt, hint)
            assert ours.available == theirs.quota.available_capacity
            if delay is None:
                theirs.gave_up()
                break
            last = failure
        else:
            if ends_well:
                ours.succeeded(last)
                theirs.succeeded()
            else:
                theirs.gave_up()
        assert ours.available == theirs.quota.available_capacity


@few
@given(_FAILURES)
def test_an_exhausted_quota_is_botocores(failed: tuple[int, str]) -> None:
    status, code = failed
    failure = classify(status, code)
    ours, theirs = Retries(3, fixed(0.5)), Botocore(3, fixed(0.5))
    for _ in range(120):
        assert ours.delay_s(failure, 1) == theirs.delay_s(status, code, 1, {})
        assert ours.available == theirs.quota.available_capacity


def test_a_hint_of_more_than_nine_digits_is_taken_as_malformed_unlike_botocores() -> None:
    hint = {"x-amz-retry-after": "9999999999"}
    assert Retries(3, fixed(0.5)).delay_s(Failure.THROTTLED, 1, hint) == 0.5
    theirs = Botocore(3, fixed(0.5))
    assert theirs.delay_s(429, "TooManyRequestsException", 1, hint) == 5.5


def test_three_attempts_are_botocores_default_too() -> None:
    assert standard.DEFAULT_MAX_ATTEMPTS == 3
