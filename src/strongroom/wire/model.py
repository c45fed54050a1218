"""Operations and shapes of a protocol, read from a vendored model file.

The file is botocore's description of a service without its prose (see
`tools/refresh_models.py`): a JSON object with `source`, `operations` and `shapes`.
These values say what is on the wire; `binding` turns them into tables that are
fast, and nothing else reads them per request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Member:
    """A place in a structure, or what a list holds.

    Attributes:
        name: the member's name in params and results; for a list's item, empty.
        shape: name of its shape.
        wire_name: header, query parameter, element or attribute; None if the
            model leaves it to the member's own name.
        location: `uri`, `querystring`, `header`, `headers` (a prefix), or None
            for the body.
        flattened: a list whose items stand directly in the parent.
        streaming: bytes that are never held whole.
        xml_attribute: an attribute of the parent element, `prefix:name`.
        namespace: prefix (or None) and URI declared on the element.
    """

    name: str
    shape: str
    wire_name: str | None = None
    location: str | None = None
    flattened: bool = False
    streaming: bool = False
    xml_attribute: bool = False
    namespace: tuple[str | None, str] | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """A type.

    Attributes:
        kind: `structure`, `list`, `map`, `string`, `integer`, `long`, `boolean`,
            `timestamp`, `blob`, `float` or `double`.
        members: of a structure, in the order in which they are printed.
        required: names of the members a client must send.
        item: what a list holds.
        payload: the member that is the whole body, or None.
        enum: the values the model knows. S3 gains new ones; nothing enforces them.
        timestamp_format: `iso8601` or `rfc822` where the model says so.
        event_stream: the body is a stream of framed events.
        key: what a map's names are.
        value: what a map holds.
        least: smallest number, or shortest text, blob or list, that the service takes.
        most: likewise the greatest or longest.
        pattern: what a text must look like.
        sensitive: never to be shown.
    """

    name: str
    kind: str
    members: Mapping[str, Member]
    required: tuple[str, ...] = ()
    item: Member | None = None
    flattened: bool = False
    payload: str | None = None
    namespace: tuple[str | None, str] | None = None
    enum: tuple[str, ...] = ()
    timestamp_format: str | None = None
    event_stream: bool = False
    key: Member | None = None
    value: Member | None = None
    least: int | None = None
    most: int | None = None
    pattern: str | None = None
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing a client can ask for.

    Attributes:
        method: upper case.
        path: template, such as `/{Bucket}/{Key+}`, without the query.
        static_query: parameters that every request of the operation carries,
            such as `("list-type", "2")` or `("tagging", "")`.
        required_query: further parameters without which it is another operation.
        required_headers: likewise, lower case.
        success: the status of an ordinary answer, as the model knows it.
        input: name of the input's shape, or None.
        output: name of the output's shape, or None.
        payload: the input's member that is the whole body, or None.
        streaming_input: that member is a stream.
        streaming_output: the answer's body is a stream.
        checksum_required: a client must send a digest of the body.
        errors: names of the error shapes that the model lists.
    """

    name: str
    method: str
    path: str
    static_query: tuple[tuple[str, str], ...]
    required_query: tuple[str, ...]
    required_headers: tuple[str, ...]
    success: int
    input: str | None
    output: str | None
    payload: str | None
    streaming_input: bool
    streaming_output: bool
    checksum_required: bool
    deprecated: bool
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """All operations and shapes, by name. `source` says where they come from."""

    source: Mapping[str, str]
    operations: Mapping[str, Operation]
    shapes: Mapping[str, Shape]


def load(data: bytes) -> Model:
    """Read a vendored model file.

    Raises:
        KeyError, ValueError: it is not one; this is a mistake in our tree.
    """
    document = json.loads(data)
    shapes = {name: _shape(name, traits) for name, traits in document["shapes"].items()}
    operations = {
        name: _operation(name, traits, shapes) for name, traits in document["operations"].items()
    }
    return Model(document["source"], operations, shapes)


def _namespace(traits: Mapping[str, Any]) -> tuple[str | None, str] | None:
    declared = traits.get("xmlNamespace")
    return None if declared is None else (declared.get("prefix"), declared["uri"])


def _member(name: str, traits: Mapping[str, Any]) -> Member:
    return Member(
        name=name,
        shape=traits["shape"],
        wire_name=traits.get("locationName"),
        location=traits.get("location"),
        flattened=traits.get("flattened", False),
        streaming=traits.get("streaming", False),
        xml_attribute=traits.get("xmlAttribute", False),
        namespace=_namespace(traits),
    )


def _shape(name: str, traits: Mapping[str, Any]) -> Shape:
    return Shape(
        name=name,
        kind=traits["type"],
        members={inner: _member(inner, t) for inner, t in traits.get("members", {}).items()},
        required=tuple(traits.get("required", ())),
        item=_member("", traits["member"]) if "member" in traits else None,
        flattened=traits.get("flattened", False),
        payload=traits.get("payload"),
        namespace=_namespace(traits),
        enum=tuple(traits.get("enum", ())),
        timestamp_format=traits.get("timestampFormat"),
        event_stream=traits.get("eventstream", False),
        key=_member("", traits["key"]) if "key" in traits else None,
        value=_member("", traits["value"]) if "value" in traits else None,
        least=traits.get("min"),
        most=traits.get("max"),
        pattern=traits.get("pattern"),
        sensitive=traits.get("sensitive", False),
    )


def _is_streaming(shape: Shape | None, shapes: Mapping[str, Shape]) -> bool:
    if shape is None or shape.payload is None:
        return False
    payload = shape.members[shape.payload]
    return payload.streaming or shapes[payload.shape].event_stream


def _required(shape: Shape | None, location: str) -> tuple[str, ...]:
    if shape is None:
        return ()
    chosen = (shape.members[name] for name in shape.required)
    return tuple(m.wire_name or m.name for m in chosen if m.location == location)


def _operation(name: str, traits: Mapping[str, Any], shapes: Mapping[str, Shape]) -> Operation:
    path, _, query = traits["http"]["requestUri"].partition("?")
    asked = traits.get("input", {}).get("shape")
    answered = traits.get("output", {}).get("shape")
    input_shape = None if asked is None else shapes[asked]
    output_shape = None if answered is None else shapes[answered]
    return Operation(
        name=name,
        method=traits["http"]["method"],
        path=path,
        static_query=tuple(parse_qsl(query, keep_blank_values=True)),
        required_query=_required(input_shape, "querystring"),
        required_headers=tuple(n.lower() for n in _required(input_shape, "header")),
        success=traits["http"].get("responseCode", 200),
        input=asked,
        output=answered,
        payload=None if input_shape is None else input_shape.payload,
        streaming_input=_is_streaming(input_shape, shapes),
        streaming_output=_is_streaming(output_shape, shapes),
        checksum_required=traits.get("httpChecksum", {}).get("requestChecksumRequired", False),
        deprecated=traits.get("deprecated", False),
        errors=tuple(error["shape"] for error in traits.get("errors", ())),
    )
