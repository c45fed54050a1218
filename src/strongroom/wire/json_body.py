"""JSON documents of AWS's JSON protocols, by the model: requests read, answers written.

Blobs are base64 text, times are numbers of seconds since the Unix epoch. Members that the
model does not know are ignored in requests, as services do for newer clients, and are a
mistake of ours in answers.

Source: Smithy, "AWS JSON 1.1 protocol".
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.wire import model

MAX_DEPTH = 32
"""How deep a document may be nested; the shapes themselves are far shallower."""

_TYPES: dict[str, type] = {"string": str, "integer": int, "long": int, "boolean": bool}


def read(facts: model.Model, shape: str, document: bytes) -> dict[str, Any]:
    """Read the document of a request; an empty one counts as `{}`.

    Null members are left out, as if they were not sent.

    Raises:
        MalformedDocument: it is not JSON, or a member has another type than its shape.
    """
    if not document.strip():
        return {}
    try:
        value = json.loads(document, object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise errors.MalformedDocument("the body is not JSON") from None
    read_value: dict[str, Any] = _read(facts, facts.shapes[shape], value, 0)
    return read_value


def write(facts: model.Model, shape: str, value: dict[str, Any]) -> bytes:
    """Write the document of an answer; members that are None are left out.

    Raises:
        KeyError: a member is not the shape's; this is a mistake of ours.
    """
    written = _write(facts, facts.shapes[shape], value)
    return json.dumps(written, separators=(",", ":")).encode()


def violations(facts: model.Model, shape: str, params: dict[str, Any]) -> Iterator[str]:
    """Yield, for each constraint that params break, a sentence as AWS's services word it.

    Values are not in it: they may be plaintexts.
    """
    yield from _broken(facts, facts.shapes[shape], params, "")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse(_name: str) -> NoReturn:
    raise ValueError("no such number")


def _read(facts: model.Model, shape: model.Shape, value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise errors.MalformedDocument("the body is nested too deep")
    if shape.kind == "structure":
        table = _typed(value, dict)
        return {
            name: _read(facts, facts.shapes[member.shape], table[name], depth + 1)
            for name, member in shape.members.items()
            if table.get(name) is not None
        }
    if shape.kind == "list":
        assert shape.item is not None, "every list in a model has items"
        item = facts.shapes[shape.item.shape]
        return [_read(facts, item, one, depth + 1) for one in _typed(value, list)]
    if shape.kind == "map":
        assert shape.value is not None, "every map in a model has values"
        held = facts.shapes[shape.value.shape]
        return {
            name: _read(facts, held, one, depth + 1) for name, one in _typed(value, dict).items()
        }
    return _read_single(shape, value)


def _read_single(shape: model.Shape, value: Any) -> Any:
    if shape.kind == "blob":
        try:
            return base64.b64decode(_typed(value, str), validate=True)
        except (binascii.Error, ValueError):
            raise errors.MalformedDocument("a blob is not base64") from None
    if shape.kind == "timestamp":
        try:
            return datetime.fromtimestamp(_number(value), UTC)
        except (OverflowError, ValueError, OSError):
            raise errors.MalformedDocument("a time is out of range") from None
    if shape.kind in ("float", "double"):
        return _number(value)
    return _typed(value, _TYPES[shape.kind])


def _typed(value: Any, kind: type) -> Any:
    # True is an int to Python.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise errors.MalformedDocument(f"a value is not a {kind.__name__}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise errors.MalformedDocument("a value is not a number")
    return float(value)


def _write(facts: model.Model, shape: model.Shape, value: Any) -> Any:
    if shape.kind == "structure":
        return {
            name: _write(facts, facts.shapes[shape.members[name].shape], inner)
            for name, inner in value.items()
            if inner is not None
        }
    if shape.kind == "list":
        assert shape.item is not None, "every list in a model has items"
        item = facts.shapes[shape.item.shape]
        return [_write(facts, item, one) for one in value]
    if shape.kind == "map":
        assert shape.value is not None, "every map in a model has values"
        held = facts.shapes[shape.value.shape]
        return {name: _write(facts, held, one) for name, one in value.items()}
    if shape.kind == "blob":
        return base64.b64encode(value).decode()
    if shape.kind == "timestamp":
        return value.timestamp()
    return value


def _broken(facts: model.Model, shape: model.Shape, value: Any, place: str) -> Iterator[str]:
    yield from (
        f"Value at '{place}' failed to satisfy constraint: {text}" for text in _own(shape, value)
    )
    if shape.kind == "structure":
        for name, member in shape.members.items():
            inner = f"{place}.{_lower(name)}" if place else _lower(name)
            if name in value:
                yield from _broken(facts, facts.shapes[member.shape], value[name], inner)
            elif name in shape.required:
                yield (f"Value at '{inner}' failed to satisfy constraint: Member must not be null")
    elif shape.kind == "list":
        assert shape.item is not None, "every list in a model has items"
        for number, one in enumerate(value, 1):
            yield from _broken(
                facts, facts.shapes[shape.item.shape], one, f"{place}.{number}.member"
            )


def _own(shape: model.Shape, value: Any) -> Iterator[str]:
    """Yield what a value itself breaks."""
    if shape.kind in ("integer", "long"):
        if shape.least is not None and value < shape.least:
            yield f"Member must have value greater than or equal to {shape.least}"
        if shape.most is not None and value > shape.most:
            yield f"Member must have value less than or equal to {shape.most}"
        return
    if shape.kind in ("string", "blob", "list"):
        if shape.least is not None and len(value) < shape.least:
            yield f"Member must have length greater than or equal to {shape.least}"
        if shape.most is not None and len(value) > shape.most:
            yield f"Member must have length less than or equal to {shape.most}"
    if shape.kind == "string":
        if shape.enum and value not in shape.enum:
            yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        if shape.pattern is not None and _pattern(shape.pattern).search(value) is None:
            yield f"Member must satisfy regular expression pattern: {shape.pattern}"


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern; the model has few, and Java's `matches` is anchored at both ends."""
    return re.compile(rf"\A(?:{text})\Z", re.ASCII)


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
