"""By which state of an object a request was judged, so that it touches no other.

Access lists and tags are read when a request is authorised, and the object itself a moment
later. In between somebody may put another object in its place, whose list says otherwise.
Whoever authorises notes the state that it saw, and whatever looks the object up later in
the same request is compared with it. That costs no statement, and no handler can forget it.

Notes belong to the task that answers the request, and to those that it starts.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING

from strongroom import errors

if TYPE_CHECKING:
    from strongroom.store import records

NOTHING = b""
"""Stands for the generation where no object was there; delete markers have none either."""

_Name = tuple[str, str, str | None]

_NOTED: contextvars.ContextVar[dict[_Name, bytes] | None] = contextvars.ContextVar(
    "strongroom.judgement", default=None
)


def note(bucket: str, key: str, version_id: str | None, generation: bytes) -> None:
    """Note what an object was like when the request was judged.

    Args:
        bucket: its bucket.
        key: its key.
        version_id: as the request names it; None for the current version.
        generation: of the version that was seen, or `NOTHING`.

    Raises:
        MarksChanged: it was another one when it was noted before.
    """
    noted = _NOTED.get()
    if noted is None:
        noted = {}
        _NOTED.set(noted)
    if noted.setdefault((bucket, key, version_id), generation) != generation:
        raise errors.MarksChanged(key)


def noted(bucket: str, key: str, version_id: str | None) -> bytes | None:
    """Return the generation that was noted; None if the request was judged without a look."""
    found = _NOTED.get()
    return None if found is None else found.get((bucket, key, version_id))


def check(stored: records.Stored, bucket: str, key: str, version_id: str | None) -> records.Stored:
    """Return what was looked up, if it is what the request was judged by, or it was by nothing.

    Raises:
        MarksChanged: another one has taken its place since; the request is to be judged again.
    """
    if _NOTED.get() is not None:
        generation = noted(bucket, key, version_id)
        if generation is not None and generation != stored.version.generation:
            raise errors.MarksChanged(key)
    return stored


def forget() -> None:
    """Forget all notes: the request is answered, or is judged anew."""
    if _NOTED.get() is not None:
        _NOTED.set(None)
