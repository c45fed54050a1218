"""The two byte pipelines: a body on its way in, and a body on its way out.

In:  chunks → batches of `BATCH_BYTES` → worker thread: decode → digest → seal → blob.
Out: worker thread: read a run of segments → open → chunks.

One pass over the bytes, memory bounded by a few batches a request. A batch is
worked on while the next one arrives. Small bodies stay on the event loop: a hop
to a thread costs more than sealing them.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.crypto import digests, geometry, layers
from strongroom.service import lanes, streams
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Coroutine,
        Generator,
        Mapping,
        Sequence,
    )
    from concurrent import futures

    from strongroom.crypto import envelope, segments
    from strongroom.store import blobs as ports
    from strongroom.store import catalog

BATCH_BYTES = 256 * 1024
"""What is gathered before a thread is woken; larger batches measured no faster."""

INLINE_BYTES = 16 * 1024
"""Bodies up to this many plaintext bytes lie in the catalog, not in a file of their own."""

RUN_SEGMENTS = 8
"""Segments that are read and opened at once on the way out: 512 KiB."""

WHOLE_SEGMENTS = 20
"""Segments up to which all that is wanted of a part comes in one piece: a mebibyte and some."""

SCATTERED_BYTES = 64 * 1024
"""Chunks that are smaller on average are joined before anything else happens to them."""

_Answer = TypeVar("_Answer")


class Decoder(Protocol):
    """Takes the framing off a body as it arrives; the dialect hands it in."""

    def feed(self, data: bytes | bytearray) -> Sequence[bytes | memoryview]:
        """Return the plaintext pieces in `data`.

        Raises:
            BadBody: the framing, its lengths or a signature in it is wrong.
        """
        ...

    def finish(self) -> Mapping[str, bytes]:
        """End the body; return the checksums that came behind it, algorithm → digest.

        Raises:
            BadBody: as `feed`; also if the body is not whole.
        """
        ...


@dataclass(slots=True)
class Incoming:
    """A body that is about to arrive, and what is known of it beforehand.

    Attributes:
        chunks: the bytes as sent.
        length: plaintext bytes announced.
        open_ended: `length` is only what can come at most: the decoder finds the end, and
            answers for it that the body is whole.
        decoder: takes the framing off, if there is one.
        checksum: algorithm of the checksum that the client names, or None.
        announced: checksums known beforehand, algorithm → digest.
        md5: digest of a Content-MD5 header.
        sha256: digest of the whole body that the signature covers.
    """

    chunks: AsyncIterator[bytes | bytearray]
    length: int
    decoder: Decoder | None = None
    open_ended: bool = False
    checksum: str | None = None
    announced: Mapping[str, bytes] = field(default_factory=dict)
    md5: bytes | None = None
    sha256: bytes | None = None


@dataclass(slots=True)
class Received:
    """A body that has arrived whole, was checked, and lies sealed in a blob.

    Attributes:
        blob: the sealed bytes, as the catalog will refer to them.
        part: row for the body record, checksums included.
        md5: MD5 of the plaintext, if it was asked for.
    """

    blob: records.NewBlob
    part: bodies.BodyPart
    md5: bytes | None
    kept: bool = False

    async def commit(self, write: Coroutine[Any, Any, None]) -> None:
        """Run the transaction that makes the catalog refer to the blob; then the blob stays.

        A caller that is cancelled waits for the transaction all the same: nobody
        may remove a blob that is being committed.

        Where it is not known whether it was committed, the blob stays, too; it is
        swept as a stray once its lease is free, if it was not.

        Raises:
            StoreFailed: it is not known.
            StrongroomError: nothing was committed; whatever called the transaction off.
        """
        transaction = asyncio.ensure_future(write)
        try:
            await _to_the_end(transaction)
        finally:
            self.kept = not _was_called_off(transaction)


class _InlineWriter:
    """A blob writer for bodies that go into the catalog."""

    def __init__(self, blob_id: bytes) -> None:
        self.blob_id = blob_id
        self.pieces: list[bytearray] = []

    def room(self, size: int) -> memoryview:
        piece = bytearray(size)
        self.pieces.append(piece)
        return memoryview(piece)

    def finish(self) -> str:
        return ""

    def discard(self) -> None:
        self.pieces.clear()


class _Intake:
    """Everything that happens to the bytes of one body; runs on one thread at a time."""

    def __init__(
        self,
        incoming: Incoming,
        sealer: segments.Sealer | layers.DualSealer,
        writer: Callable[[], ports.BlobWriter],
        running: digests.Running,
    ) -> None:
        self._incoming = incoming
        self._sealer = sealer
        self._make_writer = writer
        self._running = running
        self._left = incoming.length
        self.writer: ports.BlobWriter | None = None

    def feed(self, batch: list[bytes | bytearray]) -> None:
        """Take in some bytes as sent."""
        decoder = self._incoming.decoder
        if self.writer is None:
            self.writer = self._make_writer()
        room = self.writer.room
        if len(batch) > 1 and sum(map(len, batch)) < SCATTERED_BYTES * len(batch):
            # Small chunks would be copied all the same, to fill a segment, and each would
            # cost its own call of the decoder, of every digest and of the sealer.
            batch = [b"".join(batch)]
        for chunk in batch:
            for piece in (chunk,) if decoder is None else decoder.feed(chunk):
                self._left -= len(piece)
                if self._left < 0:
                    raise errors.BodyTooLong
                self._running.update(piece)
                self._sealer.feed(piece, room)

    def finish(self, batch: list[bytes | bytearray]) -> tuple[int, str, dict[str, bytes]]:
        """Take in the rest and check the whole; return (ciphertext bytes, place, checksums)."""
        self.feed(batch)
        trailing: Mapping[str, bytes] = {}
        if self._incoming.decoder is not None:
            trailing = self._incoming.decoder.finish()
        if self._left and not self._incoming.open_ended:
            raise errors.BodyTooShort
        computed = self._running.digests()
        self._check(computed, trailing)
        assert self.writer is not None, "feed makes the writer"
        sealed_bytes = self._sealer.finish(self.writer.room)
        return sealed_bytes, self.writer.finish(), computed

    def _check(self, computed: Mapping[str, bytes], trailing: Mapping[str, bytes]) -> None:
        incoming = self._incoming
        if incoming.sha256 is not None:
            _compare("X-SHA256", incoming.sha256, self._running.sha256())
        if incoming.md5 is not None:
            _compare("MD5", incoming.md5, self._running.md5())
        for algorithm, digest in (*incoming.announced.items(), *trailing.items()):
            _compare(algorithm, digest, computed[algorithm])

    @property
    def plain_bytes(self) -> int:
        """How many bytes of the body have been taken in."""
        return self._incoming.length - self._left

    def discard(self) -> None:
        """Remove what was written."""
        if self.writer is not None:
            self.writer.discard()


def _compare(algorithm: str, announced: bytes, computed: bytes) -> None:
    if not hmac.compare_digest(announced, computed):
        raise errors.DigestMismatch(algorithm, announced, computed)


class Pins:
    """Blobs that are being read: the collector leaves them alone."""

    def __init__(self) -> None:
        self._held: collections.Counter[bytes] = collections.Counter()

    def __len__(self) -> int:
        """How many blobs are pinned."""
        return len(self._held)

    def __contains__(self, blob_id: bytes) -> bool:
        return self._held[blob_id] > 0

    def hold(self, blob_ids: Sequence[bytes]) -> None:
        """Pin blobs; may be done many times over."""
        self._held.update(blob_ids)

    def release(self, blob_ids: Sequence[bytes]) -> None:
        """Undo one `hold`."""
        self._held.subtract(blob_ids)
        for blob_id in blob_ids:
            if self._held[blob_id] <= 0:
                del self._held[blob_id]


class Transfer:
    """Carries bodies between clients and blobs, sealing and opening them on the way."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        blobs: ports.Blobs,
        *,
        threads: futures.Executor,
        random_bytes: Callable[[int], bytes],
        pins: Pins,
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._threads = threads
        self._random_bytes = random_bytes
        self._pins = pins

    def on_thread(self, work: Callable[..., _Answer], *arguments: Any) -> asyncio.Future[_Answer]:
        """Run work on one of the threads that hash, seal, read and write."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    @contextlib.asynccontextmanager
    async def receive(
        self,
        incoming: Incoming,
        data_key: envelope.DataKey,
        part_number: int,
        *,
        checksums: Sequence[str],
        md5: bool,
        outer_key: envelope.DataKey | None = None,
    ) -> AsyncIterator[Received]:
        """Take a body in, check it, and leave it in a durable blob that nothing refers to yet.

        Leaving the context without `Received.commit` removes the blob again.

        Args:
            incoming: the body.
            data_key: what it is sealed under.
            part_number: 1 to 10,000; 1 for a body in one piece.
            checksums: algorithms to compute, besides those that `incoming` announces.
            md5: whether `Received.md5` is wanted.
            outer_key: what it is sealed under once more; None for one layer.

        Raises:
            BadBody: it is not the body that was announced.
            StoreFull, StoreFailed: it could not be kept.
        """
        blob_id = self._random_bytes(records.BLOB_ID_BYTES)
        ciphertext = digests.ciphertext_crc()
        sealer = layers.make_sealer(
            data_key,
            outer_key,
            blob_id,
            part_number,
            random_bytes=self._random_bytes,
            observe=ciphertext.update,
        )
        named = [incoming.checksum] if incoming.checksum else []
        running = digests.Running(
            {*checksums, *named, *incoming.announced},
            md5=md5 or incoming.md5 is not None,
            sha256=incoming.sha256 is not None,
        )
        sealed_bytes = layers.sealed_size(incoming.length, 1 if outer_key is None else 2)
        small = incoming.length <= INLINE_BYTES
        inline = _InlineWriter(blob_id)
        intake = _Intake(
            incoming,
            sealer,
            (lambda: inline) if small else (lambda: self._blobs.create(blob_id, sealed_bytes)),
            running,
        )
        received: Received | None = None
        try:
            size, place, computed = await self._drain(incoming.chunks, intake, small=small)
            if place:
                await self._blobs.settle(place)
            received = Received(
                blob=records.NewBlob(blob_id, size, place, b"".join(inline.pieces)),
                part=bodies.BodyPart(
                    number=part_number,
                    blob_id=blob_id,
                    plain_bytes=intake.plain_bytes,
                    digest=ciphertext.digest(),
                    checksums=computed,
                ),
                md5=running.md5() if md5 else None,
            )
            yield received
        finally:
            if received is None or not received.kept:
                if small:
                    intake.discard()
                else:
                    # Unlinking gigabytes takes its time, and must not take everybody's.
                    await _to_the_end(self.on_thread(intake.discard))

    async def _drain(
        self, chunks: AsyncIterator[bytes | bytearray], intake: _Intake, *, small: bool
    ) -> tuple[int, str, dict[str, bytes]]:
        """Feed all chunks to `intake`, a batch at a time, and finish it."""
        batch: list[bytes | bytearray] = []
        gathered = 0
        if small:
            async for chunk in chunks:
                batch.append(chunk)
                gathered += len(chunk)
                if gathered >= BATCH_BYTES:
                    # More than was announced, unless it is all framing.
                    intake.feed(batch)
                    batch, gathered = [], 0
            return intake.finish(batch)
        lane = lanes.Lane(self._threads)
        try:
            async for chunk in chunks:
                batch.append(chunk)
                gathered += len(chunk)
                if gathered >= BATCH_BYTES:
                    await lane.put(functools.partial(intake.feed, batch), gathered)
                    batch, gathered = [], 0
            return await lane.finish(functools.partial(intake.finish, batch))
        finally:
            # The thread must let go of the writer before the writer is discarded.
            await lane.stop()

    async def send(
        self,
        refs: Mapping[bytes, records.BlobRef],
        inline: Mapping[bytes, bytes],
        body: bodies.SealedBody,
        keys: Sequence[envelope.DataKey],
        start: int,
        end: int,
    ) -> AsyncGenerator[bytes | bytearray]:
        """Yield plaintext bytes [start, end) of a body.

        Args:
            refs: where the body's blobs lie, by blob id; pinned by the caller.
            inline: the bytes of those that lie in the catalog.
            body: its record.
            keys: the data key of each layer, from the inside.
            start: first byte wanted.
            end: one past the last.

        Raises:
            NotAuthentic: a blob is not what was written.
            BlobMissing: a blob is gone.
        """
        if body.layers != len(keys):
            raise errors.NotAuthentic("the body record has other layers than the envelope has keys")
        sizes = [part.plain_bytes for part in body.parts]
        if start == end:
            # An empty body has one segment, which is verified all the same.
            found = [geometry.Slice(0, 0, 0)] if not sum(sizes) else []
        else:
            found = geometry.locate(sizes, start, end)
        opened = _opened(self._blobs, refs, inline, body, keys, found)
        if len(found) == 1 and _is_inline(refs, body.parts[found[0].index]):
            # A hop to a thread costs more than opening it here.
            for piece in opened:
                yield piece
            return
        ahead = lanes.Ahead(self._threads, opened)
        try:
            async for piece in ahead:
                yield piece
        finally:
            await ahead.stop()
            opened.close()


def _is_inline(refs: Mapping[bytes, records.BlobRef], part: bodies.ClearPart) -> bool:
    ref = refs.get(part.blob_id)
    return ref is None or not ref.place


def open_inline(
    sealed: bytes,
    body: bodies.SealedBody,
    index: int,
    keys: Sequence[envelope.DataKey],
    start: int,
    end: int,
) -> bytes:
    """Return plaintext bytes [start, end) of a part whose blob lies in the catalog.

    Raises:
        NotAuthentic: it is not what was written.
    """
    part = body.parts[index]
    if body.layers != len(keys):
        raise errors.NotAuthentic("the body record has other layers than the envelope has keys")
    if len(sealed) != layers.sealed_size(part.plain_bytes, body.layers, body.segment_bytes):
        raise errors.NotAuthentic("an inline blob has another length than was written")
    opened = layers.open_all(keys, part.blob_id, part.number, sealed, body.segment_bytes)
    return bytes(opened if end - start == len(opened) else memoryview(opened)[start:end])


def _opened(
    blobs: ports.Blobs,
    refs: Mapping[bytes, records.BlobRef],
    inline: Mapping[bytes, bytes],
    body: bodies.SealedBody,
    keys: Sequence[envelope.DataKey],
    found: Sequence[geometry.Slice],
) -> Generator[bytes | bytearray]:
    """Read and open what was found, piece by piece; blocking, raises as `Transfer.send`."""
    spares = streams.Spares()
    for wanted in found:
        part = body.parts[wanted.index]
        ref = refs.get(part.blob_id)
        sealed_bytes = layers.sealed_size(part.plain_bytes, body.layers, body.segment_bytes)
        if ref is None or ref.size != sealed_bytes:
            raise errors.NotAuthentic("the body record and the catalog differ about a blob")
        if not ref.place:
            sealed = inline[ref.blob_id]
            yield open_inline(sealed, body, wanted.index, keys, wanted.start, wanted.end)
            continue
        layer = streams.open_part(blobs, ref, part, body.segment_bytes, keys, spares)
        try:
            yield from _runs(layer, part.plain_bytes, body.segment_bytes, wanted)
        finally:
            layer.close()


def _runs(
    layer: streams.Layer, plain_bytes: int, segment_bytes: int, wanted: geometry.Slice
) -> Generator[bytes | bytearray]:
    """Read and open a part that lies in a file, by runs of segments."""
    plan = geometry.plan(wanted.start, wanted.end, plain_bytes, segment_bytes)
    first, trim = plan.first_segment, plan.trim_head
    left = wanted.end - wanted.start
    step = RUN_SEGMENTS
    if plan.last_segment - first < WHOLE_SEGMENTS:
        step = WHOLE_SEGMENTS
    while first <= plan.last_segment:
        piece = layer.open_from(first, min(first + step - 1, plan.last_segment))
        first += step
        if trim or len(piece) > left + trim:
            piece = _cut(piece, trim, trim + left)
        trim = 0
        left -= len(piece)
        yield piece


def _cut(piece: bytes | bytearray, start: int, end: int) -> bytes | bytearray:
    """Return bytes [start, end) of a piece that is nobody else's."""
    if isinstance(piece, bytes):
        return piece[start:end]
    # Both ends of a bytearray come off without moving what lies between them.
    del piece[end:]
    del piece[:start]
    return piece


async def _to_the_end(work: asyncio.Future[_Answer]) -> _Answer:
    """Await work that must not be left alone.

    A caller that is cancelled, however often, is so only after the work is done.
    """
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return work.result()
    if not work.cancelled():
        work.exception()  # looked at, or asyncio complains that nobody did
    raise cancelled


def _was_called_off(transaction: asyncio.Future[None]) -> bool:
    """Whether a transaction certainly changed nothing.

    `StoreFailed` does not say so, a mistake of ours does not, and a loop that
    shuts down cancels the task while the catalog's thread may go on to commit.
    """
    if not transaction.done() or transaction.cancelled():
        return False
    error = transaction.exception()
    return isinstance(error, errors.StrongroomError) and not isinstance(error, errors.StoreFailed)
