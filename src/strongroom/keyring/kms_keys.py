"""Making KMS keys and tending them: state, policy, tags, aliases, grants, rotation, deletion.

Limits and what each state forbids: AWS KMS API Reference, the page of each operation;
AWS KMS Developer Guide, "Key states of AWS KMS keys".
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import uuid
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.keyring import key_access, key_specs
from strongroom.keyring import kms as kms_service
from strongroom.store import kms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from strongroom.keyring.kms import Caller, KeyInfo

DAY_MS: Final = 24 * 60 * 60 * 1000
DELETION_DAYS: Final = 7, 30
ROTATION_DAYS: Final = 90, 2560
DEFAULT_DELETION_DAYS: Final = 30
DEFAULT_ROTATION_DAYS: Final = 365
MAX_TAGS: Final = 50
POLICY_NAME: Final = "default"

_ALIAS = re.compile(r"alias/[a-zA-Z0-9/_-]{1,250}")
_SYMMETRIC_ONLY = "{} key spec is {} which is not valid for this operation."


@dataclasses.dataclass(frozen=True, slots=True)
class Rotation:
    """How a key rotates. `next_ms`: 0 if it does not by itself; `days` likewise."""

    info: KeyInfo
    days: int
    next_ms: int


class Keys:
    """Makes keys and changes them, for callers who may."""

    def __init__(self, service: kms_service.Kms) -> None:
        self._kms = service
        self._store = service.store

    # Making and finding

    async def create(
        self,
        caller: Caller,
        *,
        spec: str = key_specs.SYMMETRIC,
        usage: str | None = None,
        description: str = "",
        policy: str | None = None,
        tags: Mapping[str, str] | None = None,
        bypass_lockout_check: bool = False,
    ) -> KeyInfo:
        """Make a key; everybody known may.

        Raises:
            KmsInvalidInput: kind and usage do not go together, or a tag is not one.
            KmsMalformedPolicy: the policy cannot be read, or would lock the caller out.
        """
        if not caller.user_id:
            raise errors.KmsAccessDenied("Nobody in particular cannot make a key.")
        kind = key_specs.find(spec)
        if usage is None:
            if len(kind.usages) > 1 or kind.usages[0] != key_specs.ENCRYPT_DECRYPT:
                raise errors.KmsInvalidInput(
                    f"You must specify a KeyUsage value for the KeySpec {spec}."
                )
            usage = kind.usages[0]
        if usage not in kind.usages:
            raise errors.KmsInvalidInput(f"KeyUsage {usage} is not compatible with KeySpec {spec}")
        _check_tags(tags or {})
        key = kms.Key(
            key_id=str(uuid.UUID(bytes=self._kms.random_bytes(16), version=4)),
            spec=spec,
            usage=usage,
            created_ms=self._kms.clock_ms(),
            creator=caller.user_id,
            policy=policy or key_access.default_policy(self._kms.account, caller.user_id),
            description=description,
            tags=dict(tags or {}),
        )
        if policy is not None:
            await self._check_policy(key, policy, caller, bypass=bypass_lockout_check)
        added = await self._kms.add_key(key)
        assert added, "122 random bits are not drawn twice"
        return self._kms.info(key)

    async def list(self, caller: Caller, *, after: str = "", limit: int) -> Sequence[KeyInfo]:
        """Return up to `limit` keys that the caller may describe, with ids after `after`."""
        found: list[KeyInfo] = []
        while len(found) < limit:
            page = await self._store.keys(after=after, limit=limit)
            found += [
                self._kms.info(key)
                for key in page
                if await self._kms.may(key, "DescribeKey", caller)
            ]
            if len(page) < limit:
                break
            after = page[-1].key_id
        return found[:limit]

    # State

    async def set_enabled(self, reference: str, caller: Caller, *, enabled: bool) -> None:
        """Enable or disable a key."""
        key = await self._kms.permitted(reference, "EnableKey" if enabled else "DisableKey", caller)
        await self._change(key, lambda found: dataclasses.replace(found, enabled=enabled))

    async def describe_as(self, reference: str, caller: Caller, description: str) -> None:
        """Give a key another description."""
        key = await self._kms.permitted(reference, "UpdateKeyDescription", caller)
        await self._change(key, lambda found: dataclasses.replace(found, description=description))

    async def schedule_deletion(
        self, reference: str, caller: Caller, days: int = DEFAULT_DELETION_DAYS
    ) -> KeyInfo:
        """Let a key be deleted after a waiting period, in which nothing can be done with it."""
        least, most = DELETION_DAYS
        if not least <= days <= most:
            raise errors.KmsInvalidInput(
                f"PendingWindowInDays must be between {least} and {most} days."
            )
        key = await self._kms.permitted(reference, "ScheduleKeyDeletion", caller)
        now_ms = self._kms.clock_ms()
        changed = await self._change(
            key,
            lambda found: dataclasses.replace(
                found, deletion_ms=now_ms + days * DAY_MS, deletion_days=days
            ),
        )
        return self._kms.info(changed)

    async def cancel_deletion(self, reference: str, caller: Caller) -> KeyInfo:
        """Keep a key after all. It is disabled then, as AWS has it."""

        def cancel(found: kms.Key) -> kms.Key:
            if not found.deletion_ms:
                raise errors.KmsInvalidState(f"{self._kms.arn(found)} is not pending deletion.")
            return dataclasses.replace(found, deletion_ms=0, deletion_days=0, enabled=False)

        key = await self._kms.permitted(reference, "CancelKeyDeletion", caller)
        return self._kms.info(await self._store.change_key(key.key_id, cancel))

    # Policy

    async def policy(self, reference: str, caller: Caller, name: str = POLICY_NAME) -> str:
        """Return a key's policy."""
        key = await self._kms.permitted(reference, "GetKeyPolicy", caller)
        if name != POLICY_NAME:
            raise errors.KmsKeyNotFound("No such policy exists")
        return key.policy

    async def put_policy(
        self,
        reference: str,
        caller: Caller,
        policy: str,
        name: str = POLICY_NAME,
        *,
        bypass_lockout_check: bool = False,
    ) -> None:
        """Give a key another policy.

        Raises:
            KmsMalformedPolicy: it cannot be read, or would lock the caller out.
        """
        if name != POLICY_NAME:
            raise errors.KmsInvalidInput("The only valid policy name is default.")
        key = await self._kms.permitted(reference, "PutKeyPolicy", caller)
        await self._check_policy(key, policy, caller, bypass=bypass_lockout_check)
        await self._change(key, lambda found: dataclasses.replace(found, policy=policy))

    # Tags

    async def tags(self, reference: str, caller: Caller) -> Mapping[str, str]:
        """Return a key's tags."""
        return (await self._kms.permitted(reference, "ListResourceTags", caller)).tags

    async def tag(self, reference: str, caller: Caller, tags: Mapping[str, str]) -> None:
        """Set tags."""
        key = await self._kms.permitted(reference, "TagResource", caller)

        def put(found: kms.Key) -> kms.Key:
            together = {**found.tags, **tags}
            _check_tags(together)
            return dataclasses.replace(found, tags=together)

        await self._change(key, put)

    async def untag(self, reference: str, caller: Caller, names: Sequence[str]) -> None:
        """Remove tags; one that is not there is no error."""
        key = await self._kms.permitted(reference, "UntagResource", caller)
        await self._change(
            key,
            lambda found: dataclasses.replace(
                found, tags={name: text for name, text in found.tags.items() if name not in names}
            ),
        )

    # Aliases

    async def create_alias(self, name: str, reference: str, caller: Caller) -> None:
        """Give a key another name.

        Raises:
            KmsAlreadyExists: the name is taken.
            KmsInvalidInput: it is no name for an alias.
        """
        _check_alias(name)
        key = await self._kms.permitted(reference, "CreateAlias", caller)
        self._kms.require_state(key, enabled=False)
        now_ms = self._kms.clock_ms()
        if not await self._store.add_alias(kms.Alias(name, key.key_id, now_ms, now_ms)):
            raise errors.KmsAlreadyExists(
                f"An alias with the name {self._kms.arn_of(name)} already exists"
            )

    async def update_alias(self, name: str, reference: str, caller: Caller) -> None:
        """Let an alias stand for another key of the same kind."""
        _check_alias(name)
        await self._alias(name)
        before = await self._kms.permitted(name, "UpdateAlias", caller)
        key = await self._kms.permitted(reference, "UpdateAlias", caller)
        self._kms.require_state(key, enabled=False)
        if (before.usage, before.spec == key_specs.SYMMETRIC) != (
            key.usage,
            key.spec == key_specs.SYMMETRIC,
        ):
            raise errors.KmsInvalidInput(
                "Alias cannot be changed to a key of another usage or type."
            )
        if not await self._store.move_alias(name, key.key_id, self._kms.clock_ms()):
            raise errors.KmsKeyNotFound(f"Alias {self._kms.arn_of(name)} is not found.")

    async def delete_alias(self, name: str, caller: Caller) -> None:
        """Remove an alias."""
        _check_alias(name)
        await self._alias(name)
        await self._kms.permitted(name, "DeleteAlias", caller)
        await self._store.remove_alias(name)

    async def aliases(
        self, caller: Caller, *, reference: str | None = None, after: str = "", limit: int
    ) -> Sequence[kms.Alias]:
        """Return up to `limit` aliases, of one key or of all that the caller may describe."""
        if reference is not None:
            key = await self._kms.permitted(reference, "DescribeKey", caller)
            return await self._store.aliases(key_id=key.key_id, after=after, limit=limit)
        found: list[kms.Alias] = []
        while len(found) < limit:
            page = await self._store.aliases(after=after, limit=limit)
            for alias in page:
                key = await self._store.key(alias.key_id)
                if await self._kms.may(key, "DescribeKey", caller):
                    found.append(alias)
            if len(page) < limit:
                break
            after = page[-1].name
        return found[:limit]

    # Rotation

    async def set_rotation(self, reference: str, caller: Caller, days: int | None) -> None:
        """Let a key rotate by itself every so many days; None ends that.

        Raises:
            KmsInvalidInput: not within `ROTATION_DAYS`, or a key that cannot rotate.
        """
        least, most = ROTATION_DAYS
        if days is not None and not least <= days <= most:
            raise errors.KmsInvalidInput(
                f"RotationPeriodInDays must be between {least} and {most} days."
            )
        key = await self._kms.permitted(
            reference, "DisableKeyRotation" if days is None else "EnableKeyRotation", caller
        )
        self._require_rotatable(key)
        self._kms.require_state(key)
        now_ms = self._kms.clock_ms()

        def put(found: kms.Key) -> kms.Key:
            if days is None:
                return dataclasses.replace(found, rotation_days=0)
            since = found.rotated_ms if found.rotation_days else now_ms
            return dataclasses.replace(found, rotation_days=days, rotated_ms=since)

        await self._change(key, put)

    async def rotation(self, reference: str, caller: Caller) -> Rotation:
        """Return how a key rotates."""
        key = await self._kms.permitted(reference, "GetKeyRotationStatus", caller)
        self._require_rotatable(key)
        return Rotation(self._kms.info(key), key.rotation_days, _next_rotation(key))

    async def rotations(
        self, reference: str, caller: Caller
    ) -> tuple[KeyInfo, Sequence[kms.Material]]:
        """Return the key and all its materials; the first was no rotation."""
        key = await self._kms.permitted(reference, "ListKeyRotations", caller)
        self._require_rotatable(key)
        return self._kms.info(key), await self._store.materials(key.key_id)

    async def rotate(self, reference: str, caller: Caller) -> KeyInfo:
        """Give a key new material now; the old keeps opening what was sealed under it."""
        key = await self._kms.permitted(reference, "RotateKeyOnDemand", caller)
        self._require_rotatable(key)
        self._kms.require_state(key)
        return self._kms.info(await self._rotate(key, "ON_DEMAND"))

    async def tend(self) -> None:
        """Rotate and delete what is due. To be called now and then; by several does no harm."""
        now_ms = self._kms.clock_ms()
        for key in await self._store.doomed_keys(now_ms):
            await self._store.remove_key(key.key_id, _still_doomed(now_ms))
        for key in await self._store.rotating_keys():
            if key.enabled and not key.deletion_ms and _next_rotation(key) <= now_ms:
                await self._rotate(key, "AUTOMATIC")

    # Grants

    async def create_grant(
        self,
        reference: str,
        caller: Caller,
        *,
        grantee: str,
        operations: Sequence[str],
        retiring: str = "",
        name: str = "",
        context_equals: Mapping[str, str] | None = None,
        context_subset: Mapping[str, str] | None = None,
    ) -> kms.Grant:
        """Permit somebody some operations with a key.

        A grant cannot permit CreateGrant here: who holds one would else have to be kept
        from granting more than they have. A second call that says the same under the
        same name returns the first one's grant.

        Raises:
            KmsInvalidInput: an operation that cannot be granted for this key.
        """
        key = await self._kms.permitted(reference, "CreateGrant", caller)
        self._kms.require_state(key)
        wrong = [one for one in operations if one not in key_access.GRANTABLE]
        if wrong or not operations:
            raise errors.KmsInvalidInput(
                f"These operations cannot be granted here: {', '.join(wrong) or 'none at all'}."
            )
        if key.spec != key_specs.SYMMETRIC and not (context_equals is context_subset is None):
            raise errors.KmsInvalidInput(
                "Encryption context constraints are supported for symmetric keys only."
            )
        made = kms.Grant(
            grant_id=self._kms.random_bytes(32).hex(),
            key_id=key.key_id,
            name=name,
            grantee=grantee,
            retiring=retiring,
            operations=tuple(operations),
            context_equals=None if context_equals is None else dict(context_equals),
            context_subset=None if context_subset is None else dict(context_subset),
            created_ms=self._kms.clock_ms(),
            issuer=f"arn:aws:iam::{self._kms.account}:root",
        )
        if name:
            after = ""
            while page := await self._store.grants(
                key_id=key.key_id, grantee=grantee, after=after, limit=100
            ):
                for one in page:
                    alike = dataclasses.replace(
                        made, grant_id=one.grant_id, created_ms=one.created_ms
                    )
                    if one == alike:
                        return one
                after = page[-1].grant_id
        await self._store.add_grant(made)
        return made

    async def grants(
        self,
        reference: str,
        caller: Caller,
        *,
        grantee: str | None = None,
        grant_id: str | None = None,
        after: str = "",
        limit: int,
    ) -> Sequence[kms.Grant]:
        """Return up to `limit` grants of a key."""
        key = await self._kms.permitted(reference, "ListGrants", caller)
        if grant_id is not None:
            found = await self._store.grant(grant_id)
            if found is None or found.key_id != key.key_id:
                raise errors.KmsInvalidGrant("id", f"GrantId {grant_id} is not found.")
            return [found] if grantee in (None, found.grantee) else []
        return await self._store.grants(
            key_id=key.key_id, grantee=grantee, after=after, limit=limit
        )

    async def retirable(
        self, caller: Caller, retiring: str, *, after: str = "", limit: int
    ) -> Sequence[kms.Grant]:
        """Return up to `limit` grants that `retiring` may retire; for root and for `retiring`."""
        if not caller.is_root and retiring not in self._kms.principals(caller):
            raise errors.KmsAccessDenied("Only root lists what others may retire.")
        return await self._store.grants(retiring=retiring, after=after, limit=limit)

    async def revoke(self, reference: str, grant_id: str, caller: Caller) -> None:
        """Take a grant back.

        Raises:
            KmsInvalidGrant: the key has no such grant.
        """
        key = await self._kms.permitted(reference, "RevokeGrant", caller)
        found = await self._store.grant(grant_id)
        if found is None or found.key_id != key.key_id:
            raise errors.KmsKeyNotFound(f"Grant {grant_id} is not found.")
        await self._store.remove_grant(grant_id)

    async def retire(
        self,
        caller: Caller,
        *,
        token: str | None = None,
        reference: str | None = None,
        grant_id: str | None = None,
        only_check: bool = False,
    ) -> None:
        """Give a grant up: for root, its retiring principal, and a grantee whom it lets.

        Raises:
            KmsInvalidGrant: there is none of this token or id.
        """
        if token is not None:
            grant_id = read_token(token)
        elif reference is None or grant_id is None:
            raise errors.KmsInvalidInput("Give either a GrantToken, or a KeyId and a GrantId.")
        found = await self._store.grant(grant_id)
        if found is None and token is not None:
            raise errors.KmsInvalidGrant("token", "The grant token is not valid.")
        if found is None or (
            reference is not None and (await self._kms.resolve(reference)).key_id != found.key_id
        ):
            raise errors.KmsKeyNotFound(f"Grant {grant_id} is not found.")
        names = self._kms.principals(caller)
        if not (
            caller.is_root
            or found.retiring in names
            or (found.grantee in names and "RetireGrant" in found.operations)
        ):
            raise errors.KmsAccessDenied("The caller may not retire this grant.")
        arn = self._kms.arn_of(f"key/{found.key_id}")
        if caller.permits is not None and not caller.permits("kms:RetireGrant", arn):
            raise errors.KmsAccessDenied("The caller's own policies do not allow kms:RetireGrant.")
        if not only_check:
            await self._store.remove_grant(grant_id)

    # What several need

    async def _change(self, key: kms.Key, change: Callable[[kms.Key], kms.Key]) -> kms.Key:
        """Change a key, unless it waits for its deletion."""

        def unless_doomed(found: kms.Key) -> kms.Key:
            self._kms.require_state(found, enabled=False)
            return change(found)

        return await self._store.change_key(key.key_id, unless_doomed)

    async def _rotate(self, key: kms.Key, cause: str) -> kms.Key:
        spec = key_specs.find(key.spec)
        while True:
            now_ms = self._kms.clock_ms()
            version = key.version + 1
            material = await self._kms.new_material(spec)
            wrapped = await self._kms.materials.seal(key.key_id, version, key.spec, material)
            since = now_ms if cause == "AUTOMATIC" else key.rotated_ms
            rotated = await self._store.rotate(
                kms.Material(key.key_id, version, wrapped, now_ms, cause),
                lambda found: dataclasses.replace(found, rotated_ms=since),  # noqa: B023 - called at once
            )
            if rotated is not None:
                return rotated
            # Somebody else was faster: one rotation more does no harm, a lost one would.
            key = await self._store.key(key.key_id)
            if cause == "AUTOMATIC" and _next_rotation(key) > now_ms:
                return key

    async def _alias(self, name: str) -> kms.Alias:
        found = await self._store.alias(name)
        if found is None:
            raise errors.KmsKeyNotFound(f"Alias {self._kms.arn_of(name)} is not found.")
        return found

    async def _check_policy(
        self, key: kms.Key, policy: str, caller: Caller, *, bypass: bool
    ) -> None:
        self._kms.check_policy(policy)
        changed = dataclasses.replace(key, policy=policy)
        if not bypass and not await self._kms.may(changed, "PutKeyPolicy", caller):
            raise errors.KmsMalformedPolicy(
                "The new key policy will not allow you to update the key policy in the future."
            )

    def _require_rotatable(self, key: kms.Key) -> None:
        if key.spec != key_specs.SYMMETRIC:
            raise errors.KmsInvalidInput(
                _SYMMETRIC_ONLY.format(self._kms.arn(key), key.spec), "UnsupportedOperation"
            )


def make_token(grant: kms.Grant) -> str:
    """Return the token of a grant. It says which grant, and gives nothing that the id does not."""
    return base64.urlsafe_b64encode(b"strongroom grant " + bytes.fromhex(grant.grant_id)).decode()


def read_token(token: str) -> str:
    """Return the id of the grant that a token is of.

    Raises:
        KmsInvalidGrant: it is no token of ours.
    """
    try:
        raw = base64.urlsafe_b64decode(token)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw.startswith(b"strongroom grant "):
        raise errors.KmsInvalidGrant("token", "The grant token is not valid.")
    return raw.removeprefix(b"strongroom grant ").hex()


def _next_rotation(key: kms.Key) -> int:
    return key.rotated_ms + key.rotation_days * DAY_MS if key.rotation_days else 0


def _still_doomed(now_ms: int) -> Callable[[kms.Key], None]:
    def guard(key: kms.Key) -> None:
        if not 0 < key.deletion_ms <= now_ms:
            raise errors.KmsInvalidState("The deletion was cancelled.")

    return guard


def _check_alias(name: str) -> None:
    if not name.startswith("alias/"):
        raise errors.KmsInvalidInput('Alias must start with the prefix "alias/".')
    if _ALIAS.fullmatch(name) is None:
        raise errors.KmsInvalidInput(f"{name} is not a valid alias name.", "InvalidAliasName")
    if name.startswith("alias/aws/"):
        raise errors.KmsInvalidInput(
            "Names that begin with alias/aws/ are reserved for the store's own keys.",
            "InvalidAliasName",
        )


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        raise errors.KmsLimitExceeded(f"A key has {MAX_TAGS} tags at most.")
    if any(name.lower().startswith("aws:") for name in tags):
        raise errors.KmsInvalidInput("Tag keys cannot begin with aws:.", "Tag")
