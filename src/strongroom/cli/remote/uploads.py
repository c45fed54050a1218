"""Files and streams into a store: one request if small, else parts side by side.

Every request carries a CRC-64/NVME of its bytes, which the store checks; a multipart
object's checksum is that of the whole, and it is compared with our own at the end.
A file that changes while it is read is not stored.
"""

from __future__ import annotations

import base64
import mimetypes
import os
import stat
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from strongroom.cli import failures
from strongroom.cli.remote import places, troubles
from strongroom.crypto import digests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from strongroom.cli.remote import lanes, progress

MIB = 1024 * 1024
PART_BYTES = 16 * MIB
MIN_PART_BYTES = 5 * MIB
MAX_PARTS = 10_000
MAX_OBJECT_BYTES = 5 * 1024**4
"""Source of the last three: Amazon S3 User Guide, "Multipart upload limits"."""
_GROW_EVERY = 1000
"""Parts of a stream of unknown length double after so many: 10,000 of them hold any object."""
_CHECKSUM = "CRC64NVME"


@dataclass(frozen=True, slots=True)
class Writing:
    """What is said with every object that is written.

    Attributes:
        customer: members that carry the customer key, for every request with data.
        members: further members of PutObject and CreateMultipartUpload.
        content_type: for all; None guesses it from the file's name.
        keep: leave what is there already.
    """

    customer: Mapping[str, Any] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)
    content_type: str | None = None
    keep: bool = False

    def condition(self) -> dict[str, str]:
        """Return the members that make writing conditional."""
        return {"IfNoneMatch": "*"} if self.keep else {}


@dataclass(frozen=True, slots=True)
class Written:
    """What the store said of a new object. `etag` is without quotes."""

    size: int
    etag: str
    version_id: str | None


class Uploads:
    """Uploads by one client."""

    def __init__(
        self,
        client: Any,
        lanes: lanes.Lanes,
        reporter: progress.Reporter,
        *,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._client = client
        self._lanes = lanes
        self._reporter = reporter
        self._part_bytes = part_bytes

    def file(self, path: Path, target: places.Remote, writing: Writing) -> Written:
        """Store a file; one that is no ordinary file is read as a stream.

        Raises:
            Failed: it cannot be read, changed meanwhile, or the store refuses it.
        """
        try:
            with path.open("rb") as source:
                before = os.fstat(source.fileno())
                if not stat.S_ISREG(before.st_mode):
                    return self.stream(source, target, writing)
                if before.st_size > MAX_OBJECT_BYTES:
                    raise failures.Failed(f"{path} has more bytes than an object may have.")
                members = members_of(path.name, writing)
                if before.st_size <= self._part_bytes:
                    written = self._whole(
                        source.read(self._part_bytes + 1), target, writing, members
                    )
                else:
                    written = self._in_parts(
                        _slices(source.fileno(), before.st_size, self._part_bytes),
                        target,
                        writing,
                        members,
                        check=lambda: _check_unchanged(source, before, path),
                    )
                if written.size != before.st_size:
                    raise failures.Failed(f"{path} changed while it was read; copy it again.")
                return written
        except OSError as error:
            raise failures.Failed(
                f"{places.shown(str(path))} cannot be read ({error.strerror})."
            ) from None

    def stream(self, source: IO[bytes], target: places.Remote, writing: Writing) -> Written:
        """Store what a stream gives until it ends.

        Raises:
            Failed: the store refuses it.
            OSError: the stream cannot be read.
        """
        members = members_of("", writing)
        first = _exactly(source, self._part_bytes)
        if len(first) < self._part_bytes:
            self._reporter.grow(len(first))
            return self._whole(first, target, writing, members)
        pieces = _chunks(first, source, self._part_bytes, self._reporter.grow)
        return self._in_parts(pieces, target, writing, members, check=lambda: None)

    def _whole(
        self, body: bytes, target: places.Remote, writing: Writing, members: Mapping[str, Any]
    ) -> Written:
        self._lanes.check()
        with troubles.told(target):
            reply = self._client.put_object(
                Bucket=target.bucket,
                Key=target.key,
                Body=body,
                ChecksumAlgorithm=_CHECKSUM,
                **members,
                **writing.customer,
                **writing.condition(),
            )
        self._reporter.advance(len(body))
        return _written(len(body), reply)

    def _in_parts(
        self,
        pieces: Iterator[_Piece],
        target: places.Remote,
        writing: Writing,
        members: Mapping[str, Any],
        *,
        check: Callable[[], None],
    ) -> Written:
        place = {"Bucket": target.bucket, "Key": target.key}
        with troubles.told(target):
            upload_id = self._client.create_multipart_upload(
                **place,
                ChecksumAlgorithm=_CHECKSUM,
                ChecksumType="FULL_OBJECT",
                **members,
                **writing.customer,
            )["UploadId"]
        place["UploadId"] = upload_id
        try:
            parts = self._lanes.parts(
                lambda piece: self._part(piece, place, target, writing.customer), pieces
            )
            check()
            size = sum(part.size for part in parts)
            whole = digests.combine(_CHECKSUM, [(part.crc, part.size) for part in parts])
            with troubles.told(target):
                reply = self._client.complete_multipart_upload(
                    **place,
                    MultipartUpload={"Parts": [part.named for part in parts]},
                    ChecksumType="FULL_OBJECT",
                    ChecksumCRC64NVME=base64.b64encode(whole).decode(),
                    MpuObjectSize=size,
                    **writing.condition(),
                )
        except BaseException:
            # Else its parts would lie in the store, unseen, until somebody looks for them.
            with troubles.quietly():
                self._client.abort_multipart_upload(**place)
            raise
        return _written(size, reply)

    def _part(
        self,
        piece: _Piece,
        place: Mapping[str, str],
        target: places.Remote,
        customer: Mapping[str, Any],
    ) -> _Part:
        body = piece.read()
        crc = digests.start(_CHECKSUM)
        crc.update(body)
        with troubles.told(target):
            reply = self._client.upload_part(
                **place,
                PartNumber=piece.number,
                Body=body,
                ChecksumCRC64NVME=base64.b64encode(crc.digest()).decode(),
                **customer,
            )
        self._reporter.advance(len(body))
        named = {
            "PartNumber": piece.number,
            "ETag": reply["ETag"],
            "ChecksumCRC64NVME": base64.b64encode(crc.digest()).decode(),
        }
        return _Part(len(body), crc.digest(), named)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part to be: `read` gives its bytes, on the thread that sends them."""

    number: int
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part that is there."""

    size: int
    crc: bytes
    named: dict[str, Any]


def members_of(name: str, writing: Writing) -> dict[str, Any]:
    """Return what is said of a new object; a file's name may tell its type."""
    kind = writing.content_type or mimetypes.guess_type(name)[0]
    return {**writing.members, **({"ContentType": kind} if kind else {})}


def part_bytes_for(size: int, wanted: int) -> int:
    """Return the bytes of a part for an object of `size`: `wanted`, or so many that parts suffice."""
    needed = -(-size // MAX_PARTS)
    return max(wanted, MIN_PART_BYTES, -(-needed // MIB) * MIB)


def _slices(descriptor: int, size: int, wanted: int) -> Iterator[_Piece]:
    step = part_bytes_for(size, wanted)

    def reader(start: int, count: int) -> Callable[[], bytes]:
        return lambda: _read_at(descriptor, start, count)

    for number, start in enumerate(range(0, size, step), 1):
        yield _Piece(number, reader(start, min(step, size - start)))


def _read_at(descriptor: int, start: int, count: int) -> bytes:
    pieces = []
    while count:
        piece = os.pread(descriptor, count, start)
        if not piece:
            raise failures.Failed("The file became shorter while it was read; copy it again.")
        pieces.append(piece)
        start += len(piece)
        count -= len(piece)
    return b"".join(pieces)


def _chunks(
    first: bytes, source: IO[bytes], step: int, grow: Callable[[int], None]
) -> Iterator[_Piece]:
    body, number = first, 0
    while body:
        number += 1
        if number > MAX_PARTS:
            raise failures.Failed("The stream has more bytes than an object may have.")
        grow(len(body))
        yield _Piece(number, lambda body=body: body)  # type: ignore[misc]  # binds this round's body
        body = _exactly(source, step << (number // _GROW_EVERY))


def _exactly(source: IO[bytes], count: int) -> bytes:
    """Read `count` bytes, fewer only at the end; a pipe gives what it has."""
    pieces = []
    while count:
        piece = source.read(count)
        if not piece:
            break
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _check_unchanged(source: IO[bytes], before: os.stat_result, path: Path) -> None:
    after = os.fstat(source.fileno())
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise failures.Failed(f"{path} changed while it was read; copy it again.")


def _written(size: int, reply: Mapping[str, Any]) -> Written:
    return Written(size, reply["ETag"].strip('"'), reply.get("VersionId"))
