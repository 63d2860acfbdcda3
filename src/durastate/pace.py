"""How fast the requests of one account, Region and call may go. Pure: it is told the time.

Two bounds hold together. The *ceiling* is the user's: a rate, or a share of AWS's quota. Below it
the *pace* follows what the service takes: nobody knows how much of a quota others use, so a
request that is throttled cuts the pace, and the pace grows again while all goes well.

* A cut takes 10 % of a pace that was good before, 20 % where the pace was only being tried, and
  25 % where another cut came just before it, since then the service takes far less than was
  thought. What was sent before a cut, or right after it, causes no other: requests in flight say
  nothing new, and a service that has just refused has nothing in reserve. Where more was refused
  than that, as at the start, the pace comes down to the share that was taken.
* A limiter refuses what is beyond its rate and then stops. Other refusals come at any pace, and
  slowing down does not help against them. So nothing is cut until more was refused than chance
  explains where one request in a hundred goes astray. Once that has shown that there is a limit,
  a single refusal counts, unless as many come while the pace is well below it: that share is
  learnt, and tolerated. Where requests are so few that strays are rare, it counts in any case.
* Growth is a share of the last good pace, so that it fits 15 requests a second as well as 5,000:
  quickly back to where it was good, slowly around it, and doubling again and again once the pace
  has held for longer than that.

Only answers make it grow, so nothing is concluded from time in which nobody asked.
"""

from __future__ import annotations

import math

_CUT = 0.9
_CUT_OF_A_TRIAL = 0.8
_CUT_AGAIN = 0.75
_AGAIN_S = 2.0
_SETTLING_S = 0.1
# Refusals of so small a share are no sign of going too fast.
_TOLERATED = 0.01
# Five standard deviations beyond it: in 200 runs with 50 stray refusals each, none is cut for them.
_EVIDENT = 5.0
# Where a limit is known to be there, less is enough.
_SUSPECT = 2.5
# Among fewer answers, and at a slower pace in a second, there is hardly a stray.
_FEW = 33
# A larger share than this, right after a cut, is the limit again.
_MOST_STRAYS = 0.025
# How many answers the learnt share goes by at the beginning, and at most.
_ANSWERS_AT_FIRST = 20
_ANSWERS_REMEMBERED = 2000
# So long after a cut the pace is well below what it was before.
_WELL_BELOW_S = 3.0
# From a cut back to the last good pace; and from there on, how the surplus of 3 % doubles.
_RECOVERY_S = 6.3
_SURPLUS = 0.03
_DOUBLING_S = 0.5
# A request every two seconds still asks whether the service has recovered.
_SLOWEST = 0.5
# A pace beyond this is no bound for one process.
_FASTEST = 1e6
# The burst of a pace that the service set, in seconds of it; timers are no finer than 1 ms.
_BURST_S = 0.02
# What has happened in less time than this is no rate yet.
_BRIEFLY_S = 0.1


class Pace:
    """A token bucket whose rate the service can bring down: `burst` at once, then `rate` a second.

    Time in which nobody asked is worth `burst` at most, so a stalled event loop is never
    followed by all the requests that it missed.
    """

    __slots__ = (
        "_at",
        "_cut_at",
        "_good",
        "_grown_at",
        "_grown_s",
        "_is_limited",
        "_lately",
        "_learning",
        "_strays",
        "_tokens",
        "burst",
        "ceiling",
        "rate",
        "succeeded_at",
    )

    def __init__(self, ceiling: float = math.inf, burst: float = 1.0) -> None:
        self.ceiling = ceiling
        self.rate = ceiling
        self.succeeded_at = -math.inf
        self.burst = max(1.0, burst)
        self._tokens = self.burst
        self._at: float | None = None
        self._good: float | None = None  # the pace to come back to; None: never cut, or recovered
        self._cut_at = -math.inf
        self._grown_at = 0.0
        self._grown_s = 0.0
        self._is_limited = False  # whether the service has shown that it limits the rate
        self._lately = _Lately()
        self._strays = _Strays()
        self._learning = [0, 0]  # taken and refused since the last cut

    @property
    def is_throttled(self) -> bool:
        """Whether the service, and not the ceiling, sets the pace."""
        return self._good is not None

    def take(self, now: float) -> float:
        """0 where a request may go, which is then counted; otherwise the seconds until then."""
        if self.rate == math.inf:
            self._lately.sent += 1
            return 0.0
        if self._at is not None and now > self._at:
            self._tokens = min(self._most(), self._tokens + (now - self._at) * self.rate)
        if self._at is None or now > self._at:
            self._at = now
        # A wait of (1 - tokens) / rate must not fall short by a rounding error.
        if self._tokens >= 1.0 - 1e-9:
            self._tokens -= 1.0
            self._lately.sent += 1
            return 0.0
        return (1.0 - self._tokens) / self.rate

    def give_back(self) -> None:
        """Undo a `take` whose request was never sent."""
        self._tokens = min(self._most(), self._tokens + 1.0)

    def _most(self) -> float:
        if self._good is None:
            return self.burst
        return min(self.burst, max(1.0, self.rate * _BURST_S))

    def succeeded(self, now: float) -> None:
        """The service has taken a request."""
        if self._lately.is_over(now):
            self._turn(now)
        self._lately.taken += 1
        self.succeeded_at = now
        if self._good is None:
            return
        # Not more than a second for one answer: what was idle has proven nothing.
        self._grown_s += min(now - self._grown_at, 1.0)
        self._grown_at = now
        rate = min(self._good * _growth(self._grown_s), 2 * self.rate)
        if rate >= min(self.ceiling, _FASTEST):
            self.rate, self._good = self.ceiling, None
        else:
            self.rate = max(self.rate, rate)

    def throttled(self, sent_at: float, now: float) -> None:
        """The service has refused a request that was sent at `sent_at`."""
        lately = self._lately
        if lately.is_over(now):
            self._turn(now)
        if sent_at < self._cut_at + _SETTLING_S:
            return
        lately.refused += 1
        if self._is_astray(now):
            return
        if now - self._cut_at < _AGAIN_S:
            cut = _CUT_AGAIN
        elif self._good is None or self.rate > 1.05 * self._good:
            cut = _CUT_OF_A_TRIAL
        else:
            cut = _CUT
        reached = min(self.rate, lately.rate_sent(now))
        self.rate = max(min(_SLOWEST, self.ceiling), reached * min(cut, lately.share_taken()))
        self._good = self.rate / _CUT
        self._cut_at = self._grown_at = now
        self._grown_s = 0.0
        self._tokens = 0.0
        self._at = now
        self._lately = _Lately()
        self._learning = [0, 0]

    def _is_astray(self, now: float) -> bool:
        """Whether what was refused lately is none of the pace's doing, as far as one can know."""
        lately, strays = self._lately, self._strays
        refused, answers = lately.answered()
        if _is_evident(refused, answers):
            self._is_limited = True
            return False
        if self._shows_strays and _is_evident(
            strays.refused + lately.refused, strays.answers + lately.taken + lately.refused
        ):
            # Too few at a time to be seen in a second, and too many in the long run.
            self._is_limited, self._strays = True, _Strays()
            return False
        if not self._is_limited:
            return True
        if (self._good or self.rate) > _FEW and strays.explain(refused, answers):
            return True
        self._learn(now, before_cut=True)
        return False

    @property
    def _shows_strays(self) -> bool:
        """Whether the pace is one at which the service refuses nothing for its sake."""
        if self._good is None:
            return not self._is_limited
        return self._grown_s < _WELL_BELOW_S

    def _learn(self, now: float, *, before_cut: bool = False) -> None:
        """Learn the share of strays.

        Many refusals soon after a cut are none: the pace was still too high, and is cut again.
        """
        if self._shows_strays:
            self._learning[0] += self._lately.taken
            self._learning[1] += self._lately.refused
        taken, refused = self._learning
        soon = now - self._cut_at < _AGAIN_S
        if not soon or (before_cut and refused <= _MOST_STRAYS * taken):
            self._strays.add(taken, refused)
            self._learning = [0, 0]

    def _turn(self, now: float) -> None:
        self._learn(now)
        self._lately.turn(now, self.rate)


def _is_evident(refused: float, answers: float) -> bool:
    """Whether more is refused than chance explains where no more goes astray than is tolerated."""
    expected = _TOLERATED * answers
    return refused > 2.0 + expected + _EVIDENT * math.sqrt(expected)


def _growth(seconds: float) -> float:
    """The pace so long after a cut, as a multiple of the last good one."""
    if seconds < _RECOVERY_S:
        missing = 1.0 - seconds / _RECOVERY_S
        return 1.0 - (1.0 - _CUT) * missing * missing * missing
    doublings = min((seconds - _RECOVERY_S) / _DOUBLING_S, 64.0)
    return 1.0 + _SURPLUS * (math.exp2(doublings) - 1.0)


class _Strays:
    """The share of requests that is refused whatever the pace."""

    __slots__ = ("answers", "refused")

    def __init__(self) -> None:
        self.answers: float = _ANSWERS_AT_FIRST
        self.refused = 0.0

    def add(self, taken: int, refused: int) -> None:
        """Learn from answers at a pace that the service does not limit."""
        answers = taken + refused
        kept = max(0.0, 1.0 - answers / _ANSWERS_REMEMBERED)
        self.answers = self.answers * kept + answers
        self.refused = self.refused * kept + refused

    def explain(self, refused: int, answers: int) -> bool:
        """Whether so many refusals among so many answers are no more than usual."""
        expected = min(_TOLERATED, self.refused / self.answers) * max(answers, _FEW)
        # The share is not known better than the answers allow that it was learnt from.
        spread = math.sqrt(expected * (1.0 + answers / self.answers))
        return refused <= expected + _SUSPECT * spread


class _Lately:
    """What was sent, taken and refused in the last second or so, or since the last cut."""

    __slots__ = ("_before", "_since", "_window", "refused", "sent", "taken")

    def __init__(self) -> None:
        self._since = -math.inf
        self._window = 0.0
        self._before = (0.0, 0, 0, 0)  # the window before this one: its seconds and its counts
        self.sent = 0
        self.taken = 0
        self.refused = 0

    def is_over(self, now: float) -> bool:
        """Whether it is time for another window."""
        return now - self._since >= self._window

    def turn(self, now: float, pace: float) -> None:
        """Begin another window."""
        passed = now - self._since
        if passed < 2 * self._window:
            self._before = (passed, self.sent, self.taken, self.refused)
            self.sent = self.taken = self.refused = 0
        elif self._window:  # Long ago says nothing of now.
            self._before = (0.0, 0, 0, 0)
            self.sent = self.taken = self.refused = 0
        # Half a second, or longer where that holds too few requests to measure anything by.
        self._since, self._window = now, max(0.5, 15.0 / pace)

    def answered(self) -> tuple[int, int]:
        """How many answers were refusals, and how many there were."""
        _, _, taken, refused = self._before
        refused += self.refused
        return refused, taken + self.taken + refused

    def share_taken(self) -> float:
        """The share of the answers that were no refusals."""
        refused, answers = self.answered()
        return (answers - refused + 1) / (answers + 1)

    def rate_sent(self, now: float) -> float:
        """Rather too high than too low: too high shows at once, and is cut again."""
        seconds, sent, _, _ = self._before
        return (sent + self.sent + 1) / max(now - self._since + seconds, _BRIEFLY_S)
