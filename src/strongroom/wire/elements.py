"""XML elements to and from Python, compiled from shapes.

A structure is a dict by member name, a list a list, a scalar what `scalars`
makes of it. Compiling happens once, at import; the compiled readers and writers
are closures over flat tables.

Reading is as strict as a schema: an element that the shape does not have, one
that comes twice where one is expected, and a missing required one are refused.
To skip what is not understood would be to act on half a document: a lifecycle
rule without its unknown filter would apply to every object.
Source: Amazon S3 API Reference, Error Responses, MalformedXML ("did not validate
against our published schema").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.wire import scalars, xml_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.wire import model

Emit = Callable[[str], None]
ReadNode = Callable[[xml_body.Node], Any]
WriteValue = Callable[[Any, Emit], None]
Specialise = Callable[[WriteValue], WriteValue]
"""Makes a faster writer for a shape from the general one, to the same effect."""


class UnknownMemberError(LookupError):
    """A result has a member that its shape does not know: a mistake in a handler."""


class Elements:
    """Readers and writers for the shapes of one model, compiled when first asked for."""

    def __init__(
        self,
        shapes: Mapping[str, model.Shape],
        special: Mapping[str, Specialise] | None = None,
    ) -> None:
        self._shapes = shapes
        self._special = special or {}
        self._structure_readers: dict[str, ReadNode] = {}
        self._structure_writers: dict[str, WriteValue] = {}

    def is_flat(self, member: model.Member) -> bool:
        """Say whether the member is a list whose items stand directly in the parent."""
        shape = self._shapes[member.shape]
        return shape.kind == "list" and (member.flattened or shape.flattened)

    def wire_name(self, member: model.Member) -> str:
        """Return the element's name in its parent.

        For a flattened list that has no name of its own it is the item's
        (`BlockedEncryptionTypes.EncryptionType`).
        """
        if member.wire_name is not None:
            return member.wire_name
        if self.is_flat(member):
            item = self._shapes[member.shape].item
            if item is not None and item.wire_name is not None:
                return item.wire_name
        return member.name

    def reader(self, shape_name: str) -> ReadNode:
        """Return the reader for elements of a shape.

        Readers raise `MalformedDocument` and, for a scalar, `MalformedValue`.
        """
        shape = self._shapes[shape_name]
        if shape.kind == "structure":
            return self._structure_reader(shape)
        if shape.kind == "list":
            return self._list_reader(shape)
        return _scalar_reader(scalars.READERS.get(shape.kind))

    def _list_reader(self, shape: model.Shape) -> ReadNode:
        item = _item(shape)
        read_item, expected = self.reader(item.shape), item.wire_name or "member"

        def read(node: xml_body.Node) -> list[Any]:
            _refuse_text(node)
            for child in node.children:
                if child.tag != expected:
                    raise _unexpected(node, child)
            return [read_item(child) for child in node.children]

        return read

    def _structure_reader(self, shape: model.Shape) -> ReadNode:
        if shape.name in self._structure_readers:
            return self._structure_readers[shape.name]
        reader = _StructureReader(shape)
        self._structure_readers[shape.name] = reader  # before its members: shapes may nest
        for member in shape.members.values():
            if member.location is not None:
                continue
            name = self.wire_name(member)
            if member.xml_attribute:
                reader.attributes[name.rpartition(":")[2]] = member.name
            elif self.is_flat(member):
                item = _item(self._shapes[member.shape])
                reader.rows[name] = (member.name, True, self.reader(item.shape))
            else:
                reader.rows[name] = (member.name, False, self.reader(member.shape))
        return reader

    def contents_writer(self, shape_name: str, *, strict: bool = True) -> WriteValue:
        """Return the writer of a structure's elements, without a tag around them.

        Args:
            shape_name: a structure.
            strict: members that the shape lacks raise `UnknownMemberError`; otherwise
                the caller has looked.
        """
        if strict and shape_name in self._structure_writers:
            return self._structure_writers[shape_name]
        shape = self._shapes[shape_name]
        rows: list[tuple[str, WriteValue]] = []

        def write(value: Mapping[str, Any], emit: Emit) -> None:
            left = len(value)
            for name, put in rows:
                inner = value.get(name)
                if inner is not None:
                    put(inner, emit)
                    left -= 1
            if left and strict:
                _check_members(value, shape)

        if strict:
            self._structure_writers[shape_name] = write
        rows.extend(
            (member.name, self.writer(self.wire_name(member), member))
            for member in shape.members.values()
            if member.location is None and not member.xml_attribute
        )
        return write

    def writer(self, tag: str, member: model.Member, root_namespace: str = "") -> WriteValue:
        """Return the writer of a whole element named `tag`.

        A namespace goes on the root alone: below it the model's declarations
        repeat it, and S3 does not print them.
        """
        shape = self._shapes[member.shape]
        declared = f' xmlns="{root_namespace}"' if root_namespace else ""
        opening, closing = f"<{tag}{declared}>", f"</{tag}>"
        if shape.kind == "structure":
            return self._element_writer(tag, opening, closing, member)
        if shape.kind == "list":
            item = _item(shape)
            if self.is_flat(member):
                write_item = self.writer(tag, item)

                def write_flat(values: list[Any], emit: Emit) -> None:
                    for value in values:
                        write_item(value, emit)

                return write_flat
            write_item = self.writer(item.wire_name or "member", item)

            def write_list(values: list[Any], emit: Emit) -> None:
                emit(opening)
                for value in values:
                    write_item(value, emit)
                emit(closing)

            return write_list
        text = scalars.ELEMENT_WRITERS[shape.kind]

        def write_scalar(value: Any, emit: Emit) -> None:
            emit(opening + text(value) + closing)

        return write_scalar

    def _element_writer(
        self, tag: str, opening: str, closing: str, member: model.Member
    ) -> WriteValue:
        shape = self._shapes[member.shape]
        inside = self.contents_writer(member.shape)
        if member.shape in self._special:
            inside = self._special[member.shape](inside)
        attribute = next((m for m in shape.members.values() if m.xml_attribute), None)
        if attribute is None:

            def write(value: Any, emit: Emit) -> None:
                emit(opening)
                inside(value, emit)
                emit(closing)

            return write

        namespace = shape.namespace or member.namespace
        declared = "" if namespace is None else f' xmlns:{namespace[0]}="{namespace[1]}"'
        name, attribute_name = attribute.name, self.wire_name(attribute)

        def write_with_attribute(value: Any, emit: Emit) -> None:
            text = value.get(name)
            if text is None:
                emit(opening)
            else:
                quoted = xml_body.escape_attribute(text)
                emit(f'<{tag}{declared} {attribute_name}="{quoted}">')
            inside(value, emit)
            emit(closing)

        return write_with_attribute


class _StructureReader:
    """Reads an element as a structure.

    Attributes:
        rows: element name → member name, whether it may repeat, and its reader.
        attributes: local name of an attribute → member name.
    """

    __slots__ = ("_required", "attributes", "rows")

    def __init__(self, shape: model.Shape) -> None:
        self.rows: dict[str, tuple[str, bool, ReadNode]] = {}
        self.attributes: dict[str, str] = {}
        self._required = tuple(n for n in shape.required if shape.members[n].location is None)

    def __call__(self, node: xml_body.Node) -> dict[str, Any]:
        _refuse_text(node)
        out: dict[str, Any] = {}
        if node.attributes is not None:
            for attribute, value in node.attributes.items():
                if attribute in self.attributes:
                    out[self.attributes[attribute]] = value
        for child in node.children:
            row = self.rows.get(child.tag)
            if row is None:
                raise _unexpected(node, child)
            name, repeats, read = row
            if repeats:
                out.setdefault(name, []).append(read(child))
            elif name not in out:
                out[name] = read(child)
            else:
                raise errors.MalformedDocument(
                    f"The element {node.tag} has the element {child.tag} twice."
                )
        for name in self._required:
            if name not in out:
                raise errors.MalformedDocument(f"The element {node.tag} needs its {name}.")
        return out


def _refuse_text(node: xml_body.Node) -> None:
    if node.text.strip():
        raise errors.MalformedDocument(f"The element {node.tag} has text in it.")


def _unexpected(node: xml_body.Node, child: xml_body.Node) -> errors.MalformedDocument:
    return errors.MalformedDocument(f"The element {node.tag} cannot have the element {child.tag}.")


def _check_members(value: Mapping[str, Any], shape: model.Shape) -> None:
    for name, inner in value.items():
        if inner is not None and name not in shape.members:
            raise UnknownMemberError(f"{shape.name} has no member {name}")


def _item(shape: model.Shape) -> model.Member:
    if shape.item is None:
        raise ValueError(f"the list {shape.name} has no item in the model")
    return shape.item


def _scalar_reader(convert: scalars.Read | None) -> ReadNode:
    def read(node: xml_body.Node) -> Any:
        if node.children:
            raise errors.MalformedDocument(f"The element {node.tag} cannot have elements in it.")
        if convert is None:
            return node.text
        try:
            return convert(node.text)
        except ValueError as error:
            raise errors.MalformedValue(node.tag, node.tag, node.text, "body") from error

    return read
