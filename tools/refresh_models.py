"""Vendor the wire models of S3 and KMS from the botocore that is installed.

    python tools/refresh_models.py            write src/strongroom/dialects/{s3,kms/aws}/model.json
    python tools/refresh_models.py --check    say whether those files are what would be written

The server's wire format must not change with somebody's upgrade of botocore, so
the facts live in our tree, without their documentation. Every trait that the
model may carry is either kept or dropped by name below: one that is in neither
list stops the tool, because it may be one that changes bytes.

The file has one operation or shape to a line. Operations, shapes and traits are
sorted; members keep the model's order, which is the order our replies print them in.
"""

from __future__ import annotations

import argparse
import gzip
import json
import pathlib
import sys
from typing import Any

import botocore

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "src/strongroom/dialects/s3/model.json"
SOURCE = "data/s3/2006-03-01/service-2.json.gz"
KMS_TARGET = ROOT / "src/strongroom/dialects/kms/aws/model.json"
KMS_SOURCE = "data/kms/2014-11-01/service-2.json.gz"
MODELS = {TARGET: SOURCE, KMS_TARGET: KMS_SOURCE}

KEPT = {
    "operation": {"deprecated", "errors", "http", "httpChecksum", "input", "name", "output"},
    "shape": {
        "enum", "error", "event", "eventstream", "exception", "flattened", "key", "locationName",
        "max", "member", "members", "min", "pattern", "payload", "required", "sensitive",
        "timestampFormat", "type", "union", "value", "xmlNamespace",
    },
    "member": {
        "deprecated", "eventpayload", "flattened", "location", "locationName", "shape",
        "streaming", "xmlAttribute", "xmlNamespace",
    },
}  # fmt: skip

# Facts for a client (where to send, which signer, how to box a null), and prose.
DROPPED = {
    "operation": {
        "alias", "auth", "authtype", "documentation", "documentationUrl", "endpoint",
        "staticContextParams", "unsignedPayload",
    },
    "shape": {"box", "deprecated", "deprecatedMessage", "documentation", "fault", "synthetic"},
    "member": {
        "box", "contextParam", "deprecatedMessage", "documentation", "hostLabel",
        "idempotencyToken",
    },
}  # fmt: skip


class UnknownTraitError(Exception):
    """The model has a trait that nobody has looked at yet."""


def select(kind: str, name: str, traits: dict[str, Any]) -> dict[str, Any]:
    """Return the kept traits, sorted.

    Raises:
        UnknownTraitError: one is neither kept nor dropped.
    """
    if unknown := traits.keys() - KEPT[kind] - DROPPED[kind]:
        raise UnknownTraitError(f"{kind} {name}: {', '.join(sorted(unknown))}")
    return {trait: traits[trait] for trait in sorted(traits.keys() & KEPT[kind])}


def strip_shape(name: str, shape: dict[str, Any]) -> dict[str, Any]:
    """Return the shape as it is vendored."""
    kept = select("shape", name, shape)
    if "members" in kept:
        kept["members"] = {
            member: select("member", f"{name}.{member}", traits)
            for member, traits in kept["members"].items()
        }
    for part in kept.keys() & {"member", "key", "value"}:
        kept[part] = select("member", f"{name}.{part}", kept[part])
    return kept


def render(model: dict[str, Any], version: str, file: str = SOURCE) -> str:
    """Return the text of `model.json` for a botocore model."""

    def line(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    def table(rows: dict[str, Any]) -> str:
        return ",\n".join(f"{line(name)}:{line(rows[name])}" for name in sorted(rows))

    source = {
        "package": "botocore",
        "version": version,
        "file": f"botocore/{file}",
        "license": "Apache-2.0",
        "api": model["metadata"]["apiVersion"],
    }
    operations = {
        name: select("operation", name, operation)
        for name, operation in model["operations"].items()
    }
    shapes = {name: strip_shape(name, shape) for name, shape in model["shapes"].items()}
    return (
        f'{{\n"source":{line(source)},\n"operations":{{\n{table(operations)}\n}},\n'
        f'"shapes":{{\n{table(shapes)}\n}}\n}}\n'
    )


def installed(file: str = SOURCE) -> str:
    """Return the text of `model.json` for the installed botocore."""
    packed = pathlib.Path(botocore.__file__).parent / file
    return render(json.loads(gzip.decompress(packed.read_bytes())), botocore.__version__, file)


def drift(old: str, new: str) -> list[str]:
    """Name what differs between two texts of `model.json`, one line each."""
    before, after = json.loads(old), json.loads(new)
    found = []
    if before["source"] != after["source"]:
        found.append(f"source: {before['source']['version']} -> {after['source']['version']}")
    for table in ("operations", "shapes"):
        ours, theirs = before[table], after[table]
        for name in sorted(ours.keys() | theirs.keys()):
            # Compared as text: the order of members is a fact, too.
            if name not in theirs:
                found.append(f"{table}: {name} is gone")
            elif name not in ours:
                found.append(f"{table}: {name} is new")
            elif json.dumps(ours[name]) != json.dumps(theirs[name]):
                found.append(f"{table}: {name} differs")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Write the file, or with `--check` compare it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="report drift, write nothing")
    checking = parser.parse_args(arguments).check
    status = 0
    for target, file in MODELS.items():
        new = installed(file)
        old = target.read_text(encoding="utf-8") if target.exists() else None
        if not checking:
            target.write_text(new, encoding="utf-8")
            print(f"wrote {target.relative_to(ROOT)}, {len(new.encode()):,} bytes")
        elif old != new:
            lines = ["the file is missing"] if old is None else drift(old, new)
            print("\n".join(lines or ["same facts, other bytes"]), file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
