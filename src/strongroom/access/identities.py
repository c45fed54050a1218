"""Principals and the credentials they prove themselves with."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.access import documents, policy, sessions
from strongroom.crypto import secret
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from strongroom.access import accounts
    from strongroom.keyring import master
    from strongroom.store import catalog

ROOT_NAME = "root"
ROOT_ID = hashlib.sha256(b"strongroom root user").hexdigest()
"""Canonical id of root: the same in every store and whatever root's credentials are."""

MAX_KEYS = 2
"""Access keys of one user. Source: IAM user guide, "IAM and AWS STS quotas"."""

ACCESS_KEY_BYTES = 3, 128
"""Shortest and longest access key. Source: AccessKeyIdType in AWS's IAM API, from 16; ours takes
shorter ones, since other stores' users bring such keys with them."""
_ACCESS_KEY = re.compile(r"[A-Za-z0-9._-]+")
SECRET_KEY_BYTES = 8, 128
"""Shortest and longest secret key."""

_POLICY_CACHE = 1024
_DENY_ALL = '{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}'
_SECRET_CACHE = 1024
"""Opened secrets kept in memory. The key of an entry is the sealed secret, which never changes."""


_OWNER_CACHE = 1024
_ACCOUNTS = 10**12


def account_of(user_id: str) -> str:
    """Return the account id, 12 digits, of whoever has this canonical id."""
    digest = hashlib.sha256(b"strongroom account " + user_id.encode()).digest()
    return f"{int.from_bytes(digest[:8]) % _ACCOUNTS:012d}"


@dataclass(frozen=True, slots=True)
class Member:
    """A user of an account, or a session of a role: may do what policies say.

    Attributes:
        name: of the user, or of role and session with a colon between.
        arn: the name under which requests come.
        unique_id: what `aws:userid` is.
        role_arn: of the role that was assumed; empty for a user.
        policies: what it may do.
        session: limits that a session was begun with; None for none.
        tags: of the user or role.
        provider: ARN of the identity provider that vouched for a session; empty for none.
    """

    name: str
    arn: str
    unique_id: str
    role_arn: str
    policies: tuple[documents.Document, ...]
    session: documents.Document | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: canonical user id, and the name to show.

    Each top-level user is an account of its own, and that account's owner.

    Attributes:
        user_id: canonical id of the account.
        name: of the account.
        member: who of the account asks; None for its owner.
        is_temporary: it is a session that asks.
        issued_ms: when that session began; 0 if it is none, or does not say.
    """

    user_id: str
    name: str
    is_root: bool = False
    is_anonymous: bool = False
    member: Member | None = None
    is_temporary: bool = False
    issued_ms: int = 0

    @property
    def account_id(self) -> str:
        """Twelve digits that stand for the account in ARNs."""
        return account_of(self.user_id)

    @property
    def arn(self) -> str:
        """The name under which requests come, in conditions and logs; empty if unsigned."""
        if self.member is not None:
            return self.member.arn
        return "" if self.is_anonymous else f"arn:aws:iam::{self.account_id}:root"

    @property
    def asker(self) -> policy.Asker:
        """The names under which policies may speak of this principal."""
        if self.is_anonymous:
            return policy.NOBODY
        owner = _owner(self.user_id, self.name)
        if self.member is None:
            return owner.asker
        own = {self.member.arn, self.member.unique_id, self.member.role_arn} - {""}
        return policy.Asker(frozenset(own), owner.account_names)


@dataclass(frozen=True, slots=True)
class _Owner:
    """What policies call an account's owner, and the account itself."""

    asker: policy.Asker
    account_names: frozenset[str]


@functools.lru_cache(_OWNER_CACHE)
def _owner(user_id: str, name: str) -> _Owner:
    """Make the names of an account's owner: needed by every request, and always the same."""
    account = account_of(user_id)
    account_names = frozenset({user_id, account, f"arn:aws:iam::{account}:root"})
    names = account_names | {
        # How AWS writes an account's user, and how stores without accounts do.
        f"arn:aws:iam::{account}:user/{name}",
        f"arn:aws:iam:::user/{name}",
    }
    return _Owner(policy.Asker(names, names), account_names)


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


@functools.lru_cache(maxsize=_POLICY_CACHE)
def identity_policy(text: str) -> documents.Document:
    """Return the policy of a user, group, role or session; one that denies all if unreadable."""
    try:
        return documents.parse(text, documents.Kind.IDENTITY)
    except errors.MalformedPolicy:
        # It was read when it was set. Whoever changed it since shall win nothing by it.
        return documents.parse(_DENY_ALL, documents.Kind.IDENTITY)


class Identities:
    """Finds and keeps users and their credentials."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        master: master.Master,
        members: accounts.Accounts,
        *,
        root_access_key: str,
        root_secret_key: secret.SecretKey,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._catalog = catalog
        self._master = master
        self._accounts = members
        self._root_access_key = root_access_key.encode()
        self._root = Identity(ROOT, root_secret_key)
        self._random_bytes = random_bytes
        self._opened: dict[tuple[str, str, bytes], secret.SecretKey] = {}

    @property
    def members(self) -> accounts.Accounts:
        """Who is in an account."""
        return self._accounts

    async def find(
        self, access_key: str, token: str | None = None, *, now_ms: int = 0
    ) -> Identity | None:
        """Return whom an access key belongs to; None if nobody has it, or it is inactive.

        Args:
            access_key: as the request names it.
            token: of temporary credentials.
            now_ms: the time, which a token needs.

        Raises:
            TokenInvalid, TokenExpired: the token is not good.
        """
        if token is not None:
            return await self._of_session(access_key, token, now_ms)
        if hmac.compare_digest(access_key.encode(), self._root_access_key):
            return self._root
        found = await self._catalog.credential(access_key)
        if found is None or not found[0].is_active:
            return None
        credential, user = found
        member: Member | None = None
        if credential.member:
            entity = await self._accounts.by_id(credential.member)
            if entity is None:
                return None
            member = await self._member(entity)
        name = (access_key, user.user_id, credential.sealed_secret)
        secret_key = self._opened.get(name)
        if secret_key is None:
            secret_key = self._master.open_credential(
                access_key, user.user_id, credential.sealed_secret
            )
            if len(self._opened) >= _SECRET_CACHE:
                self._opened.clear()
            self._opened[name] = secret_key
        return Identity(await self._principal(user.user_id, user.name, member), secret_key)

    async def _principal(
        self,
        user_id: str,
        name: str,
        member: Member | None,
        *,
        is_temporary: bool = False,
        issued_ms: int = 0,
    ) -> Principal:
        is_root = user_id == ROOT_ID and member is None
        return Principal(
            user_id,
            name or await self.name_of(user_id),
            is_root=is_root,
            member=member,
            is_temporary=is_temporary,
            issued_ms=issued_ms,
        )

    async def _member(
        self, entity: accounts.Entity, session: sessions.Session | None = None
    ) -> Member:
        policies = await self._accounts.policies_of(entity)
        limits = identity_policy(session.policy) if session and session.policy else None
        if session is not None and session.name:
            role = entity.row.name
            arn = (
                f"arn:aws:sts::{account_of(entity.row.account)}:assumed-role/{role}/{session.name}"
            )
            unique_id = f"{entity.row.entity_id}:{session.name}"
            return Member(
                f"{role}:{session.name}",
                arn,
                unique_id,
                entity.arn,
                policies,
                limits,
                entity.tags,
                session.provider,
            )
        return Member(
            entity.name, entity.arn, entity.row.entity_id, "", policies, limits, entity.tags
        )

    async def _of_session(self, access_key: str, token: str, now_ms: int) -> Identity:
        session = sessions.parse(self._master, access_key, token)
        if now_ms >= session.expires_ms:
            raise errors.TokenExpired
        member: Member | None = None
        if session.member:
            entity = await self._accounts.by_id(session.member)
            if entity is None:
                raise errors.TokenInvalid("whose session it was is gone")
            member = await self._member(entity, session)
        elif not await self.is_known(session.user_id):
            raise errors.TokenInvalid("whose session it was is gone")
        principal = await self._principal(
            session.user_id, "", member, is_temporary=True, issued_ms=session.issued_ms
        )
        return Identity(principal, session.secret_key)

    def begin_session(self, session: sessions.Session) -> tuple[str, str]:
        """Return the access key and the token of a session."""
        access_key = "SRT" + base64.b32encode(self._random_bytes(12)).decode()[:17]
        return access_key, sessions.seal(self._master, access_key, session, self._random_bytes)

    async def add_key(
        self, user_id: str, member: str, *, now_ms: int
    ) -> tuple[records.Credential, secret.SecretKey]:
        """Add an access key to an account's owner or to one of its users.

        Raises:
            LimitPassed: it has as many as it may have.
        """
        if len(await self._catalog.credentials(user_id, member)) >= MAX_KEYS:
            raise errors.LimitPassed(f"Cannot exceed quota for AccessKeysPerUser: {MAX_KEYS}")
        secret_key = new_secret_key(self._random_bytes)
        while True:
            access_key = new_access_key(self._random_bytes)
            sealed = self._master.seal_credential(
                access_key, user_id, secret_key, self._random_bytes
            )
            credential = records.Credential(access_key, user_id, sealed, now_ms, member)
            if await self._catalog.add_credential(credential):
                return credential, secret_key

    async def keys_of(self, user_id: str, member: str = "") -> Sequence[records.Credential]:
        """Return the access keys of an account's owner or of one of its users, by time."""
        return await self._catalog.credentials(user_id, member)

    async def owner_of_key(self, access_key: str) -> tuple[str, str] | None:
        """Return the account of an access key and the id of the user in it, if it is one's."""
        found = await self._catalog.credential(access_key)
        return None if found is None else (found[0].user_id, found[0].member)

    async def set_key_active(self, access_key: str, *, active: bool) -> None:
        """Make an access key active or inactive.

        Raises:
            NoSuchEntity: there is none.
        """
        if not await self._catalog.set_credential_active(access_key, active=active):
            raise errors.NoSuchEntity("access key", access_key)

    async def remove_key(self, access_key: str) -> None:
        """Remove an access key.

        Raises:
            NoSuchEntity: there is none.
        """
        if not await self._catalog.remove_credential(access_key):
            raise errors.NoSuchEntity("access key", access_key)

    async def name_of(self, user_id: str) -> str:
        """Return the display name of a user; the id itself if the user is gone."""
        if user_id in _FIXED_NAMES:
            return _FIXED_NAMES[user_id]
        try:
            return (await self._catalog.user(user_id)).name
        except errors.UserNotFound:
            return user_id

    async def owner_of_account(self, account_id: str) -> str | None:
        """Return the canonical id of an account's owner; None if there is no such account."""
        for user_id in (ROOT_ID, *(user.user_id for user in await self._catalog.users())):
            if account_of(user_id) == account_id:
                return user_id
        return None

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
