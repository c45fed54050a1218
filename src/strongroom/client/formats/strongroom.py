"""sealed: our own client-side format, with what none of the others has at once.

Every segment is authenticated, so ranges are verified and streams release nothing that is
not. Parts are independent, so they can be sealed, sent and read in any order and in
parallel, and a part that is sent again is a new ciphertext, never the same nonce for
other bytes. The envelope is committed to one data key, may be under several master keys
of mixed kinds, and can be rewritten without touching the data.

Source: docs/formats/sealed-client.md.
"""

from __future__ import annotations

import dataclasses
import hmac
import itertools
import json
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.client import content, descriptions, headers, keys, kms
from strongroom.crypto import derive, encoding, gcm, geometry, secret, segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from strongroom.client import stored
    from strongroom.client.headers import Envelope

    RandomBytes = Callable[[int], bytes]

VERSION = "1"
ID_BYTES = 16
MAC_BYTES = 32
DATA_KEY_BYTES = 32

DEFAULT_PART_BYTES = 8 * 1024 * 1024
"""Stored bytes of a part that is not the last: above S3's least part, and light on memory."""

MOST_PART_BYTES = 5 * 1024**3
"""S3's largest part."""

MOST_RECIPIENTS = 64

AES, RSA, AWS_KMS, ALI_KMS = "aes", "rsa", "aws-kms", "ali-kms"

ID_IN_CONTEXT = "strongroom:id"
"""In AWS's encryption context: a wrapped key shows up in the KMS's log with its object."""

_ON_OBJECT = ("sealed", "id", "segment", "part", "context")
_MOVABLE = ("keys", "mac")
_NAMES = {headers.SEALED_PREFIX + name for name in _ON_OBJECT + _MOVABLE}


def _name(name: str) -> str:
    return headers.SEALED_PREFIX + name


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """How a plaintext is divided; everything follows from the stored size.

    Attributes:
        segment_bytes: ciphertext bytes of a full segment.
        part_bytes: stored bytes of a part that is not the last; whole segments.
    """

    segment_bytes: int
    part_bytes: int

    def __post_init__(self) -> None:
        geometry.segment_count(0, self.segment_bytes)
        if not self.segment_bytes <= self.part_bytes <= MOST_PART_BYTES:
            raise ValueError("a part is shorter than a segment, or longer than 5 GiB")
        if self.part_bytes % self.segment_bytes:
            raise ValueError("a part is not made of whole segments")

    @property
    def part_plain(self) -> int:
        """Plaintext bytes of a part that is not the last."""
        return geometry.plain_size(self.part_bytes, self.segment_bytes)

    def parts(self, plain: int) -> int:
        """Return how many parts a plaintext takes; at least one."""
        return max(1, -(-plain // self.part_plain))

    def stored_size(self, plain: int) -> int:
        """Return the stored length of a plaintext."""
        before = self.parts(plain) - 1
        rest = plain - before * self.part_plain
        return before * self.part_bytes + geometry.sealed_size(rest, self.segment_bytes)

    def stored_parts(self, size: int) -> int:
        """Return how many parts so many stored bytes are."""
        return max(1, -(-size // self.part_bytes))

    def plain_size(self, size: int) -> int:
        """Return the plaintext's length: the inverse of `stored_size`.

        Raises:
            NotAuthentic: nothing is stored in so many bytes.
        """
        before = self.stored_parts(size) - 1
        try:
            rest = geometry.plain_size(size - before * self.part_bytes, self.segment_bytes)
        except ValueError:
            raise errors.NotAuthentic("an object has a length that nothing is sealed to") from None
        if before and not rest:
            raise errors.NotAuthentic("an object ends with an empty part")
        return before * self.part_plain + rest


class DataKey(secret.SecretKey):
    """The 32 bytes that one object hangs from, and the two keys below it."""

    __slots__ = ()

    def stream_key(self) -> secret.SecretKey:
        """Return the key of all parts (Tink's `key_value`)."""
        return derive.expand(self, derive.Label.CLIENT_STREAM)

    def mac_key(self) -> secret.SecretKey:
        """Return the key that vouches for the envelope, and by that for itself."""
        return derive.expand(self, derive.Label.CLIENT_MAC)


def part_aad(object_id: bytes, number: int, *, last: bool) -> bytes:
    """Return the associated data of a part: whose it is, where it belongs, whether it ends."""
    return encoding.encode(derive.Label.CLIENT_PART, object_id, number, int(last))


@dataclasses.dataclass(frozen=True, slots=True)
class Unlocked:
    """An envelope of which the data key is known."""

    object_id: bytes
    layout: Layout
    data_key: DataKey

    def content(self) -> SealedContent:
        """Return what reads the object."""
        return SealedContent(self)

    def sealer(self, random_bytes: RandomBytes) -> PartSealer:
        """Return what writes it."""
        return PartSealer(self, random_bytes)


def unlock(envelope: Envelope, ring: keys.KeyRing, context: Mapping[str, str] | None) -> Unlocked:
    """Open an envelope.

    Args:
        envelope: bare names.
        ring: the reader's keys.
        context: what the writer bound the object to; all of it.

    Raises:
        UnsupportedFormat: another version.
        MalformedEnvelope: a value is missing or makes no sense.
        WrongKey: no key opens it, or the context has other names than the writer's.
        NotAuthentic: the key is right, and the envelope is not what was written under it,
            or was bound to another context.
    """
    if headers.need(envelope, _name("sealed")) != VERSION:
        raise errors.UnsupportedFormat("a sealed envelope has an unknown version")
    if {name for name in envelope if headers.family(name)} - _NAMES:
        raise errors.MalformedEnvelope("a sealed envelope has a name that it cannot have")
    object_id = headers.raw(envelope, _name("id"), ID_BYTES)
    mac = headers.raw(envelope, _name("mac"), MAC_BYTES)
    layout = _layout(envelope)
    recipients = _recipients(headers.need(envelope, _name("keys")))
    bound = bound_names(envelope)
    given = {name: value for name, value in (context or {}).items() if name in bound}
    if given.keys() != bound or (context or {}).keys() - bound:
        raise errors.WrongKey("the context has not the names that the object is bound to")
    data_key = _unwrap(recipients, ring, object_id)
    expected = _mac(data_key, object_id, layout, envelope[_name("keys")], given)
    if not hmac.compare_digest(mac, expected):
        raise errors.NotAuthentic("a sealed envelope is not what was written")
    return Unlocked(object_id, layout, data_key)


def bound_names(envelope: Envelope) -> set[str]:
    """Return the names of the context that an object is bound to.

    Raises:
        MalformedEnvelope: they cannot be read.
    """
    text = envelope.get(_name("context"))
    if text is None:
        return set()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise errors.MalformedEnvelope("the names of a context are no JSON") from None
    if (
        not isinstance(found, list)
        or not found
        or not all(isinstance(name, str) for name in found)
        or len(set(found)) != len(found)
    ):
        raise errors.MalformedEnvelope("the names of a context are no list of names")
    return set(found)


def lock(
    recipients: Sequence[keys.Key],
    context: Mapping[str, str] | None,
    random_bytes: RandomBytes,
    *,
    part_bytes: int = DEFAULT_PART_BYTES,
    segment_bytes: int = geometry.SEGMENT_BYTES,
) -> tuple[dict[str, str], Unlocked]:
    """Make a data key and the envelope that any one of the recipients opens.

    Raises:
        ValueError: no recipient, or sizes that make no layout.
        KmsCallFailed: a service did not wrap.
    """
    unlocked = Unlocked(
        random_bytes(ID_BYTES),
        Layout(segment_bytes, part_bytes),
        DataKey(random_bytes(DATA_KEY_BYTES)),
    )
    return envelope_of(unlocked, recipients, context, random_bytes), unlocked


def envelope_of(
    unlocked: Unlocked,
    recipients: Sequence[keys.Key],
    context: Mapping[str, str] | None,
    random_bytes: RandomBytes,
) -> dict[str, str]:
    """Return an envelope for an object: a new one's first, or another for one that is there.

    The second is how master keys are changed: only metadata are written.

    Raises:
        ValueError: there is no recipient, or there are too many.
        KmsCallFailed: a service did not wrap.
    """
    if not 1 <= len(recipients) <= MOST_RECIPIENTS:
        raise ValueError(f"a sealed object has 1 to {MOST_RECIPIENTS} recipients")
    wrapped = [_wrap(key, unlocked, random_bytes) for key in recipients]
    text = json.dumps(wrapped, separators=(",", ":"))
    bound = dict(context or {})
    layout = unlocked.layout
    envelope = {
        _name("sealed"): VERSION,
        _name("id"): headers.encoded(unlocked.object_id),
        _name("segment"): str(layout.segment_bytes),
        _name("part"): str(layout.part_bytes),
        _name("keys"): text,
        _name("mac"): headers.encoded(
            _mac(unlocked.data_key, unlocked.object_id, layout, text, bound)
        ),
    }
    if bound:
        envelope[_name("context")] = json.dumps(sorted(bound))
    return envelope


def divided(envelope: Envelope) -> tuple[dict[str, str], dict[str, str]]:
    """Return what must stay on the object, and what may go into an instruction file."""
    held = {name: value for name, value in envelope.items() if name in map(_name, _MOVABLE)}
    return {name: value for name, value in envelope.items() if name not in held}, held


def recipients_of(envelope: Envelope) -> list[dict[str, Any]]:
    """Return kind, description and key id of every recipient, for people to look at.

    Raises:
        MalformedEnvelope: they cannot be read.
    """
    return [
        {name: value for name, value in recipient.items() if name != "wrapped"}
        for recipient in _recipients(headers.need(envelope, _name("keys")))
    ]


class SealedContent:
    """Reads a sealed object: verified segment by segment, by range or as a whole."""

    vouches = content.Vouches.RANGES

    def __init__(self, unlocked: Unlocked) -> None:
        self._layout = unlocked.layout
        self._id = unlocked.object_id
        self._stream_key = unlocked.data_key.stream_key()
        self._openers: dict[tuple[int, bool], segments.Opener] = {}

    def plain_size(self, stored_size: int) -> int:
        """Return the plaintext's length."""
        return self._layout.plain_size(stored_size)

    def opener(self, stored_size: int | None = None) -> content.Opener:
        """Begin at byte 0. Without the size a part is held back, else a few segments."""
        return _SealedOpener(self, self._layout, stored_size)

    def read(self, body: stored.Stored, start: int, end: int, *, unverified: bool) -> bytes:
        """Return plaintext [start, end), every byte of it verified."""
        del unverified
        size = body.end()
        end = min(end, self.plain_size(size))
        if start >= end:
            return b""
        layout = self._layout
        first, last = start // layout.part_plain, (end - 1) // layout.part_plain
        pieces = []
        for index in range(first, last + 1):
            from_byte = max(0, start - index * layout.part_plain)
            to_byte = min(layout.part_plain, end - index * layout.part_plain)
            pieces.append(self._read_part(body, size, index, from_byte, to_byte))
        return b"".join(pieces)

    def _read_part(
        self, body: stored.Stored, size: int, index: int, start: int, end: int
    ) -> bytes | bytearray | memoryview:
        layout = self._layout
        at = index * layout.part_bytes
        last = index == layout.stored_parts(size) - 1
        stored_bytes = min(layout.part_bytes, size - at)
        plan = geometry.plan(
            start,
            end,
            geometry.plain_size(stored_bytes, layout.segment_bytes),
            layout.segment_bytes,
        )
        sealed = body.read(at + plan.blob_start, at + plan.blob_end)
        if plan.first_segment and (index + 1, last) not in self._openers:
            self.part(index + 1, body.read(at, at + geometry.HEADER_BYTES), last=last)
        opener = self.part(index + 1, sealed[: geometry.HEADER_BYTES], last=last, known=True)
        plain = opener.open_run(plan.first_segment, plan.final_segment, sealed)
        return memoryview(plain)[plan.trim_head : plan.trim_head + plan.plaintext_bytes]

    def part(
        self, number: int, header: bytes, *, last: bool, known: bool = False
    ) -> segments.Opener:
        """Return the opener of a part; its header is read once unless it is at hand.

        Args:
            number: of the part, from 1.
            header: its first bytes; looked at unless `known` and there is an opener.
            last: whether the part is the object's last.
            known: take the opener that an earlier header made.

        Raises:
            NotAuthentic: the header is none.
        """
        at = (number, last)
        found = self._openers.get(at) if known else None
        if found is None:
            aad = part_aad(self._id, number, last=last)
            found = segments.Opener(self._stream_key, aad, header, self._layout.segment_bytes)
            self._openers[at] = found
        return found

    def forget(self, number: int) -> None:
        """Drop what is remembered of a part, so that a long read does not gather them all."""
        self._openers.pop((number, False), None)


class _SealedOpener:
    """Opens a whole object in order; what comes out is verified."""

    def __init__(self, sealed: SealedContent, layout: Layout, size: int | None) -> None:
        if size is not None:
            layout.plain_size(size)
        self._sealed = sealed
        self._layout = layout
        self._size = size
        self._held = bytearray()
        self._part = 0
        self._opened = 0
        """Stored bytes of the part at hand that are opened already."""

    def feed(self, data: bytes) -> bytes:
        self._held += data
        pieces: list[bytes | bytearray] = []
        while True:
            piece = self._next()
            if piece is None:
                return b"".join(pieces)
            pieces.append(piece)

    def finish(self) -> bytes:
        if self._size is not None:
            if self._held or self._at() != self._size:
                raise errors.NotAuthentic("an object is not as long as it was said to be")
            return b""
        if self._part and not self._held:
            raise errors.NotAuthentic("an object ends with a part that is not its last")
        return bytes(self._open(len(self._held), len(self._held), last=True))

    def _at(self) -> int:
        return self._part * self._layout.part_bytes + self._opened

    def _next(self) -> bytes | bytearray | None:
        """Open what is there to open: whole segments of a part known to be last or not."""
        segment, part = self._layout.segment_bytes, self._layout.part_bytes
        if self._size is None:
            if len(self._held) <= part:
                return None
            return self._open(part, part, last=False)
        left = self._size - self._part * part
        length = min(part, left)
        rest = length - self._opened
        take = rest if len(self._held) >= rest else len(self._held) // segment * segment
        if not take or left <= 0:
            return None
        return self._open(take, length, last=left <= part)

    def _open(self, take: int, length: int, *, last: bool) -> bytes | bytearray:
        """Open `take` stored bytes of the part at hand, which has `length`."""
        segment = self._layout.segment_bytes
        number = self._part + 1
        run = bytes(self._held[:take])
        opener = self._sealed.part(
            number, run[: geometry.HEADER_BYTES], last=last, known=self._opened > 0
        )
        first = self._opened // segment
        final = max(0, -(-length // segment) - 1)
        plain = opener.open_run(first, final, run)
        if last and number > 1 and not plain and not first:
            raise errors.NotAuthentic("an object ends with an empty part")
        del self._held[:take]
        self._opened += take
        if self._opened == length and not last:
            self._sealed.forget(number)
            self._part += 1
            self._opened = 0
        return plain


class PartSealer:
    """Seals parts of one object, in any order, by any threads; a part may be sealed again."""

    def __init__(self, unlocked: Unlocked, random_bytes: RandomBytes) -> None:
        self._id = unlocked.object_id
        self._layout = unlocked.layout
        self._stream_key = unlocked.data_key.stream_key()
        self._random_bytes = random_bytes

    def seal_part(self, number: int, plain: segments.Data, *, last: bool) -> memoryview:
        """Return the stored bytes of a part.

        Args:
            number: from 1.
            plain: `Layout.part_plain` bytes, or fewer if it is the last; none only if it
                is the only one.
            last: whether the object ends with it.

        Raises:
            ValueError: it has another length.
        """
        size = len(plain)
        fits = 0 < size <= self._layout.part_plain if last else size == self._layout.part_plain
        if not (fits or (last and number == 1 and size == 0)):
            raise ValueError(f"part {number} has {size} bytes, which it cannot have")
        segment = self._layout.segment_bytes
        sealed = memoryview(bytearray(geometry.sealed_size(size, segment)))
        filled = 0

        def room(count: int) -> memoryview:
            nonlocal filled
            filled += count
            return sealed[filled - count : filled]

        sealer = segments.Sealer(
            self._stream_key,
            part_aad(self._id, number, last=last),
            salt=self._random_bytes(segments.STREAM_SALT_BYTES),
            nonce_prefix=self._random_bytes(segments.NONCE_PREFIX_BYTES),
            segment_bytes=segment,
        )
        sealer.feed(plain, room)
        sealer.finish(room)
        return sealed


# Envelopes, within


def _layout(envelope: Envelope) -> Layout:
    segment, part = (headers.number(envelope, _name(name)) for name in ("segment", "part"))
    if segment is None or part is None:
        raise errors.MalformedEnvelope("a sealed envelope does not say how it is divided")
    try:
        return Layout(segment, part)
    except ValueError as error:
        raise errors.MalformedEnvelope(str(error)) from None


def _mac(
    data_key: DataKey,
    object_id: bytes,
    layout: Layout,
    recipients: str,
    context: Mapping[str, str],
) -> bytes:
    pairs: Iterable[tuple[str, str]] = sorted(context.items())
    text = encoding.encode(
        derive.Label.CLIENT_ENVELOPE,
        object_id,
        layout.segment_bytes,
        layout.part_bytes,
        recipients,
        *itertools.chain.from_iterable(pairs),
    )
    return hmac.digest(data_key.mac_key().reveal(), text, "sha256")


def _recipients(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise errors.MalformedEnvelope("the recipients of an envelope are no JSON") from None
    if not isinstance(found, list) or not 1 <= len(found) <= MOST_RECIPIENTS:
        raise errors.MalformedEnvelope("an envelope has no recipients, or too many")
    for recipient in found:
        if (
            not isinstance(recipient, dict)
            or not isinstance(recipient.get("kind"), str)
            or not isinstance(recipient.get("wrapped"), str)
            or not isinstance(recipient.get("description", {}), dict)
        ):
            raise errors.MalformedEnvelope("a recipient of an envelope is not whole")
    return found


def _wrap(key: keys.Key, unlocked: Unlocked, random_bytes: RandomBytes) -> dict[str, Any]:
    data_key = unlocked.data_key
    recipient: dict[str, Any] = {}
    if isinstance(key, keys.AesKey):
        if len(key.key) != derive.KEY_BYTES:
            raise ValueError("a sealed object is under AES keys of 32 bytes")
        aad = encoding.encode(derive.Label.CLIENT_WRAP, unlocked.object_id)
        recipient["kind"] = AES
        wrapped = gcm.seal(key.key, aad, data_key.reveal(), random_bytes)
    elif isinstance(key, keys.RsaKey):
        recipient["kind"] = RSA
        wrapped = key.wrap(keys.Padding.OAEP_SHA256, data_key.reveal())
    elif isinstance(key.service, kms.AwsKms):
        recipient |= {"kind": AWS_KMS, "key": key.key_id}
        context = _aws_context(key, unlocked.object_id)
        wrapped = key.service.encrypt(key.key_id, data_key, context)
    else:
        recipient |= {"kind": ALI_KMS, "key": key.key_id}
        text = headers.encoded(data_key.reveal())
        wrapped = key.service.encrypt(key.key_id, text, _ali_context(key)).encode()
    if key.description:
        recipient["description"] = key.description
    recipient["wrapped"] = headers.encoded(wrapped)
    return recipient


def _unwrap(recipients: list[dict[str, Any]], ring: keys.KeyRing, object_id: bytes) -> DataKey:
    """Return the data key that the first recipient and key to fit each other give.

    A key is tried where kind and description agree; for a recipient without description
    every key of its kind is.
    """
    for recipient in recipients:
        try:
            fitting = ring.fitting(recipient.get("description", {}))
        except errors.WrongKey:
            continue
        wrapped = headers.raw({"wrapped": recipient["wrapped"]}, "wrapped")
        for key in fitting:
            try:
                found = _opened(recipient["kind"], wrapped, key, object_id)
            except (errors.WrongKey, errors.NotAuthentic):
                continue
            if found is not None and len(found) == DATA_KEY_BYTES:
                return DataKey(found.reveal())
    raise errors.WrongKey("no key opens this object")


def _opened(kind: str, wrapped: bytes, key: keys.Key, object_id: bytes) -> secret.SecretKey | None:
    if kind == AES and isinstance(key, keys.AesKey):
        aad = encoding.encode(derive.Label.CLIENT_WRAP, object_id)
        return secret.SecretKey(gcm.unseal(key.key, aad, wrapped))
    if kind == RSA and isinstance(key, keys.RsaKey):
        return key.unwrap(keys.Padding.OAEP_SHA256, wrapped)
    if isinstance(key, keys.KmsKey):
        if kind == AWS_KMS and isinstance(key.service, kms.AwsKms):
            return key.service.decrypt(key.key_id, wrapped, _aws_context(key, object_id))
        if kind == ALI_KMS and isinstance(key.service, kms.AlibabaKms):
            try:
                blob = wrapped.decode("ascii")
            except UnicodeDecodeError:
                raise errors.MalformedEnvelope("a KMS's blob is no text") from None
            return kms.data_key(key.service.decrypt(blob, _ali_context(key)))
    return None


def _aws_context(key: keys.KmsKey, object_id: bytes) -> dict[str, str]:
    if isinstance(key.context, str):
        raise ValueError("the context of a key in AWS KMS is a mapping")  # noqa: TRY004 - of two allowed types
    return {**(key.context or {}), ID_IN_CONTEXT: headers.encoded(object_id)}


def _ali_context(key: keys.KmsKey) -> str:
    if isinstance(key.context, str):
        return key.context
    return descriptions.canonical(key.context) if key.context else ""
