"""Access logs of buckets: records gathered here, and delivered as objects of other buckets.

Delivery is best effort, as it is in S3: what a process has gathered and not delivered goes
with it when it is killed. When it ends in order, it delivers first.

Source: S3 user guide, "Logging requests with server access logging".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.service import facets, transfer
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from strongroom.service import objects
    from strongroom.store import catalog

MAX_OBJECT_BYTES: Final = 1024 * 1024
"""Records beyond this are delivered before their time."""
MAX_HELD_BYTES: Final = 8 * 1024 * 1024
"""Records of one bucket beyond this are dropped, while the store cannot take them."""

_UNIQUE_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Target:
    """Where records of a bucket go.

    Attributes:
        bucket: name of the bucket.
        prefix: beginning of the objects' keys.
        partitioned: source and day stand in the keys.
        by_event: the day is that of the requests; else that of the delivery.
        acl: access list of the objects, encoded; empty for the owner's alone.
    """

    bucket: str
    prefix: str
    partitioned: bool = False
    by_event: bool = False
    acl: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> Target | None:
        """Read a bucket's document (`records.LOGGING`); None if nothing is to be logged."""
        text = settings.get(records.LOGGING)
        if text is None:
            return None
        found: dict[str, Any] = json.loads(text)
        enabled = found["LoggingEnabled"]
        partitioned = enabled.get("TargetObjectKeyFormat", {}).get("PartitionedPrefix")
        return cls(
            enabled["TargetBucket"],
            enabled["TargetPrefix"],
            partitioned is not None,
            partitioned is not None and partitioned.get("PartitionDateSource") == "EventTime",
            found.get("acl", ""),
        )


@dataclass(slots=True)
class _Sheet:
    """Records of one bucket that go into one object."""

    source: records.Bucket
    target: Target
    first_ms: int
    lines: list[bytes] = field(default_factory=list)
    size: int = 0


class AccessLogs:
    """Gathers records of this process, and delivers them."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        objects: objects.Objects,
        *,
        is_permitted: Callable[[records.Bucket, records.Bucket, str], bool],
        account_of: Callable[[str], str],
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
        interval_ms: int,
    ) -> None:
        """Prepare.

        Args:
            catalog: knows the targets.
            objects: writes the objects.
            is_permitted: whether records of a bucket may be written into another, below a prefix.
            account_of: returns the number that stands for an owner in keys.
            random_bytes: source of the end of each key.
            clock_ms: the time.
            interval_ms: how long a record waits for others.
        """
        self._catalog = catalog
        self._objects = objects
        self._is_permitted = is_permitted
        self._account_of = account_of
        self._random_bytes = random_bytes
        self._clock_ms = clock_ms
        self._interval_ms = interval_ms
        self._sheets: dict[tuple[str, int, str, int], _Sheet] = {}

    def add(self, source: records.Bucket, line: str) -> None:
        """Take a record of a request to a bucket, without a line break."""
        target = Target.of(source.settings)
        if target is None:
            return
        now_ms = self._clock_ms()
        key = (
            source.name,
            source.created_ms,
            source.settings[records.LOGGING],
            # A sheet whose key tells the day of its requests has those of one day.
            now_ms // _DAY_MS if target.by_event else 0,
        )
        sheet = self._sheets.get(key)
        if sheet is None:
            sheet = self._sheets[key] = _Sheet(source, target, now_ms)
        encoded = line.encode() + b"\n"
        if sheet.size + len(encoded) <= MAX_HELD_BYTES:
            sheet.lines.append(encoded)
            sheet.size += len(encoded)

    async def deliver(self, *, everything: bool = False) -> int:
        """Write what has waited long enough, or all; return how many objects were written.

        What may not be delivered (any more) is dropped: no target, another owner's, not permitted.

        Raises:
            StoreFailed, StoreFull: something could not be written; it is kept for the next time.
        """
        now_ms = self._clock_ms()
        written = 0
        failure: errors.StoreTrouble | None = None
        for key, sheet in list(self._sheets.items()):
            waited = now_ms - sheet.first_ms
            if not (
                everything or sheet.size >= MAX_OBJECT_BYTES or not 0 <= waited < self._interval_ms
            ):
                continue
            # Taken out first: what comes meanwhile begins another.
            del self._sheets[key]
            try:
                written += await self._write(sheet, now_ms)
            except errors.StoreTrouble as error:
                failure = error
                self._put_back(key, sheet)
        if failure is not None:
            raise failure
        return written

    def _put_back(self, key: tuple[str, int, str, int], sheet: _Sheet) -> None:
        later = self._sheets.get(key)
        if later is not None and sheet.size + later.size <= MAX_HELD_BYTES:
            sheet.lines += later.lines
            sheet.size += later.size
        self._sheets[key] = sheet

    async def _write(self, sheet: _Sheet, now_ms: int) -> bool:
        source, target = sheet.source, sheet.target
        try:
            bucket = await self._catalog.bucket(target.bucket)
        except errors.BucketNotFound:
            return False
        if not self._is_permitted(source, bucket, target.prefix):
            return False
        body = b"".join(sheet.lines)
        try:
            await self._objects.put(
                bucket.name,
                self._key(sheet, now_ms),
                transfer.Incoming(_whole(body), len(body)),
                owner=bucket.owner,
                customer=None,
                content=facets.Content({"content-type": "text/plain"}),
                tags={},
                acl=target.acl,
                bucket_made_ms=bucket.created_ms,
            )
        except errors.BucketNotFound:
            return False
        return True

    def _key(self, sheet: _Sheet, now_ms: int) -> str:
        """Make an object's key; source: as above, "Log object key format"."""
        source, target = sheet.source, sheet.target
        unique = self._random_bytes(_UNIQUE_BYTES).hex().upper()
        moment = datetime.fromtimestamp(now_ms / 1000, UTC)
        if target.by_event:
            day_ms = sheet.first_ms // _DAY_MS * _DAY_MS
            moment = datetime.fromtimestamp(day_ms / 1000, UTC)
        place = ""
        if target.partitioned:
            account = self._account_of(source.owner)
            place = f"{account}/{source.region}/{source.name}/{moment:%Y/%m/%d}/"
        return f"{target.prefix}{place}{moment:%Y-%m-%d-%H-%M-%S}-{unique}"


_DAY_MS: Final = 24 * 3600 * 1000


async def _whole(body: bytes) -> AsyncIterator[bytes | bytearray]:
    yield body
