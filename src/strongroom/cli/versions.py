"""`strongroom version`."""

from __future__ import annotations

import json
import platform

import click
import cryptography
from cryptography.hazmat.backends.openssl import backend

from strongroom.server import metrics


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(*, as_json: bool) -> None:
    """Print the versions of strongroom and of what its cryptography stands on."""
    table = {
        "strongroom": metrics.version(),
        "python": platform.python_version(),
        "cryptography": cryptography.__version__,
        "openssl": backend.openssl_version_text(),
    }
    if as_json:
        click.echo(json.dumps(table))
    else:
        click.echo("\n".join(f"{name} {text}" for name, text in table.items()))
