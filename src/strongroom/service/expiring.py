"""The walk that removes what buckets' rules say: page by page, and it goes on where it stopped.

It decides by what a page shows; what it then removes, the transaction judges once more
(`strongroom.store.expiry`). So nothing goes that was written, brought back or tagged
otherwise meanwhile, nor anything whose rule is gone.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.service import lifecycle, locks, versions
from strongroom.store import expiry, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent import futures

    from strongroom.service import encryption
    from strongroom.store import catalog

PAGE: Final = 500
"""Versions, or uploads, that are looked at in one go."""
AT_ONCE: Final = 50
"""Removals under way at a time; they share the catalog's commits."""
BUCKETS: Final = 100
"""Buckets looked up in one go."""
NOTED_MS: Final = 10_000
"""How much of the walk is done again at most after a crash."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk is, as it is noted.

    Attributes:
        begun_ms: when it began.
        bucket: the bucket that it is in, or behind; empty at the beginning.
        key: in that bucket, the last key that it is done with; None behind the bucket.
        done: it is over.
    """

    begun_ms: int
    bucket: str = ""
    key: str | None = None
    done: bool = False

    def encode(self) -> bytes:
        """Return the noted form."""
        return json.dumps([self.begun_ms, self.bucket, self.key, self.done]).encode()

    @classmethod
    def parse(cls, noted: bytes) -> Place:
        """Read what `encode` printed."""
        return cls(*json.loads(noted))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A version that is due if its tags are those that one of `rules` asks for."""

    due: expiry.Due
    rules: tuple[lifecycle.Rule, ...]

    @property
    def needs_tags(self) -> bool:
        return all(rule.about.tags for rule in self.rules)


class Expirer:
    """Walks over all buckets that have rules, one walk after another."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        encryption: encryption.Encryption,
        *,
        threads: futures.Executor,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
        displaced: Callable[[], None],
        interval_ms: int,
        calendar: lifecycle.Calendar = lifecycle.REAL,
        may_walk: Callable[[], bool] = lambda: True,
    ) -> None:
        """Prepare.

        Args:
            catalog: what is walked over.
            encryption: vouches for the tags of versions.
            threads: where pages are judged.
            random_bytes: source of version ids.
            clock_ms: the time.
            displaced: is told that blobs may be free.
            interval_ms: from the beginning of a walk to that of the next, at least.
            calendar: how long days are.
            may_walk: whether it is this process, of all that share the store, that walks.
        """
        self._catalog = catalog
        self._encryption = encryption
        self._threads = threads
        self._random_bytes = random_bytes
        self._clock_ms = clock_ms
        self._displaced = displaced
        self._interval_ms = interval_ms
        self._calendar = calendar
        self._may_walk = may_walk
        self._noted_ms = 0
        self._dubious = 0
        self._failed: list[errors.StoreFailed] = []

    async def run(self) -> int:
        """Go on with the walk under way, or begin one if it is time; return what was removed.

        Raises:
            StoreFailed: of some versions the tags are not what was written there, or a bucket
                cannot be read. These stay, and the others were looked after.
        """
        if not self._may_walk():
            return 0
        now_ms = self._clock_ms()
        noted = await self._catalog.expiry.progress()
        place = Place(0, done=True) if noted is None else Place.parse(noted)
        if place.done:
            if 0 <= now_ms - place.begun_ms < self._interval_ms:
                return 0
            place = Place(now_ms)
            await self._note(place, now=True)
        self._dubious, self._failed = 0, []
        removed = await self._walk(place)
        await self._note(Place(place.begun_ms, done=True), now=True)
        if self._failed:
            raise self._failed[0]
        if self._dubious:
            raise errors.StoreFailed(
                f"{self._dubious} versions were not judged by their rules: their marks are not"
                " what was written there"
            )
        return removed

    async def _walk(self, place: Place) -> int:
        removed = 0
        if place.key is not None:
            try:
                bucket = await self._catalog.bucket(place.bucket)
            except errors.BucketNotFound:
                pass
            else:
                removed += await self._try(bucket, place.begun_ms, place.key)
        after = place.bucket
        while found := await self._catalog.buckets(after=after, limit=BUCKETS):
            for bucket in found:
                if records.LIFECYCLE in bucket.settings:
                    removed += await self._try(bucket, place.begun_ms, "")
            after = found[-1].name
            await self._note(Place(place.begun_ms, after))
        return removed

    async def _try(self, bucket: records.Bucket, begun_ms: int, after: str) -> int:
        """Look after a bucket; one that cannot be read keeps no other from it."""
        try:
            return await self._look_after(bucket, begun_ms, after)
        except errors.StoreFailed as error:
            self._failed.append(error)
            return 0

    async def _note(self, place: Place, *, now: bool = False) -> None:
        now_ms = self._clock_ms()
        if now or abs(now_ms - self._noted_ms) >= NOTED_MS:
            await self._catalog.expiry.note_progress(place.encode())
            self._noted_ms = now_ms

    async def _look_after(self, bucket: records.Bucket, begun_ms: int, after: str) -> int:
        """Do what a bucket's rules say to all behind a key; return how much was removed."""
        rules = lifecycle.rules_of(bucket.settings)
        removed = 0
        if not after:
            removed += await self._abort_uploads(bucket)
        removing = [rule for rule in rules if rule.removes]
        for prefix in lifecycle.prefixes(removing):
            if prefix < after and not after.startswith(prefix):
                continue
            walk = _Stacks()
            here: tuple[str, str] | None = (after, "") if after.startswith(prefix) else ("", "")
            while here is not None:
                try:
                    page = await self._catalog.list_versions(
                        bucket.name, prefix=prefix, after=here, limit=PAGE
                    )
                    # Rules that were changed count at once; of those taken away meanwhile the
                    # transaction lets nothing go.
                    bucket = await self._catalog.bucket(bucket.name)
                except errors.BucketNotFound:
                    return removed
                candidates = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._judge, bucket, page, walk
                )
                removed += await self._remove(bucket, candidates)
                here = page.next_after
                if walk.finished:
                    await self._note(Place(begun_ms, bucket.name, walk.finished))
        return removed

    def _judge(
        self, bucket: records.Bucket, page: records.VersionPage, walk: _Stacks
    ) -> list[_Candidate]:
        rules = [rule for rule in lifecycle.rules_of(bucket.settings) if rule.removes]
        text = bucket.settings.get(records.LIFECYCLE, "")
        now_ms = self._clock_ms()
        found: list[_Candidate] = []
        about: list[lifecycle.Rule] = []
        key: str | None = None
        following = itertools.chain((each.key for each in page.versions[1:]), [None])
        for version, newest, next_key in zip(page.versions, page.latest, following, strict=False):
            if version.key != key:
                key = version.key
                about = [rule for rule in rules if key.startswith(rule.about.prefix)]
            newer, behind = walk.step(version, newest=newest)
            if newest and version.is_marker and next_key == key:
                # It hides something. Of the last on a page only the transaction knows.
                continue
            if newest:
                expiring = tuple(
                    rule
                    for rule in about
                    if rule.about.fits(version) and rule.expires(version, now_ms, self._calendar)
                )
                if expiring:
                    found.append(_Candidate(expiry.Due(version, text), expiring))
            elif newer is not None:
                found += self._superseded(version, newer, behind, about, text, now_ms)
        return found

    def _superseded(
        self,
        version: records.Version,
        newer: records.Version,
        behind: int,
        about: Sequence[lifecycle.Rule],
        text: str,
        now_ms: int,
    ) -> Iterator[_Candidate]:
        """Yield a version once for each rule by which it is due, those without tags first."""
        fitting = [
            (rule, self._calendar.latest(now_ms, rule.noncurrent_days))
            for rule in sorted(about, key=lambda rule: bool(rule.about.tags))
            if rule.noncurrent_days is not None
            and behind >= rule.noncurrent_kept
            and rule.about.fits(version)
        ]
        for rule, latest_ms in fitting:
            if newer.modified_ms <= latest_ms:
                yield _Candidate(
                    expiry.Due(version, text, latest_ms, rule.noncurrent_kept), (rule,)
                )
                if not rule.about.tags:
                    return

    async def _remove(self, bucket: records.Bucket, candidates: Sequence[_Candidate]) -> int:
        removed = 0
        for start in range(0, len(candidates), AT_ONCE):
            some = candidates[start : start + AT_ONCE]
            gone = await asyncio.gather(*(self._expire(bucket, one) for one in some))
            removed += sum(gone)
            if any(gone):
                self._displaced()
        return removed

    async def _expire(self, bucket: records.Bucket, candidate: _Candidate) -> bool:
        due = candidate.due
        version = due.version
        lockable = bucket.has_lock and due.goes_for_good
        if candidate.needs_tags or lockable:
            try:
                stored = await self._catalog.version(bucket.name, version.key, version.version_id)
                found = self._encryption.open_marks(stored)
                locked = lockable and locks.is_locked(locks.of(found), self._clock_ms())
            except errors.NotFound:
                return False
            except errors.NotAuthentic:
                self._dubious += 1
                return False
            if locked or not any(rule.about.has(found.tags) for rule in candidate.rules):
                return False
            due = expiry.Due(
                version, due.rules, due.superseded_by_ms, due.behind, marks=stored.marks
            )
        marker = records.delete_marker(
            bucket.name,
            version.key,
            versions.new_id(self._random_bytes),
            owner=bucket.owner,
            modified_ms=self._clock_ms(),
        )
        return await self._catalog.expiry.expire(due, marker)

    async def _abort_uploads(self, bucket: records.Bucket) -> int:
        aborted = 0
        for prefix in lifecycle.prefixes(_aborting(bucket)):
            here: tuple[str, str] | None = ("", "")
            while here is not None:
                try:
                    page = await self._catalog.list_uploads(
                        bucket.name, prefix=prefix, after=here, limit=PAGE
                    )
                    rules = _aborting(await self._catalog.bucket(bucket.name))
                except errors.BucketNotFound:
                    return aborted
                now_ms = self._clock_ms()
                for upload in page.uploads:
                    if self._is_overdue(upload, rules, now_ms):
                        aborted += await self._abort(bucket, upload)
                here = page.next_after
        if aborted:
            self._displaced()
        return aborted

    def _is_overdue(
        self, upload: records.Upload, rules: Sequence[lifecycle.Rule], now_ms: int
    ) -> bool:
        return any(
            rule.abort_days is not None
            and upload.key.startswith(rule.about.prefix)
            and upload.initiated_ms <= self._calendar.latest(now_ms, rule.abort_days)
            for rule in rules
        )

    async def _abort(self, bucket: records.Bucket, upload: records.Upload) -> bool:
        try:
            await self._catalog.abort_upload(bucket.name, upload.key, upload.upload_id)
        except (errors.UploadNotFound, errors.BucketNotFound):
            # Completed or aborted meanwhile.
            return False
        return True


def _aborting(bucket: records.Bucket) -> list[lifecycle.Rule]:
    return [rule for rule in lifecycle.rules_of(bucket.settings) if rule.abort_days is not None]


class _Stacks:
    """Follows a listing of versions: which one stands before another, and how many."""

    def __init__(self) -> None:
        self.finished = ""
        """The last key of which no version is to come."""
        self._last: records.Version | None = None
        self._superseded = 0

    def step(self, version: records.Version, *, newest: bool) -> tuple[records.Version | None, int]:
        """Take the next row; return the version next newer of its key, if it is known.

        And how many noncurrent versions, delete markers aside, stand between it and the newest.
        """
        last, between = self._last, self._superseded
        if last is not None and last.key != version.key:
            self.finished = last.key
            last = None
        if newest or last is None:
            last, between, self._superseded = None, 0, 0
        if not newest and not version.is_marker:
            self._superseded += 1
        self._last = version
        return last, between
