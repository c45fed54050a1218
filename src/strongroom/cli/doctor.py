"""`strongroom doctor`: what to see to before it hurts."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.util
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import failures, serving
from strongroom.server import settings

if TYPE_CHECKING:
    from strongroom.server import checkup

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@serving.data_dir_option
@click.option("--tls-cert", metavar="FILE", help="As for `serve`. [env: STRONGROOM_TLS_CERT]")
@click.option("--tls-key", metavar="FILE", help="As for `serve`. [env: STRONGROOM_TLS_KEY]")
@serving.config_option
@click.option("--thorough", is_flag=True, help="Read the whole catalog, however large it is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def doctor(*, thorough: bool, as_json: bool, **options: Any) -> None:
    """Check a store and its machine, and say what to do about what is not well.

    Looks at the data directory, who may read it, the master key, the catalog and its log, disk
    space, the file system, certificates, the clock and SQLite; changes nothing, and runs beside a
    server or without one. Give it the same options, variables and configuration file as the
    server. (`strongroom scrub` looks at what is stored.)

    Exit status 1 if anything fails; a warning is none.
    """
    with failures.told():
        chosen = settings.load(options, os.environ)
        from strongroom.server import checkup  # noqa: PLC0415 - after the options are known to be good

        found = list(checkup.examine(chosen, now=dt.datetime.now(dt.UTC), thorough=thorough))
        found.append(_client())
        for one in found:
            if as_json:
                click.echo(json.dumps(dataclasses.asdict(one)))
            else:
                label = click.style(f"{one.status:4}", fg=_COLOURS[one.status])
                click.echo(f"{label}  {one.check}: {one.found}")
                if one.advice:
                    click.echo(f"      {one.advice}")
        if any(one.status is checkup.Status.FAIL for one in found):
            sys.exit(failures.FAILED)


def _client() -> checkup.Finding:
    from strongroom.server.checkup import Finding, Status  # noqa: PLC0415 - as above

    missing = [name for name in ("boto3", "rich") if importlib.util.find_spec(name) is None]
    if not missing:
        return Finding("extra client", Status.OK, "installed")
    return Finding(
        "extra client",
        Status.OK,
        "not installed; `cp`, `ls` and the like need it: pip install 'strongroom[client]'",
    )
