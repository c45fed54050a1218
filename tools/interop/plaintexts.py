"""Plaintexts that every process can make again from a name and a size. Standard library only."""

import hashlib


def make(name, size):
    """Return `size` bytes: SHA-256 of the name with a counter, again and again."""
    seed = name.encode()
    blocks = (
        hashlib.sha256(seed + number.to_bytes(8, "big")).digest()
        for number in range(size // 32 + 1)
    )
    return b"".join(blocks)[:size]
