"""Kill a real server under load, again and again, and see that it keeps its word.

    python -m ordeal.kills --rounds 200

Each round loads the server from several clients, ends it by SIGKILL at some moment,
starts it on the same data directory and audits that. Some rounds kill it while it
starts, and some serve from two processes, of which all, one, or only the parent die.
"""

import argparse
import contextlib
import dataclasses
import secrets
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from ordeal import audit, content, inventory, load, serving
from ordeal.client import Client
from ordeal.serving import BUCKET

END_S = 90

WAYS = ("server", "server", "server", "server", "at birth", "workers", "one worker", "parent")
"""What dies; drawn anew for each round."""


@dataclasses.dataclass
class Summary:
    """Figures of a run."""

    seed: str
    rounds: int = 0
    kills: int = 0
    deeds: int = 0
    acknowledged: int = 0
    mib: float = 0.0
    found: audit.Found = dataclasses.field(default_factory=audit.Found)
    surprises: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self):
        return bool(self.found.losses or self.found.strays or self.surprises)

    def lines(self):
        found = self.found
        yield from (f"LOSS {text}" for text in found.losses)
        yield from (f"STRAY {text}" for text in found.strays)
        yield from (f"SURPRISE {text}" for text in self.surprises)
        yield f"seed                      {self.seed}"
        yield f"rounds                    {self.rounds}, {self.kills} kills"
        yield f"requests                  {self.deeds}, {self.mib:.0f} MiB written"
        yield f"acknowledged writes       {self.acknowledged}"
        yield f"objects opened, compared  {found.objects}; {found.absent} absent, as they must be"
        yield f"parts of open uploads     {found.parts}"
        yield f"in flight when killed     {found.in_flight}, {found.in_flight_kept} of them kept"
        yield f"set aside by sweeps       {found.set_aside} blobs"
        yield f"losses                    {len(found.losses)}"
        yield f"strays and dangling       {len(found.strays)}"
        yield f"unexpected answers        {len(self.surprises)}"
        yield f"seconds                   {self.seconds:.1f}"


class Siege:
    """Rounds against one data directory.

    Args:
        data_dir: empty or missing.
        seed: what decides everything but the timing of threads.
        clients: clients at a time.
        load_s: least and most seconds from the start of a load to the kill.
        most: the largest body, in bytes.
        ways: what dies, see `WAYS`.
    """

    def __init__(self, data_dir, seed, *, clients, load_s, most, ways=WAYS):
        self._data_dir = Path(data_dir)
        self._seed = seed
        self._clients = clients
        self._load_s = load_s
        self._ways = ways
        self._scene = load.scene(seed, most=most)
        self._servers = serving.Servers(self._data_dir)
        self._orphans = []
        self.summary = Summary(str(seed))
        self.log = ""

    def run(self, rounds, say=lambda _line: None, *, births=1):
        begun = time.monotonic()
        with contextlib.ExitStack() as self._stack:
            for number in range(births):
                # The very first start makes keys, certificates, catalog and directories.
                unborn = self._servers.make()
                kill_at_birth(unborn, content.drawer(self._seed, "birth", number).uniform(0, 2))
                unborn.stop()
                self.summary.kills += 1
            server = self._start()
            with contextlib.closing(Client(server, BUCKET)) as client:
                client.create_bucket()
            for number in range(rounds):
                draw = content.drawer(self._seed, "round", number)
                way = draw.choice(self._ways)
                server = self._round(server, number, way, draw)
                self.summary.rounds += 1
                self.summary.seconds = time.monotonic() - begun
                say(
                    f"round {number + 1}/{rounds} ({way}):"
                    f" {self.summary.acknowledged} acknowledged,"
                    f" {self.summary.found.objects} compared,"
                    f" {len(self.summary.found.losses)} lost, {self.summary.seconds:.0f} s"
                )
                if self.summary.failed:
                    break
            # What the last audit completed is looked at too, and all of it once more
            # when the store was closed in order.
            self._audit(server, content.drawer(self._seed, "last"))
            server.stop()
        self.summary.found.strays += inventory.faults(self._data_dir)
        self.summary.seconds = time.monotonic() - begun
        return self.summary

    def _round(self, server, number, way, draw):
        """Load, kill, start again and audit; return the server that runs then."""
        if way == "at birth":
            server.kill()
            kill_at_birth(server, draw.uniform(0, 1.5))
            self.summary.kills += 2
            server.start()
        elif way in ("workers", "one worker", "parent"):
            server.stop()
            server = self._start(workers=2)
        self._load(server, way, number, draw)
        orphans = self._take_away(server, way)
        server = self._start()
        # Workers that outlive their parent for a moment hold their leases as long.
        self._audit(server, draw, strays_may_stay=bool(orphans))
        if orphans:
            await_end(orphans)
            server.restart()
            self._audit(server, draw)
        return server

    def _load(self, server, way, number, draw):
        scene = self._scene
        scene.cuts_allowed = way == "one worker"
        threads, workers, stop = load.start(
            scene, server, BUCKET, clients=self._clients, seed=f"{self._seed}/{number}"
        )
        time.sleep(draw.uniform(*self._load_s))
        if way == "one worker":
            # It is started again, while the other one serves on.
            draw.choice(children(server)).kill()
            self.summary.kills += 1
            time.sleep(draw.uniform(*self._load_s))
        stop.set()
        self._strike(server, way, draw)
        self.summary.kills += 1
        for thread in threads:
            thread.join(END_S)
            assert not thread.is_alive(), "a client ends with its server"
        self.summary.deeds += sum(worker.deeds for worker in workers)
        self.summary.acknowledged = scene.oracle.acknowledged
        self.summary.mib = scene.bytes_sent / content.MIB
        self.summary.surprises = scene.surprises

    def _strike(self, server, way, draw):
        self._orphans = children(server)
        victims = [server.process, *(() if way == "parent" else self._orphans)]
        draw.shuffle(victims)
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()

    def _take_away(self, server, way):
        """Take the dead away; return those who live on for a while."""
        server.kill()
        self.log = server.log_text()
        server.stop()
        if way != "parent":
            await_end(self._orphans)
        return [process for process in self._orphans if is_alive(process)]

    def _audit(self, server, draw, **leave):
        audit.Audit(self._scene, server, BUCKET, draw, self.summary.found).run(**leave)
        self._scene.cuts_allowed = False

    def _start(self, workers=1):
        return self._stack.enter_context(self._servers.make(args=("--workers", str(workers))))


def children(server):
    return psutil.Process(server.process.pid).children(recursive=True)


def is_alive(process):
    """Whether it still runs; one that nobody has taken away does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def await_end(processes):
    deadline = time.monotonic() + END_S
    while any(map(is_alive, processes)):
        assert time.monotonic() < deadline, "workers end after their parent"
        time.sleep(0.05)


def kill_at_birth(server, after_s):
    """Start a server and kill it so much later, ready or not."""

    def strike():
        if server.process is not None:
            server.process.kill()

    timer = threading.Timer(after_s, strike)
    timer.start()
    try:
        server.start()
    except RuntimeError:
        # It did not get ready in time, as intended. Should it be unable to, the next start tells.
        return
    finally:
        timer.cancel()
        timer.join()
    server.kill()


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--keep", action="store_true", help="keep the data directory")
    chosen = parser.parse_args(arguments)
    print(f"seed {chosen.seed}", flush=True)  # noqa: T201 - a program's output
    folder = Path(tempfile.mkdtemp(prefix="strongroom-crash-"))
    siege = Siege(
        folder / "data",
        chosen.seed,
        clients=chosen.clients,
        load_s=(0.02, 2.5),
        most=content.LARGEST,
    )
    summary = siege.run(
        chosen.rounds,
        lambda line: print(line, flush=True),  # noqa: T201
        births=6,
    )
    print(*summary.lines(), sep="\n")  # noqa: T201
    if summary.failed or chosen.keep:
        (folder / "server.log").write_text(siege.log)
        print(f"kept: {folder}")  # noqa: T201
    else:
        shutil.rmtree(folder)
    return int(summary.failed)


if __name__ == "__main__":
    sys.exit(main())
