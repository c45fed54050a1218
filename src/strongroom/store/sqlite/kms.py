"""What the key management service remembers, in SQLite. Port: `strongroom.store.kms.KmsStore`.

Point reads run where they are asked for, reads of many rows on a reader's thread,
writes on the writer's (see `catalog`). What is never searched for stands in one JSON
document per key and per grant.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.store import kms
from strongroom.store.sqlite.calls import Calls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_KEY = (
    "key_id, spec, usage, created_ms, creator, policy, manager, description, version, enabled,"
    " deletion_ms, deletion_days, rotation_days, rotated_ms, tags"
)
_KEY_PLACES = ", ".join("?" * 15)
_MATERIAL = "key_id, version, wrapped, created_ms, cause"
_ALIAS = "name, key_id, created_ms, changed_ms"
_GRANT = (
    "grant_id, key_id, name, grantee, retiring, operations, context_equals, context_subset,"
    " created_ms, issuer"
)
_GRANT_PLACES = ", ".join("?" * 10)

Row = tuple[Any, ...]


class SqliteKms(Calls):
    """See the module. Belongs to a catalog, and is closed with it."""

    # Keys

    async def key(self, key_id: str) -> kms.Key:
        """See the port."""
        return self._here(_key, key_id)

    async def keys(self, *, after: str = "", limit: int) -> Sequence[kms.Key]:
        """See the port."""
        return await self._read(_keys, "WHERE key_id > ? ORDER BY key_id LIMIT ?", (after, limit))

    async def add_key(
        self, key: kms.Key, material: kms.Material, alias: kms.Alias | None = None
    ) -> bool:
        """See the port."""
        try:
            await self._write(_add_key, key, material, alias)
        except _Taken:
            return False
        return True

    async def change_key(self, key_id: str, change: kms.Change) -> kms.Key:
        """See the port."""
        return await self._write(_change_key, key_id, change)

    async def remove_key(self, key_id: str, guard: Callable[[kms.Key], None]) -> None:
        """See the port."""
        await self._write(_remove_key, key_id, guard)

    async def doomed_keys(self, now_ms: int) -> Sequence[kms.Key]:
        """See the port."""
        return await self._read(_keys, "WHERE deletion_ms BETWEEN 1 AND ?", (now_ms,))

    async def rotating_keys(self) -> Sequence[kms.Key]:
        """See the port."""
        return await self._read(_keys, "WHERE rotation_days > 0", ())

    # Materials

    async def material(self, key_id: str, version: int) -> kms.Material | None:
        """See the port."""
        return self._here(_material, key_id, version)

    async def materials(self, key_id: str) -> Sequence[kms.Material]:
        """See the port."""
        return await self._read(_materials, key_id)

    async def rotate(self, material: kms.Material, change: kms.Change) -> kms.Key | None:
        """See the port."""
        return await self._write(_rotate, material, change)

    # Aliases

    async def alias(self, name: str) -> kms.Alias | None:
        """See the port."""
        return self._here(_alias, name)

    async def aliases(
        self, *, key_id: str | None = None, after: str = "", limit: int
    ) -> Sequence[kms.Alias]:
        """See the port."""
        return await self._read(_aliases, key_id, after, limit)

    async def add_alias(self, alias: kms.Alias) -> bool:
        """See the port."""
        return await self._write(_add_alias, alias)

    async def move_alias(self, name: str, key_id: str, now_ms: int) -> bool:
        """See the port."""
        return await self._write(_move_alias, name, key_id, now_ms)

    async def remove_alias(self, name: str) -> bool:
        """See the port."""
        return await self._write(_remove, "DELETE FROM kms_aliases WHERE name = ?", name)

    # Grants

    async def add_grant(self, grant: kms.Grant) -> None:
        """See the port."""
        await self._write(_add_grant, grant)

    async def grant(self, grant_id: str) -> kms.Grant | None:
        """See the port."""
        return self._here(_grant, grant_id)

    async def grants(
        self,
        *,
        key_id: str | None = None,
        grantee: str | None = None,
        retiring: str | None = None,
        after: str = "",
        limit: int,
    ) -> Sequence[kms.Grant]:
        """See the port."""
        return await self._read(_grants, key_id, grantee, retiring, after, limit)

    async def remove_grant(self, grant_id: str) -> bool:
        """See the port."""
        return await self._write(_remove, "DELETE FROM kms_grants WHERE grant_id = ?", grant_id)


class _Taken(Exception):
    """A name is taken. Raised so that the savepoint is rolled back."""


# ruff: noqa: S608 - what is formatted in are the column lists above; values are parameters


def _to_key(row: Row) -> kms.Key:
    # SQLite has no booleans, and tags are a document.
    fields = [*row[:9], bool(row[9]), *row[10:14], json.loads(row[14])]
    return kms.Key(*fields)


def _from_key(key: kms.Key) -> Row:
    return (
        key.key_id,
        key.spec,
        key.usage,
        key.created_ms,
        key.creator,
        key.policy,
        key.manager,
        key.description,
        key.version,
        int(key.enabled),
        key.deletion_ms,
        key.deletion_days,
        key.rotation_days,
        key.rotated_ms,
        json.dumps(dict(key.tags)),
    )


def _key(conn: sqlite3.Connection, key_id: str) -> kms.Key:
    row = conn.execute(f"SELECT {_KEY} FROM kms_keys WHERE key_id = ?", (key_id,)).fetchone()
    if row is None:
        raise errors.KmsKeyNotFound(f"Key '{key_id}' does not exist")
    return _to_key(row)


def _keys(conn: sqlite3.Connection, where: str, values: Row) -> list[kms.Key]:
    return [_to_key(row) for row in conn.execute(f"SELECT {_KEY} FROM kms_keys {where}", values)]


def _put_key(conn: sqlite3.Connection, key: kms.Key) -> None:
    conn.execute(
        f"UPDATE kms_keys SET ({_KEY}) = ({_KEY_PLACES}) WHERE key_id = ?",
        (*_from_key(key), key.key_id),
    )


def _add_key(
    conn: sqlite3.Connection, key: kms.Key, material: kms.Material, alias: kms.Alias | None
) -> None:
    try:
        conn.execute(f"INSERT INTO kms_keys ({_KEY}) VALUES ({_KEY_PLACES})", _from_key(key))
        _add_material(conn, material)
        if alias is not None:
            _insert_alias(conn, alias)
    except sqlite3.IntegrityError as error:
        raise _Taken from error


def _change_key(conn: sqlite3.Connection, key_id: str, change: kms.Change) -> kms.Key:
    changed = change(_key(conn, key_id))
    _put_key(conn, changed)
    return changed


def _remove_key(conn: sqlite3.Connection, key_id: str, guard: Callable[[kms.Key], None]) -> None:
    try:
        guard(_key(conn, key_id))
    except errors.KmsKeyNotFound:
        return
    # Materials, aliases and grants go with it by the schema's ON DELETE CASCADE.
    conn.execute("DELETE FROM kms_keys WHERE key_id = ?", (key_id,))


def _add_material(conn: sqlite3.Connection, material: kms.Material) -> None:
    conn.execute(
        f"INSERT INTO kms_materials ({_MATERIAL}) VALUES (?, ?, ?, ?, ?)",
        (
            material.key_id,
            material.version,
            material.wrapped,
            material.created_ms,
            material.cause,
        ),
    )


def _material(conn: sqlite3.Connection, key_id: str, version: int) -> kms.Material | None:
    row = conn.execute(
        f"SELECT {_MATERIAL} FROM kms_materials WHERE key_id = ? AND version = ?",
        (key_id, version),
    ).fetchone()
    return None if row is None else kms.Material(*row)


def _materials(conn: sqlite3.Connection, key_id: str) -> list[kms.Material]:
    found = conn.execute(
        f"SELECT {_MATERIAL} FROM kms_materials WHERE key_id = ? ORDER BY version", (key_id,)
    )
    return [kms.Material(*row) for row in found]


def _rotate(conn: sqlite3.Connection, material: kms.Material, change: kms.Change) -> kms.Key | None:
    key = _key(conn, material.key_id)
    if material.version != key.version + 1:
        return None
    changed = dataclasses.replace(change(key), version=material.version)
    _add_material(conn, material)
    _put_key(conn, changed)
    return changed


def _alias(conn: sqlite3.Connection, name: str) -> kms.Alias | None:
    row = conn.execute(f"SELECT {_ALIAS} FROM kms_aliases WHERE name = ?", (name,)).fetchone()
    return None if row is None else kms.Alias(*row)


def _aliases(
    conn: sqlite3.Connection, key_id: str | None, after: str, limit: int
) -> list[kms.Alias]:
    found = conn.execute(
        f"SELECT {_ALIAS} FROM kms_aliases WHERE name > ?1 AND (?2 IS NULL OR key_id = ?2)"
        " ORDER BY name LIMIT ?3",
        (after, key_id, limit),
    )
    return [kms.Alias(*row) for row in found]


def _insert_alias(conn: sqlite3.Connection, alias: kms.Alias) -> None:
    conn.execute(
        f"INSERT INTO kms_aliases ({_ALIAS}) VALUES (?, ?, ?, ?)",
        (alias.name, alias.key_id, alias.created_ms, alias.changed_ms),
    )


def _add_alias(conn: sqlite3.Connection, alias: kms.Alias) -> bool:
    _key(conn, alias.key_id)
    if _alias(conn, alias.name) is not None:
        return False
    _insert_alias(conn, alias)
    return True


def _move_alias(conn: sqlite3.Connection, name: str, key_id: str, now_ms: int) -> bool:
    _key(conn, key_id)
    moved = conn.execute(
        "UPDATE kms_aliases SET key_id = ?, changed_ms = ? WHERE name = ?", (key_id, now_ms, name)
    )
    return moved.rowcount == 1


def _remove(conn: sqlite3.Connection, statement: str, name: str) -> bool:
    return conn.execute(statement, (name,)).rowcount == 1


def _to_grant(row: Row) -> kms.Grant:
    grant_id, key_id, name, grantee, retiring, operations, equals, subset, created, issuer = row
    return kms.Grant(
        grant_id=grant_id,
        key_id=key_id,
        name=name,
        grantee=grantee,
        retiring=retiring,
        operations=tuple(json.loads(operations)),
        context_equals=json.loads(equals),
        context_subset=json.loads(subset),
        created_ms=created,
        issuer=issuer,
    )


def _add_grant(conn: sqlite3.Connection, grant: kms.Grant) -> None:
    _key(conn, grant.key_id)
    equals, subset = grant.context_equals, grant.context_subset
    conn.execute(
        f"INSERT INTO kms_grants ({_GRANT}) VALUES ({_GRANT_PLACES})",
        (
            grant.grant_id,
            grant.key_id,
            grant.name,
            grant.grantee,
            grant.retiring,
            json.dumps(grant.operations),
            json.dumps(None if equals is None else dict(equals)),
            json.dumps(None if subset is None else dict(subset)),
            grant.created_ms,
            grant.issuer,
        ),
    )


def _grant(conn: sqlite3.Connection, grant_id: str) -> kms.Grant | None:
    row = conn.execute(
        f"SELECT {_GRANT} FROM kms_grants WHERE grant_id = ?", (grant_id,)
    ).fetchone()
    return None if row is None else _to_grant(row)


def _grants(
    conn: sqlite3.Connection,
    key_id: str | None,
    grantee: str | None,
    retiring: str | None,
    after: str,
    limit: int,
) -> list[kms.Grant]:
    found = conn.execute(
        f"SELECT {_GRANT} FROM kms_grants WHERE grant_id > ?1"
        " AND (?2 IS NULL OR key_id = ?2) AND (?3 IS NULL OR grantee = ?3)"
        " AND (?4 IS NULL OR retiring = ?4) ORDER BY grant_id LIMIT ?5",
        (after, key_id, grantee, retiring, limit),
    )
    return [_to_grant(row) for row in found]
