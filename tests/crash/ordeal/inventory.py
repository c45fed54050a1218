"""Does what the catalog says lie where it says, and nothing besides?

Looks at a data directory that nobody is writing to; a server may be running on it.
Source: docs/formats/catalog.md, sections 2, 3 and 5.
"""

import contextlib
import sqlite3
import time
from pathlib import Path

POLL_S = 0.1
TIDY_S = 30.0
SET_ASIDE = "lost"

RULES = {
    "a version without an envelope": (
        "SELECT key FROM versions LEFT JOIN envelopes USING (envelope_id)"
        " WHERE (envelope IS NULL) <> (mode = '')"
    ),
    "an envelope without a version": (
        "SELECT envelope_id FROM envelopes WHERE envelope_id NOT IN"
        " (SELECT envelope_id FROM versions)"
    ),
    "two versions with one envelope": (
        "SELECT envelope_id FROM versions WHERE mode <> '' GROUP BY envelope_id HAVING count(*) > 1"
    ),
    "a version in the wrong range": (
        "SELECT key, version_id FROM versions v WHERE hidden <> (mode = '' OR EXISTS (SELECT 1"
        " FROM versions n WHERE n.bucket_id = v.bucket_id AND n.key = v.key AND n.seq < v.seq))"
    ),
    "two versions of a key with one id": (
        "SELECT key, version_id FROM versions GROUP BY bucket_id, key, version_id"
        " HAVING count(*) > 1"
    ),
    "an envelope without a body": (
        "SELECT envelope_id FROM envelopes WHERE body_id NOT IN (SELECT body_id FROM bodies)"
    ),
    "a body whose references are miscounted": (
        "SELECT body_id, refs FROM bodies WHERE refs <>"
        " (SELECT count(*) FROM envelopes WHERE envelopes.body_id = bodies.body_id)"
    ),
    "a body without blobs": (
        "SELECT body_id FROM bodies WHERE body_id NOT IN (SELECT body_id FROM blobs)"
    ),
    "blobs without a body": (
        "SELECT blob_id FROM blobs WHERE body_id NOT IN (SELECT body_id FROM bodies)"
    ),
    "an inline blob that is named and not there": (
        "SELECT hex(blob_id) FROM (SELECT blob_id, place FROM blobs UNION ALL"
        " SELECT blob_id, place FROM parts) WHERE place = '' AND blob_id NOT IN"
        " (SELECT blob_id FROM inline_blobs)"
    ),
    "an inline blob that nothing names": (
        "SELECT hex(blob_id) FROM inline_blobs WHERE blob_id NOT IN"
        " (SELECT blob_id FROM blobs WHERE place = '' UNION ALL"
        " SELECT blob_id FROM parts WHERE place = '')"
    ),
    "an inline blob of another length": (
        "SELECT hex(blob_id) FROM inline_blobs JOIN (SELECT blob_id, size FROM blobs UNION ALL"
        " SELECT blob_id, blob_size FROM parts) USING (blob_id) WHERE length(data) <> size"
    ),
    "a blob in two places": (
        "SELECT hex(blob_id) FROM (SELECT blob_id FROM blobs UNION ALL SELECT blob_id FROM parts"
        " UNION ALL SELECT blob_id FROM doomed) GROUP BY blob_id HAVING count(*) > 1"
    ),
    "a bucket whose objects are miscounted": (
        "SELECT bucket_id, objects FROM tallies WHERE objects <> (SELECT count(*) FROM versions"
        " WHERE versions.bucket_id = tallies.bucket_id AND hidden = 0)"
    ),
    "a part without an upload": (
        "SELECT number FROM parts WHERE upload_row NOT IN (SELECT upload_row FROM uploads)"
    ),
}
"""What is wrong → a query that finds it."""


@contextlib.contextmanager
def reading(data_dir):
    """Open the catalog for reading, in one transaction."""
    path = Path(data_dir) / "catalog.sqlite"
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as catalog:
        catalog.execute("BEGIN")
        yield catalog


def after_housekeeping(data_dir, **may_stay):
    """Let a running server sweep and collect; return what `faults` finds then, or in `TIDY_S`."""
    deadline = time.monotonic() + TIDY_S
    while (found := faults(data_dir, **may_stay)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return found


def blob_files(data_dir):
    """Return place → size of all that lies among the blobs and is not housekeeping's own."""
    root = Path(data_dir) / "blobs"
    found = {}
    for path in root.rglob("*"):
        place = path.relative_to(root)
        own = place.name == "lock" and len(place.parts) == 2
        if own or str(place) == "store-id" or place.parts[0] == SET_ASIDE:
            continue
        # A file may go while this looks.
        with contextlib.suppress(FileNotFoundError):
            if not path.is_dir():
                found[place.as_posix()] = path.stat().st_size
    return found


def set_aside(data_dir):
    """Return how many strays of crashes the sweeps have set aside."""
    folder = Path(data_dir) / "blobs" / SET_ASIDE
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def faults(data_dir, *, strays_may_stay=False):
    """Return sentences about whatever is not as it should be.

    Args:
        data_dir: of a store that nobody writes to.
        strays_may_stay: a process that has crashed may hold its lease still.
    """
    found = []
    with reading(data_dir) as catalog:
        for check in ("integrity_check", "foreign_key_check"):
            told = catalog.execute(f"PRAGMA {check}").fetchall()
            if told not in ([], [("ok",)]):
                found.append(f"{check}: {told[:5]}")
        for wrong, query in RULES.items():
            rows = catalog.execute(query).fetchall()
            if rows:
                found.append(f"{wrong}: {rows[:5]}")
        named = dict(
            catalog.execute(
                "SELECT place, size FROM blobs WHERE place <> '' UNION ALL"
                " SELECT place, blob_size FROM parts WHERE place <> ''"
            )
        )
        doomed = {place for (place,) in catalog.execute("SELECT place FROM doomed")}
    lying = blob_files(data_dir)
    missing = sorted(named.keys() - lying.keys())
    if missing:
        found.append(f"references without a file: {missing[:5]}")
    resized = [place for place in named.keys() & lying.keys() if named[place] != lying[place]]
    if resized:
        found.append(f"files of another length: {resized[:5]}")
    if doomed:
        found.append(f"doomed and not collected: {sorted(doomed)[:5]}")
    strays = sorted(lying.keys() - named.keys() - doomed)
    if strays and not strays_may_stay:
        found.append(f"files without a reference: {strays[:5]}")
    return found
