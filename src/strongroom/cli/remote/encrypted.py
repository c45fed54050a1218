"""Encryption on this side, for `--cse-key`: the store sees ciphertext, and never the key.

A thin coat around `strongroom.client.s3.EncryptedClient`, with the calls of `uploads` and
`downloads`, so that `cp` need not know which of the two it uses.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import IO, TYPE_CHECKING, Any

from strongroom import errors
from strongroom.cli import failures
from strongroom.cli.remote import downloads, places, troubles, uploads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from strongroom.cli.remote import lanes, progress
    from strongroom.client import keys

FORMAT = "sealed"
"""What is written: every part is authenticated and bound to its place, and ranges can be read."""


class Encrypted:
    """Uploads and downloads by one client, encrypted under one key.

    Args:
        client: of boto3.
        key: what wraps the data keys.
        running: whose `count` says how many requests go at once.
        reporter: is told of bytes.
        part_bytes: of a part, as stored.
    """

    def __init__(
        self,
        client: Any,
        key: keys.Key,
        running: lanes.Lanes,
        reporter: progress.Reporter,
        *,
        part_bytes: int,
    ) -> None:
        from strongroom.client import s3  # noqa: PLC0415 - boto3 is an extra

        self._lanes = running
        self._reporter = reporter
        self._client = s3.EncryptedClient(
            client, key, format=FORMAT, part_bytes=part_bytes, threads=running.count
        )

    def upload(
        self, path: Path, target: places.Remote, writing: uploads.Writing
    ) -> uploads.Written:
        """See `uploads.Uploads.file`."""
        extra = _extra(path.name, writing)
        try:
            with self._told(target):
                size = path.stat().st_size
                self._client.upload_file(
                    path, target.bucket, target.key, ExtraArgs=extra, Callback=self._advance
                )
        except OSError as error:
            raise failures.Failed(
                f"{places.shown(str(path))} cannot be read ({error.strerror})."
            ) from None
        return uploads.Written(size, "", None)

    def upload_stream(
        self, source: IO[bytes], target: places.Remote, writing: uploads.Writing
    ) -> uploads.Written:
        """See `uploads.Uploads.stream`."""
        extra = _extra("", writing)
        sent = 0

        def advance(count: int) -> None:
            nonlocal sent
            sent += count
            self._advance(count)

        with self._told(target):
            self._client.upload_fileobj(
                source, target.bucket, target.key, ExtraArgs=extra, Callback=advance
            )
        return uploads.Written(sent, "", None)

    def download(
        self, source: places.Remote, path: Path, reading: downloads.Reading
    ) -> downloads.Fetched:
        """See `downloads.Downloads.file`; what an earlier attempt left is taken up."""
        if path.is_symlink():
            path = path.resolve()
        try:
            if path.exists() and not path.is_file():
                with path.open("wb") as special:
                    return self.download_stream(source, special, reading)
            if reading.keep and path.exists():
                raise troubles.Lost(f"{places.shown(str(path))} is there already.")
            path.parent.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:24]
            with self._told(source):
                self._client.download_file(
                    source.bucket,
                    source.key,
                    path,
                    ExtraArgs=reading.members(),
                    Callback=self._advance,
                    checkpoint=path.with_name(f".strongroom-{name}.checkpoint"),
                )
            return downloads.Fetched(path.stat().st_size, "", None)
        except OSError as error:
            raise failures.Failed(
                f"{places.shown(str(path))} cannot be written ({error.strerror})."
            ) from None

    def download_stream(
        self, source: places.Remote, out: IO[bytes], reading: downloads.Reading
    ) -> downloads.Fetched:
        """See `downloads.Downloads.stream`; only what was verified is written."""
        fetched = 0

        def advance(count: int) -> None:
            nonlocal fetched
            fetched += count
            self._advance(count)

        with self._told(source):
            self._client.download_fileobj(
                source.bucket, source.key, out, ExtraArgs=reading.members(), Callback=advance
            )
        out.flush()
        return downloads.Fetched(fetched, "", None)

    def _advance(self, count: int) -> None:
        self._lanes.check()
        self._reporter.advance(count)

    @staticmethod
    @contextlib.contextmanager
    def _told(place: places.Remote) -> Iterator[None]:
        name = places.shown(str(place))
        try:
            with troubles.told(place):
                yield
        except errors.NotSealed:
            raise failures.Failed(
                f"{name} was not encrypted on this side of the wire, or somebody took its envelope"
                " away. If it is meant to be plain, copy it without --cse-key."
            ) from None
        except errors.WrongKey:
            raise failures.Failed(f"{name} is under another key than that of --cse-key.") from None
        except errors.SourceChanged:
            raise failures.Failed(
                f"{name}: the file changed while it was read; copy it again."
            ) from None
        except errors.StrongroomError as error:
            raise failures.Failed(f"{name}: {str(error) or type(error).__name__}.") from None
        except ValueError as error:
            # The client library's way to refuse arguments that contradict each other.
            raise failures.Failed(f"{name}: {error}.") from None


def _extra(name: str, writing: uploads.Writing) -> dict[str, Any]:
    return {**uploads.members_of(name, writing), **writing.customer, **writing.condition()}
