"""The schema's version: what a file has, what this release needs, and the way there.

Migrations are Alembic scripts under `migrations/versions`, numbered from 0001
in one line. All that a file lacks run in one transaction together with the row
that names its version, so a kill at any moment leaves the old schema or the new.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from strongroom import errors
from strongroom.store.sqlite import connection

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(path: Path, *, scripts: Path = SCRIPTS) -> None:
    """Bring the file to the newest schema; make it, mode 0600, if it is missing. Blocking.

    For the process that starts the others, before any of them opens the catalog.

    Raises:
        StoreFailed: the file was written by a newer release, or is not a catalog.
        StoreFull: no space; the file is as it was.
    """
    try:
        _create(path)
        conn = connection.connect(path)
        try:
            if _is_newest(conn, scripts):
                return
            # WAL is a property of the file, and cannot be set inside a transaction.
            mode = conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise errors.StoreFailed(f"catalog: journal mode {mode} where WAL is needed")
        finally:
            conn.close()
        _upgrade(path, scripts)
    except (sqlite3.Error, OSError) as error:
        raise connection.trouble(error) from error


def newest(*, scripts: Path = SCRIPTS) -> str:
    """Return the version of the schema that this release works with."""
    return max(file.stem[:4] for file in (scripts / "versions").glob("[0-9]*.py"))


def require_newest(conn: sqlite3.Connection) -> None:
    """Check that a file has the schema that this release works with.

    Raises:
        StoreFailed: it has another.
        sqlite3.Error: it cannot be read.
    """
    if not _is_newest(conn, SCRIPTS):
        raise errors.StoreFailed("the catalog has an older schema and must be migrated first")


def _create(path: Path) -> None:
    """Make an empty file, which SQLite takes for an empty database, and make its name durable."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _is_newest(conn: sqlite3.Connection, scripts: Path) -> bool:
    """Compare versions in plain SQL: importing Alembic takes longer than all the rest of a start."""
    known = sorted(file.stem[:4] for file in (scripts / "versions").glob("[0-9]*.py"))
    tables = {row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return False
    if "alembic_version" not in tables:
        raise errors.StoreFailed("the catalog's file is a database of something else")
    version = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    if version is None or version[0] not in known:
        raise errors.StoreFailed(
            f"the catalog has schema {version[0] if version else 'none'} and this release knows"
            f" {known[-1]} at most: it was written by a newer release, which has to open it"
        )
    return bool(version[0] == known[-1])


def _upgrade(path: Path, scripts: Path) -> None:
    # Alembic brings SQLAlchemy along, which nothing else here needs.
    from alembic import command, config  # noqa: PLC0415 - slow, and seldom needed
    from sqlalchemy import create_engine, event, exc, pool  # noqa: PLC0415 - likewise

    def creator() -> sqlite3.Connection:
        # Foreign keys stay off: a migration may have to rebuild a table that others refer to.
        conn = connection.connect(path)
        conn.execute("PRAGMA foreign_keys = OFF")
        return conn

    engine = create_engine("sqlite://", creator=creator, poolclass=pool.NullPool)
    # The connection is in autocommit mode, so that the sqlite3 module begins and commits
    # nothing by itself around DDL; hence this is the only BEGIN.
    event.listen(engine, "begin", lambda link: link.exec_driver_sql("BEGIN IMMEDIATE"))
    settings = config.Config()
    settings.set_main_option("script_location", str(scripts).replace("%", "%%"))
    try:
        with engine.begin() as link:
            settings.attributes["connection"] = link
            command.upgrade(settings, "head")
    except exc.DBAPIError as error:
        raise (error.orig or error) from error
    finally:
        engine.dispose()
