"""cli: the command line.

Lives here: the commands, each group in a module of its own, and how a failure becomes an
exit status: 0 done, 1 failed, 2 usage. `remote` is for those that are clients of a store.
May import: `server` and below (where a command starts, so that others start fast).
Must not know: how anything is done.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

__all__ = ["main"]

COMMANDS: Final = {
    "serve": "serving",
    "serve-worker": "serving",
    "admin": "administration",
    "keys": "keys",
    "cp": "copying",
    "ls": "browsing",
    "stat": "browsing",
    "rm": "removing",
    "mb": "removing",
    "rb": "removing",
    "cse": "sealing",
    "scrub": "caring",
    "verify": "verifying",
    "backup": "caring",
    "recover": "caring",
    "doctor": "doctor",
    "version": "versions",
}
"""Name of a command → its module, where its function has the same name (with `_` for `-`)."""


class _Commands(click.Group):
    """Imports the module of a command when somebody asks for it: each would bring half the store."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{COMMANDS[cmd_name]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command), "the function of a command is decorated"
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """An S3-compatible object store for people who hold their own keys.

    Exit status: 0 done, 1 failed (standard error says what to do), 2 usage.
    """
