"""Uploads in parts: parallel, bounded in memory, and continued after a kill.

The caller's thread reads the source and, where the format wants an order, seals. Workers do
the rest. At any moment `threads` parts are on their way, and the next two are read.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from strongroom import errors
from strongroom.client import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strongroom.client import checkpoints
    from strongroom.crypto import segments

MIB = 1024 * 1024
MOST_PARTS = 10_000
LEAST_PART_BYTES = 5 * MIB
"""S3 takes shorter parts only at the end."""

MOST_BYTES_IN_FLIGHT = 48 * MIB
"""Plaintext that workers may hold: with its ciphertext, about 100 MiB."""


class Readable(Protocol):
    """A binary stream, as far as it is read here."""

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes; none only at the end."""
        ...


@dataclass(slots=True)
class Target:
    """Where an upload goes.

    Attributes:
        client: a boto3 client of S3.
        bucket: its name.
        key: the object's.
        create: further arguments of CreateMultipartUpload.
        each: further arguments of UploadPart, such as a customer key.
        complete: further arguments of CompleteMultipartUpload, such as conditions.
    """

    client: Any
    bucket: str
    key: str
    create: dict[str, Any] = field(default_factory=dict)
    each: dict[str, Any] = field(default_factory=dict)
    complete: dict[str, Any] = field(default_factory=dict)

    def named(self) -> dict[str, Any]:
        """Return the arguments that name the object."""
        return {"Bucket": self.bucket, "Key": self.key}


@dataclass(slots=True)
class Opened:
    """A multipart upload that is under way.

    Attributes:
        upload_id: the server's name for it.
        sealing: what seals its parts.
        sent: stored size and ETag of parts that the server has.
    """

    upload_id: str
    sealing: writing.Sealing
    sent: dict[int, tuple[int, str]] = field(default_factory=dict)


def begin(target: Target, sealing: writing.Sealing, metadata: dict[str, str]) -> Opened:
    """Create a multipart upload whose metadata hold the envelope."""
    answer = target.client.create_multipart_upload(
        **target.named(), **target.create, Metadata={**metadata, **sealing.envelope}
    )
    return Opened(answer["UploadId"], sealing)


def parts_there(target: Target, upload_id: str) -> dict[int, tuple[int, str]] | None:
    """Return size and ETag of the parts that the server has, or None if the upload is gone."""
    there: dict[int, tuple[int, str]] = {}
    pages = target.client.get_paginator("list_parts").paginate(**target.named(), UploadId=upload_id)
    try:
        for page in pages:
            for part in page.get("Parts", ()):
                there[part["PartNumber"]] = (part["Size"], part["ETag"])
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchUpload", "404"}:
            return None
        raise
    return there


def run(
    target: Target,
    opened: Opened,
    source: Callable[[int], bytes],
    *,
    threads: int,
    tell: Callable[[int], object] | None,
    journal: checkpoints.Journal | None,
    size: int | None = None,
    unchanged: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Send every part and complete the upload; return S3's answer.

    Args:
        target: where to.
        opened: the upload.
        source: reads up to n bytes of plaintext; fewer only at the end.
        threads: how many parts are sent at a time.
        tell: called with the plaintext bytes of each part that is there.
        journal: gets the digest of every part before it is sent.
        size: plaintext bytes in all, if known.
        unchanged: asked at the end whether the source is still what it was.

    Raises:
        SourceChanged: it is not, or the source has another length than `size`, or a part differs from
            what an earlier process sealed.
        ObjectTooLarge: it takes more than 10,000 parts.
    """
    sealing = opened.sealing
    held = max(1, min(threads, MOST_BYTES_IN_FLIGHT // sealing.part_plain))
    sender = _Sender(target, opened, held, tell, journal)
    total = 0
    with concurrent.futures.ThreadPoolExecutor(held, "strongroom-upload") as pool:
        waiting = []
        try:
            for number, plain, last in _parts(source, sealing.part_plain):
                total += len(plain)
                _check_end(total, size, last=last)
                sender.room.acquire()
                sealed = _sealed_here(sealing, number, plain, last=last)
                waiting.append(pool.submit(sender.send, number, [sealed, plain], last=last))
                del plain, sealed
                waiting = [future for future in waiting if not _done(future)]
        except BaseException:
            sender.failed.set()
            raise
        for future in waiting:
            future.result()
    if unchanged is not None and not unchanged():
        raise errors.SourceChanged("the source was written to while it was read")
    return _complete(target, opened.upload_id, sender.etags)


def abort(target: Target, upload_id: str) -> None:
    """Give up an upload; what the server then says of it is not the failure to report."""
    with contextlib.suppress(ClientError):
        target.client.abort_multipart_upload(**target.named(), UploadId=upload_id)


def part_bytes_for(size: int | None, wanted: int) -> int:
    """Return a part size under which `size` bytes fit into 10,000 parts, in whole MiB."""
    if size is None or size <= wanted * (MOST_PARTS - 1):
        return wanted
    return -(-size // (MOST_PARTS - 1) // MIB + 1) * MIB


def reader(source: Readable) -> Callable[[int], bytes]:
    """Return what reads exactly n bytes of a stream that may give fewer before its end."""

    def read(count: int) -> bytes:
        found = source.read(count)
        if not isinstance(found, bytes):
            raise TypeError("the source gives text; open it in binary mode")
        if len(found) == count or not found:
            return found
        pieces = [found]
        left = count - len(found)
        while left and (piece := source.read(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    return read


def size_of(source: IO[bytes]) -> int | None:
    """Return how many bytes are left in a stream, if it can say that."""
    try:
        at = source.tell()
        end = source.seek(0, os.SEEK_END)
        source.seek(at)
    except (AttributeError, OSError):
        return None
    return end - at


class _Sender:
    """What the workers of one upload share.

    Attributes:
        room: taken for each part before it is handed over, given back when it is there.
        failed: set when any part fails, so that the others end soon.
        etags: of the parts that are there.
    """

    def __init__(
        self,
        target: Target,
        opened: Opened,
        held: int,
        tell: Callable[[int], object] | None,
        journal: checkpoints.Journal | None,
    ) -> None:
        self.room = threading.BoundedSemaphore(held)
        self.failed = threading.Event()
        self.etags: dict[int, str] = {}
        self._target = target
        self._opened = opened
        self._tell = tell
        self._journal = journal
        # Sealing has a part in memory up to three times, sending it once. To send takes long.
        self._turn = threading.Lock()

    def send(self, number: int, cargo: list[Any], *, last: bool) -> None:
        """Seal a part if it is not yet, and send it unless the server has it.

        Args:
            number: of the part.
            cargo: sealed bytes or None, and plaintext; taken out, so that nobody holds on
                to what is not needed any more.
            last: whether the object ends with it.
        """
        try:
            if self.failed.is_set():
                return
            plain, sealed = cargo.pop(), cargo.pop()
            size = len(plain)
            with self._turn:
                if sealed is None:
                    sealed = self._opened.sealing.seal_part(number, plain, last=last)
                del plain
                # botocore takes twice the time for any other type.
                body = sealed if isinstance(sealed, bytes) else bytes(sealed)
                del sealed
            there = self._opened.sent.get(number)
            if there is not None and there[0] == len(body):
                self.etags[number] = there[1]
            else:
                self.etags[number] = _send(self._target, self._opened, number, body, self._journal)
        except BaseException:
            self.failed.set()
            raise
        finally:
            self.room.release()
        if self._tell is not None:
            self._tell(size)


def _sealed_here(
    sealing: writing.Sealing, number: int, plain: bytes, *, last: bool
) -> segments.Data | None:
    """Seal what has to be sealed in order, by the one thread that reads in order."""
    return sealing.seal_part(number, plain, last=last) if sealing.ordered else None


def _parts(source: Callable[[int], bytes], size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, plaintext and whether it is the last: one byte more tells."""
    plain = source(size)
    number = 1
    while True:
        following = source(size) if len(plain) == size else b""
        if number > MOST_PARTS:
            raise errors.ObjectTooLarge(number * size, MOST_PARTS * size)
        given, plain = plain, following
        last = not following
        del following
        yield number, given, last
        if last:
            return
        number += 1


def _check_end(total: int, size: int | None, *, last: bool) -> None:
    if size is not None and (total > size or (last and total != size)):
        raise errors.SourceChanged("the source has another length than when this began")


def _send(
    target: Target,
    opened: Opened,
    number: int,
    body: bytes,
    journal: checkpoints.Journal | None,
) -> str:
    if journal is not None and not opened.sealing.repeats:
        journal.add(part=number, blake2b=writing.digest(body).hex())
    answer = target.client.upload_part(
        **target.named(),
        **target.each,
        UploadId=opened.upload_id,
        PartNumber=number,
        Body=body,
    )
    etag: str = answer["ETag"]
    return etag


def _complete(target: Target, upload_id: str, etags: dict[int, str]) -> dict[str, Any]:
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(etags.items())]
    answer: dict[str, Any] = target.client.complete_multipart_upload(
        **target.named(),
        **target.complete,
        UploadId=upload_id,
        MultipartUpload={"Parts": parts},
    )
    return answer


def _done(future: concurrent.futures.Future[None]) -> bool:
    """Whether a part is there; what it failed with is raised here."""
    if not future.done():
        return False
    future.result()
    return True
