"""The composition root of the commands that look after a data directory, beside a server or not.

As `build` is for the server: constructors are called here and nowhere else.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from strongroom.keyring import master, sources
from strongroom.server import build
from strongroom.service import scrubbing
from strongroom.store import shelves
from strongroom.store.sqlite import inventory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.server import settings as configuration


@contextlib.contextmanager
def open_scrubber(settings: configuration.Settings) -> Iterator[scrubbing.Scrubber]:
    """Open a data directory for scrubbing; without a master key marks and heads are not judged.

    Raises:
        MasterKeyTrouble: the catalog was made under another master key.
        NotAuthentic: a store key is damaged.
        StoreFailed: there is no catalog, or it cannot be read at all.
    """
    opened = inventory.open_inventory(settings.data_dir / build.CATALOG_NAME)
    try:
        store_keys = None
        if settings.master_key is not None:
            store_keys = sources.read_store_keys(opened, master.Master(settings.master_key))
        lying = shelves.Shelves(settings.data_dir / build.BLOBS_NAME)
        yield scrubbing.Scrubber(opened, lying, store_keys)
    finally:
        opened.close()
