"""Compare a running store with the oracle, object by object and byte for byte."""

import contextlib
import dataclasses

from ordeal import inventory, load
from ordeal.client import META, Client

_NUDGE = "nudge"


@dataclasses.dataclass
class Found:
    """What audits have seen so far; a healthy store has an empty `losses` and `strays`.

    Attributes:
        objects: objects that were opened and compared byte for byte.
        absent: keys that had to be without an object and were.
        losses: sentences about what was acknowledged and is not there, or is there in part.
        set_aside: blobs of uncommitted writes that sweeps took away.
        strays: sentences about blobs without a reference and references without a blob.
    """

    objects: int = 0
    absent: int = 0
    parts: int = 0
    in_flight: int = 0
    in_flight_kept: int = 0
    set_aside: int = 0
    losses: list[str] = dataclasses.field(default_factory=list)
    strays: list[str] = dataclasses.field(default_factory=list)


class Audit:
    """One look at everything, by one client.

    Args:
        told: what must be there.
        server: runs, and serves nobody else.
        bucket: where all keys are.
        draw: decides what becomes of open uploads.
        found: gets the results.
    """

    def __init__(self, told, server, bucket, draw, found):
        self._scene = told
        self._server = server
        self._bucket = bucket
        self._draw = draw
        self._found = found
        self._there: dict[str, object] = {}

    def run(self, *, strays_may_stay=False):
        with contextlib.closing(Client(self._server, self._bucket)) as client:
            for key in self._scene.oracle.names():
                self._settle(client, key)
            self._compare_listing(client.listing())
            self._uploads(client)
            # Whatever dooms a blob wakes the collector.
            for _ in range(2):
                assert client.put(_NUDGE, b"").ok, "the store takes writes"
            assert client.delete(_NUDGE).ok, "the store takes writes"
        data_dir = self._server.data_dir
        self._found.strays += inventory.after_housekeeping(
            data_dir, strays_may_stay=strays_may_stay
        )
        self._found.set_aside = inventory.set_aside(data_dir)

    # Objects

    def _settle(self, client, key):
        """Find out which of the possible states is there; from now on it is the only one."""
        possible = self._scene.oracle.candidates(key)
        answer, customer, refusals = self._open(client, key, possible)
        if answer is None:
            return self._lost(key, possible, f"no key opens it: {refusals}")
        if not answer.ok:
            if None not in possible:
                return self._lost(key, possible, "it is not there")
            self._found.absent += 1
            return self._seen(key, None)
        meta = answer.headers.get(f"{META}state")
        told, tags = client.tags(key)
        for state in possible:
            if (
                state is not None
                and (state.customer, state.meta) == (customer, meta)
                and state.etag in (None, answer.etag)
                and told.ok
                and state.tags == tags
                and answer.body == self._scene.pool.body(state.content)
            ):
                self._found.objects += 1
                return self._seen(key, dataclasses.replace(state, etag=answer.etag))
        return self._lost(
            key,
            possible,
            f"what is there was never written: meta {meta}, tags {told.status} {tags},"
            f" {len(answer.body)} bytes, ETag {answer.etag}",
        )

    @staticmethod
    def _open(client, key, possible):
        """Try the keys of all states; return the answer that tells what is there, and its key."""
        customers = [state.customer for state in possible if state is not None] or [None]
        refusals = []
        for customer in dict.fromkeys(customers):
            answer = client.get(key, customer=customer)
            if answer.ok or answer.status == 404:
                return answer, customer, refusals
            refusals.append((answer.status, answer.code))
        return None, None, refusals

    def _seen(self, key, state):
        pending = self._scene.oracle.pending(key)
        self._found.in_flight += len(pending)
        self._found.in_flight_kept += any(
            state == one or (one is not None and state == dataclasses.replace(one, etag=state.etag))
            for one in pending
            if state is not None or one is None
        )
        self._scene.oracle.settle(key, state)
        self._there[key] = state

    def _lost(self, key, possible, why):
        states = [
            None if state is None else (state.size, state.meta, state.tags, state.etag)
            for state in possible
        ]
        self._found.losses.append(f"{key}: {why}; possible were {states}")
        # Reported once, not in every audit to come.
        self._scene.oracle.settle(key, None)
        with contextlib.closing(Client(self._server, self._bucket)) as client:
            client.delete(key)

    def _compare_listing(self, listed):
        there = {
            key: (state.size, state.etag) for key, state in self._there.items() if state is not None
        }
        for key in sorted(there.keys() | listed.keys()):
            if there.get(key) != listed.get(key):
                self._found.losses.append(
                    f"{key}: listed as {listed.get(key)}, is {there.get(key)}"
                )

    # Uploads

    def _uploads(self, client):
        listed = dict(map(reversed, client.list_uploads()))
        for upload in list(self._scene.uploads.values()):
            answer, etags = client.list_parts(upload.key, upload.upload_id)
            if answer.ok != (upload.upload_id in listed):
                self._found.losses.append(f"upload of {upload.key}: listed or there, not both")
            if answer.ok:
                self._open_upload(client, upload, etags)
            else:
                self._gone_upload(upload, answer)
        strangers = listed.keys() - self._scene.uploads.keys()
        if len(strangers) > self._scene.creating:
            self._found.losses.append(f"{len(strangers)} uploads that nobody created")
        for upload_id in strangers:
            assert client.abort_upload(listed[upload_id], upload_id).ok, "an abort succeeds"
        self._scene.creating = 0
        for upload in list(self._scene.uploads.values()):
            if upload.closed:
                del self._scene.uploads[upload.upload_id]

    def _gone_upload(self, upload, answer):
        if answer.code != "NoSuchUpload" or not upload.closing:
            self._found.losses.append(f"upload of {upload.key}: {answer.status} {answer.code}")
        elif upload.closing == "complete" and not upload.closed and not self._scene.cuts_allowed:
            # Its client did nothing after the Complete that was not answered.
            state = self._there.get(upload.key)
            if state is None or state.meta != upload.state.meta:
                self._found.losses.append(f"upload of {upload.key}: gone, and no object")
        upload.closed = True

    def _open_upload(self, client, upload, etags):
        state = self._there.get(upload.key)
        if upload.closed or (state is not None and state.meta == upload.state.meta):
            self._found.losses.append(f"upload of {upload.key}: closed, and still open")
        upload.closing = ""
        for number, sent in upload.parts.items():
            self._settle_part(upload, number, sent, etags.get(number))
        if any(number not in upload.parts for number in etags):
            self._found.losses.append(f"upload of {upload.key}: parts that nobody sent")
        chosen = load.chosen_parts(upload)
        fate = self._draw.random()
        if chosen is not None and fate < 0.6:
            load.complete(client, self._scene, upload, chosen, self._must_succeed)
        elif chosen is None or fate < 0.8:
            assert client.abort_upload(upload.key, upload.upload_id).ok, "an abort succeeds"
            upload.closed = True

    def _settle_part(self, upload, number, sent, etag):
        """Keep of all that was sent for a number what is there."""
        firm = [part for part in sent if part.etag is not None]
        open_ended = [part for part in sent if part.etag is None]
        if etag in [part.etag for part in firm[-1:]]:
            sent[:] = firm[-1:]
        elif etag is None and not firm:
            sent.clear()
        elif len(open_ended) == 1 and etag is not None and etag not in [p.etag for p in firm]:
            open_ended[0].etag = etag
            sent[:] = open_ended
        else:
            self._found.losses.append(
                f"upload of {upload.key}, part {number}: {etag} where"
                f" {[part.etag for part in sent]} were sent"
            )
            sent.clear()
            return
        self._found.parts += len(sent)

    def _must_succeed(self, answer, write, doing):
        if answer.ok and "<Error>" not in answer.body.decode():
            write.acknowledged(answer.etag)
        else:
            write.failed()
            self._found.losses.append(
                f"{write.key}: {doing} of what is there: {answer.status} {answer.code}"
            )
