"""Chromium without a window, driven over its own pipe (the DevTools protocol)."""

import json
import os
import shutil
import subprocess
import tempfile

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
HEADLESS = (
    PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-dev-shm-usage",
    # The store's own CA is not in the browser's list.
    "--ignore-certificate-errors",
)  # fmt: skip
PATIENCE_S = 120


class Chromium:
    """One tab. `run` evaluates a script in it; downloads go to `downloads`."""

    def __init__(self, url, folder):
        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        # Not under the test's folder: it would be kept, and is large.
        self._profile = tempfile.mkdtemp(prefix="strongroom-test-chromium-")
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        command = [
            *HEADLESS, f"--user-data-dir={self._profile}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        # The browser reads descriptor 3 and writes 4, whatever ours are called.
        ends = f"exec {to_browser}<&{to_browser} 3<&{to_browser} 4>&{from_browser}"
        self._process = subprocess.Popen(  # noqa: S603 - the machine's own browser
            ["/bin/bash", "-c", f'{ends}; exec "$@"', "chromium", *command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number = 0
        self._rest = b""
        self._events = []
        pages = self.ask("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = None
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self.ask("Page.enable")
        self.ask(
            "Browser.setDownloadBehavior",
            behavior="allow",
            downloadPath=str(self.downloads),
            eventsEnabled=True,
        )
        self.ask("Page.navigate", url=url)
        self.event("Page.loadEventFired")

    def run(self, script):
        """Return what an async function with this body returns; raise what it throws."""
        told = self.ask(
            "Runtime.evaluate",
            expression=f"(async () => {{ {script} }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def ask(self, method, **params):
        """Call a method of the protocol and return its result."""
        self._number += 1
        call = {"id": self._number, "method": method, "params": params}
        if getattr(self, "_session", None) is not None:
            call["sessionId"] = self._session
        os.write(self._to, json.dumps(call).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == call["id"]:
                assert "error" not in told, told
                return told["result"]
            self._events.append(told)

    def event(self, method, fits=None):
        """Wait for an event, or take one that came before."""
        while True:
            for told in self._events:
                if told.get("method") == method and (fits is None or fits(told["params"])):
                    self._events.remove(told)
                    return told["params"]
            self._events.append(self._next())

    def _next(self):
        while b"\0" not in self._rest:
            piece = os.read(self._from, 1 << 16)
            assert piece, "the browser ended"
            self._rest += piece
        raw, _, self._rest = self._rest.partition(b"\0")
        return json.loads(raw)

    def close(self):
        os.close(self._to)
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)
