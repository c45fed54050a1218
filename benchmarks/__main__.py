"""`python -m benchmarks`: measures targets side by side and prints the table."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import replay, report, targets, workloads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    chosen = _parse(arguments)
    # As by Ctrl-C: servers are stopped, directories removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    result = {
        "machine": report.machine(),
        "encryption": chosen.encryption,
        "repeats": chosen.repeats,
        "scale": chosen.scale,
        "rows": [],
    }
    failures = 0
    with contextlib.ExitStack() as running:
        sites = _start(chosen, running)
        result["targets"] = [site.target.name for site in sites]
        for name in chosen.workloads:
            workload = workloads.WORKLOADS[name]
            row = report.Row(name, workload.title, workload.unit, workload.amount(sites[0]))
            failures += _measure(workload, row, sites, chosen.repeats)
            result["rows"].append(row.table())
            result["load_after"] = report.machine()["load"]
            result["peak_rss_bytes"] = {
                site.target.name: site.target.tree.peak_bytes() for site in sites
            }
            # After each row: a run that is cut short leaves what it has.
            _write(result, chosen.out)
    sys.stdout.write(f"\n{report.document(result)}\n")
    if chosen.out is not None:
        sys.stdout.write(f"written: {chosen.out}/bench.md and bench.json\n")
    return 1 if failures else 0


def _start(chosen: argparse.Namespace, running: contextlib.ExitStack) -> list[workloads.Site]:
    """Start all targets; they end with `running`."""
    temporary = tempfile.TemporaryDirectory(prefix="bench-", dir=chosen.dir)
    root = Path(running.enter_context(temporary))
    noise = secrets.token_bytes(workloads.NOISE_BYTES)
    sites = []
    for number, name in enumerate(chosen.targets):
        folder = root / f"{number}"
        folder.mkdir()
        site = workloads.Site(
            running.enter_context(targets.started(name, folder)),
            noise,
            folder,
            scale=chosen.scale,
            encrypted=chosen.encryption == "sse-c",
        )
        site.open()
        sites.append(site)
    return sites


def _write(result: Mapping[str, Any], folder: Path | None) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text(report.document(result), encoding="utf-8")
    (folder / "bench.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _measure(
    workload: workloads.Workload,
    row: report.Row,
    sites: Sequence[workloads.Site],
    repeats: int,
) -> int:
    """Take the samples of one row, the targets in turn; returns how many targets failed."""
    able = []
    failed = 0
    for site in sites:
        if not (site.target.stores or workload.drives):
            continue
        try:
            workload.prepare(site)
            # Once for nothing: connections, caches and volumes are warm after it.
            workload.measure(site, -1)
        except (replay.AnswerRefused, workloads.ClientError) as error:
            _say(f"{workload.name}: {site.target.name} failed: {error}")
            failed += 1
            continue
        able.append(site)
    for number in range(repeats):
        for site in able:
            if len(able) > 1:
                # What one server left in the page cache is not for the next one to wait for.
                os.sync()
            sample = workload.measure(site, number)
            row.samples.setdefault(site.target.name, []).append(sample)
    for site in able:
        name = site.target.name
        _say(f"{workload.name}: {name}: {row.rate(name):,.1f} {row.unit}")
    return failed


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"Workloads: {', '.join(workloads.WORKLOADS)}. Targets: {targets.__doc__}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--targets", type=_words, default=["strongroom", "seaweedfs", report.NULL], metavar="NAMES"
    )
    parser.add_argument(
        "--workloads", type=_words, default=list(workloads.WORKLOADS), metavar="NAMES"
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="SHARE", help="of the usual amounts and sizes"
    )
    parser.add_argument("--encryption", choices=["sse-c", "none"], default="sse-c")
    parser.add_argument("--dir", type=Path, help="where servers write; default: TMPDIR")
    parser.add_argument("--out", type=Path, help="where bench.md and bench.json go")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.workloads if name not in workloads.WORKLOADS]
    if unknown or chosen.repeats < 1 or not chosen.targets:
        parser.error(f"no workload is called {unknown}" if unknown else "nothing to measure")
    return chosen


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


if __name__ == "__main__":
    sys.exit(main())
