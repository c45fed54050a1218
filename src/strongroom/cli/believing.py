"""`strongroom admin oidc`: the identity providers that an account believes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import administering, failures, serving

if TYPE_CHECKING:
    from strongroom.server import app

_account = click.option(
    "--account",
    metavar="USER",
    default="root",
    show_default=True,
    help="Whose roles the provider's subjects may be given.",
)


@click.group()
def oidc() -> None:
    """Identity providers (OpenID Connect), for AssumeRoleWithWebIdentity."""


@oidc.command("add")
@click.argument("url")
@click.option(
    "--client-id", "clients", multiple=True, required=True, help="Audience of its tokens. Repeat."
)
@click.option(
    "--thumbprint",
    "thumbprints",
    multiple=True,
    help="SHA-1 of a certificate that no known authority has signed, 40 hex digits. Repeat.",
)
@_account
@serving.data_dir_option
@serving.config_option
@serving.json_option
def add(
    url: str,
    clients: tuple[str, ...],
    thumbprints: tuple[str, ...],
    account: str,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Believe the issuer at URL (https://…), as its tokens name it."""

    async def run(store: app.Admin) -> None:
        arn = await store.add_provider(account, url, clients, thumbprints)
        click.echo(json.dumps({"arn": arn}) if as_json else arn)

    with failures.told():
        administering.administer(options, run)


@oidc.command("list")
@_account
@serving.data_dir_option
@serving.config_option
@serving.json_option
def list_providers(account: str, *, as_json: bool, **options: Any) -> None:
    """List the providers that an account believes."""

    async def run(store: app.Admin) -> None:
        tables = [
            {"url": found.issuer, "arn": found.arn, "clients": ",".join(found.clients)}
            for found in await store.providers(account)
        ]
        administering.show(tables, as_json=as_json)

    with failures.told():
        administering.administer(options, run)


@oidc.command("remove")
@click.argument("url")
@_account
@serving.data_dir_option
@serving.config_option
def remove(url: str, account: str, **options: Any) -> None:
    """Believe the issuer at URL no more. Sessions that have begun go on until they end."""

    async def run(store: app.Admin) -> None:
        await store.remove_provider(account, url)

    with failures.told():
        administering.administer(options, run)
