"""`strongroom recover`: stores that were destroyed in one way or another, and what comes back."""

# ruff: noqa: S608 - what is formatted into statements is our own text

import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import sqlite3
import threading

import pytest

from strongroom import errors
from strongroom.cli import caring
from strongroom.server import build, home, recovery, settings, switching
from strongroom.store import mirrors
from strongroom.store.sqlite import rebuild, schema

INLINE = {"empty", "small"}
"""Objects that have no mirror, since a mirror of 16 KiB would be a second object."""


@pytest.fixture(scope="session")
def mirrored_store(filled_store, tmp_path_factory):
    """The filled store, after its server had the time to mirror it."""
    store = filled_store.copied(tmp_path_factory.mktemp("mirrored") / "data")
    with store.serve():
        wait_for_mirrors(store)
    return store


def wait_for_mirrors(store):
    """Wait until the server has mirrored everything, registry included."""
    idle = threading.Event()
    for _ in range(600):
        if not store.ask("SELECT 1 FROM outbox"):
            return
        idle.wait(0.1)
    pytest.fail("nothing is mirrored in a minute")


def mirror_of(store, key):
    ((generation,),) = store.ask("SELECT generation FROM versions WHERE key = ?", key.encode())
    return store.data_dir / "envelopes" / generation.hex()[:2] / generation.hex()


@pytest.fixture
def mirrored(mirrored_store, tmp_path):
    return mirrored_store.copied(tmp_path / "data")


def change_schema(store, statement):
    with contextlib.closing(sqlite3.connect(store.data_dir / "catalog.sqlite")) as conn, conn:
        conn.execute(statement)


def report_of(told):
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    assert told.stdout, told.stderr
    return json.loads(told.stdout)


def without(stored, keys):
    bodies = {key: body for key, body in stored.bodies.items() if key not in keys}
    return dataclasses.replace(stored, bodies=bodies)


def test_without_a_catalog_all_but_small_objects_come_back(mirrored):
    for path in mirrored.data_dir.glob("catalog.sqlite*"):
        path.unlink()

    told = mirrored.run("recover", "--json")

    made = report_of(told)
    assert told.exit_code == 0, told.output
    assert (made["versions"], made["from_mirrors"], made["lost"]) == (4, 4, [])
    assert without(mirrored, INLINE).lacking() == []


def test_a_sound_catalog_is_rebuilt_as_it_was(mirrored):
    made = report_of(mirrored.run("recover", "--json"))

    assert made["catalog_was_whole"] is True
    assert (made["versions"], made["from_mirrors"], made["damages"]) == (6, 0, [])
    assert any(name.startswith("catalog.sqlite.before-") for name in made["kept"])
    assert mirrored.ask("SELECT count(*) FROM uploads JOIN parts USING (upload_row)") == [(1,)]
    assert mirrored.lacking() == []


def test_what_a_whole_catalog_says_is_deleted_stays_deleted(mirrored):
    """A mirror that was not removed yet brings nothing back."""
    mirrored.change("DELETE FROM versions WHERE key = ?", b"large")
    mirrored.change(
        "DELETE FROM envelopes WHERE envelope_id NOT IN (SELECT envelope_id FROM versions)"
    )

    made = report_of(mirrored.run("recover", "--json"))

    assert (made["versions"], made["from_mirrors"]) == (5, 0)
    assert without(mirrored, {"large"}).is_whole()


@pytest.mark.parametrize("seed", range(6))
def test_from_a_damaged_catalog_comes_what_is_whole_and_the_rest_from_mirrors(mirrored, seed):
    path = mirrored.data_dir / "catalog.sqlite"
    pages = bytearray(path.read_bytes())
    count = len(pages) // 4096
    # Whole pages of noise, other ones in each case; the first tells SQLite what the others are.
    for page in range(1 + seed % 3, count, 3):
        pages[page * 4096 : (page + 1) * 4096] = os.urandom(4096)
    path.write_bytes(pages)

    made = report_of(mirrored.run("recover", "--json"))

    assert made["versions"] >= 4
    assert made["damages"] == []
    assert {key for (key,) in mirrored.ask("SELECT key FROM versions")} >= {
        key.encode() for key in set(mirrored.bodies) - INLINE
    }
    left = {key.decode() for (key,) in mirrored.ask("SELECT key FROM versions")}
    assert without(mirrored, set(mirrored.bodies) - left).is_whole()


def test_a_catalog_that_is_noise_is_as_good_as_none(mirrored):
    path = mirrored.data_dir / "catalog.sqlite"
    path.write_bytes(os.urandom(path.stat().st_size))

    made = report_of(mirrored.run("recover", "--json"))

    assert (made["versions"], made["catalog_was_whole"]) == (4, False)
    assert without(mirrored, INLINE).is_whole()


@pytest.mark.parametrize("what", ["envelope", "record", "inline"])
def test_a_damaged_row_is_mended_from_mirror_or_backup(mirrored, tmp_path, what):
    assert mirrored.run("backup", tmp_path / "backup").exit_code == 0
    envelope_of = "(SELECT envelope_id FROM versions WHERE key = ?)"
    key = b"small" if what == "inline" else b"large"
    mirrored.change(
        {
            "envelope": "UPDATE envelopes SET envelope = substr(envelope, 1, 300) || zeroblob(50)"
            f" || substr(envelope, 351) WHERE envelope_id = {envelope_of}",
            "record": "UPDATE bodies SET record = zeroblob(length(record)) WHERE body_id ="
            f" (SELECT body_id FROM envelopes WHERE envelope_id = {envelope_of})",
            "inline": "UPDATE inline_blobs SET data = zeroblob(length(data)) WHERE blob_id ="
            " (SELECT blob_id FROM blobs JOIN envelopes USING (body_id)"
            f" WHERE envelope_id = {envelope_of})",
        }[what],
        key,
    )
    assert not mirrored.is_whole()

    made = report_of(mirrored.run("recover", "--json", "--from", tmp_path / "backup"))

    assert made["damages"] == made["lost"] == []
    assert mirrored.is_whole()


def test_a_backup_brings_back_what_neither_catalog_nor_blobs_have(mirrored, tmp_path):
    assert mirrored.run("backup", tmp_path / "backup").exit_code == 0
    for path in mirrored.data_dir.glob("catalog.sqlite*"):
        path.unlink()
    shutil.rmtree(mirrored.data_dir / "envelopes")
    (large,) = [
        path for path in (mirrored.data_dir / "blobs").rglob("*") if path.name == largest(mirrored)
    ]
    mirrored.flip(large, 5000)
    for path in (mirrored.data_dir / "blobs").glob("*/*/*"):
        if path != large:
            path.unlink()

    made = report_of(mirrored.run("recover", "--json", "--from", tmp_path / "backup"))

    assert (made["versions"], made["from_backup"]) == (6, 6)
    assert made["blobs_from_backup"] == 5
    assert mirrored.lacking() == []


def largest(stored):
    blobs = [path for path in (stored.data_dir / "blobs").glob("*/*/*") if path.is_file()]
    return max(blobs, key=lambda path: path.stat().st_size).name


def test_blobs_that_were_set_aside_are_brought_back(mirrored):
    lost = mirrored.data_dir / "blobs" / "lost"
    lost.mkdir(exist_ok=True)
    for path in list((mirrored.data_dir / "blobs").glob("*/*/*")):
        path.rename(lost / path.name)

    made = report_of(mirrored.run("recover", "--json"))

    # The part of the open upload is not looked for: it is written again.
    assert made["blobs_returned"] == 4
    assert [one for one in made["damages"] if "upload_id" not in one] == []
    assert mirrored.lacking() == []


def test_an_object_that_lacks_a_part_is_kept_and_named(mirrored):
    first, _, _ = mirrored.files("in parts")
    first.unlink()
    for path in mirrored.data_dir.glob("catalog.sqlite*"):
        path.unlink()

    told = mirrored.run("recover", "--json")

    made = report_of(told)
    assert told.exit_code == 1
    assert [one["key"] for one in made["incomplete"]] == ["in parts"]
    assert [(one["key"], one["part"]) for one in made["damages"]] == [("in parts", 1)]
    with mirrored.serve() as server:
        answer = server.boto3_client().get_object(
            Bucket=mirrored.bucket, Key="in parts", PartNumber=2, **mirrored.own
        )
        assert answer["Body"].read() == mirrored.bodies["in parts"][5 * 2**20 : 10 * 2**20]


def test_damaged_mirrors_are_counted_and_not_believed(mirrored):
    for path in mirrored.data_dir.glob("catalog.sqlite*"):
        path.unlink()
    one, two, *_ = sorted((mirrored.data_dir / "envelopes").glob("*/*"))
    mirrored.flip(one, 300)
    two.write_bytes(two.read_bytes()[:-1])

    made = report_of(mirrored.run("recover", "--json"))

    assert (made["unread_mirrors"], made["versions"]) == (2, 2)


def test_a_store_whose_server_runs_is_not_touched(mirrored):
    with mirrored.serve():
        told = mirrored.run("recover")

    assert told.exit_code == 1
    assert "holds the data directory" in told.stderr


def test_mirrors_follow_tags_overwrites_and_deletes(mirrored):
    large, servers, parts = (mirror_of(mirrored, key) for key in ("large", "server's", "in parts"))
    assert large.exists()
    assert parts.exists()
    before = mirrors.parse(servers.read_bytes())
    with mirrored.serve() as server:
        client = server.boto3_client()
        name = {"Bucket": mirrored.bucket}
        tags = {"TagSet": [{"Key": "a", "Value": "2"}]}
        client.put_object_tagging(**name, Key="server's", Tagging=tags)
        client.put_object(**name, Key="large", Body=b"L" * 20_000, **mirrored.own)
        client.delete_object(**name, Key="in parts")
        wait_for_mirrors(mirrored)

    after = mirrors.parse(servers.read_bytes())
    assert (after.envelope, after.record) == (before.envelope, before.record)
    assert after.marks != before.marks
    assert after.number > before.number
    assert not large.exists()
    assert not parts.exists()
    assert mirror_of(mirrored, "large").exists()


def test_small_objects_leave_no_mirror_and_no_notice(mirrored):
    assert not mirror_of(mirrored, "small").exists()

    mirrored.change("UPDATE envelopes SET marks = marks")

    ((noticed,),) = mirrored.ask("SELECT count(*) FROM outbox")
    assert noticed == 4


def test_the_registry_follows_buckets_and_users(mirrored):
    with mirrored.serve() as server:
        server.boto3_client().create_bucket(Bucket="new-one")
        idle = threading.Event()
        for _ in range(200):
            with contextlib.closing(sqlite3.connect(registry_of(mirrored))) as conn:
                names = {name for (name,) in conn.execute("SELECT name FROM buckets")}
            if "new-one" in names or idle.wait(0.1):
                break

    assert names == {mirrored.bucket, "new-one"}
    assert registry_of(mirrored).stat().st_mode & 0o077 == 0


def registry_of(store):
    return store.data_dir / "envelopes" / mirrors.REGISTRY


@pytest.mark.parametrize("catalog_is_left", [True, False])
def test_versions_keep_their_order_and_markers_come_from_the_catalog(mirrored, catalog_is_left):
    name = {"Bucket": mirrored.bucket}
    with mirrored.serve() as server:
        client = server.boto3_client()
        client.put_bucket_versioning(**name, VersioningConfiguration={"Status": "Enabled"})
        bodies = [b"%d" % number * 30_000 for number in range(3)]
        ids = [
            client.put_object(**name, Key="v", Body=body, **mirrored.own)["VersionId"]
            for body in bodies
        ]
        client.delete_object(**name, Key="large")
        wait_for_mirrors(mirrored)
    if not catalog_is_left:
        for path in mirrored.data_dir.glob("catalog.sqlite*"):
            path.unlink()

    made = report_of(mirrored.run("recover", "--json"))

    assert made["delete_markers"] == int(catalog_is_left)
    with mirrored.serve() as server:
        client = server.boto3_client()
        there = client.list_object_versions(**name, Prefix="v")["Versions"]
        assert [one["VersionId"] for one in there] == ids[::-1]
        assert [one["IsLatest"] for one in there] == [True, False, False]
        for version_id, body in zip(ids, bodies, strict=True):
            how = {"Key": "v", "VersionId": version_id, **mirrored.own}
            assert client.get_object(**name, **how)["Body"].read() == body
        # What only a marker hid is seen again where the catalog is gone.
        shown = {one["Key"] for one in client.list_objects_v2(**name)["Contents"]}
        assert ("large" in shown) is not catalog_is_left
        client.put_object(**name, Key="v", Body=b"after", **mirrored.own)
        newest = client.list_object_versions(**name, Prefix="v")["Versions"][0]
        assert newest["IsLatest"]
        assert newest["VersionId"] not in ids
    assert mirrored.damages() == []


def test_a_new_catalog_that_lacks_what_the_old_one_has_does_not_replace_it(mirrored):
    for path in (mirrored.data_dir / "blobs").glob("*/*/*"):
        path.unlink()
    before = mirrored.ask("SELECT key, generation FROM versions")

    told = mirrored.run("recover", "--json")

    assert told.exit_code == 1
    assert "can still be read in the old one" in told.stderr
    assert "--force" in told.stderr
    assert mirrored.ask("SELECT key, generation FROM versions") == before
    assert (mirrored.data_dir / "envelopes").is_dir()
    assert len(list(mirrored.data_dir.glob("catalog.sqlite.refused-*"))) == 1
    assert json.loads(mirrored.run("recover", "--json", "--force").stdout)["lost"] != []


def test_an_older_schema_is_brought_to_this_one_before_it_is_read(mirrored):
    for (trigger,) in mirrored.ask("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        change_schema(mirrored, f"DROP TRIGGER {trigger}")
    for statement in (
        "DROP INDEX versions_by_envelope",
        "DROP TABLE outbox",
        "ALTER TABLE envelopes DROP COLUMN digest",
        "DROP TABLE chores",
        "DROP TABLE kept",
        "DROP INDEX versions_by_fingerprint",
        "ALTER TABLE versions DROP COLUMN fingerprint",
        "ALTER TABLE uploads DROP COLUMN fingerprint",
        "DROP TABLE entities",
        "DROP TABLE access_keys",
        "CREATE TABLE credentials (access_key TEXT PRIMARY KEY, user_id, sealed_secret, created_ms)",
        "UPDATE alembic_version SET version_num = '0003'",
    ):
        change_schema(mirrored, statement)
    shutil.rmtree(mirrored.data_dir / "envelopes")

    made = report_of(mirrored.run("recover", "--json"))

    assert (made["versions"], made["lost"], made["damages"]) == (6, [], [])


def test_an_empty_catalog_made_since_is_not_taken_for_the_lost_one(mirrored):
    for path in mirrored.data_dir.glob("catalog.sqlite*"):
        path.unlink()
    schema.migrate(mirrored.data_dir / "catalog.sqlite")

    made = report_of(mirrored.run("recover", "--json"))

    assert (made["versions"], made["catalog_was_whole"]) == (4, False)


def test_no_catalog_is_made_where_blobs_of_a_store_lie(mirrored):
    for path in mirrored.data_dir.glob("catalog.sqlite*"):
        path.unlink()

    with pytest.raises(errors.StoreFailed, match="strongroom recover"):
        build.prepare(settings.Settings(data_dir=mirrored.data_dir, data_dir_given=True))

    assert not (mirrored.data_dir / "catalog.sqlite").exists()


def test_uploads_ended_since_the_backup_stay_ended(mirrored, tmp_path):
    assert mirrored.run("backup", tmp_path / "backup").exit_code == 0
    mirrored.change("DELETE FROM parts")
    mirrored.change("DELETE FROM uploads")

    made = report_of(mirrored.run("recover", "--json", "--from", tmp_path / "backup"))

    assert made["catalog_was_whole"]
    assert mirrored.ask("SELECT count(*) FROM uploads") == [(0,)]


def test_a_catalog_of_other_blobs_that_has_versions_is_not_replaced(mirrored):
    mirrored.change("UPDATE facts SET value = zeroblob(16) WHERE name = 'store-id'")

    told = mirrored.run("recover")

    assert told.exit_code == 1
    assert "has 6 versions, but is not the one of these blobs" in told.stderr
    assert mirrored.ask("SELECT count(*) FROM versions") == [(6,)]


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
        wait_for_mirrors(mirrored)
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


ROT = {
    "store key 1": "UPDATE store_keys SET wrapped = zeroblob(length(wrapped))",
    "the fact master-key-check": "UPDATE facts SET value = zeroblob(32)"
    " WHERE name = 'master-key-check'",
}


@pytest.mark.parametrize("what", ROT)
def test_a_rotten_row_under_the_master_key_is_mended_from_the_mirrored_one(mirrored, what):
    mirrored.change(ROT[what])

    told = mirrored.run("recover", "--json")

    made = report_of(told)
    assert (told.exit_code, made["rows_mended"], made["damages"]) == (0, [what], [])
    assert mirrored.is_whole()
    assert mirrored.lacking() == []


def test_a_rotten_store_key_without_a_copy_is_named_and_the_rest_comes_back(mirrored):
    shutil.rmtree(mirrored.data_dir / "envelopes")
    mirrored.change(ROT["store key 1"])

    told = mirrored.run("recover", "--json")

    made = report_of(told)
    assert told.exit_code == 1
    assert [one["detail"] for one in made["damages"]] == [
        "store key 1 is damaged, and no copy of it opens"
    ]
    assert (made["versions"], made["lost"]) == (6, [])


def test_under_another_master_key_nothing_is_replaced(mirrored):
    before = (mirrored.data_dir / "catalog.sqlite").read_bytes()
    other = dataclasses.replace(mirrored, master_key=base64.b64encode(bytes(32)).decode())

    told = other.run("recover")

    assert told.exit_code == 1
    assert "The master key is not the one" in told.stderr
    assert (mirrored.data_dir / "catalog.sqlite").read_bytes() == before


@pytest.fixture
def with_user(mirrored):
    """A store with a user of two secrets, one of which does not open, and a KMS key."""
    added = [json.loads(mirrored.run("admin", "user", "add", "bob", "--json").stdout)]
    added.append(json.loads(mirrored.run("admin", "key", "add", "bob", "--json").stdout))
    with mirrored.serve() as server:
        server.boto3_client().put_object(
            Bucket=mirrored.bucket,
            Key="server's",
            Body=mirrored.bodies["server's"],
            ServerSideEncryption="aws:kms",
        )
        wait_for_mirrors(mirrored)
        wait_for_registry(mirrored, "access_keys", {one["access_key"] for one in added})
    return mirrored, [one["access_key"] for one in added]


def wait_for_registry(store, table, wanted):
    """Wait until the mirrored table has just these access keys, or as many KMS keys."""
    idle = threading.Event()
    for _ in range(600):
        with contextlib.closing(sqlite3.connect(registry_of(store))) as conn:
            there = {name for (name,) in conn.execute(f"SELECT access_key FROM {table}")}
        if there == wanted:
            return
        idle.wait(0.1)
    pytest.fail("the registry does not follow in a minute")


def test_rotten_secrets_and_materials_are_mended_too(with_user):
    store, (one, _) = with_user
    store.change("UPDATE access_keys SET sealed_secret = zeroblob(60) WHERE access_key = ?", one)
    store.change("UPDATE kms_materials SET wrapped = substr(wrapped, 1, 40) || zeroblob(300)")

    made = report_of(store.run("recover", "--json"))

    ((key_id,),) = store.ask("SELECT key_id FROM kms_keys")
    assert made["rows_mended"] == [
        f"the material of KMS key {key_id} 1",
        f"the secret of access key {one}",
    ]
    assert made["damages"] == []
    assert store.lacking() == []


@pytest.mark.parametrize("registry_is_left", [True, False])
def test_who_is_only_in_the_backup_is_named(with_user, tmp_path, registry_is_left):
    store, names = with_user
    assert store.run("backup", tmp_path / "backup").exit_code == 0
    assert store.run("admin", "user", "remove", "bob").exit_code == 0
    with store.serve():
        wait_for_registry(store, "access_keys", set())
    for path in store.data_dir.glob("catalog.sqlite*"):
        path.unlink()
    if not registry_is_left:
        registry_of(store).unlink()

    told = store.run("recover", "--json", "--from", tmp_path / "backup")

    made = report_of(told)
    restored = not registry_is_left
    people = [one for one in made["only_in_backup"] if one["kind"] != "KMS key"]
    assert people == [
        {"kind": "account", "name": "bob", "restored": restored},
        *({"kind": "access key", "name": name, "restored": restored} for name in sorted(names)),
    ]
    assert [name for (name,) in store.ask("SELECT name FROM users")] == ["bob"] * restored
    assert made["versions"] == 6


def test_people_are_told_what_was_mended_and_who_came_back(capsys):
    made = recovery.Recovered(
        rebuild.Rebuilt(versions=2, markers_lost=3),
        (),
        returned=0,
        from_backup=0,
        unread_mirrors=0,
        was_whole=False,
        aside=(),
        mended=("store key 1",),
        only_in_backup=(
            recovery.OnlyInBackup("account", "bob", restored=True),
            recovery.OnlyInBackup("access key", "A\x1b", restored=False),
        ),
    )

    caring._tell_recovered(made)  # noqa: SLF001 - a whole recovery would take a second

    said = capsys.readouterr().out
    assert "mended: store key 1\n" in said
    assert "lost: 3 delete markers" in said
    assert "only the backup knows account bob, which may have been removed since: it is" in said
    assert "access key A\\x1b, which may have been removed since: it was left out" in said


@pytest.mark.parametrize("mirrors_are_left", [True, False])
def test_delete_markers_of_a_lost_table_of_buckets_find_their_bucket(mirrored, mirrors_are_left):
    name = {"Bucket": mirrored.bucket}
    with mirrored.serve() as server:
        client = server.boto3_client()
        client.put_bucket_versioning(**name, VersioningConfiguration={"Status": "Enabled"})
        client.delete_object(**name, Key="large")
        wait_for_mirrors(mirrored)
    if not mirrors_are_left:
        shutil.rmtree(mirrored.data_dir / "envelopes")
    mirrored.change("DELETE FROM buckets")

    made = report_of(mirrored.run("recover", "--json"))

    assert (made["delete_markers"], made["delete_markers_lost"]) == (1, 0)
    assert mirrored.ask("SELECT name FROM buckets") == [(mirrored.bucket,)]
    hidden = mirrored.ask("SELECT key FROM versions WHERE hidden = 1 AND mode <> ''")
    assert hidden == [(b"large",)]


def test_delete_markers_of_a_bucket_that_nothing_names_are_counted(mirrored):
    name = {"Bucket": "forgotten"}
    with mirrored.serve() as server:
        client = server.boto3_client()
        client.create_bucket(**name)
        client.put_bucket_versioning(**name, VersioningConfiguration={"Status": "Enabled"})
        client.delete_object(**name, Key="never was")
        wait_for_mirrors(mirrored)
    shutil.rmtree(mirrored.data_dir / "envelopes")
    mirrored.change("DELETE FROM buckets WHERE name = 'forgotten'")

    told = mirrored.run("recover", "--json")

    made = report_of(told)
    assert (made["delete_markers"], made["delete_markers_lost"]) == (0, 1)
    assert told.exit_code == 1


def test_a_version_whose_mode_rotted_away_is_no_delete_marker(mirrored):
    mirrored.change("UPDATE versions SET mode = '', hidden = 1 WHERE key = ?", b"small")

    made = report_of(mirrored.run("recover", "--json"))

    assert (made["versions"], made["delete_markers"], made["damages"]) == (6, 0, [])
    assert mirrored.is_whole()
