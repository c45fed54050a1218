"""Who may do what, all rules taken together. Pure: what it needs to know is handed in.

    owner ─┐
    root ──┤
    bucket policy ── explicit deny? ── block public access ──┬── allow
    access lists ── enabled? ── ignore public lists ─────────┘

Root may do everything and a bucket's owner may do everything in it, unless the
bucket's policy denies it; reading, setting and deleting that policy can be denied
to neither. Everybody else may do what policy or access lists allow. Any account may make
buckets and list its own. Users and roles of an account need their own policies to allow
it, too; within the account, the bucket's policy is enough if it names them.

Source: IAM user guide, "Policy evaluation logic"; S3 user guide, "How Amazon S3
authorizes a request", "Blocking public access to your Amazon S3 storage", and
"Controlling ownership of objects and disabling ACLs".
"""

from __future__ import annotations

import enum
import functools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.access import actions, documents, exposure, global_keys, grants, policy
from strongroom.access.actions import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.access import identities, wildcards
    from strongroom.store import records

POLICY: Final = "policy"
PUBLIC_ACCESS: Final = "public-access-block"
OWNERSHIP: Final = "ownership"
ACL: Final = "acl"
"""Names of a bucket's settings that decide about access."""

_REMEMBERED: Final = 256
"""Buckets whose rules are kept parsed; the key of an entry is the settings' whole text."""

_ABOUT_POLICY: Final = frozenset(
    {Action.GET_BUCKET_POLICY, Action.PUT_BUCKET_POLICY, Action.DELETE_BUCKET_POLICY}
)
_THE_OBJECTS_OWNERS: Final = frozenset(
    {
        Action.GET_OBJECT, Action.GET_OBJECT_VERSION, Action.GET_OBJECT_ACL,
        Action.GET_OBJECT_VERSION_ACL, Action.PUT_OBJECT_ACL, Action.PUT_OBJECT_VERSION_ACL,
        Action.GET_OBJECT_TAGGING, Action.GET_OBJECT_VERSION_TAGGING,
        Action.PUT_OBJECT_TAGGING, Action.PUT_OBJECT_VERSION_TAGGING,
        Action.DELETE_OBJECT_TAGGING, Action.DELETE_OBJECT_VERSION_TAGGING,
        Action.GET_OBJECT_ATTRIBUTES, Action.GET_OBJECT_VERSION_ATTRIBUTES,
    }
)  # fmt: skip
"""What the owner of an object decides, where that is not the bucket's owner."""
_ABOUT_OBJECTS: Final = _THE_OBJECTS_OWNERS | {Action.DELETE_OBJECT, Action.DELETE_OBJECT_VERSION}
_EXISTING_TAG: Final = "s3:existingobjecttag/"


class Ownership(enum.StrEnum):
    """Who owns what others write into a bucket, and whether access lists count."""

    ENFORCED = "BucketOwnerEnforced"
    """The bucket's owner owns everything; lists do not count."""
    PREFERRED = "BucketOwnerPreferred"
    """The writer, unless the write grants the bucket's owner full control."""
    WRITER = "ObjectWriter"
    """The writer. So it is where a bucket does not say."""


@dataclass(frozen=True, slots=True)
class Block:
    """Settings of "block public access", as the document names them."""

    public_acls: bool = False
    ignore_acls: bool = False
    public_policy: bool = False
    restrict: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about access to one bucket.

    Attributes:
        owner: canonical id of the bucket's owner.
        policy: None where there is none.
        is_public: whether the policy is.
        is_broken: there is a policy that cannot be read; it forbids everything.
        acl: the bucket's list; it counts where `ownership` lets it.
    """

    owner: str
    ownership: Ownership
    block: Block
    policy: documents.Document | None
    is_public: bool
    is_broken: bool
    acl: grants.AccessList

    @property
    def has_lists(self) -> bool:
        """Whether access lists count."""
        return self.ownership is not Ownership.ENFORCED

    def owner_of(self, writer: str) -> str:
        """Return who owns an object that `writer` wrote."""
        return writer if self.has_lists else self.owner

    def needs_object(self, action: Action) -> bool:
        """Whether the object must be looked at before this can be decided."""
        if action not in _ABOUT_OBJECTS:
            return False
        if self.policy is not None and self.policy.asks_for(_EXISTING_TAG):
            return True
        return self.has_lists and action in _THE_OBJECTS_OWNERS

    def may_interest(self, principal: identities.Principal) -> bool:
        """Whether anything in the bucket can be allowed to `principal` at all."""
        return (
            principal.is_root
            or self.has_lists
            or self.policy is not None
            or (principal.user_id == self.owner and not principal.is_anonymous)
        )


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What is known of an object that is already there.

    Attributes:
        writer: canonical id of who wrote it.
        acl: its list; None where it was written without one.
        tags: key → value.
        is_new: the asker is about to make it.
    """

    writer: str
    acl: grants.AccessList | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    is_new: bool = False


def rules_of(bucket: records.Bucket) -> Rules:
    """Read a bucket's rules; those of recently asked buckets are remembered."""
    settings = bucket.settings
    return _rules(
        bucket.owner,
        settings.get(POLICY),
        settings.get(PUBLIC_ACCESS),
        settings.get(OWNERSHIP),
        settings.get(ACL),
    )


@functools.lru_cache(maxsize=_REMEMBERED)
def _rules(
    owner: str, text: str | None, block: str | None, ownership: str | None, acl: str | None
) -> Rules:
    document, is_broken = None, False
    if text is not None:
        try:
            document = documents.parse(text, documents.Kind.BUCKET)
        except errors.MalformedPolicy:
            # It was read when it was set, so somebody changed it behind our back.
            is_broken = True
    return Rules(
        owner,
        _ownership(ownership),
        _block(block),
        document,
        document is not None and exposure.is_public(document),
        is_broken,
        grants.private(owner) if acl is None else grants.AccessList.parse(acl),
    )


def _ownership(text: str | None) -> Ownership:
    if text is None:
        return Ownership.WRITER
    return Ownership(json.loads(text)["Rules"][0]["ObjectOwnership"])


def _block(text: str | None) -> Block:
    if text is None:
        return Block()
    found = json.loads(text)
    return Block(
        found.get("BlockPublicAcls", False),
        found.get("IgnorePublicAcls", False),
        found.get("BlockPublicPolicy", False),
        found.get("RestrictPublicBuckets", False),
    )


def arn_of(bucket: str | None, key: str | None) -> str:
    """Return how policies name a bucket or an object; without a bucket, all of them."""
    if bucket is None:
        return "arn:aws:s3:::*"
    return f"arn:aws:s3:::{bucket}" if key is None else f"arn:aws:s3:::{bucket}/{key}"


def may_without_bucket(
    principal: identities.Principal,
    action: str,
    resource: str = "*",
    context: Callable[[], wildcards.Context] = dict,
) -> bool:
    """Whether `principal` may do what concerns no existing bucket."""
    if principal.member is not None:
        return _by_identity(principal, action, resource, context) is policy.Verdict.ALLOWED
    if principal.is_root:
        return True
    return not principal.is_anonymous and action in actions.NEEDS_NO_BUCKET


def own_policies(
    principal: identities.Principal, keys: Callable[[], wildcards.Context]
) -> Callable[[str, str], bool] | None:
    """Return what tells whether the asker's own policies allow an action on a resource.

    None for an account's owner, who needs none. It knows the keys that every service knows, and
    nothing of the action: allows under conditions on that do not count, denies under such do.

    Args:
        principal: who asks.
        keys: makes the condition keys of `global_keys.of_request`.
    """
    if principal.member is None:
        return None

    def permits(action: str, resource: str) -> bool:
        verdict = _by_identity(principal, action, resource, keys, _is_of_action)
        return verdict is policy.Verdict.ALLOWED

    return permits


def own_denials(
    principal: identities.Principal, keys: Callable[[], wildcards.Context]
) -> Callable[[str, str], bool] | None:
    """Return what tells whether the asker's own policies, or a session's limits, deny something.

    Arguments and knowledge as of `own_policies`; silence denies nothing here.
    """
    member = principal.member
    if member is None:
        return None
    judged_by = member.policies if member.session is None else (*member.policies, member.session)

    def forbids(action: str, resource: str) -> bool:
        asked = policy.Asked(principal.asker, action, resource, keys(), _is_of_action)
        return policy.judge(judged_by, asked) is policy.Verdict.DENIED

    return forbids


def _is_of_action(key: str) -> bool:
    """Whether a condition key is about something else than who asks, when and from where."""
    return not key.startswith(global_keys.OF_REQUESTS)


def _by_identity(
    principal: identities.Principal,
    action: str,
    resource: str,
    context: Callable[[], wildcards.Context],
    unknown: Callable[[str], bool] | None = None,
) -> policy.Verdict:
    """Say what the asker's own policies say; whoever owns an account needs none."""
    member = principal.member
    if member is None:
        return policy.Verdict.ALLOWED
    asked = policy.Asked(principal.asker, action, resource, context(), unknown)
    verdict = policy.judge(member.policies, asked)
    if member.session is not None and verdict is policy.Verdict.ALLOWED:
        # A session may do what its policies and its limits both allow.
        return policy.judge([member.session], asked)
    return verdict


def decide(
    principal: identities.Principal,
    action: Action,
    resource: str,
    rules: Rules,
    *,
    context: Callable[[], wildcards.Context],
    found: ObjectFacts | None = None,
    begun_by: str = "",
) -> policy.Verdict:
    """Say whether `principal` may do `action` in a bucket: ALLOWED, SILENT or DENIED.

    SILENT is no permission either; it only tells that nobody forbade it in words.

    Args:
        principal: who asks; `identities.ANONYMOUS` for unsigned requests.
        action: what is asked.
        resource: ARN of bucket or object.
        rules: of the bucket.
        context: makes the condition keys; called only where a policy is judged.
        found: the object, where `Rules.needs_object` says so and there is one.
        begun_by: canonical id of whose undertaking this is about; its own may be gone on with
            and given up.
    """
    own_account = principal.user_id == rules.owner and not principal.is_anonymous
    is_member = principal.member is not None
    if action in _ABOUT_POLICY and not is_member and (own_account or principal.is_root):
        return policy.Verdict.ALLOWED
    if rules.is_broken:
        return policy.Verdict.DENIED
    by_policy = _by_policy(principal, action, resource, rules, context, found)
    by_identity = _by_identity(principal, action, resource, context)
    if policy.Verdict.DENIED in (by_policy, by_identity):
        return policy.Verdict.DENIED
    if rules.block.restrict and rules.is_public and not own_account:
        by_policy = policy.Verdict.SILENT
    is_foreign = (
        found is not None
        and rules.owner_of(found.writer) != rules.owner
        and action in _THE_OBJECTS_OWNERS
    )
    if is_foreign:
        by_policy = policy.Verdict.SILENT
    # Within an account either side's word is enough.
    named = own_account and by_policy is policy.Verdict.ALLOWED and not _limits(principal)
    granted = (
        principal.is_root
        or (own_account and not is_foreign)
        or by_policy is not policy.Verdict.SILENT
        or (begun_by != "" and begun_by == principal.user_id and not principal.is_anonymous)
        or (rules.has_lists and _is_listed(principal, action, rules, found))
    )
    if named or (granted and by_identity is policy.Verdict.ALLOWED):
        return policy.Verdict.ALLOWED
    return policy.Verdict.SILENT


def _limits(principal: identities.Principal) -> bool:
    """Whether a session's limits hold, which a bucket's policy does not widen."""
    return principal.member is not None and principal.member.session is not None


def _by_policy(
    principal: identities.Principal,
    action: Action,
    resource: str,
    rules: Rules,
    context: Callable[[], wildcards.Context],
    found: ObjectFacts | None,
) -> policy.Verdict:
    """Say what the bucket's policy says."""
    if rules.policy is None:
        return policy.Verdict.SILENT
    keys = context()
    if found is not None and found.tags:
        keys = {**keys, **{_EXISTING_TAG + tag: (v,) for tag, v in found.tags.items()}}
    return policy.judge([rules.policy], policy.Asked(principal.asker, action, resource, keys))


def _is_listed(
    principal: identities.Principal, action: Action, rules: Rules, found: ObjectFacts | None
) -> bool:
    """Whether an access list grants it, or the object is the asker's own."""
    if action in grants.ON_BUCKET:
        listed, permission = rules.acl, grants.ON_BUCKET[action]
    elif found is None or action not in _THE_OBJECTS_OWNERS:
        return False
    elif found.is_new or (principal.user_id == found.writer and not principal.is_anonymous):
        # Nobody owns what strangers wrote, but a stranger says what becomes of it in writing.
        return True
    elif action in grants.ON_OBJECT:
        listed, permission = found.acl or grants.private(found.writer), grants.ON_OBJECT[action]
    else:
        return False
    if rules.block.ignore_acls:
        listed = listed.without_public()
    return listed.allows(principal, permission)
