"""Many connections at once, most of them idle or slow: are the others served, in bounded memory?

    python -m ordeal.crowd --idle 2000 --busy 64 --seconds 20

Beside the busy clients (PUT, GET and HEAD of 4 KiB under customer keys) there are idle TLS
connections, clients that send their head or their body a byte at a time, and clients that
read 64 MiB at 1 kB a second. What is counted: requests answered well, refused with 503 and
failed; resident memory of the server; and whether a head that never ends is cut off at the limit
that docs/guide/limits.md names.
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
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from ordeal import content, serving
from ordeal.client import Client, NoAnswerError, customer_headers
from ordeal.serving import BUCKET

KEY = bytes(range(32))
SMALL = bytes(4096)
LARGE = "large"
SLOW = 20
"""Clients of each slow kind."""

HEAD_LIMIT_S = 30.0
READ_BYTES = 1000


@dataclasses.dataclass
class Summary:
    """Figures of a run; rates are of the busy clients, requests a second."""

    idle: int = 0
    busy: int = 0
    rate_alone: float = 0.0
    rate_in_crowd: float = 0.0
    refused: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)
    peak_mib: float = 0.0
    heads_cut_s: list[float] = dataclasses.field(default_factory=list)
    heads_left: int = 0

    def lines(self):
        yield f"idle TLS connections     {self.idle}"
        yield f"slow clients             {3 * SLOW}: heads, bodies, readers"
        yield (
            f"busy clients             {self.busy}: {self.rate_in_crowd:.0f} requests/s,"
            f" {self.rate_alone:.0f} without the others"
        )
        yield f"refused with 503         {self.refused}"
        yield f"failed                   {len(self.failed)} {self.failed[:3]}"
        cut = f"{max(self.heads_cut_s):.0f} s at most" if self.heads_cut_s else "-"
        yield f"endless heads cut off    {len(self.heads_cut_s)} after {cut}; {self.heads_left} left"
        yield f"peak resident            {self.peak_mib:.0f} MiB"


class Crowd:
    """One server and who comes to it."""

    def __init__(self, server, idle, busy, seconds):
        self._server = server
        self._seconds = seconds
        parts = urlsplit(server.endpoint_url)
        self._address = (parts.hostname, parts.port)
        self._context = ssl.create_default_context(cafile=server.ca_bundle)
        self._host = parts.hostname
        self._end = threading.Event()
        self._lock = threading.Lock()
        self.summary = Summary(idle=idle, busy=busy)

    def run(self, say=lambda _line: None, *, to_the_limit=True):
        """Let them come; `to_the_limit`: wait until endless heads are cut off."""
        with contextlib.closing(Client(self._server, BUCKET)) as client:
            client.create_bucket()
            assert client.put(LARGE, bytes(64 * content.MIB), customer=KEY).ok
        self.summary.rate_alone = self._busy()
        say(f"alone: {self.summary.rate_alone:.0f} requests/s")
        slow = [
            threading.Thread(target=work, daemon=True)
            for work in (self._slow_head, self._slow_body, self._slow_reader)
            for _ in range(SLOW)
        ]
        with contextlib.ExitStack() as stack:
            for thread in slow:
                thread.start()
            began = time.monotonic()
            for _ in range(self.summary.idle):
                stack.enter_context(self._connect())
            say(f"{self.summary.idle} connections in {time.monotonic() - began:.1f} s")
            self.summary.rate_in_crowd = self._busy()
            say(f"in the crowd: {self.summary.rate_in_crowd:.0f} requests/s")
        # The heads began first, and have their limit behind them.
        if to_the_limit:
            self._end.wait(max(0.0, began + HEAD_LIMIT_S + 5 - time.monotonic()))
        self._end.set()
        for thread in slow:
            thread.join()
        self.summary.heads_left = SLOW - len(self.summary.heads_cut_s)
        self.summary.peak_mib = serving.peak_mib(self._server.process.pid)
        return self.summary

    def _busy(self):
        """Let the busy clients work; return their requests a second."""
        done = [0] * self.summary.busy
        stop = time.monotonic() + self._seconds

        def work(number):
            with contextlib.closing(Client(self._server, BUCKET)) as client:
                count = 0
                while time.monotonic() < stop:
                    try:
                        if count % 2:
                            answer = client.get(f"busy {number}", customer=KEY)
                        else:
                            answer = client.put(f"busy {number}", SMALL, customer=KEY)
                    except NoAnswerError as error:
                        self._failed(str(error))
                        continue
                    if answer.ok:
                        count += 1
                    elif answer.status == 503:
                        with self._lock:
                            self.summary.refused += 1
                    else:
                        self._failed(f"{answer.status} {answer.code}")
                done[number] = count

        threads = [threading.Thread(target=work, args=[n]) for n in range(self.summary.busy)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / (time.monotonic() - began)

    def _failed(self, what):
        with self._lock:
            self.summary.failed.append(what)

    def _connect(self):
        raw = socket.create_connection(self._address, timeout=60)
        return self._context.wrap_socket(raw, server_hostname=self._host)

    def _slow_head(self):
        began = time.monotonic()
        try:
            with self._connect() as wire:
                wire.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
                while not self._end.wait(1.0):
                    wire.sendall(b"a")
                    if time.monotonic() - began > HEAD_LIMIT_S and not wire.recv(1):
                        raise ConnectionResetError
        except OSError:
            with self._lock:
                self.summary.heads_cut_s.append(time.monotonic() - began)

    def _slow_body(self):
        head = self._head_of("PUT", f"slow {threading.get_ident()}", length=1_000_000)
        with contextlib.suppress(OSError), self._connect() as wire:
            wire.sendall(head)
            while not self._end.wait(1.0):
                wire.sendall(b"a")

    def _slow_reader(self):
        head = self._head_of("GET", LARGE)
        with contextlib.suppress(OSError), self._connect() as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.sendall(head)
            while not self._end.wait(1.0):
                if not wire.recv(READ_BYTES):
                    return

    def _head_of(self, method, key, length=0):
        with contextlib.closing(Client(self._server, BUCKET)) as client:
            return client.head_of(method, key, customer_headers(KEY), length)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make load", description=__doc__.splitlines()[0])
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--busy", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=15.0)
    chosen = parser.parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * (chosen.idle + 500)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    with tempfile.TemporaryDirectory(prefix="strongroom-load-") as folder:
        servers = serving.Servers(Path(folder) / secrets.token_hex(4))
        with servers.make() as server:
            crowd = Crowd(server, chosen.idle, chosen.busy, chosen.seconds)
            summary = crowd.run(lambda line: print(line, flush=True))  # noqa: T201
    print(*summary.lines(), sep="\n")  # noqa: T201 - a program's output
    return int(bool(summary.failed or summary.heads_left))


if __name__ == "__main__":
    sys.exit(main())
