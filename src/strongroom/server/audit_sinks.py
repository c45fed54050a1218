"""Where lines of the audit log go: a file that all processes append to, or a webhook.

Blocking; each raises `OSError` when it cannot take what it is given, and is asked again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import http.client
import os
import secrets
import ssl
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from strongroom.crypto import secret

MODE: Final = 0o600
TIMEOUT_S: Final = 10.0
"""How long a webhook may take to answer."""
_REDIRECTS: Final = 300


class Sink(Protocol):
    """Takes lines, each with its end of line."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Take lines, all of them in order or none; if it raises, they may come a second time.

        Raises:
            OSError: they cannot be taken now.
        """
        ...

    def sync(self) -> None:
        """Make durable what was taken.

        Raises:
            OSError: it may not be.
        """
        ...

    def close(self) -> None:
        """Let go. May be called twice."""
        ...


class File:
    """A file, mode 0600, to which any number of processes append whole lines.

    A line is one `write` to a descriptor that appends, which Linux does at one go. Whoever finds
    that the file has grown beyond its size gives it another name, with the time in it, and begins
    a new one; old ones are for the operator to remove. If somebody else has renamed it
    (logrotate), the next line begins a new one, too.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Open it.

        Raises:
            OSError: it cannot be opened or made.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._descriptor = -1
        self._place = (0, 0)
        self._torn = False
        self._dirty = False
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, MODE)
        self.close()
        found = os.fstat(descriptor)
        self._descriptor, self._place = descriptor, (found.st_dev, found.st_ino)

    def write(self, lines: Sequence[bytes]) -> None:
        """See the protocol."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - on the path of requests
        except FileNotFoundError:
            self._open()
        else:
            if (found.st_dev, found.st_ino) != self._place:
                self._open()
            elif found.st_size >= self._max_bytes:
                self._rotate()
        data = b"".join(lines)
        if self._torn:
            # Ends what a full disk cut short, so that this line is one.
            data = b"\n" + data
        self._dirty = True
        written = os.write(self._descriptor, data)
        self._torn = written != len(data)
        if self._torn:
            raise OSError(f"{self._path}: {len(data) - written} bytes of a line were not taken")

    def _rotate(self) -> None:
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                # Another process may have done it while this one waited.
                if self._path.stat().st_size >= self._max_bytes:
                    now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
                    self._path.rename(f"{self._path}.{now}-{secrets.token_hex(2)}")
            self._open()
        finally:
            os.close(lock)

    def sync(self) -> None:
        """See the protocol."""
        if self._dirty:
            self._dirty = False
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """See the protocol."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Webhook:
    """A URL that takes lines by POST, as `application/x-ndjson`; anything but 2xx is a failure.

    Certificates are checked as the system has it, or by `SSL_CERT_FILE`.
    """

    def __init__(self, url: str, token: secret.SecretKey | None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, "settings refuse others"
        self._host, self._port = parts.hostname, parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._token = token
        self._tls = ssl.create_default_context()

    def write(self, lines: Sequence[bytes]) -> None:
        """See the protocol."""
        headers = {"Content-Type": "application/x-ndjson", "User-Agent": "strongroom"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.reveal().decode()}"
        wire = http.client.HTTPSConnection(
            self._host, self._port, timeout=TIMEOUT_S, context=self._tls
        )
        try:
            wire.request("POST", self._target, b"".join(lines), headers)
            answer = wire.getresponse()
            answer.read()
        except http.client.HTTPException as error:
            raise OSError("the webhook does not speak HTTP") from error
        finally:
            wire.close()
        if not http.client.OK <= answer.status < _REDIRECTS:
            raise OSError(f"the webhook answers {answer.status}")

    def sync(self) -> None:
        """Do nothing: what was answered is the other side's."""

    def close(self) -> None:
        """Do nothing: each batch has a connection of its own."""
