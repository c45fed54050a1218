"""Which master of the KMS an operator chose: text in, an adapter out.

    vault://HOST:PORT/MOUNT/KEY ?ca=FILE &namespace=NAME &tls=off
    aws:KEY                     ?region=REGION &endpoint=URL &ca=FILE
    pkcs11:token=LABEL;object=LABEL ?module-path=FILE      (RFC 7512)
    kmip://HOST:PORT/KEY-ID     ?cert=FILE &key=FILE &ca=FILE

The secret (Vault's token, the PIN) comes apart, by environment only: a URL ends up in
process lists and logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from strongroom import errors
from strongroom.keyring.connectors import aws, kmip, pkcs11, vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.crypto import secret
    from strongroom.keyring import masters

_KMIP_PORT: Final = 5696
_OPTIONS: Final = {
    "vault": {"ca", "namespace", "tls"},
    "aws": {"region", "endpoint", "ca"},
    "pkcs11": {"module-path"},
    "kmip": {"cert", "key", "ca"},
}


def make(
    url: str, given: secret.SecretKey | None, random_bytes: Callable[[int], bytes]
) -> masters.MasterKeys:
    """Make the adapter that a URL names; nothing is asked yet.

    Args:
        url: see the module.
        given: token or PIN; None where there is none.
        random_bytes: source of wrapping keys.

    Raises:
        MasterKeyTrouble: the URL cannot be used, or the package is missing; the text says
            what to do.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _unusable("it is no URL") from None
    if parts.scheme not in _OPTIONS:
        raise _unusable(f"it begins with none of {', '.join(sorted(_OPTIONS))}")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if unknown := options.keys() - _OPTIONS[parts.scheme]:
        raise _unusable(f"it has unknown options: {', '.join(sorted(unknown))}")
    try:
        if parts.scheme == "vault":
            return _vault(parts, options, given, random_bytes)
        if parts.scheme == "aws":
            return _aws(parts, options)
        if parts.scheme == "pkcs11":
            return _pkcs11(parts, options, given)
        return _kmip(parts, port or _KMIP_PORT, options, random_bytes)
    except ImportError as error:
        raise errors.MasterKeyTrouble(
            f"The master of the KMS needs a package that is not installed: run"
            f" `pip install 'strongroom[{parts.scheme}]'`."
        ) from error
    except KeyError as error:
        raise _unusable(f"it lacks {error.args[0]}") from None


def _vault(
    parts: SplitResult,
    options: dict[str, str],
    given: secret.SecretKey | None,
    random_bytes: Callable[[int], bytes],
) -> masters.MasterKeys:
    mount, _, key = unquote(parts.path).strip("/").rpartition("/")
    if not (parts.netloc and mount and key):
        raise _unusable("it must be vault://HOST:PORT/MOUNT/KEY")
    scheme = "http" if options.get("tls") == "off" else "https"
    return vault.VaultMaster(
        f"{scheme}://{parts.netloc}",
        _needed(given),
        key,
        mount=mount,
        namespace=options.get("namespace"),
        ca_bundle=options.get("ca"),
        random_bytes=random_bytes,
    )


def _aws(parts: SplitResult, options: dict[str, str]) -> masters.MasterKeys:
    if not parts.path or parts.netloc:
        raise _unusable("it must be aws:KEY, with an id, an ARN or an alias")
    return aws.AwsMaster(
        unquote(parts.path),
        region=options.get("region"),
        endpoint_url=options.get("endpoint"),
        ca_bundle=options.get("ca"),
    )


def _pkcs11(
    parts: SplitResult, options: dict[str, str], given: secret.SecretKey | None
) -> masters.MasterKeys:
    named = {
        unquote(name): unquote(value)
        for name, _, value in (piece.partition("=") for piece in parts.path.split(";"))
    }
    return pkcs11.Pkcs11Master(
        options["module-path"], named["token"], _needed(given), named["object"]
    )


def _kmip(
    parts: SplitResult,
    port: int,
    options: dict[str, str],
    random_bytes: Callable[[int], bytes],
) -> masters.MasterKeys:
    key_id = unquote(parts.path).strip("/")
    if not (parts.hostname and key_id):
        raise _unusable("it must be kmip://HOST:PORT/KEY-ID")
    return kmip.KmipMaster(
        parts.hostname,
        port,
        key_id,
        cert=options["cert"],
        key=options["key"],
        ca_bundle=options["ca"],
        random_bytes=random_bytes,
    )


def _needed(given: secret.SecretKey | None) -> secret.SecretKey:
    if given is None:
        raise errors.MasterKeyTrouble(
            "The master of the KMS needs a token or PIN: set STRONGROOM_KMS_MASTER_SECRET."
        )
    return given


def _unusable(why: str) -> errors.MasterKeyTrouble:
    # The URL is not shown: somebody may have put a password into it.
    return errors.MasterKeyTrouble(f"--kms-master cannot be used: {why}.")
