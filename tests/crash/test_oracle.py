"""The judge of the ordeals: what may be there, and whether it notices what may not."""

import contextlib
import shutil

import pytest
from ordeal import audit, content, inventory, load, oracle, serving
from ordeal.client import Client
from ordeal.serving import BUCKET


def state(meta):
    return oracle.State(content=((0, 10),), customer=None, meta=meta)


@pytest.fixture
def judge():
    return oracle.Oracle()


def test_nothing_was_there_at_first(judge):
    assert judge.candidates("a") == [None]


def test_an_acknowledged_write_is_there(judge):
    judge.begin("a", state("one")).acknowledged()

    assert judge.candidates("a") == [state("one")]


def test_a_write_in_flight_may_be_there(judge):
    judge.begin("a", state("one")).acknowledged()
    judge.begin("a", state("two"))

    assert judge.candidates("a") == [state("one"), state("two")]


def test_a_refused_write_is_not_there(judge):
    judge.begin("a", state("one")).refused()

    assert judge.candidates("a") == [None]


def test_of_two_writes_at_a_time_either_may_be_there(judge):
    one, two = judge.begin("a", state("one")), judge.begin("a", state("two"))
    two.acknowledged()
    one.acknowledged()

    assert judge.candidates("a") == [state("one"), state("two")]


def test_a_write_that_failed_gives_way_to_a_later_one(judge):
    judge.begin("a", state("one")).failed()
    judge.begin("a", state("two")).acknowledged()

    assert judge.candidates("a") == [state("two")]


def test_a_write_that_nobody_answered_may_come_late(judge):
    judge.begin("a", state("one"))
    judge.begin("a", None).acknowledged()

    assert judge.candidates("a") == [state("one"), None]


def test_what_was_seen_stays(judge):
    judge.begin("a", state("one"))
    judge.settle("a", None)

    assert judge.candidates("a") == [None]


@pytest.fixture
def stored(tmp_path):
    """A stopped store with an object in a file and one in the catalog, and their oracle."""
    told = load.scene("stored", most=content.MIB)
    server = serving.Servers(tmp_path / "data").make()
    with server, contextlib.closing(Client(server, BUCKET)) as client:
        client.create_bucket()
        for key, size in (("file", 100_000), ("inline", 100)):
            names = ((1, size),)
            write = told.oracle.begin(key, oracle.State(names, None, f"of {key}"))
            answer = client.put(key, told.pool.body(names), meta=f"of {key}")
            write.acknowledged(answer.etag)
    return told, server


def audited(stored):
    told, server = stored
    found = audit.Found()
    with server:
        audit.Audit(told, server, BUCKET, content.drawer("audit"), found).run()
    return found


def a_blob(server):
    (place,) = inventory.blob_files(server.data_dir)
    return server.data_dir / "blobs" / place


@pytest.mark.slow
def test_an_audit_of_what_is_right_finds_nothing(stored):
    found = audited(stored)

    assert (found.objects, found.losses, found.strays) == (2, [], [])


@pytest.mark.slow
def test_an_audit_notices_a_lost_blob(stored):
    a_blob(stored[1]).unlink()

    found = audited(stored)

    assert [text[:5] for text in found.losses] == ["file:"]


@pytest.mark.slow
def test_an_audit_notices_a_store_that_forgot_a_write(stored):
    stored[0].oracle.begin("inline", oracle.State(((5, 7),), None, "newer")).acknowledged()

    found = audited(stored)

    assert [text[:7] for text in found.losses] == ["inline:"]


def test_an_inventory_notices_a_stray_and_a_dangling_reference(stored):
    blob = a_blob(stored[1])
    shutil.move(blob, blob.with_name("0" * 32))

    found = inventory.faults(stored[1].data_dir)

    assert [text.partition(":")[0] for text in found] == [
        "references without a file",
        "files without a reference",
    ]


def test_an_inventory_notices_a_short_file(stored):
    blob = a_blob(stored[1])
    blob.write_bytes(blob.read_bytes()[:-1])

    assert "another length" in inventory.faults(stored[1].data_dir)[0]
