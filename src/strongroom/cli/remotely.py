"""Options that every command with a store at the other end has, and how they open it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import failures, keysources, serving
from strongroom.cli.remote import connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.client import keys
    from strongroom.crypto import secret

MAX_JOBS = 64

_OPTIONS = (
    click.option(
        "--endpoint-url",
        metavar="URL",
        help="Where the store is. [env: AWS_ENDPOINT_URL; default: of the data directory]",
    ),
    click.option(
        "--ca-bundle",
        metavar="FILE",
        help="CA of the store's certificate. [env: AWS_CA_BUNDLE; default: of the data directory]",
    ),
    click.option("--region", metavar="NAME", help="[env: AWS_DEFAULT_REGION; default: us-east-1]"),
    click.option("--profile", metavar="NAME", help="Profile of ~/.aws. [env: AWS_PROFILE]"),
    click.option(
        "--data-dir",
        metavar="DIR",
        help="Be root of the store on this machine that keeps its data there: address, CA and"
        " credentials come from it. [env: STRONGROOM_DATA_DIR; default: ./strongroom-data if"
        " nothing else says where the store is]",
    ),
    serving.config_option,
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, on standard output."
)
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1, MAX_JOBS),
    default=8,
    show_default=True,
    help="Requests at once.",
)
key_option = click.option(
    "--sse-c-key",
    metavar="SOURCE",
    help="Customer key: FILE, env:NAME or passphrase:RECIPE (see `strongroom keys`).",
)
client_key_option = click.option(
    "--cse-key",
    metavar="SOURCE",
    help="Encrypt on this side, so that the store never sees key or content: a key as for"
    " --sse-c-key, or FILE with an RSA key in PEM.",
)
version_option = click.option("--version-id", metavar="ID", help="Instead of the newest version.")


def connected(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the store is; it gets them as `asked`."""

    @functools.wraps(command)
    def with_asked(
        *args: Any,
        endpoint_url: str | None,
        ca_bundle: str | None,
        region: str | None,
        profile: str | None,
        data_dir: str | None,
        config: str | None,
        **rest: Any,
    ) -> Any:
        asked = connection.Asked(endpoint_url, ca_bundle, region, profile, data_dir, config)
        return command(*args, asked=asked, **rest)

    for option in reversed(_OPTIONS):
        with_asked = option(with_asked)
    return with_asked


def customer_key(client: Any, source: str | None) -> dict[str, Any]:
    """Return the members that carry the key of `--sse-c-key`.

    Raises:
        Failed: there is no such key, or it would go in the clear.
    """
    return connection.customer_key(client, read_key(source))


def read_client_key(source: str | None) -> keys.Key | None:
    """Return the key of `--cse-key`: an RSA key of a PEM file, else one as for `--sse-c-key`.

    Raises:
        Failed: there is none, or it is no key.
    """
    if source is None:
        return None
    from strongroom.client import keys  # noqa: PLC0415 - few commands need it

    pem = keysources.read_pem(source)
    if pem is None:
        return keys.AesKey(keysources.read(source))
    try:
        try:
            return keys.RsaKey(pem)
        except TypeError:
            return keys.RsaKey(pem, passphrase=keysources.read_passphrase(None).reveal())
    except (ValueError, TypeError):
        # The cause may quote the file.
        raise failures.Failed(
            "The PEM of --cse-key holds no RSA key, or has another passphrase."
        ) from None


def read_key(source: str | None) -> secret.SecretKey | None:
    """Return the key that an option names; None for none."""
    return None if source is None else keysources.read(source)
