"""What a store must hold: all that it acknowledged, and perhaps what it was about to."""

import dataclasses
import itertools
import threading

_UNKNOWN, _ACKNOWLEDGED, _REFUSED = "unknown", "acknowledged", "refused"


@dataclasses.dataclass(frozen=True)
class State:
    """What an object is.

    Attributes:
        content: names of its pieces in the `Pool`.
        customer: the customer key that opens it; None for the server's.
        meta: a word of its user metadata; each written state has one of its own.
        tags: sorted pairs.
        etag: as answered; None if no answer told.
    """

    content: tuple[tuple[int, int], ...]
    customer: bytes | None
    meta: str
    tags: tuple[tuple[str, str], ...] = ()
    etag: str | None = None

    @property
    def size(self):
        return sum(size for _, size in self.content)


class Write:
    """A write to one key, from before it was sent until something is known of it.

    Of one whose end nobody told, because the connection broke, say, nothing is
    known: it may have happened, and may yet.
    """

    def __init__(self, oracle, key, state):
        self._oracle = oracle
        self.key = key
        self.state = state
        self.outcome = _UNKNOWN
        self.begun = oracle.tick()
        self.ended = None
        self.request_id = None

    def acknowledged(self, etag=None, request_id=None):
        """It was answered with success: it has happened, and must last."""
        self.request_id = request_id
        if self.state is not None and etag:
            self.state = dataclasses.replace(self.state, etag=etag)
        self._oracle.end(self, _ACKNOWLEDGED)

    def refused(self):
        """It was answered with what says that nothing happened."""
        self._oracle.end(self, _REFUSED)

    def failed(self):
        """It was answered, but not with what says whether it happened. It will not any more."""
        self._oracle.end(self, _UNKNOWN)

    def forget(self):
        """Take back that it was acknowledged."""
        self.outcome, self.ended = _UNKNOWN, None
        if self.state is not None:
            self.state = dataclasses.replace(self.state, etag=None)


class Oracle:
    """Per key, the writes since the state that was last seen there.

    Any number of threads may write, to the same key too. A write can be what is
    there now unless another one that was acknowledged began after it had ended.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._clock = itertools.count()
        self._writes: dict[str, list[Write]] = {}
        self.acknowledged = 0

    def tick(self):
        return next(self._clock)

    def begin(self, key, state):
        """Note that a write (None: a delete) is about to be sent."""
        with self._lock:
            if key not in self._writes:
                self._writes[key] = [self._nothing(key)]
            write = Write(self, key, state)
            self._writes[key].append(write)
            return write

    def end(self, write, outcome):
        with self._lock:
            write.ended = self.tick()
            write.outcome = outcome
            if outcome == _ACKNOWLEDGED:
                self.acknowledged += 1

    def names(self):
        """Return all keys that were ever written."""
        with self._lock:
            return sorted(self._writes)

    def candidates(self, key):
        """Return the states, None for no object, of which one must be there."""
        with self._lock:
            writes = self._writes.get(key, [])
            firm = [write for write in writes if write.outcome == _ACKNOWLEDGED]
            found = [
                write.state
                for write in writes
                if write.outcome != _REFUSED
                and not any(write.ended is not None and other.begun > write.ended for other in firm)
            ]
            return list(dict.fromkeys(found)) or [None]

    def pending(self, key):
        """Return the states of writes of which it is not known whether they happened."""
        with self._lock:
            writes = self._writes.get(key, [])
            return [write.state for write in writes if write.outcome == _UNKNOWN]

    def writes(self, key):
        return self._writes[key]

    def add(self, write):
        """Take over a write as it stands."""
        self._writes.setdefault(write.key, []).append(write)

    def settle(self, key, state):
        """Note what was found there, which from now on must stay."""
        with self._lock:
            seen = Write(self, key, state)
            seen.ended, seen.outcome = self.tick(), _ACKNOWLEDGED
            self._writes[key] = [seen]

    def _nothing(self, key):
        nothing = Write(self, key, None)
        nothing.ended, nothing.outcome = self.tick(), _ACKNOWLEDGED
        return nothing


@dataclasses.dataclass
class PartWrite:
    """A part of an upload; `etag` is None until it was acknowledged."""

    content: tuple[int, int]
    etag: str | None = None


@dataclasses.dataclass
class Upload:
    """A multipart upload that was acknowledged.

    Attributes:
        upload_id: its id.
        key: what it will be.
        state: likewise; its content is that of the parts in order.
        parts: number → all that was sent for it, in order.
        closing: "complete" or "abort" if one was sent.
        closed: it was acknowledged.
    """

    upload_id: str
    key: str
    state: State
    parts: dict[int, list[PartWrite]] = dataclasses.field(default_factory=dict)
    closing: str = ""
    closed: bool = False
