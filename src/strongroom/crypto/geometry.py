"""Lengths and ranges of a sealed stream, and of a body made of several.

A stream lies in its file as segments of `segment_bytes` ciphertext bytes; only
the last may be shorter. The first begins with the header of `HEADER_BYTES`,
each ends with a tag of `TAG_BYTES`, so segment borders in the file are multiples
of `segment_bytes`. An empty stream is one segment without plaintext.

All ranges are half-open and count from 0.

Source: docs/formats/sealed-object.md, section 5.
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SEGMENT_BYTES = 65536
"""Ciphertext bytes of a full segment, tag included, and in the first one the header."""

HEADER_BYTES = 40
TAG_BYTES = 16

MIN_SEGMENT_BYTES = HEADER_BYTES + TAG_BYTES + 1
"""Below this the first segment would have no room for plaintext."""

MAX_SEGMENT_BYTES = 2**24
"""A segment is opened in memory as a whole; no writer needs larger ones."""

MAX_SEGMENTS = 2**32
"""A segment's number has 4 bytes in the nonce. At 65,536 bytes each that is 256 TiB."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read and open to get a range of one stream.

    Attributes:
        first_segment: number of the first segment that is needed.
        last_segment: number of the last one, inclusive.
        final_segment: number of the stream's last segment, which has the last flag.
        blob_start: where the first needed segment begins in the file.
        blob_end: where the last needed one ends.
        trim_head: plaintext bytes to drop from the first opened segment.
        plaintext_bytes: how many to keep after that.
    """

    first_segment: int
    last_segment: int
    final_segment: int
    blob_start: int
    blob_end: int
    trim_head: int
    plaintext_bytes: int


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes [start, end) of the part at `index` (not its part number)."""

    index: int
    start: int
    end: int


def segment_count(plain: int, segment_bytes: int = SEGMENT_BYTES) -> int:
    """Return how many segments `plain` bytes of plaintext take; at least 1.

    Raises:
        ValueError: `plain` is negative or takes more than `MAX_SEGMENTS`, or
            `segment_bytes` is not in `MIN_SEGMENT_BYTES` .. `MAX_SEGMENT_BYTES`.
    """
    _check_segment_bytes(segment_bytes)
    if plain < 0:
        raise ValueError(f"{plain} is not a length")
    count = max(1, -(-(plain + HEADER_BYTES) // (segment_bytes - TAG_BYTES)))
    if count > MAX_SEGMENTS:
        raise ValueError(f"{plain} bytes take more than {MAX_SEGMENTS} segments")
    return count


def sealed_size(plain: int, segment_bytes: int = SEGMENT_BYTES) -> int:
    """Return the length of the file that `plain` bytes of plaintext are sealed to.

    Raises:
        ValueError: as `segment_count`.
    """
    return HEADER_BYTES + plain + TAG_BYTES * segment_count(plain, segment_bytes)


def plain_size(sealed: int, segment_bytes: int = SEGMENT_BYTES) -> int:
    """Return how many plaintext bytes a file of `sealed` bytes holds: the inverse of `sealed_size`.

    Raises:
        ValueError: no plaintext is sealed to this length, or as `segment_count`.
    """
    _check_segment_bytes(segment_bytes)
    count = -(-sealed // segment_bytes)
    plain = sealed - HEADER_BYTES - TAG_BYTES * count
    if plain < 0 or sealed_size(plain, segment_bytes) != sealed:
        raise ValueError(f"no sealed stream is {sealed} bytes long")
    return plain


def plan(start: int, end: int, total: int, segment_bytes: int = SEGMENT_BYTES) -> Plan:
    """Locate plaintext bytes [start, end) of a stream of `total` plaintext bytes.

    Args:
        start: first plaintext byte wanted, from 0.
        end: one past the last; 0 <= start < end <= total. An empty stream has
            one range, [0, 0), so that its only segment can be verified.
        total: plaintext length of the stream, in bytes.
        segment_bytes: ciphertext bytes of a full segment.

    Raises:
        ValueError: the range is empty or leaves the stream, or as `segment_count`.
    """
    final_segment = segment_count(total, segment_bytes) - 1
    if not (0 <= start < end <= total or start == end == total == 0):
        raise ValueError(f"[{start}, {end}) is no range of {total} bytes")
    # With the header counted as if it were plaintext, all segments hold the same.
    held = segment_bytes - TAG_BYTES
    first_segment, trim_head = divmod(start + HEADER_BYTES, held)
    last_segment = (end + HEADER_BYTES - 1) // held
    if last_segment == final_segment:
        blob_end = HEADER_BYTES + total + TAG_BYTES * (final_segment + 1)
    else:
        blob_end = (last_segment + 1) * segment_bytes
    return Plan(
        first_segment=first_segment,
        last_segment=last_segment,
        final_segment=final_segment,
        blob_start=first_segment * segment_bytes,
        blob_end=blob_end,
        trim_head=trim_head if first_segment else trim_head - HEADER_BYTES,
        plaintext_bytes=end - start,
    )


def locate(sizes: Sequence[int], start: int, end: int) -> list[Slice]:
    """Divide bytes [start, end) of a body among its parts.

    Empty parts are passed over, except that an empty body is its first part: its
    one range is [0, 0), as in `plan`.

    Args:
        sizes: plaintext bytes of each part, in order.
        start: first byte wanted.
        end: one past the last; 0 <= start < end <= sum(sizes).

    Raises:
        ValueError: the range is empty or leaves the body, or the body has no part.
    """
    ends = list(itertools.accumulate(sizes))
    total = ends[-1] if ends else 0
    if ends and start == end == total == 0:
        return [Slice(0, 0, 0)]
    if not 0 <= start < end <= total:
        raise ValueError(f"[{start}, {end}) is no range of {total} bytes")
    slices = []
    index = bisect.bisect_right(ends, start)
    while start < end:
        part_end = min(ends[index], end)
        if part_end > start:
            part_start = ends[index] - sizes[index]
            slices.append(Slice(index, start - part_start, part_end - part_start))
            start = part_end
        index += 1
    return slices


def _check_segment_bytes(segment_bytes: int) -> None:
    if not MIN_SEGMENT_BYTES <= segment_bytes <= MAX_SEGMENT_BYTES:
        raise ValueError(f"segments of {segment_bytes} bytes are not served")
