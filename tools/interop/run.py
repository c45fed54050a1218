"""Let vendors' encryption clients read what strongroom writes, and the reverse.

    python tools/interop/run.py [--json FILE] [CLIENT …]

Each script in `clients/` gets an environment under `.venv-interop` and a server of its own.
The exit status is 1 if a step failed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

import plaintexts
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from strongroom import client, errors, testing
from strongroom.client import sealed

HERE = Path(__file__).parent
CLIENTS = HERE / "clients"
ENVIRONMENTS = Path(".venv-interop")
BUCKET = "interop"
PREFIXES = {"oss": "x-oss-meta-", "s3": "x-amz-meta-"}
SIZES = (0, 1, 15, 16, 17, 4096, 100_000)
PART = 1024 * 1024
LARGE = 2 * PART + 12_345
_METADATA = re.compile(r"^# /// script$\n(.+?)^# ///$", re.MULTILINE | re.DOTALL)
_CLIENT_S = 600
_RSA_BITS = 2048
Row = dict[str, Any]


def main() -> int:
    """Run what the command line names; print the table."""
    scripts = {
        path.stem: path for path in sorted(CLIENTS.iterdir()) if path.suffix in {".py", ".rb"}
    }
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=", ".join(scripts))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    options = parser.parse_args()
    if unknown := set(options.clients) - set(scripts):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    for name in options.clients or scripts:
        _say(f"== {name}")
        with tempfile.TemporaryDirectory(prefix="strongroom-interop-") as directory:
            rows += _run_client(scripts[name], Path(directory))
    _say(_table(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    counts = dict.fromkeys(("passed", "failed", "cannot", "skipped"), 0)
    for row in rows:
        counts[row["outcome"]] += 1
    _say(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 1 if counts["failed"] else 0


def _table(rows: list[Row]) -> str:
    """Return the table: a line for each client and outcome, every failure on a line of its own."""
    lines = []
    counts = collections.Counter(
        (
            row["client"],
            row["version"],
            row["outcome"],
            "" if row["outcome"] == "passed" else row["note"],
        )
        for row in rows
        if row["outcome"] != "failed"
    )
    for (name, version, outcome, note), count in sorted(counts.items()):
        lines.append(f"{count:4} {outcome:8} {name} {version} {note}".rstrip())
    lines += [
        f"     failed   {row['client']} {row['version']} {row['step']}: {row['note']}"
        for row in rows
        if row["outcome"] == "failed"
    ]
    return "\n".join(lines)


def _run_client(script: Path, directory: Path) -> list[Row]:
    """Run one client in both directions; return its rows."""
    row: Row = {"client": script.stem, "version": ""}
    command = _command(script)
    if isinstance(command, str):
        return [row | {"step": "install", "outcome": "skipped", "note": command}]
    theirs, ours = directory / "theirs", directory / "ours"
    theirs.mkdir()
    ours.mkdir()
    report = directory / "report"
    report.touch()
    keys = _new_keys()
    with testing.Strongroom(kms=True) as server:
        s3, kms = server.boto3_client(), server.boto3_client("kms")
        s3.create_bucket(Bucket=BUCKET)
        keys["kms"] = {"key_id": kms.create_key()["KeyMetadata"]["Arn"], "description": {}}
        given = {
            "keys": keys,
            "report": str(report),
            "server": {
                "s3": server.endpoint_url.replace("127.0.0.1", "localhost"),
                "kms": server.kms_url.replace("127.0.0.1", "localhost"),
                "ca": server.ca_bundle,
                "access_key": server.access_key,
                "secret_key": server.secret_key,
                "bucket": BUCKET,
            },
        }
        ring = _Ring(keys, kms)
        mine: list[Row] = []
        _call(command, given | {"phase": "write", "directory": str(theirs)}, report)
        mine += _read_theirs(theirs, ring, s3)
        _write_ours(ours, ring, s3)
        _call(command, given | {"phase": "read", "directory": str(ours)}, report)
    told = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    version = told[0]["version"] if told else ""
    return [row | {"version": version} | one for one in told + mine]


def _call(command: list[str], given: dict[str, Any], report: Path) -> None:
    status = subprocess.run(  # noqa: S603 - our own scripts
        command,
        env=_surroundings() | {"INTEROP": json.dumps(given)},
        stdin=subprocess.DEVNULL,
        timeout=_CLIENT_S,
        check=False,
    ).returncode
    if status:
        end = {"step": given["phase"], "outcome": "failed", "note": f"exit {status}", "version": ""}
        with report.open("a", encoding="utf-8") as file:
            file.write(json.dumps(end) + "\n")


class _Ring:
    """The driver's keys, as keys of `strongroom.client`, by name."""

    def __init__(self, keys: dict[str, Any], kms: Any) -> None:
        described = keys["described"]
        self._keys: dict[str, client.RsaKey | client.AesKey | client.KmsKey] = {
            "rsa": client.RsaKey(keys["rsa"]["private"]),
            "rsa-oaep": client.RsaKey(keys["rsa"]["private"]),
            "described": client.RsaKey(described["private"], description=described["description"]),
            "aes": client.AesKey(bytes.fromhex(keys["aes"]["hex"])),
            "kms": client.KmsKey(kms, keys["kms"]["key_id"]),
        }

    def __getitem__(self, name: str) -> Any:
        return self._keys[name]


def _read_theirs(directory: Path, ring: _Ring, s3: Any) -> list[Row]:
    """Open everything that a client wrote: whole, a range, and not at all when changed."""
    rows = []
    for path in sorted(directory.glob("*.json")):
        about = json.loads(path.read_text("utf-8"))
        name, size = about["name"], about["size"]
        metadata, body = about["metadata"], path.with_suffix(".body").read_bytes()
        if metadata is None:
            answer = s3.get_object(Bucket=BUCKET, Key=name)
            metadata = {f"x-amz-meta-{key}": value for key, value in answer["Metadata"].items()}
            body = answer["Body"].read()
        # All keys at hand, the right one last, as a program with old keys has them.
        keys = [ring[other] for other in ("described", "rsa") if other not in about["keys"]]
        keys += [ring[key] for key in about["keys"]]
        context = about.get("context")
        wanted = plaintexts.make(name, size)
        steps = {f"we read {name}": (None, wanted)}
        if size > PART // 100:
            steps[f"we read a range of {name}"] = ((33, 1000), wanted[33:1000])
        for step, (byte_range, plain) in steps.items():
            row: Row = {"step": step, "outcome": "passed", "note": ""}
            try:
                found = sealed.open_sealed(metadata, body, keys, byte_range, context=context)
            except errors.StrongroomError as error:
                row |= {"outcome": "failed", "note": f"{type(error).__name__}: {error}"}
            else:
                if found != plain:
                    row |= {"outcome": "failed", "note": "not the plaintext"}
            rows.append(row)
    return rows


def _write_ours(directory: Path, ring: _Ring, s3: Any) -> None:
    """Seal objects in every format that vendors read, for the client to open."""
    plans: list[tuple[str, str, dict[str, Any]]] = [
        ("oss-v1", "rsa-oaep", {}),
        ("oss-v2", "rsa", {}),
        ("oss-v2", "described", {}),
        ("oss-v2", "rsa-oaep", {"oaep": True}),
        *((kind, "kms", {}) for kind in ("s3-v2", "s3-v3")),
        *(
            (kind, "kms", {"context": {"purpose": "archive", "n": "1"}})
            for kind in ("s3-v2", "s3-v3")
        ),
        *((kind, name, {}) for kind in ("s3-v2", "s3-v3") for name in ("rsa", "aes")),
    ]
    for kind, name, options in plans:
        label = "-context" if "context" in options else ""
        for size in SIZES:
            if kind == "oss-v1" and size == 0:
                continue
            _seal(
                directory, ring, s3, f"ours-{kind}-{name}{label}-{size}", kind, name, size, options
            )
    for kind, name in (("oss-v2", "rsa"), ("s3-v3", "kms")):
        options = {"multipart": True, "part_bytes": PART, "data_size": LARGE}
        _seal(directory, ring, s3, f"ours-{kind}-parts", kind, name, LARGE, options)


def _seal(
    directory: Path,
    ring: _Ring,
    s3: Any,
    case: str,
    kind: str,
    name: str,
    size: int,
    options: dict[str, Any],
) -> None:
    plain = plaintexts.make(case, size)
    sealing = sealed.seal(ring[name], kind, **options)
    starts = range(0, max(size, 1), sealing.part_plain)
    body = b"".join(
        bytes(
            sealing.seal_part(
                number,
                plain[start : start + sealing.part_plain],
                last=start + sealing.part_plain >= size,
            )
        )
        for number, start in enumerate(starts, 1)
    )
    metadata = {f"{PREFIXES[kind.partition('-')[0]]}{k}": v for k, v in sealing.envelope.items()}
    about = {
        "name": case,
        "format": kind,
        "metadata": metadata,
        "size": size,
        "keys": [name],
        "context": options.get("context"),
    }
    (directory / f"{case}.json").write_text(json.dumps(about), "utf-8")
    (directory / f"{case}.body").write_bytes(body)
    if kind.startswith("s3-"):
        s3.put_object(Bucket=BUCKET, Key=case, Body=body, Metadata=sealing.envelope)


def _new_keys() -> dict[str, Any]:
    def pair(description: dict[str, str]) -> dict[str, Any]:
        private = rsa.generate_private_key(65537, _RSA_BITS)
        return {
            "private": private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            ).decode(),
            "public": private.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode(),
            "description": description,
        }

    return {
        "rsa": pair({}),
        "described": pair({"key": "second", "year": "2026"}),
        "aes": {"hex": secrets.token_bytes(32).hex(), "description": {}},
    }


def _command(script: Path) -> list[str] | str:
    """Return what runs a script, or why it cannot be run here."""
    if script.suffix == ".rb":
        ruby = shutil.which("ruby")
        if ruby is None:
            return "there is no ruby (Debian: ruby-aws-sdk-s3)"
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run([ruby, "-e", 'require "aws-sdk-s3"'], check=True, capture_output=True)  # noqa: S603
            return [ruby, str(script.resolve())]
        return "ruby has no aws-sdk-s3 (Debian: ruby-aws-sdk-s3)"
    found = _METADATA.search(script.read_text("utf-8"))
    assert found is not None, f"{script} says what it needs"
    text = "".join(line.removeprefix("# ") for line in found[1].splitlines(keepends=True))
    wanted = tomllib.loads(text)["dependencies"]
    home = (ENVIRONMENTS / script.stem).absolute()
    python, stamp = home / "bin" / "python", home / "requirements.json"
    mark = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text("utf-8") != mark:
        _say(f"   making {ENVIRONMENTS / script.stem}")
        venv.create(home, clear=True, with_pip=True)
        subprocess.run(  # noqa: S603 - names out of our own scripts
            [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", *wanted],
            check=True,
            capture_output=True,
        )
        stamp.write_text(mark, "utf-8")
    return [str(python), str(script.resolve())]


def _surroundings() -> dict[str, str]:
    """Return this process's environment without what would configure a client."""
    mine = ("AWS_", "OSS_", "STRONGROOM_", "PYTHONWARNINGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {"PYTHONPATH": str(HERE.resolve()), "AWS_EC2_METADATA_DISABLED": "true"}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
