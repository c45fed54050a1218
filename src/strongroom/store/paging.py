"""Pages of a listing: prefix, delimiter, where to go on.

Pure; both catalogs use it. An adapter hands in `scan`, which yields its rows
from a key on, in order, and this module decides which of them show up, which
roll up into a common prefix, and where to read on.

All comparing is done on UTF-8 bytes. Their order is that of code points, a
substring of UTF-8 found in UTF-8 begins and ends at characters, and the least
key behind all that begin with `p` is simple: `p` with its last byte raised by
one. (Among `str` that is a trap: after U+D7FF comes U+E000, after U+10FFFF
nothing.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from strongroom.store import records

PATIENCE_ROWS = 8
"""Rows under a common prefix that are read and dropped before the scan seeks past it.

A seek costs about as much as reading a few rows: with one key behind each
prefix reading on is cheaper, with a million seeking is.
"""

Row = TypeVar("Row")
Scan = Callable[[bytes], Iterable[tuple[bytes, Row]]]
"""From a key on (itself included), all rows of a bucket with their keys, in order."""

Resume = Callable[[bytes, str], Iterable[tuple[bytes, Row]]]
"""All rows behind the one of that key and id, in order; from the key on if it is gone."""


@dataclass(slots=True)
class _Page(Generic[Row]):
    """What one page shows; `more` tells that it is not the last."""

    rows: list[Row] = field(default_factory=list)
    prefixes: list[bytes] = field(default_factory=list)
    ends_in_prefix: bool = False
    more: bool = False


def object_page(
    scan: Scan[Row],
    to_version: Callable[[Row], records.Version],
    *,
    prefix: str,
    delimiter: str,
    after: str,
    limit: int,
) -> records.ObjectPage:
    """List current versions, one row per key. Semantics: `Catalog.list_objects`."""
    begin = prefix.encode()
    separator = delimiter.encode()
    first = scan(start_after(after.encode(), prefix=begin, delimiter=separator))
    page = _roll_up(first, scan, prefix=begin, delimiter=separator, limit=limit)
    versions = tuple(map(to_version, page.rows))
    prefixes = tuple(item.decode() for item in page.prefixes)
    next_after = None
    if page.more:
        next_after = prefixes[-1] if page.ends_in_prefix else versions[-1].key
    return records.ObjectPage(versions, prefixes, next_after)


def upload_page(
    scan: Scan[Row],
    resume: Resume[Row],
    to_upload: Callable[[Row], records.Upload],
    *,
    prefix: str,
    delimiter: str,
    after: tuple[str, str],
    limit: int,
) -> records.UploadPage:
    """List uploads, any number of rows per key. Semantics: `Catalog.list_uploads`."""
    begin = prefix.encode()
    separator = delimiter.encode()
    first = _first_of_several(scan, resume, after, prefix=begin, delimiter=separator)
    page = _roll_up(first, scan, prefix=begin, delimiter=separator, limit=limit)
    uploads = tuple(map(to_upload, page.rows))
    prefixes = tuple(item.decode() for item in page.prefixes)
    next_after = None
    if page.more:
        last = uploads[-1] if not page.ends_in_prefix else None
        next_after = (prefixes[-1], "") if last is None else (last.key, last.upload_id)
    return records.UploadPage(uploads, prefixes, next_after)


def version_page(
    scan: Scan[Row],
    resume: Resume[Row],
    to_version: Callable[[Row], tuple[records.Version, bool]],
    *,
    prefix: str,
    delimiter: str,
    after: tuple[str, str],
    limit: int,
) -> records.VersionPage:
    """List versions, any number of rows per key. Semantics: `Catalog.list_versions`.

    `to_version` tells with each version whether it is the newest of its key.
    """
    begin = prefix.encode()
    separator = delimiter.encode()
    first = _first_of_several(scan, resume, after, prefix=begin, delimiter=separator)
    page = _roll_up(first, scan, prefix=begin, delimiter=separator, limit=limit)
    found = [to_version(row) for row in page.rows]
    versions = tuple(version for version, _ in found)
    prefixes = tuple(item.decode() for item in page.prefixes)
    next_after = None
    if page.more:
        last = versions[-1] if not page.ends_in_prefix else None
        next_after = (prefixes[-1], "") if last is None else (last.key, last.version_id)
    return records.VersionPage(versions, tuple(newest for _, newest in found), prefixes, next_after)


def _first_of_several(
    scan: Scan[Row],
    resume: Resume[Row],
    after: tuple[str, str],
    *,
    prefix: bytes,
    delimiter: bytes,
) -> Iterable[tuple[bytes, Row]]:
    """Return the rows behind `after`, where a key may have several."""
    key = after[0].encode()
    if after[1] and key.startswith(prefix) and common_prefix(key, prefix, delimiter) is None:
        return resume(key, after[1])
    return scan(start_after(key, prefix=prefix, delimiter=delimiter))


def common_prefix(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """Return what `key`, which begins with `prefix`, rolls up into, or None if it stands alone."""
    if not delimiter:
        return None
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]


def start_after(after: bytes, *, prefix: bytes, delimiter: bytes) -> bytes:
    """Return the least key that a page may begin with.

    If `after` rolls up, its common prefix is not greater than `after`, and so
    nothing below that prefix shows up any more: the page begins behind it.
    """
    if after < prefix:
        return prefix
    if after.startswith(prefix):
        common = common_prefix(after, prefix, delimiter)
        if common is not None:
            return successor(common)
    return after + b"\0"


def successor(prefix: bytes) -> bytes:
    """Return the least byte string greater than all that begin with `prefix` (UTF-8, not empty)."""
    # UTF-8 has no byte above 0xF4, so that raising the last never overflows.
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def _roll_up(
    first: Iterable[tuple[bytes, Row]],
    scan: Scan[Row],
    *,
    prefix: bytes,
    delimiter: bytes,
    limit: int,
) -> _Page[Row]:
    page: _Page[Row] = _Page()
    if limit <= 0:
        return page
    if not delimiter:
        return _take(first, prefix=prefix, limit=limit)
    entries = iter(first)
    common: bytes | None = None
    passed = 0
    while (entry := next(entries, None)) is not None:
        key, row = entry
        if not key.startswith(prefix):
            break
        if common is not None and key.startswith(common):
            passed += 1
            if passed == PATIENCE_ROWS:
                entries = iter(scan(successor(common)))
            continue
        if len(page.rows) + len(page.prefixes) == limit:
            page.more = True
            break
        common = common_prefix(key, prefix, delimiter)
        passed = 0
        page.ends_in_prefix = common is not None
        if common is None:
            page.rows.append(row)
        else:
            page.prefixes.append(common)
    return page


def _take(first: Iterable[tuple[bytes, Row]], *, prefix: bytes, limit: int) -> _Page[Row]:
    """Return the page of a listing in which nothing rolls up, as in most."""
    page: _Page[Row] = _Page()
    rows = page.rows
    for key, row in first:
        if not key.startswith(prefix):
            break
        if len(rows) == limit:
            page.more = True
            break
        rows.append(row)
    return page
