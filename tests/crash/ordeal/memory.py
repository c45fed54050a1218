"""Is a customer's key still in the memory of the server some seconds after its last request?

    python -m ordeal.memory

Python cannot wipe `bytes`, and the allocator hands memory out again without clearing it. So
this does not judge; it counts, in all that the process has mapped and may read, the key as it is
and as the header carried it, while requests of others go on, and says what is left.
Needs to be root, or whoever may trace the server: its memory is closed to others.
"""

import base64
import hashlib
import secrets
import sys
import tempfile
import time
from pathlib import Path

from ordeal import serving
from ordeal.client import Client
from ordeal.serving import BUCKET

PAUSE_S = 5.0
REQUESTS = 20
OTHERS = 200


def forms(key):
    """Return how the key may lie in memory, by name; halves, since buffers are cut anywhere."""
    encoded = base64.b64encode(key)
    return {
        "key": key,
        "first half of the key": key[:16],
        "second half of the key": key[16:],
        "header value": encoded,
        "MD5 of the key": hashlib.md5(key, usedforsecurity=False).digest(),
    }


def count(pid, wanted):
    """Return how often each of `wanted`, name → bytes, lies in the memory of a process."""
    found = dict.fromkeys(wanted, 0)
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode, *_, name = [*line.split(maxsplit=5), ""][:6]
            if not mode.startswith("r") or name.startswith("[v"):
                continue
            start, end = (int(text, 16) for text in span.split("-"))
            try:
                memory.seek(start)
                data = memory.read(end - start)
            except OSError:
                # Mapped, and not there to be read: a guard page, or a device's.
                continue
            for what, needle in wanted.items():
                found[what] += data.count(needle)
    return found


def look(server):
    """Return ({form: times} right after requests with a key, the same `PAUSE_S` later)."""
    key, other = secrets.token_bytes(32), secrets.token_bytes(32)
    client = Client(server, BUCKET)
    client.create_bucket()
    for number in range(REQUESTS):
        body = bytes(100 if number % 2 else 100_000)
        assert client.put(f"k{number}", body, customer=key).ok
        assert client.get(f"k{number}", customer=key).ok
    wanted = forms(key)
    at_once = count(server.process.pid, wanted)
    until = time.monotonic() + PAUSE_S
    for number in range(OTHERS):
        assert client.put(f"o{number}", bytes(100), customer=other).ok
    time.sleep(max(0.0, until - time.monotonic()))
    client.close()
    return at_once, count(server.process.pid, wanted)


def main():
    with (
        tempfile.TemporaryDirectory(prefix="strongroom-memory-") as folder,
        serving.Servers(Path(folder) / "data").make() as server,
    ):
        at_once, later = look(server)
    print(f"form{'':24} at once  {PAUSE_S:.0f} s later")  # noqa: T201 - a program's output
    for what, times in at_once.items():
        print(f"{what:28} {times:7}  {later[what]:9}")  # noqa: T201 - likewise


if __name__ == "__main__":
    sys.exit(main())
