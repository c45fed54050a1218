"""Rows that hold something sealed under the master key: which of them are what they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.keyring import master, masters, sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.crypto import secret
    from strongroom.store.sqlite import small_tables

_BY_HAND = 1_000
"""A source that comes after all others."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it, as sentences: rows that a sound copy stands in for, and rows without one."""

    mended: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def judge(small: small_tables.SmallTables, key: secret.SecretKey | None) -> Verdict:
    """Judge store keys, materials of KMS keys and secrets of users, and replace rotten ones.

    Args:
        small: what was found, of all sources.
        key: the master key; without it nothing is judged.

    Raises:
        MasterKeyTrouble: everything there was made under another master key.
    """
    if key is None:
        return Verdict()
    keeper = master.Master(key)
    check = keeper.check_value()

    def is_check(row: small_tables.Named) -> bool:
        return row.get("name") != sources.MASTER_CHECK or row.get("value") == check

    def store_key_opens(row: small_tables.Named) -> bool:
        number, wrapped = row.get("number"), row.get("wrapped")
        return (
            isinstance(number, int)
            and isinstance(wrapped, bytes)
            and _opens(lambda: keeper.unwrap_store_key(number, wrapped))
        )

    def credential_opens(row: small_tables.Named) -> bool:
        name, user_id, sealed = row.get("access_key"), row.get("user_id"), row.get("sealed_secret")
        return (
            isinstance(name, str)
            and isinstance(user_id, str)
            and isinstance(sealed, bytes)
            and _opens(lambda: keeper.open_credential(name, user_id, sealed))
        )

    specs = {row.get("key_id"): row.get("spec") for row in small.rows("kms_keys")}

    def material_opens(row: small_tables.Named) -> bool:
        key_id, version, sealed = row.get("key_id"), row.get("version"), row.get("wrapped")
        spec = specs.get(key_id)
        return (
            isinstance(key_id, str)
            and isinstance(version, int)
            and isinstance(sealed, bytes)
            and isinstance(spec, str)
            and masters.opens(keeper, key_id, version, spec, sealed)
        )

    checks = [row for row in small.rows("facts") if row.get("name") == sources.MASTER_CHECK]
    if (
        checks
        and not any(map(is_check, checks))
        and not any(map(store_key_opens, small.rows("store_keys")))
    ):
        sources.check_master(b"", keeper)
    small.add("facts", ["name", "value"], [(sources.MASTER_CHECK, check)], _BY_HAND, spare=True)
    mended, lost = [], []
    for table, what, columns, is_sound, lasting in (
        ("facts", "the fact", ("name",), is_check, False),
        ("store_keys", "store key", ("number",), store_key_opens, True),
        ("kms_materials", "the material of KMS key", ("key_id", "version"), material_opens, False),
        ("access_keys", "the secret of access key", ("access_key",), credential_opens, False),
    ):
        judged = small.judge(table, columns, is_sound, lasting=lasting)
        mended += [f"{what} {_named(one)}" for one in judged.mended]
        lost += [f"{what} {_named(one)} is damaged, and no copy of it opens" for one in judged.lost]
    return Verdict(tuple(mended), tuple(lost))


def _opens(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except errors.NotAuthentic:
        return False
    return True


def _named(key: tuple[object, ...]) -> str:
    return " ".join(map(str, key))
