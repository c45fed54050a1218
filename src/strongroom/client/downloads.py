"""Downloads: ranges fetched in parallel, written in order, continued after a kill.

Into a file, plaintext goes under a temporary name beside the target, and gets the
target's only when everything is verified that the format can verify. What stays after
a kill is the part of the plaintext that is there, and a journal that says which object it
is of.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.client import content, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from strongroom.client import checkpoints

WINDOW_BYTES = 8 * 1024 * 1024
"""How much one request asks for."""

JOURNAL_EVERY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is about to be read.

    Attributes:
        fetch: reads stored bytes [start, end) of this very version of it.
        size: stored bytes.
        etag: names the version.
        opened: its content.
        window: plaintext bytes that are best read at a time, where ranges are verified.
    """

    fetch: stored.Fetch
    size: int
    etag: str
    opened: content.Content
    window: int = WINDOW_BYTES


def pieces(found: Found, threads: int, start: int = 0) -> Iterator[bytes]:
    """Yield the plaintext from byte `start` on, in order, fetched by `threads` at a time.

    What vouches only for a whole object is yielded before it has: the caller must not let
    it go before this ends.

    Raises:
        NotAuthentic: it is not what was written. Nothing yielded before may be used,
            unless the content vouches for ranges.
    """
    if found.opened.vouches is content.Vouches.RANGES:
        plain_size = found.opened.plain_size(found.size)
        assert plain_size is not None, "what vouches for ranges knows its length"
        body = stored.Stored(found.fetch, found.size)
        if not plain_size:
            yield _whole(found)
            return

        def read(low: int, high: int) -> bytes:
            return found.opened.read(body, low, high, unverified=False)

        yield from _in_order(read, start, plain_size, found.window, threads)
        return
    opener = found.opened.opener(found.size)
    skipped = start
    for chunk in _in_order(found.fetch, 0, found.size, WINDOW_BYTES, threads):
        plain = opener.feed(chunk)
        if skipped:
            dropped = min(skipped, len(plain))
            plain, skipped = plain[dropped:], skipped - dropped
        if plain:
            yield plain
    rest = opener.finish()
    yield rest[skipped:]


def to_file(
    found: Found,
    target: Path,
    *,
    threads: int,
    tell: Callable[[int], object] | None,
    journal: checkpoints.Journal | None,
    what: dict[str, Any],
) -> None:
    """Write an object's plaintext to a file, which appears when it is complete.

    Args:
        found: the object.
        target: the file; an older one is replaced at the very end.
        threads: how many requests at a time.
        tell: called with the bytes of each piece that is written.
        journal: to continue from and to write to.
        what: names the object in the journal.

    Raises:
        NotAuthentic: the object is not what was written; nothing is left of it.
    """
    part = target.with_name(target.name + ".strongroom-part")
    done = 0 if journal is None else _continued(journal, part, found, what)
    keep = journal is not None
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, done)
        if tell is not None and done:
            tell(done)
        at = noted = done
        try:
            for piece in _from(found, fd, done, threads):
                _write(fd, piece, at)
                at += len(piece)
                if tell is not None and piece:
                    tell(len(piece))
                if journal is not None and at - noted >= JOURNAL_EVERY_BYTES:
                    os.fdatasync(fd)
                    journal.add(done=at)
                    noted = at
        except errors.NotAuthentic:
            keep = False
            if journal is not None:
                journal.remove()
            raise
        os.fsync(fd)
        part.replace(target)
        keep = True
    finally:
        os.close(fd)
        if not keep:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _continued(journal: checkpoints.Journal, part: Path, found: Found, what: dict[str, Any]) -> int:
    """Return how much of the plaintext is there already, and begin the journal if none is."""
    wanted = {**what, "op": "download", "etag": found.etag, "size": found.size}
    lines = list(journal.lines())
    if lines and {name: lines[0].get(name) for name in wanted} == wanted and part.exists():
        done = max((line["done"] for line in lines[1:] if "done" in line), default=0)
        if isinstance(done, int) and 0 <= done <= part.stat().st_size:
            return done
    journal.begin(**wanted)
    return 0


def _from(found: Found, fd: int, done: int, threads: int) -> Iterator[bytes]:
    """Yield the plaintext that is still missing.

    A GCM message is verified as a whole: what is there already goes through the cipher once
    more, backwards and forwards, instead of over the network.
    """
    opened = found.opened
    if not done or opened.vouches is content.Vouches.RANGES:
        yield from pieces(found, threads, done)
        return
    if isinstance(opened, content.CtrContent):
        stream = content.ctr(opened.key, opened.first_counter, done)
        for chunk in _in_order(found.fetch, done, found.size, WINDOW_BYTES, threads):
            yield stream.update(chunk)
        return
    if not isinstance(opened, content.GcmContent):
        yield from pieces(found, threads, done)
        return
    opener, keystream = opened.opener(found.size), opened.keystream(0)
    at = 0
    while at < done:
        plain = os.pread(fd, min(WINDOW_BYTES, done - at), at)
        if not plain:
            raise errors.SourceChanged("the file of an unfinished download was cut")
        opener.feed(keystream.update(plain))
        at += len(plain)
    # The opener keeps back what may be the tag for all it knows, and gives it out later.
    held = min(done, content.GCM_TAG_BYTES)
    for chunk in _in_order(found.fetch, done, found.size, WINDOW_BYTES, threads):
        plain = opener.feed(chunk)
        dropped = min(held, len(plain))
        held -= dropped
        yield plain[dropped:]
    yield opener.finish()


def _in_order(
    read: Callable[[int, int], bytes], start: int, end: int, window: int, threads: int
) -> Iterator[bytes]:
    """Yield what `read` gives for each window of [start, end), aligned to the window's size.

    At most `threads` windows are read ahead.
    """
    borders = [start, *range(start - start % window + window, end, window), end]
    spans = iter([(low, high) for low, high in itertools.pairwise(borders) if low < high])
    with concurrent.futures.ThreadPoolExecutor(threads, "strongroom-download") as pool:
        ahead: collections.deque[concurrent.futures.Future[bytes]] = collections.deque()
        try:
            for low, high in spans:
                ahead.append(pool.submit(_exactly, read, low, high))
                if len(ahead) >= threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _exactly(read: Callable[[int, int], bytes], low: int, high: int) -> bytes:
    found = read(low, high)
    if len(found) != high - low:
        raise errors.NotAuthentic("other bytes came than were asked for")
    return found


def _whole(found: Found) -> bytes:
    opener = found.opened.opener(found.size)
    return opener.feed(found.fetch(0, found.size)) + opener.finish()


def _write(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
