"""Bytes that are cheap to name, cheap to make and easy to compare."""

import random  # noqa: TID251 - draws have to be repeatable from a printed seed

MIB = 1024 * 1024
LARGEST = 64 * MIB
_OFFSETS = MIB

SIZES = (
    # (weight, least, most) in bytes. 16 KiB is the border between catalog and file,
    # 65,480 and 65,520 are those between segments, and a file is written by whole MiB.
    (6, 0, 0),
    (30, 1, 16 * 1024),
    (4, 16 * 1024 - 1, 16 * 1024 + 1),
    (4, 65_480 - 1, 65_520 + 1),
    (20, 16 * 1024, 200_000),
    (3, MIB - 40, MIB + 40),
    (14, 200_000, 4 * MIB),
    (3, 4 * MIB, 16 * MIB),
    (1, LARGEST, LARGEST),
)


def drawer(*names):
    """Return a source of draws that the names alone determine."""
    return random.Random("/".join(map(str, names)))  # noqa: S311 - repeatable on purpose


def draw_size(draw, most=LARGEST):
    """Draw a length in bytes: most are small, a few at a border, hardly any `LARGEST`."""
    (_, least, top) = draw.choices(SIZES, [weight for weight, _, _ in SIZES])[0]
    return min(draw.randint(least, top), most)


class Pool:
    """Random bytes that every content is a window of: a name is (offset, size)."""

    def __init__(self, seed, most=LARGEST):
        self._bytes = memoryview(drawer(seed, "pool").randbytes(most + _OFFSETS))

    def name(self, draw, size):
        """Name `size` bytes that have hardly ever been named before."""
        return (draw.randrange(_OFFSETS), size)

    def window(self, name):
        offset, size = name
        return self._bytes[offset : offset + size]

    def body(self, names):
        """Return the bytes of several windows, one behind the other."""
        if len(names) == 1:
            return self.window(names[0])
        return b"".join(self.window(name) for name in names)
