"""What a client script has at hand: where the server is, the tree, and `step`.

Scripts run in environments of their own, so this is standard library only.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import traceback
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trees

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_MOST_SHOWN = 600
Word = str | os.PathLike[str]
"""A word of a command line."""


class Skipped(Exception):
    """The step cannot be done here; the text says why."""


class Rig:
    """One client's run.

    Attributes:
        endpoint: the server's URL.
        host: the same without the scheme.
        kms: URL of its key management service.
        ca: path of its CA's certificate.
        access_key, secret_key: root's.
        region: the server's.
        key: a customer key, raw; `key_base64` and `key_md5` are its header values.
        other_key: another one, raw.
        tree: what is to be carried, with `sizes`, `odd` and `wild` in it.
        home: an empty directory of the client's own.
    """

    def __init__(self) -> None:
        given = json.loads(os.environ["CONFORMANCE"])
        self.endpoint: str = given["endpoint"]
        self.host = self.endpoint.partition("://")[2]
        self.kms: str = given["kms"]
        self.ca: str = given["ca"]
        self.access_key: str = given["access_key"]
        self.secret_key: str = given["secret_key"]
        self.region = "us-east-1"
        self.tree = Path(given["tree"])
        self.home = Path(given["home"])
        self.key = hashlib.sha256(self.secret_key.encode()).digest()
        self.other_key = hashlib.sha256(self.key).digest()
        self.key_base64 = base64.b64encode(self.key).decode()
        self.key_md5 = base64.b64encode(
            hashlib.md5(self.key, usedforsecurity=False).digest()
        ).decode()
        self._python = (given["python"], given["source"])
        self._report = Path(given["report"])
        self._at = 0

    def client(self, name: str, version: str) -> None:
        """Say who is at work."""
        self._tell(client=name, version=version)

    @contextlib.contextmanager
    def step(self, what: str, *, cannot: str = "", seen: str = "") -> Iterator[None]:
        """Report how the block ends.

        Args:
            what: said in the table.
            cannot: why this client fails here, whatever the server does. Then the step
                must fail: one that passes all the same is news, and reported as failed.
            seen: what then stands in the error; another error is reported as failed.
        """
        began = time.monotonic()
        outcome, note = "passed", ""
        try:
            yield
            if cannot:
                outcome, note = "failed", f"it works by now, although: {cannot}"
        except Skipped as skipped:
            outcome, note = "skipped", str(skipped)
        except Exception as error:  # noqa: BLE001 - a client may raise anything; it is reported
            if cannot and seen in str(error):
                outcome, note = "cannot", cannot
            else:
                outcome, note = "failed", _shown(error)
                traceback.print_exc()
        seconds = round(time.monotonic() - began, 1)
        self._tell(step=what, outcome=outcome, note=note, seconds=seconds)

    def run(self, *command: Word, env: Mapping[str, str] | None = None) -> str:
        """Run a program of this environment, or of the system; return what it printed.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        words = [self.program(str(command[0])), *map(os.fspath, command[1:])]
        done = subprocess.run(  # noqa: S603 - the script's own words
            words,
            env=self.surroundings(env),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]} {words[1]}: {done.stderr or done.stdout}")
        return done.stdout

    def ours(self, **asked: object) -> dict[str, Any]:
        """Let `ours.py` do one thing, in the environment that strongroom is in.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        python, source = self._python
        done = subprocess.run(  # noqa: S603 - our own script
            [python, str(Path(__file__).with_name("ours.py"))],
            input=json.dumps(asked),
            env={**os.environ, "PYTHONPATH": source},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"ours: {done.stderr[-_MOST_SHOWN:]}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def program(self, name: str) -> str:
        """Return a program of this environment, or the system's."""
        local = Path(sys.executable).parent / name
        return str(local) if local.exists() else name

    def surroundings(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of programs."""
        return {**os.environ, "HOME": str(self.home), **(env or {})}

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return what a URL of the server answers, with nothing but what is given.

        Raises:
            HTTPError: it refuses.
        """
        trust = ssl.create_default_context(cafile=self.ca)
        asked = urllib.request.Request(url, data, dict(headers or {}), method=method)  # noqa: S310 - the server's own
        with urllib.request.urlopen(asked, context=trust) as answer:  # noqa: S310 - likewise
            content: bytes = answer.read()
        return content

    def room(self) -> Path:
        """Return a new empty directory; the one before is removed."""
        shutil.rmtree(self.home / f"room-{self._at}", ignore_errors=True)
        self._at += 1
        made = self.home / f"room-{self._at}"
        made.mkdir()
        return made

    def assert_same(self, there: Path, here: Path, *, without: Collection[str] = ()) -> None:
        """Compare trees; names in `without` are expected in neither.

        Raises:
            AssertionError: with what differs.
        """
        found = trees.differences(here, there, without)
        if found:
            raise AssertionError("; ".join(found))

    def _tell(self, **line: object) -> None:
        with self._report.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def base64_of(data: bytes) -> str:
    """Return base64 as text."""
    return base64.b64encode(data).decode()


def files(root: Path, *, without: Collection[str] = ()) -> Sequence[str]:
    """Return the paths of all files below `root` but those in `without`, in order."""
    return sorted(trees.names(root).difference(without))


def has_controls(name: str) -> bool:
    """Whether a name has characters that XML 1.0 cannot hold.

    Clients whose DeleteObjects writes them down all the same send a document that is not
    XML, and S3 answers MalformedXML.
    """
    return any(character < " " and character not in "\t\n\r" for character in name)


def _shown(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
