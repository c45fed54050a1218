"""cli: the command line.

Lives here: the commands, each group in a module of its own, and how a failure becomes an
exit status: 0 done, 1 failed, 2 usage. `remote` is for those that are clients of a store.
May import: `server` and below (where a command starts, so that others start fast).
Must not know: how anything is done.
"""

from __future__ import annotations

import click

from strongroom.cli import (
    administration,
    browsing,
    caring,
    copying,
    doctor,
    keys,
    removing,
    serving,
    versions,
)

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """An S3-compatible object store for people who hold their own keys.

    Exit status: 0 done, 1 failed (standard error says what to do), 2 usage.
    """


for _command in (
    serving.serve,
    serving.work,
    administration.admin,
    keys.keys,
    copying.cp,
    browsing.ls,
    browsing.stat,
    removing.rm,
    removing.mb,
    removing.rb,
    caring.scrub,
    caring.backup,
    doctor.doctor,
    versions.version,
):
    main.add_command(_command)
