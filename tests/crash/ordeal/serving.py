"""Servers on one data directory, one after another, with the same keys."""

import secrets
import sys
from pathlib import Path

from strongroom.testing import Strongroom

BUCKET = "ordeal"
SERVE = (
    *("env", "-u", "STRONGROOM_MASTER_KEY"),
    *(sys.executable, "-m", "strongroom.cli", "serve"),
)
"""A server that makes and keeps its own master key, as it does for whoever gives it none."""


class Servers:
    """Makes servers that have a data directory and root's credentials in common."""

    def __init__(self, data_dir):
        self.data_dir = data_dir
        self._access_key = "ORDEAL"
        self._secret_key = secrets.token_urlsafe(30)

    def make(self, *, data_dir=None, command=SERVE, **options):
        """Return a server that is not started yet; `data_dir`: a copy of the usual one."""
        server = Strongroom(
            data_dir=data_dir or self.data_dir,
            command=command,
            env={
                "STRONGROOM_ROOT_ACCESS_KEY": self._access_key,
                "STRONGROOM_ROOT_SECRET_KEY": self._secret_key,
            },
            **options,
        )
        server.access_key, server.secret_key = self._access_key, self._secret_key
        return server


def peak_mib(pid):
    """Return the most memory that a process ever had resident, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
