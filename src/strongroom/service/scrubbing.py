"""Finding rot without any customer's key: does all that is stored still look as it was written?

For each version: do row, envelope, body record and blobs belong together, and has each
blob, in a file or in the catalog, the ciphertext digest that its body record tells? With
the store's own keys also: are the marks, and the heads of what the server can open, theirs?
The same for the parts of open uploads.

What this proves. The digest is a CRC-64: it finds every burst of up to 64 damaged bits and
misses other rot once in 2**64 cases, but who can write the disk can make another blob
with the same CRC. That is found by opening, which needs the key (`verifying`, or any GET):
there AES-GCM judges.

Blocking, for a thread or a process of its own. It only reads, and may run beside a server:
what is deleted meanwhile is no damage.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.crypto import digests, layers, replica
from strongroom.crypto import envelope as envelopes
from strongroom.keyring import sources
from strongroom.service import encryption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strongroom.store import inventory as inventories
    from strongroom.store import records


class Shelves(Protocol):
    """Where blob files lie, read from end to end."""

    def chunks(self, place: str) -> Iterator[memoryview]:
        """Yield all bytes of a file.

        Raises:
            BlobMissing: there is none.
            StoreFailed: it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was written.

    Attributes:
        detail: what is wrong, a sentence without a full stop.
        place: what it belongs to; None if it is the catalog itself.
        part: number of the part, 0 if it is not about one.
        file: place of the blob's file, empty if it has none.
    """

    detail: str
    place: inventories.Place | None = None
    part: int = 0
    file: str = ""


@dataclass(slots=True)
class Tally:
    """How much was looked at. `blob_bytes`: ciphertext, inline too; a shared body once."""

    versions: int = 0
    uploads: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    damages: int = 0


def _silent(_blob_bytes: int) -> None:
    return


def nothing(_ref: records.BlobRef) -> bool:
    """Pass over no blob."""
    return False


@dataclass(slots=True)
class Scrubber:
    """Scrubs a store, or one that was copied.

    Attributes:
        inventory: what should be there.
        shelves: where the files lie.
        store_keys: the store's own keys; without them marks and heads are not judged.
        advance: is told of each blob's bytes when they have been looked at.
        tally: what was looked at so far.
        passes_over: whether a blob is not to be read.
    """

    inventory: inventories.Inventory
    shelves: Shelves
    store_keys: sources.StoreKeys | None = None
    advance: Callable[[int], None] = _silent
    tally: Tally = field(default_factory=Tally)
    passes_over: Callable[[records.BlobRef], bool] = nothing
    _shared: dict[int, tuple[Damage, ...]] = field(default_factory=dict)
    """What was found in the bodies that several versions share, by body id: they are read once."""

    def run(self) -> Iterator[Damage]:
        """Yield all damage.

        Where the catalog itself cannot be read any further, that is the last damage.
        """
        for damage in self._all():
            self.tally.damages += 1
            yield damage

    def _all(self) -> Iterator[Damage]:
        for walk in (self._contradictions, self._versions, self._uploads):
            try:
                yield from walk()
            except errors.StoreFailed as error:
                yield Damage(f"the catalog cannot be read from here on: {error}")

    def _contradictions(self) -> Iterator[Damage]:
        for sentence in self.inventory.contradictions():
            yield Damage(sentence)

    # Versions

    def _versions(self) -> Iterator[Damage]:
        for entry in self.inventory.entries():
            self.tally.versions += 1
            yield from self._version(entry)

    def _version(self, entry: inventories.Entry) -> Iterator[Damage]:
        for trouble in self._rows(entry):
            yield Damage(trouble, entry.place)
        if entry.record is None:
            return
        if entry.refs > 1 and entry.body_id in self._shared:
            found = self._shared[entry.body_id]
        else:
            found = tuple(self._body(entry, entry.record))
            if entry.refs > 1:
                self._shared[entry.body_id] = found
        for damage in found:
            yield Damage(damage.detail, entry.place, damage.part, damage.file)

    def _rows(self, entry: inventories.Entry) -> Iterator[str]:
        """Judge what stands in the tables about a version, one thing after the other."""
        if entry.version is None:
            yield "its row has values that are never written"
        if entry.record is None:
            yield "its body record is missing"
        if entry.envelope is None:
            yield "its envelope is missing"
            return
        if entry.digest and hashlib.sha256(entry.envelope).digest() != entry.digest:
            yield "its envelope is not the one that was written"
        try:
            envelope = envelopes.Envelope.parse(entry.envelope)
        except errors.NotAuthentic as error:
            yield f"its envelope cannot be read: {error}"
            return
        if entry.version is not None:
            yield from _differences(entry.version, envelope, entry.marks or b"")
            yield from self._marks(entry.version, entry.marks)
        yield from self._sealed(envelope, entry.record)

    def _sealed(self, envelope: envelopes.Envelope, record: bytes | None) -> Iterator[str]:
        if record is not None:
            try:
                envelope.check_body(record)
            except errors.NotAuthentic as error:
                yield str(error)
        if envelope.mode == sources.SERVER_MODE and self.store_keys is not None:
            try:
                _open_head(envelope, self.store_keys)
            except (errors.NotAuthentic, errors.WrongKey):
                yield "its envelope does not open under the store's key"

    def _marks(self, version: records.Version, stored: bytes | None) -> Iterator[str]:
        number, colon, _ = (stored or b"").partition(b":")
        if not stored or not colon or not number.isdigit():
            yield "its marks (tags) name no store key"
        elif self.store_keys is not None:
            try:
                found = self.store_keys.read_marks(version, stored)
            except errors.NotAuthentic as error:
                yield str(error)
            else:
                noted = found.notes.get(encryption.FINGERPRINT_NOTE, "")
                if noted != version.fingerprint.hex():
                    yield "its row names another customer's key than its marks"

    # Bodies

    def _body(self, entry: inventories.Entry, record: bytes) -> Iterator[Damage]:
        """Judge a body and read all its blobs; damages tell no place yet."""
        try:
            body = bodies.parse(record)
        except errors.NotAuthentic as error:
            yield Damage(f"its body record cannot be read: {error}")
            return
        if entry.version is not None and body.total_bytes != entry.version.size:
            yield Damage("its body record has another length than its row")
        refs = {ref.blob_id: ref for ref in entry.blobs}
        if [ref.blob_id for ref in entry.blobs] != [part.blob_id for part in body.parts]:
            yield Damage("its body record names other blobs than the catalog")
        for part in body.parts:
            ref = refs.get(part.blob_id)
            if ref is None:
                yield Damage("the catalog does not know where its blob lies", part=part.number)
                continue
            size = sealed_bytes(part.plain_bytes, body)
            yield from self._blob(ref, part.number, size, part.digest)

    def _blob(
        self, ref: records.BlobRef, number: int, size: int, digest: bytes
    ) -> Iterator[Damage]:
        if self.passes_over(ref):
            self.advance(size)
            return
        trouble = self._read(ref, size, digest)
        # What was deleted while it was read may look like anything.
        if trouble and self.inventory.is_named(ref.blob_id):
            yield Damage(trouble, part=number, file=ref.place)

    def _read(self, ref: records.BlobRef, size: int, digest: bytes) -> str:
        """Read a blob and say what is wrong with it, or nothing."""
        running = digests.ciphertext_crc()
        length = 0
        try:
            if ref.place:
                for chunk in self.shelves.chunks(ref.place):
                    running.update(chunk)
                    length += len(chunk)
            else:
                data = self.inventory.inline(ref.blob_id)
                running.update(data)
                length = len(data)
        except errors.BlobMissing:
            return "its bytes are missing"
        except errors.StoreFailed as error:
            return str(error)
        finally:
            self.tally.blobs += 1
            self.tally.blob_bytes += length
            self.advance(length)
        if length != size:
            return f"its bytes are {length} where {size} were written"
        if running.digest() != digest:
            return "its bytes are not those that were written"
        if ref.size != size:
            return f"the catalog says that it has {ref.size} bytes where {size} were written"
        return ""

    # Uploads

    def _uploads(self) -> Iterator[Damage]:
        for opened in self.inventory.uploads():
            self.tally.uploads += 1
            if opened.upload is None:
                yield Damage("its row has values that are never written", opened.place)
            else:
                try:
                    envelopes.UploadDraft.parse(opened.upload.sealed)
                except errors.NotAuthentic as error:
                    yield Damage(f"its draft cannot be read: {error}", opened.place)
            mode = "" if opened.upload is None else opened.upload.mode
            for part, ref in opened.parts:
                try:
                    size = layers.sealed_size(part.size, sources.layers_of(mode))
                except (TypeError, ValueError):
                    size = ref.size
                for damage in self._blob(ref, part.number, size, part.digest):
                    yield Damage(damage.detail, opened.place, damage.part, damage.file)


def sealed_bytes(plain_bytes: int, body: bodies.SealedBody) -> int:
    """Return how many bytes the blob of a part has."""
    return layers.sealed_size(plain_bytes, body.layers, body.segment_bytes)


def _differences(
    version: records.Version, envelope: envelopes.Envelope, encoded_marks: bytes
) -> Iterator[str]:
    """Yield what the row of a version says otherwise than its envelope."""
    pairs = {
        "mode": (version.mode, envelope.mode),
        "generation": (version.generation, replica.generation_at(envelope, version.bucket)),
        "bucket": (version.bucket, replica.place_of(envelope, encoded_marks)),
        "key": (version.key, envelope.origin_key),
        "ETag": (version.etag, envelope.etag),
        "size": (version.size, envelope.size),
        "time": (version.modified_ms, envelope.modified_ms),
        "version id": (version.version_id, envelope.version_id),
    }
    unequal = [name for name, (said, sealed) in pairs.items() if said != sealed]
    if unequal:
        yield f"its row and its envelope differ about its {', '.join(unequal)}"


def _open_head(envelope: envelopes.Envelope, store_keys: sources.StoreKeys) -> None:
    source = store_keys.named(envelope.key_fields)
    _, head_key = envelopes.unwrap(source.secret, envelope.wrapped, envelope.binding)
    envelope.open_head(head_key)
