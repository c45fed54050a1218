"""The audit log: where its lines go, what happens when they cannot, and that none can be forged."""

import asyncio
import io
import json
import stat

import pytest

from strongroom.server import audit, audit_sinks, observe

MIB = 1024 * 1024


class Sink:
    """A sink that fails while it is told to."""

    def __init__(self):
        self.lines, self.failing, self.closed = [], False, False

    def write(self, lines):
        if self.failing:
            raise OSError(28, "No space left on device")
        self.lines += lines

    def sync(self):
        pass

    def close(self):
        self.closed = True


@pytest.fixture
def reporter():
    return observe.reporter(io.StringIO())


def make(sink, reporter, tmp_path, **changes):
    settings = {"at_once": True, "refuses": False, "leftovers": tmp_path / "queue"} | changes
    return audit.Audit(sink, reporter, fingerprint=lambda _key: b"f" * 16, **settings)


def tell(log, **fields):
    log._tell("decision", **fields)  # noqa: SLF001 - what all that is told goes through


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_file_is_its_owners_and_takes_whole_lines(tmp_path):
    path = tmp_path / "audit.log"
    one, two = (audit_sinks.File(path, max_bytes=MIB) for _ in range(2))

    for number in range(20):
        (one, two)[number % 2].write([b'{"a":%d}\n' % number])

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [line["a"] for line in lines_of(path)] == list(range(20))
    one.sync()
    one.close()
    two.close()


def test_a_file_that_has_grown_is_given_another_name_once_by_all_who_write(tmp_path):
    path = tmp_path / "audit.log"
    one, two = (audit_sinks.File(path, max_bytes=1000) for _ in range(2))

    for number in range(300):
        (one, two)[number % 2].write([b'{"number":%03d}\n' % (number + 100)])

    older = sorted(tmp_path.glob("audit.log.2*"))
    total = sum(len(lines_of(each)) for each in (*older, path))
    assert total == 300
    assert all(1000 <= each.stat().st_size < 1100 for each in older)
    assert len(older) == 4
    one.close()
    two.close()


@pytest.mark.parametrize("how", ["renamed", "removed"])
def test_a_file_that_somebody_took_away_is_begun_anew(tmp_path, how):
    path = tmp_path / "audit.log"
    sink = audit_sinks.File(path, max_bytes=MIB)
    sink.write([b'{"a":1}\n'])
    if how == "renamed":
        path.rename(tmp_path / "audit.log.1")
    else:
        path.unlink()

    sink.write([b'{"a":2}\n'])

    assert lines_of(path) == [{"a": 2}]
    sink.close()


def test_what_clients_choose_makes_no_line_of_its_own():
    forged = 'a"}\n{"event":"decision","allowed":true}\u2028\x1b[2J' + "x" * 10_000

    line = audit.encode("decision", {"key": forged, "code": "", "allowed": False})

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert all(32 <= byte < 127 for byte in line[:-1])
    told = json.loads(line)
    assert told["key"] == forged[: audit.MAX_TEXT]
    assert "code" not in told
    assert told["allowed"] is False


def test_lines_that_a_full_disk_did_not_take_come_later_and_in_order(
    reporter, tmp_path, monkeypatch
):
    monkeypatch.setattr(audit, "FIRST_WAIT_S", 0.0)

    async def run():
        sink = Sink()
        log = make(sink, reporter, tmp_path)
        await log.start()
        tell(log, number=1)
        sink.failing = True
        tell(log, number=2)
        sink.failing = False
        tell(log, number=3)
        await log.close()
        return sink

    sink = asyncio.run(run())

    assert [json.loads(line)["number"] for line in sink.lines] == [1, 2, 3]
    assert sink.closed


def test_where_that_was_chosen_requests_are_refused_while_lines_cannot_be_kept(reporter, tmp_path):
    async def run():
        sink = Sink()
        log = make(sink, reporter, tmp_path, refuses=True)
        before = log.is_stuck
        sink.failing = True
        tell(log, number=1)
        return before, log.is_stuck

    assert asyncio.run(run()) == (False, True)


def test_a_full_queue_drops_what_comes_and_counts_it(reporter, tmp_path):
    async def run():
        log = make(Sink(), reporter, tmp_path, at_once=False)
        for number in range(audit.MAX_QUEUED + 3):
            tell(log, number=number)
        return await reporter.metrics.scrape()

    told = asyncio.run(run()).decode()
    assert 'strongroom_audit_lines_total{outcome="dropped"} 3.0' in told


def test_what_could_not_be_delivered_is_left_for_the_next_process(reporter, tmp_path):
    async def first():
        sink = Sink()
        sink.failing = True
        log = make(sink, reporter, tmp_path, at_once=False)
        await log.start()
        tell(log, number=1)
        tell(log, number=2)
        await log.close()
        return sink

    async def second():
        sink = Sink()
        log = make(sink, reporter, tmp_path, at_once=False)
        await log.start()
        tell(log, number=3)
        await log.close()
        return sink

    assert asyncio.run(first()).lines == []
    (left,) = (tmp_path / "queue").iterdir()
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    assert [json.loads(line)["number"] for line in asyncio.run(second()).lines] == [1, 2, 3]
    assert list((tmp_path / "queue").iterdir()) == []
