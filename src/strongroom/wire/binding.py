"""Requests to params and results to replies, by tables compiled from the model.

Every operation of a model gets a `Binding`, made once at import. Reading loops
over what was sent and not over what could be; a header costs one lookup.

Text in headers is latin-1 in both directions: it maps every byte to one
character and back, so user metadata leaves as the bytes that came, whether the
client meant UTF-8, latin-1 or RFC 2047. Who needs the characters (an XML answer)
decodes the bytes itself. Query text arrives decoded, as UTF-8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.wire import elements, scalars, xml_body

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from strongroom.wire import message, model

STATUS = "@status"
"""Key in a result for a status other than the operation's own."""

MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
"""The largest honest documents: 1,000 keys of 1,024 escaped bytes to delete, 10,000
parts with a checksum each to complete."""
MAX_DOCUMENT_NODES = 120_000
"""10,000 parts with ETag, number and several checksums."""
MAX_DOCUMENT_DEPTH = 16
"""The deepest document of S3 (ReplicationConfiguration) has 7 levels."""

_XML = [(b"content-type", b"application/xml")]
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """What a service does and its model does not say. Keys are operation names.

    Attributes:
        namespace: of the root of every XML reply.
        without_namespace: but not of these.
        roots: root element of a reply whose output has no payload member.
        other_roots: further root elements that a request's document may have.
        success: status of an ordinary answer, where the model has it wrong.
        always: members that are printed even if the result lacks them, with
            the value that then stands for them.
        text_replies: the output's only body member, whose text the root
            element holds directly.
        payload_types: content type of a reply whose body is a string.
        ignored_if_malformed: names of input members that are dropped when they
            do not parse.
        query_headers: prefix of header names that a query parameter may carry
            instead (presigned URLs), lower case; empty for none.
        never_in_query: such headers that are refused there, lower case.
        special_writers: by shape, what makes a faster writer of its elements.
    """

    namespace: str = ""
    without_namespace: frozenset[str] = frozenset()
    roots: Mapping[str, str] = field(default_factory=dict)
    other_roots: Mapping[str, frozenset[str]] = field(default_factory=dict)
    success: Mapping[str, int] = field(default_factory=dict)
    always: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    text_replies: Mapping[str, str] = field(default_factory=dict)
    payload_types: Mapping[str, str] = field(default_factory=dict)
    ignored_if_malformed: frozenset[str] = frozenset()
    query_headers: str = ""
    never_in_query: frozenset[str] = frozenset()
    special_writers: Mapping[str, elements.Specialise] = field(default_factory=dict)


@dataclass(slots=True)
class Reply:
    """Status, headers and document of an answer.

    `headers` lacks `content-length`, which the caller knows. `body` is None where
    the operation has no document, or where it is a stream.
    """

    status: int
    headers: message.Headers
    body: bytes | None


def compile_operations(source: model.Model, corrections: Corrections) -> dict[str, Binding]:
    """Compile every operation of a model.

    Raises:
        ValueError: a correction names what the model does not have, or an output
            needs a root element or a content type that the corrections do not give.
    """
    tables = (
        corrections.roots, corrections.other_roots, corrections.success, corrections.always,
        corrections.text_replies, corrections.payload_types,
    )  # fmt: skip
    if unknown := corrections.special_writers.keys() - source.shapes.keys():
        raise ValueError(f"corrections for unknown shapes: {sorted(unknown)}")
    for table in tables:
        if unknown := table.keys() - source.operations.keys():
            raise ValueError(f"corrections for unknown operations: {sorted(unknown)}")
    shapes = elements.Elements(source.shapes, corrections.special_writers)
    return {
        name: Binding(operation, source, shapes, corrections)
        for name, operation in source.operations.items()
    }


class Binding:
    """One operation's reader and writer.

    Attributes:
        operation: the operation as the model has it.
        status: status of an ordinary answer.
        output_stream: the member of the result that is a streamed body, or None.
            `reply` leaves it to the caller.
    """

    __slots__ = ("_input", "_output", "operation", "output_stream", "status")

    def __init__(
        self,
        operation: model.Operation,
        source: model.Model,
        shapes: elements.Elements,
        corrections: Corrections,
    ) -> None:
        self.operation = operation
        self.status = corrections.success.get(operation.name, operation.success)
        self._input = _Input(operation, source, shapes, corrections)
        self._output = _Output(operation, source, shapes, corrections)
        self.output_stream = self._output.stream

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.operation.name})"

    def parse(
        self,
        headers: message.Headers,
        query: Sequence[tuple[str, str]],
        *,
        bucket: str | None,
        key: str | None,
        body: bytes | None,
    ) -> dict[str, Any]:
        """Read a request into params, by the names of the input's members.

        Args:
            headers: lower-case names; repeated ones are joined with a comma.
            query: decoded names and values; what no member is bound to is ignored.
            bucket: taken as `Bucket` where the operation's path has one.
            key: taken as `Key`, likewise.
            body: the whole document, or None for an operation that has none or
                streams it; a streaming member is not among the params.

        Raises:
            MalformedValue: a value does not parse, or is given twice.
            MissingValue: a member that the operation requires is not there.
            MalformedDocument: the body does not parse.
        """
        return self._input.parse(headers, query, bucket, key, body)

    def reply(self, result: Mapping[str, Any]) -> Reply:
        """Write a result, by the names of the output's members; None is as good as absent.

        Raises:
            UnknownMemberError: the output has no such member.
            MalformedValue: a value cannot stand in a header.
        """
        reply = self._output.reply(result)
        if reply.status == 0:
            reply.status = self.status
        return reply


class _Input:
    __slots__ = (
        "_allowed_roots", "_forbidden", "_headers", "_ignored", "_operation", "_payload",
        "_prefix", "_query", "_query_headers", "_read_body", "_required", "_uri",
    )  # fmt: skip

    def __init__(
        self,
        operation: model.Operation,
        source: model.Model,
        shapes: elements.Elements,
        corrections: Corrections,
    ) -> None:
        self._operation = operation
        self._headers: dict[bytes, tuple[str, scalars.Read | None]] = {}
        self._query: dict[str, tuple[str, scalars.Read | None]] = {}
        self._prefix: tuple[str, bytes, int] | None = None
        self._uri: set[str] = set()
        self._payload: model.Member | None = None
        self._read_body: elements.ReadNode | None = None
        self._allowed_roots: frozenset[str] = frozenset()
        self._required: tuple[tuple[str, str, str], ...] = ()
        self._ignored = corrections.ignored_if_malformed
        self._query_headers = corrections.query_headers
        self._forbidden = corrections.never_in_query
        if operation.input is None:
            return
        shape = source.shapes[operation.input]
        for member in shape.members.values():
            self._bind(member, source.shapes[member.shape])
        self._required = tuple(
            (member.name, member.wire_name or member.name, _PLACES[member.location])
            for member in map(shape.members.__getitem__, shape.required)
            if member.location in _PLACES and not member.streaming
        )
        has_body = [m for m in shape.members.values() if m.location is None]
        if operation.payload is not None:
            if operation.streaming_input:
                return
            self._payload = shape.members[operation.payload]
            kind = source.shapes[self._payload.shape].kind
            if kind == "structure":
                self._read_body = shapes.reader(self._payload.shape)
                root = self._payload.wire_name or self._payload.name
                others = corrections.other_roots.get(operation.name, frozenset())
                self._allowed_roots = others | {root}
        elif has_body:
            self._read_body = shapes.reader(shape.name)
            self._allowed_roots = frozenset({shape.name})

    def _bind(self, member: model.Member, shape: model.Shape) -> None:
        wire_name = member.wire_name or member.name
        row = (member.name, scalars.READERS.get(shape.kind))
        if member.location == "header":
            self._headers[wire_name.lower().encode("ascii")] = row
        elif member.location == "querystring":
            self._query[wire_name] = row
        elif member.location == "headers":
            prefix = wire_name.lower().encode("ascii")
            self._prefix = (member.name, prefix, len(prefix))
        elif member.location == "uri":
            self._uri.add(member.name)

    def parse(
        self,
        headers: message.Headers,
        query: Sequence[tuple[str, str]],
        bucket: str | None,
        key: str | None,
        body: bytes | None,
    ) -> dict[str, Any]:
        params: dict[str, Any] = {}
        if bucket is not None and "Bucket" in self._uri:
            params["Bucket"] = bucket
        if key is not None and "Key" in self._uri:
            params["Key"] = key
        self._parse_headers(params, headers)
        if query:
            self._parse_query(params, query)
        if body and (self._read_body is not None or self._payload is not None):
            self._parse_body(params, body)
        for name, wire_name, where in self._required:
            if name not in params:
                raise errors.MissingValue(name, wire_name, where)
        return params

    def _parse_headers(self, params: dict[str, Any], headers: message.Headers) -> None:
        known, prefix = self._headers.get, self._prefix
        for raw_name, raw_value in headers:
            row = known(raw_name)
            if row is not None:
                name, convert = row
                text = raw_value.decode("latin-1")
                if name in params:  # came before (RFC 9110, 5.3)
                    text = b",".join(v for n, v in headers if n == raw_name).decode("latin-1")
                if convert is None:
                    params[name] = text
                else:
                    self._convert(params, row, text, raw_name, "header")
            elif prefix is not None and raw_name.startswith(prefix[1]):
                extra = params.setdefault(prefix[0], {})
                inner = raw_name[prefix[2] :].decode("latin-1")
                text = raw_value.decode("latin-1")
                extra[inner] = f"{extra[inner]},{text}" if inner in extra else text

    def _convert(
        self,
        params: dict[str, Any],
        row: tuple[str, scalars.Read | None],
        text: str,
        wire_name: bytes | str,
        where: str,
    ) -> None:
        name, convert = row
        try:
            params[name] = text if convert is None else convert(text)
        except ValueError as error:
            if name in self._ignored:
                params.pop(name, None)
                return
            wire = wire_name if isinstance(wire_name, str) else wire_name.decode("ascii")
            raise errors.MalformedValue(name, wire, text, where) from error

    def _parse_query(self, params: dict[str, Any], query: Sequence[tuple[str, str]]) -> None:
        sent = set()
        for wire_name, text in query:
            row = self._query.get(wire_name)
            if row is not None:
                if wire_name in sent:
                    raise errors.MalformedValue(row[0], wire_name, text, "query")
                sent.add(wire_name)
                self._convert(params, row, text, wire_name, "query")
            elif self._query_headers and wire_name.lower().startswith(self._query_headers):
                self._parse_query_header(params, wire_name, text)

    def _parse_query_header(self, params: dict[str, Any], wire_name: str, text: str) -> None:
        """Take a header that a presigned URL carries as a parameter."""
        lower = wire_name.lower()
        # Latin-1 text of the header's UTF-8 bytes: as if it had come as a header.
        value = text.encode("utf-8", "surrogateescape").decode("latin-1")
        prefix = self._prefix
        if lower in self._forbidden:
            raise errors.MalformedValue(lower, wire_name, "", "query")
        row = self._headers.get(lower.encode("utf-8", "replace"))
        if row is not None:
            before = params.get(row[0])
            self._convert(params, row, value, wire_name, "query")
            if before is not None and params.get(row[0]) != before:
                raise errors.MalformedValue(row[0], wire_name, text, "query")
        elif prefix is not None and lower.encode("utf-8", "replace").startswith(prefix[1]):
            extra = params.setdefault(prefix[0], {})
            inner = lower[prefix[2] :]
            if extra.setdefault(inner, value) != value:
                raise errors.MalformedValue(prefix[0], wire_name, text, "query")

    def _parse_body(self, params: dict[str, Any], body: bytes) -> None:
        if self._read_body is None:
            assert self._payload is not None, "a body is read by shape or taken as payload"
            try:
                params[self._payload.name] = body.decode("utf-8")
            except UnicodeDecodeError as error:
                raise errors.MalformedDocument("The document is not UTF-8.") from error
            return
        root = xml_body.parse(
            body,
            max_bytes=MAX_DOCUMENT_BYTES,
            max_depth=MAX_DOCUMENT_DEPTH,
            max_nodes=MAX_DOCUMENT_NODES,
        )
        if root.tag not in self._allowed_roots:
            raise errors.MalformedDocument(
                f"The document is a {root.tag}, not a {min(self._allowed_roots)}."
            )
        value = self._read_body(root)
        if self._payload is None:
            params.update(value)
        else:
            params[self._payload.name] = value


_PLACES = {"header": "header", "querystring": "query", None: "body"}


class _Output:
    __slots__ = (
        "_always", "_body_members", "_headers", "_operation", "_payload", "_prefix",
        "_types", "_write", "stream",
    )  # fmt: skip

    def __init__(
        self,
        operation: model.Operation,
        source: model.Model,
        shapes: elements.Elements,
        corrections: Corrections,
    ) -> None:
        self._operation = operation.name
        self._headers: dict[str, tuple[bytes, scalars.Write, bool]] = {}
        self._prefix: tuple[str, bytes] | None = None
        self._body_members: frozenset[str] = frozenset()
        self._payload: str | None = None
        self._write: elements.WriteValue | None = None
        self._always = corrections.always.get(operation.name)
        self._types = _XML
        self.stream: str | None = None
        if operation.output is None:
            return
        shape = source.shapes[operation.output]
        for member in shape.members.values():
            self._bind(member, source.shapes[member.shape])
        if shape.payload is not None:
            self._bind_payload(shape.members[shape.payload], source, shapes, corrections)
            return
        body = [m for m in shape.members.values() if m.location is None]
        if not body:
            return
        self._body_members = frozenset(m.name for m in body)
        root = corrections.roots.get(operation.name)
        if root is None:
            raise ValueError(f"no root element is known for the reply of {operation.name}")
        if operation.name in corrections.text_replies:
            only = shape.members[corrections.text_replies[operation.name]]
            write = shapes.writer(root, only, corrections.namespace)
            self._write = lambda result, emit: write(result.get(only.name, ""), emit)
            return
        opening = f'<{root} xmlns="{corrections.namespace}">'
        inside = shapes.contents_writer(shape.name, strict=False)

        def write_root(result: Mapping[str, Any], emit: elements.Emit) -> None:
            emit(opening)
            inside(result, emit)
            emit(f"</{root}>")

        self._write = write_root

    def _bind(self, member: model.Member, shape: model.Shape) -> None:
        wire_name = (member.wire_name or member.name).lower().encode("ascii")
        if member.location == "header":
            write = scalars.HEADER_WRITERS[shape.kind]
            if shape.timestamp_format == "iso8601":
                write = scalars.write_iso_time
            self._headers[member.name] = (wire_name, write, shape.kind in _FREE_TEXT)
        elif member.location == "headers":
            self._prefix = (member.name, wire_name)

    def _bind_payload(
        self,
        payload: model.Member,
        source: model.Model,
        shapes: elements.Elements,
        corrections: Corrections,
    ) -> None:
        shape = source.shapes[payload.shape]
        if payload.streaming or shape.event_stream:
            self.stream = payload.name
            return
        self._body_members = frozenset({payload.name})
        self._payload = payload.name
        if shape.kind == "structure":
            root = corrections.roots.get(self._operation, payload.wire_name or payload.name)
            bare = self._operation in corrections.without_namespace
            self._write = shapes.writer(root, payload, "" if bare else corrections.namespace)
        else:
            kind = corrections.payload_types.get(self._operation)
            if kind is None:
                raise ValueError(f"no content type is known for the reply of {self._operation}")
            self._types = [(b"content-type", kind.encode("ascii"))]

    def reply(self, result: Mapping[str, Any]) -> Reply:
        """Write a result; a status of 0 stands for the operation's own."""
        status = 0
        headers: message.Headers = []
        rows, prefix, body_members = self._headers.get, self._prefix, self._body_members
        for name, value in result.items():
            if value is None:
                continue
            row = rows(name)
            if row is not None:
                text = row[1](value)
                if row[2] and not text.isprintable():
                    self._check(name, row[0], text)
                try:
                    headers.append((row[0], text.encode("latin-1")))
                except UnicodeEncodeError as error:
                    wire = row[0].decode("ascii")
                    raise errors.MalformedValue(name, wire, text, "reply") from error
            elif name in body_members or name == self.stream:
                continue
            elif prefix is not None and name == prefix[0]:
                self._write_prefixed(headers, prefix, value)
            elif name == STATUS:
                status = value
            else:
                raise elements.UnknownMemberError(f"{self._operation} answers with no {name}")
        document = self._document(result)
        if document is not None:
            headers += self._types
        return Reply(status, headers, document)

    @staticmethod
    def _check(name: str, wire_name: bytes, text: str) -> None:
        """Refuse what would end the header and begin another (RFC 9110, 5.5)."""
        if _CONTROL.search(text) is not None:
            raise errors.MalformedValue(name, wire_name.decode("ascii"), text, "reply")

    def _write_prefixed(
        self, headers: message.Headers, prefix: tuple[str, bytes], values: Mapping[str, str]
    ) -> None:
        for name, text in values.items():
            try:
                wire_name = prefix[1] + name.encode("ascii")
                wire_value = text.encode("latin-1")
            except UnicodeEncodeError as error:
                raise errors.MalformedValue(prefix[0], name, text, "reply") from error
            if _TOKEN.fullmatch(wire_name) is None or _CONTROL.search(text) is not None:
                raise errors.MalformedValue(prefix[0], name, text, "reply")
            headers.append((wire_name, wire_value))

    def _document(self, result: Mapping[str, Any]) -> bytes | None:
        value: Any = result
        if self._payload is not None:
            value = result.get(self._payload)
            if value is None:
                return None
            if self._write is None:
                return bytes(value.encode("utf-8"))
        elif self._write is None:
            return None
        elif self._always is not None:
            value = {**self._always, **{n: v for n, v in result.items() if v is not None}}
        pieces = [xml_body.DECLARATION]
        self._write(value, pieces.append)
        return "".join(pieces).encode("utf-8")


_FREE_TEXT = frozenset({"string", "list"})


def error_document(
    code: str, text: str, fields: Mapping[str, str], request_id: str, host_id: str
) -> bytes:
    """Write S3's error document.

    Args:
        code: the error's code.
        text: its message.
        fields: further children by name, in the order in which they are printed;
            each name is ours, each value may be the client's.
        request_id: as in the `x-amz-request-id` header.
        host_id: as in `x-amz-id-2`.
    """
    escape = xml_body.escape
    pieces = [
        xml_body.DECLARATION,
        f"<Error><Code>{escape(code)}</Code><Message>{escape(text)}</Message>",
    ]
    pieces += [f"<{name}>{escape(value)}</{name}>" for name, value in fields.items()]
    pieces.append(
        f"<RequestId>{escape(request_id)}</RequestId><HostId>{escape(host_id)}</HostId></Error>"
    )
    return "".join(pieces).encode("utf-8")
