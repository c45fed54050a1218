"""Names on both sides: `s3://BUCKET/KEY` and paths, and how one becomes the other.

A key is any text. What stands after `s3://BUCKET/` is the key, byte for byte: no
escapes, nothing decoded. A key becomes a path only if no part of it could lead
elsewhere than below the directory that was named.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from strongroom.cli import failures

SCHEME = "s3://"
STREAM = "-"


@dataclass(frozen=True, slots=True)
class Remote:
    """A bucket, or a key in it; with an empty key, the bucket."""

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"

    @property
    def is_folder(self) -> bool:
        """Whether it says that names are to be put below it."""
        return not self.key or self.key.endswith("/")

    def below(self, name: str) -> Remote:
        """Return `name` below this bucket or prefix."""
        return Remote(self.bucket, self.as_prefix() + name)

    def as_prefix(self) -> str:
        """Return the key with which everything below this begins."""
        return self.key if self.is_folder else f"{self.key}/"


@dataclass(frozen=True, slots=True)
class Local:
    """A file or directory here; `is_folder` if the text said so by its last character."""

    path: Path
    is_folder: bool = False

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Stream:
    """Standard input or output."""

    def __str__(self) -> str:
        return STREAM


Place = Remote | Local | Stream


def parse(text: str) -> Place:
    """Read a place from the command line.

    Raises:
        Failed: it names no place.
    """
    if text == STREAM:
        return Stream()
    if text.startswith(SCHEME):
        return parse_remote(text)
    if not text or "\0" in text:
        raise failures.Failed("An empty text is no file.")
    return Local(Path(text), text.endswith(("/", "/.")) or text == ".")


def parse_remote(text: str) -> Remote:
    """Read `s3://BUCKET` or `s3://BUCKET/KEY`.

    Raises:
        Failed: it is neither.
    """
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    if not text.startswith(SCHEME) or not bucket:
        raise failures.Failed(f"{shown(text)} is no place in a store: write s3://BUCKET/KEY.")
    key_of(key)
    return Remote(bucket, key)


def key_of(name: str) -> str:
    """Return a key for a name from the command line or a directory.

    Raises:
        Failed: its bytes are no UTF-8, so no key has them.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise failures.Failed(
            f"{shown(name)} is not UTF-8, and a key must be: rename it."
        ) from None
    return name


def path_below(folder: Path, name: str) -> Path:
    """Return where the key `name` goes below `folder`.

    Raises:
        Failed: it has no place there: `..` leads out, and an empty part or `.` would
            make two keys one file.
    """
    parts = name.split("/")
    if "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise failures.Failed(
            f"The key {shown(name)} cannot be a file below {folder}: copy it by itself, to a file"
            " whose name you choose."
        )
    return folder.joinpath(*parts)


def shown(text: str) -> str:
    """Return a name so that it cannot play with a terminal or a line: controls as escapes."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode()
        for one in text
    )
