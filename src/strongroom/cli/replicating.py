"""`strongroom admin remote` and `strongroom admin replicate`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from strongroom.cli import administering, failures, serving
from strongroom.server import settings

if TYPE_CHECKING:
    from strongroom.server import app

SECRET_VARIABLE: Final = "STRONGROOM_REMOTE_SECRET_KEY"  # noqa: S105 - the name of a variable
"""Where the secret key of another store may come from, unseen by the process list."""
_PROMPT: Final = "-"
_POLL_S: Final = 1.0


@click.group()
def remote() -> None:
    """Other stores that buckets may be replicated to, as arn:aws:s3:NAME::BUCKET."""


@remote.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--access-key", metavar="KEY", required=True, help="Of a user of that store.")
@click.option(
    "--secret-key",
    metavar="KEY",
    help="Of that user; `-` asks for it. Others see the command line: prefer `-` or the variable"
    f" {SECRET_VARIABLE}.",
)
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate to trust, PEM; the system's without it.",
)
@click.option("--region", default="us-east-1", show_default=True, help="Of that store.")
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME",
    help="Whose buckets may be replicated there, besides root's. May be repeated.",
)
@serving.data_dir_option
@serving.config_option
@serving.json_option
def add(
    name: str,
    url: str,
    access_key: str,
    secret_key: str | None,
    ca: Path | None,
    region: str,
    users: tuple[str, ...],
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Add another store at URL, https://HOST:PORT."""
    with failures.told():
        if secret_key is None:
            secret_key = os.environ.get(SECRET_VARIABLE, _PROMPT)
        if secret_key == _PROMPT:
            secret_key = click.prompt("Secret key", hide_input=True)
        chosen = settings.parse_secret_key(secret_key)
        trusted = "" if ca is None else ca.read_text("ascii", "replace")

        async def run(store: app.Admin) -> None:
            try:
                added = await store.replication.add_remote(
                    name,
                    url,
                    region=region,
                    access_key=access_key,
                    secret_key=chosen,
                    ca=trusted,
                    users=users,
                )
            except ValueError as error:
                raise settings.SettingsError(f"{error}.") from None
            if as_json:
                click.echo(json.dumps({"name": added.name, "url": added.url}))
            else:
                click.echo(f"Added {added.name}. Buckets there are arn:aws:s3:{added.name}::BUCKET")

        administering.administer(options, run)


@remote.command("list")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def list_remotes(*, as_json: bool, **options: Any) -> None:
    """List other stores by name; never their secrets."""

    async def run(store: app.Admin) -> None:
        names = {user.user_id: user.name for user in await store.users()}
        tables = [
            {
                "name": found.name,
                "url": found.url,
                "region": found.region,
                "access_key": found.access_key,
                "users": [names.get(user_id, user_id) for user_id in found.users],
            }
            for found in await store.replication.remotes()
        ]
        if as_json:
            click.echo(json.dumps(tables))
            return
        for table in tables:
            click.echo("  ".join((*map(str, list(table.values())[:-1]), ",".join(table["users"]))))

    with failures.told():
        administering.administer(options, run)


@remote.command("remove")
@click.argument("name")
@serving.data_dir_option
@serving.config_option
def remove(name: str, **options: Any) -> None:
    """Remove another store; what is to be replicated there waits, and fails."""

    async def run(store: app.Admin) -> None:
        await store.replication.remove_remote(name)

    with failures.told():
        administering.administer(options, run)


@click.command()
@click.argument("bucket", required=False)
@click.option(
    "--status", "only_status", is_flag=True, help="Queue nothing; say what waits, here or in all."
)
@click.option("--wait", is_flag=True, help="Return when nothing of the bucket waits any more.")
@serving.data_dir_option
@serving.config_option
@serving.json_option
def replicate(
    bucket: str | None, *, only_status: bool, wait: bool, as_json: bool, **options: Any
) -> None:
    """Queue what is in BUCKET already, and what failed, for replication by its rules.

    The running server sends it. Versions that are at the target already are compared only.
    """
    if bucket is None and not only_status:
        raise click.UsageError("Name a bucket, or ask for --status.")

    async def run(store: app.Admin) -> None:
        table: dict[str, object] = {}
        if bucket is not None:
            table["bucket"] = bucket
        if bucket is not None and not only_status:
            table["seen"], table["queued"] = await store.replication.enqueue(bucket, _tell_pages)
        if wait:
            await _drained(store, bucket)
        backlog = await store.replication.backlog(bucket)
        table |= {
            "waiting": backlog.waiting,
            "failing": backlog.failing,
            "oldest": None
            if backlog.oldest_ms is None
            else administering.moment(backlog.oldest_ms),
        }
        if as_json:
            click.echo(json.dumps(table))
        else:
            click.echo("  ".join(f"{name} {value}" for name, value in table.items()))

    with failures.told():
        administering.administer(options, run)


async def _drained(store: app.Admin, bucket: str | None) -> None:
    """Wait until nothing waits, with a bar on a terminal."""
    first = (await store.replication.backlog(bucket)).waiting
    shown = sys.stderr if sys.stderr.isatty() else None
    with click.progressbar(
        length=first, label="Replicating", file=shown, hidden=shown is None
    ) as bar:
        left = first
        while left:
            await asyncio.sleep(_POLL_S)
            now = (await store.replication.backlog(bucket)).waiting
            # What is written meanwhile waits, too: the bar does not go back for it.
            bar.update(max(left - now, 0))
            left = now


def _tell_pages(seen: int, queued: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{seen} versions seen, {queued} queued", nl=False, err=True)
