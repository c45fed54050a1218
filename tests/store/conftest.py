"""Blobs on disk, opened any number of times."""

import pytest

from strongroom.store import disk


@pytest.fixture
def root(tmp_path):
    return tmp_path / "blobs"


@pytest.fixture
def open_blobs(root):
    """A function that opens blobs under one root; all are closed in the end."""
    opened = []

    def open_one(kernel=None, *, direct=None):
        one = disk.DiskBlobs(root, kernel=kernel)
        if direct is not None:
            one.direct = direct
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        one.close()
