"""The tree that every client carries, and how two trees are compared."""

from __future__ import annotations

import filecmp
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

KIB, MIB, MB = 1024, 1024 * 1024, 1_000_000
_FIRST_SEGMENT, _SEGMENT = 65_480, 65_520
"""Plaintext bytes of a sealed object's segments (docs/formats/sealed-object.md)."""

SIZES = {
    "sizes/empty": 0,
    "sizes/one byte": 1,
    **{f"sizes/segment/first{step:+}": _FIRST_SEGMENT + step for step in (-1, 0, 1)},
    **{f"sizes/segment/second{step:+}": _FIRST_SEGMENT + _SEGMENT + step for step in (-1, 0, 1)},
    **{f"sizes/part/five{step:+}": 5 * MIB + step for step in (-1, 0, 1)},
    **{f"sizes/part/eight{step:+}": 8 * MIB + step for step in (-1, 0, 1)},
    "sizes/16 MiB and a bit": 16 * MIB + 13,
    "sizes/part/100 MB": 100 * MB,
    "sizes/part/deep/300 MB": 300 * MB,
}

ODD = (
    ".hidden",
    "a+b & c=d; e,f",
    "at@ tilde~ dollar$ caret^",
    "brackets [a] {b} (c) <d>",
    "colon: and ' and \" and `",
    "deep/a/b/c/d/e/f/g/h/i/j/leaf",
    "emoji 😀/👩‍👩‍👧",
    "hash#, question? and 100%25 percent%",
    "a question? and an answer=",
    "same/same",
    "star* bar| bang!",
    "ünïcode/日本語/русский",
    "e\u0301 decomposed",
    "x" * 200,
)
"""Names that every client is asked to carry."""

QUERY = "like a query?versionId=null&partNumber=1"
WILD = (
    QUERY,
    "back\\slash",
    " blank before",
    "blank behind ",
    "dot behind.",
    "line\nbreak",
    "tab\there",
    "bell\x07 and escape\x1b",
    "delete\x7f",
    "nel\x85 and line separator\u2028",
)
"""Names that are legal as keys and as files, and that clients fall over."""


def make(root: Path, largest: int) -> None:
    """Write the tree below `root`: `sizes`, `odd` and `wild`; sizes up to `largest` bytes."""
    contents = {name: size for name, size in SIZES.items() if size <= largest}
    contents |= {f"odd/{name}": 100 + number for number, name in enumerate(ODD)}
    contents |= {f"wild/{name}": 200 + number for number, name in enumerate(WILD)}
    for name, size in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, size, MIB):
                seed = f"{name} from {start}".encode("utf-8", "surrogateescape")
                file.write(hashlib.shake_256(seed).digest(min(MIB, size - start)))


def names(root: Path) -> set[str]:
    """Return the files below `root`, by their paths."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def differences(here: Path, there: Path, without: Collection[str] = ()) -> list[str]:
    """Return what differs between two trees, a line for each file.

    Args:
        here: what was sent.
        there: what came back.
        without: names of `here` that were not sent.
    """
    ours, theirs = names(here).difference(without), names(there)
    found = [f"{name!r} is missing" for name in sorted(ours - theirs)]
    found += [f"{name!r} was never sent" for name in sorted(theirs - ours)]
    found += [
        f"{name!r} has other bytes"
        for name in sorted(ours & theirs)
        if not filecmp.cmp(here / name, there / name, shallow=False)
    ]
    return found
