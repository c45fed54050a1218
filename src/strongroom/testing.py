"""A private server for tests: `Strongroom`, and the pytest fixture `strongroom_server`.

    with Strongroom() as server:
        client = server.boto3_client()
        client.create_bucket(Bucket="attic")

The server is the command line in a process of its own, on free ports of
127.0.0.1. boto3 is imported when a client is asked for; pytest only by the plugin.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import strongroom

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

START_S = 60.0
STOP_S = 60.0
_EXIT_S = 5.0
_LOG_TAIL_CHARACTERS = 4000


class Strongroom:
    """A server that runs from `start` to `stop`, or for a `with` block.

    Objects are in memory (`--ephemeral`) unless they are to last.

    Args:
        data_dir: keep everything here, over `restart` and for the next server.
        durable: keep everything over `restart`, in a temporary directory that
            goes with `stop`.
        http: listen on plain HTTP too.
        metrics: listen for metrics and health too.
        kms: serve the key management service too.
        console: serve the web console too.
        args: further arguments of `strongroom serve`.
        env: further variables; those of this process named `STRONGROOM_*` are not passed on.
        command: what to run instead of `strongroom serve`.

    Attributes:
        access_key: root's, chosen here.
        secret_key: root's, chosen here.
        process: the running server; its `pid` is for signals.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        durable: bool = False,
        http: bool = False,
        metrics: bool = False,
        kms: bool = False,
        console: bool = False,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "strongroom.cli", "serve"),
    ) -> None:
        self.access_key = "SRTEST" + secrets.token_hex(7).upper()
        self.secret_key = secrets.token_urlsafe(30)
        self._master_key = base64.b64encode(secrets.token_bytes(32)).decode()
        self._given_dir = None if data_dir is None else Path(data_dir)
        self._lasts = durable or data_dir is not None
        self._command = list(command)
        self._options = [
            *(("--http-listen", "127.0.0.1:0") if http else ()),
            *(("--metrics-listen", "127.0.0.1:0") if metrics else ()),
            *(("--kms-listen", "127.0.0.1:0") if kms else ()),
            *(("--console-listen", "127.0.0.1:0") if console else ()),
            *args,
        ]
        self._env = dict(env or {})
        self._own: Path | None = None
        self._log: IO[bytes] | None = None
        self._urls: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    # Life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it serves.

        Raises:
            RuntimeError: it ended, or did not get ready in `START_S`; with its log.
        """
        assert self.process is None, "started once; stop it first"
        if self._own is None:
            self._own = Path(tempfile.mkdtemp(prefix="strongroom-test-"))
        self._log = (self._own / "server.log").open("ab")
        self.process = subprocess.Popen(  # noqa: S603 - our own command line
            [*self._command, *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment(),
        )
        try:
            self._urls = _read_ready_line(self.process)
        except RuntimeError as error:
            self.kill()
            tail = self.log_text()[-_LOG_TAIL_CHARACTERS:]
            self._remove()
            raise RuntimeError(f"{error}; its log ends with:\n{tail}") from None

    def stop(self) -> int:
        """Let the server finish and end; return its exit status. May be called twice."""
        status = self._end(signal.SIGTERM)
        self._remove()
        return status

    def kill(self) -> None:
        """End the server as a power cut of the process does; data directories stay."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again, after `kill` or while it runs, on the same data directory.

        Ports may change, and what was in memory is gone.
        """
        self._end(signal.SIGTERM)
        self.start()

    # Where it is

    @property
    def endpoint_url(self) -> str:
        """S3 over HTTPS."""
        return self._urls["s3"]

    @property
    def http_url(self) -> str:
        """S3 over plain HTTP.

        Raises:
            KeyError: it is off.
        """
        return self._urls["http"]

    @property
    def kms_url(self) -> str:
        """The key management service.

        Raises:
            KeyError: it is off.
        """
        return self._urls["kms"]

    @property
    def console_url(self) -> str:
        """The web console.

        Raises:
            KeyError: it is off.
        """
        return self._urls["console"]

    @property
    def metrics_url(self) -> str:
        """Metrics and health.

        Raises:
            KeyError: it is off.
        """
        return self._urls["metrics"]

    @property
    def data_dir(self) -> Path:
        """What the server has as `--data-dir`."""
        if self._given_dir is not None:
            return self._given_dir
        assert self._own is not None, "started"
        return self._own / "data"

    @property
    def ca_bundle(self) -> str:
        """Path of the CA that signed the server's certificate."""
        return str(self.data_dir / "tls" / "ca.crt")

    @property
    def log_path(self) -> Path:
        """File with everything that the server wrote to standard error."""
        assert self._own is not None, "started"
        return self._own / "server.log"

    def log_text(self) -> str:
        """Return what the server logged so far."""
        return self.log_path.read_text("utf-8", "replace")

    def log_events(self) -> list[dict[str, Any]]:
        """Return the log's lines as tables; lines that are no JSON are left out."""
        events = []
        for line in self.log_text().splitlines():
            with contextlib.suppress(ValueError):
                events.append(json.loads(line))
        return events

    # Who asks

    def boto3_client(self, service: str = "s3", **kwargs: Any) -> Any:
        """Return a boto3 client of this server, as root unless keys are given.

        Args:
            service: name of the service; `kms` where the server was told to serve it.
            kwargs: passed on to `boto3.client`, in place of what is set here. A
                `config` is merged with path-style addressing.
        """
        import boto3  # noqa: PLC0415 - an extra
        from botocore.config import Config  # noqa: PLC0415

        config = Config(s3={"addressing_style": "path"})
        if "config" in kwargs:
            config = config.merge(kwargs.pop("config"))
        settings = {
            "endpoint_url": self.kms_url if service == "kms" else self.endpoint_url,
            "verify": self.ca_bundle,
            "region_name": "us-east-1",
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "config": config,
        }
        # A session of its own: the default one is shared and not safe to build from threads.
        return boto3.session.Session().client(service, **(settings | kwargs))

    # Within

    def _arguments(self) -> list[str]:
        arguments = ["--listen", "127.0.0.1:0", "--data-dir", str(self.data_dir), *self._options]
        return arguments if self._lasts else ["--ephemeral", *arguments]

    def _environment(self) -> dict[str, str]:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("STRONGROOM_")
        }
        # The same package as ours, installed or not.
        root = str(Path(strongroom.__file__).parents[1])
        path = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = root if not path else f"{root}{os.pathsep}{path}"
        return environment | {
            "STRONGROOM_ROOT_ACCESS_KEY": self.access_key,
            "STRONGROOM_ROOT_SECRET_KEY": self.secret_key,
            "STRONGROOM_MASTER_KEY": self._master_key,
            **self._env,
        }

    def _end(self, number: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            status = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        assert process.stdout is not None, "asked for"
        process.stdout.close()
        if self._log is not None:
            self._log.close()
            self._log = None
        return status

    def _remove(self) -> None:
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            self._own = None


def _read_ready_line(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """Return name → URL out of the ready line.

    Raises:
        RuntimeError: there was none.
    """
    assert process.stdout is not None, "asked for"
    # A pipe cannot be read with a timeout; ending the process ends the read.
    timer = threading.Timer(START_S, process.kill)
    timer.start()
    try:
        line = process.stdout.readline().decode("utf-8", "replace").strip()
    finally:
        timer.cancel()
    if not line.startswith("strongroom ready "):
        told = f"said {line!r}"
        if not line:
            with contextlib.suppress(subprocess.TimeoutExpired):
                told = f"exited with status {process.wait(_EXIT_S)}"
        raise RuntimeError(f"strongroom did not get ready: it {told}")
    return dict(word.split("=", 1) for word in line.split()[2:])


try:
    import pytest
except ImportError:
    pass
else:

    @pytest.fixture(scope="session")
    def strongroom_server() -> Iterator[Strongroom]:
        """Serve S3 from memory, for the whole session."""
        with Strongroom() as server:
            yield server
