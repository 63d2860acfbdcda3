"""The rate ceiling, the request slots and the byte gate, on a clock that nobody waits for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_clock import Stuck, now, run, settle

from durastate import ConfigurationError, Limits
from durastate.gates import Admission, ByteGate, Hold, Turns
from durastate.pace import Pace

from .strategies import few, some

STATE = "GetDurableExecutionState"
FREE = Pace()


# The clock itself


def test_an_hour_of_sleep_takes_no_time_and_comes_in_order() -> None:
    async def scenario() -> tuple[list[str], float]:
        woken: list[str] = []

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append(name)

        start = now()
        await asyncio.gather(sleeper("c", 3600), sleeper("a", 1), sleeper("b", 60))
        return woken, now() - start

    assert run(scenario()) == (["a", "b", "c"], pytest.approx(3600))


def test_a_wait_for_nothing_is_told_apart_from_a_long_one() -> None:
    async def scenario() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        run(scenario())


# The ceiling


def default_ceiling(rate: float) -> Pace:
    return (
        Limits(rates={STATE: rate})
        .shared(lambda: 0.0)
        .pace(STATE, "1", "eu-west-1", own_endpoint=False)
    )


def most_in_a_window(times: list[float], seconds: float) -> int:
    """The most of `times` that lie in any half-open window of that length."""
    most, first = 0, 0
    for last, time in enumerate(times):
        while times[first] <= time - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


@some
@given(
    st.floats(0.1, 500),
    st.lists(st.one_of(st.floats(0, 0.01), st.floats(0, 0.5), st.just(0.0), st.floats(0, 30))),
)
def test_no_window_of_a_second_has_more_than_the_rate_and_a_tenth(
    rate: float, pauses: list[float]
) -> None:
    ceiling, time, taken = default_ceiling(rate), 0.0, []
    for pause in pauses:
        time += pause
        # As many as may go at this moment, and some that may not.
        taken += [time for _ in range(40) if ceiling.take(time) == 0]
    assert most_in_a_window(taken, 1.0) <= rate * 1.1 + 1


@few
@given(st.floats(0.5, 500), st.floats(0, 0.5))
def test_the_rate_is_reached_by_whoever_comes_back_when_told(rate: float, start: float) -> None:
    ceiling, time, taken = default_ceiling(rate), start, 0
    end = start + 20
    while time < end:
        wait = ceiling.take(time)
        taken += wait == 0
        time += wait
    assert 20 * rate - 1 <= taken <= 20 * rate * 1.0 + rate * 0.05 + 2


@some
@given(st.floats(0.1, 1000), st.floats(0, 100), st.integers(1, 50))
def test_who_comes_back_when_told_is_let_in(rate: float, start: float, times: int) -> None:
    ceiling, time = default_ceiling(rate), start
    for _ in range(times):
        wait = ceiling.take(time)
        if wait > 0:
            time += wait
            assert ceiling.take(time) == 0


def test_idle_time_is_worth_the_burst_and_no_more() -> None:
    ceiling = Pace(ceiling=100, burst=5)
    assert sum(ceiling.take(0) == 0 for _ in range(50)) == 5
    assert sum(ceiling.take(10_000) == 0 for _ in range(50)) == 5


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    ceiling = Pace(ceiling=10, burst=1)
    assert ceiling.take(100) == 0
    assert ceiling.take(50) > 0
    assert ceiling.take(100.05) > 0
    assert ceiling.take(100.1) == 0


def test_what_is_given_back_can_be_taken_again_and_is_never_more_than_the_burst() -> None:
    ceiling = Pace(ceiling=1, burst=1)
    assert ceiling.take(0) == 0
    ceiling.give_back()
    ceiling.give_back()
    assert ceiling.take(0) == 0
    assert ceiling.take(0) == pytest.approx(1)


# Limits


@pytest.mark.parametrize(
    ("region", "rate"),
    [
        ("eu-west-1", 4_000),
        ("us-east-1", 4_000),
        ("us-west-2", 4_000),
        ("eu-central-1", 2_000),
        (None, 2_000),
    ],
)
def test_the_default_is_a_fifth_of_the_published_quota(region: str | None, rate: float) -> None:
    shared = Limits().shared(lambda: 0.0)
    ceiling = shared.pace(STATE, "1", region, own_endpoint=False)
    assert (ceiling.rate, ceiling.burst) == (rate, rate * 0.05)


def test_an_endpoint_of_the_users_own_has_no_ceiling_unless_asked_for() -> None:
    def ceiling(limits: Limits) -> Pace:
        return limits.shared(lambda: 0.0).pace(STATE, "1", "r", own_endpoint=True)

    assert ceiling(Limits()).rate == math.inf
    own = ceiling(Limits(quota_share=0.1))
    assert own.rate == 1_000
    asked = ceiling(Limits(rates={STATE: 7}, burst=3))
    assert (asked.rate, asked.burst) == (7, 3)
    assert ceiling(Limits(quota_share=None)).rate == math.inf


def test_each_account_and_region_has_a_ceiling_of_its_own() -> None:
    shared = Limits().shared(lambda: 0.0)

    def ceiling(account: str, region: str) -> Pace:
        return shared.pace(STATE, account, region, own_endpoint=False)

    assert ceiling("1", "a") is ceiling("1", "a")
    assert len({ceiling("1", "a"), ceiling("2", "a"), ceiling("1", "b")}) == 3


def test_limits_that_are_given_twice_are_shared() -> None:
    limits = Limits()
    assert limits.shared(lambda: 0.0) is limits.shared(lambda: 1.0)
    assert Limits().shared(lambda: 0.0) is not limits.shared(lambda: 0.0)


@pytest.mark.parametrize(
    ("own", "configured", "slots"), [(None, None, 64), (None, 9, 9), (5, 9, 5)]
)
def test_slots_are_the_limits_then_the_configs_then_64(
    own: int | None, configured: int | None, slots: int
) -> None:
    assert (
        Limits(max_requests=own).shared(lambda: 0.0, max_requests=configured).max_requests == slots
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_requests": 0},
        {"max_requests": -1},
        {"max_requests": 1.5},
        {"max_requests": True},
        {"max_bytes_in_flight": 0},
        {"max_page_bytes": "1"},
        {"max_state_bytes": -5},
        {"quota_share": 0},
        {"quota_share": 1.01},
        {"quota_share": "all"},
        {"quota_share": True},
        {"quota_share": float("nan")},
        {"rates": {"GetNothing": 1}},
        {"rates": {STATE: 0}},
        {"rates": {STATE: -1.0}},
        {"rates": {STATE: float("nan")}},
        {"rates": {STATE: True}},
        {"burst": 0},
        {"burst": 1.5},
    ],
    ids=str,
)
def test_a_limit_out_of_range_is_named_with_what_was_expected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Limits(**wrong)
    assert str(caught.value).startswith(f"{next(iter(wrong))}: expected ")
    assert "found" in str(caught.value)


# Admission


def admission(slots: int) -> Admission:
    return Admission(slots, asyncio.get_running_loop().time)


class Entrants:
    """Tasks that enter, stay for a while and leave; records who came in when."""

    def __init__(self, door: Admission) -> None:
        self.door = door
        self.entered: list[tuple[str, float]] = []
        self.most_inside = 0

    def start(self, name: str, ceiling: Pace = FREE, stay: float = 1.0) -> Any:
        return asyncio.create_task(self._pass(name, ceiling, stay))

    async def _pass(self, name: str, ceiling: Pace, stay: float) -> None:
        if not self.door.try_enter(ceiling):
            await self.door.enter(ceiling)
        try:
            self.entered.append((name, now()))
            self.most_inside = max(self.most_inside, self.door.in_flight)
            await asyncio.sleep(stay)
        finally:
            self.door.leave()

    @property
    def names(self) -> str:
        return "".join(name for name, _ in self.entered)


def assert_all_given_back(door: Admission, slots: int) -> None:
    assert (door.free, door.in_flight, door.waiting) == (slots, 0, 0)


def test_nobody_waits_while_there_is_room() -> None:
    async def scenario() -> None:
        door = admission(2)
        assert door.try_enter(FREE)
        assert door.try_enter(FREE)
        assert not door.try_enter(FREE)
        assert door.in_flight == 2
        door.leave()
        assert door.try_enter(FREE)

    run(scenario())


def test_requests_enter_in_the_order_they_came() -> None:
    async def scenario() -> None:
        people = Entrants(admission(2))
        await asyncio.gather(*(people.start(name) for name in "abcdefg"))
        assert people.names == "abcdefg"
        assert people.most_inside == 2
        assert_all_given_back(people.door, 2)

    run(scenario())


def test_who_comes_later_does_not_overtake_who_waits() -> None:
    async def scenario() -> None:
        people = Entrants(admission(1))
        first = [people.start(name) for name in "ab"]
        await asyncio.sleep(1.0)  # a leaves now, and b has been promised its place.
        late = people.start("c")
        await asyncio.gather(*first, late)
        assert people.names == "abc"

    run(scenario())


def test_the_rate_holds_whatever_the_slots() -> None:
    async def scenario() -> None:
        people, ceiling = Entrants(admission(50)), Pace(ceiling=10, burst=1)
        start = now()
        await asyncio.gather(*(people.start("x", ceiling, stay=0.01) for _ in range(31)))
        times = [time - start for _, time in people.entered]
        assert times == pytest.approx([n / 10 for n in range(31)])
        assert_all_given_back(people.door, 50)

    run(scenario())


def test_one_at_its_ceiling_does_not_hold_up_another() -> None:
    async def scenario() -> None:
        people, slow = Entrants(admission(4)), Pace(ceiling=0.1, burst=1)
        start = now()
        blocked = [people.start("s", slow, stay=0.1) for _ in range(3)]
        await settle()
        free = [people.start("f", FREE, stay=0.1) for _ in range(20)]
        await asyncio.gather(*free)
        assert now() - start < 1.0
        await asyncio.gather(*blocked)
        assert now() - start == pytest.approx(20.1)

    run(scenario())


def test_ceilings_take_turns_when_slots_are_short() -> None:
    async def scenario() -> None:
        people = Entrants(admission(1))
        ceilings = {name: Pace(ceiling=1_000, burst=100) for name in "abc"}
        tasks = [people.start(name, ceilings[name]) for name in "aaaaabbbbbccccc"]
        await asyncio.gather(*tasks)
        # The first `a` found the slot free; from then on three queues wait for it.
        turns = people.names[1:13]
        assert sorted(turns) == sorted("aaaabbbbcccc"), people.names
        assert all(len({*turns[at : at + 3]}) == 3 for at in range(10)), people.names

    run(scenario())


def test_a_queue_that_is_always_full_does_not_starve_another() -> None:
    async def scenario() -> None:
        people, busy, quiet = Entrants(admission(1)), Pace(1_000, 100), Pace(1_000, 100)
        tasks = [people.start("b", busy) for _ in range(5)]
        await settle()
        tasks.append(people.start("q", quiet))
        for _ in range(20):
            await asyncio.sleep(1)
            tasks.append(people.start("b", busy))
        await asyncio.gather(*tasks)
        assert people.names.index("q") <= 3, people.names

    run(scenario())


def test_waiting_is_accounted_to_what_was_waited_for() -> None:
    async def scenario() -> None:
        people = Entrants(admission(1))
        await asyncio.gather(*(people.start(name, stay=2.0) for name in "abc"))
        assert people.door.waited_for_slot_s == pytest.approx(2 + 4)
        assert people.door.waited_for_rate_s == 0

        people, ceiling = Entrants(admission(9)), Pace(ceiling=2, burst=1)
        await asyncio.gather(*(people.start(name, ceiling, stay=0.0) for name in "abc"))
        assert people.door.waited_for_rate_s == pytest.approx(0.5 + 1)
        assert people.door.waited_for_slot_s == 0

    run(scenario())


def test_waiting_counts_who_waits_now() -> None:
    async def scenario() -> None:
        people = Entrants(admission(1))
        tasks = [people.start(name) for name in "abc"]
        await settle()
        assert (people.door.waiting, people.door.in_flight) == (2, 1)
        tasks[2].cancel()
        await settle()
        assert (people.door.waiting, people.door.in_flight) == (1, 1)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert_all_given_back(people.door, 1)

    run(scenario())


@pytest.mark.parametrize("victim", range(6))
@pytest.mark.parametrize("after", [0.0, 0.05, 0.1, 0.45, 0.5, 1.0])
@pytest.mark.parametrize("limit", ["slots", "rate"])
def test_cancelling_anyone_at_any_time_gives_everything_back(
    victim: int, after: float, limit: str
) -> None:
    async def scenario() -> None:
        slots, ceiling = (2, FREE) if limit == "slots" else (9, Pace(ceiling=10, burst=1))
        people = Entrants(admission(slots))
        tasks = [people.start(name, ceiling, stay=0.5) for name in "abcdef"]
        await asyncio.sleep(after)
        tasks[victim].cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(end, asyncio.CancelledError) for end in ended) <= 1
        assert_all_given_back(people.door, slots)
        names = people.names.replace("abcdef"[victim], "")
        assert names == "abcdef".replace("abcdef"[victim], "")

    run(scenario())


def test_a_place_that_was_granted_to_a_cancelled_waiter_goes_to_the_next() -> None:
    async def scenario() -> None:
        people, ceiling = Entrants(admission(1)), Pace(ceiling=0.001, burst=2)
        first, second = people.start("a", ceiling), people.start("b", ceiling)
        third = people.start("c", ceiling)
        await settle()
        first.cancel()
        # One turn: `a` has left and `b` has its place, but has not run yet.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)
        # The ceiling allows two; `b` gave its share back, so `c` need not wait 1,000 s.
        assert people.names in ("ac", "abc")
        if people.names == "ac":
            assert people.entered[-1][1] - people.entered[0][1] < 1
        assert_all_given_back(people.door, 1)

    run(scenario())


def test_everyone_cancelled_leaves_the_door_as_it_was() -> None:
    async def scenario() -> None:
        people, ceiling = Entrants(admission(2)), Pace(ceiling=5, burst=1)
        tasks = [people.start("x", ceiling) for _ in range(20)]
        await asyncio.sleep(0.3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert_all_given_back(people.door, 2)
        again = people.start("y", ceiling)
        await again
        assert people.names.endswith("y")

    run(scenario())


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(("start", "start", "cancel", "wait")),
        st.integers(0, 30),
        st.sampled_from(("none", "fast", "slow")),
        st.sampled_from((0.0, 0.01, 0.1, 0.3)),
    ),
    max_size=30,
)


@some
@given(st.integers(1, 3), _STEPS)
def test_any_sequence_of_entering_and_cancelling_keeps_count(slots: int, steps: Any) -> None:
    async def scenario() -> None:
        people, tasks = Entrants(admission(slots)), []
        ceilings = {"none": None, "fast": Pace(100, 5), "slow": Pace(3, 1)}
        for number, (what, which, ceiling, seconds) in enumerate(steps):
            if what == "start":
                tasks.append(people.start(str(number), ceilings[ceiling], seconds))
            elif what == "cancel" and tasks:
                tasks[which % len(tasks)].cancel()
            else:
                await asyncio.sleep(seconds)
            assert 0 <= people.door.in_flight <= slots
        await asyncio.gather(*tasks, return_exceptions=True)
        assert_all_given_back(people.door, slots)
        assert people.most_inside <= slots
        assert people.door._queues == {} or people.door.try_enter(FREE)

    run(scenario())


# ByteGate


def gate(limit: int) -> ByteGate:
    return ByteGate(limit, asyncio.get_running_loop().time)


class Readers:
    """Responses that arrive in chunks, are decoded for a moment and let go."""

    def __init__(self, door: ByteGate, limit: int) -> None:
        self.door = door
        self.limit = limit
        self.done: list[str] = []
        self.most_beyond = 0

    def start(self, name: str, chunks: list[int], pause: float = 0.1) -> Any:
        return asyncio.create_task(self._read(name, chunks, pause))

    async def _read(self, name: str, chunks: list[int], pause: float) -> None:
        hold = self.door.hold()
        try:
            for chunk in chunks:
                await add(hold, chunk)
                exempt = self.door._privileged.count if self.door._privileged else 0
                self.most_beyond = max(self.most_beyond, self.door.held - exempt - self.limit)
                await asyncio.sleep(pause)
            self.done.append(name)
        finally:
            hold.release()


async def add(hold: Hold, count: int) -> None:
    if not hold.try_add(count):
        await hold.add(count)


def assert_empty(door: ByteGate) -> None:
    assert (door.held, door.waiting) == (0, 0)
    probe = door.hold()
    assert probe.try_add(10**9)  # One response may always proceed, whatever its size.
    probe.release()
    assert door.held == 0


def test_bytes_are_counted_and_let_go_once() -> None:
    async def scenario() -> None:
        door = gate(100)
        hold = door.hold()
        assert hold.try_add(60)
        assert hold.try_add(40)
        assert (door.held, hold.count) == (100, 100)
        hold.release()
        hold.release()
        assert (door.held, hold.count) == (0, 0)
        assert_empty(door)

    run(scenario())


def test_one_response_larger_than_the_limit_proceeds_and_the_others_wait() -> None:
    async def scenario() -> None:
        readers = Readers(gate(100), 100)
        tasks = [readers.start("huge", [90, 90, 90])]
        await asyncio.sleep(0.15)
        assert readers.door.held == 180
        tasks += [readers.start("small", [20]), readers.start("other", [20])]
        await asyncio.gather(*tasks)
        assert readers.done == ["huge", "small", "other"]
        assert readers.most_beyond <= 0
        assert_empty(readers.door)

    run(scenario())


def test_responses_that_all_need_more_do_not_wait_for_each_other() -> None:
    async def scenario() -> None:
        readers = Readers(gate(100), 100)
        tasks = [readers.start(name, [30, 30, 30, 30]) for name in "abcdef"]
        await asyncio.gather(*tasks)
        assert sorted(readers.done) == list("abcdef")
        assert readers.most_beyond <= 0
        assert_empty(readers.door)

    run(scenario())


def test_who_waits_for_bytes_is_served_in_order() -> None:
    async def scenario() -> None:
        readers = Readers(gate(10), 10)
        tasks = [readers.start(name, [10]) for name in "abcdef"]
        await asyncio.gather(*tasks)
        assert readers.done == list("abcdef")

    run(scenario())


def test_a_small_chunk_does_not_overtake_a_large_one_that_waits() -> None:
    async def scenario() -> None:
        door = gate(100)
        first, privileged, large, small = (door.hold() for _ in range(4))
        assert first.try_add(80)
        assert privileged.try_add(50)
        waiting = asyncio.create_task(large.add(60))
        await settle()
        assert not small.try_add(1)
        for hold in (first, privileged, large):
            hold.release()
        await waiting
        large.release()
        assert_empty(door)

    run(scenario())


def test_the_seconds_waited_for_bytes_are_counted() -> None:
    async def scenario() -> None:
        readers = Readers(gate(10), 10)
        await asyncio.gather(readers.start("a", [10], pause=2), readers.start("b", [20], pause=3))
        assert readers.door.waited_s == 0  # b was the one that may always proceed.
        tasks = [readers.start(name, [10], pause=2) for name in "cde"]
        await asyncio.gather(*tasks)
        assert readers.door.waited_s == pytest.approx(2)

    run(scenario())


@pytest.mark.parametrize("victim", range(5))
@pytest.mark.parametrize("after", [0.0, 0.05, 0.1, 0.15, 0.2, 0.35])
def test_cancelling_any_reader_at_any_time_gives_its_bytes_back(victim: int, after: float) -> None:
    async def scenario() -> None:
        readers = Readers(gate(50), 50)
        tasks = [readers.start(name, [30, 30]) for name in "abcde"]
        await asyncio.sleep(after)
        tasks[victim].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert {*readers.done, "abcde"[victim]} == set("abcde")
        assert_empty(readers.door)

    run(scenario())


def test_bytes_that_were_granted_to_a_cancelled_reader_go_to_the_next() -> None:
    async def scenario() -> None:
        door = gate(10)
        full, privileged = door.hold(), door.hold()
        assert full.try_add(10)
        assert privileged.try_add(10)

        async def reader(done: Callable[[], None]) -> None:
            hold = door.hold()
            try:
                await hold.add(10)
                done()
            finally:
                hold.release()

        finished: list[str] = []
        cancelled = asyncio.create_task(reader(lambda: finished.append("cancelled")))
        following = asyncio.create_task(reader(lambda: finished.append("following")))
        await settle()
        full.release()
        privileged.release()  # Now `cancelled` has its bytes and has not run yet.
        cancelled.cancel()
        await asyncio.gather(cancelled, following, return_exceptions=True)
        assert finished == ["following"]
        assert_empty(door)

    run(scenario())


_RESPONSES = st.lists(
    st.tuples(
        st.lists(st.integers(1, 60), min_size=1, max_size=5),
        st.sampled_from((0.0, 0.01, 0.1)),
        st.sampled_from((None, None, 0.0, 0.005, 0.02, 0.1, 0.11)),
    ),
    max_size=12,
)


@some
@given(st.integers(1, 100), _RESPONSES)
def test_any_mix_of_responses_and_cancellations_ends_with_nothing_held(
    limit: int, responses: Any
) -> None:
    async def scenario() -> None:
        readers = Readers(gate(limit), limit)
        tasks = []
        for number, (chunks, pause, cancel_after) in enumerate(responses):
            task = readers.start(str(number), chunks, pause)
            tasks.append(task)
            if cancel_after is not None:
                asyncio.get_running_loop().call_later(cancel_after, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        complete = {str(n) for n, (_, _, cancelled) in enumerate(responses) if cancelled is None}
        assert complete <= set(readers.done)
        assert readers.most_beyond <= 0
        assert_empty(readers.door)

    run(scenario())


# Turns


class Decoders:
    """Tasks that decode a page each as soon as they may; records in which turn of the loop."""

    def __init__(self) -> None:
        self.door = Turns()
        self.decoded: list[tuple[str, int]] = []
        self._turn = 0

    async def count_turns(self) -> None:
        while True:
            self._turn += 1
            await asyncio.sleep(0)

    async def decode(self, name: str, size: int) -> None:
        if not self.door.try_take(size):
            await self.door.take(size)
        self.decoded.append((name, self._turn))

    async def all(self, *pages: tuple[str, int], cancel: str = "") -> None:
        counting = asyncio.create_task(self.count_turns())
        tasks = {name: asyncio.create_task(self.decode(name, size)) for name, size in pages}
        for _ in range(2):
            await asyncio.sleep(0)
        for name in cancel:
            tasks[name].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)


LARGE, SMALL = 400_000, 2_000


def test_one_large_page_is_decoded_in_each_turn_and_in_order() -> None:
    async def scenario() -> None:
        decoders = Decoders()
        await decoders.all(*((name, LARGE) for name in "abcdef"))
        assert [name for name, _ in decoders.decoded] == list("abcdef")
        turns = [turn for _, turn in decoders.decoded]
        assert len(set(turns)) == len(turns)

    run(scenario())


def test_small_pages_share_a_turn() -> None:
    async def scenario() -> None:
        decoders = Decoders()
        await decoders.all(*((name, SMALL) for name in "abcdef"))
        assert len({turn for _, turn in decoders.decoded}) == 1

    run(scenario())


def test_a_small_page_does_not_overtake_a_large_one_that_waits_for_its_turn() -> None:
    async def scenario() -> None:
        decoders = Decoders()
        await decoders.all(("a", LARGE), ("b", LARGE), ("c", SMALL), ("d", LARGE))
        assert [name for name, _ in decoders.decoded] == list("abcd")

    run(scenario())


@pytest.mark.parametrize("victims", ["b", "c", "f", "bcd", "bcdef"])
def test_a_cancelled_decoder_gives_its_turn_to_the_next(victims: str) -> None:
    async def scenario() -> None:
        decoders = Decoders()
        await decoders.all(*((name, LARGE) for name in "abcdef"), cancel=victims)
        names = [name for name, _ in decoders.decoded]
        assert {*names, *victims} == set("abcdef")
        assert names == sorted(names)
        await decoders.all(("y", LARGE), ("z", LARGE))
        assert [name for name, _ in decoders.decoded][-2:] == ["y", "z"]

    run(scenario())


@few
@given(st.lists(st.sampled_from((0, 1, SMALL, 65_535, 65_536, LARGE)), max_size=20))
def test_pages_of_any_sizes_are_all_decoded_in_order(sizes: list[int]) -> None:
    async def scenario() -> None:
        decoders = Decoders()
        await decoders.all(*((str(number), size) for number, size in enumerate(sizes)))
        assert [name for name, _ in decoders.decoded] == [str(n) for n in range(len(sizes))]

    run(scenario())


@pytest.mark.parametrize("seed", range(20))
def test_no_turn_of_the_loop_has_two_large_pages(seed: int) -> None:
    """Whenever they arrive, and whether they had to wait or not."""
    random = Random(seed)  # noqa: S311
    turn = 0
    decoded: list[int] = []

    class Counting(asyncio.SelectorEventLoop):
        def _run_once(self) -> None:
            nonlocal turn
            turn += 1
            super()._run_once()  # type: ignore[misc]

    async def page(doors: Turns, arrives: int) -> None:
        for _ in range(arrives):
            await asyncio.sleep(0)
        if not doors.try_take(1_000_000):
            await doors.take(1_000_000)
        decoded.append(turn)

    async def scenario() -> None:
        doors = Turns()
        await asyncio.gather(*(page(doors, random.randrange(40)) for _ in range(30)))

    with asyncio.Runner(loop_factory=Counting) as runner:
        runner.run(scenario())
    assert len(decoded) == len(set(decoded)) == 30
