"""Every catalog adapter behaves like a few dicts, whatever is done to it."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from strongroom import errors
from strongroom.store import records

# Around every border of UTF-8's lengths and of the surrogates, and things that delimit.
ALPHABET = "ab/\0\x7f\x80é\ud7ff\ue000\uffff\U00010000\U0010ffff"
KEYS = st.text(ALPHABET, min_size=1, max_size=5)
TEXTS = st.text(ALPHABET, max_size=3)
DELIMITERS = st.sampled_from(["", "/", "//", "a/", "é", "\U0010ffff", "\0"])
LIMITS = st.integers(0, 6)
BUCKETS = st.sampled_from(["shelf", "attic"])
VERSIONINGS = st.sampled_from(["", "Enabled", "Suspended"])


def common_prefix(key, prefix, delimiter):
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if at < 0 else key[: at + len(delimiter)]


class Model:
    """What the catalog should hold, and nothing clever."""

    def __init__(self):
        self.stacks = {}
        """(bucket, key) to a list of (version, draft, blobs), the newest first."""
        self.uploads = {}
        """Upload id to (upload, {number: (part, blob)})."""
        self.buckets = {}
        """Name to versioning."""
        self.doomed = set()

    def doom(self, blobs):
        self.doomed |= {blob.blob_id for blob in blobs if blob.place}

    @property
    def objects(self):
        """(bucket, key) to (draft, blobs) of what a listing of objects shows."""
        return {at: stack[0][1:] for at, stack in self.stacks.items() if stack[0][1]}

    def push(self, version, draft, blobs):
        at = (version.bucket, version.key)
        if version.version_id == "null":
            self.remove(at, "null")
        self.stacks.setdefault(at, []).insert(0, (version, draft, blobs))

    def remove(self, at, version_id):
        """Return the version that is gone; None if there was none."""
        for row in self.stacks.get(at, []):
            if row[0].version_id == version_id:
                self.doom(row[2])
                self.stacks[at].remove(row)
                if not self.stacks[at]:
                    del self.stacks[at]
                return row[0]
        return None

    def version_page(self, bucket, prefix, delimiter, after, limit):
        after_key, after_id = after
        found = {}
        for (home, key), stack in self.stacks.items():
            if home != bucket or not key.startswith(prefix):
                continue
            common = common_prefix(key, prefix, delimiter)
            ids = [version.version_id for version, _, _ in stack]
            passed = ids.index(after_id) if after_id in ids else -1
            if common and common > after_key:
                found[(common, 0)] = None
            elif not common:
                for place, (version, _, _) in enumerate(stack):
                    if key > after_key or (key == after_key and after_id and place > passed):
                        found[(key, place)] = version
        places = sorted(found)
        shown = places[:limit]
        last = found[shown[-1]] if shown else None
        return (
            [found[place] for place in shown if found[place]],
            [not place[1] for place in shown if found[place]],
            [place[0] for place in shown if not found[place]],
            (shown[-1][0], last.version_id if last else "")
            if shown and len(places) > limit
            else None,
        )

    def close_upload(self, upload_id, taken=()):
        _, parts = self.uploads.pop(upload_id)
        self.doom(blob for _, blob in parts.values() if blob not in taken)

    def object_page(self, bucket, prefix, delimiter, after, limit):
        found = {}
        for (home, key), (draft, _) in self.objects.items():
            if home == bucket and key.startswith(prefix):
                common = common_prefix(key, prefix, delimiter)
                found[common or key] = None if common else draft.version
        names = sorted(name for name in found if name > after)
        shown = names[:limit]
        return (
            [found[name] for name in shown if found[name]],
            [name for name in shown if not found[name]],
            shown[-1] if shown and len(names) > limit else None,
        )

    def upload_page(self, bucket, prefix, delimiter, after, limit):
        after_key, after_id = after
        resume = ()
        if after_id in self.uploads:
            upload = self.uploads[after_id][0]
            if (upload.bucket, upload.key) == (bucket, after_key):
                resume = (upload.initiated_ms, upload.upload_id)
        found = {}
        for upload, _ in self.uploads.values():
            if upload.bucket != bucket or not upload.key.startswith(prefix):
                continue
            common = common_prefix(upload.key, prefix, delimiter)
            place = (upload.initiated_ms, upload.upload_id)
            if common:
                if common > after_key:
                    found[(common, 0, "")] = None
            elif upload.key > after_key or (
                upload.key == after_key and after_id and place > resume
            ):
                found[(upload.key, *place)] = upload
        places = sorted(found)
        shown = places[:limit]
        return (
            [found[place] for place in shown if found[place]],
            [place[0] for place in shown if not found[place]],
            (shown[-1][0], shown[-1][2]) if shown and len(places) > limit else None,
        )


class CatalogMachine(RuleBasedStateMachine):
    """Does the same to the adapter and to the model. Subclassed with an adapter below."""

    open_empty = None
    make = None

    def __init__(self):
        super().__init__()
        self.model = Model()
        self.runner = asyncio.Runner()
        self.catalog = type(self).open_empty()
        self.made = type(self).make

    def teardown(self):
        self.run(self.catalog.close())
        self.runner.close()

    def run(self, call):
        return self.runner.run(call)

    def blob(self, *, inline):
        return self.made.inline() if inline else self.made.file()

    @initialize()
    def first_bucket(self):
        self.create_bucket("shelf", "")

    @rule(name=BUCKETS, versioning=VERSIONINGS)
    def create_bucket(self, name, versioning):
        settings = {"versioning": versioning} if versioning else {}
        call = self.catalog.create_bucket(self.made.bucket(name, settings=settings))
        if name in self.model.buckets:
            with pytest.raises(errors.BucketExists):
                self.run(call)
        else:
            self.run(call)
            self.model.buckets[name] = versioning

    @rule(versioning=st.sampled_from(["Enabled", "Suspended"]))
    @precondition(lambda self: "shelf" in self.model.buckets)
    def switch(self, versioning):
        self.run(self.catalog.change_settings("shelf", {"versioning": versioning}))
        self.model.buckets["shelf"] = versioning

    def draft(self, key, *blobs, bucket="shelf"):
        changes = {}
        if self.model.buckets.get(bucket) == "Enabled":
            changes["version_id"] = self.made.blob_id().hex()
        return self.made.draft(key, *blobs, bucket=bucket, **changes)

    @rule(name=BUCKETS)
    def delete_bucket(self, name):
        call = self.catalog.delete_bucket(name)
        if name not in self.model.buckets:
            with pytest.raises(errors.BucketNotFound):
                self.run(call)
        elif any(bucket == name for bucket, _ in self.model.stacks):
            with pytest.raises(errors.BucketNotEmpty):
                self.run(call)
        else:
            self.run(call)
            del self.model.buckets[name]
            for upload, _ in list(self.model.uploads.values()):
                if upload.bucket == name:
                    self.model.close_upload(upload.upload_id)

    @rule(bucket=BUCKETS, key=KEYS, inline=st.lists(st.booleans(), max_size=2))
    def put(self, bucket, key, inline):
        blobs = tuple(self.blob(inline=kind) for kind in inline)
        draft = self.draft(key, *blobs, bucket=bucket)
        if bucket in self.model.buckets:
            self.run(self.catalog.put_version(draft))
            self.model.push(draft.version, draft, blobs)
        else:
            with pytest.raises(errors.BucketNotFound):
                self.run(self.catalog.put_version(draft))

    @rule(keys=st.lists(KEYS, max_size=12, unique=True))
    @precondition(lambda self: "shelf" in self.model.buckets)
    def put_together(self, keys):
        drafts = [self.draft(key, self.made.file()) for key in keys]

        async def all_of_them():
            await asyncio.gather(*map(self.catalog.put_version, drafts))

        self.run(all_of_them())
        for draft in drafts:
            self.model.push(draft.version, draft, draft.blobs)

    @rule(bucket=BUCKETS, key=KEYS, data=st.data())
    def delete_version(self, bucket, key, data):
        keys = sorted(name for home, name in self.model.stacks if home == bucket)
        version_id = "null"
        if keys:
            key = data.draw(st.sampled_from(keys))
            ids = [version.version_id for version, _, _ in self.model.stacks[bucket, key]]
            version_id = data.draw(st.sampled_from([*ids, "null", "none"]))
        call = self.catalog.delete_version(bucket, key, version_id=version_id)
        if bucket not in self.model.buckets:
            with pytest.raises(errors.BucketNotFound):
                self.run(call)
            return
        assert self.run(call) == self.model.remove((bucket, key), version_id)

    @rule(bucket=BUCKETS, key=KEYS, data=st.data())
    def delete_object(self, bucket, key, data):
        keys = sorted(name for home, name in self.model.stacks if home == bucket)
        if keys:
            key = data.draw(st.sampled_from([*keys, key]))
        number = self.made.blob_id()
        marker = records.delete_marker(bucket, key, number.hex(), owner="o", modified_ms=number[-1])
        call = self.catalog.delete_object(marker)
        if bucket not in self.model.buckets:
            with pytest.raises(errors.BucketNotFound):
                self.run(call)
            return
        gone = None
        versioning = self.model.buckets[bucket]
        if versioning != "Enabled":
            marker = dataclasses.replace(marker, version_id="null")
            gone = self.model.remove((bucket, key), "null")
        assert self.run(call) == (gone, marker if versioning else None)
        if versioning:
            self.model.push(marker, None, ())

    @rule(data=st.data())
    @precondition(lambda self: self.model.stacks)
    def delete_the_newest(self, data):
        """Let what stands behind a version, or behind a marker, come forward."""
        bucket, key = at = data.draw(st.sampled_from(sorted(self.model.stacks)))
        version_id = self.model.stacks[at][0][0].version_id
        call = self.catalog.delete_version(bucket, key, version_id=version_id)
        assert self.run(call) == self.model.remove(at, version_id)
        self.compare()

    @rule(key=KEYS, initiated_ms=st.integers(0, 3))
    @precondition(lambda self: "shelf" in self.model.buckets)
    def create_upload(self, key, initiated_ms):
        upload = self.made.upload(key, initiated_ms=initiated_ms)
        self.run(self.catalog.create_upload(upload))
        self.model.uploads[upload.upload_id] = (upload, {})

    @rule(number=st.integers(1, 3), inline=st.booleans(), data=st.data())
    @precondition(lambda self: self.model.uploads)
    def put_part(self, number, inline, data):
        upload, parts = self.model.uploads[data.draw(st.sampled_from(sorted(self.model.uploads)))]
        blob = self.blob(inline=inline)
        part = self.made.part(number, blob)
        self.run(self.catalog.put_part(upload, part, blob))
        if number in parts:
            self.model.doom([parts[number][1]])
        parts[number] = (part, blob)

    @rule(data=st.data())
    @precondition(lambda self: self.model.uploads)
    def complete(self, data):
        upload, parts = self.model.uploads[data.draw(st.sampled_from(sorted(self.model.uploads)))]
        numbers = [number for number in sorted(parts) if data.draw(st.booleans())]
        taken = tuple(parts[number][1] for number in numbers)
        draft = self.draft(upload.key, bucket=upload.bucket)
        self.run(
            self.catalog.complete_upload(upload, draft, [parts[number][0] for number in numbers])
        )
        self.model.close_upload(upload.upload_id, taken)
        self.model.push(draft.version, draft, taken)

    @rule(data=st.data())
    @precondition(lambda self: self.model.uploads)
    def abort(self, data):
        upload, _ = self.model.uploads[data.draw(st.sampled_from(sorted(self.model.uploads)))]
        self.run(self.catalog.abort_upload(upload.bucket, upload.key, upload.upload_id))
        self.model.close_upload(upload.upload_id)

    @rule(limit=st.integers(0, 3))
    def collect(self, limit):
        doomed = self.run(self.catalog.doomed(limit=limit))
        ids = {ref.blob_id for ref in doomed}
        assert ids <= self.model.doomed
        assert len(ids) == min(limit, len(self.model.doomed))
        self.run(self.catalog.forget(ids))
        self.model.doomed -= ids

    @rule(bucket=BUCKETS, prefix=TEXTS, delimiter=DELIMITERS, after=TEXTS, limit=LIMITS)
    def list_objects(self, bucket, prefix, delimiter, after, limit):
        how = {"prefix": prefix, "delimiter": delimiter, "after": after, "limit": limit}
        if bucket not in self.model.buckets:
            with pytest.raises(errors.BucketNotFound):
                self.run(self.catalog.list_objects(bucket, **how))
            return
        page = self.run(self.catalog.list_objects(bucket, **how))
        shown = (list(page.versions), list(page.prefixes), page.next_after)
        assert shown == self.model.object_page(bucket, **how)

    @rule(prefix=TEXTS, delimiter=DELIMITERS, key=TEXTS, limit=LIMITS, data=st.data())
    @precondition(lambda self: "shelf" in self.model.buckets)
    def list_versions(self, prefix, delimiter, key, limit, data):
        markers = [("", ""), (key, ""), (key, "no version")]
        markers += [
            (version.key, version.version_id)
            for (home, _), stack in self.model.stacks.items()
            for version, _, _ in stack
            if home == "shelf"
        ]
        after = data.draw(st.sampled_from(markers))
        how = {"prefix": prefix, "delimiter": delimiter, "after": after, "limit": limit}
        page = self.run(self.catalog.list_versions("shelf", **how))
        shown = (list(page.versions), list(page.latest), list(page.prefixes), page.next_after)
        assert shown == self.model.version_page("shelf", **how)

    @rule(prefix=TEXTS, delimiter=DELIMITERS, key=TEXTS, limit=LIMITS, data=st.data())
    @precondition(lambda self: "shelf" in self.model.buckets)
    def list_uploads(self, prefix, delimiter, key, limit, data):
        markers = [("", ""), (key, ""), (key, "no upload")]
        markers += [(up.key, up.upload_id) for up, _ in self.model.uploads.values()]
        after = data.draw(st.sampled_from(markers))
        how = {"prefix": prefix, "delimiter": delimiter, "after": after, "limit": limit}
        page = self.run(self.catalog.list_uploads("shelf", **how))
        shown = (list(page.uploads), list(page.prefixes), page.next_after)
        assert shown == self.model.upload_page("shelf", **how)

    @rule()
    def compare(self):
        for (bucket, key), stack in self.model.stacks.items():
            newest = stack[0][0]
            if newest.is_marker:
                with pytest.raises(errors.ObjectNotFound) as caught:
                    self.run(self.catalog.current(bucket, key))
                assert caught.value.marker_id == newest.version_id
            else:
                assert self.run(self.catalog.current(bucket, key)).version == newest
            for version, draft, blobs in stack:
                call = self.catalog.version(bucket, key, version.version_id)
                if draft is None:
                    with pytest.raises(errors.IsDeleteMarker):
                        self.run(call)
                    continue
                stored = self.run(call)
                assert stored.version == version == draft.version
                assert (stored.envelope, stored.body) == (draft.envelope, draft.body)
                refs = self.run(self.catalog.blob_refs(version))
                assert list(refs) == [self.made.ref(blob) for blob in blobs]
        usage = self.run(self.catalog.usage())
        assert usage.buckets == len(self.model.buckets)
        assert usage.objects == len(self.model.objects)
        assert usage.uploads == len(self.model.uploads)
        assert usage.doomed_blobs == len(self.model.doomed)


def test_the_catalog_behaves_like_a_dict_model(open_empty, make):
    machine = type("Machine", (CatalogMachine,), {"open_empty": open_empty, "make": make})
    machine.open_empty = staticmethod(open_empty)

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
