"""Envelopes of client-side encryption: which key fits, what it unwraps, what comes out.

    read [try_all]
    x-amz-meta-NAME: value

    base64 of what is stored

is an object as a store that lies gives it, opened with keys of every kind. Whoever wrote the
input has none of them: of a format that vouches for what it holds, the only plaintext that may come
out is the one that was sealed when the corpus was made.

    write FORMAT
    {"description": …, "context": …}

is sealed, opened again by a ring of keys in any order, put under another key, and must stay closed
to a ring that lacks the key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from strongroom import errors
from strongroom.client import AesKey, AlibabaKms, KmsKey, RsaKey, open_sealed, rules, seal, sealed
from strongroom.client import headers as names
from strongroom.client.keys import KeyRing

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN: Final = b"what was sealed when the corpus was made"
_VOUCHING: Final = (names.S3_V2, names.S3_V3, names.SEALED)
_FORMATS: Final = (names.OSS_V1, names.OSS_V2, names.S3_V2, names.S3_V3, names.SEALED)
_STRICT: Final = rules.Rules(legacy_content=False, legacy_wraps=False)
_MOST_NAMES: Final = 8


class Kms:
    """A KMS of both vendors whose blobs nobody can forge: a plaintext, masked, under a MAC."""

    def generate_data_key(self, **asked: Any) -> dict[str, bytes]:
        """Answer as boto3's client does."""
        plain = hashlib.sha256(repr(asked).encode()).digest()
        return {"Plaintext": plain, "CiphertextBlob": _blob(plain, asked["EncryptionContext"])}

    def encrypt(self, **asked: Any) -> dict[str, bytes]:
        """Answer as boto3's client does."""
        return {"CiphertextBlob": _blob(asked["Plaintext"], asked["EncryptionContext"])}

    def decrypt(self, **asked: Any) -> dict[str, bytes]:
        """Answer as boto3's client does."""
        return {"Plaintext": _opened(asked["CiphertextBlob"], asked["EncryptionContext"])}

    def alibaba(self, action: str, params: Mapping[str, str]) -> dict[str, str]:
        """Answer as a call of Alibaba's does."""
        context = params.get("EncryptionContext", "")
        if action == "Decrypt":
            try:
                blob = base64.b64decode(params["CiphertextBlob"], validate=True)
            except (binascii.Error, ValueError):
                raise errors.WrongKey("no blob") from None
            return {"Plaintext": _opened(blob, context).decode()}
        text = params.get("Plaintext")
        plain = text or base64.b64encode(hashlib.sha256(context.encode()).digest()).decode()
        blob = base64.b64encode(_blob(plain.encode(), context)).decode()
        return {"Plaintext": plain, "CiphertextBlob": blob}


def _masked(data: bytes) -> bytes:
    mask = hashlib.shake_256(b"mask").digest(len(data))
    return bytes(one ^ other for one, other in zip(data, mask, strict=True))


def _mac(masked: bytes, context: Any) -> bytes:
    bound = json.dumps(context, sort_keys=True).encode()
    return hmac.digest(b"kms", len(masked).to_bytes(8, "big") + masked + bound, "sha256")


def _blob(plain: bytes, context: Any) -> bytes:
    masked = _masked(plain)
    return _mac(masked, context) + masked


def _opened(blob: bytes, context: Any) -> bytes:
    tag, masked = blob[:32], blob[32:]
    if not hmac.compare_digest(tag, _mac(masked, context)):
        raise errors.WrongKey("not a blob of this KMS, or not with this context")
    return _masked(masked)


def _rsa() -> RsaKey:
    """Make the same pair in every process: the corpus is under it."""
    private = serialization.load_pem_private_key(_PEM.encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey), "it was made as one"
    return RsaKey(private, description={"kind": "rsa"})


# Guards nothing: it was made for this file.
_PEM: Final = """-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC/z2PjbaikivnC
kX0E9glX9UEjrq3OVurvqt7JQF+1XhZudczQidyZ4x3FDWrMD1WKzwRHIz5KDxdF
RyqIg3tynGNqNbvTayUN9zcvn4ehrz2cR+/UHe0LgwwP9MkzI6CkikBWgfAyVWEY
NzHVLKJ7tO6eOOcSXGGHEufHmoWRZPvYOcUZCikz9qJMtwA1sS2uswWh1oqJl5A3
5oB6DroubpB3UxCH6tf62GQpE5VzmthJhS3UYzgsFosaAmhzBj0srJZI/ls6r4Uv
+9WNuliAORX3N7Z3txUwKTxffGFeuCYbPESSRVb9xoXpADNpkJsTEUSoqSZ4tSCO
yw5QWJpdAgMBAAECggEAKM9/eUxDrX7EVVmPOBcBNe3Axk7MPDLSGdxJOpivxG8Y
Zrg5s8UhYryoAN0x8+jvUnFpf5lID4nWca8KpbET+va7UEXOiNUrNSV8YG2Y9hXL
Dg1gQcl8Pg7L6jky9eaGr3ua5M0QxiTUW8qil7C/gYKlopSI1adCOPMUzata7+wl
0gXntHpNlZkwoEM5qUIApuVrTLMaT9ijmcRF/drerdWiy75xt2aW/Woz/9l0r0AU
oJ6SEqxF/MipHwwaJUnVvCzXThzolgdiYzKOH32lD982GTw7qFvmOhyx1Seos2Fo
cez0oWSiTHkQKpCu2uzosKiMMAmpLppkuqxZaKYkIQKBgQDzigFfyFtICAzp+sXN
zFNw69dCX/Q3Z9GoRuGfZxuntih42ZNg5ErPM2b3v1b9PWF1o8eaPVwb4rO+++n8
v8CbYpK8NJgw26g+lMyUXW+dh944S4Yp6oz55AoN6xU0afF4Ho1JzV+ynrRvMk/0
Ww0SQMjS9gmzJSEyWsWxLvFGAwKBgQDJn9A7HmpmF/XxbVY12q9dIVVVW3gnTz/k
9bioDFMLQpX6zcDoXy01gHs873AjJBI+8cMbt/UuCfYmTZYfTPmkndhIU8Vc/RCF
a6dfaC5yddpjnGA9AjsF4+9gEFrgrFQx9wDQf/2DvsUwWY4lSaJ1VPo390CMSkJa
y944d6BgHwKBgQCqZlJF0WtFABUBFayXLTLo3Ks1zuuSZLrGUioFnWA1PXgd7qZ2
8eUCCwYtrJxR/kOVyy2a1vn+rOV1aM+0P/qk/hiLRQWDkf2rI/Psj1/MSkeK/hT2
eR2ArzT1vhmNHd+NW1siW2dtFCxNbVeSMq73qYqaSPpKdV0/3VFbguvgPwKBgFrO
Sy4VCL5qVC4jnAwtLYW4GYKT641ot9IaiMvGoTAVEQ8f053UH7xU3SwYelyZRk5q
/ABj3Vyax+2AS/hU5qopHNuWPvEeWG5+iacCeMi8I1txdjaD5qlEeu687vD5LAJE
yG0e98J6DL012Dsa6rwFRZwnEz8bwr65yp+L4QLpAoGASBW3Omwd813rWRIZZTAf
8uD9tbw1klqvmDDOkM6eb5ySjLXP3pzsAYOEeZXKWSCMHq4IRR8V72GLFYUUyGbT
axOt05FncNnfCHn0FNhKhher/j7+0fbYhP/dPNHasj+4QUj4uPUVabT++edX1ooc
bjCC/1+PZ/A5CXUVgHUrCWI=
-----END PRIVATE KEY-----
"""
KEYS: Final = (
    AesKey(hashlib.sha256(b"aes").digest(), {"kind": "aes"}),
    AesKey(hashlib.sha256(b"short").digest()[:16]),
    _rsa(),
    KmsKey(Kms(), "arn:aws:kms:us-east-1:111122223333:key/1", description={"kind": "aws"}),
    KmsKey(AlibabaKms(Kms().alibaba), "key-1", description={"kind": "ali"}),
)
_STRANGER: Final = AesKey(hashlib.sha256(b"stranger").digest())


def run(data: bytes) -> str:
    """Read or write, as the first line says; return how it ended."""
    line, _, rest = data.partition(b"\n")
    words = line.decode("ascii", "replace").split()
    try:
        if words[:1] == ["write"]:
            return _write(words[1:], rest)
        return _read(rest, try_all="try_all" in words)
    except errors.StrongroomError as error:
        told = f"{error!r} {error}"
        assert not any(each in told for each in _secrets()), "no refusal shows a key"
        return type(error).__name__


def _secrets() -> list[str]:
    """Return a master key as it could stand in a message."""
    raw = hashlib.sha256(b"aes").digest()
    return [raw.hex(), base64.b64encode(raw).decode(), repr(raw)[2:-1]]


def _read(rest: bytes, *, try_all: bool) -> str:
    head, _, stored = rest.partition(b"\n\n")
    metadata = {}
    for line in head.decode("latin-1").split("\n"):
        name, _, value = line.partition(":")
        metadata[name.strip()] = value.strip()
    instruction = metadata.pop("instruction", None)
    try:
        body = base64.b64decode(stored, validate=False)
    except binascii.Error:
        body = stored
    bare = names.with_instruction(names.names(metadata), instruction)
    kind = names.format_of(bare)
    told: dict[str, Any] = {"instruction": instruction, "try_all": try_all}
    try:
        plain = open_sealed(metadata, body, KEYS, **told, allowed=_STRICT)
    except errors.UnsupportedFormat:
        # What old clients wrote, which nothing vouches for.
        plain = open_sealed(metadata, body, KEYS, **told)
    else:
        if kind in _VOUCHING:
            assert plain == PLAIN, "what comes out is what was sealed"
            part = open_sealed(metadata, body, KEYS, (5, 9), **told, allowed=_STRICT)
            assert part == PLAIN[5:9], "and so are its ranges"
    size = sealed.plain_size(bare, len(body))
    assert size is None or kind == names.S3_V1 or size == len(plain), "the size is known before"
    return f"{kind} {len(plain)}"


def _write(words: list[str], rest: bytes) -> str:
    kind = words[0] if words and words[0] in _FORMATS else names.SEALED
    try:
        asked = json.loads(rest)
    except (ValueError, RecursionError):
        return "no JSON"
    asked = asked if isinstance(asked, dict) else {}
    description = _texts(asked.get("description"))
    context = _texts(asked.get("context")) if kind == names.SEALED else {}
    key = AesKey(hashlib.sha256(b"another").digest(), description)
    if kind in (names.OSS_V1, names.OSS_V2):
        key = RsaKey(_PEM, description=description)
    made = _deterministic(rest)
    locked = seal([key], kind, context=context or None, random_bytes=made)
    body = bytes(locked.seal_part(1, PLAIN, last=True))
    told = {"context": context or None}
    metadata = {f"x-amz-meta-{name}": value for name, value in locked.envelope.items()}
    for ring in ([key, *KEYS], [*KEYS, key]):
        assert open_sealed(metadata, body, ring, **told) == PLAIN, "its key opens it"
    if kind in _VOUCHING:
        try:
            open_sealed(metadata, body, [_STRANGER, *KEYS], try_all=True, **told)
        except (errors.WrongKey, errors.NotAuthentic):
            pass
        else:
            raise AssertionError("no other key opens it")
    if kind != names.OSS_V1:
        new = sealed.rekeyed(
            locked.envelope,
            KeyRing([key]),
            [KEYS[2] if kind == names.OSS_V2 else _STRANGER],
            context=context or None,
            new_context=context or None,
            random_bytes=made,
        )
        renewed = {f"x-oss-meta-{name}": value for name, value in new.items()}
        ring = [KEYS[2], _STRANGER]
        assert open_sealed(renewed, body, ring, **told) == PLAIN, "so does the new one"
    return f"{kind} written"


def _texts(value: Any) -> dict[str, str]:
    """Return the pairs of text of a JSON object, as many as an envelope has room for."""
    if not isinstance(value, dict):
        return {}
    found = {name: text for name, text in value.items() if isinstance(text, str)}
    # What has half a character in it can be no header.
    clean = {n: t for n, t in found.items() if not _is_broken(n + t)}
    return dict(list(clean.items())[:_MOST_NAMES])


def _is_broken(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _deterministic(seed: bytes) -> Any:
    counter = 0

    def some(count: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(seed + counter.to_bytes(4, "big")).digest(count)

    return some
