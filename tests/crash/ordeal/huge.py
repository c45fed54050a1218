"""One object of many gigabytes, up by parts and down again: in how much of the server's memory?

    python -m ordeal.huge --mib 5120

boto3 as it comes sends and fetches it (parts of 8 MiB, ten threads, aws-chunked with CRC-32
trailers) under a customer key, then it is fetched once more in one request. Every byte that
comes back is compared. Resident memory is the sum of the peaks of all the server's processes,
as the kernel noted them.
"""

import argparse
import dataclasses
import io
import secrets
import sys
import tempfile
import time
from pathlib import Path

import boto3
from botocore.config import Config

from ordeal import content, serving
from ordeal.serving import BUCKET

KEY = bytes(range(32))
NAME = "huge"
LIMIT_MIB = 300
BLOCK_BYTES = content.MIB
_NOISE_BYTES = 8 * content.MIB + 4099
"""No multiple of a part, so that no two parts of a large object are the same."""


@dataclasses.dataclass
class Summary:
    """Figures of a run; rates in MiB a second, the client's work included."""

    mib: int = 0
    up: float = 0.0
    down_by_parts: float = 0.0
    down_at_once: float = 0.0
    rest_mib: float = 0.0
    peak_mib: float = 0.0
    differing: int = 0

    def lines(self):
        yield f"object                   {self.mib} MiB"
        yield f"up by parts              {self.up:.0f} MiB/s"
        yield f"down by parts            {self.down_by_parts:.0f} MiB/s"
        yield f"down in one request      {self.down_at_once:.0f} MiB/s"
        yield f"blocks that differ       {self.differing}"
        yield f"resident before          {self.rest_mib:.0f} MiB"
        yield f"peak resident            {self.peak_mib:.0f} MiB, may be {LIMIT_MIB}"


class Pattern:
    """Bytes without end that nothing compresses and each place can be asked for."""

    def __init__(self, random_bytes=secrets.token_bytes):
        noise = random_bytes(_NOISE_BYTES)
        self._twice = memoryview(noise + noise)

    def at(self, start, size):
        """Return `size` bytes, a block at most, from there on."""
        place = start % _NOISE_BYTES
        return self._twice[place : place + size]


class Source(io.RawIOBase):
    """A file of so many bytes of a pattern that takes no room; not seekable, as a pipe is not."""

    def __init__(self, pattern, size):
        self._pattern = pattern
        self._left = size
        self._at = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        size = min(len(buffer), self._left, BLOCK_BYTES)
        buffer[:size] = self._pattern.at(self._at, size)
        self._at += size
        self._left -= size
        return size


class Sink:
    """Counts the pieces that are not as the pattern has them, and keeps none."""

    def __init__(self, pattern):
        self._pattern = pattern
        self.at = 0
        self.differing = 0

    def write(self, data):
        view = memoryview(data)
        for start in range(0, len(view), BLOCK_BYTES):
            piece = view[start : start + BLOCK_BYTES]
            self.differing += piece != self._pattern.at(self.at, len(piece))
            self.at += len(piece)
        return len(view)


def run(server, mib, say=lambda _line: None):
    """Carry the object up and down; return the figures."""
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint_url,
        verify=server.ca_bundle,
        region_name="us-east-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(s3={"addressing_style": "path"}, read_timeout=600),
    )
    sse = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
    client.create_bucket(Bucket=BUCKET)
    pid, size, pattern = server.process.pid, mib * content.MIB, Pattern()
    summary = Summary(mib=mib, rest_mib=peak_mib(pid))

    began = time.monotonic()
    source = io.BufferedReader(Source(pattern, size), BLOCK_BYTES)
    client.upload_fileobj(source, BUCKET, NAME, ExtraArgs=sse)
    summary.up = mib / (time.monotonic() - began)
    say(f"up: {summary.up:.0f} MiB/s, {peak_mib(pid):.0f} MiB")

    began = time.monotonic()
    by_parts = Sink(pattern)
    client.download_fileobj(BUCKET, NAME, by_parts, ExtraArgs=sse)
    summary.down_by_parts = mib / (time.monotonic() - began)
    say(f"down by parts: {summary.down_by_parts:.0f} MiB/s, {peak_mib(pid):.0f} MiB")

    began = time.monotonic()
    at_once = Sink(pattern)
    for piece in client.get_object(Bucket=BUCKET, Key=NAME, **sse)["Body"].iter_chunks(BLOCK_BYTES):
        at_once.write(piece)
    summary.down_at_once = mib / (time.monotonic() - began)
    say(f"down at once: {summary.down_at_once:.0f} MiB/s, {peak_mib(pid):.0f} MiB")

    assert by_parts.at == at_once.at == size, "boto3 says so itself if bytes are missing"
    summary.differing = by_parts.differing + at_once.differing
    summary.peak_mib = peak_mib(pid)
    return summary


def peak_mib(pid):
    """Return the sum of the peaks of a process and all below it: never less than their joint peak."""
    total = serving.peak_mib(pid)
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        total += sum(peak_mib(int(child)) for child in children.read_text().split())
    return total


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make load", description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=5 * 1024)
    parser.add_argument("--dir", type=Path, help="where the server writes; default: TMPDIR")
    chosen = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="strongroom-huge-", dir=chosen.dir) as folder,
        serving.Servers(Path(folder) / "data").make() as server,
    ):
        summary = run(server, chosen.mib, lambda line: print(line, flush=True))  # noqa: T201
    print(*summary.lines(), sep="\n")  # noqa: T201 - a program's output
    return int(bool(summary.differing or summary.peak_mib > LIMIT_MIB))


if __name__ == "__main__":
    sys.exit(main())
