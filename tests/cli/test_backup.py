"""`strongroom backup` of stores of a real server, and what is left when those are destroyed."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from strongroom.server import build, care, files, home, settings


def report_of(told):
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "backup"


def restored(stored, target):
    """Destroy a store, and put its backup in its place, as the guide says."""
    shutil.rmtree(stored.data_dir)
    shutil.copytree(target, stored.data_dir)
    return stored


def test_a_destroyed_store_comes_back_whole_from_its_backup(stored, target):
    made = report_of(stored.run("backup", target, "--json"))

    assert (made["versions"], made["uploads"], made["damages"]) == (6, 1, [])
    # Large and shared, the server's, two parts and the one of the open upload.
    assert (made["copied"], made["kept"], made["replaced"]) == (5, 0, True)
    assert restored(stored, target).lacking() == []
    assert stored.damages() == []


def test_a_backup_holds_no_key_and_belongs_to_its_owner_alone(stored, target):
    stored.run("backup", target)

    names = {path.name for path in target.iterdir()}
    assert names == {"backup.json", "blobs", "catalog.sqlite", "lock"}
    others = [path for path in (target, *target.rglob("*")) if path.stat().st_mode & 0o077]
    assert others == []


def test_the_next_run_copies_only_what_is_new_and_drops_what_is_not_needed(
    stored, filled_later, target
):
    report_of(stored.run("backup", target, "--json"))
    stored.become(filled_later)

    made = report_of(stored.run("backup", target, "--json", "--quick"))

    assert (made["copied"], made["kept"], made["pruned"]) == (4, 2, 3)
    assert restored(stored, target).is_whole()


def test_links_take_no_space(stored, target):
    made = report_of(stored.run("backup", target, "--link", "--json"))

    (file,) = stored.files("large")
    (copy,) = target.rglob(file.name)
    assert copy.samefile(file)
    assert made["copied"] == 5


def test_a_backup_beside_a_busy_server_is_one_moment_of_it(stored, target):
    """Each body begins with a number; what is restored was written whole, and is opened whole."""
    stop = threading.Event()
    written = []

    def body_of(number):
        seed = hashlib.sha256(b"%d" % number).digest()
        return b"%8d" % number + seed * (1 + number % 3 * 1_500)

    def write(client):
        for number in range(10_000):
            if stop.is_set():
                return
            key = f"busy {number % 5}"
            if number % 7 == 6:
                client.delete_object(Bucket=stored.bucket, Key=key)
            else:
                client.put_object(Bucket=stored.bucket, Key=key, Body=body_of(number), **stored.own)
            written.append(number)

    with stored.serve() as server:
        writer = threading.Thread(target=write, args=[server.boto3_client()])
        writer.start()
        try:
            made = []
            # As many as it takes for something to be written between and meanwhile.
            while len(made) < 3 or (len(written) < 12 and writer.is_alive()):
                made.append(report_of(stored.run("backup", target, "--json")))
        finally:
            stop.set()
            writer.join()

    assert len(written) >= 12, "something was written meanwhile"
    assert [one["damages"] for one in made if one["damages"]] == []
    with restored(stored, target).serve() as server:
        client = server.boto3_client()
        there = client.list_objects_v2(Bucket=stored.bucket)["Contents"]
        busy = [one["Key"] for one in there if one["Key"].startswith("busy")]
        assert busy
        for key in busy:
            body = client.get_object(Bucket=stored.bucket, Key=key, **stored.own)["Body"].read()
            assert body == body_of(int(body[:8]))
    assert stored.damages() == []


def test_nothing_is_removed_while_somebody_copies(stored):
    gate = files.Gate(stored.data_dir / build.COLLECTION_NAME)
    (file,) = stored.files("server's")
    with stored.serve() as server:
        client = server.boto3_client()
        with gate.held():
            client.delete_object(Bucket=stored.bucket, Key="server's")
            # Whatever dooms a blob wakes the collector, which is then turned away.
            for _ in range(3):
                client.put_object(Bucket=stored.bucket, Key="nudge", Body=b"n" * 20_000)
            assert file.exists()
        nudged = threading.Event()
        for _ in range(600):
            client.put_object(Bucket=stored.bucket, Key="nudge", Body=b"n" * 20_000)
            if nudged.wait(0.05) or not file.exists():
                break
        assert not file.exists()


def test_who_copies_waits_for_who_removes_and_several_may_copy(tmp_path):
    gate = files.Gate(tmp_path / "gate")
    with gate.held(), gate.held(), gate.passing() as passes:
        assert not passes
    held = threading.Event()

    def hold():
        with gate.held():
            held.set()

    with gate.passing() as passes:
        assert passes
        waiting = threading.Thread(target=hold)
        waiting.start()
        assert not held.wait(0.1)
    waiting.join()
    assert held.is_set()


class Interrupted(Exception):
    """Stands for whatever ends a run."""


@pytest.mark.parametrize("at", ["Copying the catalog", "Copying blobs", "Reading copies"])
def test_a_run_that_ends_anywhere_leaves_the_earlier_backup_and_the_next_goes_on(
    stored, filled_later, target, at
):
    report_of(stored.run("backup", target, "--json"))
    before = stored.copied(stored.data_dir.with_name("before"))
    stored.become(filled_later)

    @contextlib.contextmanager
    def phase(label, _total):
        told = 0

        def advance(_count):
            nonlocal told
            told += 1
            if label == at and told > 1:
                raise Interrupted

        yield advance
        if label == at:
            raise Interrupted

    chosen = settings.Settings(data_dir=stored.data_dir)
    with pytest.raises(Interrupted):
        care.back_up(chosen, target, link=False, only_new=False, phase=phase)

    assert restored(before, target).is_whole()
    made = report_of(stored.run("backup", target, "--json"))
    assert made["damages"] == []
    assert made["pruned"] == 3
    assert restored(stored, target).is_whole()


@pytest.mark.parametrize("wait_s", [0.5, 1.5])
def test_a_run_that_is_killed_can_be_run_again(stored, target, wait_s):
    command = [sys.executable, "-m", "strongroom.cli", "backup", target]
    environ = os.environ | {"STRONGROOM_MASTER_KEY": stored.master_key}
    process = subprocess.Popen(  # noqa: S603 - our own command line
        [*command, "--data-dir", stored.data_dir], env=environ, stdout=subprocess.DEVNULL
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(wait_s)
    process.send_signal(signal.SIGKILL)
    process.wait()

    made = report_of(stored.run("backup", target, "--json"))

    assert made["damages"] == []
    assert restored(stored, target).is_whole()


def test_a_copy_that_rots_is_made_again(stored, target):
    report_of(stored.run("backup", target, "--json"))
    (file,) = stored.files("large")
    (copy,) = target.rglob(file.name)
    stored.flip(copy, 1000)

    made = report_of(stored.run("backup", target, "--json"))

    assert (made["mended"], made["copied"], made["damages"]) == (1, 0, [])
    assert copy.read_bytes() == file.read_bytes()


def test_a_blob_that_the_store_has_lost_stays_in_the_backup(stored, target):
    report_of(stored.run("backup", target, "--json"))
    (large,) = stored.files("large")
    (servers,) = stored.files("server's")
    stored.flip(large, 1000)
    servers.unlink()

    made = report_of(stored.run("backup", target, "--json"))

    assert made["damages"] == []
    assert restored(stored, target).is_whole()


def test_what_was_never_copied_and_is_damaged_is_named(stored, target):
    (large,) = stored.files("large")
    stored.flip(large, 1000)

    told = stored.run("backup", target)

    assert told.exit_code == 1
    assert f"damaged: s3://{stored.bucket}/large, part 1" in told.stdout
    assert f"damaged: s3://{stored.bucket}/shares, part 1" in told.stdout
    assert "complete but for 2 damages" in told.stderr
    found = {one["key"] for one in restored(stored, target).damages()}
    assert found == {"large", "shares"}


def test_a_damaged_catalog_does_not_take_the_place_of_a_good_one(stored, target):
    report_of(stored.run("backup", target, "--json"))
    stored.change("UPDATE inline_blobs SET data = zeroblob(length(data))")
    stored.change("DELETE FROM versions WHERE key = ?", b"large")

    told = stored.run("backup", target)

    assert told.exit_code == 1
    assert "the earlier backup was left in its place" in told.stderr
    assert restored(stored, target).is_whole()


def test_a_directory_that_is_no_place_for_a_backup_is_refused_and_left_alone(stored, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_bytes(b"cat")

    told = [
        stored.run("backup", photos),
        stored.run("backup", stored.data_dir),
        stored.run("backup", stored.data_dir / "backup"),
        stored.run("backup", tmp_path),
    ]

    assert [one.exit_code for one in told] == [1, 1, 1, 1]
    assert "cat.jpg" in told[0].stderr
    assert all("apart from the data directory" in one.stderr for one in told[1:])
    assert {path.name for path in photos.iterdir()} - {"lock"} == {"cat.jpg"}


def test_the_backup_of_another_store_is_refused(stored, target):
    stored.run("backup", target)
    stored.change("UPDATE facts SET value = x'00' WHERE name = 'store-id'")

    told = stored.run("backup", target)

    assert told.exit_code == 1
    assert "of another store" in told.stderr


def test_a_backup_that_a_server_uses_is_refused(stored, target):
    stored.run("backup", target)

    with home.locked(target):
        told = stored.run("backup", target)

    assert told.exit_code == 1
    assert "holds the data directory" in told.stderr
