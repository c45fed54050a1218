"""Arguments and answers of S3 calls, turned from what is stored to what is meant and back."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import IO, TYPE_CHECKING, Any

from strongroom import errors
from strongroom.client import headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

READ_ARGUMENTS = (
    "VersionId",
    "SSECustomerAlgorithm",
    "SSECustomerKey",
    "SSECustomerKeyMD5",
    "RequestPayer",
    "ExpectedBucketOwner",
)
"""What a read of an object must repeat for every request that it is made of."""

ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CHECKSUM = re.compile(r"Checksum(?!Mode|Algorithm|Type)")


def bare(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the user metadata of an answer, names in lower case."""
    return {name.lower(): value for name, value in answer.get("Metadata", {}).items()}


def plain(answer: Mapping[str, Any], size: int | None) -> dict[str, Any]:
    """Return an answer without envelope, checksums of ciphertext and the ciphertext's length.

    The ETag stays: it names the stored version, which conditions are about.
    """
    told = {name: value for name, value in answer.items() if not name.startswith("Checksum")}
    told["Metadata"] = {
        name: value
        for name, value in answer.get("Metadata", {}).items()
        if not headers.family(name.lower()) and name.lower() != headers.PLAIN_LENGTH
    }
    if size is not None:
        told["ContentLength"] = size
    return told


def span(asked: str, size: int) -> tuple[int, int]:
    """Return the half-open range that a Range header means in a plaintext of `size` bytes.

    Raises:
        ValueError: it is no single range of bytes.
        RangeNotSatisfiable: it begins after the end.
    """
    match = _RANGE.fullmatch(asked.strip())
    if match is None or not (match[1] or match[2]):
        raise ValueError(f"{asked!r} is no range of bytes")
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        end = min(size, int(match[2]) + 1) if match[2] else size
    if start >= size or start >= end:
        raise errors.RangeNotSatisfiable(size, asked)
    return start, end


def check_arguments(kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that would be stored with the ciphertext and tell of the plaintext.

    Raises:
        ValueError: there is one, or metadata have a name of an envelope.
    """
    wrong = [name for name in kwargs if _CHECKSUM.match(name) or name == "ContentMD5"]
    if wrong:
        raise ValueError(f"{wrong[0]} would describe the plaintext, and the ciphertext is stored")
    for name in kwargs.get("Metadata", {}):
        lowered = name.lower()
        if headers.family(lowered) or lowered == headers.PLAIN_LENGTH:
            raise ValueError(f"{name} is a name of envelopes")


def check_md5(data: bytes, announced: str) -> None:
    """Compare a plaintext with its Content-MD5.

    Raises:
        ValueError: it is no MD5 in base64.
        DigestMismatch: it is another one.
    """
    try:
        expected = base64.b64decode(announced, validate=True)
    except binascii.Error:
        raise ValueError("ContentMD5 is no base64") from None
    computed = hashlib.md5(data, usedforsecurity=False).digest()
    if not hmac.compare_digest(expected, computed):
        raise errors.DigestMismatch("MD5", expected, computed)


def taken(client: Any, operation: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments that an operation has, but for those that name the object."""
    members = client.meta.service_model.operation_model(operation).input_shape.members
    return {
        name: value
        for name, value in kwargs.items()
        if name in members and name not in {"Bucket", "Key", "Metadata", "Body"}
    }


def threads_of(config: Any, otherwise: int) -> int:
    """Return how many threads a boto3 `TransferConfig` asks for."""
    if config is None:
        return otherwise
    if not getattr(config, "use_threads", True):
        return 1
    return int(getattr(config, "max_concurrency", otherwise))


def write_all(
    pieces: Iterable[bytes], target: IO[bytes], tell: Callable[[int], object] | None
) -> None:
    """Write pieces to a stream and say how much was written."""
    for piece in pieces:
        if piece:
            target.write(piece)
            if tell is not None:
                tell(len(piece))


def chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a piece that was taken already, and the rest."""
    yield first
    yield from rest


class Joined:
    """A stream whose beginning was read already."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first = memoryview(first)
        self._rest = rest

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes."""
        if self._first:
            found = bytes(self._first[:count])
            self._first = self._first[count:]
            return found
        return self._rest.read(count)
