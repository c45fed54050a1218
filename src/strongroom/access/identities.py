"""Principals and the credentials they prove themselves with."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.access import policy
from strongroom.crypto import secret
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.keyring import master
    from strongroom.store import catalog

ROOT_NAME = "root"
ROOT_ID = hashlib.sha256(b"strongroom root user").hexdigest()
"""Canonical id of root: the same in every store and whatever root's credentials are."""

ACCESS_KEY_BYTES = 3, 128
"""Shortest and longest access key. Source: AccessKeyIdType in AWS's IAM API, from 16; ours takes
shorter ones, since other stores' users bring such keys with them."""
_ACCESS_KEY = re.compile(r"[A-Za-z0-9._-]+")
SECRET_KEY_BYTES = 8, 128
"""Shortest and longest secret key."""

_SECRET_CACHE = 1024
"""Opened secrets kept in memory. The key of an entry is the sealed secret, which never changes."""


_ACCOUNTS = 10**12


def account_of(user_id: str) -> str:
    """Return the account id, 12 digits, of whoever has this canonical id."""
    digest = hashlib.sha256(b"strongroom account " + user_id.encode()).digest()
    return f"{int.from_bytes(digest[:8]) % _ACCOUNTS:012d}"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: canonical user id, and the name to show.

    Each user is an account of its own, and that account's owner.
    """

    user_id: str
    name: str
    is_root: bool = False
    is_anonymous: bool = False

    @property
    def account_id(self) -> str:
        """Twelve digits that stand for the account in ARNs."""
        return account_of(self.user_id)

    @property
    def arn(self) -> str:
        """The name under which requests come, in conditions and logs; empty if unsigned."""
        return "" if self.is_anonymous else f"arn:aws:iam::{self.account_id}:root"

    @property
    def asker(self) -> policy.Asker:
        """The names under which policies may speak of this principal."""
        if self.is_anonymous:
            return policy.NOBODY
        account = self.account_id
        names = frozenset(
            {
                self.user_id,
                account,
                self.arn,
                # How AWS writes an account's user, and how stores without accounts do.
                f"arn:aws:iam::{account}:user/{self.name}",
                f"arn:aws:iam:::user/{self.name}",
            }
        )
        return policy.Asker(names, names)


ANONYMOUS_ID = "65a011a29cdf8ec533ec3d1ccaae921c"
"""Owner of what somebody unknown wrote. Source: S3 shows this id for such objects."""

ANONYMOUS = Principal(user_id=ANONYMOUS_ID, name="anonymous", is_anonymous=True)
ROOT = Principal(user_id=ROOT_ID, name=ROOT_NAME, is_root=True)
_FIXED_NAMES = {ROOT_ID: ROOT_NAME, ANONYMOUS_ID: ANONYMOUS.name}


@dataclass(frozen=True, slots=True)
class Identity:
    """A principal with the secret that its signatures are made with."""

    principal: Principal
    secret_key: secret.SecretKey


def new_access_key(random_bytes: Callable[[int], bytes]) -> str:
    """Make an access key: `SR` and 18 letters and digits, 90 random bits."""
    return "SR" + base64.b32encode(random_bytes(12)).decode()[:18]


def new_secret_key(random_bytes: Callable[[int], bytes]) -> secret.SecretKey:
    """Make a secret key: 40 characters, 240 random bits."""
    return secret.SecretKey(base64.urlsafe_b64encode(random_bytes(30)))


class Identities:
    """Finds and keeps users and their credentials."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        master: master.Master,
        *,
        root_access_key: str,
        root_secret_key: secret.SecretKey,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._catalog = catalog
        self._master = master
        self._root_access_key = root_access_key.encode()
        self._root = Identity(ROOT, root_secret_key)
        self._random_bytes = random_bytes
        self._opened: dict[tuple[str, str, bytes], secret.SecretKey] = {}

    async def find(self, access_key: str) -> Identity | None:
        """Return whom an access key belongs to; None if nobody has it."""
        if hmac.compare_digest(access_key.encode(), self._root_access_key):
            return self._root
        found = await self._catalog.credential(access_key)
        if found is None:
            return None
        credential, user = found
        name = (access_key, user.user_id, credential.sealed_secret)
        secret_key = self._opened.get(name)
        if secret_key is None:
            secret_key = self._master.open_credential(
                access_key, user.user_id, credential.sealed_secret
            )
            if len(self._opened) >= _SECRET_CACHE:
                self._opened.clear()
            self._opened[name] = secret_key
        return Identity(Principal(user.user_id, user.name), secret_key)

    async def name_of(self, user_id: str) -> str:
        """Return the display name of a user; the id itself if the user is gone."""
        if user_id in _FIXED_NAMES:
            return _FIXED_NAMES[user_id]
        try:
            return (await self._catalog.user(user_id)).name
        except errors.UserNotFound:
            return user_id

    async def is_known(self, user_id: str) -> bool:
        """Tell whether somebody has this canonical id."""
        if user_id == ROOT_ID:
            return True
        try:
            await self._catalog.user(user_id)
        except errors.UserNotFound:
            return False
        return True

    async def add(
        self, name: str, access_key: str, secret_key: secret.SecretKey, *, now_ms: int
    ) -> records.User:
        """Add a user with one credential.

        Raises:
            UserExists: name or access key is taken.
            ValueError: name, access key or secret key has not the right form.
        """
        if not name or len(name) > 64 or not name.isprintable():  # noqa: PLR2004
            raise ValueError("a user name has 1 to 64 printable characters")
        if name == ROOT_NAME or access_key.encode() == self._root_access_key:
            raise errors.UserExists(name)
        shortest, longest = ACCESS_KEY_BYTES
        if not (shortest <= len(access_key) <= longest and _ACCESS_KEY.fullmatch(access_key)):
            raise ValueError(
                f"an access key has {shortest} to {longest} letters, digits, or any of . _ -"
            )
        shortest, longest = SECRET_KEY_BYTES
        if not shortest <= len(secret_key) <= longest:
            raise ValueError(f"a secret key has {shortest} to {longest} characters")
        taken = {account_of(other.user_id) for other in await self._catalog.users()}
        user_id = self._random_bytes(32).hex()
        while account_of(user_id) in taken | {account_of(ROOT_ID)}:
            user_id = self._random_bytes(32).hex()
        user = records.User(user_id, name, now_ms)
        sealed = self._master.seal_credential(
            access_key, user.user_id, secret_key, self._random_bytes
        )
        await self._catalog.add_user(
            user, records.Credential(access_key, user.user_id, sealed, now_ms)
        )
        return user
