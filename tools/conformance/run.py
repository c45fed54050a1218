"""Let strangers' clients carry a tree to a strongroom and back.

    python tools/conformance/run.py [--largest 300MB] [--json FILE] [CLIENT …]

Each script in `clients/` names its requirements in its head (inline script metadata)
and gets an environment under `.venv-conformance` and a server of its own. The exit status
is 1 if a step failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

import trees

from strongroom import testing

HERE = Path(__file__).parent
CLIENTS = HERE / "clients"
ENVIRONMENTS = Path(".venv-conformance")
_METADATA = re.compile(r"^# /// script$\n(.+?)^# ///$", re.MULTILINE | re.DOTALL)
_SIZE = re.compile(r"(\d+)(B|kB|MB)?")
_UNITS = {None: 1, "B": 1, "kB": 1000, "MB": trees.MB}
_CLIENT_S = 1800
Row = dict[str, Any]


def main() -> int:
    """Run what the command line names; print the table."""
    known = sorted(path.stem for path in CLIENTS.glob("*.py"))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=", ".join(known))
    parser.add_argument("--largest", type=_size, default="300MB", help="largest file (300MB)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    options = parser.parse_args()
    if unknown := set(options.clients) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="strongroom-conformance-") as directory:
        tree = Path(directory, "tree")
        trees.make(tree, options.largest)
        for name in options.clients or known:
            _say(f"== {name}")
            found = _run_client(CLIENTS / f"{name}.py", tree, Path(directory, name))
            shutil.rmtree(Path(directory, name))
            sys.stdout.write(_table(found))
            rows += found
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    counts = dict.fromkeys(("passed", "failed", "cannot", "skipped"), 0)
    for row in rows:
        counts[row["outcome"]] += 1
    sys.stdout.write(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) + "\n")
    return 1 if counts["failed"] else 0


def _run_client(script: Path, tree: Path, room: Path) -> list[Row]:
    """Run one script against a server of its own; return its rows."""
    home, report = room / "home", room / "report"
    home.mkdir(parents=True)
    report.touch()
    row: Row = {"client": script.stem, "version": "", "seconds": 0.0}
    try:
        python = _environment(script)
    except subprocess.CalledProcessError as error:
        note = f"its packages could not be installed: {error.stderr.decode()[-300:].strip()}"
        return [row | {"step": "install", "outcome": "failed", "note": note}]
    with testing.Strongroom(durable=True, kms=True) as server:
        given = {
            "endpoint": server.endpoint_url.replace("127.0.0.1", "localhost"),
            "kms": server.kms_url.replace("127.0.0.1", "localhost"),
            "ca": server.ca_bundle,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "tree": str(tree),
            "home": str(home),
            "report": str(report),
            "python": sys.executable,
            "source": str(Path(testing.__file__).resolve().parents[1]),
        }
        status = subprocess.run(  # noqa: S603 - our own scripts
            [python, script.resolve()],
            env=_surroundings() | {"CONFORMANCE": json.dumps(given)},
            cwd=home,
            stdin=subprocess.DEVNULL,
            timeout=_CLIENT_S,
            check=False,
        ).returncode
        failures = [event for event in server.log_events() if event.get("level") == "error"]
    rows = []
    for line in map(json.loads, report.read_text("utf-8").splitlines()):
        row = row | line
        if "outcome" in line:
            rows.append(row)
    if status:
        rows.append(row | {"step": "end", "outcome": "failed", "note": f"exit status {status}"})
    if failures:
        note = json.dumps(failures[0])[:600]
        rows.append(row | {"step": "the server's log", "outcome": "failed", "note": note})
    return rows


def _environment(script: Path) -> Path:
    """Return the Python of the environment for a script, made when its requirements change."""
    found = _METADATA.search(script.read_text("utf-8"))
    assert found is not None, f"{script} says what it needs"
    text = "".join(line.removeprefix("# ") for line in found[1].splitlines(keepends=True))
    wanted = tomllib.loads(text)["dependencies"]
    home = (ENVIRONMENTS / script.stem).absolute()
    python, stamp = home / "bin" / "python", home / "requirements.json"
    if not stamp.exists() or json.loads(stamp.read_text("utf-8")) != wanted:
        _say(f"   making {ENVIRONMENTS / script.stem}")
        venv.create(home, clear=True, with_pip=True)
        if wanted:
            subprocess.run(  # noqa: S603 - names out of our own scripts
                [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", *wanted],
                check=True,
                capture_output=True,
            )
        stamp.write_text(json.dumps(wanted), "utf-8")
    return python


def _surroundings() -> dict[str, str]:
    """Return this process's environment without what would configure a client."""
    mine = ("AWS_", "RCLONE_", "RESTIC_", "MINIO_", "STRONGROOM_", "S3_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {"PYTHONPATH": str(HERE.resolve()), "AWS_EC2_METADATA_DISABLED": "true"}


def _table(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        who = f"{row['client']} {row['version']}"
        note = f"  ({row['note']})" if row["note"] else ""
        lines.append(f"{row['outcome']:8}{who:22}{row['seconds']:>6.1f} s  {row['step']}{note}\n")
    return "".join(lines)


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("a size is a number, and B, kB or MB")
    return int(match[1]) * _UNITS[match[2]]


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
