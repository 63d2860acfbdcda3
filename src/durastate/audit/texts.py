"""Rows of DuckDB's as text, made by DuckDB itself, so that every type there is comes out right.

Arrow and Python have no `infinity`, no year 294246, no offset of a time of day and no interval of
months, and value by value Python takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from duckdb import DuckDBPyRelation
from duckdb.sqltypes import DuckDBPyType

_WHOLE = (
    *("boolean", "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint"),
    *("uinteger", "ubigint", "uhugeint", "decimal", "bignum"),
)
_FLOATS = ("float", "double")
_MOMENTS = ("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone")
#: The types that hold no text of anybody's.
NUMBERS = frozenset((*_WHOLE, *_FLOATS))
TIMES = frozenset((*_MOMENTS, "date", "time", "time_ns", "time with time zone", "interval"))
# DuckDB has `2026-01-02 03:04:05+00`. What is not of this form, such as `infinity`, stays.
_MOMENT = (
    r"regexp_replace(regexp_replace({0}::VARCHAR, '^(\d+-\d\d-\d\d) (\d)', '\1T\2'), "
    r"'\+00$', 'Z')"
)
# Each part has a sign of its own, as DuckDB's has. `concat` passes over what is NULL.
_INTERVAL = """
CASE WHEN {0} IS NOT NULL THEN coalesce(nullif(concat(
    'P',
    nullif(datepart('year', {0}), 0)::VARCHAR || 'Y',
    nullif(datepart('month', {0}), 0)::VARCHAR || 'M',
    nullif(datepart('day', {0}), 0)::VARCHAR || 'D',
    'T' || nullif(concat(
        nullif(datepart('hour', {0}), 0)::VARCHAR || 'H',
        nullif(datepart('minute', {0}), 0)::VARCHAR || 'M',
        rtrim(rtrim((nullif(datepart('microsecond', {0}), 0)::DECIMAL(18, 0)
            * 0.000001::DECIMAL(7, 6))::VARCHAR, '0'), '.') || 'S'
    ), '')
), 'P'), 'PT0S') END"""
_LEAVES = {
    **dict.fromkeys(_WHOLE, "{0}"),
    # JSON has no NaN and no infinity. By way of text 0.1 is no 0.10000000149011612.
    **dict.fromkeys(_FLOATS, "CASE WHEN isfinite({0}) THEN {0}::VARCHAR::DOUBLE END"),
    "blob": "lower(hex({0}))",
    "interval": _INTERVAL,
    **dict.fromkeys(_MOMENTS, _MOMENT),
}

Shape = Callable[[DuckDBPyRelation], DuckDBPyRelation]


def as_texts(relation: DuckDBPyRelation) -> DuckDBPyRelation:
    """Every column as DuckDB prints it."""
    # By their numbers, since several may have one name.
    numbers = range(1, len(relation.columns) + 1)
    return relation.project(", ".join(f"#{at}::VARCHAR AS c{at}" for at in numbers))


def as_json(relation: DuckDBPyRelation) -> DuckDBPyRelation:
    """One column: each row as an object, with intervals and times of ISO 8601 and blobs in hex."""
    columns = zip(_distinct(relation.columns), relation.types, strict=True)
    members = [
        f"{_text(name)}, {_for_json(f'#{at}', kind)}" for at, (name, kind) in enumerate(columns, 1)
    ]
    return relation.project(f"json_object({', '.join(members)})::VARCHAR AS row")


def _for_json(value: str, kind: DuckDBPyType, depth: int = 0) -> str:
    """SQL for a value of that type as one that DuckDB writes into JSON as it should be."""
    item = f"x{depth}"
    match kind.id:
        case "list" | "array":
            child = _for_json(item, _children(kind)[0][1], depth + 1)
            return f"list_transform({value}, lambda {item}: {child})"
        case "map":
            held = _for_json(f"{item}.value", _children(kind)[1][1], depth + 1)
            pair = f"struct_pack(key := {item}.key::VARCHAR, value := {held})"
            return f"map_from_entries(list_transform(map_entries({value}), lambda {item}: {pair}))"
        case "struct" | "tuple" | "union":
            return f"CASE WHEN {value} IS NOT NULL THEN {_members(value, kind, depth)} END"
        case leaf:
            return _LEAVES.get(leaf, "{0}::VARCHAR").format(value)


def _members(value: str, kind: DuckDBPyType, depth: int) -> str:
    """A struct of the members; of a union all but one are NULL, and a row's are `1`, `2`, …"""
    is_union = kind.id == "union"
    extract = "union_extract" if is_union else "struct_extract"
    made = []
    for at, (name, child) in enumerate(_children(kind)[is_union:], 1):  # a union's tag is first
        key = _text(name) if name else str(at)
        held = _for_json(f"{extract}({value}, {key})", child, depth)
        made.append(f"{_name(name or str(at))} := {held}")
    return f"struct_pack({', '.join(made)})"


def _children(kind: DuckDBPyType) -> list[tuple[str, Any]]:
    return kind.children


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _distinct(names: list[str]) -> list[str]:
    """An object has each name once: `a`, `a_2`, …"""
    found: list[str] = []
    for name in names:
        number, distinct = 1, name
        while distinct in found:
            number += 1
            distinct = f"{name}_{number}"
        found.append(distinct)
    return found
