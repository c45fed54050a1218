"""The composition root's part about the key management service.

`keyring` stands below `access` and so cannot know how policies are judged: it is told here.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.access import documents, identities, policy, wildcards
from strongroom.dialects.kms import listener, path, services
from strongroom.dialects.kms.alibaba import dialect as alibaba
from strongroom.dialects.kms.aws import dialect as aws
from strongroom.keyring import kms_keys, kms_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.keyring import key_access, kms
    from strongroom.wire import message

_ACCOUNT: Final = re.compile(r"[0-9]{12}")


def listen(
    keys: kms.Kms,
    people: identities.Identities,
    *,
    region: str,
    clock_ms: Callable[[], int],
    report: Callable[[message.Request, Exception], None],
) -> tuple[kms_keys.Keys, listener.Listener]:
    """Put together what tends keys, and what answers on the KMS listener."""
    tended = kms_keys.Keys(keys)
    offered = services.Services(keys, tended, kms_pairs.Pairs(keys))
    spoken = alibaba.Alibaba(people, clock_ms=clock_ms)
    return tended, listener.Listener(
        path.Path(aws.Aws(people, region=region, clock_ms=clock_ms), offered, report=report),
        path.Path(spoken, offered, report=report),
        spoken.is_meant,
    )


def check_policy(text: str) -> None:
    """Check that a text is a key policy.

    Raises:
        KmsMalformedPolicy: it is not.
    """
    try:
        _parsed(text)
    except errors.MalformedPolicy as error:
        raise errors.KmsMalformedPolicy(str(error)) from error


def judge(text: str, asked: key_access.Asked) -> bool | None:
    """Judge a key policy; see `key_access.Judge`. What cannot be read allows nothing."""
    try:
        document = _parsed(text)
    except errors.MalformedPolicy:
        return False
    named = {wildcards.key_name(f"kms:EncryptionContext:{name}") for name in asked.context}
    if len(named) < len(asked.context):
        # Condition keys know no case. Two names that are one there could say two things.
        return False
    context: dict[str, tuple[str, ...]] = {
        wildcards.key_name(f"kms:EncryptionContext:{name}"): (value,)
        for name, value in asked.context.items()
    }
    context["kms:encryptioncontextkeys"] = tuple(asked.context)
    account = asked.account_names or asked.principals
    context["kms:calleraccount"] = tuple(filter(_ACCOUNT.fullmatch, account))
    if asked.via:
        context["kms:viaservice"] = (asked.via,)
    asker = policy.Asker(asked.principals, account)
    verdict = policy.judge([document], policy.Asked(asker, asked.action, asked.key_arn, context))
    if verdict is policy.Verdict.SILENT:
        return None
    return verdict is not policy.Verdict.DENIED


def names_of(caller: kms.Caller) -> frozenset[str]:
    """Return by what names policies and grants may speak of a caller: as buckets' policies do.

    Those of a member of an account are its own, not the owner's.
    """
    if caller.member:
        return caller.names
    if not caller.user_id:
        return frozenset()
    return identities.Principal(caller.user_id, caller.name, caller.is_root).asker.names


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> documents.Document:
    return documents.parse(text, documents.Kind.KEY)
