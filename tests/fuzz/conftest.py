"""The fuzz targets lie beside the tests, not among them: `fuzz/` at the top."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def fuzz_main():
    """Return what `python -m fuzz` runs."""
    return importlib.import_module("fuzz.__main__")


@pytest.fixture(scope="session")
def run_target():
    """Run a target, by its name, on an input."""
    yield lambda name, data: importlib.import_module(f"fuzz.{name}").run(data)
    importlib.import_module("fuzz.requests").close()


@pytest.fixture(scope="session")
def corpus():
    """Return a target's inputs, by name."""

    def read(target):
        return {path.name: path.read_bytes() for path in (ROOT / "fuzz/corpus" / target).iterdir()}

    return read


if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
