"""Objects out of a store, into a file or a stream.

A file is fetched in ranges side by side, all of one version: each asks for the ETag that
the first answer had. It gets its name when it is whole (`attempts`). Where the store tells
a checksum of the whole, that is compared before.
"""

from __future__ import annotations

import base64
import contextlib
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from strongroom.cli import failures
from strongroom.cli.remote import attempts, places, troubles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from strongroom.cli.remote import lanes, progress

_CHUNK_BYTES = 1024 * 1024
_TRIES = 5
_PAUSE_S = 0.5
_CHECKED = ("CRC64NVME", "CRC32C", "CRC32", "SHA256", "SHA1")


@dataclass(frozen=True, slots=True)
class Reading:
    """What is said with every request that reads.

    Attributes:
        customer: members that carry the customer key.
        version_id: which version; None for the newest.
        keep: leave a file that is there already.
    """

    customer: Mapping[str, Any] = field(default_factory=dict)
    version_id: str | None = None
    keep: bool = False

    def members(self) -> dict[str, Any]:
        """Return the members of a request."""
        version = {} if self.version_id is None else {"VersionId": self.version_id}
        return {**self.customer, **version}


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched. `etag` is without quotes; `resumed` bytes were there from before."""

    size: int
    etag: str
    version_id: str | None
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class _Version:
    """The one state of an object that all ranges must be of."""

    size: int
    etag: str
    version_id: str | None
    checksum: tuple[str, bytes] | None


class Downloads:
    """Downloads by one client."""

    def __init__(
        self,
        client: Any,
        lanes: lanes.Lanes,
        reporter: progress.Reporter,
        *,
        part_bytes: int,
    ) -> None:
        self._client = client
        self._lanes = lanes
        self._reporter = reporter
        self._part_bytes = part_bytes

    def file(
        self, source: places.Remote, path: Path, reading: Reading, *, size: int | None = None
    ) -> Fetched:
        """Fetch an object into a file, going on with what an earlier attempt left.

        Args:
            source: the object.
            path: the file; what is not an ordinary file is written to as a stream.
            reading: what the requests say.
            size: its bytes, if they are known already and so counted in the progress.

        Raises:
            Failed: it cannot be read, or not be kept.
        """
        if path.is_symlink():
            # As a copy does: the name stays, what it points to changes.
            path = path.resolve()
        try:
            if path.exists() and not path.is_file():
                if path.is_dir():
                    raise failures.Failed(f"{places.shown(str(path))} is a directory.")
                with path.open("wb") as special:
                    return self.stream(source, special, reading)
            if reading.keep and path.exists():
                raise troubles.Lost(f"{places.shown(str(path))} is there already.")
            path.parent.mkdir(parents=True, exist_ok=True)
            if size is not None and size <= self._part_bytes:
                return self._at_once(source, path, reading)
            version = self._look(source, reading)
            self._reporter.grow(version.size - (size or 0))
            return self._in_ranges(source, path, reading, version)
        except OSError as error:
            raise failures.Failed(
                f"{places.shown(str(path))} cannot be written ({error.strerror})."
            ) from None

    def stream(self, source: places.Remote, out: IO[bytes], reading: Reading) -> Fetched:
        """Fetch an object into a stream, in order.

        Raises:
            Failed: it cannot be read; some of it may have been written.
            OSError: the stream cannot be written.
        """
        version = self._look(source, reading)
        self._reporter.grow(version.size)
        at = 0

        def write(piece: bytes) -> None:
            nonlocal at
            out.write(piece)
            at += len(piece)
            self._reporter.advance(len(piece))

        self._again(source, lambda: self._range(source, reading, version, at, version.size, write))
        out.flush()
        return Fetched(version.size, version.etag, version.version_id)

    def _look(self, source: places.Remote, reading: Reading) -> _Version:
        with troubles.told(source):
            reply = self._client.head_object(
                Bucket=source.bucket, Key=source.key, ChecksumMode="ENABLED", **reading.members()
            )
        return _Version(
            reply["ContentLength"],
            reply["ETag"].strip('"'),
            reply.get("VersionId"),
            checksum_of(reply),
        )

    def _at_once(self, source: places.Remote, path: Path, reading: Reading) -> Fetched:
        """Fetch a small object with one request, which botocore checks."""
        fetched: list[tuple[bytes, Mapping[str, Any]]] = []

        def fetch() -> None:
            reply = self._client.get_object(
                Bucket=source.bucket, Key=source.key, **reading.members()
            )
            with contextlib.closing(reply["Body"]) as body:
                fetched.append((body.read(), reply))

        self._again(source, fetch)
        data, reply = fetched[-1]
        self._reporter.advance(len(data))
        with attempts.Attempt(path, {"source": str(source)}, len(data), max(len(data), 1)) as file:
            file.write(0, data)
            file.keep(only_new=reading.keep)
        return Fetched(len(data), reply["ETag"].strip('"'), reply.get("VersionId"))

    def _in_ranges(
        self, source: places.Remote, path: Path, reading: Reading, version: _Version
    ) -> Fetched:
        about = {"source": str(source), "etag": version.etag, "version_id": version.version_id}
        with attempts.Attempt(path, about, version.size, self._part_bytes) as file:
            resumed = file.done_bytes
            self._reporter.advance(resumed)

            def fetch(number: int) -> None:
                self._fetch(source, reading, version, file, number)

            missing = file.missing
            if len(missing) == 1:
                fetch(missing[0])
            else:
                self._lanes.parts(fetch, missing)
            if version.checksum is not None:
                file.verify(*version.checksum, self._lanes.check)
            file.keep(only_new=reading.keep)
        return Fetched(version.size, version.etag, version.version_id, resumed)

    def _fetch(
        self,
        source: places.Remote,
        reading: Reading,
        version: _Version,
        file: attempts.Attempt,
        number: int,
    ) -> None:
        start, end = file.bounds(number)
        at = start

        def write(piece: bytes) -> None:
            nonlocal at
            file.write(at, piece)
            at += len(piece)
            self._reporter.advance(len(piece))

        self._again(source, lambda: self._range(source, reading, version, at, end, write))
        file.note(number)

    def _again(self, source: places.Remote, attempt: Callable[[], None]) -> None:
        """Run an attempt that goes on where the last one broke off; a few times.

        botocore tries a request again, but not a reply that breaks off in its body.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                with troubles.told(source):
                    return attempt()
            except troubles.Cut:
                if not tries_left:
                    raise
            self._lanes.check()
            time.sleep(_PAUSE_S * (_TRIES - tries_left))
        raise AssertionError("the last try returns or raises")

    def _range(
        self,
        source: places.Remote,
        reading: Reading,
        version: _Version,
        start: int,
        end: int,
        write: Callable[[bytes], None],
    ) -> None:
        """Fetch plaintext bytes [start, end) of the version."""
        if start == end:
            return
        members = reading.members()
        if version.version_id not in (None, "null"):
            members["VersionId"] = version.version_id
        if (start, end) != (0, version.size):
            members["Range"] = f"bytes={start}-{end - 1}"
        reply = self._client.get_object(
            Bucket=source.bucket, Key=source.key, IfMatch=f'"{version.etag}"', **members
        )
        left = end - start
        with contextlib.closing(reply["Body"]) as body:
            while left:
                self._lanes.check()
                piece = body.read(min(_CHUNK_BYTES, left))
                if not piece:
                    raise troubles.Cut(f"{places.shown(str(source))}: the reply was cut short.")
                write(piece)
                left -= len(piece)
            # Reading to the end lets botocore compare the checksum, where there is one.
            if body.read(1):
                raise failures.Failed(
                    f"{places.shown(str(source))}: more bytes came than asked for."
                )


def checksum_of(reply: Mapping[str, Any]) -> tuple[str, bytes] | None:
    """Return (algorithm, raw digest) of the whole, where the store tells one."""
    if reply.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    for algorithm in _CHECKED:
        value = reply.get(f"Checksum{algorithm}")
        if value is not None and "-" not in value:
            return algorithm, base64.b64decode(value)
    return None
