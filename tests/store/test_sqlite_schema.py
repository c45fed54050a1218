"""Schema migrations: all or nothing, and nobody opens what they do not understand."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap

import pytest
from alembic import config, script

from strongroom import errors
from strongroom.store.sqlite import catalog as sqlite_catalog
from strongroom.store.sqlite import schema

NEWEST = max(file.name[:4] for file in (schema.SCRIPTS / "versions").glob("[0-9]*.py"))
NEXT = f"{int(NEWEST) + 1:04}"


NEWEST = max(file.name[:4] for file in (schema.SCRIPTS / "versions").glob("[0-9]*.py"))
NEXT = f"{int(NEWEST) + 1:04}"


def look(path):
    """Version, tables and indexes of a file."""
    conn = sqlite3.connect(path)
    try:
        names = {name for (name,) in conn.execute("SELECT name FROM sqlite_master")}
        if "alembic_version" not in names:
            return None, names
        return conn.execute("SELECT version_num FROM alembic_version").fetchone()[0], names
    finally:
        conn.close()


@pytest.fixture
def scripts(tmp_path):
    """A copy of the migrations, to which tests add."""
    copy = tmp_path / "migrations"
    shutil.copytree(schema.SCRIPTS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def add_step(scripts, body):
    text = """
from alembic import op

revision = "NEXT"
down_revision = "NEWEST"


def upgrade():
    op.execute("CREATE TABLE more (id INTEGER PRIMARY KEY)")
    op.execute("ALTER TABLE facts ADD COLUMN note TEXT")
    op.execute("INSERT INTO facts (name, value) VALUES ('migrated', x'02')")
"""
    text += textwrap.indent(body, "    ")
    text = text.replace("NEXT", NEXT).replace("NEWEST", NEWEST)
    (scripts / "versions" / f"{NEXT}_more.py").write_text(text)


def facts(path):
    conn = sqlite3.connect(path)
    try:
        return conn.execute("SELECT name FROM facts").fetchall()
    finally:
        conn.close()


def test_a_new_file_gets_the_newest_schema_and_belongs_to_its_owner_alone(tmp_path):
    path = tmp_path / "odd %41 name?.db"

    schema.migrate(path)

    version, names = look(path)
    assert version == NEWEST
    assert {"versions", "envelopes", "bodies", "blobs", "doomed"} <= names
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    conn = sqlite3.connect(path)
    assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    conn.close()


def test_log_and_index_belong_to_the_owner_alone_too(tmp_path):
    path = tmp_path / "catalog.db"
    schema.migrate(path)

    async def modes():
        one = sqlite_catalog.open_catalog(path)
        await one.establish("name", b"")
        found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        await one.close()
        return found

    assert asyncio.run(modes()) == {
        "catalog.db": 0o600,
        "catalog.db-wal": 0o600,
        "catalog.db-shm": 0o600,
    }


def test_migrating_again_changes_nothing_and_does_not_import_alembic(tmp_path):
    path = tmp_path / "catalog.db"
    schema.migrate(path)
    before = path.read_bytes()
    program = """
        import sys
        from pathlib import Path
        from strongroom.store.sqlite import catalog, schema

        schema.migrate(Path(sys.argv[1]))
        assert not {"alembic", "sqlalchemy"} & set(sys.modules)
    """

    subprocess.run(  # noqa: S603 - this interpreter, this script
        [sys.executable, "-c", textwrap.dedent(program), path], check=True
    )

    assert path.read_bytes() == before


def test_the_file_names_and_alembic_agree_on_the_newest_version():
    settings = config.Config()
    settings.set_main_option("script_location", str(schema.SCRIPTS))
    directory = script.ScriptDirectory.from_config(settings)

    revisions = sorted(step.revision for step in directory.walk_revisions())

    files = sorted(file.name[:4] for file in (schema.SCRIPTS / "versions").glob("[0-9]*.py"))
    assert revisions == files
    assert directory.get_current_head() == files[-1]


def test_a_step_keeps_the_data_and_takes_the_version_along(tmp_path, scripts):
    path = tmp_path / "catalog.db"
    schema.migrate(path)
    add_step(scripts, "pass")

    schema.migrate(path, scripts=scripts)

    version, names = look(path)
    assert version == NEXT
    assert "more" in names
    assert facts(path) == [("migrated",)]


def test_a_step_that_raises_leaves_the_old_schema(tmp_path, scripts):
    path = tmp_path / "catalog.db"
    schema.migrate(path)
    before = look(path)
    add_step(scripts, 'op.execute("INSERT INTO nowhere VALUES (1)")')

    with pytest.raises(errors.StoreFailed):
        schema.migrate(path, scripts=scripts)

    assert look(path) == before
    assert facts(path) == []


@pytest.mark.parametrize("begun", [False, True], ids=["from nothing", "from the newest"])
def test_a_kill_in_the_middle_leaves_the_old_schema(tmp_path, scripts, begun):
    path = tmp_path / "catalog.db"
    if begun:
        schema.migrate(path)
    before = look(path) if begun else (None, set())
    # More than the cache holds: a part of the step has reached the log by then.
    add_step(
        scripts,
        """
op.execute("PRAGMA cache_size = 10")
op.execute("CREATE TABLE bulk (data BLOB)")
for _ in range(50):
    op.execute("INSERT INTO bulk VALUES (zeroblob(50000))")
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
""",
    )
    program = """
        import sys
        from pathlib import Path
        from strongroom.store.sqlite import schema

        schema.migrate(Path(sys.argv[1]), scripts=Path(sys.argv[2]))
    """

    killed = subprocess.run(  # noqa: S603 - this interpreter, this script
        [sys.executable, "-c", textwrap.dedent(program), path, scripts], check=False
    )

    assert killed.returncode == -signal.SIGKILL
    assert path.with_name("catalog.db-wal").stat().st_size > 1_000_000
    assert look(path) == before
    add_step(scripts, "pass")
    schema.migrate(path, scripts=scripts)
    assert look(path)[0] == NEXT


def test_a_file_from_a_newer_release_is_refused_and_left_alone(tmp_path, scripts):
    path = tmp_path / "catalog.db"
    add_step(scripts, "pass")
    schema.migrate(path, scripts=scripts)
    before = path.read_bytes()

    with pytest.raises(errors.StoreFailed, match="newer release"):
        schema.migrate(path)
    with pytest.raises(errors.StoreFailed, match="newer release"):
        sqlite_catalog.open_catalog(path)

    assert path.read_bytes() == before


def test_a_file_that_was_not_migrated_is_not_opened(tmp_path):
    path = tmp_path / "catalog.db"
    path.touch()

    with pytest.raises(errors.StoreFailed, match="migrated first"):
        sqlite_catalog.open_catalog(path)
    with pytest.raises(errors.StoreFailed):
        sqlite_catalog.open_catalog(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "catalog.db"
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE songs (title TEXT)")
    conn.commit()
    conn.close()
    before = path.read_bytes()

    with pytest.raises(errors.StoreFailed, match="something else"):
        schema.migrate(path)

    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "catalog.db"
    path.write_bytes(b"shopping list\n" * 1000)

    with pytest.raises(errors.StoreFailed):
        schema.migrate(path)

    assert path.read_bytes() == b"shopping list\n" * 1000
