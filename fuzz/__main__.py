"""Run targets under atheris: `python -m fuzz [--seconds N] [TARGET …]`.

Each target runs in a process of its own, one after the other. Inputs that reach new
code go to `.fuzz/TARGET`, which the next run goes on from; inputs that fail go to
`.fuzz/failures`. The corpus beside this file is read and never written.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TARGETS = (
    "chunked_bodies",
    "xml_documents",
    "signatures",
    "facet_values",
    "policies",
    "requests",
    "forms",
    "old_signatures",
    "wrapped_keys",
    "identity_tokens",
)
CORPUS = Path(__file__).parent / "corpus"
SCRATCH = Path(".fuzz")
MAX_INPUT_BYTES = 16 * 1024
"""Longer than two of the longest header sections; what needs more does not need this search."""
MAX_MEMORY_MB = 1024
"""Of the whole process, with its coverage counters: an input that takes memory fails."""
MAX_INPUT_S = 10


def main() -> int:
    """Run what the command line names; return how many targets failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    options = parser.parse_args()
    targets = options.targets or TARGETS
    if options.within:
        _fuzz(targets[0], options.seconds)
    command = [sys.executable, "-m", "fuzz", "--within", "--seconds", str(options.seconds)]
    failed = []
    for target in targets:
        sys.stderr.write(f"== {target}\n")
        # A fuzzer's process ends without its clean-up.
        with tempfile.TemporaryDirectory(prefix="strongroom-fuzz-") as scratch:
            done = subprocess.run(  # noqa: S603 - ourselves
                [*command, target], env=os.environ | {"TMPDIR": scratch}, check=False
            )
        if done.returncode:
            failed.append(target)
    sys.stderr.write(f"== failed: {', '.join(failed) or 'none'}\n")
    return len(failed)


def _fuzz(target: str, seconds: int) -> None:
    """Fuzz one target; does not return."""
    import atheris  # type: ignore[import-untyped]  # noqa: PLC0415 - only `make fuzz` has it

    with atheris.instrument_imports(include=["strongroom", "email._parseaddr"]):
        run = importlib.import_module(f"fuzz.{target}").run
    found, failures = SCRATCH / target, SCRATCH / "failures"
    found.mkdir(parents=True, exist_ok=True)
    failures.mkdir(exist_ok=True)
    atheris.Setup(
        [
            target,
            f"-max_total_time={seconds}",
            f"-max_len={MAX_INPUT_BYTES}",
            f"-rss_limit_mb={MAX_MEMORY_MB}",
            f"-timeout={MAX_INPUT_S}",
            f"-artifact_prefix={failures}/{target}-",
            "-print_final_stats=1",
            str(found),
            str(CORPUS / target),
        ],
        # What a target returns is for tests; the fuzzer would take it for an order.
        lambda data: run(data) and None,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
