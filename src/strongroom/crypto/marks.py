"""Marks: what may change on a version without its key. Readable, and vouched for by the server.

Tagging an object, locking it or expiring it carries no customer key, so such facts
cannot stand in the sealed head. They stand beside the envelope in the clear, under a
MAC whose key the server has, bound to the row they belong to. Whoever changes them
without that key is found out; whoever puts an older state of the same version back is not.

Source: docs/formats/sealed-object.md, section 9.
"""

from __future__ import annotations

import dataclasses
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from strongroom import errors
from strongroom.crypto import derive, encoding

if TYPE_CHECKING:
    from strongroom.crypto import mac as macs

MARKS_MAGIC = b"SRMMRK\x00\x03"
"""Magic and, in the last byte, the version that is written."""
_CLEAR_FIELDS = {b"SRMMRK\x00\x01": 2, b"SRMMRK\x00\x02": 3, MARKS_MAGIC: 4}
"""Magic of each version that is read → fields of its clear part. Version 1 held nothing but
tags, version 2 also an access list."""
_AT_ACL, _AT_NOTES = 2, 3
_NOTHING = encoding.encode(
    derive.Label.MARKS_CLEAR,
    MARKS_MAGIC,
    encoding.encode(derive.Label.TAGS),
    "",
    encoding.encode(derive.Label.NOTES),
)
"""What most versions have."""


@dataclass(slots=True)
class Marks:
    """The marks of one version.

    Attributes:
        tags: key → value, in order.
        acl: its access list, as `access.grants` encodes it; empty where it has none of its own.
        notes: what else is known of it, name → text; no note is empty. Each name belongs to
            one module, and whoever changes one keeps the others, those too that it does not know.
    """

    tags: dict[str, str] = field(default_factory=dict)
    acl: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    def noted(self, **notes: str) -> Self:
        """Return the same marks with these notes; an empty text removes one."""
        merged = {**self.notes, **notes}
        kept = {name: text for name, text in sorted(merged.items()) if text}
        return dataclasses.replace(self, notes=kept)

    def encode(self, row_key: macs.MacKey, bucket: str, key: str, generation: bytes) -> bytes:
        """Return the stored form, with its MAC.

        Args:
            row_key: the server's key for rows.
            bucket: where the version is listed.
            key: likewise.
            generation: names the version's envelope.
        """
        clear = encoding.encode(
            derive.Label.MARKS_CLEAR,
            MARKS_MAGIC,
            encoding.encode(derive.Label.TAGS, *encoding.flatten(self.tags)),
            self.acl,
            encoding.encode(derive.Label.NOTES, *encoding.flatten(self.notes)),
        )
        mac = _mac(row_key, bucket, key, generation, clear)
        return MARKS_MAGIC + encoding.encode(derive.Label.MARKS, clear, mac)

    @classmethod
    def parse(
        cls, data: bytes, row_key: macs.MacKey, bucket: str, key: str, generation: bytes
    ) -> Self:
        """Read what `encode` printed for this row.

        Raises:
            NotAuthentic: nothing prints to this, or it belongs to another row.
        """
        found, clear, mac = _read(data)
        if not hmac.compare_digest(mac, _mac(row_key, bucket, key, generation, clear)):
            raise errors.NotAuthentic("the marks of a version are not what was written there")
        return cls(found.tags, found.acl, found.notes)


def unverified(data: bytes) -> Marks:
    """Read marks without asking who wrote them, where all else has to be put together first.

    Raises:
        NotAuthentic: nothing prints to this.
    """
    return _read(data)[0]


def _read(data: bytes) -> tuple[Marks, bytes, bytes]:
    """Return what marks say, and the clear part with its MAC, which is still to be compared."""
    magic = data[: len(MARKS_MAGIC)]
    if magic not in _CLEAR_FIELDS:
        raise errors.NotAuthentic("marks have another magic or version than can be read")
    clear, mac = encoding.decode(derive.Label.MARKS, data[len(MARKS_MAGIC) :], 2)
    if clear == _NOTHING and magic == MARKS_MAGIC:
        return Marks(), clear, mac
    fields = encoding.decode(derive.Label.MARKS_CLEAR, clear, _CLEAR_FIELDS[magic])
    if fields[0] != magic:
        raise errors.NotAuthentic("marks contradict themselves")
    found = Marks(
        tags=_texts(derive.Label.TAGS, fields[1]),
        acl=encoding.text(fields[2]) if len(fields) > _AT_ACL else "",
        notes=_texts(derive.Label.NOTES, fields[3]) if len(fields) > _AT_NOTES else {},
    )
    return found, clear, mac


def unverified_note(data: bytes, name: str) -> str:
    """Return a note of stored marks; empty if there is none. Nobody has vouched for it.

    For whoever puts a row together again, without the key that would tell.

    Raises:
        NotAuthentic: nothing prints to this.
    """
    clear, _ = encoding.decode(derive.Label.MARKS, data[len(MARKS_MAGIC) :], 2)
    fields = encoding.decode(
        derive.Label.MARKS_CLEAR, clear, _CLEAR_FIELDS.get(data[: len(MARKS_MAGIC)], 0)
    )
    if len(fields) <= _AT_NOTES:
        return ""
    return _texts(derive.Label.NOTES, fields[_AT_NOTES]).get(name, "")


def _texts(label: bytes, data: bytes) -> dict[str, str]:
    pairs = encoding.pairs(encoding.decode(label, data))
    return {name: encoding.text(value) for name, value in pairs.items()}


def _mac(row_key: macs.MacKey, bucket: str, key: str, generation: bytes, clear: bytes) -> bytes:
    text = encoding.encode(derive.Label.MARKS, bucket, key, generation, clear)
    return row_key.digest(text)
