"""`strongroom scrub` on stores of a real server, whole and damaged."""

# ruff: noqa: S608 - what is formatted into statements is our own text

import base64
import dataclasses
import json
import os
import shutil
import sqlite3

import pytest
from click import testing as click_testing

from strongroom import cli
from strongroom.testing import Strongroom

OWN = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
SOURCE = {f"CopySource{name}": value for name, value in OWN.items()}
BUCKET = "attic"


@dataclasses.dataclass
class Copy:
    """A stopped store that may be damaged, and the commands on it."""

    data_dir: object
    master_key: str

    def change(self, statement, *values):
        catalog = sqlite3.connect(self.data_dir / "catalog.sqlite", isolation_level=None)
        try:
            assert catalog.execute(statement, values).rowcount, "the damage is done"
        finally:
            catalog.close()

    def ask(self, statement, *values):
        catalog = sqlite3.connect(self.data_dir / "catalog.sqlite")
        try:
            return catalog.execute(statement, values).fetchall()
        finally:
            catalog.close()

    def files(self, key):
        """Return the files of an object's parts, in order."""
        places = self.ask(
            "SELECT o.place FROM versions v JOIN envelopes e USING (envelope_id)"
            " JOIN blobs o USING (body_id) WHERE v.key = ? ORDER BY o.ordinal",
            key.encode(),
        )
        return [self.data_dir / "blobs" / place for (place,) in places]

    def scrub(self, *args, with_master_key=True):
        env = {"STRONGROOM_MASTER_KEY": self.master_key if with_master_key else None}
        command = ["scrub", "--data-dir", str(self.data_dir), *args]
        return click_testing.CliRunner().invoke(cli.main, command, env=env)

    def damages(self, **how):
        told = self.scrub("--json", **how)
        found = json.loads(told.stdout)["damages"]
        assert told.exit_code == (1 if found else 0)
        return found


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A stopped store with objects of all kinds: (data directory, master key)."""
    data_dir = tmp_path_factory.mktemp("scrubbed") / "data"
    master_key = base64.b64encode(os.urandom(32)).decode()
    with Strongroom(data_dir, env={"STRONGROOM_MASTER_KEY": master_key}) as server:
        client = server.boto3_client()
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="empty", Body=b"", **OWN)
        client.put_object(Bucket=BUCKET, Key="small", Body=b"s" * 100, **OWN)
        client.put_object(Bucket=BUCKET, Key="large", Body=os.urandom(200_000), **OWN)
        client.put_object(Bucket=BUCKET, Key="server's", Body=os.urandom(200_000), Tagging="a=1")
        client.copy_object(
            Bucket=BUCKET, Key="shares", CopySource=f"{BUCKET}/large", **OWN, **SOURCE
        )
        upload = {"Bucket": BUCKET, "Key": "in parts"}
        upload["UploadId"] = client.create_multipart_upload(**upload, **OWN)["UploadId"]
        parts = []
        whole = os.urandom(5 * 2**20)
        for number, body in enumerate((whole, whole[::-1], b"end"), 1):
            etag = client.upload_part(PartNumber=number, Body=body, **upload, **OWN)["ETag"]
            parts.append({"PartNumber": number, "ETag": etag})
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        upload = {"Bucket": BUCKET, "Key": "open"}
        upload["UploadId"] = client.create_multipart_upload(**upload, **OWN)["UploadId"]
        client.upload_part(PartNumber=7, Body=os.urandom(100_000), **upload, **OWN)
    return data_dir, master_key


@pytest.fixture
def store(filled, tmp_path):
    data_dir, master_key = filled
    shutil.copytree(data_dir, tmp_path / "data")
    return Copy(tmp_path / "data", master_key)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_sound_store_has_no_damage(store):
    told = store.scrub("--json")

    report = json.loads(told.stdout)
    assert told.exit_code == 0
    assert report["damages"] == []
    # The shared body is read once: empty, small, large, server's, three parts, the open one.
    assert (report["versions"], report["uploads"], report["blobs"]) == (6, 1, 8)
    assert report["blob_bytes"] > 10 * 2**20
    assert report["row_macs_checked"] is True


def test_without_the_master_key_the_rest_is_scrubbed_and_that_is_said(store):
    told = store.scrub(with_master_key=False)

    assert told.exit_code == 0
    assert told.stdout.startswith("no damage in 6 versions, 1 open uploads, 8 blobs")
    assert "for want of the master key" in told.stdout


def test_the_wrong_master_key_is_told_and_nothing_is_scrubbed(store):
    store.master_key = base64.b64encode(bytes(32)).decode()

    told = store.scrub()

    assert told.exit_code == 1
    assert told.stdout == ""
    assert "not the one that this data directory was made with" in told.stderr


@pytest.mark.parametrize("at", [0, 100_000, -1])
def test_one_flipped_bit_names_every_object_part_and_file(store, at):
    (path,) = store.files("large")
    flip(path, at)

    found = store.damages(with_master_key=False)

    assert [(one["key"], one["part"]) for one in found] == [("large", 1), ("shares", 1)]
    for one in found:
        assert one["bucket"] == BUCKET
        assert one["version_id"] == "null"
        assert one["detail"] == "its bytes are not those that were written"
        assert store.data_dir / one["file"] == path


def test_damage_of_a_part_names_the_part(store):
    flip(store.files("in parts")[1], 5_000_000)

    (found,) = store.damages()

    assert (found["key"], found["part"]) == ("in parts", 2)


def test_a_file_that_is_cut_longer_missing_or_another_is_found(store):
    first, second, _ = store.files("in parts")
    (large,) = store.files("large")
    (servers,) = store.files("server's")
    large.write_bytes(large.read_bytes()[:-1])
    servers.unlink()
    swapped = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(swapped)

    found = {(one["key"], one["part"]): one["detail"] for one in store.damages()}

    assert found == {
        ("in parts", 1): "its bytes are not those that were written",
        ("in parts", 2): "its bytes are not those that were written",
        ("large", 1): "its bytes are 200103 where 200104 were written",
        ("shares", 1): "its bytes are 200103 where 200104 were written",
        ("server's", 1): "its bytes are missing",
    }


def test_an_inline_blob_is_judged_too(store):
    store.change("UPDATE inline_blobs SET data = substr(data, 1, 60) || x'00' || substr(data, 62)")

    found = {(one["key"], one["part"]) for one in store.damages(with_master_key=False)}

    assert found == {("empty", 1), ("small", 1), ("in parts", 3)}


def test_a_part_of_an_open_upload_is_judged_too(store):
    ((place, upload_id),) = store.ask("SELECT place, upload_id FROM parts JOIN uploads")
    flip(store.data_dir / "blobs" / place, 70_000)

    (found,) = store.damages(with_master_key=False)

    assert (found["key"], found["part"], found["upload_id"]) == ("open", 7, upload_id)


ENVELOPE_OF = "(SELECT envelope_id FROM versions WHERE key = ?)"
BODY_OF = f"(SELECT body_id FROM envelopes WHERE envelope_id = {ENVELOPE_OF})"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE versions SET etag = 'x' WHERE key = ?", "differ about its ETag"),
        ("UPDATE versions SET size = 1 WHERE key = ?", "differ about its size"),
        ("UPDATE versions SET modified_ms = 'noon' WHERE key = ?", "never written"),
        ("UPDATE versions SET etag = CAST(x'ff' AS TEXT) WHERE key = ?", "about its ETag"),
        ("UPDATE versions SET mode = 'SSE-S3' WHERE key = ?", "differ about its mode"),
        ("UPDATE versions SET envelope_id = 0 WHERE key = ?", "its envelope is missing"),
        (f"UPDATE envelopes SET envelope = x'00' WHERE envelope_id = {ENVELOPE_OF}", "be read"),
        (f"UPDATE bodies SET record = x'00' WHERE body_id = {BODY_OF}", "its envelope names"),
        (f"UPDATE bodies SET record = 'text' WHERE body_id = {BODY_OF}", "record is missing"),
        (f"DELETE FROM blobs WHERE body_id = {BODY_OF}", "does not know where its blob lies"),
    ],
)
def test_a_row_that_was_changed_is_found_without_any_key(store, change, told):
    store.change(change, b"small")

    found = [one["detail"] for one in store.damages(with_master_key=False) if "key" in one]

    assert any(told in detail for detail in found), found


def test_marks_and_server_side_envelopes_are_judged_with_the_master_key_only(store):
    which = f"WHERE envelope_id = {ENVELOPE_OF}"
    store.change(f"UPDATE envelopes SET marks = (SELECT marks FROM envelopes) {which}", b"small")
    ((envelope,),) = store.ask(f"SELECT envelope FROM envelopes {which}", b"server's")
    bent = envelope[:-1] + bytes([envelope[-1] ^ 1])
    store.change(f"UPDATE envelopes SET envelope = ? {which}", bent, b"server's")

    found = {one["key"]: one["detail"] for one in store.damages()}

    assert store.damages(with_master_key=False) == []
    assert found == {
        "server's": "its envelope does not open under the store's key",
        "small": "the marks of a version are not what was written there",
    }


def test_tables_that_contradict_each_other_are_found(store):
    store.change("UPDATE tallies SET objects = 77")
    store.change("UPDATE bodies SET refs = 3 WHERE refs = 1")

    found = [one["detail"] for one in store.damages() if "key" not in one]

    assert f"buckets whose objects are miscounted: {BUCKET}" in found
    assert any(one.startswith("bodies whose references are miscounted: ") for one in found)


def test_a_catalog_that_cannot_be_read_is_damage_and_no_crash(store):
    path = store.data_dir / "catalog.sqlite"
    pages = bytearray(path.read_bytes())
    pages[3 * 4096 :] = os.urandom(len(pages) - 3 * 4096)
    path.write_bytes(pages)

    told = store.scrub()

    assert told.exit_code == 1
    assert told.exception is None or isinstance(told.exception, SystemExit)


def test_a_key_with_control_characters_stays_on_its_line(store):
    store.change("UPDATE versions SET key = ? WHERE key = ?", b"a\n\x1b[2J\xff", b"large")

    told = store.scrub()

    (line,) = [
        line for line in told.stdout.splitlines() if "a\\n\\x1b[2J\\xff" in line and "row" in line
    ]
    assert line.startswith(f"damaged: s3://{BUCKET}/")


def test_a_store_can_be_scrubbed_while_its_server_writes(filled, tmp_path):
    data_dir, master_key = filled
    shutil.copytree(data_dir, tmp_path / "data")
    store = Copy(tmp_path / "data", master_key)
    with Strongroom(store.data_dir, env={"STRONGROOM_MASTER_KEY": master_key}) as server:
        client = server.boto3_client()
        for number in range(3):
            client.put_object(Bucket=BUCKET, Key=f"more {number}", Body=b"m" * 30_000, **OWN)
            client.delete_object(Bucket=BUCKET, Key="large")

            assert store.damages() == []
