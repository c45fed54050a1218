"""What is measured: servers started here, or an endpoint that runs already.

strongroom          this checkout, durable, one worker
strongroom:N        the same with N workers
seaweedfs           the peer, see `benchmarks.seaweedfs`
null                nothing at all, see `benchmarks.null`
https://HOST:PORT   any other; keys from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, CA from
                    AWS_CA_BUNDLE. With #PID its processes on this machine are metered
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib import parse

from benchmarks import meter, seaweedfs
from strongroom import testing
from strongroom.server import tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Target:
    """A running server.

    Attributes:
        name: as on the command line, without the `#PID`.
        endpoint: `https://host:port`.
        ca_bundle: path of the CA that its certificate is from.
        access_key: of somebody who may do everything.
        secret_key: theirs.
        tree: its processes.
        stores: whether it gives back what was put; the null server does not.
    """

    name: str
    endpoint: str
    ca_bundle: str
    access_key: str
    secret_key: str
    tree: meter.Tree
    stores: bool = True


@contextlib.contextmanager
def started(name: str, folder: Path) -> Iterator[Target]:
    """Run what `name` says, for a `with` block; what it writes lies in `folder`.

    Raises:
        ValueError: no target is called that.
        RuntimeError: it did not start.
    """
    kind, _, number = name.partition(":")
    if kind == "strongroom":
        with _strongroom(name, number or "1", folder) as target:
            yield target
    elif kind == "seaweedfs":
        with _seaweedfs(name, folder) as target:
            yield target
    elif kind == "null":
        with _null(name, folder) as target:
            yield target
    elif kind == "https":
        yield _elsewhere(name)
    else:
        raise ValueError(f"no target is called {name!r}: strongroom, seaweedfs, null or https://…")


@contextlib.contextmanager
def _strongroom(name: str, workers: str, folder: Path) -> Iterator[Target]:
    with testing.Strongroom(folder / "data", args=("--workers", workers)) as server:
        assert server.process is not None, "started"
        yield Target(
            name,
            server.endpoint_url,
            server.ca_bundle,
            server.access_key,
            server.secret_key,
            meter.Tree(server.process.pid),
        )


@contextlib.contextmanager
def _seaweedfs(name: str, folder: Path) -> Iterator[Target]:
    pair = _certificate(folder)
    access_key, secret_key = "BENCH" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30)
    server = seaweedfs.SeaweedFS(
        folder, cert=pair.cert, key=pair.key, access_key=access_key, secret_key=secret_key
    )
    server.start()
    try:
        endpoint = f"https://127.0.0.1:{server.port}"
        yield Target(name, endpoint, str(pair.ca), access_key, secret_key, meter.Tree(server.pid))
    finally:
        server.stop()


@contextlib.contextmanager
def _null(name: str, folder: Path) -> Iterator[Target]:
    pair = _certificate(folder)
    process = subprocess.Popen(  # noqa: S603 - our own module
        [
            *(sys.executable, "-m", "benchmarks.null"),
            *("--cert", str(pair.cert), "--key", str(pair.key)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None, "asked for"
    try:
        port = process.stdout.readline().decode().strip()
        if not port:
            raise RuntimeError("the null server did not start")
        endpoint = f"https://127.0.0.1:{port}"
        tree = meter.Tree(process.pid)
        yield Target(name, endpoint, str(pair.ca), "NULL", "null", tree, stores=False)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _elsewhere(name: str) -> Target:
    endpoint, pid = parse.urldefrag(name)
    try:
        return Target(
            endpoint,
            endpoint,
            os.environ["AWS_CA_BUNDLE"],
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
            meter.Tree(int(pid) if pid else None),
        )
    except KeyError as error:
        raise ValueError(f"{endpoint} needs {error.args[0]} in the environment") from None


def _certificate(folder: Path) -> tls.Pair:
    pair = tls.ensure(folder / "tls", None, dt.datetime.now(dt.UTC))
    assert pair.ca is not None, "generated"
    return pair
