"""`python -m strongroom.cli`: the command line without its script."""

from __future__ import annotations

from strongroom import cli

cli.main()
