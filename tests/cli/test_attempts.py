"""A file that is being fetched: what a next attempt finds, and what it must not believe."""

import json
import os

import pytest

from strongroom.cli import failures
from strongroom.cli.remote import attempts, troubles

ABOUT = {"source": "s3://b/k", "etag": "one"}


class Cut(Exception):
    """Stands for whatever ends an attempt."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def cut_after(path, written, *ranges):
    """Make an attempt at ten bytes in two ranges, and cut it."""
    with attempts.Attempt(path, ABOUT, 10, 5) as file:
        file.write(0, written)
        for number in ranges:
            file.note(number)
        raise Cut


@pytest.fixture
def half(path):
    """An attempt that was cut after the first of two ranges."""
    with pytest.raises(Cut):
        cut_after(path, b"first", 0)
    return path


def note_of(path):
    (note,) = path.parent.glob(".*.json")
    return note


def left_beside(path):
    return [one.name for one in path.parent.iterdir() if one != path]


def test_the_same_version_goes_on(half):
    with attempts.Attempt(half, ABOUT, 10, 5) as file:
        assert (file.missing, file.done_bytes) == ([1], 5)
        file.write(5, b"secnd")
        file.keep(only_new=False)

    assert half.read_bytes() == b"firstsecnd"
    assert left_beside(half) == []


@pytest.mark.parametrize(
    "changed",
    [(ABOUT | {"etag": "two"}, 10, 5), (ABOUT, 10, 4), (ABOUT, 11, 5)],
    ids=["etag", "step", "size"],
)
def test_another_version_begins_anew(half, changed):
    with attempts.Attempt(half, *changed) as file:
        assert file.done_bytes == 0
        assert 0 in file.missing


@pytest.mark.parametrize("damage", ["", "[]", "{}", "null", '{"done": 3}', '{"done": [0]}'])
def test_a_note_that_cannot_be_read_is_none(half, damage):
    note_of(half).write_text(damage)

    with attempts.Attempt(half, ABOUT, 10, 5) as file:
        assert file.done_bytes == 0


def test_ranges_that_do_not_exist_are_not_believed(half):
    table = json.loads(note_of(half).read_text())
    note_of(half).write_text(json.dumps(table | {"done": [-1, 1, 2, 99]}))

    with attempts.Attempt(half, ABOUT, 10, 5) as file:
        assert file.missing == [0]


def test_a_file_cut_short_is_not_believed(half):
    (part,) = half.parent.glob(".*.part")
    os.truncate(part, 3)

    with attempts.Attempt(half, ABOUT, 10, 5) as file:
        assert file.done_bytes == 0


def test_an_attempt_without_a_whole_range_leaves_nothing(path):
    with pytest.raises(Cut):
        cut_after(path, b"fir")

    assert left_beside(path) == []


def test_two_processes_do_not_fetch_one_file(path):
    with (
        attempts.Attempt(path, ABOUT, 10, 5),
        pytest.raises(failures.Failed, match="by another process"),
    ):
        attempts.Attempt(path, ABOUT, 10, 5)


def test_a_wrong_checksum_keeps_nothing(path):
    def fetch():
        with attempts.Attempt(path, ABOUT, 10, 10) as file:
            file.write(0, b"0123456789")
            file.note(0)
            file.verify("SHA256", b"\0" * 32, lambda: None)

    with pytest.raises(failures.Failed, match="SHA256 of what arrived"):
        fetch()

    assert left_beside(path) == []


def test_what_appears_meanwhile_is_kept_if_asked(path):
    def fetch():
        with attempts.Attempt(path, ABOUT, 1, 1) as file:
            file.write(0, b"x")
            path.write_bytes(b"other")
            file.keep(only_new=True)

    with pytest.raises(troubles.Lost, match="is there already"):
        fetch()

    assert path.read_bytes() == b"other"
    assert left_beside(path) == []


def test_a_hidden_file_is_for_its_owner_and_the_result_as_the_mask_says(path):
    before = os.umask(0o027)
    try:
        with attempts.Attempt(path, ABOUT, 1, 1) as file:
            (part,) = path.parent.glob(".*.part")
            hidden = part.stat().st_mode & 0o777
            file.write(0, b"x")
            file.keep(only_new=False)
    finally:
        os.umask(before)

    assert (hidden, path.stat().st_mode & 0o777) == (0o600, 0o640)


def test_a_name_as_long_as_a_name_may_be_has_room(tmp_path):
    path = tmp_path / ("n" * 255)

    with attempts.Attempt(path, ABOUT, 1, 1) as file:
        file.write(0, b"x")
        file.keep(only_new=False)

    assert path.read_bytes() == b"x"
