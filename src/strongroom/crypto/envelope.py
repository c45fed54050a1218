"""What guards one version: the wrapped data key, the sealed head, and the clear fields.

    secret (customer key, store key, KMS data key)
      └ Extract(salt) → PRK
          ├ "check"            stored; tells a wrong key from a damaged store
          ├ "wrap" ‖ binding   wraps the data key
          └ "head" ‖ binding   seals the head; its AAD is all that is clear

The head's key comes from the envelope's own salt and not from the data key: copies
share a data key, and who holds one must not be able to forge the other's envelope.

Errors say no more than `WrongKey` (the key check failed, nothing was opened) and
`NotAuthentic` (the key is right, the stored bytes are not).

Source: docs/formats/sealed-object.md, sections 3, 4, 7 and 8.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom import errors
from strongroom.crypto import derive, encoding, gcm, secret

if TYPE_CHECKING:
    from collections.abc import Callable

    RandomBytes = Callable[[int], bytes]

ENVELOPE_MAGIC = b"SRMENV\x00\x01"
"""Magic and, in the last byte, version. Only version 1 exists."""

UPLOAD_MAGIC = b"SRMUPL\x00\x01"

GENERATION_BYTES = 16
DIGEST_BYTES = 32

CHECK_BYTES = 32
COMMITMENT_BYTES = 32
WRAPPED_KEY_BYTES = (
    derive.SALT_BYTES
    + CHECK_BYTES
    + gcm.NONCE_BYTES
    + derive.KEY_BYTES
    + gcm.TAG_BYTES
    + COMMITMENT_BYTES
)
"""32 + 32 + 12 + 32 + 16 + 32 = 156."""

MAX_VISIBLE_PARTS = 10_000
"""S3's limit of parts per upload. A head that claims more would only cost memory."""

_WRAPPED = struct.Struct(
    f"{derive.SALT_BYTES}s{CHECK_BYTES}s{gcm.NONCE_BYTES}s"
    f"{derive.KEY_BYTES + gcm.TAG_BYTES}s{COMMITMENT_BYTES}s"
)
_RUN = struct.Struct(">IQ")

_HEAD_FIELDS = 4
"""Fields of a head before its pairs."""


class HeadKey(secret.SecretKey):
    """Seals the head of one envelope, and of the draft of an upload before it."""

    __slots__ = ()


class BodyKey(secret.SecretKey):
    """Seals the checksums of one body's parts."""

    __slots__ = ()


class DataKey(secret.SecretKey):
    """The 32 random bytes that everything about one body hangs from. Never used directly."""

    __slots__ = ()

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        if len(raw) != derive.KEY_BYTES:
            raise ValueError(f"a data key has {derive.KEY_BYTES} bytes")

    @classmethod
    def fresh(cls, random_bytes: RandomBytes) -> Self:
        """Make a new data key."""
        return cls(random_bytes(derive.KEY_BYTES))

    def stream_key(self) -> secret.SecretKey:
        """Return the key of all streams of the body (Tink's `key_value`)."""
        return derive.expand(self, derive.Label.STREAM)

    def body_key(self) -> BodyKey:
        """Return the key that seals the checksums of the body's parts."""
        return BodyKey(derive.expand(self, derive.Label.BODY).reveal())

    def commitment(self) -> bytes:
        """Return what is stored to tell this data key from any other."""
        return derive.expand(self, derive.Label.COMMIT).reveal()


@dataclass(frozen=True, slots=True)
class Binding:
    """What an envelope is for. A wrapped key that is moved elsewhere does not open.

    `bucket` and `key` are those the version was first written under: replication
    keeps them. `generation` is the envelope's own 16 random bytes.
    """

    mode: str
    bucket: str
    key: str
    generation: bytes


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key that is safe to store. `ciphertext` includes the tag."""

    salt: bytes
    check: bytes
    nonce: bytes
    ciphertext: bytes
    commitment: bytes

    def encode(self) -> bytes:
        """Return the fields in a row, `WRAPPED_KEY_BYTES` long."""
        return self.salt + self.check + self.nonce + self.ciphertext + self.commitment

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what `encode` printed.

        Raises:
            NotAuthentic: it has another length.
        """
        return cls(*_WRAPPED.unpack(encoding.sized(data, WRAPPED_KEY_BYTES)))


def wrap(
    key: secret.SecretKey, data_key: DataKey, binding: Binding, random_bytes: RandomBytes
) -> tuple[WrappedKey, HeadKey]:
    """Wrap a data key for the holder of `key`, under a new salt.

    Returns:
        what to store, and the key for the head of the same envelope.
    """
    salt = random_bytes(derive.SALT_BYTES)
    nonce = random_bytes(gcm.NONCE_BYTES)
    prk = derive.Expander(derive.extract(salt, key))
    wrap_key = _bound(prk, derive.Label.WRAP, binding)
    wrapped = WrappedKey(
        salt=salt,
        check=prk.expand(derive.Label.CHECK),
        nonce=nonce,
        ciphertext=AESGCM(wrap_key).encrypt(nonce, data_key.reveal(), None),
        commitment=data_key.commitment(),
    )
    return wrapped, HeadKey(_bound(prk, derive.Label.HEAD, binding))


def unwrap(key: secret.SecretKey, wrapped: WrappedKey, binding: Binding) -> tuple[DataKey, HeadKey]:
    """Return the data key, and the key of the head, for the holder of the right key.

    Raises:
        WrongKey: this is not the key that it was wrapped under.
        NotAuthentic: it is, but the wrapped key or its binding was changed.
    """
    prk = _checked(key, wrapped)
    wrap_key = _bound(prk, derive.Label.WRAP, binding)
    try:
        raw = AESGCM(wrap_key).decrypt(wrapped.nonce, wrapped.ciphertext, None)
    except InvalidTag:
        raise errors.NotAuthentic("a wrapped key is not what was wrapped there") from None
    data_key = DataKey(raw)
    # GCM alone does not commit to a key: one ciphertext can be made to open under two.
    if not hmac.compare_digest(data_key.commitment(), wrapped.commitment):
        raise errors.NotAuthentic("a wrapped key is not the one that was committed to")
    return data_key, HeadKey(_bound(prk, derive.Label.HEAD, binding))


def verify(key: secret.SecretKey, wrapped: WrappedKey) -> None:
    """Check a key and open nothing, where a request needs no more than that.

    Raises:
        WrongKey: this is not the key that it was wrapped under.
    """
    _checked(key, wrapped)


@dataclass(slots=True)
class Head:
    """What an envelope seals: all that could tell about the content.

    Attributes:
        checksums: name of the algorithm → raw digest.
        checksum_type: "FULL_OBJECT", "COMPOSITE", or empty if there is none.
        content: content headers, name → value, in order.
        metadata: user metadata, name → value, in order; any text.
        visible_parts: plaintext bytes of each part that a client may ask for by
            number; empty unless the version was made by a multipart upload. (The body
            record has the parts as they are stored, which a copy shares.)
    """

    checksums: dict[str, bytes] = field(default_factory=dict)
    checksum_type: str = ""
    content: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    visible_parts: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return the plaintext of the sealed head.

        Raises:
            ValueError: more than `MAX_VISIBLE_PARTS` visible parts.
        """
        if len(self.visible_parts) > MAX_VISIBLE_PARTS:
            raise ValueError(f"a version has at most {MAX_VISIBLE_PARTS} visible parts")
        # Most parts of an upload are of one size: as runs, ten thousand take 24 bytes.
        runs = (_RUN.pack(len(list(run)), n) for n, run in itertools.groupby(self.visible_parts))
        return encoding.encode(
            derive.Label.HEAD_PLAIN,
            self.checksum_type,
            b"".join(runs),
            len(self.checksums),
            len(self.content),
            *encoding.flatten(self.checksums),
            *encoding.flatten(self.content),
            *encoding.flatten(self.metadata),
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what `encode` printed.

        Raises:
            NotAuthentic: nothing prints to this.
        """
        fields = encoding.decode(derive.Label.HEAD_PLAIN, data)
        if len(fields) < _HEAD_FIELDS:
            raise errors.NotAuthentic("a head is cut short")
        content_at = _HEAD_FIELDS + 2 * encoding.number(fields[2])
        metadata_at = content_at + 2 * encoding.number(fields[3])
        if metadata_at > len(fields):
            raise errors.NotAuthentic("a head is cut short")
        return cls(
            checksums=encoding.pairs(fields[_HEAD_FIELDS:content_at]),
            checksum_type=encoding.text(fields[0]),
            content=_texts(fields[content_at:metadata_at]),
            metadata=_texts(fields[metadata_at:]),
            visible_parts=_parse_runs(fields[1]) if fields[1] else (),
        )


@dataclass(slots=True)
class Envelope:
    """One version's envelope: the clear fields, and the sealed head beside them.

    The head's tag covers every clear field, so nothing here is to be believed before
    `open_head` has returned.

    Attributes:
        generation: names the envelope; 16 random bytes, new with every envelope.
        origin_bucket: bucket of the binding.
        origin_key: object key of the binding.
        mode: who holds the key, "SSE-C" or "SSE-S3".
        key_fields: what finds the key: nothing for SSE-C, the store key's number in
            decimal for SSE-S3.
        wrapped: the data key.
        etag: as shown, without quotes.
        size: plaintext bytes.
        modified_ms: time of writing, milliseconds since the Unix epoch.
        version_id: the public one.
        body_digest: SHA-256 of the encoded body record.
        sealed_head: nonce, ciphertext, tag.
    """

    generation: bytes
    origin_bucket: str
    origin_key: str
    mode: str
    key_fields: tuple[bytes, ...]
    wrapped: WrappedKey
    etag: str
    size: int
    modified_ms: int
    version_id: str
    body_digest: bytes
    sealed_head: bytes
    _read: bytes = field(default=b"", init=False, repr=False, compare=False)
    """The bytes that `parse` read the clear fields from, which the head's tag vouches for."""

    @classmethod
    def seal(
        cls,
        *,
        binding: Binding,
        key_fields: tuple[bytes, ...],
        wrapped: WrappedKey,
        etag: str,
        size: int,
        modified_ms: int,
        version_id: str,
        body_digest: bytes,
        head: Head,
        head_key: HeadKey,
        random_bytes: RandomBytes,
    ) -> Self:
        """Make an envelope: `wrapped` and `head_key` come from one `wrap` with this binding."""
        sealed = cls(
            generation=binding.generation,
            origin_bucket=binding.bucket,
            origin_key=binding.key,
            mode=binding.mode,
            key_fields=key_fields,
            wrapped=wrapped,
            etag=etag,
            size=size,
            modified_ms=modified_ms,
            version_id=version_id,
            body_digest=body_digest,
            sealed_head=b"",
        )
        sealed.sealed_head = gcm.seal(head_key, sealed._clear(), head.encode(), random_bytes)
        return sealed

    @property
    def binding(self) -> Binding:
        """What `unwrap` needs to open `wrapped`."""
        return Binding(self.mode, self.origin_bucket, self.origin_key, self.generation)

    def open_head(self, head_key: HeadKey) -> Head:
        """Open the head, and thereby vouch for every clear field.

        Raises:
            NotAuthentic: the head or a clear field was changed, or this is the key of
                another envelope.
        """
        # The encoding is injective, so these are the only bytes that the fields print to.
        return Head.parse(gcm.unseal(head_key, self._read or self._clear(), self.sealed_head))

    def check_body(self, body: bytes) -> None:
        """Check that an encoded body record is the one that this envelope is for.

        Raises:
            NotAuthentic: it is another.
        """
        if not hmac.compare_digest(hashlib.sha256(body).digest(), self.body_digest):
            raise errors.NotAuthentic("a body record is not the one that its envelope names")

    def encode(self) -> bytes:
        """Return the envelope's stored form."""
        return ENVELOPE_MAGIC + encoding.encode(
            derive.Label.ENVELOPE, self._clear(), self.sealed_head
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what `encode` printed; the head stays sealed.

        Raises:
            NotAuthentic: nothing prints to this.
        """
        clear, sealed_head = _after_magic(ENVELOPE_MAGIC, derive.Label.ENVELOPE, data)
        fields = encoding.decode(derive.Label.ENVELOPE_CLEAR, clear, 12)
        _check_magic(ENVELOPE_MAGIC, fields[0])
        parsed = cls(
            generation=encoding.sized(fields[1], GENERATION_BYTES),
            origin_bucket=encoding.text(fields[2]),
            origin_key=encoding.text(fields[3]),
            mode=encoding.text(fields[4]),
            key_fields=tuple(encoding.decode(derive.Label.KEY_FIELDS, fields[5])),
            wrapped=WrappedKey.parse(fields[6]),
            etag=encoding.text(fields[7]),
            size=encoding.number(fields[8]),
            modified_ms=encoding.number(fields[9]),
            version_id=encoding.text(fields[10]),
            body_digest=encoding.sized(fields[11], DIGEST_BYTES),
            sealed_head=sealed_head,
        )
        parsed._read = clear
        return parsed

    def _clear(self) -> bytes:
        # Printed anew from the fields each time: what is stored is what a caller reads here.
        return encoding.encode(
            derive.Label.ENVELOPE_CLEAR,
            ENVELOPE_MAGIC,
            self.generation,
            self.origin_bucket,
            self.origin_key,
            self.mode,
            encoding.encode(derive.Label.KEY_FIELDS, *self.key_fields),
            self.wrapped.encode(),
            self.etag,
            self.size,
            self.modified_ms,
            self.version_id,
            self.body_digest,
        )


@dataclass(slots=True)
class UploadDraft:
    """The envelope of an open multipart upload, before there is a version.

    The binding stands in it, and its generation becomes the version's. `escrow` lets
    the server finish the upload without the customer's key; it is empty where the
    server has the key anyway.
    """

    generation: bytes
    origin_bucket: str
    origin_key: str
    mode: str
    key_fields: tuple[bytes, ...]
    wrapped: WrappedKey
    escrow: bytes
    sealed_head: bytes

    @classmethod
    def seal(
        cls,
        *,
        upload_id: str,
        binding: Binding,
        key_fields: tuple[bytes, ...],
        wrapped: WrappedKey,
        escrow: bytes,
        head: Head,
        head_key: HeadKey,
        random_bytes: RandomBytes,
    ) -> Self:
        """Make a draft; `head` holds the content headers and metadata that came with Create."""
        draft = cls(
            generation=binding.generation,
            origin_bucket=binding.bucket,
            origin_key=binding.key,
            mode=binding.mode,
            key_fields=key_fields,
            wrapped=wrapped,
            escrow=escrow,
            sealed_head=b"",
        )
        draft.sealed_head = gcm.seal(head_key, draft._aad(upload_id), head.encode(), random_bytes)
        return draft

    @property
    def binding(self) -> Binding:
        """What `unwrap` needs to open `wrapped`, and the binding of the version to come."""
        return Binding(self.mode, self.origin_bucket, self.origin_key, self.generation)

    def open_head(self, head_key: HeadKey, upload_id: str) -> Head:
        """Open the head, and thereby vouch for every clear field.

        Raises:
            NotAuthentic: the head or a clear field was changed, or belongs to another upload.
        """
        return Head.parse(gcm.unseal(head_key, self._aad(upload_id), self.sealed_head))

    def encode(self) -> bytes:
        """Return the draft's stored form."""
        return UPLOAD_MAGIC + encoding.encode(derive.Label.UPLOAD, self._clear(), self.sealed_head)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what `encode` printed; the head stays sealed.

        Raises:
            NotAuthentic: nothing prints to this.
        """
        clear, sealed_head = _after_magic(UPLOAD_MAGIC, derive.Label.UPLOAD, data)
        fields = encoding.decode(derive.Label.UPLOAD_CLEAR, clear, 8)
        _check_magic(UPLOAD_MAGIC, fields[0])
        return cls(
            generation=encoding.sized(fields[1], GENERATION_BYTES),
            origin_bucket=encoding.text(fields[2]),
            origin_key=encoding.text(fields[3]),
            mode=encoding.text(fields[4]),
            key_fields=tuple(encoding.decode(derive.Label.KEY_FIELDS, fields[5])),
            wrapped=WrappedKey.parse(fields[6]),
            escrow=fields[7],
            sealed_head=sealed_head,
        )

    def _aad(self, upload_id: str) -> bytes:
        return encoding.encode(derive.Label.UPLOAD_HEAD, upload_id, self._clear())

    def _clear(self) -> bytes:
        return encoding.encode(
            derive.Label.UPLOAD_CLEAR,
            UPLOAD_MAGIC,
            self.generation,
            self.origin_bucket,
            self.origin_key,
            self.mode,
            encoding.encode(derive.Label.KEY_FIELDS, *self.key_fields),
            self.wrapped.encode(),
            self.escrow,
        )


def seal_escrow(
    store_key: secret.SecretKey,
    upload_id: str,
    body_key: BodyKey,
    head_key: HeadKey,
    random_bytes: RandomBytes,
) -> bytes:
    """Seal what Complete and ListParts need, since they come without the customer's key.

    The escrow opens no content: streams hang from another key.
    """
    return seal_box(
        store_key,
        derive.Label.ESCROW,
        upload_id,
        plaintext=body_key.reveal() + head_key.reveal(),
        random_bytes=random_bytes,
    )


def open_escrow(
    store_key: secret.SecretKey, upload_id: str, sealed: bytes
) -> tuple[BodyKey, HeadKey]:
    """Return the two keys of an open upload.

    Raises:
        NotAuthentic: the escrow was changed, belongs to another upload, or was made
            under another store key.
    """
    plain = open_box(store_key, derive.Label.ESCROW, upload_id, sealed=sealed)
    encoding.sized(plain, 2 * derive.KEY_BYTES)
    return BodyKey(plain[: derive.KEY_BYTES]), HeadKey(plain[derive.KEY_BYTES :])


def seal_box(
    key: secret.SecretKey,
    label: bytes,
    *fields: bytes | str | int,
    plaintext: bytes,
    random_bytes: RandomBytes,
) -> bytes:
    """Seal a small secret under a key that lives long: `salt (32) ‖ nonce (12) ‖ … ‖ tag (16)`.

    The key may have any length, and other uses beside this one: the box has a key
    of its own, derived through its salt. `label` and `fields` say what is in the box
    and whose it is; opening it takes the same.
    """
    salt = random_bytes(derive.SALT_BYTES)
    box_key = derive.expand(derive.extract(salt, key), derive.Label.BOX)
    return salt + gcm.seal(box_key, encoding.encode(label, *fields), plaintext, random_bytes)


def open_box(
    key: secret.SecretKey, label: bytes, *fields: bytes | str | int, sealed: bytes
) -> bytes:
    """Open a box.

    Raises:
        NotAuthentic: it was sealed under another key, label or fields, or was changed.
    """
    salt = sealed[: derive.SALT_BYTES]
    box_key = derive.expand(derive.extract(salt, key), derive.Label.BOX)
    return gcm.unseal(box_key, encoding.encode(label, *fields), sealed[derive.SALT_BYTES :])


def _checked(key: secret.SecretKey, wrapped: WrappedKey) -> derive.Expander:
    """Return the pseudo-random key, if the key check agrees. The one place where keys are judged."""
    prk = derive.Expander(derive.extract(wrapped.salt, key))
    if not hmac.compare_digest(prk.expand(derive.Label.CHECK), wrapped.check):
        raise errors.WrongKey
    return prk


def _bound(prk: derive.Expander, label: bytes, binding: Binding) -> bytes:
    return prk.expand(label, binding.mode, binding.bucket, binding.key, binding.generation)


def _after_magic(magic: bytes, label: bytes, data: bytes) -> tuple[bytes, bytes]:
    _check_magic(magic, data[: len(magic)])
    clear, sealed = encoding.decode(label, data[len(magic) :], 2)
    return clear, sealed


def _check_magic(magic: bytes, found: bytes) -> None:
    if found != magic:
        raise errors.NotAuthentic("a record has another magic or version than can be read")


def _texts(fields: list[bytes]) -> dict[str, str]:
    return {name: encoding.text(value) for name, value in encoding.pairs(fields).items()}


def _parse_runs(data: bytes) -> tuple[int, ...]:
    if len(data) % _RUN.size:
        raise errors.NotAuthentic("a list of visible parts is cut short")
    runs: list[tuple[int, int]] = list(_RUN.iter_unpack(data))
    parts = sum(count for count, _ in runs)
    split = any(left[1] == right[1] for left, right in itertools.pairwise(runs))
    if parts > MAX_VISIBLE_PARTS or split or any(count == 0 for count, _ in runs):
        raise errors.NotAuthentic("a list of visible parts is none that is ever written")
    return tuple(itertools.chain.from_iterable(itertools.repeat(n, count) for count, n in runs))
