"""`strongroom admin`: users, access keys and guards, on the data directory, beside a running server or without one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from strongroom.access import identities
from strongroom.cli import administering, believing, failures, guarding, replicating, serving
from strongroom.server import settings

if TYPE_CHECKING:
    from strongroom.server import app
    from strongroom.store import records

SECRET_VARIABLE = "STRONGROOM_USER_SECRET_KEY"  # noqa: S105 - the name of a variable
"""Where a user's chosen secret key may come from, unseen by the process list."""
_PROMPT = "-"


@click.group()
def admin() -> None:
    """Administer a store: works on its data directory, also while the server runs."""


admin.add_command(guarding.bucket)
admin.add_command(guarding.restore)
admin.add_command(believing.oidc)
admin.add_command(replicating.remote)
admin.add_command(replicating.replicate)


@admin.group()
def user() -> None:
    """Users and their access keys."""


@user.command("add")
@click.argument("name")
@click.option("--access-key", metavar="KEY", help="Instead of a generated one.")
@click.option(
    "--secret-key",
    metavar="KEY",
    help="Instead of a generated one; `-` asks for it. Others see the command line: prefer `-`"
    f" or the variable {SECRET_VARIABLE}.",
)
@serving.data_dir_option
@serving.config_option
@serving.json_option
def add(
    name: str, access_key: str | None, secret_key: str | None, *, as_json: bool, **options: Any
) -> None:
    """Add a user with one access key; its secret is printed this once."""
    with failures.told():
        chosen_secret = None
        if secret_key == _PROMPT:
            secret_key = click.prompt("Secret key", hide_input=True, confirmation_prompt=True)
        elif secret_key is None:
            secret_key = os.environ.get(SECRET_VARIABLE)
        if secret_key is not None:
            chosen_secret = settings.parse_secret_key(secret_key)

        async def run(store: app.Admin) -> None:
            try:
                added, key, made = await store.add_user(name, access_key, chosen_secret)
            except ValueError as error:
                # Its text names the rule, never the value.
                raise settings.SettingsError(f"{error}.") from None
            table = _described(added) | {
                "access_key": key,
                "secret_key": made.reveal().decode(),
            }
            _tell_made(table, added.name, as_json=as_json)

        administering.administer(options, run)


@user.command("list")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def list_users(*, as_json: bool, **options: Any) -> None:
    """List users by name."""

    async def run(store: app.Admin) -> None:
        administering.show([_described(found) for found in await store.users()], as_json=as_json)

    with failures.told():
        administering.administer(options, run)


@user.command("remove")
@click.argument("name")
@serving.data_dir_option
@serving.config_option
def remove(name: str, **options: Any) -> None:
    """Remove a user and all access keys; what the user owns stays."""

    async def run(store: app.Admin) -> None:
        await store.remove_user(name)

    with failures.told():
        administering.administer(options, run)


@admin.group()
def key() -> None:
    """Access keys: of a user (`alice`), or of a user of its account (`alice/backup`).

    And what a customer key guards.
    """


key.add_command(guarding.objects)


@key.command("list")
@click.argument("who")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def list_keys(who: str, *, as_json: bool, **options: Any) -> None:
    """List somebody's access keys, oldest first; never their secrets."""

    async def run(store: app.Admin) -> None:
        tables = [
            {
                "access_key": found.access_key,
                "status": "active" if found.is_active else "inactive",
                "created": administering.moment(found.created_ms),
            }
            for found in await store.keys_of(who)
        ]
        administering.show(tables, as_json=as_json)

    with failures.told():
        administering.administer(options, run)


@key.command("add")
@click.argument("who")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def add_key(who: str, *, as_json: bool, **options: Any) -> None:
    """Add an access key; its secret is printed this once. Two are the most at a time."""

    async def run(store: app.Admin) -> None:
        access_key, made = await store.add_key(who)
        table = {"access_key": access_key, "secret_key": made.reveal().decode()}
        _tell_made(table, f"a key of {who}", as_json=as_json)

    with failures.told():
        administering.administer(options, run)


@key.command("disable")
@click.argument("access_key")
@serving.data_dir_option
@serving.config_option
def disable_key(access_key: str, **options: Any) -> None:
    """Make an access key inactive; it can be enabled again."""
    _set_active(access_key, options, active=False)


@key.command("enable")
@click.argument("access_key")
@serving.data_dir_option
@serving.config_option
def enable_key(access_key: str, **options: Any) -> None:
    """Make an access key active again."""
    _set_active(access_key, options, active=True)


def _set_active(access_key: str, options: dict[str, Any], *, active: bool) -> None:
    async def run(store: app.Admin) -> None:
        await store.set_key_active(access_key, active=active)

    with failures.told():
        administering.administer(options, run)


@key.command("remove")
@click.argument("access_key")
@serving.data_dir_option
@serving.config_option
def remove_key(access_key: str, **options: Any) -> None:
    """Remove an access key."""

    async def run(store: app.Admin) -> None:
        await store.remove_key(access_key)

    with failures.told():
        administering.administer(options, run)


def _tell_made(table: dict[str, str], what: str, *, as_json: bool) -> None:
    """Print a new access key: the only time that its secret is shown."""
    if as_json:
        click.echo(json.dumps(table))
    else:
        click.echo(f"Added {what}. The secret key is shown this once.")
        click.echo(f"access key  {table['access_key']}")
        click.echo(f"secret key  {table['secret_key']}")


def _described(found: records.User) -> dict[str, str]:
    return {
        "name": found.name,
        "user_id": found.user_id,
        "account_id": identities.account_of(found.user_id),
        "created": administering.moment(found.created_ms),
    }
