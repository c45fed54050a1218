"""Change what a store has written, behind its back, and see that it never passes for right.

    python -m ordeal.tamper --cases 2000

A store is filled and stopped; each object then suffers one change, is read in every way
that a client can, and must give an error or what was written: never other bytes, never a
mixture. Some changes cannot be seen by design; they are counted apart. Whatever makes a
read fail, `strongroom scrub` must have named before, without any customer's key.
Source: docs/threat-model.md, "What is not promised".
"""

import argparse
import collections
import dataclasses
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ordeal import content, serving
from ordeal import damages as all_damages
from ordeal.client import Client, NoAnswerError, customer_headers
from ordeal.serving import BUCKET

OTHER_BUCKET = "ordeal-other"
PART_BYTES = 5 * content.MIB
CUSTOMERS = 2

KINDS = (
    # (weight, sizes of the parts)
    (2, (0,)),
    (5, (1,)),
    (14, (3_000,)),
    (6, (16 * 1024,)),
    (8, (16 * 1024 + 1,)),
    (14, (65_000,)),
    (16, (200_000,)),
    (6, (600_000,)),
    (2, (PART_BYTES, 70_000)),
)
"""What objects there are; more than one part is a multipart upload."""

CHECKSUMS = "x-amz-checksum-mode"
_VOLATILE = frozenset({"date", "x-amz-request-id", "x-amz-id-2", "connection", "server"})


@dataclasses.dataclass
class Victim:
    """An object, what was written to it before, and what every read of it answered.

    Attributes:
        bucket: where it is.
        key: its name.
        customer: the key that opens it.
        body: its bytes.
        parts: lengths of its visible parts.
        reads: how it is read → the right answer.
        old_reads: the same of its earlier state.
    """

    bucket: str
    key: str
    customer: bytes | None
    body: bytes
    parts: tuple[int, ...]
    reads: dict[str, tuple] = dataclasses.field(default_factory=dict)
    old_reads: dict[str, tuple] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Summary:
    """Figures of a run."""

    seed: str
    cases: int = 0
    reads: int = 0
    refused: int = 0
    cut: int = 0
    right: int = 0
    starts: int = 0
    no_starts: int = 0
    by_damage: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    undetectable: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    survivors: list[str] = dataclasses.field(default_factory=list)
    scrubbed: int = 0
    unscrubbed: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self):
        return bool(self.survivors or self.unscrubbed)

    def lines(self):
        yield from (f"SURVIVOR {text}" for text in self.survivors)
        yield from (f"NOT FOUND BY SCRUB {text}" for text in self.unscrubbed)
        yield f"seed                     {self.seed}"
        yield f"cases                    {self.cases}, of {len(self.by_damage)} kinds"
        yield (
            f"reads                    {self.reads}: {self.refused} refused, {self.cut} cut off,"
            f" {self.right} right"
        )
        yield f"stores                   {self.starts}; {self.no_starts} starts refused"
        for name, count in sorted(self.undetectable.items()):
            yield f"undetectable by design   {count}: {name}"
        yield f"found by scrub           {self.scrubbed}; {len(self.unscrubbed)} missed"
        yield f"survivors                {len(self.survivors)}"
        yield f"seconds                  {self.seconds:.1f}"


class Tampering:
    """Batches of damaged objects, each batch one store.

    Args:
        folder: an empty directory.
        seed: what decides.
        most: objects of one batch.
        damages: what is done to them.
        catalogs: how often in each batch the catalog's file itself is damaged.
    """

    def __init__(self, folder, seed, *, most=60, damages=all_damages.DAMAGES, catalogs=2):
        self._folder = Path(folder)
        self._damages = damages
        self._catalogs = catalogs
        self._clients = {}
        self._seed = seed
        self._most = most
        draw = content.drawer(seed, "customers")
        self._customers = [None, *(draw.randbytes(32) for _ in range(CUSTOMERS))]
        self._pool = content.Pool(seed, 2 * PART_BYTES)
        self.summary = Summary(str(seed))

    def run(self, cases, say=lambda _line: None):
        begun = time.monotonic()
        batch = 0
        while self.summary.cases < cases and not self.summary.failed:
            count = min(self._most, cases - self.summary.cases)
            draw = content.drawer(self._seed, "batch", batch)
            self._batch(batch, draw, count)
            batch += 1
            say(f"{self.summary.cases}/{cases} cases, {len(self.summary.survivors)} survivors")
        self.summary.seconds = time.monotonic() - begun
        return self.summary

    # One batch

    def _batch(self, number, draw, count):
        data = self._folder / f"batch-{number}"
        old, golden = self._folder / "old", self._folder / "golden"
        servers = serving.Servers(data)
        server = servers.make()
        with server:
            self._create_buckets(server)
            victims = self._fill(server, draw, count + 2)
            for victim in victims:
                victim.old_reads = self._reads(server, victim)
        shutil.copytree(data, old)
        with server:
            self._fill(server, draw, count + 2, again=victims)
            for victim in victims:
                victim.reads = self._reads(server, victim)
                assert all(answer[0] < 400 for answer in victim.reads.values()), victim.reads
        shutil.copytree(data, golden)
        *suffering, bystander, accomplice = victims
        told = {}
        with all_damages.Stores(data, old) as stores:
            partners = [*suffering, accomplice]
            stores.learn(partners)
            for index, victim in enumerate(suffering):
                other = draw.choice([one for one in partners if one is not victim])
                # Not every damage can be done to every object.
                for damage in draw.sample(self._damages, len(self._damages)):
                    if damage.do(stores, victim, other, draw):
                        told[index] = (damage, other)
                        break
        named = _scrubbed(data)
        assert (bystander.bucket, bystander.key) not in named, "nobody touched it"
        self._judge(server, suffering, told, bystander, named)
        for _ in range(self._catalogs):
            self._damage_catalog(servers, golden, victims, draw)
        for path in (data, old, golden):
            shutil.rmtree(path)
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _judge(self, server, suffering, told, bystander, named):
        with server:
            self.summary.starts += 1
            for index, (damage, other) in told.items():
                self.summary.cases += 1
                self.summary.by_damage[damage.name] += 1
                victim = suffering[index]
                is_named = (victim.bucket, victim.key) in named
                self.summary.scrubbed += is_named
                failed = self._compare(server, victim, damage, other)
                if failed and not is_named:
                    self.summary.unscrubbed.append(f"{damage.name} of {victim.key}")
            if self._reads(server, bystander) != bystander.reads:
                self.summary.survivors.append("an object that nobody touched is not served")

    def _damage_catalog(self, servers, golden, victims, draw):
        """Flip bits of the catalog's pages; the server may refuse to start."""
        data = self._folder / "pages"
        shutil.copytree(golden, data)
        path = data / "catalog.sqlite"
        pages = bytearray(path.read_bytes())
        for _ in range(draw.randint(1, 40)):
            at = draw.randrange(len(pages))
            while not pages[at]:
                at = draw.randrange(len(pages))
            pages[at] ^= 1 << draw.randrange(8)
        path.write_bytes(pages)
        server = servers.make(data_dir=data)
        self.summary.cases += 1
        self.summary.by_damage["the catalog's pages"] += 1
        try:
            server.start()
        except RuntimeError:
            self.summary.no_starts += 1
        else:
            damage = all_damages.Damage("the catalog's pages", bool)
            for victim in victims:
                self._compare(server, victim, damage, victim)
            server.stop()
        shutil.rmtree(data)

    def _compare(self, server, victim, damage, other):
        """Judge every way to read an object; whether one of them failed.

        An object whose row was taken away, to stand for another, does not count as failing:
        that something is gone is nothing that a scrub could know.
        """
        got = self._reads(server, victim)
        rolled_back = 0
        failed_before = self.summary.refused + self.summary.cut
        is_there = got["HEAD"][0] != 404
        for how, answer in got.items():
            self.summary.reads += 1
            if answer == victim.reads[how]:
                self.summary.right += 1
            elif damage.rolls_back and answer == victim.old_reads[how]:
                rolled_back += 1
            elif answer[0] == "cut" and victim.reads[how][-1].startswith(answer[-1]):
                self.summary.cut += 1
            elif answer[0] != "cut" and answer[0] >= 400:
                self.summary.refused += 1
            else:
                self.summary.survivors.append(
                    f"{damage.name} of {victim.key} ({len(victim.body)} bytes, with {other.key}):"
                    f" {how} answers {_brief(answer)} where {_brief(victim.reads[how])} is right"
                )
        if rolled_back:
            self.summary.undetectable[damage.name] += 1
        return is_there and self.summary.refused + self.summary.cut > failed_before

    # Writing and reading

    def _create_buckets(self, server):
        for bucket in (BUCKET, OTHER_BUCKET):
            self._client(server, bucket).create_bucket()

    def _fill(self, server, draw, count, again=None):
        """Write objects; with `again`, another state over each of these."""
        victims = []
        for number in range(count):
            victim = self._draw_victim(draw, number) if again is None else again[number]
            names = [self._pool.name(draw, size) for size in victim.parts]
            victim.body = bytes(self._pool.body(names))
            client = self._client(server, victim.bucket)
            self._write(client, victim, names, f"m{draw.randrange(10**9)}")
            victims.append(victim)
        return victims

    def _draw_victim(self, draw, number):
        bucket = draw.choice([BUCKET, BUCKET, BUCKET, OTHER_BUCKET])
        sizes, weights = [sizes for _, sizes in KINDS], [weight for weight, _ in KINDS]
        parts = draw.choices(sizes, weights)[0]
        customer = draw.choice(self._customers)
        return Victim(bucket, f"object/{number:03d}", customer, b"", parts)

    def _write(self, client, victim, names, meta):
        tags = (("colour", meta), ("shape", "round"))
        told = {"customer": victim.customer, "meta": meta, "tags": tags}
        if len(names) == 1:
            assert client.put(victim.key, victim.body, **told).ok, victim
            return
        upload_id = client.create_upload(victim.key, **told).field("UploadId")
        etags = {
            number: client.put_part(
                *(victim.key, upload_id, number, self._pool.window(name)),
                customer=victim.customer,
            ).etag
            for number, name in enumerate(names, 1)
        }
        assert client.complete_upload(victim.key, upload_id, etags).ok, victim

    def _reads(self, server, victim):
        """Read an object in every way: how → (status, headers that matter, body)."""
        size = len(victim.body)
        ways = {
            "GET": ("GET", (), {}),
            "HEAD": ("HEAD", (), {}),
            "part 1": ("GET", (("partNumber", "1"),), {}),
            "attributes": (
                "GET",
                (("attributes", ""),),
                {"x-amz-object-attributes": "ETag,Checksum,ObjectParts,ObjectSize"},
            ),
        }
        if size:
            last = f"bytes={max(size - 10, 0)}-{size - 1}"
            middle = f"bytes={size // 2}-{min(size // 2 + 70_000, size - 1)}"
            ways["first byte"] = ("GET", (), {"Range": "bytes=0-0"})
            ways["middle"] = ("GET", (), {"Range": middle})
            ways["last bytes"] = ("GET", (), {"Range": last})
        client = self._client(server, victim.bucket)
        found = {
            name: _ask(client, method, victim, query, headers)
            for name, (method, query, headers) in ways.items()
        }
        found["tags"] = _ask(client, "GET", victim, (("tagging", ""),), None)
        return found

    def _client(self, server, bucket):
        """Return the connection to a bucket of this server, as it runs now."""
        name = (server.process.pid, bucket)
        if name not in self._clients:
            self._clients[name] = Client(server, bucket)
        return self._clients[name]


def _scrubbed(data_dir):
    """Return (bucket, key) of all objects that a scrub names."""
    environ = {name: value for name, value in os.environ.items() if "STRONGROOM" not in name}
    done = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-m", "strongroom.cli", "scrub", "--json", "--data-dir", data_dir],
        capture_output=True,
        check=False,
        env=environ,
    )
    assert done.returncode in (0, 1), done.stderr
    damages = json.loads(done.stdout)["damages"]
    return {(one["bucket"], one["key"]) for one in damages if "key" in one}


def _ask(client, method, victim, query, headers):
    try:
        if headers is not None:
            headers = customer_headers(victim.customer) | {CHECKSUMS: "ENABLED"} | headers
        answer = client.ask(method, victim.key, list(query), headers)
    except NoAnswerError as error:
        if error.partial is None:
            return ("cut", (), b"")
        status, _, body = error.partial
        return ("cut", status, body)
    if answer.status >= 400:
        return (answer.status, answer.code, b"")
    headers = {name: value for name, value in answer.headers.items() if name not in _VOLATILE}
    return (answer.status, tuple(sorted(headers.items())), answer.body)


def _brief(answer):
    *head, body = answer
    return (*head, len(body), bytes(body[:20]))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make tamper", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    chosen = parser.parse_args(arguments)
    print(f"seed {chosen.seed}", flush=True)  # noqa: T201 - a program's output
    folder = Path(tempfile.mkdtemp(prefix="strongroom-tamper-"))
    summary = Tampering(folder, chosen.seed).run(
        chosen.cases,
        lambda line: print(line, flush=True),  # noqa: T201
    )
    print(*summary.lines(), sep="\n")  # noqa: T201
    shutil.rmtree(folder)
    return int(summary.failed)


if __name__ == "__main__":
    sys.exit(main())
