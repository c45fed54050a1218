"""System calls of a server, as strace writes them down, in the order in which they happened.

A call is entered at one line and left at the same or a later one. What was entered after
another had been left came after it; of two that overlap nothing is known.
"""

import dataclasses
import re
import shutil
import time
from pathlib import Path

from ordeal.serving import SERVE

CALLS = (
    "openat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,"
    "write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,"
    "sync_file_range,sendto,sendmsg,sendfile,copy_file_range"
)
MOST_BYTES = 2 * 1024 * 1024
"""Of each buffer so much is written down; more is never written at once."""
END_S = 60.0

_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)", re.DOTALL)
_FD = re.compile(r"(?P<fd>-?\d+|AT_FDCWD)(?:<(?P<path>[^>]*)>)?")
_RETURNED = re.compile(r"\) += (?P<value>-?\d+|0x[0-9a-f]+)(?:<(?P<path>[^>]*)>)?")
_UNFINISHED = " <unfinished ...>"


def missing():
    """Return why there can be no trace, or an empty string."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    return ""


def command(path, *options, calls=CALLS):
    """Return what to run in place of the server: it, under a strace that keeps out of its way.

    Args:
        path: where the trace goes.
        options: further ones of strace.
        calls: what is traced; all else runs at full speed.
    """
    # -D: the server stays the child that gets the signals. -y: descriptors with their paths.
    return [
        *("strace", "-D", "-f", "-y", "-xx", "-s", str(MOST_BYTES), "-o", str(path)),
        *("--seccomp-bpf", "-e", f"trace={calls}"),
        *options,
        *SERVE,
    ]


@dataclasses.dataclass(frozen=True)
class Call:
    """One system call that succeeded.

    Attributes:
        name: its name.
        entered: line at which it began.
        left: line at which it had ended.
        path: what its first descriptor was open on, or the first path among its arguments.
        data: the bytes that it wrote, or the second path among its arguments.
        numbers: its arguments behind the last string: lengths, offsets.
        flags: all of its text that is neither path nor data.
        result: what it returned.
    """

    name: str
    entered: int
    left: int
    path: str
    data: bytes
    numbers: tuple[int, ...]
    flags: str
    result: int


def finished(path):
    """Wait until strace has written the end of a server that has ended."""
    deadline = time.monotonic() + END_S
    pid = None
    while time.monotonic() < deadline:
        with Path(path).open("rb") as file:
            pid = file.readline().split()[0]
            file.seek(max(file.seek(0, 2) - 4096, 0))
            tail = file.read()
        if any(line.split()[:2] == [pid, b"+++"] for line in tail.splitlines()):
            return
        time.sleep(0.05)
    raise AssertionError(f"strace did not see the end of {pid}")


def read(path):
    """Return all calls that succeeded, in the order in which they ended."""
    with Path(path).open(encoding="ascii") as file:
        return parse(file)


def parse(lines):
    calls = []
    begun = {}
    for number, line in enumerate(lines):
        matched = _LINE.fullmatch(line.rstrip("\n"))
        assert matched is not None, f"a line of strace: {line[:80]!r}"
        pid, rest = matched["pid"], matched["rest"]
        if rest.startswith(("---", "+++")):
            continue
        if rest.endswith(_UNFINISHED):
            begun[pid] = (number, rest.removesuffix(_UNFINISHED))
            continue
        entered = number
        resumed = _RESUMED.fullmatch(rest)
        if resumed is not None:
            entered, head = begun.pop(pid)
            rest = head + resumed["rest"]
        call = _call(rest, entered, number)
        if call is not None:
            calls.append(call)
    # Those that never ended were entered all the same: an answer that was on its way.
    calls += [
        call
        for number, head in begun.values()
        if (call := _call(head + ") = 0", number, number)) is not None
    ]
    return calls


def _call(text, entered, left):
    name, _, rest = text.partition("(")
    pieces = rest.split('"')
    returned = _RETURNED.search(pieces[-1])
    if returned is None or returned["value"].startswith("-"):
        return None
    outside = " ".join(pieces[::2])
    strings = [_decode(piece) for piece in pieces[1::2]]
    descriptor = _FD.match(pieces[0])
    path = ""
    if descriptor is not None and descriptor["fd"] != "AT_FDCWD":
        path = _decode(descriptor["path"] or "").decode()
        data = b"".join(strings)
    else:
        path = strings[0].decode("utf-8", "replace") if strings else ""
        data = strings[1] if len(strings) > 1 else b""
    before = pieces[-1][: returned.start()]
    if len(pieces) == 1 and descriptor is not None:
        before = before[descriptor.end() :]
    numbers = tuple(int(word) for word in re.findall(r"(?<![\w.])-?\d+(?!\w)", before))
    if name in ("write", "pwrite64", "writev"):
        assert not pieces[-1].startswith("..."), "all that was written is written down"
    return Call(name, entered, left, path, data, numbers, outside, int(returned["value"], 0))


def _decode(text):
    return bytes.fromhex(text.replace("\\x", ""))
