"""Gathers what `access.decision` needs to know of one request, and asks it."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.access import actions, decision, global_keys, grants, identities, policy
from strongroom.access.actions import Action
from strongroom.dialects.operation import Need
from strongroom.keyring import kms
from strongroom.service import judgement
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from strongroom.service import objects
    from strongroom.wire import message

    Find = Callable[[str], Awaitable[records.Bucket]]
    Look = Callable[[str, str, str | None], Awaitable[objects.Marked]]

_FROM_WHERE = frozenset({"aws:securetransport", "aws:sourceip", "aws:useragent"})
_READS = frozenset({Action.GET_OBJECT, Action.GET_OBJECT_ATTRIBUTES})


def key_caller(
    principal: identities.Principal, request: message.Request | None, now_ms: int, *, direct: bool
) -> kms.Caller:
    """Return a principal as the KMS knows callers.

    Args:
        principal: who asks.
        request: with which; None where the store acts for an account's owner by itself.
        now_ms: the time.
        direct: it asks the KMS itself; else S3 asks in its name.
    """
    member, asker = principal.member, principal.asker

    def keys() -> global_keys.Keys:
        assert request is not None, "only owners have no request, and no policies that ask of it"
        agent = request.header(b"user-agent")
        return global_keys.of_request(
            principal,
            now_ms,
            secure=request.secure,
            peer=request.peer,
            user_agent=None if agent is None else agent.decode("latin-1"),
        )

    return kms.Caller(
        # Nobody in particular has no key, whatever a policy says. Source: S3 refuses unsigned
        # requests for objects under KMS keys.
        "" if principal.is_anonymous else principal.user_id,
        is_root=principal.is_root,
        name=principal.name,
        direct=direct,
        member="" if member is None else member.arn,
        names=asker.names,
        account_names=asker.account_names,
        limits=None if member is None else (member.session, _seen(member, keys)),
        forbids=decision.own_denials(principal, keys),
        permits=decision.own_policies(principal, keys),
    )


def _seen(member: identities.Member, keys: Callable[[], global_keys.Keys]) -> tuple[object, ...]:
    """Return what a member's policies ask of the request, besides when it came.

    Requests that differ in it may be permitted different things.
    """
    judged_by = member.policies if member.session is None else (*member.policies, member.session)
    asked = {key for document in judged_by for key in document.keys} & _FROM_WHERE
    if not asked:
        return ()
    found = keys()
    return tuple((key, found.get(key)) for key in sorted(asked))


class Authority:
    """Decides what one request's principal may do; see `operation.Judge`."""

    def __init__(
        self,
        principal: identities.Principal,
        bucket: records.Bucket | None,
        *,
        name: str | None,
        keys: Callable[[], Mapping[str, tuple[str, ...]]],
        find: Find,
        look: Look,
    ) -> None:
        """Begin to judge a request.

        Args:
            principal: who asks.
            bucket: what the request's path names, if it is there.
            name: what the path names.
            keys: makes the condition keys of the request.
            find: finds another bucket.
            look: reads what is known of an object without its key.
        """
        self._principal = principal
        self._bucket = bucket
        self._name = name
        self._make_keys = keys
        self._keys: Mapping[str, tuple[str, ...]] | None = None
        self._find = find
        self._look = look
        self.needed_list = False
        """Whether an access list alone allowed something, in a bucket that keeps a log."""

    def check_interest(self) -> None:
        """Refuse whom the bucket has nothing for, before more of the request is read.

        Raises:
            AccessDenied: nothing at all can be allowed here.
        """
        if self._bucket is not None and not decision.rules_of(self._bucket).may_interest(
            self._principal
        ):
            raise errors.AccessDenied

    async def may(self, need: Need) -> bool:
        """See the protocol."""
        return await self._verdict(need) is policy.Verdict.ALLOWED

    async def require(self, need: Need) -> None:
        """See the protocol.

        Who may list a bucket is told that an object is not there, whether or not the
        object could have been read. Source: S3 API reference, GetObject, "Permissions".

        Raises:
            AccessDenied, BucketNotFound: see there.
            ObjectNotFound: as said.
        """
        verdict = await self._verdict(need)
        if verdict is policy.Verdict.ALLOWED:
            return
        if verdict is policy.Verdict.SILENT and need.action in _READS and need.key is not None:
            bucket = await self._place(need)
            if (
                bucket is not None
                and await self.may_list(bucket.name, need.key)
                and await self._found(bucket, need) is None
            ):
                raise errors.ObjectNotFound(bucket.name, need.key)
        raise errors.AccessDenied

    async def may_list(self, bucket: str, key: str) -> bool:
        """Tell whether the principal could learn from a listing that a key is not there."""
        return await self.may(Need(Action.LIST_BUCKET, bucket=bucket, keys={"s3:prefix": (key,)}))

    async def _place(self, need: Need) -> records.Bucket | None:
        if need.bucket is None or (self._bucket is not None and need.bucket == self._bucket.name):
            return self._bucket
        return await self._find(need.bucket)

    async def _verdict(self, need: Need) -> policy.Verdict:
        bucket = await self._place(need)
        action = need.action
        if bucket is None:
            # What concerns no bucket, or one that is not there yet.
            resource = decision.arn_of(need.bucket or self._name, None)
            if decision.may_without_bucket(self._principal, action, resource, self._own_keys):
                return policy.Verdict.ALLOWED
            return policy.Verdict.SILENT
        rules = decision.rules_of(bucket)
        if need.version_id is not None:
            action = actions.OF_A_VERSION.get(action, action)
        found: decision.ObjectFacts | None = None
        if need.makes:
            found = decision.ObjectFacts(self._principal.user_id, is_new=True)
        elif need.key is not None and rules.needs_object(action):
            found = await self._found(bucket, need)
        decide = functools.partial(
            decision.decide,
            self._principal,
            action,
            decision.arn_of(bucket.name, need.key),
            context=lambda: self._context(bucket, need),
            found=found,
            begun_by=need.begun_by,
        )
        verdict = decide(rules=rules)
        if (
            verdict is policy.Verdict.ALLOWED
            and rules.has_lists
            and records.LOGGING in bucket.settings
        ):
            # Only an access log asks for this, so that others need not be judged twice.
            without = dataclasses.replace(rules, ownership=decision.Ownership.ENFORCED)
            self.needed_list |= decide(rules=without) is not policy.Verdict.ALLOWED
        return verdict

    def _own_keys(self) -> Mapping[str, tuple[str, ...]]:
        if self._keys is None:
            self._keys = self._make_keys()
        return self._keys

    def _context(self, bucket: records.Bucket, need: Need) -> Mapping[str, tuple[str, ...]]:
        account = (identities.account_of(bucket.owner),)
        own: dict[str, tuple[str, ...]] = {
            "aws:resourceaccount": account,
            "s3:resourceaccount": account,
        }
        if need.version_id is not None:
            own["s3:versionid"] = (need.version_id,)
        return {**self._own_keys(), **own, **need.keys}

    async def _found(self, bucket: records.Bucket, need: Need) -> decision.ObjectFacts | None:
        assert need.key is not None, "only objects are looked at"
        name = (bucket.name, need.key, need.version_id)
        try:
            marked = await self._look(*name)
        except (errors.ObjectNotFound, errors.VersionNotFound, errors.IsDeleteMarker):
            judgement.note(*name, judgement.NOTHING)
            return None
        judgement.note(*name, marked.generation)
        acl = grants.AccessList.parse(marked.acl) if marked.acl else None
        return decision.ObjectFacts(marked.writer, acl, marked.tags)
