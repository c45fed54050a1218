"""Before an answer leaves, file, directory and log have been synced: seen from outside."""

import contextlib

import pytest
from ordeal import power, serving, trace
from ordeal.client import Client
from ordeal.serving import BUCKET

KEY = bytes(range(32))
LARGE = bytes(300_000)
PART = bytes(5 * 1024 * 1024)
SYNCS = ("fsync", "fdatasync")
LOG = "catalog.sqlite-wal"


class Story:
    """Requests of one client, one after the other, and the system calls of each."""

    def __init__(self, calls, told):
        answered = power.answers(calls)
        self._windows = {}
        begun = 0
        for name, request_id in told:
            line, status = answered[request_id]
            assert status < 300, name
            self._windows[name] = [call for call in calls if begun < call.entered <= line]
            begun = line

    def calls(self, name, *kinds, within):
        """Return the calls of the named kinds on paths that contain `within`."""
        return [call for call in self._windows[name] if call.name in kinds and within in call.path]

    def answer(self, name):
        return self._windows[name][-1]


@pytest.fixture(scope="module")
def story(tmp_path_factory, needs_strace):
    del needs_strace
    folder = tmp_path_factory.mktemp("story")
    told = []

    def tell(name, answer):
        assert answer.ok, answer
        told.append((name, answer.headers["x-amz-request-id"]))
        return answer

    with (
        power.traced(serving.Servers(folder / "data"), folder / "trace") as server,
        contextlib.closing(Client(server, BUCKET, server.http_url)) as client,
    ):
        tell("bucket", client.ask("PUT"))
        for owner, customer in (("server", None), ("customer", KEY)):
            tell(f"inline, {owner}", client.put(f"inline-{owner}", b"x", customer=customer))
            tell(f"file, {owner}", client.put(f"file-{owner}", LARGE, customer=customer))
        tell("copy", client.copy("file-server", "copied"))
        tell("sealed copy", client.copy("file-server", "sealed", customer=KEY))
        created = tell("create", client.create_upload("film", customer=KEY))
        upload_id = created.field("UploadId")
        part = tell("part", client.put_part("film", upload_id, 1, PART, customer=KEY))
        tell("complete", client.complete_upload("film", upload_id, {1: part.etag}))
        tell("tags", client.set_tags("film", (("a", "b"),)))
        tell("delete", client.delete("film"))
    trace.finished(folder / "trace")
    return Story(trace.read(folder / "trace"), told)


EVERY = (
    *("inline, server", "inline, customer", "file, server", "file, customer", "copy"),
    *("sealed copy", "create", "part", "complete", "tags", "delete"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_the_log_is_synced_before_the_answer_leaves(story, name):
    written = story.calls(name, "pwrite64", within=LOG)
    synced = story.calls(name, *SYNCS, within=LOG)

    assert written, "the log was written"
    last = max(call.left for call in written)
    assert [
        call for call in synced if last < call.entered and call.left < story.answer(name).entered
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["file, server", "file, customer", "sealed copy", "part"])
def test_file_and_directory_are_synced_before_the_log_is_written(story, name):
    (made,) = [
        call for call in story.calls(name, "openat", within="/blobs/") if "O_CREAT" in call.flags
    ]
    folder = made.path.rpartition("/")[0]
    written = story.calls(name, "pwrite64", "ftruncate", within=made.path)
    first_of_log = min(call.entered for call in story.calls(name, "pwrite64", within=LOG))

    last = max(call.left for call in written)
    assert [
        call
        for call in story.calls(name, *SYNCS, within=made.path)
        if last < call.entered and call.left < first_of_log
    ], "the file is synced when all is written"
    assert [
        call
        for call in story.calls(name, *SYNCS, within=folder)
        if call.path == folder and made.left < call.entered and call.left < first_of_log
    ], "its directory is synced when its name is there"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inline, server", "inline, customer", "copy", "tags"])
def test_what_lies_in_the_catalog_makes_no_file(story, name):
    assert story.calls(name, "openat", "pwrite64", within="/blobs/") == []
