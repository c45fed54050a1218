"""What a store or the way to it answered, as one sentence that says what to do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from strongroom.cli import failures
from strongroom.cli.remote import places

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_FOUND = frozenset({"404", "NoSuchKey", "NoSuchVersion"})
_LOST_CONDITION = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})
_HEAD_HAS_NO_BODY = frozenset({"400", "403"})


class Lost(failures.Failed):
    """A condition did not hold: what is there is not what was expected."""


class Missing(failures.Failed):
    """What was named is not there."""


class Cut(failures.Failed):
    """A connection broke off in the middle of a reply."""


@contextlib.contextmanager
def told(what: places.Remote | str) -> Iterator[None]:
    """Turn what botocore raises within into `Failed`, about `what`.

    Raises:
        Missing, Lost, Cut, Failed: as said there.
    """
    from botocore import exceptions  # noqa: PLC0415 - an extra, and slow to load
    from urllib3 import exceptions as below  # noqa: PLC0415 - likewise

    name = places.shown(str(what))
    try:
        yield
    except exceptions.ClientError as error:
        raise _answered(error, name) from None
    except exceptions.SSLError:
        raise failures.Failed(
            f"{name}: the store's certificate is not trusted; give its CA with --ca-bundle (that of a"
            " store's own is DATA_DIR/tls/ca.crt)."
        ) from None
    except exceptions.EndpointConnectionError as error:
        raise failures.Failed(
            f"{name}: nobody answers at {error.kwargs.get('endpoint_url')}; is the store running?"
        ) from None
    except (exceptions.HTTPClientError, exceptions.IncompleteReadError, below.HTTPError):
        raise Cut(
            f"{name}: the connection broke off; run the command again when the store is there."
        ) from None
    except exceptions.ParamValidationError as error:
        # Its report quotes the value: names are fine, and no key can be of the wrong type here.
        raise failures.Failed(f"{name}: {_first_line(error)}") from None
    except exceptions.BotoCoreError as error:
        raise failures.Failed(f"{name}: {_first_line(error)}") from None


def code_of(error: Any) -> str:
    """Return S3's code of a ClientError."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _answered(error: Any, name: str) -> failures.Failed:
    code = code_of(error)
    message = places.shown(str(error.response.get("Error", {}).get("Message", ""))).rstrip(".")
    if code in NOT_FOUND:
        return Missing(f"{name}: there is no such object.")
    if code == "NoSuchBucket":
        return Missing(f"{name}: there is no such bucket.")
    if code in _LOST_CONDITION:
        return Lost(f"{name}: it changed meanwhile, or is there already.")
    if code in _HEAD_HAS_NO_BODY:
        # A HEAD is answered without words.
        why = (
            "the store refuses the request; an object under a customer key wants --sse-c-key, and one"
            " without a customer key refuses it"
            if code == "400"
            else "refused: another customer key guards it, or you may not read it"
        )
        return failures.Failed(f"{name}: {why}.")
    return failures.Failed(f"{name}: {message or 'refused'} ({code}).")


def _first_line(error: Exception) -> str:
    return places.shown(" ".join(str(error).split()))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Let what botocore raises within pass: for clearing up after something that is told already."""
    from botocore import exceptions  # noqa: PLC0415 - as above

    with contextlib.suppress(exceptions.ClientError, exceptions.BotoCoreError):
        yield
