"""How commands get at a data directory, and how they show what they found there."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
from typing import TYPE_CHECKING, Any

import click

from strongroom.server import home, settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from strongroom.server import app


def administer(options: dict[str, Any], run: Callable[[app.Admin], Awaitable[None]]) -> None:
    """Open the data directory that `options` name, beside a server or without one, and `run`.

    Raises:
        SettingsError, StartRefused, StrongroomError: it cannot be opened; whatever `run` raises.
    """
    chosen = home.inspected(settings.load(options, os.environ))
    from strongroom.server import build  # noqa: PLC0415 - after the options are known to be good

    async def opened() -> None:
        async with build.open_admin(chosen) as store:
            await run(store)

    asyncio.run(opened())


def show(tables: list[dict[str, str]], *, as_json: bool) -> None:
    """Print a list: a line of values for each, or JSON."""
    if as_json:
        click.echo(json.dumps(tables))
    else:
        for table in tables:
            click.echo("  ".join(table.values()))


def moment(milliseconds: int) -> str:
    """Write a time, UTC."""
    found = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    return found.isoformat(timespec="milliseconds")
