"""`strongroom recover`: rotten rows, people of a backup, delete markers without a bucket."""

import base64
import contextlib
import dataclasses
import json
import shutil
import sqlite3
import threading

import pytest

from strongroom.cli import caring
from strongroom.server import recovery
from strongroom.store.sqlite import rebuild


def report_of(told):
    assert told.stdout, told.stderr
    return json.loads(told.stdout)


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
        mirrored.wait_for_mirrors()
        wait_for_registry(mirrored, {one["access_key"] for one in added})
    return mirrored, [one["access_key"] for one in added]


def wait_for_registry(store, wanted):
    """Wait until just these access keys are mirrored."""
    idle = threading.Event()
    for _ in range(600):
        with contextlib.closing(sqlite3.connect(store.registry)) as conn:
            there = {name for (name,) in conn.execute("SELECT access_key FROM access_keys")}
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
        wait_for_registry(store, set())
    for path in store.data_dir.glob("catalog.sqlite*"):
        path.unlink()
    if not registry_is_left:
        store.registry.unlink()

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
        mirrored.wait_for_mirrors()
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
        mirrored.wait_for_mirrors()
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
