"""From samples to a report: medians, ratios, JSON and Markdown.

`python -m benchmarks.report bench.json DOCUMENT` puts the report of an earlier run
between the two marks in a document.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.replay import Sample

NULL = "null"
"""The target that does nothing: no server to compare with, but the client's ceiling."""

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
"""Between these lines, a document holds a report."""

_PERCENTILES = (50, 99)
_MIB = 1024**2


@dataclass(slots=True)
class Row:
    """The samples of a workload, per target and in the order in which they were taken."""

    name: str
    title: str
    unit: str
    amount: float
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def rate(self, target: str) -> float:
        """Median of amount per second."""
        return statistics.median(self.amount / sample.wall_s for sample in self.samples[target])

    def cpu(self, target: str) -> float | None:
        """Median of the server's CPU-seconds per GiB, or CPU-milliseconds per thing."""
        taken = [sample.server.cpu_s for sample in self.samples[target]]
        known = [cpu_s for cpu_s in taken if cpu_s is not None]
        if not known:
            return None
        return statistics.median(known) * self._per_amount

    def client_cpu(self, target: str) -> float:
        """The client's, likewise."""
        taken = statistics.median(sample.client_s for sample in self.samples[target])
        return taken * self._per_amount

    def rss_bytes(self, target: str) -> int | None:
        """The most that was seen resident."""
        seen = [sample.server.rss_bytes for sample in self.samples[target]]
        return max((rss for rss in seen if rss is not None), default=None)

    def others(self, target: str) -> float:
        """Median share of the machine that neither server nor client used, 0 to 1."""
        shares = []
        for sample in self.samples[target]:
            others_s = sample.server.machine_s - (sample.server.cpu_s or 0.0) - sample.client_s
            cores_s = sample.server.elapsed_s * (os.cpu_count() or 1)
            shares.append(max(0.0, others_s / cores_s))
        return statistics.median(shares)

    @property
    def cpu_unit(self) -> str:
        """Unit of `cpu`."""
        return "s/GiB" if self.unit == "MiB/s" else "ms each"

    @property
    def _per_amount(self) -> float:
        return (1024 if self.unit == "MiB/s" else 1000) / self.amount

    def table(self) -> dict[str, Any]:
        """Return everything, raw samples too."""
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "cpu_unit": self.cpu_unit,
            "targets": {
                target: {
                    "rate": self.rate(target),
                    "cpu": self.cpu(target),
                    "client_cpu": self.client_cpu(target),
                    "rss_bytes": self.rss_bytes(target),
                    "machine_used_by_others": self.others(target),
                    "latency_ms": _latencies(samples),
                    "rates": [self.amount / sample.wall_s for sample in samples],
                    "cpu_s": [sample.server.cpu_s for sample in samples],
                }
                for target, samples in self.samples.items()
            },
        }


def _latencies(samples: Sequence[Sample]) -> dict[str, float]:
    everything = sorted(latency for sample in samples for latency in sample.latencies_s)
    if not everything:
        return {}
    return {
        f"p{percent}": 1000 * everything[(len(everything) - 1) * percent // 100]
        for percent in _PERCENTILES
    }


def machine() -> dict[str, Any]:
    """Describe the machine, as far as figures depend on it."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def document(result: Mapping[str, Any]) -> str:
    """Write all tables in Markdown: the first target's figures, and each other's with the ratios."""
    rows = result["rows"]
    names = [name for name in result["targets"] if name != NULL] or [NULL]
    ceiling = NULL in result["targets"] and names != [NULL]
    return "\n".join(
        (
            _machine(result),
            _speeds(rows, names, ceiling=ceiling),
            _latency(rows, names),
            _headroom(rows, names) if ceiling else "",
        )
    )


def replace(text: str, report: str) -> str:
    """Return a document with `report` between its marks.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document lacks {BEGIN} or {END}")
    return f"{before}{begin}\n\n{report.strip()}\n\n{end}{after}"


def _machine(result: Mapping[str, Any]) -> str:
    found = result["machine"]
    others = statistics.median(
        target["machine_used_by_others"]
        for row in result["rows"]
        for target in row["targets"].values()
    )
    peaks = ", ".join(
        f"{name} {peak / _MIB:.0f} MiB"
        for name, peak in result["peak_rss_bytes"].items()
        if peak is not None and name != NULL
    )
    return (
        f"{found['cores']} cores ({found['cpu']}), {found['memory_gib']} GiB, Linux"
        f" {found['kernel'].partition('-')[0]}, CPython {found['python']}; medians of"
        f" {result['repeats']} samples.\nLoad average {found['load'][0]} before and"
        f" {result['load_after'][0]} after; in the median sample, others used {others:.0%} of the"
        f" machine.\nPeak RSS of the whole run, all processes: {peaks or 'not known'}.\n"
    )


def _speeds(rows: Sequence[Mapping[str, Any]], names: Sequence[str], *, ceiling: bool) -> str:
    first, *others = names
    titles = ["workload", first, "CPU", "RSS"]
    for other in others:
        titles += [other, "CPU", "RSS", "**rate ratio**", "**CPU ratio**"]
    lines = _head([*titles, "client's ceiling"] if ceiling else titles)
    for row in rows:
        mine = row["targets"].get(first)
        cells = [row["title"], *_figures(row, mine)]
        for other in others:
            theirs = row["targets"].get(other)
            cells += [
                *_figures(row, theirs),
                *(_ratio(mine, theirs, figure) for figure in ("rate", "cpu")),
            ]
        if ceiling:
            null = row["targets"].get(NULL)
            cells.append("" if null is None else _rate(null["rate"], row["unit"]))
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def _latency(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    lines = _head(["latency, median / 99th percentile", *names])
    for row in rows:
        told = [row["targets"].get(name, {}).get("latency_ms") for name in names]
        if all(told):
            lines.append(
                _line([row["title"], *(f"{ms['p50']:.1f} / {ms['p99']:.1f} ms" for ms in told)])
            )
    return "\n".join(lines) + "\n"


def _headroom(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    lines = _head(
        ["the client's headroom", "its CPU", f"{names[0]}'s CPU", "ceiling over the fastest"]
    )
    for row in rows:
        found = row["targets"]
        if NULL in found and names[0] in found:
            fastest = max(found[name]["rate"] for name in names if name in found)
            mine = found[names[0]]
            lines.append(
                _line(
                    [
                        row["title"],
                        f"{mine['client_cpu']:.2f} {row['cpu_unit']}",
                        _number(mine["cpu"], f"{{:.2f}} {row['cpu_unit']}"),
                        f"{found[NULL]['rate'] / fastest:.1f}",
                    ]
                )
            )
    return "\n".join(lines) + "\n"


def _head(titles: Sequence[str]) -> list[str]:
    return [_line(titles), _line(["---", *["---:"] * (len(titles) - 1)])]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figures(row: Mapping[str, Any], target: Mapping[str, Any] | None) -> list[str]:
    if target is None:
        return ["failed", "", ""]
    rss = target["rss_bytes"]
    return [
        _rate(target["rate"], row["unit"]),
        _number(target["cpu"], f"{{:.2f}} {row['cpu_unit']}"),
        _number(None if rss is None else rss / _MIB, "{:.0f} MiB"),
    ]


def _ratio(over: Mapping[str, Any] | None, under: Mapping[str, Any] | None, figure: str) -> str:
    if over is None or under is None or over[figure] is None or not under[figure]:
        return ""
    return f"**{over[figure] / under[figure]:.2f}**"


def _rate(rate: float, unit: str) -> str:
    return f"{rate:,.0f} {unit}" if rate >= 10 else f"{rate:.1f} {unit}"  # noqa: PLR2004 - digits that mean something


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def main(source: str, target: str) -> None:
    """Put the report of `source`, a bench.json, into the document `target`."""
    report = document(json.loads(Path(source).read_text(encoding="utf-8")))
    path = Path(target)
    path.write_text(replace(path.read_text(encoding="utf-8"), report), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
