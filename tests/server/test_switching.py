"""A recovered catalog takes the place of the old one: all its names change, or none."""

import contextlib
import shutil
from pathlib import Path

import pytest

from strongroom.server import app, switching

ASIDE = {
    "catalog.sqlite": "catalog.sqlite.before-1",
    "catalog.sqlite-wal": "catalog.sqlite.before-1-wal",
    "catalog.sqlite-shm": "catalog.sqlite.before-1-shm",
    "envelopes": "envelopes.before-1",
}
ARRIVING = {"new.sqlite": "catalog.sqlite", "envelopes": "envelopes"}
OLD = {
    "catalog.sqlite": "old",
    "catalog.sqlite-wal": "old log",
    "envelopes/aa/mirror": "old mirror",
    "blobs/b": "bytes",
}
NEW = {
    "catalog.sqlite": "new",
    "envelopes/before": "names",
    "blobs/b": "bytes",
    "catalog.sqlite.before-1": "old",
    "catalog.sqlite.before-1-wal": "old log",
    "envelopes.before-1/aa/mirror": "old mirror",
}


class Killed(BaseException):
    """The process ends here; no handler of ours runs."""


@pytest.fixture
def home(tmp_path):
    data_dir = tmp_path / "data"
    put(data_dir, OLD)
    put(data_dir / "recovery", {"new.sqlite": "new", "envelopes/before": "names"})
    return data_dir


def put(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def lying(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def switch(data_dir):
    switching.switch(data_dir, data_dir / "recovery", aside=ASIDE, arriving=ARRIVING)


@pytest.fixture
def killed_at(monkeypatch):
    """Die before the call of this number, of those that change names."""

    @contextlib.contextmanager
    def arm(number):
        left = [number]

        def dying(real):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patched:
            for owner, name in (
                *((Path, name) for name in ("rename", "replace", "unlink")),
                (shutil, "rmtree"),
            ):
                patched.setattr(owner, name, dying(getattr(owner, name)))
            yield

    return arm


def test_all_names_change_and_nothing_is_destroyed(home):
    switch(home)

    assert lying(home) == NEW
    assert not switching.is_under_way(home)
    assert switching.finish(home) is False


def test_killed_anywhere_it_is_finished_or_never_began(home, killed_at, tmp_path):
    outcomes = []
    for number in range(30):
        data_dir = tmp_path / f"case {number}"
        shutil.copytree(home, data_dir)
        ended = False
        with contextlib.suppress(Killed), killed_at(number):
            switch(data_dir)
            ended = True
        finished = switching.finish(data_dir)
        left = lying(data_dir)
        if left != NEW:
            assert not finished
            assert {name: left[name] for name in OLD} == OLD
            assert not any(".before-" in name for name in left)
        outcomes.append((finished, left == NEW))
        if ended:
            break

    assert ended
    # Never begun, then finished by the next, then nothing left to finish.
    assert outcomes[0] == (False, False)
    assert outcomes.count((True, True)) >= 6
    assert outcomes[-1] == (False, True)


def test_killed_twice_it_is_finished_by_the_third(home, killed_at):
    with pytest.raises(Killed), killed_at(3):
        switch(home)
    with pytest.raises(Killed), killed_at(1):
        switching.finish(home)

    assert switching.finish(home)
    assert lying(home) == NEW


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "aside": {"../x": "y"}}']
)
def test_a_journal_that_cannot_be_read_changes_nothing(home, text):
    (home / switching.JOURNAL).write_text(text)
    before = lying(home)

    with pytest.raises(app.StartRefused, match="interrupted"):
        switching.finish(home)

    assert lying(home) == before


def test_without_what_was_to_arrive_it_refuses_to_go_on(home, killed_at):
    with pytest.raises(Killed), killed_at(2):
        switch(home)
    shutil.rmtree(home / "recovery")
    before = lying(home)

    with pytest.raises(app.StartRefused, match="removed"):
        switching.finish(home)

    assert lying(home) == before
