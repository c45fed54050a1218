"""`strongroom rm`, `mb` and `rb`: objects away, buckets made and removed."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import failures, remotely
from strongroom.cli.remote import connection, lanes, places, progress, troubles, walks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BATCH = 1000
"""The most that one DeleteObjects names. Source: Amazon S3 API Reference, DeleteObjects."""
_NO_CONSTRAINT = "us-east-1"
"""The region that CreateBucket must not name. Source: the same, CreateBucket."""


@click.command(
    epilog="""\b
Examples:
  strongroom rm s3://attic/photos/1.jpg
  strongroom rm --recursive s3://attic/photos
  strongroom rm --recursive --versions s3://attic/photos     (nothing is left)"""
)
@click.argument("targets", metavar="PLACE...", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="All that lies below, at any depth.")
@click.option("--versions", is_flag=True, help="Every version and delete marker, for good.")
@remotely.version_option
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@remotely.jobs_option
@click.option("-q", "--quiet", is_flag=True, help="Only say what went wrong.")
@remotely.json_option
@remotely.connected
def rm(
    targets: Sequence[str],
    *,
    recursive: bool,
    versions: bool,
    version_id: str | None,
    dry_run: bool,
    jobs: int,
    quiet: bool,
    as_json: bool,
    asked: connection.Asked,
) -> None:
    """Remove objects. No customer key is needed.

    What is not there is removed already. With --recursive, s3://BUCKET/photos is all that
    begins with `photos/`. In a bucket with versioning a delete marker is set, unless --versions
    or --version-id says otherwise.
    """
    with failures.told():
        wanted = [places.parse_remote(text) for text in targets]
        if version_id is not None and (recursive or versions or len(wanted) > 1):
            raise click.UsageError("--version-id is for one object.")
        if not recursive and not all(place.key for place in wanted):
            raise click.UsageError(
                "A bucket's objects are removed with --recursive, the bucket itself with"
                " `strongroom rb`."
            )
        client = connection.connect(asked, jobs)
        reporter = progress.Reporter(as_json=as_json, quiet=quiet)
        everything = True
        with lanes.Lanes(jobs) as running:
            for place in wanted:
                found = _found(client, place, version_id, recursive=recursive, versions=versions)
                if dry_run:
                    for key, version in found:
                        _say(reporter, place.bucket, key, version)
                else:
                    everything &= _remove(client, running, reporter, place, found)
        if not everything:
            sys.exit(failures.FAILED)


@click.command()
@click.argument("buckets", metavar="s3://BUCKET...", nargs=-1, required=True)
@remotely.json_option
@remotely.connected
def mb(buckets: Sequence[str], *, as_json: bool, asked: connection.Asked) -> None:
    """Make buckets."""
    with failures.told():
        wanted = [_bucket_of(text) for text in buckets]
        client = connection.connect(asked, 1)
        reporter = progress.Reporter(as_json=as_json, quiet=False)
        region = client.meta.region_name
        where = (
            {}
            if region == _NO_CONSTRAINT
            else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        for bucket in wanted:
            with troubles.told(places.Remote(bucket)):
                client.create_bucket(Bucket=bucket, **where)
            reporter.done(f"made s3://{bucket}", {"bucket": bucket})


@click.command()
@click.argument("buckets", metavar="s3://BUCKET...", nargs=-1, required=True)
@click.option(
    "--force",
    is_flag=True,
    help="Remove all that is in it first: every object, every version, every open upload.",
)
@remotely.jobs_option
@remotely.json_option
@remotely.connected
def rb(
    buckets: Sequence[str], *, force: bool, jobs: int, as_json: bool, asked: connection.Asked
) -> None:
    """Remove buckets, which must be empty unless --force is given."""
    with failures.told():
        wanted = [_bucket_of(text) for text in buckets]
        client = connection.connect(asked, jobs)
        reporter = progress.Reporter(as_json=as_json, quiet=False)
        silent = progress.Reporter(as_json=as_json, quiet=True)
        with lanes.Lanes(jobs) as running:
            for bucket in wanted:
                place = places.Remote(bucket)
                if force:
                    found = _found(client, place, None, recursive=True, versions=True)
                    if not _remove(client, running, silent, place, found):
                        sys.exit(failures.FAILED)
                    _abort_uploads(client, place)
                with troubles.told(place):
                    client.delete_bucket(Bucket=bucket)
                reporter.done(f"removed s3://{bucket}", {"bucket": bucket})


def _found(
    client: Any, place: places.Remote, version_id: str | None, *, recursive: bool, versions: bool
) -> Iterator[tuple[str, str | None]]:
    """Yield (key, version or None) of what is to be removed."""
    if not recursive and not versions:
        yield place.key, version_id
        return
    prefix = place.as_prefix() if recursive else place.key
    if not versions:
        for one in walks.objects(client, place, prefix=prefix, flat=True):
            yield one.key, None
        return
    for one in walks.versions(client, place, prefix=prefix):
        if recursive or one.key == place.key:
            yield one.key, one.version_id


def _remove(
    client: Any,
    running: lanes.Lanes,
    reporter: progress.Reporter,
    place: places.Remote,
    found: Iterator[tuple[str, str | None]],
) -> bool:
    """Remove what was found; return whether all went well."""

    def remove(batch: list[tuple[str, str | None]]) -> dict[tuple[str, str | None], str]:
        return _remove_batch(client, place.bucket, batch)

    everything = True
    for batch, future in running.each(remove, _batches(found)):
        try:
            refused = future.result()
        except failures.Failed as error:
            everything = False
            reporter.failed(str(error))
            continue
        for item in batch:
            if item in refused:
                everything = False
                reporter.failed(refused[item])
            else:
                _say(reporter, place.bucket, *item)
    return everything


def _batches(
    found: Iterator[tuple[str, str | None]],
) -> Iterator[list[tuple[str, str | None]]]:
    """Yield batches that one request can name.

    XML has no way to write most control characters, so a key with one goes alone.
    """
    batch: list[tuple[str, str | None]] = []
    for item in found:
        if not _is_xml(item[0]):
            yield [item]
            continue
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _is_xml(text: str) -> bool:
    # Carriage returns are text of XML, but a reader may make line feeds of them.
    return all(one >= " " or one in "\t\n" for one in text) and not set(text) & {"\ufffe", "\uffff"}


def _remove_batch(
    client: Any, bucket: str, batch: list[tuple[str, str | None]]
) -> dict[tuple[str, str | None], str]:
    """Remove a batch; return a sentence for each that was refused."""
    if len(batch) == 1:
        ((key, version),) = batch
        named = {} if version is None else {"VersionId": version}
        with troubles.told(places.Remote(bucket, key)):
            client.delete_object(Bucket=bucket, Key=key, **named)
        return {}
    named_all = [
        {"Key": key} if version is None else {"Key": key, "VersionId": version}
        for key, version in batch
    ]
    with troubles.told(places.Remote(bucket)):
        reply = client.delete_objects(Bucket=bucket, Delete={"Objects": named_all, "Quiet": True})
    return {
        (one["Key"], one.get("VersionId")): (
            f"{places.shown(str(places.Remote(bucket, one['Key'])))}:"
            f" {one.get('Message', 'refused').rstrip('.')} ({one.get('Code')})."
        )
        for one in reply.get("Errors", ())
    }


def _abort_uploads(client: Any, place: places.Remote) -> None:
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=place.bucket)
    with troubles.told(place):
        uploads = itertools.chain.from_iterable(page.get("Uploads", ()) for page in pages)
        for one in list(uploads):
            client.abort_multipart_upload(
                Bucket=place.bucket, Key=one["Key"], UploadId=one["UploadId"]
            )


def _bucket_of(text: str) -> str:
    place = places.parse_remote(text)
    if place.key:
        raise click.UsageError(f"{places.shown(text)} names an object; a bucket is s3://BUCKET.")
    return place.bucket


def _say(reporter: progress.Reporter, bucket: str, key: str, version: str | None) -> None:
    text = places.shown(str(places.Remote(bucket, key)))
    table = {"bucket": bucket, "key": key}
    if version is not None:
        text = f"{text}  {version}"
        table["version_id"] = version
    reporter.done(f"removed {text}", table)
