"""A run of an audit in virtual time: what it sends, what it keeps, how well it knows its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from client.scripts import arn_of, events, serving, summary
from virtual_clock import now, run

from durastate import (
    ConfigurationError,
    FunctionNotFoundError,
    InvalidRefError,
    Limits,
    OutageError,
    RetryPolicy,
    StateClient,
)
from durastate.audit import DirectoryError, Store, verify
from durastate.audit.functions import FunctionName, function_named, without_repetitions
from durastate.audit.order import Order
from durastate.audit.places import Place, Places, Rates
from durastate.audit.plan import Plan
from durastate.audit.quotas import Facts, published
from durastate.audit.run import Run, at_once
from durastate.requests import GET_HISTORY, LIST_EXECUTIONS
from durastate.testing import Asked, Response, ScriptedTransport, no_answer, service_error

from .support import rows

NOW = datetime(2026, 2, 1, tzinfo=timezone.utc)
ORDERS = (FunctionName("orders"),)
Script = Callable[[Asked], Any]


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """A run's event loop serves nobody else, so it writes its files without a detour."""


class Service:
    """Clients in memory, and what each place was asked."""

    def __init__(self, script: Script, *, takes_s: float = 0.0, region: str = "eu-west-1") -> None:
        self.script = script
        self.takes_s = takes_s
        self.region = region
        self.transports: dict[Place, ScriptedTransport] = {}
        self._all: list[ScriptedTransport] = []

    def places(self, **options: Any) -> Places:
        async def ask(_profile: str | None, region: str | None) -> Facts:
            there = region or self.region
            return Facts(there, False, published(there, "nobody was asked"))

        return Places(self.connect, ask, **options)

    def connect(self, place: Place, rates: Rates) -> StateClient:
        transport = ScriptedTransport(self.script, takes_s=self.takes_s, own_endpoint=False)
        self.transports[place] = transport
        self._all.append(transport)
        return transport.client(limits=Limits(rates=rates), retry=RetryPolicy(outage_limit_s=20))

    @property
    def asked(self) -> list[Asked]:
        return [each for transport in self._all for each in transport.asked]

    def histories(self) -> list[Asked]:
        return [each for each in self.asked if each.operation == GET_HISTORY]


async def itself(name: FunctionName, _place: Place) -> list[FunctionName]:
    return [name]


def made(places: Places, order: Order, store: Store | None, **options: Any) -> Run:
    return Run(places, order, store, resolve=itself, clock=now, **options)


def audit(service: Service, directory: Path, order: Order, **options: Any) -> Run:
    """The whole of a run; it is over when this returns."""

    async def scenario() -> Run:
        with Store.open(directory, refresh=options.pop("refresh", False)) as store:
            async with service.places(**options.pop("places", {})) as places:
                made_run = made(places, order, store, **options)
                await made_run.find(NOW)
                await made_run.read()
            made_run.finish()
        return made_run

    return run(scenario())


def orders(count: int, **members: Any) -> Script:
    listed = [summary(number, **members) for number in range(count)]
    return serving({arn_of(number): events(3) for number in range(count)}, listed)


def arns(asked: list[Asked]) -> list[str]:
    return [each.arn for each in asked]


# Rates and time


def test_at_the_published_quota_the_default_share_is_used_and_the_end_is_known(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)  # noqa: S311
    sizes = [chance.choice((1, 1, 1, 2, 40)) for _ in range(600)]
    served = serving(
        {arn_of(number): events(size) for number, size in enumerate(sizes)},
        [summary(number) for number in range(len(sizes))],
    )
    service = Service(served, takes_s=0.15)
    told: dict[str, float] = {}

    async def scenario() -> None:
        with Store.open(tmp_path / "a") as store:
            async with service.places() as places:
                # So few events a page that an execution takes from one to nine requests.
                audit_run = made(places, Order(functions=ORDERS, max_items=10), store)

                def watching(asked: Asked) -> Response:
                    if audit_run.progress.read >= 300 and "left" not in told:
                        told["left"] = audit_run.progress.time_left(now()) or 0
                        told["at"] = now()
                    return served(asked)

                service.script = watching
                await audit_run.find(NOW)
                await audit_run.read()
                told["end"] = now()

    run(scenario())
    sent = [each.at for each in service.histories()]
    allowed = 12 * (sent[-1] - sent[0])
    assert allowed * 0.95 <= len(sent) <= allowed * 1.01 + 2
    assert told["left"] == pytest.approx(told["end"] - told["at"], rel=0.2)


def test_each_place_has_its_own_ceiling_and_all_are_read_side_by_side(tmp_path: Path) -> None:
    regions = ("eu-west-1", "us-east-1", "ap-south-1")
    keys = tuple(arn_of(number, region) for number in range(40) for region in regions)
    service = Service(serving({key: events(1) for key in keys}))
    audit(service, tmp_path / "a", Order(keys=keys))
    assert {place.region for place in service.transports} >= set(regions)
    for region in regions:
        sent = [each.at for each in service.histories() if each.region == region]
        assert len(sent) == 40
        assert sent[-1] - sent[0] == pytest.approx(39 / 12, abs=0.2)
    times = [each.at for each in service.histories()]
    assert max(times) - min(times) == pytest.approx(39 / 12, abs=0.2)


def test_an_account_s_profile_reads_its_functions_and_executions(tmp_path: Path) -> None:
    function = FunctionName("arn:aws:lambda:eu-west-1:123456789012:function:orders")
    name = function_named(str(function))
    service = Service(orders(2))
    audit(
        service,
        tmp_path / "a",
        Order(
            functions=(name,),
            keys=("arn:aws:lambda:eu-west-1:210987654321:function:f:1/durable-execution/a/b",),
        ),
        places={"profile": "mine", "profiles": {"123456789012": "theirs"}},
    )
    asked = {
        place: {each.operation for each in transport.asked}
        for place, transport in service.transports.items()
    }
    assert asked == {
        Place("theirs", "eu-west-1"): {LIST_EXECUTIONS, GET_HISTORY},
        Place("mine", "eu-west-1"): {GET_HISTORY},
    }


def test_as_many_executions_are_read_at_once_as_the_rate_needs() -> None:
    assert [at_once(rate) for rate in (0.5, 12, 24, 1_000, float("inf"))] == [4, 12, 24, 64, 64]


# What is read


def test_a_closed_execution_is_never_read_again_and_a_running_one_when_it_has_changed(
    tmp_path: Path,
) -> None:
    running = [*events(2)[:-2]]
    histories = {arn_of(0): events(1), arn_of(1): running, arn_of(2): running}
    listed = [summary(0), summary(1, "RUNNING"), summary(2, "RUNNING")]
    first = Service(serving(histories, listed))
    audit(first, tmp_path / "a", Order(functions=ORDERS))
    assert len(first.histories()) == 3
    later = Service(serving(histories | {arn_of(2): events(1)}, [*listed[:2], summary(2)]))
    audit(later, tmp_path / "a", Order(functions=ORDERS))
    assert arns(later.histories()) == [arn_of(2)]
    again = Service(serving(histories, listed[:2]))
    audit(again, tmp_path / "a", Order(functions=ORDERS), refresh=True)
    assert arns(again.histories()) == [arn_of(1)]


def test_what_is_listed_as_closed_and_has_no_end_in_its_history_is_read_again(
    tmp_path: Path,
) -> None:
    listed = [summary(0)]
    audit(
        Service(serving({arn_of(0): events(1)[:2]}, listed)),
        tmp_path / "a",
        Order(functions=ORDERS),
    )
    later = Service(serving({arn_of(0): events(1)}, listed))
    audit(later, tmp_path / "a", Order(functions=ORDERS))
    assert arns(later.histories()) == [arn_of(0)]


def test_an_execution_that_fails_is_a_failure_and_the_others_are_read(tmp_path: Path) -> None:
    script = serving({arn_of(0): events(1)}, [summary(0), summary(1)])
    done = audit(Service(script), tmp_path / "a", Order(functions=ORDERS))
    assert (done.progress.read, done.progress.failed, done.is_complete) == (1, 1, True)


def test_an_outage_ends_the_run_and_what_was_not_read_is_not_failed(tmp_path: Path) -> None:
    script = orders(60)

    def broken(asked: Asked) -> Any:
        gone = asked.operation == GET_HISTORY and asked.number > 30
        return no_answer(connected=False) if gone else script(asked)

    service = Service(broken)
    with pytest.raises(OutageError):
        audit(service, tmp_path / "a", Order(functions=ORDERS))
    # What was read and not saved yet is read again, and nothing has failed.
    service = Service(script)
    done = audit(service, tmp_path / "a", Order(functions=ORDERS))
    assert (done.progress.read + done.progress.already, done.progress.failed) == (60, 0)


def test_an_execution_that_was_half_read_starts_again(tmp_path: Path) -> None:
    script = serving({arn_of(0): events(20)}, [summary(0)])

    def broken(asked: Asked) -> Any:
        return no_answer(connected=False) if len(service.histories()) > 2 else script(asked)

    order = Order(functions=ORDERS, max_items=10)
    service = Service(broken)
    with pytest.raises(OutageError):
        audit(service, tmp_path / "a", order)
    assert [each.marker for each in service.histories()][:3] == [None, "10", "20"]
    service = Service(script)
    assert audit(service, tmp_path / "a", order).progress.read == 1
    assert [each.marker for each in service.histories()] == [None, "10", "20", "30", "40"]


# What is chosen


def test_times_are_pinned_to_the_start_also_for_the_run_that_goes_on(tmp_path: Path) -> None:
    script = orders(3)
    order = Order(functions=ORDERS, since=timedelta(days=40))
    service = Service(script)

    async def interrupted() -> None:
        with Store.open(tmp_path / "a") as store:
            async with service.places() as places:
                await made(places, order, store).find(NOW)

    async def gone_on_with() -> None:
        with Store.open(tmp_path / "a") as store:
            async with service.places() as places:
                await made(places, order, store).find(NOW + timedelta(days=1))

    run(interrupted())
    run(gone_on_with())
    asked = [each.query for each in service.asked if "StartedBefore" in each.query]
    assert len(asked) == 2
    # A second more at each end, which is left out when it comes.
    assert {each["StartedBefore"][0] for each in asked} == {"2026-02-01T00:00:01Z"}
    assert {each["StartedAfter"][0] for each in asked} == {"2025-12-22T23:59:59Z"}


def test_an_alias_stays_what_it_was_for_the_run_that_goes_on(tmp_path: Path) -> None:
    service = Service(orders(3))
    order = Order(functions=(FunctionName("orders", "live"),))

    async def find(version: str) -> None:
        async def pointing(name: FunctionName, _place: Place) -> list[FunctionName]:
            return [replace(name, qualifier=version)]

        with Store.open(tmp_path / "a") as store:
            async with service.places() as places:
                await Run(places, order, store, resolve=pointing, clock=now).find(NOW)

    run(find("7"))
    run(find("8"))
    listed = [each.query for each in service.asked if "StartedBefore" in each.query]
    assert [each["Qualifier"] for each in listed] == [["7"], ["7"]]


def test_another_order_forgets_what_the_unfinished_one_had_planned(tmp_path: Path) -> None:
    service = Service(orders(5))

    async def planned(order: Order) -> int:
        with Store.open(tmp_path / "a") as store:
            async with service.places() as places:
                return (await made(places, order, store).find(NOW)).to_read

    assert run(planned(Order(functions=ORDERS))) == 5
    assert run(planned(Order(functions=ORDERS, limit=2))) == 2


def test_the_same_names_in_another_region_are_another_order(tmp_path: Path) -> None:
    async def pinned(region: str, at: datetime) -> str:
        service = Service(orders(1), region=region)
        with Store.open(tmp_path / "a") as store:
            async with service.places() as places:
                await made(places, Order(functions=ORDERS), store).find(at)
        return service.asked[-1].query["StartedBefore"][0]

    assert run(pinned("eu-west-1", NOW)) == "2026-02-01T00:00:01Z"
    assert run(pinned("us-east-1", NOW + timedelta(days=1))) == "2026-02-02T00:00:01Z"


def test_a_sample_is_always_the_same(tmp_path: Path) -> None:
    found = []
    for attempt in range(2):
        service = Service(orders(50))
        audit(service, tmp_path / str(attempt), Order(functions=ORDERS, sample=7))
        found.append(sorted(arns(service.histories())))
    assert found[0] == found[1]
    assert len(found[0]) == 7
    assert found[0] != [arn_of(number) for number in range(7)]


def test_a_limit_is_of_what_is_listed(tmp_path: Path) -> None:
    service = Service(orders(50))
    done = audit(service, tmp_path / "a", Order(functions=ORDERS, limit=5))
    assert arns(service.histories()) == [arn_of(number) for number in range(5)]
    assert done.is_complete


def test_a_limit_of_a_page_takes_no_second_one(tmp_path: Path) -> None:
    service = Service(orders(50))
    audit(service, tmp_path / "a", Order(functions=ORDERS, limit=10, max_items=10))
    listed = [each for each in service.asked if each.operation == LIST_EXECUTIONS]
    listed = [each for each in listed if each.max_items == 10]
    assert (len(listed), len(service.histories())) == (1, 10)


def test_time_that_is_over_leaves_a_run_to_be_gone_on_with(tmp_path: Path) -> None:
    service = Service(orders(100))
    done = audit(service, tmp_path / "a", Order(functions=ORDERS), max_duration_s=2)
    assert 20 < done.progress.read < 60
    assert not done.is_complete
    service = Service(orders(100))
    rest = audit(service, tmp_path / "a", Order(functions=ORDERS))
    assert rest.is_complete
    assert rest.progress.read + done.progress.read == 100


def test_stopping_finishes_what_is_under_way_and_begins_nothing(tmp_path: Path) -> None:
    script = orders(100)
    service = Service(script, takes_s=1.0)
    runs: list[Run] = []

    async def scenario() -> None:
        with Store.open(tmp_path / "a") as store:
            async with service.places() as places:
                runs.append(made(places, Order(functions=ORDERS), store))
                await runs[0].find(NOW)
                asyncio.get_running_loop().call_later(3.0, runs[0].stop)
                await runs[0].read()
            runs[0].finish()

    run(scenario())
    begun = len({each.arn for each in service.histories()})
    assert runs[0].progress.read == begun
    assert 30 < begun < 70
    assert not runs[0].is_complete


def test_a_plan_alone_changes_nothing_and_asks_for_no_history(tmp_path: Path) -> None:
    audit(Service(orders(5)), tmp_path / "a", Order(functions=ORDERS))
    before = sorted(path.name for path in (tmp_path / "a").glob("*.parquet"))
    service = Service(orders(30))

    async def scenario() -> Any:
        with Store.open(tmp_path / "a") as store:
            async with service.places() as places:
                plan = await made(places, Order(functions=ORDERS), store, only_plan=True).find(NOW)
            assert store.counts().planned == 0
            return plan

    plan = run(scenario())
    assert (plan.found, plan.already, plan.to_read, plan.requests) == (30, 5, 25, 25)
    assert plan.seconds == pytest.approx(25 / 12)
    assert service.histories() == []
    assert sorted(path.name for path in (tmp_path / "a").glob("*.parquet")) == before


def plan_alone(service: Service, order: Order, resolve: Any = itself) -> Plan:
    """The plan of an order that has no directory."""

    async def scenario() -> Plan:
        async with service.places() as places:
            planning = Run(places, order, None, resolve=resolve, clock=now, only_plan=True)
            return await planning.find(NOW)

    return run(scenario())


def test_a_plan_alone_counts_an_execution_once_that_its_function_lists_too() -> None:
    order = Order(functions=ORDERS, keys=(arn_of(9), arn_of(3), arn_of(9)))
    assert plan_alone(Service(orders(5)), order).found == 6


def test_what_several_names_of_a_function_come_to_is_listed_once() -> None:
    async def live_is_7(name: FunctionName, _place: Place) -> list[FunctionName]:
        return [replace(name, qualifier="7") if name.is_alias else name]

    for others in (("7",), (None,)):
        service = Service(orders(5))
        names = tuple(FunctionName("orders", each) for each in ("live", *others))
        assert plan_alone(service, Order(functions=names), live_is_7).found == 5
        listed = [each.query for each in service.asked if "StartedBefore" in each.query]
        assert [each.get("Qualifier") for each in listed] == [
            [each] if each else None for each in others
        ]


# What is wrong


GONE = "ResourceNotFoundException"


def without(*names: str, code: str = GONE) -> Script:
    """Five executions of each function but these."""

    def script(asked: Asked) -> Any:
        if asked.operation == LIST_EXECUTIONS and asked.arn in names:
            return service_error(code, status=404 if code == GONE else 403)
        return orders(5)(asked)

    return script


def test_functions_that_do_not_exist_leave_the_unfinished_run_as_it_is(tmp_path: Path) -> None:
    async def find(*names: str) -> None:
        with Store.open(tmp_path / "a") as store:
            async with Service(without("nothing", "nobody")).places() as places:
                order = Order(functions=tuple(map(FunctionName, names)))
                await made(places, order, store).find(NOW)

    run(find("orders"))
    with pytest.raises(FunctionNotFoundError):
        run(find("nothing", "nobody"))
    with Store.open(tmp_path / "a") as store:
        assert store.counts().planned == 5


@pytest.mark.parametrize("code", [GONE, "AccessDeniedException"])
def test_a_function_that_cannot_be_listed_is_a_failure_among_the_others(
    tmp_path: Path, code: str
) -> None:
    order = Order(functions=(FunctionName("gone", "7"), *ORDERS))
    made_run = audit(Service(without("gone", code=code)), tmp_path / "a", order)
    assert made_run.is_complete
    assert (made_run.progress.read, list(made_run.progress.unlisted)) == (5, ["gone:7"])
    assert rows(tmp_path / "a", "failures", "arn", "function", "version", "code", "source") == [
        ("gone:7", "gone", "7", code, "list")
    ]
    assert list(verify(tmp_path / "a")) == []
    audit(Service(orders(5)), tmp_path / "a", order)
    assert rows(tmp_path / "a", "failures") == []


def test_a_function_that_is_deleted_while_it_is_listed_is_a_failure_too(tmp_path: Path) -> None:
    asked_before: list[Asked] = []

    def script(asked: Asked) -> Any:
        if asked.operation == LIST_EXECUTIONS and asked.arn == "gone":
            asked_before.append(asked)
            if len(asked_before) > 1:
                return service_error(GONE, status=404)
        return orders(5)(asked)

    order = Order(functions=(FunctionName("gone"), *ORDERS))
    made_run = audit(Service(script), tmp_path / "a", order)
    assert (made_run.progress.read, list(made_run.progress.unlisted)) == (5, ["gone"])


def test_a_function_that_is_back_when_the_run_goes_on_is_listed(tmp_path: Path) -> None:
    order = Order(functions=(FunctionName("back"), *ORDERS))
    audit(Service(without("back")), tmp_path / "a", order, max_duration_s=0)
    service = Service(orders(5))
    audit(service, tmp_path / "a", order)
    assert {each.arn for each in service.asked if each.operation == LIST_EXECUTIONS} == {
        *("back", "orders")
    }


def test_an_alias_that_does_not_exist_is_a_failure_among_the_others(tmp_path: Path) -> None:
    async def no_alias(name: FunctionName, _place: Place) -> list[FunctionName]:
        if not name.is_alias:
            return [name]
        raise FunctionNotFoundError(
            operation="GetAlias", arn=str(name), code=GONE, message="gone", status=404
        )

    order = Order(functions=(FunctionName("orders", "live"), *ORDERS, FunctionName("f", "live")))
    service = Service(orders(5))

    async def scenario() -> Run:
        with Store.open(tmp_path / "a") as store:
            async with service.places() as places:
                made_run = Run(places, order, store, resolve=no_alias, clock=now)
                await made_run.find(NOW)
                await made_run.read()
            made_run.finish()
        return made_run

    assert list(run(scenario()).progress.unlisted) == ["f:live"]


@pytest.mark.parametrize(
    "pins",
    [
        {},
        {"functions": "a b", "until": "infinity"},
        {"functions": "a/b", "until": "2026-01-01T00:00:00Z"},
        {"functions": "a", "until": "2026-01-01T00:00:00"},
        {"functions": "a", "until": "2026-01-01T00:00:00Z", "since": "x"},
    ],
)
def test_a_journal_that_pins_a_run_to_nonsense_is_refused(tmp_path: Path, pins: Any) -> None:
    order = Order(functions=ORDERS)
    service = Service(orders(1))

    async def selection() -> dict[str, object]:
        async with service.places() as places:
            return order.selection() | places.selection()

    with Store.open(tmp_path / "a") as store:
        store.begin(run(selection()), pins)
    with pytest.raises(DirectoryError, match=r"journal\.sqlite is damaged"):
        audit(service, tmp_path / "a", order)


def test_a_key_that_is_no_arn_is_refused_before_anything_is_kept_and_not_repeated(
    tmp_path: Path,
) -> None:
    service = Service(orders(1))
    with pytest.raises(InvalidRefError) as caught:
        audit(service, tmp_path / "a", Order(keys=(arn_of(0), "c2VjcmV0/dG9rZW4=")))
    assert "c2VjcmV0" not in str(caught.value)
    assert service.asked == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f", FunctionName("f")),
        ("f:7", FunctionName("f", "7")),
        ("f:$LATEST", FunctionName("f", "$LATEST")),
        ("f:prod", FunctionName("f", "prod")),
        (
            "arn:aws:lambda:eu-west-1:123456789012:function:f:8",
            FunctionName(
                "arn:aws:lambda:eu-west-1:123456789012:function:f",
                "8",
                "eu-west-1",
                "123456789012",
            ),
        ),
    ],
)
def test_functions_are_named_by_name_or_arn(text: str, expected: FunctionName) -> None:
    named = function_named(text)
    assert (named, str(named)) == (expected, text)
    assert named.is_alias == text.endswith("prod")


@pytest.mark.parametrize("text", ["", "f:", "a b", "arn:aws:s3:::bucket", "f:1:2", "ü"])
def test_what_names_no_function_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        function_named(text)


def test_a_version_beside_its_whole_function_is_not_listed_twice() -> None:
    names = [function_named(each) for each in ("f:7", "f", "g:1", "g:1", "g:2")]
    assert list(map(str, without_repetitions(names))) == ["f", "g:1", "g:2"]


def test_the_first_moment_that_there_is_can_be_asked_for(tmp_path: Path) -> None:
    order = Order(functions=ORDERS, since=datetime.min.replace(tzinfo=timezone.utc))
    assert audit(Service(orders(1)), tmp_path / "a", order).progress.read == 1
