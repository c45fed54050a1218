"""Reads and writes one stored object of any client-side format, without any I/O."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.client import content, headers, rules, stored, writing
from strongroom.client.formats import amazon, oss, strongroom
from strongroom.client.keys import KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from strongroom.client.keys import Key

DEFAULT_PART_BYTES = 8 * 1024 * 1024
"""Plaintext bytes of a part in the formats that leave it open."""


def open_sealed(
    metadata: Mapping[str, str],
    body: bytes | bytearray | memoryview | stored.Fetch,
    keys: Key | Iterable[Key],
    byte_range: tuple[int, int] | None = None,
    instruction: str | bytes | None = None,
    context: Mapping[str, str] | str | None = None,
    *,
    allowed: rules.Rules | None = None,
    unverified_ranges: bool = False,
    check_announced: bool = False,
    try_all: bool = False,
) -> bytes:
    """Return the plaintext of one stored object of any supported client-side format.

    Args:
        metadata: the stored header names to values; those of user metadata matter, and
            `content-length` if it is there.
        body: the stored bytes, or a function `(start, end) -> bytes`, half-open, that
            returns fewer where the object ends.
        keys: a key or several, of any kind.
        byte_range: half-open, in the plaintext; what lies past the end is left out.
        instruction: the text of the instruction file, if there is one.
        context: what the object is bound to: a KMS's encryption context (for Alibaba's the
            text of it), or the context of a sealed object.
        allowed: which formats, ciphers and wraps; all of them unless given.
        unverified_ranges: of V2 and V3, read only the range, which nothing vouches for.
            Else the object is read as a whole and the range cut out of it.
        check_announced: refuse an OSS object whose plaintext has another length or MD5
            than its writer announced. No vendor's client looks, and some announce nonsense.
        try_all: if no key has the object's description, try all.

    Raises:
        WrongKey: no key opens it, or not with this context.
        NotAuthentic: it is not what was written, as far as the format can tell.
        UnsupportedFormat: an unknown format, cipher or wrap, or one that is not allowed;
            `NotSealed` if there is no envelope at all.
        MalformedEnvelope: the metadata contradict themselves or are not whole.
        RangeNotSatisfiable: the range begins after the end.
        ValueError: the range is none.
    """
    bare = headers.with_instruction(headers.names(metadata), instruction)
    opened = unlock(bare, KeyRing(keys, try_all=try_all), context, allowed or rules.Rules())
    source = stored.Stored(body, _length(metadata) if callable(body) else None)
    if byte_range is None:
        plain = _whole(opened, source)
        if check_announced:
            _check_announced(bare, plain)
        return plain
    start, end = byte_range
    if not 0 <= start <= end:
        raise ValueError(f"[{start}, {end}) is no range")
    if start == end:
        return b""
    plain = opened.read(source, start, end, unverified=unverified_ranges)
    if not plain:
        raise errors.RangeNotSatisfiable(source.end(), f"bytes={start}-{end - 1}")
    return plain


def unlock(
    bare: Mapping[str, str],
    ring: KeyRing,
    context: Mapping[str, str] | str | None,
    allowed: rules.Rules,
) -> content.Content:
    """Return what reads an object, given its metadata without prefixes.

    Raises:
        WrongKey, NotAuthentic, UnsupportedFormat, MalformedEnvelope: as `open_sealed`.
    """
    kind = headers.format_of(bare)
    if kind not in allowed.formats:
        raise errors.UnsupportedFormat(f"the format {kind} is not allowed here")
    if kind in {headers.OSS_V1, headers.OSS_V2}:
        read = oss.unlock_v1 if kind == headers.OSS_V1 else oss.unlock_v2
        return read(bare, ring, context)
    if isinstance(context, str):
        raise errors.WrongKey("the context of this format is a mapping")
    if kind == headers.SEALED:
        return strongroom.unlock(bare, ring, context).content()
    reads = {
        headers.S3_V1: amazon.unlock_v1,
        headers.S3_V2: amazon.unlock_v2,
        headers.S3_V3: amazon.unlock_v3,
    }
    return reads[kind](bare, ring, context, allowed)


def plain_size(bare: Mapping[str, str], stored_size: int) -> int | None:
    """Return the length of an object's plaintext, for which no key is needed.

    Args:
        bare: metadata without prefixes, instruction file included.
        stored_size: how many bytes are stored.

    Returns:
        None if the format does not tell (CBC without an announced length). The envelope is
        not verified by this: whoever may write to the bucket can make the number wrong.

    Raises:
        NotAuthentic: nothing is stored in so many bytes.
        NotSealed, MalformedEnvelope: as `open_sealed`.
    """
    kind = headers.format_of(bare)
    if kind in {headers.OSS_V1, headers.OSS_V2}:
        return stored_size
    if kind == headers.SEALED:
        return strongroom.layout_of(bare).plain_size(stored_size)
    if kind == headers.S3_V3 or bare.get("x-amz-cek-alg") == amazon.CEK_GCM:
        return content.gcm_plain_size(stored_size)
    return content.cbc_plain_size(stored_size, headers.number(bare, headers.PLAIN_LENGTH))


def bound_names(bare: Mapping[str, str]) -> set[str]:
    """Return the names of the context that a sealed object is bound to.

    Raises:
        MalformedEnvelope: they cannot be read.
    """
    return strongroom.bound_names(bare)


def best_window(bare: Mapping[str, str], wanted: int) -> int:
    """Return how much of a plaintext is best read at a time: a whole part, if it is no more.

    Raises:
        MalformedEnvelope: the envelope of a sealed object does not say.
    """
    if headers.format_of(bare) != headers.SEALED:
        return wanted
    return min(strongroom.layout_of(bare).part_plain, wanted)


def divided(envelope: Mapping[str, str], *, beside: bool) -> tuple[dict[str, str], str]:
    """Return what of a whole envelope goes on the object, and the instruction file's text.

    The text is empty if there is to be none.
    """
    if not beside:
        return dict(envelope), ""
    if headers.format_of(envelope) == headers.SEALED:
        on_object, held = strongroom.divided(envelope)
    elif headers.format_of(envelope) == headers.S3_V3:
        held = {name: text for name, text in envelope.items() if name in headers.S3_V3_IN_FILE}
        on_object = {name: text for name, text in envelope.items() if name not in held}
    else:
        on_object, held = {}, dict(envelope)
    return on_object, json.dumps(held)


def rekeyed(
    bare: Mapping[str, str],
    ring: KeyRing,
    keys: Sequence[Key],
    *,
    context: Mapping[str, str] | str | None,
    new_context: Mapping[str, str] | str | None,
    random_bytes: Callable[[int], bytes],
) -> dict[str, str]:
    """Return an envelope of the same data key under other master keys.

    Args:
        bare: metadata without prefixes, instruction file included.
        ring: opens what is there.
        keys: the new ones; more than one for `sealed` only.
        context: to open with.
        new_context: from now on.
        random_bytes: of a cryptographic generator.

    Raises:
        UnsupportedFormat: the format's envelope cannot be written anew.
        ValueError, TypeError: keys that the format does not have.
        WrongKey, NotAuthentic, MalformedEnvelope: as `open_sealed`.
    """
    kind = headers.format_of(bare)
    if kind == headers.OSS_V2:
        if len(keys) != 1:
            raise ValueError("an object of this format is under one key")
        return oss.rekeyed(bare, ring, context, keys[0], new_context, random_bytes)
    if isinstance(context, str) or isinstance(new_context, str):
        raise errors.WrongKey("the context of this format is a mapping")
    if kind == headers.SEALED:
        unlocked = strongroom.unlock(bare, ring, context)
        return strongroom.envelope_of(unlocked, keys, new_context, random_bytes)
    if kind in {headers.S3_V2, headers.S3_V3}:
        if len(keys) != 1:
            raise ValueError("an object of this format is under one key")
        return amazon.rekeyed(bare, ring, context, keys[0], new_context, random_bytes)
    raise errors.UnsupportedFormat(f"nothing is written in the format {kind}")


def resume(
    envelope: Mapping[str, str],
    instruction: str | None,
    keys: Key | Sequence[Key],
    part_plain: int,
    *,
    context: Mapping[str, str] | str | None = None,
    sealed_before: Mapping[int, bytes] | None = None,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> writing.Sealing:
    """Continue an object whose envelope an earlier process made.

    Args:
        envelope: `Sealing.envelope` of then.
        instruction: likewise.
        keys: the same; here they have to unwrap.
        part_plain: `Sealing.part_plain` of then.
        context: as then.
        sealed_before: `writing.digest` of the parts that were sealed then, by number. The
            formats that use a keystream once refuse to seal anything else there.
        random_bytes: of a cryptographic generator.

    Raises:
        WrongKey, NotAuthentic, UnsupportedFormat, MalformedEnvelope: as `open_sealed`.
    """
    bare = headers.with_instruction(envelope, instruction)
    kind = headers.format_of(bare)
    once = writing.Once(sealed_before)
    if kind == headers.SEALED:
        if isinstance(context, str):
            raise errors.WrongKey("the context of this format is a mapping")
        unlocked = strongroom.unlock(bare, KeyRing(keys), context)
        sealer = unlocked.sealer(random_bytes)
        return writing.SealedSealing(envelope, instruction, unlocked, sealer)
    opened = unlock(bare, KeyRing(keys), context, rules.Rules())
    if isinstance(opened, content.CtrContent):
        size = headers.number(bare, headers.OSS_V2_PREFIX + "data-size")
        locked = oss.Locked(dict(envelope), opened.key, opened.first_counter)
        return writing.CtrSealing(kind, locked, part_plain, data_size=size, once=once)
    if isinstance(opened, content.GcmContent):
        return writing.GcmSealing(
            kind,
            amazon.Locked(
                dict(envelope), instruction, opened, opened.key, opened.nonce, opened.aad
            ),
            part_plain,
            once=once,
        )
    raise errors.UnsupportedFormat(f"nothing is written in the format {kind}")


def seal(
    keys: Key | Sequence[Key],
    format: str = headers.SEALED,  # noqa: A002 - the word for it
    *,
    context: Mapping[str, str] | str | None = None,
    part_bytes: int | None = None,
    data_size: int | None = None,
    multipart: bool = False,
    instruction: bool = False,
    oaep: bool = False,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> writing.Sealing:
    """Begin one new object: make its data key and envelope.

    Args:
        keys: what wraps the data key. A sealed object is under all of them, each of the
            others under the first.
        format: a member of `headers.FORMATS` but `s3-v1`.
        context: as for `open_sealed`.
        part_bytes: of a part that is not the last: of plaintext, or of stored bytes for
            `sealed`, there a multiple of 65,536.
        data_size: plaintext bytes in all, if known; OSS V2 writes it down for a multipart
            upload, and it is then checked.
        multipart: the object will be uploaded in parts.
        instruction: put what can be outside of the object into an instruction file.
        oaep: OSS V2 under RSA: pad as `LocalRsaProvider` does, which only oss2 reads.
        random_bytes: of a cryptographic generator.

    Raises:
        UnsupportedFormat: a format that is not written.
        ValueError, TypeError: keys, sizes or a context that the format does not have.
        KmsCallFailed: a service did not wrap the key.
    """
    ring = KeyRing(keys).keys
    if not ring:
        raise ValueError("an object needs a key")
    if format in {headers.OSS_V1, headers.OSS_V2}:
        if instruction:
            raise ValueError("OSS has no instruction files")
        if format == headers.OSS_V1:
            locked = oss.lock_v1(ring[0], context, random_bytes)
        else:
            locked = oss.lock_v2(ring[0], context, random_bytes, oaep=oaep)
        return writing.CtrSealing(
            format,
            locked,
            part_bytes or DEFAULT_PART_BYTES,
            data_size=data_size,
            multipart=multipart,
        )
    if isinstance(context, str):
        raise TypeError("the context of this format is a mapping")
    if format == headers.SEALED:
        envelope, unlocked = strongroom.lock(
            ring, context, random_bytes, part_bytes=part_bytes or strongroom.DEFAULT_PART_BYTES
        )
        held = None
        if instruction:
            envelope, rest = strongroom.divided(envelope)
            held = json.dumps(rest)
        return writing.SealedSealing(envelope, held, unlocked, unlocked.sealer(random_bytes))
    if format in {headers.S3_V2, headers.S3_V3}:
        lock = amazon.lock_v2 if format == headers.S3_V2 else amazon.lock_v3
        made = lock(ring[0], context, random_bytes, beside=instruction)
        return writing.GcmSealing(format, made, part_bytes or DEFAULT_PART_BYTES)
    raise errors.UnsupportedFormat(f"nothing is written in the format {format}")


def _length(metadata: Mapping[str, str]) -> int | None:
    lowered = {name.lower(): value for name, value in metadata.items()}
    return headers.number(lowered, "content-length")


def _whole(opened: content.Content, source: stored.Stored) -> bytes:
    opener = opened.opener(source.size)
    pieces = [opener.feed(chunk) for chunk in source.chunks()]
    pieces.append(opener.finish())
    return b"".join(pieces)


def _check_announced(bare: Mapping[str, str], plain: bytes) -> None:
    length, md5 = oss.announced(bare)
    digest = base64.b64encode(hashlib.md5(plain, usedforsecurity=False).digest()).decode()
    if (length is not None and length != len(plain)) or (md5 and md5 != digest):
        raise errors.NotAuthentic("an object is not what its writer announced")
