"""Say which test holds which requirement: the last column of docs/seeds.md.

    python tools/report_seeds.py            write docs/seeds.md
    python tools/report_seeds.py --check    say whether that file is what would be written

The requirements are written by hand in that file. A test cites one by its id, such as
S003.24, in its docstring or in that of its module; what no test cites says in its last
column, by hand, where the documentation has it or why it is not there yet. A test runs the
second command, so the document cannot fall behind the tests.
"""

from __future__ import annotations

import argparse
import ast
import pathlib
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs/seeds.md"
TESTS = ROOT / "tests"
ID = re.compile(r"\bS\d{3}\.\d+\b")
ROW = re.compile(r"^\| (?P<id>S\d{3}\.\d+) \| (?P<text>.*) \| (?P<held>.*) \|$")
ABOUT_CITATIONS = frozenset({"test_citations.py", "test_report_seeds.py"})
"""Tests of the citing itself: the ids in them cite nothing."""


def citations(folder: pathlib.Path) -> dict[str, dict[str, list[str]]]:
    """Return for each id the tests that cite it: their files, and their names in each.

    A file without names cites the id for all its tests.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        if path.name in ABOUT_CITATIONS:
            continue
        for row, name in cited_in(path.read_text(encoding="utf-8")):
            names = found.setdefault(row, {}).setdefault(path.relative_to(ROOT).as_posix(), [])
            if name and name not in names:
                names.append(name)
    return found


def cited_in(source: str) -> Iterator[tuple[str, str]]:
    """Yield every id that a file cites, with the test around it, if one is."""
    tests = [
        (node.lineno, node.end_lineno or node.lineno, node.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    ]
    for number, line in enumerate(source.splitlines(), 1):
        for row in ID.findall(line):
            yield row, next((name for low, high, name in tests if low <= number <= high), "")


def _shown(cited: dict[str, list[str]]) -> str:
    return "; ".join(
        f"[{pathlib.PurePath(file).stem}](../{file})"
        + (": " + ", ".join(f"`{name}`" for name in names) if names else "")
        for file, names in cited.items()
    )


def render(document: str, cited: dict[str, dict[str, list[str]]]) -> str:
    """Return the document with its last column as the tests have it.

    Raises:
        ValueError: a row is held by nothing, a test cites a row that is not there, or a row
            is there twice.
    """
    lines = []
    rows = set()
    for line in document.splitlines():
        match = ROW.match(line)
        if match is None:
            lines.append(line)
            continue
        row, held = match["id"], match["held"].strip()
        if row in rows:
            raise ValueError(f"{row} is there twice")
        rows.add(row)
        # A link to a test was written by this program, for a test that may be gone.
        if row in cited:
            held = _shown(cited[row])
        elif not held or "](../tests/" in held:
            raise ValueError(f"{row}: no test cites it, and nothing says why")
        lines.append(f"| {row} | {match['text']} | {held} |")
    if unknown := cited.keys() - rows:
        raise ValueError(f"tests cite what is no requirement: {', '.join(sorted(unknown))}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the document, or check it."""
    parser = argparse.ArgumentParser(description="Write the last column of docs/seeds.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    is_check = parser.parse_args().check
    there = TARGET.read_text(encoding="utf-8")
    wanted = render(there, citations(TESTS))
    if is_check and there != wanted:
        print("docs/seeds.md is out of date: run `make docs`", file=sys.stderr)
        return 1
    if not is_check:
        TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
