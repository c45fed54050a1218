"""Document bodies.

    OPERATION
    document

A document that parses must be no larger than its bytes, and must parse to the same
once it is written again. It is then read as the body of the operation, or of all
of `_OPERATIONS` where the first line names none.
"""

from __future__ import annotations

from strongroom import errors
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import facets, protocol, tags
from strongroom.wire import binding, xml_body

_OPERATIONS = ("DeleteObjects", "CompleteMultipartUpload", "PutObjectTagging", "CreateBucket")
_PLACE = {"bucket": "bucket", "key": "key"}
_QUERY = [("uploadId", "upload")]


def run(data: bytes) -> str:
    """Parse a document, write it, parse it again; then bind it to operations."""
    line, _, document = data.partition(b"\n")
    name = line.decode("ascii", "replace").strip()
    _check_tree(document)
    operations = (name,) if name in protocol.BINDINGS else _OPERATIONS
    return " ".join([_bind(operation, document) for operation in operations])


def _check_tree(document: bytes) -> None:
    try:
        root = xml_body.parse(
            document,
            max_bytes=binding.MAX_DOCUMENT_BYTES,
            max_depth=binding.MAX_DOCUMENT_DEPTH,
            max_nodes=binding.MAX_DOCUMENT_NODES,
        )
    except errors.MalformedDocument:
        return
    held = _characters(root)
    assert held <= len(document), f"{held} characters of {len(document)} bytes"
    written = _write(root).encode()
    again = xml_body.parse(
        written,
        max_bytes=len(written),
        max_depth=binding.MAX_DOCUMENT_DEPTH,
        max_nodes=binding.MAX_DOCUMENT_NODES,
    )
    assert _write(again).encode() == written, "what parses prints back the same"


def _characters(node: xml_body.Node) -> int:
    own = len(node.tag) + len(node.text)
    own += sum(len(name) + len(value) for name, value in (node.attributes or {}).items())
    return own + sum(map(_characters, node.children))


def _write(node: xml_body.Node) -> str:
    attributes = "".join(
        f' n:{name}="{xml_body.escape_attribute(value)}"'
        for name, value in (node.attributes or {}).items()
    )
    inside = "".join(map(_write, node.children)) or xml_body.escape(node.text)
    # What a prefix stood before need not be a name by itself: `a:-` is one.
    return f"<n:{node.tag}{attributes}>{inside}</n:{node.tag}>"


def _bind(operation: str, document: bytes) -> str:
    try:
        params = protocol.BINDINGS[operation].parse([], _QUERY, **_PLACE, body=document)
        if operation == "PutObjectTagging":
            tags.of_document(params["Tagging"])
        for entry in params.get("Delete", {}).get("Objects", ()):
            facets.delete_conditions(entry)
    except (errors.StrongroomError, Refused) as error:
        return type(error).__name__
    return "read"
