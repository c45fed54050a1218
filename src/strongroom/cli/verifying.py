"""`strongroom verify`: does everything that should open with a key open, and is it what was written?"""

from __future__ import annotations

import io
import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import failures, remotely
from strongroom.cli.remote import connection, downloads, lanes, places, progress, troubles, walks
from strongroom.crypto import digests

if TYPE_CHECKING:
    from collections.abc import Iterator

_GIB = 2**30
_PART_BYTES = 8 * 1024 * 1024


@click.command(
    epilog="""\b
Examples:
  strongroom verify s3://diaries --sse-c-key diary.key
  strongroom verify s3://attic/photos/ --versions --json"""
)
@click.argument("place")
@remotely.key_option
@click.option("--versions", is_flag=True, help="Every version, not only the newest.")
@remotely.jobs_option
@remotely.json_option
@remotely.connected
def verify(
    place: str,
    *,
    sse_c_key: str | None,
    versions: bool,
    jobs: int,
    as_json: bool,
    asked: connection.Asked,
) -> None:
    """Read every object of a bucket or below a prefix, from its first byte to its last.

    For whoever holds the key. The store opens each segment under it, so that nothing that was
    changed passes; and what arrives is compared with the checksum that was sealed when the
    object was written. Nothing is kept. Objects without a customer key are read too.

    What the operator can check without the key is `strongroom scrub`.

    Exit status: 0 all of it is what was written, 1 something is not, or could not be read.
    """
    with failures.told():
        where = places.parse_remote(place)
        client = connection.connect(asked, jobs)
        key = remotely.customer_key(client, sse_c_key)
        reporter = progress.Reporter(as_json=as_json, quiet=False)
        with lanes.Lanes(jobs) as running, reporter.shown("Verifying", wanted=None):
            verifier = _Verifier(client, running, reporter, key)
            bad = 0
            for listed, outcome in running.each(
                verifier.verify, _wanted(client, where, versions=versions)
            ):
                error = outcome.exception()
                if error is None:
                    continue
                if not isinstance(error, failures.Failed):
                    raise error
                bad += 1
                _tell(reporter, where, listed, str(error))
        if as_json:
            table = {"objects": verifier.objects, "bytes": verifier.bytes, "failed": bad}
            click.echo(json.dumps(table))
        else:
            click.echo(
                f"{verifier.objects} objects are what was written"
                f" ({verifier.bytes / _GIB:.2f} GiB); {bad} are not, or could not be read"
            )
    if bad:
        sys.exit(failures.FAILED)


class _Verifier:
    """Reads objects, each on one thread.

    Attributes:
        objects: how many were what was written.
        bytes: how long they were.
    """

    def __init__(
        self, client: Any, running: lanes.Lanes, reporter: progress.Reporter, key: dict[str, Any]
    ) -> None:
        self._downloads = downloads.Downloads(client, running, reporter, part_bytes=_PART_BYTES)
        self._client = client
        self._key = key
        self._lock = threading.Lock()
        self.objects = 0
        self.bytes = 0

    def verify(self, listed: tuple[places.Remote, walks.Listed]) -> None:
        """Read one object.

        Raises:
            Failed: it is not what was written, or cannot be read.
        """
        place, one = listed
        reading = downloads.Reading(self._key, one.version_id)
        head = self._head(place, reading)
        if head is None:
            # An object that the store guards refuses a customer's key.
            reading = downloads.Reading({}, one.version_id)
            head = self._head(place, reading)
        if head is None:
            raise failures.Failed(
                f"{places.shown(str(place))}: it is under a customer key; give it with --sse-c-key."
            )
        checked = _Checked(head)
        fetched = self._downloads.stream(place, checked, reading)
        checked.compare(place, fetched.size)
        with self._lock:
            self.objects += 1
            self.bytes += fetched.size

    def _head(self, place: places.Remote, reading: downloads.Reading) -> dict[str, Any] | None:
        """Return what is known of an object; None if it wants a customer's key, or none."""
        from botocore import exceptions  # noqa: PLC0415 - an extra, and slow to load

        with troubles.told(place):
            try:
                found: dict[str, Any] = self._client.head_object(
                    Bucket=place.bucket, Key=place.key, ChecksumMode="ENABLED", **reading.members()
                )
            except exceptions.ClientError as error:
                # All that S3 tells about it in the answer to a HEAD.
                if troubles.code_of(error) == "400":
                    return None
                raise
        return found


class _Checked(io.BytesIO):
    """Takes bytes, keeps none, and knows at the end whether they were the right ones."""

    def __init__(self, head: dict[str, Any]) -> None:
        super().__init__()
        self._expected = downloads.checksum_of(head)
        self._running = digests.start(self._expected[0]) if self._expected else None
        self._count = 0

    def write(self, data: Any, /) -> int:
        """Take the next bytes."""
        view = memoryview(data)
        if self._running is not None:
            self._running.update(view)
        self._count += len(view)
        return len(view)

    def compare(self, place: places.Remote, size: int) -> None:
        """Compare length and checksum.

        Raises:
            Failed: one of them differs.
        """
        name = places.shown(str(place))
        if self._count != size:
            raise failures.Failed(f"{name}: {self._count} bytes came where it has {size}.")
        if (
            self._expected is not None
            and self._running is not None
            and self._running.digest() != self._expected[1]
        ):
            raise failures.Failed(
                f"{name}: the {self._expected[0]} of what arrived is not the one that was sealed."
            )


def _wanted(
    client: Any, where: places.Remote, *, versions: bool
) -> Iterator[tuple[places.Remote, walks.Listed]]:
    walk = walks.versions if versions else walks.objects
    for one in walk(client, where, prefix=where.key, flat=True):
        if not one.marker:
            yield places.Remote(where.bucket, one.key), one


def _tell(
    reporter: progress.Reporter,
    where: places.Remote,
    listed: tuple[places.Remote, walks.Listed],
    why: str,
) -> None:
    _, one = listed
    table = {"bucket": where.bucket, "key": one.key, "error": why}
    if one.version_id is not None:
        table["version_id"] = one.version_id
    reporter.done(f"failed: {why}", table)
