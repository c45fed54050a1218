"""Where a customer's key comes from on a command line: a file, a variable, a passphrase.

Never the command line itself: every user of a machine can read it. So an error
here does not repeat what was given where that might be a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from strongroom.cli import failures
from strongroom.crypto import passphrase, secret

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_BYTES = 32
PASSPHRASE_VARIABLE: Final = "STRONGROOM_PASSPHRASE"  # noqa: S105 - the name of a variable
FORMS = (
    "FILE, or file:FILE: holds the 32 bytes, or their 64 hex digits, or their base64."
    " env:NAME: a variable that does."
    " passphrase:RECIPE: asks for the passphrase (or takes it from STRONGROOM_PASSPHRASE);"
    " RECIPE is what `keys derive` printed, or a file with it."
)
"""For help texts: what a source of a key may be."""

_MAX_FILE_BYTES = 16 * 1024
"""No key, passphrase or recipe is longer; a wrong path may name anything."""
_HEX = re.compile(rb"[0-9A-Fa-f]{64}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{43}=")


def read(source: str, environ: Mapping[str, str] = os.environ) -> secret.SecretKey:
    """Return the key that `source` names, of `KEY_BYTES`; see `FORMS`.

    Raises:
        Failed: there is none, or it is no key.
        BadParameter: `source` has none of the forms.
    """
    kind, colon, rest = source.partition(":")
    match kind if colon else "":
        case "env":
            return _from_variable(rest, environ)
        case "passphrase":
            return read_recipe(rest).derive(read_passphrase(None, environ))
        case "fileb":
            # As the aws-cli writes it.
            return _from_file(rest.removeprefix("//"))
        case "file":
            return _from_file(rest.removeprefix("//"))
        case _:
            return _from_file(source)


def read_pem(source: str) -> bytes | None:
    """Return the bytes of a PEM file that `source` names; None if it names anything else."""
    kind, colon, rest = source.partition(":")
    name = rest.removeprefix("//") if colon and kind in ("file", "fileb") else source
    try:
        raw = _read_bytes(Path(name))
    except failures.Failed:
        # Whoever reads it as a key says what is wrong with it.
        return None
    return raw if raw.startswith(b"-----BEGIN ") else None


def parse(raw: bytes) -> secret.SecretKey | None:
    """Read a key from 32 bytes, 64 hex digits or base64; None if it is none of these.

    Only text may have a line end: in 33 bytes nobody can tell whether the last belongs to the key.
    """
    if len(raw) == KEY_BYTES:
        return secret.SecretKey(raw)
    text = raw.removesuffix(b"\n").removesuffix(b"\r")
    if _HEX.fullmatch(text):
        return secret.SecretKey(bytes.fromhex(text.decode()))
    if _BASE64.fullmatch(text):
        try:
            return secret.SecretKey(base64.b64decode(text, validate=True))
        except binascii.Error:
            return None
    return None


def md5_base64(key: secret.SecretKey) -> str:
    """Return the MD5 of a key as S3's headers carry it."""
    digest = hashlib.md5(key.reveal(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def read_recipe(text: str) -> passphrase.Recipe:
    """Read a recipe, or the file that holds it.

    Raises:
        Failed: it is none.
    """
    if not text.startswith("$"):
        text = _read_bytes(Path(text)).decode("utf-8", "replace")
    try:
        return passphrase.Recipe.parse(text)
    except ValueError as error:
        raise failures.Failed(str(error)) from None


def read_passphrase(
    file: Path | None, environ: Mapping[str, str] = os.environ, *, twice: bool = False
) -> secret.SecretKey:
    """Return a passphrase: of `file` if given, else of the variable, else asked for.

    A line end at the end of the file does not count.

    Args:
        file: where it lies.
        environ: the environment.
        twice: ask again and compare, since a slip would make a key that nobody can make again.

    Raises:
        Failed: there is none.
    """
    if file is not None:
        raw = _read_bytes(file).removesuffix(b"\n").removesuffix(b"\r")
        text = raw.decode("utf-8", "surrogateescape")
    elif PASSPHRASE_VARIABLE in environ:
        text = environ[PASSPHRASE_VARIABLE]
    else:
        text = click.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True)
    try:
        return passphrase.encode(text)
    except ValueError as error:
        raise failures.Failed(str(error)) from None


def _from_variable(name: str, environ: Mapping[str, str]) -> secret.SecretKey:
    value = environ.get(name)
    if value is None:
        raise failures.Failed(f"The variable {name} is not set.")
    # As it was in the environment, whatever its bytes are.
    found = parse(os.fsencode(value))
    if found is None:
        raise failures.Failed(f"The variable {name} holds no key: {_WANTED}")
    return found


def _from_file(name: str) -> secret.SecretKey:
    path = Path(name)
    if parse(os.fsencode(name)) is not None and not path.exists():
        raise failures.Failed(
            "There is no file of the name given, which has the form of a key. A key on the command"
            " line can be seen by others: put a new one in a file or a variable, and give FILE or"
            " env:NAME."
        )
    found = parse(_read_bytes(path))
    if found is None:
        raise failures.Failed(f"{path} holds no key: {_WANTED}")
    return found


_WANTED = (
    "32 bytes, 64 hex digits or base64 of 32 bytes are wanted."
    " `strongroom keys new` makes one, `strongroom keys derive` makes one of a passphrase."
)


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        # ValueError: a name with a null character.
        why = error.strerror if isinstance(error, OSError) else "no file has such a name"
        raise failures.Failed(f"{path} cannot be read ({why}).") from None
