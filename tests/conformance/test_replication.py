"""Replication between two servers: everything arrives, and no customer key does. S002.9."""

import importlib.util
import sys
from pathlib import Path

import pytest

DRILL = Path(__file__).parents[2] / "tools/drills/replication.py"


@pytest.fixture(scope="module")
def drill():
    spec = importlib.util.spec_from_file_location("replication_drill", DRILL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.slow
def test_every_version_arrives_though_the_link_is_cut_and_the_source_killed(drill):
    """S002.9."""
    figures = drill.run(30)

    assert figures["objects"] == 30
    assert min(figures["by_mode"].values()) >= 7
    assert (figures["multipart"], figures["kills"]) == (4, 2)


def test_the_search_finds_every_form_of_a_key(drill, tmp_path):
    key = bytes(range(32))

    for number, form in enumerate(drill.needles(key)):
        path = tmp_path / str(number)
        path.write_bytes(b"before " + form + b" after")
        assert drill.search([path], [key])

    clean = tmp_path / "clean"
    clean.write_bytes(bytes(range(31)))
    assert drill.search([clean], [key]) == []
