"""How commands get at a data directory, and how they show what they found there."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import failures
from strongroom.server import home, settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

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

    with audited(chosen):
        asyncio.run(opened())


_TOLD = frozenset(
    {
        *("name", "place", "who", "access_key", "fingerprint", "source"),
        *("everywhere", "days", "off", "allowed", "removed", "takes_any", "moment", "dry_run"),
        *("recursive", "deep", "old_sse", "new_sse", "kms_key_id"),
    }
)
"""Parameters of commands that the audit log may show: no other, so that no secret gets into it."""


@contextlib.contextmanager
def audited(chosen: settings.Settings) -> Iterator[None]:
    """Write a line of the audit log, if one is chosen, when the block has ended, well or not."""
    why = ""
    try:
        yield
    except BaseException as error:
        why = type(error).__name__
        raise
    finally:
        if chosen.audit_log is not None:
            _write_line(chosen, why)


def _write_line(chosen: settings.Settings, why: str) -> None:
    from strongroom.server import audit  # noqa: PLC0415 - seldom needed

    context = click.get_current_context()
    told = {
        name: value
        for name, value in context.params.items()
        if name in _TOLD and value not in (None, (), False)
    }
    line = audit.encode(
        "admin",
        {
            "who": f"uid {os.getuid()}",
            "operation": " ".join(["strongroom", *_names(context)]),
            "parameters": told,
            "allowed": not why,
            "why": why,
        },
    )
    try:
        sink = audit.sink_of(chosen)
        assert sink is not None, "asked before"
        sink.write([line])
        sink.sync()
        sink.close()
    except OSError as error:
        failures.warn(f"The audit log did not take a line about this ({error}).")


def _names(context: click.Context) -> list[str]:
    """Return the words of a command, but for how the program itself was called."""
    if context.parent is None:
        return []
    return [*_names(context.parent), context.info_name or ""]


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
