"""aws-chunked bodies.

    LENGTH TRAILERS KIND SPLIT
    body

`LENGTH` is the announced length, `TRAILERS` their names or `-` for a coding without,
`KIND` is `unsigned`, `any` (each signature is right) or `signed` (none is), and
`SPLIT` seeds where the body is cut. All of them may be nonsense.
"""

from __future__ import annotations

from datetime import UTC, datetime

from strongroom import errors
from strongroom.crypto import mac
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import signature
from strongroom.wire import chunked

MAX_LENGTH = 10**18
_MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


class AnySignature:
    """A verifier that is content with all signatures, and sees that it is asked properly."""

    def __init__(self) -> None:
        self.covered = 0
        self._ended = False

    def update(self, piece: bytes | memoryview) -> None:
        """Count what signatures cover."""
        assert not self._ended, "data after the closing chunk"
        assert len(piece), "pieces have bytes"
        self.covered += len(piece)

    def end_chunk(self, signature: bytes) -> None:
        """Take a signature."""
        assert len(signature) == 64, "a signature is 64 digits"  # noqa: PLR2004
        bytes.fromhex(signature.decode("ascii"))

    def end_trailers(self, signature: bytes, canonical: bytes) -> None:
        """Take the signature of the trailers."""
        assert not self._ended, "trailers end once"
        assert isinstance(signature, bytes), "a signature was sent"
        assert canonical == b"" or canonical.endswith(b"\n"), "each trailer is a line"
        self._ended = True


def run(data: bytes) -> str:
    """Decode a body whole and in pieces; both must tell the same."""
    settings, _, body = data.partition(b"\n")
    length, trailers, kind, seed = _settings(settings)
    whole = _decode(body, [len(body)], length, trailers, kind)
    pieces = _decode(body, _steps(seed, len(body)), length, trailers, kind)
    assert whole == pieces, f"whole: {whole!r}; in pieces: {pieces!r}"
    return whole[0]


def _settings(line: bytes) -> tuple[int, frozenset[bytes] | None, bytes, int]:
    words = [*line.split(b" "), b"", b"", b"", b""]
    length = int(words[0][:18]) if words[0][:18].isdigit() else len(words[0])
    named = words[1] not in (b"-", b"")
    trailers = frozenset(words[1].lower().split(b",")) if named else None
    return length, trailers, words[2], sum(words[3]) + len(words[3])


def _steps(seed: int, size: int) -> list[int]:
    """Return lengths of pieces that add up to `size`, some of them 0."""
    steps = []
    while size > 0:
        seed = (seed * 1103515245 + 12345) % 2**31
        # Bits from above: the lower ones of this generator repeat soon.
        step = min(size, (seed >> 12) % 23)
        steps.append(step)
        size -= step
    return steps


def _decode(
    body: bytes, steps: list[int], length: int, trailers: frozenset[bytes] | None, kind: bytes
) -> tuple[str, bytes, dict[bytes, bytes]]:
    """Return how it ended; after a success also payload and trailers."""
    lenient = AnySignature()
    verifier: chunked.ChunkVerifier | None = None
    if kind == b"any":
        verifier = lenient
    elif kind == b"signed":
        verifier = signature.ChunkVerifier(_claim(), mac.Keyed(bytes(32)))
    decoder = chunked.Decoder(decoded_length=length, verifier=verifier, trailers=trailers)
    payload = bytearray()
    position = 0
    try:
        for step in steps:
            for piece in decoder.feed(body[position : position + step]):
                payload += piece
            position += step
            assert len(payload) <= length, "never more than announced"
        found = decoder.finish()
    except (errors.StrongroomError, Refused) as error:
        return type(error).__name__, b"", {}
    assert len(payload) == length, "all that was announced"
    assert found.keys() == (trailers or frozenset()), "the trailers that were announced"
    if kind == b"any":
        assert lenient.covered == length, "all data is signed"
    return "decoded", bytes(payload), found


def _claim() -> signature.Claim:
    return signature.Claim(
        access_key="access",
        date="20260102",
        region="us-east-1",
        service="s3",
        signed_headers=("host",),
        signature="0" * 64,
        signed_at=_MOMENT,
        timestamp="20260102T000000Z",
        expires_s=None,
        payload=signature.Payload.STREAMING_TRAILER,
        payload_hash=signature.Payload.STREAMING_TRAILER.value,
        session_token=None,
        date_text="20260102T000000Z",
    )
