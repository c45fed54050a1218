"""Mirrors: beside the blob files, what a lost catalog would be missing to open them.

    root/<2 hex>/<generation>     one version: row, envelope, marks, body record, inline bytes
    root/before                   names of earlier such directories, until this one has all they have
    root/registry.sqlite          the tables that are small: users, store keys, buckets …

A mirror is never read while the catalog is there. It says how old it is by the number of
the outbox row that asked for it. Layout: docs/formats/catalog.md, section 6.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from strongroom import errors
from strongroom.crypto import derive, encoding
from strongroom.store import files, records

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

NAME = "envelopes"
REGISTRY = "registry.sqlite"
BEFORE = "before"

ASIDE = ".before-"
"""Between a name and a time: how a recovery names what it sets aside."""

MIRROR_MAGIC = b"SRMMIR\x00\x01"
"""Magic and, in the last byte, version. Only version 1 exists."""

DIGEST_BYTES = 32

_FIELDS = 17
_PER_BLOB = 4
_FILE = re.compile(r"[0-9a-f]{32}")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_TEMPORARY = ".new"


@dataclass(frozen=True, slots=True)
class Notice:
    """A row of the outbox: something happened to this version. `number` ascends."""

    number: int
    bucket_id: int
    key: bytes
    version_id: str
    generation: bytes


@dataclass(frozen=True, slots=True)
class Mirror:
    """One version and all that hangs from it.

    Attributes:
        number: that of the notice which asked for it; of two states the later has the higher.
        version: its row.
        rank: how many versions of the key are older than the eldest that ever was; a
            greater rank is newer.
        envelope: encoded.
        marks: encoded.
        record: encoded body record.
        blobs: what the body consists of, in order; `data` of inline ones.
    """

    number: int
    version: records.Version
    rank: int
    envelope: bytes
    marks: bytes
    record: bytes
    blobs: tuple[records.NewBlob, ...]


class Outbox(Protocol):
    """The catalog's side of mirrors."""

    async def notices(self, *, limit: int) -> Sequence[Notice]:
        """Return the oldest notices."""
        ...

    async def mirror(self, notice: Notice) -> Mirror | None:
        """Return what is to be mirrored of a version; None if it is gone by now."""
        ...

    async def settle(self, numbers: Collection[int]) -> None:
        """Strike notices off: what they tell of is mirrored."""
        ...

    async def copy_registry(self, target: Path, unless: bytes) -> bytes:
        """Write the small tables into a new file, unless their digest is still this one.

        Returns:
            their digest now.
        """
        ...


def encode(mirror: Mirror) -> bytes:
    """Return a mirror's stored form."""
    version = mirror.version
    fields: list[bytes | str | int] = [
        *(mirror.number, version.bucket, version.key, version.version_id, version.size),
        *(version.etag, version.modified_ms, version.owner, version.mode, version.generation),
        *(",".join(version.checksum_algorithms), version.checksum_type, mirror.rank),
        *(mirror.envelope, mirror.marks, mirror.record, len(mirror.blobs)),
    ]
    for blob in mirror.blobs:
        fields += (blob.blob_id, blob.size, blob.place, blob.data)
    told = MIRROR_MAGIC + encoding.encode(derive.Label.MIRROR, *fields)
    return told + hashlib.sha256(told).digest()


def parse(data: bytes) -> Mirror:
    """Read what `encode` printed.

    Raises:
        NotAuthentic: nothing prints to this, or it was damaged.
    """
    told, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if told[: len(MIRROR_MAGIC)] != MIRROR_MAGIC or hashlib.sha256(told).digest() != digest:
        raise errors.NotAuthentic("a mirror is damaged, or of a version that cannot be read")
    fields = encoding.decode(derive.Label.MIRROR, told[len(MIRROR_MAGIC) :])
    if len(fields) < _FIELDS or len(fields) != _FIELDS + _PER_BLOB * encoding.number(fields[16]):
        raise errors.NotAuthentic("a mirror contradicts itself")
    algorithms = encoding.text(fields[10])
    blobs = fields[_FIELDS:]
    return Mirror(
        number=encoding.number(fields[0]),
        version=records.Version(
            bucket=encoding.text(fields[1]),
            key=encoding.text(fields[2]),
            version_id=encoding.text(fields[3]),
            size=encoding.number(fields[4]),
            etag=encoding.text(fields[5]),
            modified_ms=encoding.number(fields[6]),
            owner=encoding.text(fields[7]),
            mode=encoding.text(fields[8]),
            generation=encoding.sized(fields[9], records.GENERATION_BYTES),
            checksum_algorithms=tuple(algorithms.split(",")) if algorithms else (),
            checksum_type=encoding.text(fields[11]),
        ),
        rank=encoding.number(fields[12]),
        envelope=fields[13],
        marks=fields[14],
        record=fields[15],
        blobs=tuple(
            records.NewBlob(
                blobs[at],
                encoding.number(blobs[at + 1]),
                encoding.text(blobs[at + 2]),
                blobs[at + 3],
            )
            for at in range(0, len(blobs), _PER_BLOB)
        ),
    )


class Mirrors:
    """The directory of mirrors. One thread at a time may use it."""

    def __init__(self, root: Path, *, kernel: files.Kernel | None = None) -> None:
        self._root = root
        self._kernel = kernel or files.Kernel()
        self._touched: set[Path] = set()

    @property
    def registry(self) -> Path:
        """Where the small tables are; may not be there."""
        return self._root / REGISTRY

    def put(self, generation: bytes, mirror: Mirror | None) -> None:
        """Write a mirror, whole or not at all, or remove it; durable after `sync`.

        Raises:
            StoreFull, StoreFailed: what was there is still there.
        """
        path = self._path(generation)
        try:
            self._make(path.parent)
            self._touched.add(path.parent)
            if mirror is None:
                path.unlink(missing_ok=True)
                return
            temporary = path.with_name(path.name + _TEMPORARY)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with os.fdopen(self._kernel.open(temporary, flags, 0o600), "wb") as file:
                file.write(encode(mirror))
                file.flush()
                self._kernel.fdatasync(file.fileno())
            self._kernel.rename(temporary, path)
        except OSError as error:
            raise files.trouble(error, "writing a mirror") from error

    def place_for_registry(self) -> Path:
        """Return where a new registry is to be written, before `put_registry`. Nothing is there.

        Raises:
            StoreFailed: the disk answered with an error.
        """
        path = self.registry.with_name(REGISTRY + _TEMPORARY)
        try:
            self._make(self._root)
            for each in (path, path.with_name(path.name + "-journal")):
                each.unlink(missing_ok=True)
        except OSError as error:
            raise files.trouble(error, "writing the registry") from error
        return path

    def put_registry(self, written: Path) -> None:
        """Let a registry that was written take the place of the last one, durably.

        Raises:
            StoreFailed: the last one is still there.
        """
        try:
            descriptor = self._kernel.open(written, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._kernel.fsync(descriptor)
            finally:
                self._kernel.close(descriptor)
            self._kernel.rename(written, self.registry)
            files.sync_directory(self._kernel, self._root)
        except OSError as error:
            raise files.trouble(error, "writing the registry") from error

    def earlier(self) -> list[Path]:
        """Return where else mirrors lie that this directory may not have again yet, newest first.

        Without this directory they are whatever was set aside of its name: a recovery was
        interrupted between setting it aside and making another.

        Raises:
            StoreFailed: the disk answered with an error.
        """
        try:
            if not self._root.is_dir():
                aside = self._root.parent.glob(f"{self._root.name}{ASIDE}*")
                return sorted((path for path in aside if path.is_dir()), reverse=True)
            named = (self._root / BEFORE).read_text("utf-8").split("\n")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise errors.StoreFailed(f"looking for earlier mirrors: {error}") from error
        plain = [name for name in named if name and name == os.path.basename(name)]  # noqa: PTH119 - no path, a name
        return [self._root.with_name(name) for name in plain]

    def complete(self) -> None:
        """Note that all versions there are have their mirror here, where they should.

        Raises:
            StoreFailed: that is not noted.
        """
        path = self._root / BEFORE
        try:
            if path.exists():
                path.unlink()
                files.sync_directory(self._kernel, self._root)
        except OSError as error:
            raise files.trouble(error, "striking off earlier mirrors") from error

    def sync(self) -> None:
        """Make all that was put durable.

        Raises:
            StoreFailed: it may not be.
        """
        try:
            for folder in self._touched:
                files.sync_directory(self._kernel, folder)
        except OSError as error:
            raise files.trouble(error, "making mirrors durable") from error
        self._touched.clear()

    def all(self) -> Iterator[Mirror | Path]:
        """Yield all mirrors; of one that cannot be read, its path.

        Raises:
            StoreFailed: the directories cannot be read.
        """
        try:
            folders = sorted(each for each in self._root.iterdir() if _FOLDER.fullmatch(each.name))
            for folder in folders:
                for path in sorted(folder.iterdir()):
                    if _FILE.fullmatch(path.name):
                        yield _read(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise files.trouble(error, "looking for mirrors") from error

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        for each, above in ((self._root, self._root.parent), (folder, self._root)):
            each.mkdir(mode=0o700, exist_ok=True)
            files.sync_directory(self._kernel, above)

    def _path(self, generation: bytes) -> Path:
        name = generation.hex()
        return self._root / name[:2] / name


def _read(path: Path) -> Mirror | Path:
    try:
        found = parse(path.read_bytes())
    except (OSError, errors.NotAuthentic):
        return path
    return found if found.version.generation.hex() == path.name else path
