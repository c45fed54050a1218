"""`strongroom keys`: make keys, derive them from passphrases, tell them apart."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import failures, guarding, keysources, rotating, serving
from strongroom.crypto import passphrase, secret
from strongroom.server import files, home, settings

if TYPE_CHECKING:
    from collections.abc import Callable

_SHORT_PASSPHRASE_BYTES = 16
"""Shorter ones get a warning: few of them stand against somebody with a rack of machines."""

_MIB_KIB = 1024

_FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda raw: raw,
    "hex": lambda raw: raw.hex().encode() + b"\n",
    "base64": lambda raw: base64.b64encode(raw) + b"\n",
}

_out_option = click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the key there, mode 0600, and do not print it. A file that exists is kept.",
)
_format_option = click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    default="raw",
    show_default=True,
    help="What --out writes. raw is what aws-cli reads with fileb://.",
)


@click.group()
def keys() -> None:
    """Customer keys for SSE-C: make them, derive them, tell them apart.

    Nothing here keeps a key: what is lost cannot be had again, and neither can
    the objects under it. Have each key in two places.
    """


@keys.command(
    "new",
    epilog="""\b
Example:
  strongroom keys new --out diary.key
  strongroom cp diary.txt s3://diaries/ --sse-c-key diary.key""",
)
@_out_option
@_format_option
@serving.json_option
def new(out: Path | None, form: str, *, as_json: bool) -> None:
    """Make a random key of 32 bytes.

    Prints it in hex and base64, with the MD5 that S3's headers carry beside it.
    """
    with failures.told():
        made = secret.SecretKey(secrets.token_bytes(keysources.KEY_BYTES))
        _deliver(made, out, form, {}, as_json=as_json)


@keys.command(
    "derive",
    epilog="""\b
Example:
  strongroom keys derive --recipe-out diary.recipe --out diary.key
  strongroom keys derive --recipe diary.recipe --out again.key    (the same key)
  strongroom cp diary.txt s3://diaries/ --sse-c-key passphrase:diary.recipe""",
)
@click.option(
    "--recipe",
    metavar="TEXT|FILE",
    help="Make the key of this recipe again, instead of one with a new salt.",
)
@click.option(
    "--recipe-out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the recipe there as well. A file that exists is kept.",
)
@click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the passphrase lies. [default: the variable STRONGROOM_PASSPHRASE, else ask]",
)
@click.option(
    "--memory-mib",
    type=int,
    help=f"Memory for a new recipe. [default: {passphrase.DEFAULT_MEMORY_KIB // _MIB_KIB}]",
)
@click.option(
    "--passes", type=int, help=f"Passes for a new recipe. [default: {passphrase.DEFAULT_PASSES}]"
)
@click.option(
    "--lanes", type=int, help=f"Threads for a new recipe. [default: {passphrase.DEFAULT_LANES}]"
)
@_out_option
@_format_option
@serving.json_option
def derive(
    recipe: str | None,
    recipe_out: Path | None,
    passphrase_file: Path | None,
    memory_mib: int | None,
    passes: int | None,
    lanes: int | None,
    out: Path | None,
    form: str,
    *,
    as_json: bool,
) -> None:
    """Derive a key from a passphrase, by Argon2id.

    Prints the recipe (salt and parameters). It is no secret, but without it the
    same passphrase gives another key: keep it with your notes on the bucket. A
    random key is stronger; derive one only where you must be able to carry it in
    your head.
    """
    with failures.told():
        costs = {"memory_kib": memory_mib and memory_mib * _MIB_KIB, "passes": passes}
        chosen = {name: value for name, value in (costs | {"lanes": lanes}).items() if value}
        if recipe is not None and chosen:
            raise click.UsageError("--memory-mib, --passes and --lanes are for a new recipe.")
        if recipe is not None:
            found = keysources.read_recipe(recipe)
        else:
            try:
                found = passphrase.Recipe.fresh(secrets.token_bytes, **chosen)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
        words = keysources.read_passphrase(passphrase_file, twice=recipe is None)
        if recipe is None and len(words) < _SHORT_PASSPHRASE_BYTES:
            click.echo(
                "strongroom: This passphrase is short: whoever has an object can try guesses at"
                " leisure. Six random words are better.",
                err=True,
            )
        made = found.derive(words)
        if recipe_out is not None:
            _write_new(recipe_out, f"{found}\n".encode())
        table = {
            "recipe": str(found),
            "salt": found.salt.hex(),
            "memory_kib": found.memory_kib,
            "passes": found.passes,
            "lanes": found.lanes,
        }
        _deliver(made, out, form, table, as_json=as_json)


@keys.command("fingerprint", epilog=f"SOURCE is one of: {keysources.FORMS}")
@click.argument("source")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def fingerprint(source: str, *, as_json: bool, **options: Any) -> None:
    """Print the fingerprint of a customer key in a store.

    It tells keys apart and nothing else; it is made with the store's master key,
    so that another store has another one for the same key. Works on the data
    directory, also while the server runs. `strongroom keys objects` lists what
    a key guards, by its fingerprint.
    """
    with failures.told():
        chosen = home.inspected(settings.load(options, os.environ))
        key = keysources.read(source)
        from strongroom.server import build  # noqa: PLC0415 - after the options are known to be good

        async def opened() -> bytes:
            async with build.open_admin(chosen) as store:
                return store.fingerprint(key)

        found = asyncio.run(opened()).hex()
        click.echo(json.dumps({"fingerprint": found}) if as_json else found)


keys.add_command(rotating.rotate)
keys.add_command(guarding.objects)


def _deliver(
    key: secret.SecretKey, out: Path | None, form: str, about: dict[str, Any], *, as_json: bool
) -> None:
    """Write the key to `out`, or print it, and what is known `about` it."""
    raw = key.reveal()
    table = {"md5": keysources.md5_base64(key), **about}
    if out is None:
        table = {"hex": raw.hex(), "base64": base64.b64encode(raw).decode(), **table}
    else:
        _write_new(out, _FORMATS[form](raw))
        table = {"file": str(out), **table}
    if as_json:
        click.echo(json.dumps(table))
    else:
        width = max(map(len, table))
        click.echo("\n".join(f"{name:{width}}  {value}" for name, value in table.items()))


def _write_new(path: Path, content: bytes) -> None:
    try:
        files.create(path, content, 0o600)
    except FileExistsError:
        raise failures.Failed(
            f"{path} exists and was left alone: it may hold the only copy of a key."
        ) from None
    except OSError as error:
        raise failures.Failed(f"{path} cannot be written ({error.strerror}).") from None
