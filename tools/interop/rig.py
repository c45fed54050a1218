"""What a client's script does around its own calls. Standard library only.

The driver hands over, in the environment: the phase, the exchange directory, keys, and how
to reach a server. `Exchange` reads and writes objects; `Report` writes rows of the table.
"""

import contextlib
import json
import os
import traceback
from pathlib import Path

import plaintexts


class Rig:
    """One call of a client's script: `phase` is "write" or "read"."""

    def __init__(self, version):
        given = json.loads(os.environ["INTEROP"])
        self.phase = given["phase"]
        self.directory = Path(given["directory"])
        self.keys = given["keys"]
        self.server = given["server"]
        self._report = Path(given["report"])
        self._version = version

    def say(self, step, outcome, note=""):
        """Write a row."""
        row = {"step": step, "outcome": outcome, "note": note, "version": self._version}
        with self._report.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    @contextlib.contextmanager
    def step(self, name):
        """Run what is inside; it passed if it raises nothing."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever a vendor raises is a row
            traceback.print_exc()
            self.say(name, "failed", f"{type(error).__name__}: {error}"[:200])
        else:
            self.say(name, "passed")

    def put(self, name, metadata, body, **about):
        """Hand an object over to strongroom: `about` has size, keys, context, instruction."""
        (self.directory / f"{name}.json").write_text(
            json.dumps({"name": name, "metadata": metadata, **about}), "utf-8"
        )
        (self.directory / f"{name}.body").write_bytes(body)

    def objects(self):
        """Return what strongroom wrote, and the body of each, by name."""
        found = {}
        for path in sorted(self.directory.glob("*.json")):
            about = json.loads(path.read_text("utf-8"))
            found[about["name"]] = (about, path.with_suffix(".body").read_bytes())
        return found

    def expect(self, name, size, plain, start=0, end=None):
        """Compare plaintext with what it must be."""
        wanted = plaintexts.make(name, size)[start : size if end is None else end]
        assert plain == wanted, f"{name}: {len(plain)} bytes that are not the plaintext"
