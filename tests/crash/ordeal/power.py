"""Cut the power: rebuild a data directory from a trace, without what was not yet synced.

    python -m ordeal.power --cuts 60

The model is the strictest that POSIX allows. Bytes written are kept when a sync of their
file began after the write had ended; a name is, when its directory was synced so. Of all
the rest the disk kept nothing, or any part in any order.
"""

import argparse
import contextlib
import copy
import dataclasses
import re
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path, PurePosixPath

from ordeal import audit, content, load, oracle, serving, trace
from ordeal.client import Client
from ordeal.serving import BUCKET

BLOCK = 512
"""What a disk writes whole or not at all."""

_WRITES = frozenset({"write", "pwrite64", "writev"})
_SYNCS = frozenset({"fsync", "fdatasync"})
_ANSWER = re.compile(rb"HTTP/1\.1 (\d+) .*?x-amz-request-id: (\w+)", re.DOTALL | re.IGNORECASE)


class File:
    """A file's bytes: those that are durable, and what was done since."""

    def __init__(self):
        self.durable = bytearray()
        self.pending = []
        self.size = 0

    def copy(self, keep):
        """Return the bytes after a cut; `keep(change)` tells what the disk had got."""
        found = bytearray(self.durable)
        for change in self.pending:
            for kept in keep(change):
                _apply(found, kept)
        return bytes(found)


def _apply(target, change):
    kind, offset, data = change
    if kind == "cut":
        del target[offset:]
        target.extend(bytes(offset - len(target)))
        return
    target.extend(bytes(max(0, offset - len(target))))
    target[offset : offset + len(data)] = data


class Disk:
    """What lies under one directory, replayed call by call."""

    def __init__(self, root):
        self._root = str(root)
        self._names: dict[str, File | None] = {}
        self._durable_names: dict[str, File | None] = {}
        self._pending_names: dict[str, list] = {}
        self._snapshots: dict[int, tuple] = {}

    def replay(self, calls, until):
        """Do all that had happened when line `until` was reached."""
        moments = []
        for call in calls:
            if call.name in _SYNCS:
                moments.append((call.entered, 0, call))
            moments.append((call.left, 1, call))
        moments.sort(key=lambda moment: moment[:2])
        for line, phase, call in moments:
            if line >= until:
                break
            if not self._is_ours(call.path):
                continue
            if phase == 0:
                self._snapshots[id(call)] = self._begin_sync(call.path)
            elif call.name in _SYNCS:
                self._end_sync(call.path, self._snapshots.pop(id(call)))
            else:
                self._do(call)

    def write_out(self, target, keep_name, keep_data):
        """Write a directory as the disk has it after the cut.

        Args:
            target: where to; must not exist.
            keep_name: told a change of a name that was not synced; whether the disk has it.
            keep_data: told a change of a file's bytes; what of it the disk has, as changes.
        """
        names = dict(self._durable_names)
        for changes in self._pending_names.values():
            for change in changes:
                if keep_name(change):
                    _rename(names, change)
        target.mkdir()
        for path in sorted(names, key=len):
            # Of what lies in a directory that is not there, nothing is there.
            place = target / PurePosixPath(path).relative_to(self._root)
            if not place.parent.is_dir() or path.endswith("-shm"):
                continue
            file = names[path]
            if file is None:
                place.mkdir(exist_ok=True)
            else:
                place.write_bytes(file.copy(keep_data))

    def _is_ours(self, path):
        return path == self._root or path.startswith(self._root + "/")

    def _begin_sync(self, path):
        file = self._names.get(path)
        if file is not None:
            return (file, list(file.pending))
        return (None, list(self._pending_names.get(path, ())))

    def _end_sync(self, path, snapshot):
        file, changes = snapshot
        if file is None:
            for change in changes:
                _rename(self._durable_names, change)
            rest = self._pending_names.get(path, [])
            self._pending_names[path] = [one for one in rest if not _among(one, changes)]
            return
        for change in changes:
            _apply(file.durable, change)
        file.pending = [one for one in file.pending if not _among(one, changes)]

    def _do(self, call):
        name, path = call.name, call.path
        if name == "openat":
            self._open(call)
        elif name in ("mkdir", "mkdirat"):
            self._change_name(("add", path, None))
        elif name in ("unlink", "unlinkat"):
            self._change_name(("drop", path, None))
        elif name in ("rename", "renameat", "renameat2"):
            file = self._names[path]
            self._change_name(("add", call.data.decode(), file))
            self._change_name(("drop", path, None))
        elif name in ("link", "linkat"):
            self._change_name(("add", call.data.decode(), self._names[path]))
        elif name in _WRITES:
            file = self._names[path.removesuffix(" (deleted)")]
            offset = call.numbers[-1] if name == "pwrite64" else file.size
            data = call.data[: call.result]
            file.pending.append(("write", offset, data))
            file.size = max(file.size, offset + len(data))
        elif name == "ftruncate":
            file = self._names[path]
            file.pending.append(("cut", call.numbers[-1], b""))
            file.size = call.numbers[-1]
        else:
            raise AssertionError(f"{name} on {path}: not in the model")

    def _open(self, call):
        if "O_CREAT" in call.flags and call.path not in self._names:
            self._change_name(("add", call.path, File()))
        elif "O_TRUNC" in call.flags:
            file = self._names[call.path]
            file.pending.append(("cut", 0, b""))
            file.size = 0

    def _change_name(self, change):
        _rename(self._names, change)
        folder = str(PurePosixPath(change[1]).parent)
        self._pending_names.setdefault(folder, []).append(change)


def _among(change, changes):
    return any(change is one for one in changes)


def _rename(names, change):
    kind, path, file = change
    if kind == "add":
        names[path] = file
    else:
        names.pop(path, None)


def nothing(_change):
    """Keep none of what was not synced."""
    return ()


def some(draw):
    """Keep any part of what was not synced, block by block."""

    def keep(change):
        kind, offset, data = change
        if kind == "cut":
            return [change] if draw.random() < 0.5 else []
        blocks = range(0, len(data), BLOCK)
        fate = draw.random()
        return [
            ("write", offset + start, data[start : start + BLOCK])
            for start in blocks
            if (draw.random() < 0.5 if fate < 0.3 else fate < 0.65)
        ]

    return keep


def answers(calls):
    """Return request id → (line at which its answer began to leave, status)."""
    found = {}
    for call in calls:
        if call.name in ("writev", "write", "sendto", "sendmsg") and b"HTTP/1.1 " in call.data:
            for status, request_id in _ANSWER.findall(call.data):
                found[request_id.decode()] = (call.entered, int(status))
    return found


def as_of(told, answered, line):
    """Return a scene in which nothing is acknowledged that was answered after `line`."""
    then = oracle.Oracle()
    acknowledged = 0
    for key in told.oracle.names():
        for write in told.oracle.writes(key):
            write = copy.copy(write)  # noqa: PLW2901 - the original stays as it is
            if write.request_id is not None:
                if answered[write.request_id][0] >= line:
                    write.forget()
                else:
                    acknowledged += 1
            then.add(write)
    then.acknowledged = acknowledged
    # What becomes of uploads that were open is not followed here; they are aborted.
    return dataclasses.replace(told, oracle=then, uploads={}, creating=sys.maxsize)


@dataclasses.dataclass
class Recording:
    """A load that was traced."""

    told: load.Scene
    root: Path
    calls: list[trace.Call]
    answered: dict[str, tuple[int, int]]
    servers: serving.Servers

    @property
    def end(self):
        return max(call.left for call in self.calls) + 1


def record(folder, seed, *, clients, deeds, most):
    """Load a traced server from its very first start on."""
    told = load.scene(seed, most=most)
    lines = folder / "trace"
    servers = serving.Servers(folder / "data")
    with traced(servers, lines) as server:
        with contextlib.closing(Client(server, BUCKET, server.http_url)) as client:
            client.create_bucket()
        threads, workers, stop = load.start(
            told, server, BUCKET, clients=clients, seed=seed, url=server.http_url
        )
        while sum(worker.deeds for worker in workers) < deeds and any(
            thread.is_alive() for thread in threads
        ):
            time.sleep(0.02)
        stop.set()
        for thread in threads:
            thread.join()
    trace.finished(lines)
    assert not told.surprises, told.surprises
    calls = trace.read(lines)
    return Recording(told, servers.data_dir, calls, answers(calls), servers)


def traced(servers, lines):
    """Return a server under strace, with a listener in the clear, so that answers can be seen."""
    return servers.make(
        http=True, args=("--trusted-proxy", "127.0.0.1/32"), command=trace.command(lines)
    )


def cut(recording, line, draw, folder, found):
    """Cut the power at a line of the trace, start a server on what is left, and audit it."""
    target = folder / "after"
    disk = Disk(recording.root)
    disk.replay(recording.calls, line)
    if draw.random() < 0.5:
        disk.write_out(target, nothing, nothing)
    else:
        disk.write_out(target, lambda _change: draw.random() < 0.5, some(draw))
    told = as_of(recording.told, recording.answered, line)
    with recording.servers.make(data_dir=target) as server:
        with contextlib.closing(Client(server, BUCKET)) as client:
            # If the cut was before the first answer, it may be missing.
            client.create_bucket()
        audit.Audit(told, server, BUCKET, draw, found).run()
    shutil.rmtree(target)
    return told.oracle.acknowledged


def moments(recording, draw, count):
    """Draw lines to cut at: most of them just as an answer leaves, some in the very first start."""
    leaving = [line + 1 for line, _ in recording.answered.values()]
    first = min(leaving)
    draws = (
        lambda: draw.choice(leaving),
        lambda: draw.choice(leaving),
        lambda: draw.randrange(first, recording.end),
        lambda: draw.randrange(first),
    )
    return sorted(draw.choice(draws)() for _ in range(count))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make power", description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=60)
    parser.add_argument("--deeds", type=int, default=300)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    chosen = parser.parse_args(arguments)
    reason = trace.missing()
    if reason:
        print(f"skipped: {reason}")  # noqa: T201 - a program's output
        return 0
    print(f"seed {chosen.seed}", flush=True)  # noqa: T201
    found = audit.Found()
    checked = 0
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="strongroom-power-"))
    recording = record(folder, chosen.seed, clients=3, deeds=chosen.deeds, most=6 * content.MIB)
    draw = content.drawer(chosen.seed, "cuts")
    for line in moments(recording, draw, chosen.cuts):
        checked += cut(recording, line, draw, folder, found)
    for text in (*found.losses, *found.strays):
        print(f"LOSS {text}")  # noqa: T201
    print(f"power cuts           {chosen.cuts}, of a trace of {recording.end} lines")  # noqa: T201
    print(f"acknowledged writes  {checked}, over all cuts")  # noqa: T201
    print(f"objects compared     {found.objects}")  # noqa: T201
    print(f"losses and strays    {len(found.losses)}, {len(found.strays)}")  # noqa: T201
    print(f"seconds              {time.monotonic() - begun:.1f}")  # noqa: T201
    if found.losses or found.strays:
        print(f"kept: {folder}")  # noqa: T201
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
