"""The key management service: data keys, encryption and decryption under keys it keeps.

`Kms` is what the rest of the store asks, S3 included; `kms_keys` makes keys and tends
them, `kms_pairs` signs and does what else asymmetric and HMAC keys are for.

Messages of errors are AWS KMS's, which S3 passes on (observed: S3 in us-east-1,
2026-02-21; see the rows of `KMS.NotFoundException` and its kin in the S3 dialect).
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.crypto import secret
from strongroom.keyring import key_access, key_blobs, key_specs
from strongroom.keyring.key_blobs import Kind
from strongroom.store import kms

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from strongroom.keyring import masters

DATA_KEY_BYTES: Final = 32
MAX_DATA_KEY_BYTES: Final = 1024
MAX_PLAINTEXT_BYTES: Final = 4096
MAX_BLOB_BYTES: Final = 6144
MAX_CONTEXT_BYTES: Final = 8192
"""Source of these: AWS KMS API, GenerateDataKey, Encrypt, Decrypt; the last is S3's, for the
context header, and KMS's own limit lies in that region."""

S3_ALIAS: Final = "alias/aws/s3"
DEFAULT_ACCOUNT: Final = "000000000000"

_KEY_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ALIAS = re.compile(r"alias/[a-zA-Z0-9/_-]{1,250}")
_ARN_PIECES = 6
_NO_CONTEXT: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks the KMS.

    Attributes:
        user_id: canonical id; empty for anonymous requests.
        is_root: may do everything.
        name: the user's name, for policies that name users by ARN.
        direct: asks the KMS itself; else S3 asks in the user's name.
        member: which of the account's users or sessions it is; empty for its owner.
        names: what names that user or session, and nobody else, in policies and grants.
        account_names: what names its whole account.
        limits: what tells sessions of one member apart that may do different things.
        forbids: asks the caller's own policies whether they deny an action on a key's ARN in
            so many words; None for who has none.
        permits: asks the caller's own policies about an action (`kms:Decrypt`) on a key's
            ARN; None for who needs none, an account's owner.
    """

    user_id: str
    is_root: bool = False
    name: str = ""
    direct: bool = False
    member: str = ""
    names: frozenset[str] = frozenset()
    account_names: frozenset[str] = frozenset()
    limits: Hashable = None
    forbids: Callable[[str, str], bool] | None = field(default=None, repr=False, compare=False)
    permits: Callable[[str, str], bool] | None = field(default=None, repr=False, compare=False)

    @property
    def who(self) -> tuple[Hashable, ...]:
        """A name that no two callers share who may be permitted different things."""
        return self.user_id, self.member, self.names, self.limits


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key and the same encrypted. `key_arn`: under which key; always the full ARN."""

    key_arn: str
    plaintext: secret.SecretKey
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as it may be shown. `state`: `Enabled`, `Disabled` or `PendingDeletion`."""

    arn: str
    key: kms.Key
    state: str


def state(key: kms.Key) -> str:
    """Return the state of a key, in AWS's words."""
    if key.deletion_ms:
        return "PendingDeletion"
    return "Enabled" if key.enabled else "Disabled"


def material_id(key_id: str, version: int) -> str:
    """Return the name of a generation of a key's material: 64 hex digits, as AWS's have."""
    return hashlib.sha256(f"{key_id} {version}".encode()).hexdigest()


class Kms:
    """Uses keys, for callers who may."""

    def __init__(
        self,
        store: kms.KmsStore,
        materials: masters.Materials,
        *,
        region: str,
        account: str = DEFAULT_ACCOUNT,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
        judge: key_access.Judge = key_access.judge,
        check_policy: Callable[[str], None] = key_access.check,
        names_of: Callable[[Caller], frozenset[str]] | None = None,
    ) -> None:
        """Set up.

        Args:
            store: where keys are kept.
            materials: seals and opens their material.
            region: of ARNs.
            account: of ARNs.
            random_bytes: source of data keys, ids, salts.
            clock_ms: the time.
            judge: judges key policies.
            check_policy: raises `KmsMalformedPolicy` for what `judge` cannot judge.
            names_of: returns by what names policies and grants may speak of a caller;
                None knows the canonical id, and the user's ARN in `account`.
        """
        self.store = store
        self.materials = materials
        self.region = region
        self.account = account
        self.random_bytes = random_bytes
        self.clock_ms = clock_ms
        self.check_policy = check_policy
        self._judge = judge
        self._names_of = names_of

    # What S3 needs

    async def generate_data_key(
        self,
        key: str,
        context: Mapping[str, str],
        caller: Caller,
        *,
        size: int = DATA_KEY_BYTES,
        action: str = "GenerateDataKey",
    ) -> DataKey:
        """Make a data key under a symmetric key.

        Args:
            key: id, ARN, alias or ARN of an alias. `S3_ALIAS` is made when first used.
            context: encryption context; the same is needed to decrypt.
            caller: who asks; needs `kms:` and `action`.
            size: bytes of the data key, 1 to `MAX_DATA_KEY_BYTES`.
            action: what the caller asks for, as permissions name it.

        Raises:
            KmsError: the key is not there, not to be used, or not by this caller; or its
                master cannot be reached.
        """
        if not 1 <= size <= MAX_DATA_KEY_BYTES:
            raise errors.KmsInvalidInput(
                f"NumberOfBytes must be between 1 and {MAX_DATA_KEY_BYTES}."
            )
        plaintext = secret.SecretKey(self.random_bytes(size))
        found = await self._usable(key, action, caller, context)
        self._require_symmetric(found, action)
        return await self._sealed(found, plaintext, context, Kind.BYTES)

    async def decrypt(
        self,
        ciphertext: bytes,
        context: Mapping[str, str],
        caller: Caller,
        *,
        key: str | None = None,
        kind: Kind = Kind.BYTES,
        action: str = "Decrypt",
    ) -> DataKey:
        """Open a ciphertext that this service made under a symmetric key.

        Args:
            ciphertext: of `generate_data_key` or `encrypt`.
            context: the encryption context it was made with.
            caller: who asks; needs `kms:Decrypt`.
            key: the key that it must be under; None takes the one that it names.
            kind: what it must hold.
            action: what the caller asks for, as permissions name it.

        Raises:
            KmsInvalidCiphertext: it is not ours, was changed, or the context differs.
            KmsIncorrectKey: it is under another key than `key`.
            KmsError: as above.
        """
        header = key_blobs.read(ciphertext)
        if len(ciphertext) > MAX_BLOB_BYTES or header.kind is not kind:
            raise errors.KmsInvalidCiphertext("")
        self.check_context(context)
        if key is not None and (await self.resolve(key)).key_id != header.key_id:
            raise errors.KmsIncorrectKey(
                "The key ID in the request does not identify a CMK that can perform this operation."
            )
        found = await self._usable(header.key_id, action, caller, context)
        stored = await self.store.material(found.key_id, header.version)
        if stored is None:
            raise errors.KmsInvalidCiphertext("")
        self._require_symmetric(found, action)
        material = await self.materials.open(found, stored)
        plaintext = key_blobs.open_blob(ciphertext, material, context)
        return DataKey(self.arn(found), secret.SecretKey(plaintext), ciphertext)

    async def describe(self, key: str, caller: Caller) -> KeyInfo:
        """Return what may be shown of a key.

        Raises:
            KmsKeyNotFound: there is none.
            KmsAccessDenied: the caller lacks `kms:DescribeKey`.
        """
        return self.info(await self.permitted(key, "DescribeKey", caller))

    # What the dialects of the KMS need besides

    async def encrypt(
        self,
        key: str,
        plaintext: secret.SecretKey,
        context: Mapping[str, str],
        caller: Caller,
        *,
        kind: Kind = Kind.BYTES,
        action: str = "Encrypt",
    ) -> DataKey:
        """Encrypt up to `MAX_PLAINTEXT_BYTES` under a symmetric key; otherwise as above."""
        if not 1 <= len(plaintext) <= MAX_PLAINTEXT_BYTES:
            raise errors.KmsInvalidInput(
                "1 validation error detected: Value at 'plaintext' failed to satisfy constraint:"
                f" Member must have length between 1 and {MAX_PLAINTEXT_BYTES}"
            )
        found = await self._usable(key, action, caller, context)
        self._require_symmetric(found, action)
        return await self._sealed(found, plaintext, context, kind)

    # What tending keys stands on

    def arn(self, key: kms.Key) -> str:
        """Return a key's ARN."""
        return self.arn_of(f"key/{key.key_id}")

    def arn_of(self, resource: str) -> str:
        """Return the ARN of `key/ID` or `alias/NAME`."""
        return f"arn:aws:kms:{self.region}:{self.account}:{resource}"

    def info(self, key: kms.Key) -> KeyInfo:
        """Return what may be shown of a key."""
        return KeyInfo(self.arn(key), key, state(key))

    def principals(self, caller: Caller) -> frozenset[str]:
        """Return everything that names a caller, and not others of the account, in policies.

        Grants name by the same.
        """
        if caller.member:
            return caller.names
        if self._names_of is not None:
            return self._names_of(caller)
        names = {caller.user_id}
        if caller.name and not caller.is_root:
            names.add(f"arn:aws:iam::{self.account}:user/{caller.name}")
        if caller.is_root:
            names |= {f"arn:aws:iam::{self.account}:root", self.account}
        return frozenset(names)

    async def resolve(self, reference: str) -> kms.Key:
        """Find a key by id, ARN, alias or alias ARN; make `S3_ALIAS` when it is first named.

        Raises:
            KmsKeyNotFound: there is none.
        """
        resource = self._resource(reference)
        if resource.startswith("alias/"):
            return await self._behind_alias(resource)
        key_id = resource.removeprefix("key/")
        if _KEY_ID.fullmatch(key_id) is None:
            raise errors.KmsKeyNotFound(f"Invalid keyId '{reference}'")
        try:
            return await self.store.key(key_id)
        except errors.KmsKeyNotFound as error:
            raise errors.KmsKeyNotFound(
                f"Key '{self.arn_of(f'key/{key_id}')}' does not exist"
            ) from error

    async def permitted(
        self,
        reference: str,
        action: str,
        caller: Caller,
        context: Mapping[str, str] = _NO_CONTEXT,
    ) -> kms.Key:
        """Find a key and check that the caller may do `action` with it, in whatever state it is.

        Raises:
            KmsKeyNotFound: there is none.
            KmsAccessDenied: the caller may not.
        """
        found = await self.resolve(reference)
        if not await self.may(found, action, caller, context):
            arn = self.arn(found)
            raise errors.KmsAccessDenied(
                f"User: {self._shown(caller)} is not authorized to perform: kms:{action} on"
                f" resource: {arn} because no resource-based policy allows the kms:{action} action"
            )
        return found

    async def may(
        self,
        key: kms.Key,
        action: str,
        caller: Caller,
        context: Mapping[str, str] = _NO_CONTEXT,
    ) -> bool:
        """Tell whether a caller may do something with a key."""
        forbidden = caller.forbids is not None and caller.forbids(f"kms:{action}", self.arn(key))
        if forbidden or not caller.user_id:
            return False
        if key.manager:
            return action in (
                key_access.READ_ACTIONS if caller.direct else key_access.SERVICE_ACTIONS
            )
        if caller.permits is not None and not caller.permits(f"kms:{action}", self.arn(key)):
            return False
        if caller.is_root:
            return True
        principals = self.principals(caller)
        said = self._judge(
            key.policy,
            key_access.Asked(
                action=f"kms:{action}",
                principals=principals,
                account_names=caller.account_names if caller.member else principals,
                key_arn=self.arn(key),
                context=context,
                via="" if caller.direct else f"s3.{self.region}.amazonaws.com",
            ),
        )
        if said is not None:
            return said
        return action in key_access.GRANTABLE and await self._is_granted(
            key, action, principals, context
        )

    async def _is_granted(
        self,
        key: kms.Key,
        action: str,
        principals: frozenset[str],
        context: Mapping[str, str],
    ) -> bool:
        for name in principals:
            after = ""
            while grants := await self.store.grants(
                key_id=key.key_id, grantee=name, after=after, limit=100
            ):
                if any(
                    key_access.grant_covers(grant, action, principals, context) for grant in grants
                ):
                    return True
                after = grants[-1].grant_id
        return False

    def require_state(self, key: kms.Key, *, enabled: bool = True) -> None:
        """Check that a key is not about to be deleted and, if asked, enabled.

        Raises:
            KmsKeyPendingDeletion, KmsKeyDisabled: it is not.
        """
        if key.deletion_ms:
            raise errors.KmsKeyPendingDeletion(f"{self.arn(key)} is pending deletion.")
        if enabled and not key.enabled:
            raise errors.KmsKeyDisabled(f"{self.arn(key)} is disabled.")

    async def material(self, key: kms.Key) -> secret.SecretKey:
        """Return a key's current material, opened.

        Raises:
            KmsError: its master refuses.
            NotAuthentic: what is stored is not what was sealed.
        """
        stored = await self.store.material(key.key_id, key.version)
        if stored is None:
            raise errors.NotAuthentic("a key's current material is missing")
        return await self.materials.open(key, stored)

    def wrong_usage(self, key: kms.Key, action: str) -> errors.KmsWrongUsage:
        """Return what to raise where a key of this usage does not do `action`."""
        return errors.KmsWrongUsage(
            f"{self.arn(key)} key usage is {key.usage} which is not valid for {action}."
        )

    @staticmethod
    def check_context(context: Mapping[str, str]) -> None:
        """Check the size of an encryption context.

        Raises:
            KmsInvalidInput: it is too large.
        """
        if (
            sum(
                len(text.encode("utf-8", "surrogatepass"))
                for pair in context.items()
                for text in pair
            )
            > MAX_CONTEXT_BYTES
        ):
            raise errors.KmsInvalidInput("The encryption context is too large.")

    async def _usable(
        self, reference: str, action: str, caller: Caller, context: Mapping[str, str]
    ) -> kms.Key:
        self.check_context(context)
        found = await self.permitted(reference, action, caller, context)
        self.require_state(found)
        return found

    def _require_symmetric(self, key: kms.Key, action: str) -> None:
        if key.usage != key_specs.ENCRYPT_DECRYPT:
            raise self.wrong_usage(key, action)
        if key.spec != key_specs.SYMMETRIC:
            raise errors.KmsWrongUsage(
                f"{self.arn(key)} key spec is {key.spec} which is not valid for {action}."
            )

    async def _sealed(
        self,
        key: kms.Key,
        plaintext: secret.SecretKey,
        context: Mapping[str, str],
        kind: Kind,
    ) -> DataKey:
        blob = key_blobs.seal(
            key_blobs.Header(kind, key.key_id, key.version),
            await self.material(key),
            plaintext.reveal(),
            context,
            self.random_bytes,
        )
        return DataKey(self.arn(key), plaintext, blob)

    def _resource(self, reference: str) -> str:
        """Return `key/ID` or `alias/NAME`, or a bare id, out of what may be an ARN."""
        if not reference.startswith("arn:"):
            return reference
        pieces = reference.split(":", _ARN_PIECES - 1)
        if len(pieces) != _ARN_PIECES or pieces[2] != "kms":
            raise errors.KmsKeyNotFound(f"Invalid arn {reference}")
        if pieces[3] != self.region:
            # S3 and KMS name the region that it should not have been.
            raise errors.KmsKeyNotFound(f"Invalid arn {pieces[3]}")
        resource = pieces[5]
        if not resource.startswith(("key/", "alias/")):
            raise errors.KmsKeyNotFound(f"Invalid arn {reference}")
        if pieces[4] != self.account:
            kind = "Key" if resource.startswith("key/") else "Alias"
            raise errors.KmsKeyNotFound(f"{kind} '{reference}' does not exist")
        return resource

    async def _behind_alias(self, name: str) -> kms.Key:
        if _ALIAS.fullmatch(name) is None:
            raise errors.KmsKeyNotFound(f"Invalid keyId '{name}'")
        found = await self.store.alias(name)
        if found is None and name == S3_ALIAS:
            await self._make_service_key()
            found = await self.store.alias(name)
        if found is None:
            raise errors.KmsKeyNotFound(f"Alias {self.arn_of(name)} is not found.")
        return await self.store.key(found.key_id)

    async def _make_service_key(self) -> None:
        """Make the key behind `S3_ALIAS`; whoever comes second uses the first one's."""
        now_ms = self.clock_ms()
        key = kms.Key(
            key_id=str(uuid.UUID(bytes=self.random_bytes(16), version=4)),
            spec=key_specs.SYMMETRIC,
            usage=key_specs.ENCRYPT_DECRYPT,
            created_ms=now_ms,
            creator="",
            policy=key_access.service_policy(self.account, f"s3.{self.region}.amazonaws.com"),
            manager="s3",
            description="Default key that protects S3 objects when no other key is defined",
            rotation_days=365,
            rotated_ms=now_ms,
        )
        await self.add_key(key, kms.Alias(S3_ALIAS, key.key_id, now_ms, now_ms))

    async def add_key(self, key: kms.Key, alias: kms.Alias | None = None) -> bool:
        """Add a key with its first material; False if its alias is taken.

        Raises:
            KmsError: the master refuses.
        """
        spec = key_specs.find(key.spec)
        material = await self.new_material(spec)
        wrapped = await self.materials.seal(key.key_id, 1, key.spec, material)
        stored = kms.Material(key.key_id, 1, wrapped, key.created_ms, "CREATED")
        return await self.store.add_key(dataclasses.replace(key, version=1), stored, alias)

    async def new_material(self, spec: key_specs.Spec) -> secret.SecretKey:
        """Make a material, on a thread where that takes long."""
        if spec.is_symmetric:
            return key_specs.new_material(spec, self.random_bytes)
        return await asyncio.to_thread(key_specs.new_material, spec, self.random_bytes)

    def _shown(self, caller: Caller) -> str:
        if caller.name:
            return f"arn:aws:iam::{self.account}:user/{caller.name}"
        return caller.user_id or "anonymous"
