"""Copies and new master keys: what is rewritten is metadata, the data stay where they are."""

from __future__ import annotations

import secrets
import urllib.parse
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.client import answers, headers, sealed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from strongroom.client.envelopes import Envelopes
    from strongroom.client.keys import Key

_SYSTEM_HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "WebsiteRedirectLocation",
)
"""What REPLACE takes from the request, and so must be repeated where only an envelope changes."""


def copy(where: Envelopes, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Do `EncryptedClient.copy_object`."""
    source = _source(kwargs["CopySource"])
    named = source | {
        name.removeprefix("CopySource"): value
        for name, value in kwargs.items()
        if name.startswith("CopySourceSSECustomer")
    }
    head: dict[str, Any] = where.client.head_object(**named)
    on_object = answers.bare(head)
    instruction = where.instruction_of(on_object, named)
    whole = headers.with_instruction(on_object, instruction)
    if not headers.is_sealed(whole):
        if not where.allow_plaintext:
            raise errors.NotSealed("the source has no envelope: it is plain, or was stripped")
        plain: dict[str, Any] = where.client.copy_object(**kwargs)
        return plain
    context = kwargs.pop("EncryptionContext", None)
    before, after = source | {"VersionId": ""}, {"Bucket": kwargs["Bucket"], "Key": kwargs["Key"]}
    moved = {name: before[name] for name in after} != after
    bound = headers.format_of(whole) == headers.SEALED and sealed.bound_names(whole)
    if moved and bound and bound & {"bucket", "key"}:
        envelope = sealed.rekeyed(
            whole,
            where.ring,
            where.ring.keys,
            context=where.context_of(whole, source["Bucket"], source["Key"], context),
            new_context=where.context_of(whole, kwargs["Bucket"], kwargs["Key"], context),
            random_bytes=secrets.token_bytes,
        )
        on_object, instruction = _as_before(envelope, instruction)
        kwargs = _with_headers(kwargs, head)
    if instruction is not None and moved:
        where.put_instruction(kwargs, instruction)
    if kwargs.get("MetadataDirective") == "REPLACE":
        answers.check_arguments(kwargs)
        kwargs["Metadata"] = {**kwargs.get("Metadata", {}), **headers.envelope(on_object)}
    answer: dict[str, Any] = where.client.copy_object(
        **{"CopySourceIfMatch": head["ETag"], **kwargs}
    )
    return answer


def rekey(
    where: Envelopes,
    bucket: str,
    key: str,
    keys: Sequence[Key],
    *,
    context: Mapping[str, str] | str | None = None,
    new_context: Mapping[str, str] | str | None = None,
) -> None:
    """Put an object under other master keys, without reading its data.

    Whoever has an old master key and an old copy of the envelope can still open the object:
    after a compromise, read it and write it anew.

    Args:
        where: opens the object with its keys.
        bucket: where the object is.
        key: its name.
        keys: the new ones; one for all formats but `sealed`.
        context: to open with.
        new_context: in place of it from now on; the same if None.

    Raises:
        UnsupportedFormat: the format's envelope cannot be written anew.
        WrongKey, NotAuthentic, MalformedEnvelope: as `open_sealed`.
    """
    named = {"Bucket": bucket, "Key": key}
    head = where.client.head_object(**named)
    on_object = answers.bare(head)
    instruction = where.instruction_of(on_object, named)
    whole = headers.with_instruction(on_object, instruction)
    renewed = context if new_context is None else new_context
    envelope = sealed.rekeyed(
        whole,
        where.ring,
        keys,
        context=where.context_of(whole, bucket, key, context),
        new_context=where.context_of(whole, bucket, key, renewed),
        random_bytes=secrets.token_bytes,
    )
    if instruction is not None:
        # What is on the object does not change, so one request does it.
        where.put_instruction(named, _as_before(envelope, instruction)[1])
        return
    kwargs = _with_headers({**named, "CopySource": dict(named)}, head)
    kwargs["Metadata"].update(envelope)
    if head.get("VersionId") not in {None, "null"}:
        kwargs["CopySource"]["VersionId"] = head["VersionId"]
    where.client.copy_object(**kwargs, CopySourceIfMatch=head["ETag"])


def _source(given: str | Mapping[str, str]) -> dict[str, str]:
    """Return bucket, key and version of a CopySource in either of boto3's forms."""
    if not isinstance(given, str):
        return {name: given[name] for name in ("Bucket", "Key", "VersionId") if given.get(name)}
    path, _, query = given.partition("?versionId=")
    bucket, _, key = urllib.parse.unquote(path.removeprefix("/")).partition("/")
    found = {"Bucket": bucket, "Key": key}
    return found | {"VersionId": query} if query else found


def _with_headers(kwargs: dict[str, Any], head: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a copy that keeps its metadata into one that says them, so that one can change."""
    if kwargs.get("MetadataDirective") == "REPLACE":
        return kwargs
    kept = {name: head[name] for name in _SYSTEM_HEADERS if name in head}
    users = dict(answers.plain(head, None)["Metadata"])
    return {**kept, **kwargs, "MetadataDirective": "REPLACE", "Metadata": users}


def _as_before(envelope: Mapping[str, str], instruction: str | None) -> tuple[dict[str, str], str]:
    """Divide a new envelope between object and file as the old one was."""
    return sealed.divided(envelope, beside=instruction is not None)
