"""A listed object's elements, written by hand.

A page has a thousand of them, and the codec's general writer would take most of the
time that a listing may cost. This one knows the members that our listings give and
hands anything else to the general one; a test holds the two together.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from strongroom.wire import scalars, xml_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.wire import elements

_PLAIN = 5
_WITH_CHECKSUM = 7


def object_writer(general: elements.WriteValue) -> elements.WriteValue:
    """Return the writer for the shape `Object`; `general` is the codec's own."""
    escape, iso_time = xml_body.escape, scalars.write_iso_time

    def write(value: Mapping[str, Any], emit: elements.Emit) -> None:
        size = len(value)
        checksum = ""
        try:
            if size == _WITH_CHECKSUM:
                checksum = _checksum(tuple(value["ChecksumAlgorithm"]), value["ChecksumType"])
            elif size != _PLAIN:
                general(value, emit)
                return
            key, etag, kind = value["Key"], value["ETag"], value["StorageClass"]
            joined = key + etag + kind
            if escape(joined) is not joined:
                # Looked at together, as hardly ever one of them has what must be escaped.
                key, etag, kind = escape(key), escape(etag), escape(kind)
            text = (
                f"<Key>{key}</Key>"
                f"<LastModified>{iso_time(value['LastModified'])}</LastModified>"
                f"<ETag>{etag}</ETag>{checksum}"
                f"<Size>{value['Size']:d}</Size>"
                f"<StorageClass>{kind}</StorageClass>"
            )
        except (AttributeError, KeyError, TypeError):
            # Another set of members, or a None among them.
            general(value, emit)
            return
        emit(text)

    return write


@functools.lru_cache(maxsize=64)
def _checksum(algorithms: tuple[str, ...], kind: str) -> str:
    """Return the two elements, of which a bucket has few different ones."""
    names = "".join(
        f"<ChecksumAlgorithm>{xml_body.escape(name)}</ChecksumAlgorithm>" for name in algorithms
    )
    return f"{names}<ChecksumType>{xml_body.escape(kind)}</ChecksumType>"
