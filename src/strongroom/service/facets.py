"""The recurring parts of a request, as values of the domain.

Each dialect has one reader for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from strongroom import errors


@dataclass(frozen=True, slots=True)
class Content:
    """What an object says about its content.

    Attributes:
        headers: content headers, name (lower case) → value as sent.
        metadata: the user's, name → value; names are compared without case.
    """

    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartNumber:
    """One part of an object, by its place in it, from 1."""

    number: int

    def resolve(self, size: int, parts: tuple[int, ...]) -> tuple[int, int]:
        """Return where the part lies, half-open; an object in one piece has one part.

        Raises:
            PartNotThere: the object has fewer parts.
        """
        sizes = parts or (size,)
        if not 1 <= self.number <= len(sizes):
            raise errors.PartNotThere(self.number, len(sizes))
        start = sum(sizes[: self.number - 1])
        return start, start + sizes[self.number - 1]


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A range as asked for, before the size is known.

    Attributes:
        first: first byte, from 0; None for a suffix range.
        last: last byte, inclusive; None for "to the end"; for a suffix range
            the number of bytes wanted.
        text: as sent, for error replies.
    """

    first: int | None
    last: int | None
    text: str

    def resolve(self, size: int, _parts: tuple[int, ...] = ()) -> tuple[int, int]:
        """Return the half-open range of an object of `size` bytes.

        Raises:
            RangeNotSatisfiable: nothing of it lies inside.
        """
        if self.first is None:
            length = min(self.last or 0, size)
            if not length:
                raise errors.RangeNotSatisfiable(size, self.text)
            return size - length, size
        if self.first >= size:
            raise errors.RangeNotSatisfiable(size, self.text)
        return self.first, size if self.last is None else min(self.last + 1, size)


Extent = ByteRange | PartNumber
"""Which bytes of an object are asked for."""
