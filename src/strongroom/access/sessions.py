"""Temporary credentials: all that they stand for is in their token, sealed by the server.

Nothing is stored for them. A token ends by itself, and with the user or role whose it is.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.keyring import master


@dataclass(frozen=True, slots=True)
class Session:
    """What a token stands for.

    Attributes:
        user_id: canonical id of the account.
        member: id of the user or role in it; empty for the account's owner.
        name: of the session, where a role was assumed.
        policy: limits, as they were sent; empty for none.
        issued_ms: when it began; 0 in tokens of older releases.
        provider: ARN of the identity provider that vouched for it; empty for none.
    """

    user_id: str
    member: str
    name: str
    policy: str
    expires_ms: int
    secret_key: secret.SecretKey = field(repr=False)
    issued_ms: int = 0
    provider: str = ""


def seal(
    keeper: master.Master,
    access_key: str,
    session: Session,
    random_bytes: Callable[[int], bytes],
) -> str:
    """Return the token of a session, bound to its access key."""
    fields = [
        session.user_id,
        session.member,
        session.name,
        session.policy,
        session.expires_ms,
        session.secret_key.reveal().decode(),
        session.issued_ms,
        session.provider,
    ]
    sealed = keeper.seal_session(access_key, json.dumps(fields).encode(), random_bytes)
    return base64.urlsafe_b64encode(sealed).decode()


def parse(keeper: master.Master, access_key: str, token: str) -> Session:
    """Open a token.

    Raises:
        TokenInvalid: it is none of ours, or not of this access key.
    """
    try:
        sealed = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        raw = keeper.open_session(access_key, sealed)
    except (binascii.Error, ValueError, errors.NotAuthentic) as error:
        raise errors.TokenInvalid("not a token of this access key") from error
    user_id, member, name, policy, expires_ms, secret_key, *later = json.loads(raw)
    opened = secret.SecretKey(secret_key.encode())
    return Session(user_id, member, name, policy, expires_ms, opened, *later)
