"""What a version is called where replication has put it.

A replica keeps the envelope of its origin, byte by byte, and with it the bucket and the
generation that the envelope is bound to. Two buckets of one store must not have versions
of one generation, so a replica that lies in another bucket than its origin has one of its
own, which follows from both.

Source: docs/formats/sealed-object.md, section 11.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import derive, encoding, marks

if TYPE_CHECKING:
    from strongroom.crypto import envelope

REPLICA_NOTE = "replica"
"""Note in the marks of a replica: the bucket that replication has put it into."""


def place_of(found: envelope.Envelope, encoded_marks: bytes) -> str:
    """Return the bucket of a version of which only these two are left.

    Args:
        found: its envelope.
        encoded_marks: as stored, with the number of the store key in front. Nothing vouches
            for them here; whoever reads the version will find out.
    """
    try:
        noted = marks.unverified(encoded_marks.partition(b":")[2]).notes
    except errors.NotAuthentic:
        return found.origin_bucket
    return noted.get(REPLICA_NOTE, found.origin_bucket)


def generation_at(found: envelope.Envelope, bucket: str) -> bytes:
    """Return the generation under which a version with this envelope is kept in `bucket`."""
    if bucket == found.origin_bucket:
        return found.generation
    text = encoding.encode(derive.Label.REPLICA, found.generation, found.origin_bucket, bucket)
    return hashlib.sha256(text).digest()[: len(found.generation)]
