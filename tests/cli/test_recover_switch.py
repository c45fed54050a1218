"""`strongroom recover`, killed or disturbed while it puts the new catalog in place."""

import contextlib
import dataclasses
import json
import pathlib
import sqlite3
import threading

import pytest

from strongroom.server import home, switching
from strongroom.store import mirrors


def report_of(told):
    assert told.stdout, told.stderr
    return json.loads(told.stdout)


def without(stored, keys):
    bodies = {key: body for key, body in stored.bodies.items() if key not in keys}
    return dataclasses.replace(stored, bodies=bodies)


INLINE = {"empty", "small"}


class Killed(BaseException):
    """The process ends here; no handler of ours runs."""


def killed_at_rename(number):
    """Return what stands in for `Path.rename` in a process that dies before that call of it."""
    left, real = [number], pathlib.Path.rename

    def rename(self, target):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(self, target)

    return rename


@pytest.fixture
def with_log(mirrored):
    """A store whose last object is in the catalog's log only."""
    with mirrored.serve() as server:
        server.boto3_client().put_object(
            Bucket=mirrored.bucket, Key="in the log", Body=b"log", **mirrored.own
        )
        server.kill()
    mirrored.bodies["in the log"] = b"log"
    assert (mirrored.data_dir / "catalog.sqlite-wal").stat().st_size
    return mirrored


@pytest.mark.parametrize("number", range(6))
def test_killed_while_it_changes_names_the_server_finishes_it(with_log, monkeypatch, number):
    with monkeypatch.context() as patched:
        patched.setattr(pathlib.Path, "rename", killed_at_rename(number))
        with contextlib.suppress(Killed):
            with_log.run("recover")
    begun = (with_log.data_dir / switching.JOURNAL).exists()

    refused = with_log.run("admin", "user", "list")
    if begun:
        assert "A recovery of" in refused.stderr
    with with_log.serve():
        pass

    assert refused.exit_code == int(begun)
    assert not (with_log.data_dir / switching.JOURNAL).exists()
    assert not (with_log.data_dir / "recovery").exists()
    kept = sorted(path.name for path in with_log.data_dir.glob("catalog.sqlite.before-*"))
    assert kept
    assert with_log.is_whole()
    # What was set aside can be opened with its log, under its new name.
    with contextlib.closing(sqlite3.connect(with_log.data_dir / kept[0])) as conn:
        assert conn.execute("SELECT count(*) FROM versions").fetchall() == [(7,)]


def test_mirrors_set_aside_are_read_until_all_are_made_anew(mirrored):
    assert mirrored.run("recover").exit_code == 0
    for _ in range(2):
        for path in mirrored.data_dir.glob("catalog.sqlite*"):
            path.unlink()
        made = report_of(mirrored.run("recover", "--json"))
        assert (made["versions"], made["from_mirrors"], made["lost"]) == (4, 4, [])
    noted = mirrored.data_dir / "envelopes" / mirrors.BEFORE
    assert len(noted.read_text().split()) == 3

    with mirrored.serve():
        mirrored.wait_for_mirrors()
        idle = threading.Event()
        while noted.exists():
            idle.wait(0.1)

    assert without(mirrored, INLINE).is_whole()


def test_mirrors_set_aside_before_a_kill_are_found(mirrored):
    """As a release without a journal left them."""
    (mirrored.data_dir / "envelopes").rename(mirrored.data_dir / "envelopes.before-20260101T000000")
    for path in mirrored.data_dir.glob("catalog.sqlite*"):
        path.unlink()

    made = report_of(mirrored.run("recover", "--json"))

    assert (made["versions"], made["from_mirrors"], made["lost"]) == (4, 4, [])


def test_a_store_that_a_command_has_open_is_not_recovered(mirrored):
    with home.in_use(mirrored.data_dir):
        told = mirrored.run("recover")
        listed = mirrored.run("admin", "user", "list")

    assert told.exit_code == 1
    assert "Another command is using" in told.stderr
    assert listed.exit_code == 0


def test_no_command_opens_a_store_that_is_being_recovered(mirrored):
    commands = (
        ("admin", "user", "list"),
        ("scrub",),
        ("backup", mirrored.data_dir.parent / "backup"),
        ("keys", "rotate", "s3://attic", "--old-sse", "AES256", "--new-sse", "aws:kms"),
    )
    with home.recovering(mirrored.data_dir):
        told = [mirrored.run(*command) for command in commands]

    assert [one.exit_code for one in told] == [1] * len(commands)
    assert all("being recovered" in one.stderr for one in told)
