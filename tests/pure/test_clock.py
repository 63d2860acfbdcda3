"""The service's time by the Date of its answers: what is believed, and how exact it is."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durastate.clock import ServiceClock, seconds_of

from .strategies import some

HERE = 1_780_000_000.5


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(seconds), timezone.utc), usegmt=True)


def heard(text: str, *, took_s: float = 0.1, proven_at: float = 0.0) -> float | None:
    clock = ServiceClock(lambda: HERE)
    clock.hear(text, took_s, proven_at)
    return clock.skew_s


@some
@given(
    st.floats(-1e8, 1e8),
    st.floats(0, 60),
    st.floats(0, 1),
)
def test_the_skew_is_known_to_a_second_and_the_time_that_the_answer_took(
    skew_s: float, took_s: float, written: float
) -> None:
    there = HERE - took_s * (1 - written) + skew_s
    found = heard(date(there), took_s=took_s)
    if seconds_of(date(there)) is None:
        assert found is None
    elif found == 0:
        assert abs(skew_s) <= 1 + took_s
    else:
        assert found is not None
        assert skew_s - 1e-3 <= found <= skew_s + 1 + took_s + 1e-3


def test_clocks_that_may_agree_agree_exactly() -> None:
    assert heard(date(HERE)) == 0
    assert heard(date(HERE - 30), took_s=31) == 0  # an answer that was long under way


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "now", "Mon, 01 Jan 0001 00:00:00 GMT", "Sun, 30 Nov 2025 23:59:59 GMT"),
        *("Fri, 01 Jan 2100 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "9" * 60_000),
        *("Mon, 01 Jan 99999 00:00:00 GMT", "Tue, 02 Dec 2025 08:12:31 +999999999999999999"),
    ],
    ids=lambda text: text[:40],
)
def test_what_no_service_can_have_sent_says_nothing(text: str) -> None:
    assert heard(text) is None


def test_a_date_that_its_own_signature_contradicts_is_a_middleboxs() -> None:
    assert heard(date(HERE - 7_200), proven_at=HERE) is None
    assert heard(date(HERE + 310), proven_at=HERE) is None
    assert heard(date(HERE + 200), proven_at=HERE) == pytest.approx(200.6)
    # A clock two hours behind, which was mended before the request was signed.
    assert heard(date(HERE + 7_200), proven_at=HERE + 7_200) == pytest.approx(7_200.6)


def test_each_answer_measures_anew() -> None:
    now = HERE
    clock = ServiceClock(lambda: now)
    for skew_s in (7_200, 0, -600):
        clock.hear(date(HERE + skew_s), 0.0)
        assert clock.skew_s == pytest.approx(skew_s, abs=1)
    clock.hear("nonsense", 0.0)
    assert clock.skew_s == pytest.approx(-600, abs=1)


def test_a_slow_answer_does_not_undo_what_a_quick_one_has_told() -> None:
    clock = ServiceClock(lambda: HERE)
    clock.hear(date(HERE + 290), 0.05)
    known = clock.skew_s
    clock.hear(date(HERE + 289), 600)
    assert clock.skew_s == known
    assert known is not None
    assert known >= 290


def test_a_zone_is_taken_as_written() -> None:
    assert seconds_of("Tue, 02 Dec 2025 10:00:00 +0200") == seconds_of(
        "Tue, 02 Dec 2025 08:00:00 -0000"
    )
