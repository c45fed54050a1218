"""A mixed load: everything that writes, from several clients, against one oracle.

Each client has keys of its own, where it always knows what is there, and so can copy,
tag and read them. Beside these all clients overwrite and delete a few shared keys.
"""

import contextlib
import dataclasses
import itertools
import threading
import traceback

from ordeal import content, oracle
from ordeal.client import Client, NoAnswerError

OWN_KEYS = 10
SHARED_KEYS = 4
OPEN_UPLOADS = 2
"""Uploads that a client leaves open; it closes the oldest before it opens more."""
PART_BYTES = 5 * content.MIB
CUSTOMERS = 5
STATUS_OF = {"InternalError": 500, "StoreFull": 507}
"""What a key's own error in the answer of DeleteObjects would have as an answer by itself."""

DEEDS = (
    # (weight, what): the names of `Worker`'s methods.
    (34, "put"),
    (10, "put_shared"),
    (3, "delete_shared"),
    (12, "copy"),
    (9, "change_key"),
    (8, "delete"),
    (3, "delete_two"),
    (6, "tag"),
    (5, "part"),
    (3, "finish"),
    (12, "read"),
)


@dataclasses.dataclass
class Scene:
    """What all clients share.

    Attributes:
        pool: where contents come from.
        oracle: what must be there.
        customers: the customers' keys; None is the server's.
        uploads: acknowledged uploads by id.
        creating: Creates that were sent and not answered.
        surprises: what no healthy server answers.
        most: the largest content, in bytes.
        cuts_allowed: connections may break although nobody was told to stop.
    """

    pool: content.Pool
    oracle: oracle.Oracle
    customers: list[bytes | None]
    most: int = content.LARGEST
    uploads: dict[str, oracle.Upload] = dataclasses.field(default_factory=dict)
    creating: int = 0
    surprises: list[str] = dataclasses.field(default_factory=list)
    cuts_allowed: bool = False
    bytes_sent: int = 0
    reads: int = 0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    words: itertools.count = dataclasses.field(default_factory=itertools.count)

    def surprise(self, text):
        with self.lock:
            self.surprises.append(text)

    def word(self):
        """Return what no state has had as metadata yet."""
        return f"s{next(self.words)}"


def scene(seed, *, most=content.LARGEST):
    draw = content.drawer(seed, "customers")
    customers = [None, *(draw.randbytes(32) for _ in range(CUSTOMERS))]
    return Scene(content.Pool(seed, most), oracle.Oracle(), customers, most)


class Worker:
    """One client: does one deed after another until it is told to stop, or nobody answers.

    Args:
        told: shared by all.
        client: its connection.
        number: which keys are its own.
        draw: what decides.
        stop: set to end it; a connection that breaks after that is none of its business.
        refused: called with (answer, what was asked) when an answer is not a success;
            returns "refused" or "failed", see `oracle.Write`, or None for a surprise.
    """

    def __init__(self, told, client, number, draw, stop, refused=None):
        self.scene = told
        self._client = client
        self._draw = draw
        self._stop = stop
        self._refused = refused
        self._own = [f"own/{number}/{index:02d}" for index in range(OWN_KEYS)]
        self._shared = [f"shared/{index}" for index in range(SHARED_KEYS)]
        self.deeds = 0

    def run(self):
        names = [name for _, name in DEEDS]
        weights = [weight for weight, _ in DEEDS]
        with contextlib.closing(self._client):
            while not self._stop.is_set():
                name = self._draw.choices(names, weights)[0]
                try:
                    getattr(self, f"_{name}")()
                except NoAnswerError as error:
                    if self._stop.is_set():
                        return
                    if not self.scene.cuts_allowed:
                        self.scene.surprise(f"{name}: no answer: {error}")
                except Exception:  # noqa: BLE001 - a mistake of the load must not pass for its end
                    self.scene.surprise(f"{name}: {traceback.format_exc()}")
                    return
                self.deeds += 1

    # Deeds

    def _put(self):
        self._put_to(self._draw.choice(self._own))

    def _put_shared(self):
        self._put_to(self._draw.choice(self._shared))

    def _put_to(self, key):
        size = content.draw_size(self._draw, self.scene.most)
        state = self._new_state([self.scene.pool.name(self._draw, size)])
        body = self.scene.pool.body(state.content)
        write = self.scene.oracle.begin(key, state)
        answer = self._client.put(
            key, body, customer=state.customer, meta=state.meta, tags=state.tags
        )
        self._heard(answer, write, "put")

    def _delete(self):
        self._delete_from(self._draw.choice(self._own))

    def _delete_shared(self):
        self._delete_from(self._draw.choice(self._shared))

    def _delete_from(self, key):
        write = self.scene.oracle.begin(key, None)
        self._heard(self._client.delete(key), write, "delete")

    def _delete_two(self):
        keys = self._draw.sample(self._own, 2)
        writes = [self.scene.oracle.begin(key, None) for key in keys]
        answer = self._client.delete_many(keys)
        whole = dataclasses.replace(answer, body=b"") if answer.ok else answer
        for write in writes:
            failed = [text for text in answer.fields("Error") if f"<Key>{write.key}</Key>" in text]
            if answer.ok and failed:
                # Each key of the request has an answer of its own.
                part = dataclasses.replace(answer, body=failed[0].encode())
                part = dataclasses.replace(part, status=STATUS_OF.get(part.code, 0))
                self._heard(part, write, "delete one of two")
            else:
                # What the answer says of the other key is nothing to this one.
                self._heard(whole, write, "delete two")

    def _copy(self):
        source, target = self._draw.choice(self._own), self._draw.choice(self._own)
        known = self._known(source)
        if known is None:
            return
        customer = self._draw.choice(self.scene.customers)
        fresh = self._new_state(known.content)
        replaces = source == target or self._draw.random() < 0.5
        state = dataclasses.replace(
            fresh if replaces else known, content=known.content, customer=customer, etag=None
        )
        write = self.scene.oracle.begin(target, state)
        answer = self._client.copy(
            source,
            target,
            source_customer=known.customer,
            customer=customer,
            meta=state.meta if replaces else None,
            tags=state.tags if replaces else None,
        )
        self._heard(answer, write, "copy")

    def _change_key(self):
        key = self._draw.choice(self._own)
        known = self._known(key)
        if known is None:
            return
        customer = self._draw.choice([one for one in self.scene.customers if one is not None])
        state = dataclasses.replace(known, customer=customer, etag=None)
        write = self.scene.oracle.begin(key, state)
        answer = self._client.copy(key, key, source_customer=known.customer, customer=customer)
        self._heard(answer, write, "change key")

    def _tag(self):
        key = self._draw.choice(self._own)
        known = self._known(key)
        if known is None:
            return
        tags = self._new_tags()
        write = self.scene.oracle.begin(key, dataclasses.replace(known, tags=tags))
        answer = self._client.set_tags(key, tags) if tags else self._client.drop_tags(key)
        self._heard(answer, write, "tag", etag=known.etag)

    def _part(self):
        upload = self._an_upload()
        if upload is None:
            return
        number = self._draw.randint(1, 3)
        last = max(upload.parts, default=0) < number
        size = PART_BYTES
        if last and self._draw.random() < 0.5:
            # Only the last part may be short; a higher number later makes Complete refuse.
            size = content.draw_size(self._draw, PART_BYTES)
        sources = [key for key in self._own if self._may_be_part(self._known(key))]
        if sources and self._draw.random() < 0.3:
            source = self._draw.choice(sources)
            known = self._known(source)
            part = oracle.PartWrite(known.content[0])
            upload.parts.setdefault(number, []).append(part)
            answer = self._client.copy_part(
                *(upload.key, upload.upload_id, number, source),
                source_customer=known.customer,
                customer=upload.state.customer,
            )
        else:
            part = oracle.PartWrite(self.scene.pool.name(self._draw, size))
            upload.parts.setdefault(number, []).append(part)
            body = self.scene.pool.window(part.content)
            self._sent(len(body))
            answer = self._client.put_part(
                upload.key, upload.upload_id, number, body, customer=upload.state.customer
            )
        if answer.ok:
            part.etag = answer.etag
        elif self._how_refused(answer, "part") == "refused":
            upload.parts[number].remove(part)

    @staticmethod
    def _may_be_part(known):
        return known is not None and len(known.content) == 1 and known.size >= PART_BYTES

    def _finish(self):
        mine = self._uploads()
        if mine:
            self._close(self._draw.choice(mine))

    def _close(self, upload):
        chosen = chosen_parts(upload)
        if chosen is None or self._draw.random() < 0.2:
            upload.closing = "abort"
            answer = self._client.abort_upload(upload.key, upload.upload_id)
            if answer.ok:
                upload.closed = True
            else:
                self._how_refused(answer, "abort")
            return
        complete(self._client, self.scene, upload, chosen, self._heard)

    def _read(self):
        key = self._draw.choice(self._own)
        known = self._known(key)
        if known is None:
            return
        body = self.scene.pool.body(known.content)
        headers, status, start, end = {}, 200, 0, known.size
        if known.size and self._draw.random() < 0.5:
            start = self._draw.randrange(known.size)
            end = self._draw.randint(start + 1, known.size)
            headers, status = {"Range": f"bytes={start}-{end - 1}"}, 206
        answer = self._client.get(key, customer=known.customer, headers=headers)
        if not answer.ok:
            self._how_refused(answer, f"read of {key}")
        elif answer.status != status or answer.body != body[start:end]:
            self.scene.surprise(
                f"read {key} [{start}, {end}) of {known.size}: {answer.status},"
                f" {len(answer.body)} bytes, {answer.code or 'wrong ones'}"
            )
        self.scene.reads += 1

    # Within

    def _known(self, key):
        """Return what is certainly there; None if it is nothing, or not certain."""
        found = self.scene.oracle.candidates(key)
        return found[0] if len(found) == 1 else None

    def _new_state(self, names):
        return oracle.State(
            content=tuple(names),
            customer=self._draw.choice(self.scene.customers),
            meta=self.scene.word(),
            tags=self._new_tags(),
        )

    def _new_tags(self):
        if self._draw.random() < 0.7:
            return ()
        return tuple(
            (f"tag{index}", self.scene.word()) for index in range(self._draw.randint(1, 3))
        )

    def _uploads(self):
        return [
            one
            for one in list(self.scene.uploads.values())
            if one.key in self._own and not one.closing
        ]

    def _an_upload(self):
        mine = self._uploads()
        if len(mine) < OPEN_UPLOADS and self._draw.random() < 0.6:
            key = self._draw.choice(self._own)
            state = self._new_state([])
            with self.scene.lock:
                self.scene.creating += 1
            answer = self._client.create_upload(
                key, customer=state.customer, meta=state.meta, tags=state.tags
            )
            with self.scene.lock:
                self.scene.creating -= 1
            if not answer.ok:
                self._how_refused(answer, "create upload")
                return None
            upload = oracle.Upload(answer.field("UploadId"), key, state)
            self.scene.uploads[upload.upload_id] = upload
            return upload
        return self._draw.choice(mine) if mine else None

    def _heard(self, answer, write, doing, *, etag=None):
        # A copy or a Complete may fail behind the head of a success.
        if answer.ok and "<Error>" not in answer.body.decode("utf-8", "replace"):
            write.acknowledged(etag or answer.etag, answer.headers["x-amz-request-id"])
            self._sent(write.state.size if write.state is not None else 0)
        elif self._how_refused(answer, doing) == "refused":
            write.refused()
        else:
            write.failed()

    def _how_refused(self, answer, doing):
        how = self._refused(answer, doing) if self._refused is not None else None
        if how is None:
            self.scene.surprise(f"{doing}: {answer.status} {answer.code}: {answer.body[:300]!r}")
        return how

    def _sent(self, size):
        with self.scene.lock:
            self.scene.bytes_sent += size


def chosen_parts(upload):
    """Return the parts of which a Complete makes an object: number → part.

    None if an unanswered one may have replaced any of them, or S3's rules are not kept.
    """
    if not upload.parts:
        return None
    chosen = {}
    for number, sent in upload.parts.items():
        if any(part.etag is None for part in sent):
            return None
        if sent:
            chosen[number] = sent[-1]
    numbers = sorted(chosen)
    if not numbers or any(chosen[number].content[1] < PART_BYTES for number in numbers[:-1]):
        return None
    return chosen


def complete(client, told, upload, chosen, heard):
    """Send a Complete; `heard(answer, write, doing)` says what became of it."""
    state = dataclasses.replace(
        upload.state, content=tuple(chosen[number].content for number in sorted(chosen))
    )
    write = told.oracle.begin(upload.key, state)
    upload.closing = "complete"
    etags = {number: part.etag for number, part in chosen.items()}
    answer = client.complete_upload(upload.key, upload.upload_id, etags)
    heard(answer, write, "complete")
    upload.closed = write.outcome == "acknowledged"
    if write.outcome == "refused":
        upload.closing = ""


def start(told, server, bucket, *, clients, seed, refused=None, url=None):
    """Start clients; return (threads, workers, the event that stops them)."""
    stop = threading.Event()
    workers = [
        Worker(
            told,
            Client(server, bucket, url),
            number,
            content.drawer(seed, "worker", number),
            stop,
            refused,
        )
        for number in range(clients)
    ]
    threads = [threading.Thread(target=worker.run, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    return threads, workers, stop
