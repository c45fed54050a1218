"""What somebody who can write the disk may do to one stored object."""

import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable
from pathlib import Path

SEGMENT_BYTES = 65_536

VERSION_COLUMNS = {
    "size": "INTEGER",
    "etag": "TEXT",
    "modified_ms": "INTEGER",
    "owner": "TEXT",
    "mode": "TEXT",
    "version_id": "TEXT",
    "generation": "BLOB",
    "checksum_algorithms": "TEXT",
    "checksum_type": "TEXT",
    "envelope_id": "INTEGER",
}
ROLLED_BACK = ("version", "envelope", "marks", "record", "blobs", "bytes")


@dataclasses.dataclass(frozen=True)
class Rows:
    """Where an object's rows are, and what they held before anything was done to them."""

    bucket_id: int
    key: bytes
    seq: int
    version: dict[str, object]
    envelope_id: int
    envelope: bytes
    marks: bytes
    body_id: int
    record: bytes
    blobs: tuple[tuple[int, bytes, int, str], ...]
    inline: dict[bytes, bytes]

    @property
    def places(self):
        return [place for _, _, _, place in self.blobs if place]


def rows_of(catalog, bucket, key):
    names = ", ".join(f"v.{name}" for name in VERSION_COLUMNS)
    bucket_id, seq, envelope, marks, body_id, record, *values = catalog.execute(
        f"SELECT v.bucket_id, v.seq, e.envelope, e.marks, e.body_id, o.record, {names}"  # noqa: S608 - our own names
        " FROM buckets b JOIN versions v USING (bucket_id) JOIN envelopes e USING (envelope_id)"
        " JOIN bodies o USING (body_id) WHERE b.name = ? AND v.key = ?",
        (bucket, key.encode()),
    ).fetchone()
    version = dict(zip(VERSION_COLUMNS, values, strict=True))
    blobs = catalog.execute(
        "SELECT ordinal, blob_id, size, place FROM blobs WHERE body_id = ? ORDER BY ordinal",
        (body_id,),
    ).fetchall()
    inline = {
        blob_id: catalog.execute(
            "SELECT data FROM inline_blobs WHERE blob_id = ?", (blob_id,)
        ).fetchone()[0]
        for _, blob_id, _, place in blobs
        if not place
    }
    return Rows(
        *(bucket_id, key.encode(), seq, version, version["envelope_id"], envelope, marks),
        *(body_id, record, tuple(blobs), inline),
    )


class Stores:
    """A stopped store that is about to be damaged, and an older state of it."""

    def __init__(self, data_dir, old_dir):
        self._data = Path(data_dir)
        self._old = Path(old_dir)
        self.catalog = sqlite3.connect(self._data / "catalog.sqlite", isolation_level=None)
        self._old_catalog = sqlite3.connect(self._old / "catalog.sqlite")
        self._rows = {}
        self.bytes_before = {}

    def __enter__(self):
        self.catalog.execute("BEGIN")
        # Damage does not come by SQL, and so no trigger sees it.
        self.catalog.execute("DROP TRIGGER envelope_changed")
        return self

    def __exit__(self, *_exc):
        self.catalog.execute("COMMIT")
        self.catalog.close()
        self._old_catalog.close()

    def learn(self, victims):
        """Look everything up before the first damage, so that one does not hide another."""
        for victim in victims:
            self.now(victim)
            for place in self.now(victim).places:
                self.bytes_before[place] = self.path(place).read_bytes()

    def now(self, victim):
        name = (victim.bucket, victim.key)
        if name not in self._rows:
            self._rows[name] = rows_of(self.catalog, *name)
        return self._rows[name]

    def before(self, victim):
        return rows_of(self._old_catalog, victim.bucket, victim.key)

    def path(self, place):
        return self._data / "blobs" / place

    def old_bytes(self, place):
        return (self._old / "blobs" / place).read_bytes()

    def change(self, statement, *values):
        """Run a statement; whether it changed a row. What a constraint refuses is not done."""
        try:
            return self.catalog.execute(statement, values).rowcount > 0
        except sqlite3.IntegrityError:
            return False

    def set_version(self, rows, column, value):
        return self.change(
            f"UPDATE versions SET {column} = ? WHERE bucket_id = ? AND key = ? AND seq = ?",  # noqa: S608 - our own names
            *(value, rows.bucket_id, rows.key, rows.seq),
        )

    def set_bytes(self, what, rows, value, index=0):
        """Replace a stored value: "envelope", "marks", "record", or "bytes" of a blob."""
        if what in ("envelope", "marks"):
            return self.change(
                f"UPDATE envelopes SET {what} = ? WHERE envelope_id = ?",  # noqa: S608 - one of two words
                *(value, rows.envelope_id),
            )
        if what == "record":
            return self.change(
                "UPDATE bodies SET record = ? WHERE body_id = ?", value, rows.body_id
            )
        _, blob_id, _, place = rows.blobs[index]
        if not place:
            return self.change("UPDATE inline_blobs SET data = ? WHERE blob_id = ?", value, blob_id)
        return self.set_file(place, value)

    def set_file(self, place, value):
        path = self.path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        path.write_bytes(value)
        return True

    def get_bytes(self, what, rows, index=0, *, old=False):
        if what != "bytes":
            return {"envelope": rows.envelope, "marks": rows.marks, "record": rows.record}[what]
        _, blob_id, _, place = rows.blobs[index]
        if not place:
            return rows.inline[blob_id]
        return self.old_bytes(place) if old else self.bytes_before[place]


@dataclasses.dataclass(frozen=True)
class Damage:
    """One kind of damage.

    Attributes:
        name: what is done.
        do: called with (stores, victim, another object, draw); whether it could be done.
        rolls_back: it puts back what was once right, and nobody can tell.
    """

    name: str
    do: Callable[..., bool]
    rolls_back: bool = False


def bend(draw, data):
    """Return other bytes: flipped, cut, lengthened, moved or wiped."""
    data = bytes(data)
    while True:
        bent = bytearray(data)
        match draw.randrange(9):
            case 0 | 1 | 2 if data:
                # At the start are magic and lengths, at the end tags.
                at = draw.choice([0, draw.randrange(min(len(data), 60)), len(data) - 1])
                at = draw.choice([at, draw.randrange(len(data))])
                bent[at] ^= 1 << draw.randrange(8)
            case 3 if data:
                del bent[draw.randrange(len(data)) :]
            case 4 if data:
                del bent[: draw.randint(1, min(len(data), 50))]
            case 5:
                bent += draw.randbytes(draw.choice([1, 16, 4096]))
            case 6 if data:
                start = draw.randrange(len(data))
                end = min(start + draw.choice([1, 16, 4096]), len(data))
                bent[start:end] = bytes(end - start)
            case 7 if data:
                bent += data
            case 8 if data:
                at = draw.randrange(len(data))
                bent[at:at] = draw.randbytes(1)
        if bytes(bent) != data:
            return bytes(bent)


def _bent(what):
    def do(stores, victim, _other, draw):
        rows = stores.now(victim)
        index = draw.randrange(len(rows.blobs))
        return stores.set_bytes(what, rows, bend(draw, stores.get_bytes(what, rows, index)), index)

    return Damage(f"{what} bent", do)


def _of_another(what, *, old):
    def do(stores, victim, other, draw):
        rows = stores.now(victim)
        foreign = stores.before(other) if old else stores.now(other)
        value = stores.get_bytes(what, foreign, draw.randrange(len(foreign.blobs)), old=old)
        return stores.set_bytes(what, rows, value, draw.randrange(len(rows.blobs)))

    return Damage(f"{what} of another object{', older' if old else ''}", do)


def _swapped(what):
    def do(stores, victim, other, _draw):
        one, two = stores.now(victim), stores.now(other)
        return stores.set_bytes(what, one, stores.get_bytes(what, two)) and stores.set_bytes(
            what, two, stores.get_bytes(what, one)
        )

    return Damage(f"{what} swapped with another object", do)


def _own_older(what):
    def do(stores, victim, _other, _draw):
        old = stores.before(victim)
        return stores.set_bytes(what, stores.now(victim), stores.get_bytes(what, old, old=True))

    return Damage(f"{what} of an earlier state", do)


def _column(column):
    def do(stores, victim, other, draw):
        rows = stores.now(victim)
        now = rows.version[column]
        choices = [stores.now(other).version[column], stores.before(victim).version[column]]
        if isinstance(now, int):
            choices += [now + 1, max(now - 1, 0), -1, 2**62, now ^ (1 << draw.randrange(20))]
        elif isinstance(now, bytes):
            choices += [bend(draw, now), b""]
        else:
            choices += ["", now + "x", now[:-1], "SSE-C", "SSE-S3", "CRC32,SHA256"]
        # Of a type that no row ever had.
        choices += ["words", b"\xff\xfe", -7, 2.5]
        value = draw.choice([one for one in choices if one != now])
        return stores.set_version(rows, column, value)

    return Damage(f"versions.{column} changed", do)


def _versions_swapped(stores, victim, other, _draw):
    one, two = stores.now(victim), stores.now(other)
    return all(
        [
            *(stores.set_version(one, name, two.version[name]) for name in VERSION_COLUMNS),
            *(stores.set_version(two, name, one.version[name]) for name in VERSION_COLUMNS),
        ]
    )


def _keys_swapped(stores, victim, other, _draw):
    one, two = stores.now(victim), stores.now(other)
    if one.bucket_id != two.bucket_id:
        return False
    move = "UPDATE versions SET key = ? WHERE bucket_id = ? AND key = ?"
    return (
        stores.change(move, b"\x00", one.bucket_id, one.key)
        and stores.change(move, one.key, two.bucket_id, two.key)
        and stores.change(move, two.key, one.bucket_id, b"\x00")
    )


def _moved(stores, victim, other, _draw):
    """The other object's row under the victim's name, in its bucket."""
    one, two = stores.now(victim), stores.now(other)
    return stores.change(
        "DELETE FROM versions WHERE bucket_id = ? AND key = ?", one.bucket_id, one.key
    ) and stores.change(
        "UPDATE versions SET bucket_id = ?, key = ? WHERE bucket_id = ? AND key = ?",
        *(one.bucket_id, one.key, two.bucket_id, two.key),
    )


def _second_version(stores, victim, other, _draw):
    """A newer version above the right one, made of another object's."""
    one, two = stores.now(victim), stores.now(other)
    names = ", ".join(VERSION_COLUMNS)
    marks = ", ".join("?" * len(VERSION_COLUMNS))
    return stores.change(
        f"INSERT INTO versions (bucket_id, hidden, key, seq, {names}) VALUES (?, 0, ?, ?, {marks})",  # noqa: S608 - our own names
        *(one.bucket_id, one.key, one.seq - 1, *two.version.values()),
    )


def _body_of_another(stores, victim, other, _draw):
    return stores.change(
        "UPDATE envelopes SET body_id = ? WHERE envelope_id = ?",
        *(stores.now(other).body_id, stores.now(victim).envelope_id),
    )


def _blob_row(stores, victim, other, draw):
    rows = stores.now(victim)
    ordinal, blob_id, size, place = draw.choice(rows.blobs)
    _, other_id, other_size, other_place = draw.choice(stores.now(other).blobs)
    where = " WHERE body_id = ? AND ordinal = ?"
    change, *values = draw.choice(
        [
            ("UPDATE blobs SET size = ?", size + draw.choice([-1, 1, 16, SEGMENT_BYTES])),
            ("UPDATE blobs SET size = ?", other_size),
            ("UPDATE blobs SET place = ?", other_place),
            ("UPDATE blobs SET place = ?, size = ?", other_place, other_size),
            ("UPDATE blobs SET place = ?", ""),
            ("UPDATE blobs SET place = ?", "../../master.key"),
            ("UPDATE blobs SET place = ?", f"{place}/"),
            ("UPDATE blobs SET blob_id = ?", bend(draw, blob_id)),
            ("UPDATE blobs SET blob_id = ?, place = ''", other_id),
            ("UPDATE blobs SET ordinal = ?", ordinal + 7),
            ("DELETE FROM blobs",),
        ]
    )
    return stores.change(change + where, *values, rows.body_id, ordinal)


def _parts_swapped(stores, victim, _other, _draw):
    """The files of two parts, and what is said of them."""
    rows = stores.now(victim)
    if len(rows.places) < 2:
        return False
    one, two = rows.places[:2]
    return stores.set_file(one, stores.bytes_before[two]) and stores.set_file(
        two, stores.bytes_before[one]
    )


def _ordinals_swapped(stores, victim, _other, _draw):
    rows = stores.now(victim)
    if len(rows.blobs) < 2:
        return False
    move = "UPDATE blobs SET ordinal = ? WHERE body_id = ? AND ordinal = ?"
    return (
        stores.change(move, 9, rows.body_id, 0)
        and stores.change(move, 0, rows.body_id, 1)
        and stores.change(move, 1, rows.body_id, 9)
    )


def _segments(stores, victim, _other, draw):
    rows = stores.now(victim)
    if not rows.places:
        return False
    place = draw.choice(rows.places)
    data = stores.bytes_before[place]
    parts = [data[at : at + SEGMENT_BYTES] for at in range(0, len(data), SEGMENT_BYTES)]
    if len(parts) < 2:
        return False
    one, two = draw.sample(range(len(parts)), 2)
    match draw.randrange(4):
        case 0:
            parts[one], parts[two] = parts[two], parts[one]
        case 1:
            parts[one] = parts[two]
        case 2:
            del parts[one]
        case 3:
            parts.insert(one, parts[two])
    return stores.set_file(place, b"".join(parts))


def _no_file(stores, victim, other, draw):
    rows = stores.now(victim)
    if not rows.places:
        return False
    path = stores.path(draw.choice(rows.places))
    if not path.is_file():
        return False
    path.unlink()
    fate = draw.randrange(3)
    foreign = stores.now(other).places
    if fate == 1 and foreign:
        path.symlink_to(stores.path(foreign[0]))
    elif fate == 2:
        path.mkdir()
    return True


def _roll_back(stores, victim, which):
    """Put the named things of an object's earlier state in the place of the present ones."""
    now, old = stores.now(victim), stores.before(victim)
    done = []
    if "version" in which:
        done += [
            stores.set_version(now, name, value)
            for name, value in old.version.items()
            if name != "envelope_id"
        ]
    done += [
        stores.set_bytes(what, now, stores.get_bytes(what, old))
        for what in ("envelope", "marks", "record")
        if what in which
    ]
    if "blobs" in which:
        done.append(stores.change("DELETE FROM blobs WHERE body_id = ?", now.body_id))
        insert = "INSERT INTO blobs (body_id, ordinal, blob_id, size, place) VALUES (?, ?, ?, ?, ?)"
        done += [stores.change(insert, now.body_id, *row) for row in old.blobs]
    if "bytes" in which:
        insert = "INSERT INTO inline_blobs (blob_id, data) VALUES (?, ?)"
        done += [stores.change(insert, *row) for row in old.inline.items()]
        done += [stores.set_file(place, stores.old_bytes(place)) for place in old.places]
    return all(done)


def _some_rolled_back(*, tellable):
    """Any part of an earlier state; some parts pass for the whole in what reads only them."""

    def do(stores, victim, _other, draw):
        while True:
            which = set(draw.sample(ROLLED_BACK, draw.randint(1, len(ROLLED_BACK) - 1)))
            passes = which >= {"version", "marks"}
            if passes != tellable:
                return _roll_back(stores, victim, which)

    if tellable:
        return Damage("a part of an earlier state", do)
    return Damage("row and marks, or more, of an earlier state", do, rolls_back=True)


def _all_rolled_back(stores, victim, _other, _draw):
    return _roll_back(stores, victim, set(ROLLED_BACK))


STORED = ("envelope", "marks", "record", "bytes")

DAMAGES = (
    *(_bent(what) for what in STORED),
    *(_bent(what) for what in STORED),
    *(_of_another(what, old=False) for what in STORED),
    *(_of_another(what, old=True) for what in STORED),
    *(_swapped(what) for what in STORED),
    *(_own_older(what) for what in STORED),
    *(_column(column) for column in VERSION_COLUMNS),
    Damage("versions swapped with another object", _versions_swapped),
    Damage("keys swapped with another object", _keys_swapped),
    Damage("another object in its place", _moved),
    Damage("another object above it", _second_version),
    Damage("body of another object", _body_of_another),
    *(Damage("blobs row changed", _blob_row),) * 3,
    *(Damage("segments moved, doubled or dropped", _segments),) * 3,
    Damage("parts swapped", _parts_swapped),
    Damage("parts swapped in the catalog", _ordinals_swapped),
    Damage("file gone, or something else in its place", _no_file),
    *(_some_rolled_back(tellable=True),) * 3,
    _some_rolled_back(tellable=False),
    Damage("the whole of an earlier state", _all_rolled_back, rolls_back=True),
)
