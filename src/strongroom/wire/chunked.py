r"""The aws-chunked content coding, decoded without I/O.

    body    = *( size [";chunk-signature=" hex64] CRLF data CRLF )
              "0" [";chunk-signature=" hex64] CRLF *trailer CRLF
    trailer = name ":" value CRLF

Source: Amazon S3 API Reference, "Signature Calculations for the Authorization
Header: Transferring Payload in Multiple Chunks", and the same with trailing
headers. The grammar is strict for data and lenient after it, where clients differ:
minio-go ends trailer lines with LF alone, puts an empty line before
`x-amz-trailer-signature` and may end with one more; others leave the last CRLF out.

Whether the body is whole is told by the closing chunk, by the announced length and
by the announced trailers, never by the connection's end.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Protocol

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_CHUNK_HEADER = 1024
"""A size, a signature, and room for an extension that somebody may invent."""
MAX_TRAILER_BYTES = 4096
"""A few checksums and a signature are 300."""

TRAILER_SIGNATURE = b"x-amz-trailer-signature"

_HEADER = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;(.*))?", re.DOTALL)
_SIGNATURE = re.compile(rb"chunk-signature=([0-9a-f]{64})")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class ChunkVerifier(Protocol):
    """Checks the signatures of signed chunks; raises what its dialect answers with."""

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next piece of the chunk that is open."""

    def end_chunk(self, signature: bytes) -> None:
        """Close the chunk; raise if `signature` (64 hex digits) is not its own."""

    def end_trailers(self, signature: bytes, canonical: bytes) -> None:
        """Check the trailers: `name:value` and LF for each, sorted by name."""


class _State(enum.Enum):
    HEADER = "header"
    DATA = "data"
    AFTER_DATA = "after data"
    TRAILERS = "trailers"
    DONE = "done"


class Decoder:
    """Decodes one body, fed in pieces of any size.

    A chunk's signature covers all of its data, so pieces are handed out before
    they are verified. **Nothing may be committed before `finish` returns**: a bad
    signature, a wrong length or a missing trailer raises there at the latest.

    After an exception the decoder is of no further use.
    """

    def __init__(
        self,
        *,
        decoded_length: int,
        verifier: ChunkVerifier | None,
        trailers: Collection[bytes] | None,
        max_chunk_header: int = MAX_CHUNK_HEADER,
        max_trailer_bytes: int = MAX_TRAILER_BYTES,
    ) -> None:
        """Prepare for a body.

        Args:
            decoded_length: length of the payload, from `x-amz-decoded-content-length`.
            verifier: for signed chunks; None if they are unsigned.
            trailers: lower-case names from `x-amz-trailer`; all must come, and no
                others. None if the coding has no trailers. With a verifier they
                must be signed.
            max_chunk_header: longest line before a chunk, in bytes.
            max_trailer_bytes: longest trailer section.
        """
        self._left_in_body = decoded_length
        self._verifier = verifier
        self._expected = frozenset(trailers or ())
        self._signs_trailers = verifier is not None and trailers is not None
        self._max_header = max_chunk_header
        self._trailer_budget = max_trailer_bytes
        self._state = _State.HEADER
        self._line = bytearray()
        self._left_in_chunk = 0
        self._chunk_signature = b""
        self._trailers: dict[bytes, bytes] = {}
        self._trailer_signature: bytes | None = None

    def feed(self, data: bytes) -> list[bytes | memoryview]:
        """Take the next piece of the coded body; return the payload in it.

        The views in the answer share `data`'s memory.

        Raises:
            BodyTooLong: the chunks hold more than was announced.
            BodyTooShort: the closing chunk came before the announced length.
            BodyMalformed: the framing cannot be read.
            Exception: what the verifier raises.
        """
        pieces: list[bytes | memoryview] = []
        view, position, end = memoryview(data), 0, len(data)
        while position < end:
            if self._state is _State.DATA:
                take = min(self._left_in_chunk, end - position)
                piece = view[position : position + take]
                position += take
                if self._verifier is not None:
                    self._verifier.update(piece)
                pieces.append(piece)
                self._left_in_chunk -= take
                if not self._left_in_chunk:
                    self._end_chunk()
                    self._state = _State.AFTER_DATA
                continue
            newline = data.find(b"\n", position)
            stop = end if newline < 0 else newline + 1
            self._take_line(data[position:stop])
            position = stop
            if newline >= 0:
                line = bytes(self._line)
                self._line.clear()
                self._end_line(line)
        return pieces

    def finish(self) -> dict[bytes, bytes]:
        """Say that the coded body has ended; return the trailers by lower-case name.

        Raises:
            BodyTooShort: it ended before its closing chunk.
            BodyMalformed: an announced trailer, or the trailers' signature, is missing.
            Exception: what the verifier raises.
        """
        if self._state is _State.TRAILERS:
            if self._line:
                line = bytes(self._line)
                self._line.clear()
                self._take_trailer(line)
            if self._state is _State.TRAILERS:
                self._end_trailers()
        if self._state is not _State.DONE:
            raise errors.BodyTooShort("The body ended before its closing chunk.")
        return self._trailers

    def _take_line(self, part: bytes) -> None:
        """Gather a line, its LF included, within the limits."""
        self._line += part
        if self._state in (_State.TRAILERS, _State.DONE):
            self._trailer_budget -= len(part)
            if self._trailer_budget < 0:
                raise errors.BodyMalformed("The trailers are too long.")
        elif len(self._line) > self._max_header:
            raise errors.BodyMalformed("The line before a chunk is too long.")

    def _end_line(self, line: bytes) -> None:
        if self._state is _State.HEADER:
            self._begin_chunk(line)
        elif self._state is _State.AFTER_DATA:
            if line != b"\r\n":
                raise errors.BodyMalformed("A chunk's data does not end where its size says.")
            self._state = _State.HEADER
        else:
            self._take_trailer(line)

    def _begin_chunk(self, line: bytes) -> None:
        match = _HEADER.fullmatch(line[:-2]) if line.endswith(b"\r\n") else None
        if match is None:
            raise errors.BodyMalformed("The line before a chunk is not a size.")
        if self._verifier is not None:
            signature = _SIGNATURE.fullmatch(match[2] or b"")
            if signature is None:
                raise errors.BodyMalformed("A chunk has no signature.")
            self._chunk_signature = signature[1]
        size = int(match[1], 16)
        if size > self._left_in_body:
            raise errors.BodyTooLong("The chunks hold more than the announced length.")
        self._left_in_body -= size
        self._left_in_chunk = size
        if size:
            self._state = _State.DATA
            return
        if self._left_in_body:
            raise errors.BodyTooShort("The closing chunk came before the announced length.")
        self._end_chunk()
        self._state = _State.TRAILERS

    def _end_chunk(self) -> None:
        if self._verifier is not None:
            self._verifier.end_chunk(self._chunk_signature)

    def _take_trailer(self, line: bytes) -> None:
        text = line.strip(b"\r\n")
        if not text:
            # An empty line ends the trailers, but minio-go puts one before their signature.
            if self._state is _State.TRAILERS and not self._awaits_signature():
                self._end_trailers()
            return
        if self._state is _State.DONE:
            raise errors.BodyMalformed("Something follows the end of the body.")
        name, colon, value = text.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if not colon or _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise errors.BodyMalformed("A trailer cannot be read.")
        if self._trailer_signature is not None or name in self._trailers:
            raise errors.BodyMalformed("A trailer comes twice, or after the signature.")
        if name == TRAILER_SIGNATURE and self._signs_trailers:
            self._trailer_signature = value
        elif name in self._expected:
            self._trailers[name] = value
        else:
            raise errors.BodyMalformed("A trailer was not announced.")

    def _awaits_signature(self) -> bool:
        return self._signs_trailers and self._trailer_signature is None

    def _end_trailers(self) -> None:
        if len(self._trailers) != len(self._expected):
            raise errors.BodyMalformed("An announced trailer is missing.")
        if self._verifier is not None and self._signs_trailers:
            if self._trailer_signature is None:
                raise errors.BodyMalformed("The trailers are not signed.")
            canonical = b"".join(
                name + b":" + self._trailers[name] + b"\n" for name in sorted(self._trailers)
            )
            self._verifier.end_trailers(self._trailer_signature, canonical)
        self._state = _State.DONE
