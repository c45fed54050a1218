"""The writer thread: group commits, failures, cancelled callers, several processes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading

import pytest

from strongroom import errors
from strongroom.store import records
from strongroom.store.sqlite import catalog as sqlite_catalog
from strongroom.store.sqlite import connection, schema
from strongroom.store.sqlite.checkpoints import Checkpoints
from strongroom.store.sqlite.writer import Writer


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("migrated") / "catalog.db"
    schema.migrate(path)
    return path


@pytest.fixture
def path(migrated, tmp_path):
    return shutil.copy(migrated, tmp_path / "catalog.db")


@pytest.fixture
def commits():
    """One entry for each commit."""
    return []


@pytest.fixture
def writer(path, tmp_path, commits):
    one = Writer(
        lambda: connection.connect(path),
        lock_path=tmp_path / "lock",
        committed=lambda: commits.append("commit"),
    )
    yield one
    one.close()


def names(path):
    conn = sqlite3.connect(path)
    try:
        return {name for (name,) in conn.execute("SELECT name FROM facts")}
    finally:
        conn.close()


def setter(name):
    def work(conn):
        conn.execute("INSERT INTO facts (name, value) VALUES (?, x'00')", (name,))
        return name

    return work


class Gate:
    """Work that holds the writer's thread until it is opened."""

    def __init__(self):
        self.entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, conn):
        self.entered.set()
        self._open.wait()
        return setter("gate")(conn)

    def open(self):
        self._open.set()


async def hold(writer):
    """Keep the writer busy; returns the gate to open, and the task that waits for it."""
    gate = Gate()
    task = asyncio.create_task(writer.write(gate))
    await asyncio.to_thread(gate.entered.wait)
    return gate, task


def test_what_waits_during_a_commit_shares_the_next(writer, path, commits):
    async def story():
        gate, first = await hold(writer)
        others = [asyncio.create_task(writer.write(setter(f"{n}"))) for n in range(50)]
        await asyncio.sleep(0)
        gate.open()
        return await asyncio.gather(first, *others)

    results = asyncio.run(story())

    assert results == ["gate", *map(str, range(50))]
    assert len(commits) == 2
    assert names(path) == set(results)


def test_a_write_that_raises_is_undone_alone(writer, path):
    def half(conn):
        setter("half")(conn)
        raise errors.PreconditionFailed("If-Match")

    def broken(conn):
        setter("broken")(conn)
        conn.execute("INSERT INTO facts (name, value) VALUES ('null', NULL)")

    async def story():
        gate, first = await hold(writer)
        work = [setter("a"), half, setter("b"), broken, setter("c")]
        others = [asyncio.create_task(writer.write(each)) for each in work]
        await asyncio.sleep(0)
        gate.open()
        await first
        return await asyncio.gather(*others, return_exceptions=True)

    a, half_out, b, broken_out, c = asyncio.run(story())

    assert (a, b, c) == ("a", "b", "c")
    assert isinstance(half_out, errors.PreconditionFailed)
    assert isinstance(broken_out, errors.StoreFailed)
    assert isinstance(broken_out.__cause__, sqlite3.IntegrityError)
    assert names(path) == {"gate", "a", "b", "c"}


class FailingDisk:
    """A connection whose second COMMIT fails, and on demand the ROLLBACK after it."""

    def __init__(self, path, code, *, rollback_fails=False):
        self._real = connection.connect(path)
        self._code = code
        self._rollback_fails = rollback_fails
        self._commits = 0

    def __getattr__(self, name):
        return getattr(self._real, name)

    def execute(self, sql, *args):
        if sql == "COMMIT":
            self._commits += 1
            if self._commits == 2:
                self._fail()
        if sql == "ROLLBACK" and self._rollback_fails:
            self._fail()
        return self._real.execute(sql, *args)

    def _fail(self):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = self._code
        raise error


@pytest.mark.parametrize("rollback_fails", [False, True])
@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, errors.StoreFailed),
        (sqlite3.SQLITE_FULL, errors.StoreFull),
    ],
)
def test_a_failed_commit_fails_the_whole_batch_and_no_later_one(path, code, raised, rollback_fails):
    connections = [
        connection.connect(path),
        FailingDisk(path, code, rollback_fails=rollback_fails),
    ]
    commits = []
    writer = Writer(connections.pop, lock_path=None, committed=lambda: commits.append("commit"))

    def refused(_conn):
        raise errors.PreconditionFailed("If-Match")

    async def story():
        gate, first = await hold(writer)
        work = [setter("a"), refused, setter("b")]
        others = [asyncio.create_task(writer.write(each)) for each in work]
        await asyncio.sleep(0)
        gate.open()
        await first
        outcomes = await asyncio.gather(*others, return_exceptions=True)
        await writer.write(setter("later"))
        return outcomes

    outcomes = asyncio.run(story())
    writer.close()
    for left in connections:
        left.close()

    assert [type(out) for out in outcomes] == [raised] * 3
    assert len(set(map(id, outcomes))) == 3
    assert names(path) == {"gate", "later"}
    assert len(commits) == 2


def test_a_full_disk_is_named_and_deleting_still_works(writer, path):
    async def story():
        def shrink(conn):
            conn.execute(
                f"PRAGMA max_page_count = {conn.execute('PRAGMA page_count').fetchone()[0]}"
            )

        def large(conn):
            conn.execute("INSERT INTO facts (name, value) VALUES ('large', zeroblob(1000000))")

        await writer.write(setter("small"))
        await writer.between(shrink)
        with pytest.raises(errors.StoreFull):
            await writer.write(large)
        await writer.write(lambda conn: conn.execute("DELETE FROM facts").rowcount)

    asyncio.run(story())

    assert names(path) == set()


def test_a_cancelled_caller_withdraws_a_write_that_has_not_begun(writer, path):
    async def story():
        gate, first = await hold(writer)
        second = asyncio.create_task(writer.write(setter("withdrawn")))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.open()
        await first

    asyncio.run(story())

    assert names(path) == {"gate"}


def test_a_cancelled_caller_of_a_begun_write_gets_the_outcome_first(writer, path):
    gate = Gate()
    seen = []

    async def put_then_keep():
        seen.append(await writer.write(gate))
        await asyncio.sleep(0)
        seen.append("not reached")

    async def story():
        task = asyncio.create_task(put_then_keep())
        await asyncio.to_thread(gate.entered.wait)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())

    assert seen == ["gate"]
    assert names(path) == {"gate"}


def test_close_finishes_what_waits_and_refuses_what_comes_later(writer, path):
    async def story():
        gate, first = await hold(writer)
        second = asyncio.create_task(writer.write(setter("second")))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(writer.close))
        gate.open()
        await closing
        await asyncio.gather(first, second)
        with pytest.raises(errors.StoreFailed):
            await writer.write(setter("third"))

    asyncio.run(story())

    assert names(path) == {"gate", "second"}


def test_a_loop_that_is_gone_does_not_stop_the_writer(writer, path):
    gate = Gate()
    loop = asyncio.new_event_loop()
    task = loop.create_task(writer.write(gate))
    loop.run_until_complete(asyncio.sleep(0))
    gate.entered.wait()
    loop.close()
    gate.open()

    assert asyncio.run(writer.write(setter("later"))) == "later"
    assert names(path) == {"gate", "later"}
    # The task never ends: its loop is closed. Say so, or asyncio complains when it is collected.
    task._log_destroy_pending = False  # noqa: SLF001 - there is no public way


def test_writers_wait_on_the_lock_file(writer, path, tmp_path):
    held = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)

    async def story():
        task = asyncio.create_task(writer.write(setter("waits")))
        done, _ = await asyncio.wait([task], timeout=0.1)
        assert not done
        assert names(path) == set()
        fcntl.flock(held, fcntl.LOCK_UN)
        await task

    asyncio.run(story())
    os.close(held)

    assert names(path) == {"waits"}


def test_a_batch_does_not_keep_the_lock(writer, tmp_path):
    asyncio.run(writer.write(setter("a")))

    held = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(held)


PROCESS = """
    import asyncio, sys
    from pathlib import Path
    from strongroom.store.sqlite import catalog

    async def main(path, lock, name):
        one = catalog.open_catalog(Path(path), lock_path=Path(lock))
        await asyncio.gather(*(one.establish(f"{name}-{n}", b"") for n in range(100)))
        for n in range(100, 120):
            await one.establish(f"{name}-{n}", b"")
            assert await one.fact(f"{name}-{n}") == b""
        print("done", flush=True)
        await one.close()

    asyncio.run(main(*sys.argv[1:]))
"""


def run_process(script, *args):
    return subprocess.Popen(  # noqa: S603 - this interpreter, this script
        [sys.executable, "-c", textwrap.dedent(script), *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_several_processes_write_and_each_sees_what_the_others_acknowledged(path, tmp_path):
    lock = tmp_path / "lock"
    processes = [run_process(PROCESS, path, lock, name) for name in "ab"]
    for process in processes:
        out, _ = process.communicate()
        assert (out, process.returncode) == (b"done\n", 0)

    assert names(path) == {f"{name}-{n}" for name in "ab" for n in range(120)}


ACKNOWLEDGES = """
    import asyncio, sys
    from pathlib import Path
    from strongroom.store.sqlite import catalog

    async def main(path):
        one = catalog.open_catalog(Path(path))

        async def establish(name):
            await one.establish(name, b"")
            print(name, flush=True)

        for n in range(0, 100_000, 5):
            await asyncio.gather(*(establish(str(n + k)) for k in range(5)))

    asyncio.run(main(sys.argv[1]))
"""


def test_what_was_acknowledged_before_a_kill_is_there(path):
    process = run_process(ACKNOWLEDGES, path)
    with process:
        acknowledged = [process.stdout.readline().decode().strip() for _ in range(40)]
        process.kill()
        acknowledged += [line.decode().strip() for line in process.stdout if line.endswith(b"\n")]

    assert set(acknowledged) <= names(path)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_log_is_synced_before_anybody_is_told(path, tmp_path):
    trace = tmp_path / "trace"
    script = textwrap.dedent(
        """
        import asyncio, os, sys
        from pathlib import Path
        from strongroom.store.sqlite import catalog

        async def main(path):
            one = catalog.open_catalog(Path(path))
            os.write(1, b"before\\n")
            await one.establish("name", b"value")
            os.write(1, b"after\\n")
            await one.close()

        asyncio.run(main(sys.argv[1]))
        """
    )
    calls = "trace=write,pwrite64,fsync,fdatasync"
    command = ["strace", "-f", "-y", "-e", calls, "-o", trace, sys.executable, "-c", script, path]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - as above
    if done.returncode and b"ptrace" in done.stderr.lower():
        pytest.skip("tracing is not allowed here")
    assert done.returncode == 0, done.stderr

    lines = trace.read_text().splitlines()
    (before,) = (n for n, line in enumerate(lines) if '"before\\n"' in line)
    (after,) = (n for n, line in enumerate(lines) if '"after\\n"' in line)
    written = [line for line in lines[before:after] if "pwrite64" in line and "-wal>" in line]
    on_log = [
        "sync" if "sync(" in line else "write"
        for line in lines[before:after]
        if "-wal>" in line and ("sync(" in line or "pwrite64(" in line)
    ]
    assert written
    assert on_log[-1] == "sync"


def test_a_log_that_writers_keep_adding_to_stays_short(path, monkeypatch):
    monkeypatch.setattr(connection, "WAL_BYTES", 64 * 1024)
    log = path.with_name(path.name + "-wal")
    checkpoints = Checkpoints(path)
    writer = Writer(lambda: connection.connect(path), lock_path=None, committed=checkpoints.nudge)

    async def story():
        lengths = []
        for n in range(200):
            await writer.write(
                lambda conn, n=n: conn.execute(
                    "INSERT INTO facts (name, value) VALUES (?, zeroblob(8000))", (str(n),)
                )
            )
            lengths.append(log.stat().st_size)
        return lengths

    lengths = asyncio.run(story())
    writer.close()
    checkpoints.close()

    assert max(lengths) < 1_000_000, "200 writes of 8,000 bytes, with neither of the two: 4.5 MB"
    assert checkpoints.failures == 0
    assert len(names(path)) == 200


def test_the_background_copies_a_long_log_and_leaves_a_short_one(path, monkeypatch):
    monkeypatch.setattr(connection, "WAL_BYTES", 64 * 1024)
    conn = connection.connect(path)
    conn.execute("PRAGMA wal_autocheckpoint = 0")

    def insert(text, times):
        value = text * times
        conn.execute("INSERT INTO facts (name, value) VALUES (?, ?)", (text.decode(), value))
        checkpoints = Checkpoints(path)
        checkpoints.nudge()
        checkpoints.close()
        return text in path.read_bytes()

    assert not insert(b"a short one", 100)
    assert insert(b"a long one", 10_000)
    conn.close()


def test_a_truncating_checkpoint_leaves_no_old_row_in_the_files(path):
    user = records.User("aa" * 32, "alice", 1)
    credential = records.Credential("AKIA", user.user_id, b"a sealed secret", 1)
    log = path.with_name(path.name + "-wal")

    async def story():
        one = sqlite_catalog.open_catalog(path)
        await one.add_user(user, credential)
        await one.remove_user("alice")
        assert b"a sealed secret" in log.read_bytes()

        assert await one.checkpoint()
        assert await one.checkpoint(truncate=True)

        assert log.read_bytes() == b""
        assert b"a sealed secret" not in path.read_bytes()
        await one.close()

    asyncio.run(story())


def test_calls_after_close_say_so(path):
    async def story():
        one = sqlite_catalog.open_catalog(path)
        await one.close()
        for call in (
            one.fact("name"),
            one.users(),
            one.establish("name", b""),
            one.checkpoint(),
            one.checkpoint(truncate=True),
        ):
            with pytest.raises(errors.StoreFailed):
                await call

    asyncio.run(story())


def test_readers_never_wait_for_a_writer(path):
    bucket = records.Bucket("shelf", "owner", 1, "eu", {})
    entered, leave = threading.Event(), threading.Event()

    def guard(_current, _marks):
        entered.set()
        leave.wait()

    async def story():
        one = sqlite_catalog.open_catalog(path)
        await one.create_bucket(bucket)
        deleting = asyncio.create_task(one.delete_version("shelf", "key", guard))
        await asyncio.to_thread(entered.wait)

        assert await one.bucket("shelf") == bucket
        assert list(await one.buckets(limit=5)) == [bucket]

        leave.set()
        await deleting
        await one.close()

    asyncio.run(story())


def test_damage_is_reported_as_a_failing_store(path):
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))

    async def story():
        one = sqlite_catalog.open_catalog(path)
        try:
            await one.bucket("shelf")
        finally:
            await one.close()

    with pytest.raises(errors.StoreFailed):
        asyncio.run(story())
