"""Who is in an account, and access keys, in SQLite. Port: `strongroom.store.directory`.

Point reads run where they are asked for, reads of many rows on a reader's thread,
writes on the writer's (see `catalog`).
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import directory, records
from strongroom.store.sqlite.calls import Calls

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENTITY = "entity_id, account, kind, name, document, created_ms, version"
_CREDENTIAL = "access_key, user_id, sealed_secret, created_ms, member, is_active"

# ruff: noqa: S608 - what is formatted in are the column lists above; values are parameters


class SqliteDirectory(Calls):
    """See the module. Belongs to a catalog, and is closed with it."""

    async def entity(self, entity_id: str) -> directory.Entity | None:
        """See the port."""
        return self._here(_one, f"SELECT {_ENTITY} FROM entities WHERE entity_id = ?", entity_id)

    async def named(self, account: str, kind: str, name: str) -> directory.Entity | None:
        """See the port."""
        return self._here(
            _one,
            f"SELECT {_ENTITY} FROM entities WHERE account = ? AND kind = ? AND folded = ?",
            account,
            kind,
            name.lower(),
        )

    async def entities(self, account: str, kind: str) -> Sequence[directory.Entity]:
        """See the port."""
        return await self._read(_entities, account, kind)

    async def add(self, entity: directory.Entity) -> bool:
        """See the port."""
        return await self._write(_add, entity)

    async def change(self, entity: directory.Entity) -> bool:
        """See the port."""
        return await self._write(_change, entity)

    async def remove(self, entity_id: str) -> bool:
        """See the port."""
        return await self._write(_remove, entity_id)


def _one(conn: sqlite3.Connection, query: str, *values: str) -> directory.Entity | None:
    row = conn.execute(query, values).fetchone()
    return None if row is None else directory.Entity(*row)


def _entities(conn: sqlite3.Connection, account: str, kind: str) -> list[directory.Entity]:
    found = conn.execute(
        f"SELECT {_ENTITY} FROM entities WHERE account = ? AND kind = ? ORDER BY folded",
        (account, kind),
    )
    return [directory.Entity(*row) for row in found]


def _add(conn: sqlite3.Connection, entity: directory.Entity) -> bool:
    made = conn.execute(
        f"INSERT INTO entities ({_ENTITY}, folded) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (
            entity.entity_id,
            entity.account,
            entity.kind,
            entity.name,
            entity.document,
            entity.created_ms,
            entity.version,
            entity.name.lower(),
        ),
    )
    return made.rowcount == 1


def _change(conn: sqlite3.Connection, entity: directory.Entity) -> bool:
    changed = conn.execute(
        "UPDATE OR IGNORE entities SET name = ?, folded = ?, document = ?, version = ?"
        " WHERE entity_id = ? AND version = ?",
        (
            entity.name,
            entity.name.lower(),
            entity.document,
            entity.version,
            entity.entity_id,
            entity.version - 1,
        ),
    )
    return changed.rowcount == 1


def _remove(conn: sqlite3.Connection, entity_id: str) -> bool:
    conn.execute("DELETE FROM access_keys WHERE member = ?", (entity_id,))
    gone = conn.execute("DELETE FROM entities WHERE entity_id = ?", (entity_id,))
    return gone.rowcount == 1


# Access keys and accounts, for the catalog itself


def credential(
    conn: sqlite3.Connection, access_key: str
) -> tuple[records.Credential, records.User] | None:
    """See the catalog's port."""
    row = conn.execute(
        "SELECT k.access_key, k.user_id, k.sealed_secret, k.created_ms, k.member, k.is_active,"
        " coalesce(u.name, ''), coalesce(u.created_ms, 0)"
        " FROM access_keys k LEFT JOIN users u ON u.user_id = k.user_id WHERE k.access_key = ?",
        (access_key,),
    ).fetchone()
    if row is None:
        return None
    return _to_credential(row[:6]), records.User(row[1], *row[6:])


def _to_credential(row: tuple[str, str, bytes, int, str, int]) -> records.Credential:
    return records.Credential(*row[:5], is_active=bool(row[5]))


def credentials(
    conn: sqlite3.Connection, user_id: str, member: str
) -> Sequence[records.Credential]:
    """See the catalog's port."""
    found = conn.execute(
        f"SELECT {_CREDENTIAL} FROM access_keys WHERE user_id = ? AND member = ?"
        " ORDER BY created_ms, access_key",
        (user_id, member),
    )
    return [_to_credential(row) for row in found]


def add_credential(conn: sqlite3.Connection, added: records.Credential) -> bool:
    """See the catalog's port."""
    made = conn.execute(
        f"INSERT INTO access_keys ({_CREDENTIAL}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            added.access_key,
            added.user_id,
            added.sealed_secret,
            added.created_ms,
            added.member,
            int(added.is_active),
        ),
    )
    return made.rowcount == 1


def set_credential_active(conn: sqlite3.Connection, access_key: str, *, active: bool) -> bool:
    """See the catalog's port."""
    changed = conn.execute(
        "UPDATE access_keys SET is_active = ? WHERE access_key = ?", (int(active), access_key)
    )
    return changed.rowcount == 1


def remove_credential(conn: sqlite3.Connection, access_key: str) -> bool:
    """See the catalog's port."""
    gone = conn.execute("DELETE FROM access_keys WHERE access_key = ?", (access_key,))
    return gone.rowcount == 1


def add_user(conn: sqlite3.Connection, user: records.User, first: records.Credential) -> None:
    """See the catalog's port."""
    try:
        conn.execute(
            "INSERT INTO users (user_id, name, created_ms) VALUES (?, ?, ?)",
            (user.user_id, user.name, user.created_ms),
        )
    except sqlite3.IntegrityError as error:
        raise errors.UserExists(user.name) from error
    if not add_credential(conn, first):
        raise errors.UserExists(user.name)


def remove_user(conn: sqlite3.Connection, name: str) -> None:
    """See the catalog's port."""
    row = conn.execute("SELECT user_id FROM users WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise errors.UserNotFound(name)
    for statement in (
        "DELETE FROM access_keys WHERE user_id = ?",
        "DELETE FROM entities WHERE account = ?",
        "DELETE FROM users WHERE user_id = ?",
    ):
        conn.execute(statement, row)
