"""More requests at once than the server takes, and clients that neither send nor take anything.

    python -m ordeal.overload --held 1024

As many clients as the server takes requests send a head and one byte of its body, and then
nothing. Whoever comes then has to be told 503 with Retry-After; when some have hung up, or
closed their side only, the next are served; and those that stay are cut off at the limit that
docs/guide/limits.md names, as are those that ask for 64 MiB and read none of it.
"""

import argparse
import contextlib
import dataclasses
import resource
import secrets
import socket
import ssl
import sys
import tempfile
import time
from concurrent import futures
from pathlib import Path
from urllib.parse import urlsplit

from ordeal import content, serving
from ordeal.client import Client, customer_headers
from ordeal.serving import BUCKET
from strongroom.server import asgi

KEY = bytes(range(32))
READERS = 8
BEYOND = 32
"""Requests beyond the limit."""
GONE = 16
"""Clients that hang up, and as many that close their side only."""
GRACE_S = 60
"""How much later than the limit a busy machine may be."""


@dataclasses.dataclass
class Summary:
    """Figures of a run; times in seconds."""

    held: int = 0
    refused: int = 0
    told_when: int = 0
    served_after: int = 0
    cut: list[float] = dataclasses.field(default_factory=list)
    answers: dict[str, int] = dataclasses.field(default_factory=dict)
    readers_cut: list[float] = dataclasses.field(default_factory=list)
    peak_mib: float = 0.0

    @property
    def failed(self):
        return (
            (self.refused, self.told_when, self.served_after) != (BEYOND, BEYOND, GONE)
            or len(self.cut) != self.held - 2 * GONE - READERS
            or set(self.answers) - {"408"}
            or len(self.readers_cut) != READERS
        )

    def lines(self):
        yield f"requests held             {self.held}"
        yield f"refused beyond            {self.refused} of {BEYOND} with 503, {self.told_when} Retry-After"
        yield f"served when some had gone {self.served_after} of {GONE}"
        yield f"bodies without an end     {_spread(self.cut)}; {self.answers}"
        yield f"readers that take nothing {len(self.readers_cut)} of {READERS} cut off"
        yield f"peak resident             {self.peak_mib:.0f} MiB"


def _spread(times):
    return f"{len(times)} cut off after {min(times):.0f} to {max(times):.0f} s" if times else "none"


class Overload:
    """One server, and too many clients."""

    def __init__(self, server, held):
        self._server = server
        parts = urlsplit(server.endpoint_url)
        self._address = (parts.hostname, parts.port)
        self._context = ssl.create_default_context(cafile=server.ca_bundle)
        self.summary = Summary(held=held)

    def run(self, say=lambda _line: None):
        with contextlib.closing(Client(self._server, BUCKET)) as client:
            client.create_bucket()
            assert client.put("large", bytes(64 * content.MIB), customer=KEY).ok
            put = client.head_of("PUT", "held", customer_headers(KEY), 1_000_000)
            get = client.head_of("GET", "large", customer_headers(KEY), 0)
            small = client.head_of("GET", "none", customer_headers(KEY), 0)
        with contextlib.ExitStack() as stack:
            readers = [self._asks(stack, get, take=1) for _ in range(READERS)]
            holders = [self._asks(stack, put + b"x") for _ in range(self.summary.held - READERS)]
            say(f"{len(holders)} hold a request each, {READERS} take no answer")
            self._wait_until_full(small)
            for _ in range(BEYOND):
                answer = self._answer(self._asks(stack, small))
                self.summary.refused += answer.startswith(b"HTTP/1.1 503 ")
                self.summary.told_when += b"retry-after: 1\r\n" in answer.lower()
            say(f"{self.summary.refused} of {BEYOND} refused")
            for wire in holders[:GONE]:
                wire.close()
            for wire in holders[GONE : 2 * GONE]:
                wire.shutdown(socket.SHUT_WR)
            time.sleep(1)
            for _ in range(GONE):
                answer = self._answer(self._asks(stack, small))
                self.summary.served_after += answer.startswith(b"HTTP/1.1 404 ")
            say(f"{self.summary.served_after} of {GONE} served when {2 * GONE} had gone")
            self._see_them_cut(holders[2 * GONE :], readers)
        self.summary.peak_mib = serving.peak_mib(self._server.process.pid)
        return self.summary

    def _asks(self, stack, head, take=0):
        raw = socket.create_connection(self._address, timeout=60)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire = stack.enter_context(self._context.wrap_socket(raw, server_hostname=self._address[0]))
        wire.sendall(head)
        if take:
            wire.recv(take)
        return wire

    def _answer(self, wire):
        with contextlib.suppress(OSError):
            return wire.recv(4096)
        return b""

    def _wait_until_full(self, head):
        """Wait until the last of those who hold a request is heard."""
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline:
            with contextlib.ExitStack() as stack:
                if self._answer(self._asks(stack, head)).startswith(b"HTTP/1.1 503 "):
                    return
            time.sleep(0.2)

    def _see_them_cut(self, holders, readers):
        began = time.monotonic()

        def see(wire):
            wire.settimeout(asgi.STALL_S + GRACE_S)
            with contextlib.suppress(TimeoutError):
                try:
                    answer = wire.recv(4096)
                except OSError:
                    answer = b""
                return time.monotonic() - began, answer[9:12].decode() or "closed"
            return None

        def take_nothing(wire):
            # Nothing is read before the limit; what was under way comes, and then the end.
            time.sleep(asgi.STALL_S + GRACE_S / 2)
            wire.settimeout(GRACE_S)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * content.MIB)
            taken = 0
            with contextlib.suppress(OSError):
                while piece := wire.recv(65_536):
                    taken += len(piece)
            return time.monotonic() - began if taken < 64 * content.MIB else None

        with futures.ThreadPoolExecutor(len(holders) + len(readers)) as threads:
            slow = [threads.submit(take_nothing, wire) for wire in readers]
            for one in [threads.submit(see, wire) for wire in holders]:
                if (seen := one.result()) is not None:
                    self.summary.cut.append(seen[0])
                    self.summary.answers[seen[1]] = self.summary.answers.get(seen[1], 0) + 1
            self.summary.readers_cut += [t for one in slow if (t := one.result()) is not None]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make load", description=__doc__.splitlines()[0])
    parser.add_argument("--held", type=int, default=asgi.MAX_REQUESTS)
    chosen = parser.parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    with tempfile.TemporaryDirectory(prefix="strongroom-overload-") as folder:
        servers = serving.Servers(Path(folder) / secrets.token_hex(4))
        with servers.make() as server:
            overload = Overload(server, chosen.held)
            summary = overload.run(lambda line: print(line, flush=True))  # noqa: T201
    print(*summary.lines(), sep="\n")  # noqa: T201 - a program's output
    return int(bool(summary.failed))


if __name__ == "__main__":
    sys.exit(main())
