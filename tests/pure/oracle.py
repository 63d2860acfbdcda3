"""botocore's parser, and ours read in its words, to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.model import Shape
from botocore.parsers import create_parser

_PARSER = create_parser("rest-json")


def parsed_by_botocore(shape: Shape, body: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = _PARSER.parse({"status_code": 200, "headers": {}, "body": body}, shape)
    del parsed["ResponseMetadata"]
    return parsed


def read_through_attributes(shape: Shape, ours: Any, names: Mapping[str, str]) -> Any:
    """What our public attributes say, in the form of botocore's parser; `names` are theirs."""
    if ours is None:
        return None
    if shape.type_name == "list":
        return [read_through_attributes(shape.member, item, names) for item in ours]
    if shape.type_name != "structure":
        return ours
    read = {
        name: read_through_attributes(member, getattr(ours, names[name]), names)
        for name, member in shape.members.items()
    }
    return {name: value for name, value in read.items() if value is not None}


def without_nulls(shape: Shape, wire: Any) -> Any:
    """The wire form that `to_dict` promises: no nulls, times in seconds, the unknown as sent."""
    if shape.type_name == "timestamp":
        return datetime.fromisoformat(wire).timestamp() if isinstance(wire, str) else wire
    if shape.type_name == "list":
        return [without_nulls(shape.member, item) for item in wire]
    if shape.type_name != "structure":
        return wire
    return {
        name: without_nulls(shape.members[name], value) if name in shape.members else value
        for name, value in wire.items()
        if value is not None or name not in shape.members
    }
