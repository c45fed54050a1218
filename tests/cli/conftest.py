"""What the tests of commands share: a clean environment, and a data directory."""

import io
import os

import pytest
from click import testing as click_testing

from strongroom import cli
from strongroom.server import build, home, observe, settings


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Invoke the command line in an empty directory, without variables of ours or of AWS."""
    for name in [name for name in os.environ if name.startswith(("STRONGROOM_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def invoke(*args, **kwargs):
        return click_testing.CliRunner().invoke(cli.main, args, **kwargs)

    return invoke


@pytest.fixture
def store(tmp_path):
    """A data directory as a first start of the server leaves it."""
    chosen = settings.Settings(data_dir=tmp_path / "data", data_dir_given=True)
    with home.opened(chosen, observe.reporter(io.StringIO())) as completed:
        build.prepare(completed)
    return tmp_path / "data"
