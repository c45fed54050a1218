"""Marks: what may change on a version without its key. Readable, and vouched for by the server.

Tagging an object, locking it or expiring it carries no customer key, so such facts
cannot stand in the sealed head. They stand beside the envelope in the clear, under a
MAC whose key the server has, bound to the row they belong to. Whoever changes them
without that key is found out; whoever puts an older state of the same version back is not.

Source: docs/formats/sealed-object.md, section 9.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from strongroom import errors
from strongroom.crypto import derive, encoding

if TYPE_CHECKING:
    from strongroom.crypto import secret

MARKS_MAGIC = b"SRMMRK\x00\x02"
"""Magic and, in the last byte, the version that is written."""
_FIRST_MAGIC = b"SRMMRK\x00\x01"
"""Version 1, which held nothing but tags."""


@dataclass(slots=True)
class Marks:
    """The marks of one version.

    Attributes:
        tags: key → value, in order.
        acl: its access list, as `access.grants` encodes it; empty where it has none of its own.
    """

    tags: dict[str, str] = field(default_factory=dict)
    acl: str = ""

    def encode(self, row_key: secret.SecretKey, bucket: str, key: str, generation: bytes) -> bytes:
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
        )
        mac = _mac(row_key, bucket, key, generation, clear)
        return MARKS_MAGIC + encoding.encode(derive.Label.MARKS, clear, mac)

    @classmethod
    def parse(
        cls, data: bytes, row_key: secret.SecretKey, bucket: str, key: str, generation: bytes
    ) -> Self:
        """Read what `encode` printed for this row.

        Raises:
            NotAuthentic: nothing prints to this, or it belongs to another row.
        """
        magic = data[: len(MARKS_MAGIC)]
        if magic not in (MARKS_MAGIC, _FIRST_MAGIC):
            raise errors.NotAuthentic("marks have another magic or version than can be read")
        clear, mac = encoding.decode(derive.Label.MARKS, data[len(MARKS_MAGIC) :], 2)
        if not hmac.compare_digest(mac, _mac(row_key, bucket, key, generation, clear)):
            raise errors.NotAuthentic("the marks of a version are not what was written there")
        fields = encoding.decode(derive.Label.MARKS_CLEAR, clear, 3 if magic == MARKS_MAGIC else 2)
        if fields[0] != magic:
            raise errors.NotAuthentic("marks contradict themselves")
        pairs = encoding.pairs(encoding.decode(derive.Label.TAGS, fields[1]))
        return cls(
            {name: encoding.text(value) for name, value in pairs.items()},
            encoding.text(fields[2]) if magic == MARKS_MAGIC else "",
        )


def _mac(
    row_key: secret.SecretKey, bucket: str, key: str, generation: bytes, clear: bytes
) -> bytes:
    text = encoding.encode(derive.Label.MARKS, bucket, key, generation, clear)
    return hmac.digest(row_key.reveal(), text, "sha256")
