"""The check-up of a data directory: what is well, what is not, and what to do."""

import base64
import dataclasses
import datetime as dt
import io
import os
import sqlite3

import pytest

from strongroom.server import build, checkup, home, observe, settings, tls

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
Status = checkup.Status


@pytest.fixture
def chosen(tmp_path):
    """A store after its first start, with a private master key in its directory."""
    wanted = settings.Settings(data_dir=tmp_path / "data", data_dir_given=True)
    with home.opened(wanted, observe.reporter(io.StringIO())) as completed:
        build.prepare(completed)
        tls.ensure(completed.data_dir / home.TLS, None, NOW)
    return wanted


def look(chosen, now=NOW, **options):
    """Return the findings by their checks; of several of one check the worst."""
    worst = {}
    order = list(Status)
    for one in checkup.examine(chosen, now=now, **options):
        if one.check not in worst or order.index(one.status) > order.index(worst[one.check].status):
            worst[one.check] = one
    return worst


def test_a_store_after_its_first_start_fails_nothing(chosen):
    found = look(chosen)

    assert [one for one in found.values() if one.status is Status.FAIL] == []
    assert {
        "SQLite",
        "clock",
        "data directory",
        "server",
        "disk space",
        "file system",
        "place of the master key",
        "secrets",
        "catalog",
        "write-ahead log",
        "certificate",
        "local CA",
    } <= found.keys()


def test_what_is_not_well_comes_with_what_to_do_and_what_is_well_does_not(chosen):
    (chosen.data_dir / "master.key").chmod(0o644)

    for one in checkup.examine(chosen, now=NOW + dt.timedelta(days=380)):
        assert bool(one.advice) == (one.status is not Status.OK), one


def test_nothing_is_changed(chosen):
    def state():
        return {
            path: (path.stat().st_mode, path.stat().st_mtime_ns, path.stat().st_size)
            for path in chosen.data_dir.rglob("*")
            if not path.name.endswith(("-wal", "-shm"))
        }

    before = state()
    look(chosen, thorough=True)

    after = state()
    assert {path: after[path][0] for path in before} == {path: before[path][0] for path in before}
    assert {p: s for p, s in after.items() if p.is_file()} == {
        p: s for p, s in before.items() if p.is_file()
    }


def test_a_directory_that_is_not_there_fails(tmp_path):
    found = look(settings.Settings(data_dir=tmp_path / "none"))

    assert found["data directory"].status is Status.FAIL
    assert "catalog" not in found
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("name", "check", "status"),
    [
        ("", "data directory", Status.WARN),
        ("master.key", "master.key", Status.FAIL),
        ("root-credentials.json", "root-credentials.json", Status.FAIL),
        ("tls/server.key", "tls/server.key", Status.FAIL),
    ],
)
def test_what_others_may_read_is_told(chosen, name, check, status):
    path = chosen.data_dir / name
    path.chmod(0o755 if path.is_dir() else 0o640)

    found = look(chosen)[check]

    assert found.status is status
    assert "chmod" in found.advice


def test_a_running_server_is_seen(chosen):
    with home.opened(chosen, observe.reporter(io.StringIO())):
        found = look(chosen)["server"]

    assert found.found == f"process {os.getpid()} is running"
    assert look(chosen)["server"].found == "none is running"


@pytest.mark.parametrize("how", ["missing", "other", "malformed"])
def test_a_master_key_that_is_not_this_stores_fails(chosen, how):
    assert look(chosen)["secrets"].status is Status.OK
    path = chosen.data_dir / "master.key"
    _establish(chosen, "master-key-check", b"c" * 32)
    if how == "missing":
        path.unlink()
    elif how == "malformed":
        path.write_text("no key\n")
    else:
        path.write_bytes(base64.b64encode(b"m" * 32))

    found = look(chosen)

    assert found["master key" if how == "other" else "secrets"].status is Status.FAIL


def test_a_master_key_in_the_environment_is_better(chosen):
    key = (chosen.data_dir / "master.key").read_text()
    (chosen.data_dir / "master.key").unlink()

    found = look(dataclasses.replace(chosen, master_key=settings.parse_master_key(key)))

    assert "place of the master key" not in found
    assert found["secrets"].status is Status.OK


def test_a_damaged_catalog_fails(chosen):
    path = chosen.data_dir / build.CATALOG_NAME
    raw = bytearray(path.read_bytes())
    raw[4096 : 4096 + 64] = b"\xff" * 64
    path.write_bytes(raw)

    assert look(chosen)["catalog"].status is Status.FAIL


def test_a_catalog_of_a_newer_release_is_told(chosen):
    _change(chosen, "UPDATE alembic_version SET version_num = '9999'")

    found = look(chosen)["schema"]

    assert found.status is Status.WARN
    assert "9999" in found.found


def test_a_missing_catalog_beside_blobs_fails(chosen):
    (chosen.data_dir / build.CATALOG_NAME).unlink()

    assert look(chosen)["catalog"].status is Status.OK
    (chosen.data_dir / build.BLOBS_NAME).mkdir()
    assert look(chosen)["catalog"].status is Status.FAIL


def test_blobs_of_another_store_fail(chosen):
    _establish(chosen, "store-id", b"i" * 16)
    blobs = chosen.data_dir / build.BLOBS_NAME
    blobs.mkdir()

    (blobs / "store-id").write_bytes(b"i" * 16)
    assert look(chosen)["blobs"].status is Status.OK
    (blobs / "store-id").write_bytes(b"o" * 16)
    assert look(chosen)["blobs"].status is Status.FAIL


def test_strays_are_told(chosen):
    lost = chosen.data_dir / build.BLOBS_NAME / "lost"
    lost.mkdir(parents=True)
    (lost / "stray").touch()

    assert look(chosen)["strays"].found.startswith("1 in ")


@pytest.mark.parametrize(
    ("days", "status"), [(0, Status.OK), (380, Status.WARN), (398, Status.FAIL), (-2, Status.FAIL)]
)
def test_a_certificate_that_runs_out_is_told(chosen, days, status):
    assert look(chosen, NOW + dt.timedelta(days=days))["certificate"].status is status


def test_a_certificate_of_the_operators_is_looked_at_instead(chosen):
    pair = tls.made(chosen.data_dir / home.TLS)
    pair.key.chmod(0o604)
    own = dataclasses.replace(chosen, tls_cert=pair.cert, tls_key=pair.key)

    assert look(own)["certificate's key"].status is Status.WARN
    broken = dataclasses.replace(own, tls_cert=pair.ca)
    assert look(broken)["certificate"].status is Status.FAIL


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 9), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_versions_of_sqlite_with_the_wal_reset_bug_are_known(version, fixed):
    assert checkup.is_wal_reset_fixed(version) is fixed


def _establish(chosen, name, value):
    _change(chosen, "INSERT INTO facts (name, value) VALUES (?, ?)", name, value)


def _change(chosen, sql, *values):
    conn = sqlite3.connect(chosen.data_dir / build.CATALOG_NAME)
    with conn:
        conn.execute(sql, values)
    conn.close()
