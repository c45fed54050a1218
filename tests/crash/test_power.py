"""A power cut takes what was not synced, and nothing that was acknowledged."""

import dataclasses

import pytest
from ordeal import audit, content, power, trace

MIB = content.MIB
SYNCS = ("fsync", "fdatasync")


@pytest.fixture(scope="module")
def recording(tmp_path_factory, needs_strace):
    del needs_strace
    folder = tmp_path_factory.mktemp("recorded")
    return power.record(folder, "power", clients=3, deeds=60, most=5 * MIB)


@pytest.fixture
def cut(recording, tmp_path):
    """Cut the power just after a share of the answers has left; return what an audit finds."""

    def done(share, draw, calls=recording.calls):
        lines = sorted(line for line, _ in recording.answered.values())
        line = lines[int(share * (len(lines) - 1))] + 1
        found = audit.Found()
        changed = dataclasses.replace(recording, calls=calls)
        power.cut(changed, line, draw, tmp_path, found)
        return found

    return done


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_nothing_acknowledged_is_lost_in_a_power_cut(cut, share, seed):
    found = cut(share, content.drawer(seed, share))

    assert found.losses == []
    assert found.strays == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "unsynced", ["catalog.sqlite-wal", "blobs/"], ids=["log", "blobs and their directories"]
)
def test_an_audit_would_notice_a_sync_that_is_missing(cut, recording, unsynced):
    first = min(line for line, _ in recording.answered.values())
    calls = [
        call
        for call in recording.calls
        if call.left < first or call.name not in SYNCS or unsynced not in call.path
    ]
    assert len(calls) < len(recording.calls)

    found = cut(1.0, _Loses(), calls=calls)

    assert found.losses or found.strays


class _Loses:
    """Draws of a disk that has kept nothing it need not."""

    @staticmethod
    def random():
        return 0.0


PATH = "".join(rf"\x{byte:02x}" for byte in b"/d/f")
ROOT = "".join(rf"\x{byte:02x}" for byte in b"/d")
OPENED = f'1 openat(AT_FDCWD<{ROOT}>, "{PATH}", O_RDWR|O_CREAT, 0600) = 3<{PATH}>'
WRITTEN = rf'1 pwrite64(3<{PATH}>, "\x61\x62", 2, 0) = 2'
SYNCED = f"1 fdatasync(3<{PATH}>) = 0"
NAMED = f"1 fsync(4<{ROOT}>) = 0"


def after(tmp_path, *lines, keep=power.nothing, until=None):
    disk = power.Disk("/d")
    disk.replay(trace.parse(lines), len(lines) if until is None else until)
    disk.write_out(tmp_path / "after", keep, keep)
    return {
        path.name: path.read_bytes() for path in (tmp_path / "after").iterdir() if path.is_file()
    }


def test_a_synced_file_of_a_synced_name_is_there(tmp_path):
    assert after(tmp_path, OPENED, WRITTEN, SYNCED, NAMED) == {"f": b"ab"}


def test_a_synced_file_without_a_synced_name_is_gone(tmp_path):
    assert after(tmp_path, OPENED, WRITTEN, SYNCED) == {}


def test_bytes_that_were_not_synced_are_gone(tmp_path):
    assert after(tmp_path, OPENED, NAMED, WRITTEN) == {"f": b""}


def test_a_sync_that_began_before_the_write_ended_does_not_count(tmp_path):
    begun, ended = SYNCED.replace(") = 0", " <unfinished ...>"), "1 <... fdatasync resumed>) = 0"
    other = WRITTEN.replace("1 ", "2 ", 1)

    assert after(tmp_path, OPENED, NAMED, begun, other, ended) == {"f": b""}


def test_a_failed_sync_keeps_nothing(tmp_path):
    failed = SYNCED.replace("= 0", "= -1 EIO (Input/output error)")

    assert after(tmp_path, OPENED, NAMED, WRITTEN, failed) == {"f": b""}


def test_what_comes_after_the_cut_has_not_happened(tmp_path):
    assert after(tmp_path, OPENED, NAMED, WRITTEN, SYNCED, until=3) == {"f": b""}


def test_a_removed_file_is_back_until_its_directory_is_synced(tmp_path):
    removed = f'1 unlink("{PATH}") = 0'

    assert after(tmp_path, OPENED, WRITTEN, SYNCED, NAMED, removed) == {"f": b"ab"}


def test_a_removal_that_was_synced_lasts(tmp_path):
    removed = f'1 unlink("{PATH}") = 0'

    assert after(tmp_path, OPENED, WRITTEN, SYNCED, NAMED, removed, NAMED) == {}
