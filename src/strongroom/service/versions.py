"""Version ids: which one a write gets, and which version a request means."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Protocol

from strongroom import errors
from strongroom.service import judgement, replication_rules
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from strongroom.service import encryption
    from strongroom.store import catalog

_ID_BYTES = 24
_ALTCHARS = b"._"
"""Not a hyphen: a command line would take an id that begins with one for an option."""

_TRIES = 3
"""A write that the bucket's versioning is switched under is sealed anew this often."""


class Seal(Protocol):
    """Seals a version under an id, which its envelope vouches for."""

    def __call__(self, *, version_id: str) -> records.Draft:
        """Return the version, ready to be committed. May be called again with another id."""
        ...


def new_id(random_bytes: Callable[[int], bytes]) -> str:
    """Make a version id: 32 characters that say nothing, safe in URLs and in file names."""
    return base64.b64encode(random_bytes(_ID_BYTES), altchars=_ALTCHARS).decode()


async def commit(
    catalog: catalog.Catalog,
    bucket: str,
    seal: Seal,
    write: Callable[[records.Draft], Awaitable[None]],
    *,
    guard: encryption.Encryption,
    random_bytes: Callable[[int], bytes],
) -> records.Draft:
    """Seal a version under the id that its bucket's versioning wants, and write it.

    What the bucket wants is known for sure only inside the transaction. If it was
    switched since it was looked up, the transaction changes nothing, and the
    version is sealed again.

    Returns:
        what was written.

    Raises:
        BucketNotFound: there is no such bucket (any more).
        VersioningChanged: it was switched each time.
        StrongroomError: whatever else `write` raises.
    """
    for tries_left in reversed(range(_TRIES)):
        home = await catalog.bucket(bucket)
        wants_id = home.versioning == records.ENABLED
        draft = seal(version_id=new_id(random_bytes) if wants_id else records.NULL_VERSION)
        if records.REPLICATION in home.settings:
            draft = replication_rules.announced(guard, home, draft)
        try:
            await write(draft)
        except errors.VersioningChanged:
            if not tries_left:
                raise
        else:
            return draft
    raise AssertionError("the last try returns or raises")


async def look_up(
    catalog: catalog.Catalog,
    bucket: str,
    key: str,
    version_id: str | None,
    *,
    with_data: bool = False,
) -> records.Stored:
    """Return the version of this id, or the current one if it is None.

    `with_data` asks for the data of a small object, too, where that costs no further question.

    Raises:
        BucketNotFound: there is no such bucket.
        ObjectNotFound: none is current.
        VersionNotFound: there is no version of this id.
        IsDeleteMarker: it is a delete marker.
        MarksChanged: it is not the one by which the request was judged.
    """
    if version_id is None:
        stored = await catalog.current(bucket, key, with_data=with_data)
    else:
        stored = await catalog.version(bucket, key, version_id)
    return judgement.check(stored, bucket, key, version_id)
