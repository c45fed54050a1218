"""Let single system calls of a real server fail while clients write.

    python -m ordeal.faults

Each case starts the server under `strace -e inject=`, which makes every so-many-th call of
a kind fail in each thread. Every answer must be a success or say precisely what is the
matter; nothing acknowledged is lost; the server goes on.
"""

import argparse
import contextlib
import dataclasses
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from ordeal import audit, content, load, serving, trace
from ordeal.client import Client, NoAnswerError
from ordeal.serving import BUCKET

TRIES = 40
"""A write that is repeated so often must succeed at last."""

FULL = (507, "StoreFull")
BROKEN = (500, "InternalError")


@dataclasses.dataclass(frozen=True)
class Case:
    """One kind of failure.

    Attributes:
        call: the system call.
        error: what it fails with.
        when: strace's FIRST+STEP, counted in each thread by itself.
        answers: what the server may say.
        cuts: whether it may break off an answer that it has begun.
    """

    call: str
    error: str
    when: str
    answers: tuple[tuple[int, str], ...]
    cuts: bool = False

    def __str__(self):
        return f"{self.call} fails with {self.error}, {self.when}"


CASES = (
    Case("pwrite64", "ENOSPC", "20+31", (FULL,)),
    Case("pwrite64", "EIO", "20+31", (BROKEN,)),
    Case("fdatasync", "EIO", "5+4", (BROKEN,)),
    Case("fdatasync", "ENOSPC", "5+4", (FULL, BROKEN)),
    Case("fsync", "EIO", "9+3", (BROKEN,)),
    # Whoever waits for a directory that another one's sync has given up is told so: BROKEN.
    Case("fsync", "ENOSPC", "9+3", (FULL, BROKEN)),
    Case("ftruncate", "EIO", "6+2", (BROKEN,)),
    Case("preadv,preadv2", "EIO", "2+2", (BROKEN,), cuts=True),
    # Who deletes or overwrites is not told: the blob stays doomed until it can be removed.
    Case("unlink", "EIO", "5+2", ()),
)


@dataclasses.dataclass
class Outcome:
    """What a case led to."""

    case: Case
    acknowledged: int = 0
    refusals: dict[tuple[int, str], int] = dataclasses.field(default_factory=dict)
    injected: int = 0
    found: audit.Found = dataclasses.field(default_factory=audit.Found)
    faults: list[str] = dataclasses.field(default_factory=list)

    def lines(self):
        for text in (*self.faults, *self.found.losses, *self.found.strays):
            yield f"FAULT {self.case}: {text}"
        told = ", ".join(f"{n} times {s} {code}" for (s, code), n in sorted(self.refusals.items()))
        yield (
            f"{self.case}: {self.injected} injected, {self.acknowledged} acknowledged,"
            f" refused {told or 'nothing'}; {self.found.objects} compared,"
            f" {len(self.found.losses)} lost, {len(self.found.strays)} strays"
        )

    @property
    def failed(self):
        return bool(self.faults or self.found.losses or self.found.strays)


class Ordeal:
    """One case on one data directory."""

    def __init__(self, folder, case, seed, *, clients=3, most=6 * content.MIB):
        self._folder = folder
        self._case = case
        self._seed = f"{seed}/{case}"
        self._clients = clients
        self._told = load.scene(self._seed, most=most)
        self._told.cuts_allowed = case.cuts
        self._outcome = Outcome(case)
        self._servers = serving.Servers(folder / "data")

    def run(self, deeds):
        case, told, outcome = self._case, self._told, self._outcome
        lines = self._folder / "trace"
        with (
            self._servers.make() as server,
            contextlib.closing(Client(server, BUCKET)) as client,
        ):
            client.create_bucket()
        inject = f"inject={case.call}:error={case.error}:when={case.when}"
        with self._servers.make(
            command=trace.command(lines, "-e", inject, calls=case.call)
        ) as server:
            self._load(server, deeds)
            self._must_go_on(server)
        trace.finished(lines)
        outcome.injected = lines.read_text("ascii").count("(INJECTED)")
        if not outcome.injected:
            outcome.faults.append("nothing was made to fail")
        outcome.acknowledged = told.oracle.acknowledged
        outcome.faults += told.surprises
        with self._servers.make() as server:
            audit.Audit(
                told, server, BUCKET, content.drawer(self._seed, "audit"), outcome.found
            ).run()
        return outcome

    def _load(self, server, deeds):
        threads, workers, stop = load.start(
            self._told, server, BUCKET, clients=self._clients, seed=self._seed, refused=self._heard
        )
        while sum(worker.deeds for worker in workers) < deeds and any(
            thread.is_alive() for thread in threads
        ):
            time.sleep(0.02)
        stop.set()
        for thread in threads:
            thread.join()

    def _heard(self, answer, _doing):
        said = (answer.status, answer.code)
        if said in ((400, "EntityTooSmall"), (404, "NoSuchUpload")):
            # An upload whose part or Complete had failed before.
            return "refused"
        if said not in self._case.answers:
            return None
        with self._told.lock:
            self._outcome.refusals[said] = self._outcome.refusals.get(said, 0) + 1
        # "Nothing was stored", says the one; the other does not say.
        return "refused" if said == FULL else "failed"

    def _must_go_on(self, server):
        """Write in the catalog and in a file, and read both, before the server is stopped."""
        with contextlib.closing(Client(server, BUCKET)) as client:
            for key, size in (("small", 10), ("large", 100_000)):
                body = self._told.pool.window((1, size))
                if not self._repeat(lambda key=key, body=body: client.put(key, body)):
                    self._outcome.faults.append(f"{key} could not be written any more")
                    continue
                answer = self._repeat(lambda key=key: client.get(key))
                if answer is None or answer.body != body:
                    self._outcome.faults.append(f"{key} could not be read any more")
            for key in ("small", "large"):
                self._repeat(lambda key=key: client.delete(key))

    @staticmethod
    def _repeat(ask):
        for _ in range(TRIES):
            with contextlib.suppress(NoAnswerError):
                answer = ask()
                if answer.ok:
                    return answer
        return None


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__.splitlines()[0])
    parser.add_argument("--deeds", type=int, default=300, help="requests of each case")
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--only", default="", help="cases with this word")
    chosen = parser.parse_args(arguments)
    reason = trace.missing()
    if reason:
        print(f"failing system calls: skipped, {reason}")  # noqa: T201 - a program's output
        return 0
    print(f"seed {chosen.seed}", flush=True)  # noqa: T201
    failed = False
    begun = time.monotonic()
    for case in CASES:
        if chosen.only not in str(case):
            continue
        folder = Path(tempfile.mkdtemp(prefix="strongroom-faults-"))
        outcome = Ordeal(folder, case, chosen.seed).run(chosen.deeds)
        print(*outcome.lines(), sep="\n", flush=True)  # noqa: T201
        if outcome.failed:
            failed = True
            print(f"kept: {folder}")  # noqa: T201
        else:
            shutil.rmtree(folder)
    print(f"seconds {time.monotonic() - begun:.1f}")  # noqa: T201
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
