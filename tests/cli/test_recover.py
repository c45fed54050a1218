"""`strongroom recover`: stores that were destroyed in one way or another, and what comes back."""

# ruff: noqa: S608 - what is formatted into statements is our own text

import contextlib
import dataclasses
import json
import os
import shutil
import sqlite3
import threading

import pytest

from strongroom import errors
from strongroom.server import build, settings
from strongroom.store import mirrors
from strongroom.store.sqlite import schema

INLINE = {"empty", "small"}
"""Objects that have no mirror, since a mirror of 16 KiB would be a second object."""


def mirror_of(store, key):
    ((generation,),) = store.ask("SELECT generation FROM versions WHERE key = ?", key.encode())
    return store.data_dir / "envelopes" / generation.hex()[:2] / generation.hex()


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
        mirrored.wait_for_mirrors()

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
            with contextlib.closing(sqlite3.connect(mirrored.registry)) as conn:
                names = {name for (name,) in conn.execute("SELECT name FROM buckets")}
            if "new-one" in names or idle.wait(0.1):
                break

    assert names == {mirrored.bucket, "new-one"}
    assert mirrored.registry.stat().st_mode & 0o077 == 0


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
        mirrored.wait_for_mirrors()
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
        "DROP TABLE replications",
        "DROP TABLE staged_blobs",
        "DROP TABLE remotes",
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
