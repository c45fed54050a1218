"""The moment at which what was recovered takes the place of what was there.

Several names change, and a machine may stop between any two of them. A journal names all
the changes before the first; whoever holds the data directory next makes those that are
left. Before the journal is there, nothing was changed; once it is, there is no way back.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from strongroom.server import app, files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

JOURNAL = "recovery.json"
FORMAT = 1
_BY_HAND = (
    f"Give what has .before-… in its name the old name back, remove {JOURNAL}, and run"
    " `strongroom recover` again; nothing was changed."
)


def switch(
    data_dir: Path, work: Path, *, aside: Mapping[str, str], arriving: Mapping[str, str]
) -> None:
    """Change names in a data directory that the caller holds alone: all of them, or none.

    What arrives has to be whole and synced; only its names are made durable here.

    Args:
        data_dir: the directory.
        work: a directory in it, where what arrives lies; it is removed in the end.
        aside: what is set aside, by its name, and the name under which it is kept, which
            nothing has. A name that is not there is left out.
        arriving: name in `work` → name in the data directory, free once all is set aside.

    Raises:
        OSError: nothing was changed, or `finish` has to be called again.
    """
    for each in sorted(path for path in work.rglob("*") if path.is_dir()):
        files.sync_directory(each)
    files.sync_directory(work)
    files.sync_directory(data_dir)
    table = {
        "format": FORMAT,
        "work": work.name,
        "aside": {name: kept for name, kept in aside.items() if (data_dir / name).exists()},
        "arriving": dict(arriving),
    }
    files.write(data_dir / JOURNAL, json.dumps(table, indent=2).encode() + b"\n", 0o600)
    finish(data_dir)


def is_under_way(data_dir: Path) -> bool:
    """Whether a switch was begun and is not finished."""
    return (data_dir / JOURNAL).exists()


def finish(data_dir: Path) -> bool:
    """Finish a switch that was begun, if there is one; the caller holds the directory alone.

    Raises:
        StartRefused: the journal cannot be read, or what was to arrive is gone.
        OSError: it is to be called again.
    """
    path = data_dir / JOURNAL
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return False
    aside, arriving, work = _read(path, raw)
    for name, final in arriving.items():
        if not (data_dir / work / name).exists() and not (data_dir / final).exists():
            raise app.StartRefused(
                f"A recovery of {data_dir} was interrupted, and what it made ({work}/{name}) was"
                f" removed. {_BY_HAND}"
            )
    for name, kept in aside.items():
        # Where the second name is taken, the first is what has arrived since.
        if not (data_dir / kept).exists() and (data_dir / name).exists():
            (data_dir / name).rename(data_dir / kept)
    files.sync_directory(data_dir)
    for name, final in arriving.items():
        if (data_dir / work / name).exists():
            (data_dir / work / name).rename(data_dir / final)
    files.sync_directory(data_dir)
    if (data_dir / work).exists():
        shutil.rmtree(data_dir / work)
    path.unlink()
    files.sync_directory(data_dir)
    return True


def _read(path: Path, raw: bytes) -> tuple[dict[str, str], dict[str, str], str]:
    try:
        table = json.loads(raw)
        aside, arriving, work = dict(table["aside"]), dict(table["arriving"]), table["work"]
        names = (*aside, *aside.values(), *arriving, *arriving.values(), work)
        if table["format"] == FORMAT and all(map(_is_plain, names)):
            return aside, arriving, work
    except (ValueError, KeyError, TypeError):
        pass
    raise app.StartRefused(
        f"{path} says that a recovery was interrupted, and cannot be read. {_BY_HAND}"
    )


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name
