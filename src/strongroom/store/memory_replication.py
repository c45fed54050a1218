"""Replication's queue and its replicas in memory. Port: `strongroom.store.replication`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from strongroom.store import records, replication

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from strongroom.store import memory

_Name = tuple[str, str, str]
"""Bucket, key, version id."""


class Queue:
    """What waits, and what is kept for replicas to come. The catalog's lock guards it."""

    def __init__(self) -> None:
        self.tasks: dict[_Name, tuple[int, replication.Task]] = {}
        self.staged: dict[bytes, tuple[records.NewBlob, bytes, int]] = {}
        self.remotes: dict[str, replication.Remote] = {}
        self._number = 0

    def add(self, version: records.Version, now_ms: int, *, again: bool = True) -> bool:
        """Queue a version; whether it did not wait yet."""
        name = (version.bucket, version.key, version.version_id)
        waiting = self.tasks.get(name)
        if waiting is None:
            self._number += 1
            self.tasks[name] = (now_ms, replication.Task(self._number, *name, now_ms))
            return True
        due_ms, task = waiting
        if again:
            task = dataclasses.replace(task, done=(), revision=task.revision + 1)
        self.tasks[name] = (now_ms if again else min(due_ms, now_ms), task)
        return False

    def forget(self, bucket: str) -> None:
        """Drop what waits of a bucket that is gone."""
        for name in [name for name in self.tasks if name[0] == bucket]:
            del self.tasks[name]


class MemoryReplication:
    """See the module. Part of a catalog."""

    def __init__(self, catalog: memory.MemoryCatalog, queue: Queue) -> None:
        self._catalog = catalog
        self._queue = queue

    async def due(self, now_ms: int, *, limit: int) -> Sequence[replication.Task]:
        """See the port."""
        found = [(at_ms, task) for at_ms, task in self._queue.tasks.values() if at_ms <= now_ms]
        found.sort(key=lambda one: (one[0], one[1].number))
        return [task for _, task in found[: max(limit, 0)]]

    async def enqueue(self, bucket: str, versions: Collection[tuple[str, str]], now_ms: int) -> int:
        """See the port."""
        await self._catalog.bucket(bucket)
        return sum(
            self._queue.add(
                records.delete_marker(bucket, key, version_id, owner="", modified_ms=now_ms),
                now_ms,
                again=False,
            )
            for key, version_id in versions
        )

    async def settle(self, task: replication.Task) -> bool:
        """See the port."""
        if not self._stands(task):
            return False
        del self._queue.tasks[task.bucket, task.key, task.version_id]
        return True

    async def postpone(self, tasks: Collection[replication.Task], due_ms: int) -> None:
        """See the port."""
        for task in tasks:
            if self._stands(task):
                trouble = task.trouble[: replication.MAX_TROUBLE_CHARACTERS]
                kept = dataclasses.replace(task, trouble=trouble)
                self._queue.tasks[task.bucket, task.key, task.version_id] = (due_ms, kept)

    async def backlog(self, bucket: str | None = None) -> replication.Backlog:
        """See the port."""
        if bucket is not None:
            await self._catalog.bucket(bucket)
        found = [t for _, t in self._queue.tasks.values() if bucket in (None, t.bucket)]
        return replication.Backlog(
            len(found),
            sum(task.attempts > 0 for task in found),
            min((task.made_ms for task in found), default=None),
        )

    async def missing(self, body: bytes) -> Sequence[bytes]:
        """See the port."""
        return self._catalog.check_free(body)

    async def stage(self, blob: records.NewBlob, digest: bytes, now_ms: int) -> None:
        """See the port."""
        self._catalog.stage(blob, digest, now_ms)

    async def put_replica(self, draft: records.Draft) -> replication.Placed:
        """See the port."""
        return self._catalog.put_replica(draft)

    async def expire_staged(self, before_ms: int) -> int:
        """See the port."""
        return self._catalog.expire_staged(before_ms)

    async def remotes(self) -> Sequence[replication.Remote]:
        """See the port."""
        return [self._queue.remotes[name] for name in sorted(self._queue.remotes)]

    async def add_remote(self, remote: replication.Remote) -> bool:
        """See the port."""
        return self._queue.remotes.setdefault(remote.name, remote) is remote

    async def remove_remote(self, name: str) -> bool:
        """See the port."""
        return self._queue.remotes.pop(name, None) is not None

    def _stands(self, task: replication.Task) -> bool:
        waiting = self._queue.tasks.get((task.bucket, task.key, task.version_id))
        return waiting is not None and (waiting[1].number, waiting[1].revision) == (
            task.number,
            task.revision,
        )
