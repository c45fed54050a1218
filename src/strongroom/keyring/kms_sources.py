"""Objects under KMS keys: how their secrets are made, and found again.

The secret that wraps an object's data key is a data key of the KMS: asked for when the
object is written, kept as the KMS's ciphertext in the envelope's key fields, and opened by
the KMS for whoever may use the key. The encryption context is the ARN of the object, beside
what the writer added; the KMS binds it, and so does the envelope.

With a **bucket key** one data key of the KMS serves all that a caller writes to a bucket
under one KMS key for `CACHE_MS`, and reading what it guards asks the KMS as seldom. Its
context is the ARN of the bucket. No two envelopes share more than that secret: each has a salt
of its own. The price is that a permission that was taken away, or a key that was disabled,
goes on working for that long; objects with a data key of their own notice at once.

Source: S3 user guide, "Using server-side encryption with AWS KMS keys (SSE-KMS)" (encryption
context) and "Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.crypto import derive, encoding
from strongroom.keyring import kms, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.crypto import secret

DEFAULT_KEY: Final = "alias/aws/s3"
"""The key of a request that asks for the KMS and names none; the KMS makes it when it is needed."""

ARN_NAME: Final = "aws:s3:arn"
"""The pair of the encryption context that S3 itself adds."""

NOBODY: Final = kms.Caller(user_id="", is_root=False)
"""A caller without any permission: that of requests nobody signed."""

CACHE_MS = 60_000
"""How long a bucket key is used."""

CACHED = 1024
"""Bucket keys kept at once; the oldest goes first."""

_OBJECT: Final = b"object"
_BUCKET: Final = b"bucket"
_FIELDS = 4
"""Key fields of one layer: ARN, the KMS's ciphertext, context, and what the data key is for."""
_DUAL_FIELDS = 6
"""And of two: the second ciphertext and the outer data key, wrapped."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The wish to have an object under a KMS key.

    Attributes:
        key: id, ARN, `alias/NAME` or alias ARN.
        caller: who writes; needs the permission to use the key.
        context: what the writer adds to the encryption context.
        bucket_key: whether a bucket key will do. Not for `dual`.
        dual: whether the data is to be sealed twice, under data keys of two calls.
    """

    key: str
    caller: kms.Caller
    context: Mapping[str, str]
    bucket_key: bool = False
    dual: bool = False


@dataclass(frozen=True, slots=True)
class KmsKey:
    """A secret of the KMS, with what finds it again; a `sources.KeySource`.

    `outer` is the secret of the second layer, None where there is one layer.
    """

    mode: str
    arn: str
    context: bytes
    scope: bytes
    ciphertext: bytes
    outer: secret.SecretKey | None
    outer_ciphertext: bytes
    secret: secret.SecretKey

    @property
    def key_fields(self) -> tuple[bytes, ...]:
        """What an envelope says of the key; of two layers the outer wrapped key is to be added."""
        fields = (self.arn.encode(), self.ciphertext, self.context, self.scope)
        return fields if self.outer is None else (*fields, self.outer_ciphertext)


class KmsKeys:
    """Makes and opens `KmsKey`s."""

    def __init__(self, service: kms.Kms, *, clock_ms: Callable[[], int]) -> None:
        self._kms = service
        self._written = _Cache(clock_ms)
        self._read = _Cache(clock_ms)

    async def fresh(self, bucket: str, key: str, wish: Wish) -> KmsKey:
        """Return the secret for an object that is about to be written.

        Raises:
            KmsError: the KMS refuses, or cannot be asked.
        """
        shared = wish.bucket_key and not wish.dual
        place = f"arn:aws:s3:::{bucket}" if shared else f"arn:aws:s3:::{bucket}/{key}"
        context = {**wish.context, ARN_NAME: place}
        encoded = _print_context(context)
        if shared:
            made = await self._bucket_key(bucket, wish, context, encoded)
            return _single(sources.KMS_MODE, made, encoded, _BUCKET)
        made = await self._kms.generate_data_key(wish.key, context, wish.caller)
        if not wish.dual:
            return _single(sources.KMS_MODE, made, encoded, _OBJECT)
        outer = await self._kms.generate_data_key(made.key_arn, context, wish.caller)
        return _dual(made, outer, encoded)

    async def _bucket_key(
        self, bucket: str, wish: Wish, context: Mapping[str, str], encoded: bytes
    ) -> kms.DataKey:
        name = (bucket, wish.key, encoded, wish.caller.who)
        made = self._written.get(name)
        if made is None:
            made = await self._kms.generate_data_key(wish.key, context, wish.caller)
            self._written.put(name, made)
            self._read.put((made.ciphertext, encoded, wish.caller.who), made)
        return made

    async def open(self, mode: str, key_fields: tuple[bytes, ...], caller: kms.Caller) -> KmsKey:
        """Return the secret that an envelope names, for a caller who may use it.

        Raises:
            KmsError: the KMS refuses, or cannot be asked.
            NotAuthentic: these are not the key fields of this mode.
        """
        dual = mode == sources.DUAL_MODE
        if len(key_fields) != (_DUAL_FIELDS if dual else _FIELDS):
            raise errors.NotAuthentic("an envelope has not the key fields of its mode")
        ciphertext, encoded, scope = key_fields[1:_FIELDS]
        context = _parse_context(encoded)
        name = (ciphertext, encoded, caller.who)
        found = self._read.get(name) if scope == _BUCKET else None
        if found is None:
            found = await self._decrypt(ciphertext, context, caller)
            if scope == _BUCKET:
                self._read.put(name, found)
        if not dual:
            return _single(mode, found, encoded, scope)
        outer = await self._decrypt(key_fields[_FIELDS], context, caller)
        return _dual(found, outer, encoded)

    async def _decrypt(
        self, ciphertext: bytes, context: Mapping[str, str], caller: kms.Caller
    ) -> kms.DataKey:
        try:
            return await self._kms.decrypt(ciphertext, context, caller)
        except errors.KmsInvalidCiphertext as error:
            # Nobody brought it: it was stored here.
            raise errors.NotAuthentic("a data key of the KMS is not what was stored") from error


def protection(mode: str, key_fields: tuple[bytes, ...]) -> sources.Protection:
    """Return what answers tell of an envelope's key.

    Raises:
        NotAuthentic: these are not the key fields of this mode.
    """
    plain = sources.PLAIN_PROTECTIONS.get(mode)
    if plain is not None:
        return plain
    if len(key_fields) < _FIELDS:
        raise errors.NotAuthentic("an envelope has not the key fields of its mode")
    return sources.Protection(
        mode, encoding.text(key_fields[0]), bucket_key=key_fields[_FIELDS - 1] == _BUCKET
    )


def _single(mode: str, key: kms.DataKey, context: bytes, scope: bytes) -> KmsKey:
    return KmsKey(mode, key.key_arn, context, scope, key.ciphertext, None, b"", key.plaintext)


def _dual(inner: kms.DataKey, outer: kms.DataKey, context: bytes) -> KmsKey:
    return KmsKey(
        sources.DUAL_MODE,
        inner.key_arn,
        context,
        _OBJECT,
        inner.ciphertext,
        outer.plaintext,
        outer.ciphertext,
        inner.plaintext,
    )


def _print_context(context: Mapping[str, str]) -> bytes:
    return encoding.encode(
        derive.Label.KMS_CONTEXT, *encoding.flatten(dict(sorted(context.items())))
    )


def _parse_context(data: bytes) -> dict[str, str]:
    fields = encoding.decode(derive.Label.KMS_CONTEXT, data)
    return {name: encoding.text(value) for name, value in encoding.pairs(fields).items()}


class _Cache:
    """Data keys by name, for `CACHE_MS` each and `CACHED` of them at most.

    They stand in the order of their coming, so the first are the first to go: looking
    at the cache lets go of every key whose time is over, not only of the one looked for.
    """

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._kept: dict[tuple[object, ...], tuple[int, kms.DataKey]] = {}

    def get(self, name: tuple[object, ...]) -> kms.DataKey | None:
        """Return what was put there less than `CACHE_MS` ago."""
        self._forget()
        entry = self._kept.get(name)
        return None if entry is None else entry[1]

    def put(self, name: tuple[object, ...], key: kms.DataKey) -> None:
        """Keep a key; its time begins now."""
        self._kept.pop(name, None)
        self._kept[name] = (self._clock_ms(), key)
        self._forget()

    def _forget(self) -> None:
        now_ms = self._clock_ms()
        while self._kept:
            first = next(iter(self._kept))
            # A clock that was set back would otherwise make a key last for years.
            fresh = 0 <= now_ms - self._kept[first][0] < CACHE_MS
            if fresh and len(self._kept) <= CACHED:
                return
            del self._kept[first]
