"""The page of limits says what the source says."""

import importlib
import pathlib
import re

import pytest

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/guide/limits.md"
ROW = re.compile(
    r"^\| (?P<value>\d+) .*? \| `(?P<module>[\w.]+)\.(?P<name>[A-Z_0-9]+)` \|", re.MULTILINE
)
ROWS = [match.groups() for match in ROW.finditer(PAGE.read_text("utf-8"))]


@pytest.mark.parametrize(("value", "module", "name"), ROWS)
def test_a_limit_is_what_the_page_says(value, module, name):
    assert getattr(importlib.import_module(f"strongroom.{module}"), name) == int(value)


def test_every_row_with_a_name_is_compared():
    assert len(ROWS) == PAGE.read_text("utf-8").count("| `")
