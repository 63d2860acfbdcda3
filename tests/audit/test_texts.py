"""Values of every type that DuckDB has, as text and as JSON."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from durastate.audit.texts import as_json, as_texts

VALUES: list[tuple[str, str | None, Any]] = [
    ("interval '1 year 2 month 3 day 04:05:06.7'", None, "P1Y2M3DT4H5M6.7S"),
    ("interval '9 hours'", "09:00:00", "PT9H"),
    ("interval '1 month' - interval '30 days'", "1 month -30 days", "P1M-30D"),
    ("interval '-1 day -04:05:06.789'", "-1 day -04:05:06.789", "P-1DT-4H-5M-6.789S"),
    ("interval '-0.000001 seconds'", "-00:00:00.000001", "PT-0.000001S"),
    ("interval '0 seconds'", "00:00:00", "PT0S"),
    ("interval '9223372036854775807 microseconds'", None, "PT2562047788H54.775807S"),
    ("null::interval", "", None),
    ("[interval 1 day, null]", "[1 day, NULL]", ["P1D", None]),
    ("[[interval 1 day], null]", "[[1 day], NULL]", [["P1D"], None]),
    ("array_value(interval 1 day, null)", "[1 day, NULL]", ["P1D", None]),
    ("{'a': [1, null], 'b''\"c': interval 1 day}", None, {"a": [1, None], "b'\"c": "P1D"}),
    ("null::struct(a integer)", "", None),
    ("row(1, interval 1 day)", "(1, 1 day)", {"1": 1, "2": "P1D"}),
    ("map {'k': [interval 1 month, null]}", "{k=[1 month, NULL]}", {"k": ["P1M", None]}),
    ("map {1: 'nan'::double}", "{1=nan}", {"1": None}),
    ("union_value(k := interval 1 day)", "1 day", {"k": "P1D"}),
    ("[{'t': 'infinity'::timestamp, 'f': '-inf'::float}]", None, [{"t": "infinity", "f": None}]),
    ("170141183460469231731687303715884105727::hugeint", None, 2**127 - 1),
    ("340282366920938463463374607431768211455::uhugeint", None, 2**128 - 1),
    ("1.50::decimal(9, 2)", "1.50", Decimal("1.5")),
    (
        "[123456789012345678.12345678::decimal(38, 8)]",
        None,
        [Decimal("123456789012345678.12345678")],
    ),
    ("0.1::float", "0.1", Decimal("0.1")),
    ("1e300", "1e+300", Decimal("1e300")),
    ("'nan'::double", "nan", None),
    ("'-inf'::double", "-inf", None),
    ("true", "true", True),
    ("date '2026-01-02'", "2026-01-02", "2026-01-02"),
    ("date 'infinity'", "infinity", "infinity"),
    ("'-infinity'::timestamptz", "-infinity", "-infinity"),
    ("timestamp '294246-01-01'", "294246-01-01 00:00:00", "294246-01-01T00:00:00"),
    ("timestamp '0044-03-15 (BC) 01:02:03'", None, "0044-03-15 (BC) 01:02:03"),
    (
        "timestamptz '2026-01-02 03:04:05.6+02'",
        "2026-01-02 01:04:05.6+00",
        "2026-01-02T01:04:05.6Z",
    ),
    ("'2026-01-02 03:04:05.123456789'::timestamp_ns", None, "2026-01-02T03:04:05.123456789"),
    ("time '03:04:05.5'", "03:04:05.5", "03:04:05.5"),
    ("'03:04:05.5+02'::timetz", "03:04:05.5+02", "03:04:05.5+02"),
    ("'ab\\x00\\xff'::blob", "ab\\x00\\xFF", "616200ff"),
    ("'10101'::bit", "10101", "10101"),
    ("uuid '00000000-0000-0000-0000-000000000001'", None, "00000000-0000-0000-0000-000000000001"),
    ("'a'::enum('a', 'b')", "a", "a"),
    ("'{\"a\": NaN}'::json", '{"a": NaN}', '{"a": NaN}'),
    ("'x' || chr(10) || chr(27) || '\"'", 'x\n\x1b"', 'x\n\x1b"'),
    ("null", "", None),
]


@pytest.fixture(scope="module")
def duck() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@pytest.mark.parametrize(("expression", "text", "value"), VALUES)
def test_every_type_of_value(
    duck: duckdb.DuckDBPyConnection, expression: str, text: str | None, value: Any
) -> None:
    relation = duck.sql(f"select {expression} as x")
    ((shown,),) = as_texts(relation).fetchall()
    ((row,),) = as_json(relation).fetchall()
    assert text in (None, shown or "")
    assert json.loads(row, parse_float=Decimal, parse_constant=pytest.fail) == {"x": value}


def test_columns_of_one_name_are_told_apart(duck: duckdb.DuckDBPyConnection) -> None:
    relation = duck.sql("""select 1 as a, 2 as a, 3 as "it's" """)
    assert as_texts(relation).fetchall() == [("1", "2", "3")]
    assert json.loads(as_json(relation).fetchall()[0][0]) == {"a": 1, "a_2": 2, "it's": 3}
