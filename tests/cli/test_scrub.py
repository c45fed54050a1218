"""`strongroom scrub` on stores of a real server, whole and damaged."""

# ruff: noqa: S608 - what is formatted into statements is our own text

import base64
import json
import os

import pytest


def test_a_sound_store_has_no_damage(stored):
    told = stored.run("scrub", "--json")

    report = json.loads(told.stdout)
    assert told.exit_code == 0
    assert report["damages"] == []
    # The shared body is read once: empty, small, large, server's, three parts, the open one.
    assert (report["versions"], report["uploads"], report["blobs"]) == (6, 1, 8)
    assert report["blob_bytes"] > 10 * 2**20
    assert report["row_macs_checked"] is True


def test_objects_and_parts_under_kms_keys_are_judged_without_the_kms(stored):
    with stored.serve() as server:
        client = server.boto3_client()
        for mode in ("aws:kms", "aws:kms:dsse"):
            options = {"Bucket": stored.bucket, "ServerSideEncryption": mode}
            for size in (0, 1000, 200_000):
                client.put_object(Key=f"{mode}-{size}", Body=bytes(size), **options)
            begun = client.create_multipart_upload(Key=mode, **options)
            for number, size in ((1, 1000), (2, 200_000)):
                client.upload_part(
                    Bucket=stored.bucket,
                    Key=mode,
                    UploadId=begun["UploadId"],
                    PartNumber=number,
                    Body=bytes(size),
                )
        client.close()
    assert stored.damages() == []

    stored.flip(stored.files("aws:kms:dsse-200000")[0], 150_000)

    (found,) = stored.damages(with_master_key=False)
    assert (found["key"], found["part"]) == ("aws:kms:dsse-200000", 1)


def test_without_the_master_key_the_rest_is_scrubbed_and_that_is_said(stored):
    told = stored.run("scrub", with_master_key=False)

    assert told.exit_code == 0
    assert told.stdout.startswith("no damage in 6 versions, 1 open uploads, 8 blobs")
    assert "for want of the master key" in told.stdout


def test_the_wrong_master_key_is_told_and_nothing_is_scrubbed(stored):
    stored.master_key = base64.b64encode(bytes(32)).decode()

    told = stored.run("scrub")

    assert told.exit_code == 1
    assert told.stdout == ""
    assert "not the one that this data directory was made with" in told.stderr


@pytest.mark.parametrize("at", [0, 100_000, -1])
def test_one_flipped_bit_names_every_object_part_and_file(stored, at):
    (path,) = stored.files("large")
    stored.flip(path, at)

    found = stored.damages(with_master_key=False)

    assert [(one["key"], one["part"]) for one in found] == [("large", 1), ("shares", 1)]
    for one in found:
        assert one["bucket"] == stored.bucket
        assert one["version_id"] == "null"
        assert one["detail"] == "its bytes are not those that were written"
        assert stored.data_dir / one["file"] == path


def test_damage_of_a_part_names_the_part(stored):
    stored.flip(stored.files("in parts")[1], 5_000_000)

    (found,) = stored.damages()

    assert (found["key"], found["part"]) == ("in parts", 2)


def test_a_file_that_is_cut_longer_missing_or_another_is_found(stored):
    first, second, _ = stored.files("in parts")
    (large,) = stored.files("large")
    (servers,) = stored.files("server's")
    large.write_bytes(large.read_bytes()[:-1])
    servers.unlink()
    swapped = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(swapped)

    found = {(one["key"], one["part"]): one["detail"] for one in stored.damages()}

    assert found == {
        ("in parts", 1): "its bytes are not those that were written",
        ("in parts", 2): "its bytes are not those that were written",
        ("large", 1): "its bytes are 200103 where 200104 were written",
        ("shares", 1): "its bytes are 200103 where 200104 were written",
        ("server's", 1): "its bytes are missing",
    }


def test_an_inline_blob_is_judged_too(stored):
    stored.change("UPDATE inline_blobs SET data = substr(data, 1, 60) || x'00' || substr(data, 62)")

    found = {(one["key"], one["part"]) for one in stored.damages(with_master_key=False)}

    assert found == {("empty", 1), ("small", 1), ("in parts", 3)}


def test_a_part_of_an_open_upload_is_judged_too(stored):
    ((place, upload_id),) = stored.ask("SELECT place, upload_id FROM parts JOIN uploads")
    stored.flip(stored.data_dir / "blobs" / place, 70_000)

    (found,) = stored.damages(with_master_key=False)

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
        ("UPDATE versions SET mode = '' WHERE key = ?", "differ about its mode"),
        ("UPDATE versions SET envelope_id = 0 WHERE key = ?", "its envelope is missing"),
        (f"UPDATE envelopes SET envelope = x'00' WHERE envelope_id = {ENVELOPE_OF}", "be read"),
        (f"UPDATE bodies SET record = x'00' WHERE body_id = {BODY_OF}", "its envelope names"),
        (f"UPDATE bodies SET record = 'text' WHERE body_id = {BODY_OF}", "record is missing"),
        (f"DELETE FROM blobs WHERE body_id = {BODY_OF}", "does not know where its blob lies"),
    ],
)
def test_a_row_that_was_changed_is_found_without_any_key(stored, change, told):
    stored.change(change, b"small")

    found = [one["detail"] for one in stored.damages(with_master_key=False) if "key" in one]

    assert any(told in detail for detail in found), found


def test_rot_in_what_a_customers_key_seals_is_found_without_it(stored):
    ((envelope,),) = stored.ask(
        f"SELECT envelope FROM envelopes WHERE envelope_id = {ENVELOPE_OF}", b"small"
    )
    # By hand, behind the back of the trigger that looks out for SQL.
    path = stored.data_dir / "catalog.sqlite"
    stored.flip(path, path.read_bytes().index(envelope) + len(envelope) - 1)

    found = [(one["key"], one["detail"]) for one in stored.damages(with_master_key=False)]

    assert found == [("small", "its envelope is not the one that was written")]


def test_an_envelope_that_sql_replaces_counts_as_one_without_a_digest(stored):
    ((envelope,),) = stored.ask(
        f"SELECT envelope FROM envelopes WHERE envelope_id = {ENVELOPE_OF}", b"small"
    )
    bent = envelope[:-1] + bytes([envelope[-1] ^ 1])
    which = f"WHERE envelope_id = {ENVELOPE_OF}"
    stored.change(f"UPDATE envelopes SET envelope = ? {which}", bent, b"small")

    assert stored.ask(f"SELECT digest FROM envelopes {which}", b"small") == [(b"",)]
    assert stored.damages(with_master_key=False) == []


def test_marks_and_server_side_envelopes_are_judged_with_the_master_key_only(stored):
    which = f"WHERE envelope_id = {ENVELOPE_OF}"
    stored.change(f"UPDATE envelopes SET marks = (SELECT marks FROM envelopes) {which}", b"small")
    ((envelope,),) = stored.ask(f"SELECT envelope FROM envelopes {which}", b"server's")
    bent = envelope[:-1] + bytes([envelope[-1] ^ 1])
    stored.change(f"UPDATE envelopes SET envelope = ? {which}", bent, b"server's")

    found = {one["key"]: one["detail"] for one in stored.damages()}

    assert stored.damages(with_master_key=False) == []
    assert found == {
        "server's": "its envelope does not open under the store's key",
        "small": "the marks of a version are not what was written there",
    }


def test_tables_that_contradict_each_other_are_found(stored):
    stored.change("UPDATE tallies SET objects = 77")
    stored.change("UPDATE bodies SET refs = 3 WHERE refs = 1")

    found = [one["detail"] for one in stored.damages() if "key" not in one]

    assert f"buckets whose objects are miscounted: {stored.bucket}" in found
    assert any(one.startswith("bodies whose references are miscounted: ") for one in found)


def test_a_catalog_that_cannot_be_read_is_damage_and_no_crash(stored):
    path = stored.data_dir / "catalog.sqlite"
    pages = bytearray(path.read_bytes())
    pages[3 * 4096 :] = os.urandom(len(pages) - 3 * 4096)
    path.write_bytes(pages)

    told = stored.run("scrub")

    assert told.exit_code == 1
    assert told.exception is None or isinstance(told.exception, SystemExit)


def test_a_key_with_control_characters_stays_on_its_line(stored):
    stored.change("UPDATE versions SET key = ? WHERE key = ?", b"a\n\x1b[2J\xff", b"large")

    told = stored.run("scrub")

    (line,) = [
        line for line in told.stdout.splitlines() if "a\\n\\x1b[2J\\xff" in line and "row" in line
    ]
    assert line.startswith(f"damaged: s3://{stored.bucket}/")


def test_a_store_can_be_scrubbed_while_its_server_writes(stored):
    with stored.serve() as server:
        client = server.boto3_client()
        for number in range(3):
            client.put_object(
                Bucket=stored.bucket, Key=f"more {number}", Body=b"m" * 30_000, **stored.own
            )
            client.delete_object(Bucket=stored.bucket, Key="large")

            assert stored.damages() == []
