"""cli: the command line.

Lives here: the commands `serve`, `admin`, `keys`, `scrub`, `backup`, `version`, and how a failure
becomes an exit status: 0 done, 1 failed, 2 usage.
May import: `server` and below (where a command starts, so that others start fast).
Must not know: how anything is done.
"""

from __future__ import annotations

import click

from strongroom.cli import administration, caring, keys, serving, versions

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """An S3-compatible object store for people who hold their own keys.

    Exit status: 0 done, 1 failed (standard error says what to do), 2 usage.
    """


main.add_command(serving.serve)
main.add_command(serving.work)
main.add_command(administration.admin)
main.add_command(keys.keys)
main.add_command(caring.scrub)
main.add_command(caring.backup)
main.add_command(versions.version)
