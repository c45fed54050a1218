"""How commands get at a data directory, and how they write a moment."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from typing import TYPE_CHECKING, Any

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


def moment(milliseconds: int) -> str:
    """Write a time, UTC."""
    found = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    return found.isoformat(timespec="milliseconds")
