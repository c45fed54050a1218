"""`strongroom ls` and `strongroom stat`: what is in a store."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import failures, remotely
from strongroom.cli.remote import connection, places, troubles, walks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STAT = {
    "ContentType": "content_type",
    "CacheControl": "cache_control",
    "ContentDisposition": "content_disposition",
    "ContentEncoding": "content_encoding",
    "ContentLanguage": "content_language",
    "ServerSideEncryption": "encryption",
    "SSEKMSKeyId": "kms_key_id",
    "SSECustomerAlgorithm": "customer_algorithm",
    "SSECustomerKeyMD5": "customer_key_md5",
    "StorageClass": "storage_class",
    "ChecksumType": "checksum_type",
    "ObjectLockMode": "lock_mode",
    "ObjectLockLegalHoldStatus": "legal_hold",
    "ReplicationStatus": "replication",
}
"""Members of HeadObject, and what they are called here."""


@click.command(
    epilog="""\b
Examples:
  strongroom ls
  strongroom ls s3://attic/photos/
  strongroom ls --recursive --json s3://attic | jq -r .key"""
)
@click.argument("place", required=False)
@click.option("-r", "--recursive", is_flag=True, help="All that lies below, at any depth.")
@click.option("--versions", is_flag=True, help="Every version and delete marker, with its id.")
@remotely.json_option
@remotely.connected
def ls(
    place: str | None, *, recursive: bool, versions: bool, as_json: bool, asked: connection.Asked
) -> None:
    """List buckets, or what is in a bucket.

    PLACE is s3://BUCKET or s3://BUCKET/PREFIX; a prefix may end anywhere in a name. Prints
    time (UTC), bytes and key. Customer keys are not needed: names, sizes and times are
    not sealed. Control characters in keys are shown as escapes; --json has them exactly.
    """
    with failures.told():
        client = connection.connect(asked, 1)
        lines: Iterator[tuple[str, dict[str, Any]]]
        if place is None:
            lines = _buckets(client)
        else:
            where = places.parse_remote(place)
            walk = walks.versions if versions else walks.objects
            found = walk(client, where, prefix=where.key, flat=recursive)
            lines = (_line(one, versions=versions) for one in found)
        for text, table in lines:
            click.echo(json.dumps(table) if as_json else text)


@click.command(
    epilog="""\b
Examples:
  strongroom stat s3://diaries/day-1 --sse-c-key diary.key
  strongroom stat s3://diaries"""
)
@click.argument("targets", metavar="PLACE...", nargs=-1, required=True)
@remotely.key_option
@remotely.version_option
@remotely.json_option
@remotely.connected
def stat(
    targets: Sequence[str],
    *,
    sse_c_key: str | None,
    version_id: str | None,
    as_json: bool,
    asked: connection.Asked,
) -> None:
    """Show what is known of objects or buckets.

    An object under a customer key shows nothing without it. Checksums are the store's, as
    S3 writes them (base64).
    """
    with failures.told():
        wanted = [places.parse_remote(text) for text in targets]
        client = connection.connect(asked, 1)
        key = remotely.customer_key(client, sse_c_key)
        for place in wanted:
            about = (
                _object(client, place, key, version_id)
                if place.key
                else _bucket(client, place.bucket)
            )
            if as_json:
                click.echo(json.dumps(about))
            else:
                width = max(map(len, about))
                click.echo("\n".join(f"{name:{width}}  {_text(about[name])}" for name in about))


def _buckets(client: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    with troubles.told("The list of buckets"):
        for page in client.get_paginator("list_buckets").paginate():
            for one in page.get("Buckets", ()):
                made = _when(one["CreationDate"])
                yield f"{made}  s3://{one['Name']}", {"bucket": one["Name"], "created": made}


def _line(one: walks.Listed, *, versions: bool) -> tuple[str, dict[str, Any]]:
    key = places.shown(one.key)
    if one.folder:
        return f"{'PREFIX':>20}  {'-':>14}  {key}", {"prefix": one.key}
    assert one.modified is not None, "only prefixes have no time"
    modified = _when(one.modified)
    size = "DELETED" if one.marker else str(one.size)
    text = f"{modified}  {size:>14}  {key}"
    table: dict[str, Any] = {"key": one.key, "modified": modified}
    if not one.marker:
        table |= {"size": one.size, "etag": one.etag}
    if versions:
        text = f"{text}  {one.version_id}{'  latest' if one.is_latest else ''}"
        table |= {
            "version_id": one.version_id,
            "is_latest": one.is_latest,
            "delete_marker": one.marker,
        }
    return text, table


def _object(
    client: Any, place: places.Remote, key: dict[str, Any], version_id: str | None
) -> dict[str, Any]:
    version = {} if version_id is None else {"VersionId": version_id}
    with troubles.told(place):
        head = client.head_object(
            Bucket=place.bucket, Key=place.key, ChecksumMode="ENABLED", **version, **key
        )
    about: dict[str, Any] = {
        "bucket": place.bucket,
        "key": place.key,
        "size": head["ContentLength"],
        "etag": head["ETag"].strip('"'),
        "modified": _when(head["LastModified"]),
    }
    if "VersionId" in head:
        about["version_id"] = head["VersionId"]
    about |= {name: head[member] for member, name in _STAT.items() if head.get(member)}
    retained = head.get("ObjectLockRetainUntilDate")
    if retained is not None:
        about["retained_until"] = _when(retained)
    checksums = {
        member.removeprefix("Checksum").lower(): value
        for member, value in head.items()
        if member.startswith("Checksum") and member != "ChecksumType"
    }
    if checksums:
        about["checksums"] = checksums
    if head.get("Metadata"):
        about["metadata"] = head["Metadata"]
    if head.get("TagCount"):
        with troubles.told(place):
            found = client.get_object_tagging(Bucket=place.bucket, Key=place.key, **version)
        about["tags"] = {tag["Key"]: tag["Value"] for tag in found["TagSet"]}
    return about


def _bucket(client: Any, bucket: str) -> dict[str, Any]:
    place = places.Remote(bucket)
    with troubles.told(place):
        head = client.head_bucket(Bucket=bucket)
    about = {"bucket": bucket, "region": head.get("BucketRegion") or client.meta.region_name}
    # A store may not serve these, or not to this user: the rest is worth showing.
    with troubles.quietly():
        about["versioning"] = client.get_bucket_versioning(Bucket=bucket).get("Status", "Off")
    with troubles.quietly():
        about["encryption"] = _default_encryption(client, bucket)
    return about


def _default_encryption(client: Any, bucket: str) -> str:
    found = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    for rule in found.get("Rules", ()):
        default = rule.get("ApplyServerSideEncryptionByDefault")
        if default:
            return str(default["SSEAlgorithm"])
    return "AES256"


def _when(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{places.shown(name)}={places.shown(str(value[name]))}" for name in value)
    return places.shown(str(value))
