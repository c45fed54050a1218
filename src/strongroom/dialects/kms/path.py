"""The request path of the KMS, in fixed order.

    read the body → which operation → authenticate → bind → handle → reply

Unlike S3's (`dialects.pipeline`), it has no buckets and no streams, and it does not
authorise: whom a key serves is the key's own affair, judged in `keyring.kms` with the
key at hand. There no call is answered without a `Caller`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from strongroom import errors
from strongroom.dialects import operation, pipeline
from strongroom.dialects.kms import services
from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.access import identities
    from strongroom.keyring import kms

MAX_BODY_BYTES = 1024 * 1024
"""The largest request that is read; a key policy with all its escapes has 200 kB."""


class Dialect(Protocol):
    """The steps that differ. All but `refuse` may raise `Refused` or a domain error."""

    @property
    def handlers(self) -> Mapping[str, services.Handler]:
        """The served operations."""
        ...

    def name(self, request: message.Request, body: bytes) -> str:
        """Find out which operation is meant; it need not be a served one."""
        ...

    async def authenticate(
        self, request: message.Request, body: bytes
    ) -> tuple[identities.Principal, str]:
        """Return who sent it, and the access key that signed."""
        ...

    def now_ms(self) -> int:
        """Return the time."""
        ...

    def bind(self, name: str, request: message.Request, body: bytes) -> dict[str, Any]:
        """Return the operation's params."""
        ...

    def reply(
        self, name: str, request: message.Request, result: services.Result
    ) -> message.Response:
        """Write an answer."""
        ...

    def refuse(self, request: message.Request, error: Exception) -> tuple[message.Response, str]:
        """Write a refusal; return it with its error code. Never raises."""
        ...


class Path:
    """Carries each request of a dialect through all steps."""

    def __init__(
        self,
        dialect: Dialect,
        offered: services.Services,
        *,
        report: Callable[[message.Request, Exception], None],
    ) -> None:
        """Make the path.

        Args:
            dialect: the steps that differ.
            offered: handed to the handlers.
            report: is told of failures that are not the client's.
        """
        self._dialect = dialect
        self._services = offered
        self._report = report

    def refuse(self, request: message.Request, error: Exception) -> pipeline.Outcome:
        """Refuse a request in the dialect's words."""
        response, code = self._dialect.refuse(request, error)
        return pipeline.Outcome(response, error=code)

    async def handle(self, request: message.Request, body: bytes) -> pipeline.Outcome:
        """Answer a request whose body was read; whatever goes wrong becomes an answer too."""
        outcome = pipeline.Outcome(message.Response(500, []))
        dialect = self._dialect
        try:
            outcome.operation = name = dialect.name(request, body)
            principal, outcome.access_key = await dialect.authenticate(request, body)
            outcome.principal = principal
            handler = dialect.handlers.get(name, _not_served)
            params = dialect.bind(name, request, body)
            outcome.kms_key = str(params.get("KeyId", ""))
            caller = services.caller(principal, request, dialect.now_ms())
            check_keyless(name, caller)
            result = await handler(services.Call(params, caller, self._services))
            made = result.get("KeyMetadata") or result
            outcome.kms_key = str(made.get("Arn") or made.get("KeyId") or outcome.kms_key)
            outcome.response = dialect.reply(name, request, result)
        except (operation.Refused, errors.StrongroomError) as error:
            if isinstance(error, errors.StoreTrouble | errors.NotAuthentic | errors.KmsUnavailable):
                self._report(request, error)
            outcome.cause = error
            outcome.response, outcome.error = dialect.refuse(request, error)
        except Exception as error:  # noqa: BLE001 - the last resort: a bug must become an answer
            self._report(request, error)
            outcome.cause = error
            outcome.response, outcome.error = dialect.refuse(request, error)
        return outcome


_JUDGED_BY_KEY: Final = frozenset(
    {
        "CancelKeyDeletion",
        "CreateGrant",
        "Decrypt",
        "DescribeKey",
        "DisableKey",
        "DisableKeyRotation",
        "EnableKey",
        "EnableKeyRotation",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateMac",
        "GetKeyPolicy",
        "GetKeyRotationStatus",
        "GetPublicKey",
        "ListGrants",
        "ListKeyPolicies",
        "ListKeyRotations",
        "ListResourceTags",
        "PutKeyPolicy",
        "ReEncrypt",
        "RetireGrant",
        "RevokeGrant",
        "RotateKeyOnDemand",
        "ScheduleKeyDeletion",
        "Sign",
        "TagResource",
        "UntagResource",
        "UpdateKeyDescription",
        "Verify",
        "VerifyMac",
    }
)
"""Operations that find their key and ask whether the caller may use it.

Named, not told by their parameters: those are the caller's to choose. An operation that is
missing here is asked about once more than it need be.
"""


def check_keyless(name: str, caller: kms.Caller) -> None:
    """Refuse what concerns no key in particular to whom no policy of its own allows it.

    Raises:
        KmsAccessDenied: it is not allowed.
    """
    if name in _JUDGED_BY_KEY or caller.permits is None:
        return
    if not caller.permits(f"kms:{name}", "*"):
        raise errors.KmsAccessDenied(
            f"User is not authorized to perform: kms:{name} because no identity-based policy"
            f" allows the kms:{name} action"
        )


async def _not_served(_call: services.Call) -> services.Result:
    """Stand in for what the model has and this release has not."""
    raise operation.Refused("NotServed")


async def read_body(request: message.Request) -> bytes:
    """Read a request's body whole.

    Raises:
        BodyTooLong: it passes `MAX_BODY_BYTES`.
        ClientGone: the client hung up.
    """
    pieces = bytearray()
    async for piece in request.body:
        pieces += piece
        if len(pieces) > MAX_BODY_BYTES:
            raise errors.BodyTooLong("a request of the KMS is small")
    return bytes(pieces)
