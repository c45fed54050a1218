"""What the guard keeps, and how it comes back: every adapter of the catalog alike."""

import asyncio
import dataclasses

import pytest

from strongroom import errors
from strongroom.store import guarding, keeping, records

DAY_MS = 24 * 60 * 60 * 1000
MINE, OTHERS = b"m" * 16, b"o" * 16
T0 = 1_700_000_000_000
"""Before all that a test writes; `Maker` counts milliseconds up from here."""


@pytest.fixture
def guarded(catalog, make):
    """A catalog with a guarded bucket, whose clock is the last version's."""
    seen = []
    catalog.alarm = seen.append
    asyncio.run(
        catalog.create_bucket(
            make.bucket(settings={guarding.GUARD: guarding.guard_document(DAY_MS)})
        )
    )
    return Guarded(catalog, make, seen)


class Guarded:
    def __init__(self, catalog, make, seen):
        self.catalog, self.make, self.seen = catalog, make, seen

    def run(self, call):
        return asyncio.run(call)

    def put(self, key="key", fingerprint=MINE, *, at=T0, blob=None, **changes):
        draft = self.make.draft(
            key,
            blob or self.make.inline(),
            fingerprint=fingerprint,
            modified_ms=at,
            **changes,
        )
        self.run(self.catalog.put_version(draft))
        return draft.version

    def delete(self, key="key", version_id=None):
        if version_id is not None:
            return self.run(self.catalog.delete_version("shelf", key, version_id=version_id))
        number = self.make.blob_id().hex()
        marker = records.delete_marker("shelf", key, number, owner="0a" * 32, modified_ms=T0 + 10)
        return self.run(self.catalog.delete_object(marker))

    def restore(self, to_ms=T0, **how):
        how = {"after": None, "keys": 100, "keep_ms": DAY_MS} | how
        return self.run(self.catalog.keeping.restore("shelf", to_ms=to_ms, **how))

    def current(self, key="key"):
        return self.run(self.catalog.current("shelf", key)).version

    def totals(self):
        return self.run(self.catalog.keeping.totals("shelf"))

    def listed(self):
        page = self.run(self.catalog.list_versions("shelf", limit=1000))
        return [(one.key, one.version_id, one.generation) for one in page.versions]


def test_what_a_foreign_key_overwrites_comes_back(guarded):
    mine = guarded.put()
    guarded.put(fingerprint=OTHERS, at=T0 + 1)
    assert guarded.totals().versions == 1

    step = guarded.restore()

    assert guarded.current() == mine
    assert (step.keys, step.back, step.aside, step.back_bytes) == (["key"], 1, 1, mine.size)
    assert [alarm.is_foreign for alarm in guarded.seen] == [True]
    assert (guarded.seen[0].version, guarded.seen[0].by) == (mine, OTHERS)


def test_what_its_own_key_overwrites_is_not_kept(guarded):
    guarded.put()
    guarded.put(at=T0 + 1)

    assert guarded.totals().versions == 0
    assert guarded.seen == []


def test_without_a_guard_nothing_is_kept(catalog, make):
    seen = []
    catalog.alarm = seen.append
    asyncio.run(catalog.create_bucket(make.bucket()))
    plain = Guarded(catalog, make, seen)
    plain.put()
    plain.put(fingerprint=OTHERS, at=T0 + 1)
    plain.delete()

    assert plain.totals() == keeping.Totals(0, 0, 0)
    assert seen == []


@pytest.mark.parametrize("version_id", [None, records.NULL_VERSION])
def test_what_is_deleted_comes_back(guarded, version_id):
    mine = guarded.put()
    guarded.delete(version_id=version_id)
    with pytest.raises(errors.ObjectNotFound):
        guarded.current()

    guarded.restore()

    assert guarded.current() == mine
    assert guarded.run(guarded.catalog.usage()).objects == 1


def test_overwritten_and_deleted_and_overwritten_again_comes_back(guarded):
    mine = guarded.put()
    guarded.put(fingerprint=OTHERS, at=T0 + 1)
    guarded.delete()
    guarded.put(fingerprint=OTHERS, at=T0 + 2)

    guarded.restore()

    assert guarded.current() == mine
    assert len(guarded.listed()) == 1


def test_versions_that_were_deleted_for_good_stand_again_in_their_order(guarded):
    guarded.run(guarded.catalog.change_settings("shelf", {records.VERSIONING: records.ENABLED}))
    made = [guarded.put(version_id=f"v{n}", at=T0 - 3 + n) for n in range(3)]
    before = guarded.listed()
    guarded.put(version_id="foreign", fingerprint=OTHERS, at=T0 + 1)
    guarded.delete()
    for version in made:
        guarded.delete(version_id=version.version_id)

    guarded.restore()

    assert guarded.listed() == before
    assert guarded.current() == made[-1]


def test_what_was_hidden_by_a_foreign_version_raises_an_alarm_though_it_still_stands(guarded):
    guarded.run(guarded.catalog.change_settings("shelf", {records.VERSIONING: records.ENABLED}))
    mine = guarded.put(version_id="mine")
    guarded.put(version_id="foreign", fingerprint=OTHERS, at=T0 + 1)

    assert [(one.version, one.is_foreign, one.until_ms) for one in guarded.seen] == [
        (mine, True, 0)
    ]
    assert guarded.totals().versions == 0


def test_the_null_version_behind_others_comes_back(guarded):
    mine = guarded.put()
    for state in (records.ENABLED, records.SUSPENDED):
        guarded.run(guarded.catalog.change_settings("shelf", {records.VERSIONING: state}))
        if state == records.ENABLED:
            above = guarded.put(version_id="above")
    guarded.put(fingerprint=OTHERS, at=T0 + 1)

    guarded.restore()

    assert guarded.listed() == [
        ("key", "above", above.generation),
        ("key", records.NULL_VERSION, mine.generation),
    ]


def test_a_restore_changes_nothing_that_was_there_already_and_nothing_in_a_dry_run(guarded):
    guarded.put("quiet")
    guarded.put("hit")
    foreign = guarded.put("hit", OTHERS, at=T0 + 1)

    told = guarded.restore(dry_run=True)

    assert (told.keys, told.back, told.aside, told.seen) == (["hit"], 1, 1, 3)
    assert guarded.current("hit") == foreign
    assert guarded.restore().keys == ["hit"]
    assert guarded.restore().keys == []


def test_what_is_locked_is_not_set_aside_and_what_was_deleted_comes_back_behind_it(guarded):
    locked = {records.VERSIONING: records.ENABLED, records.OBJECT_LOCK: "{}"}
    guarded.run(guarded.catalog.change_settings("shelf", locked))
    mine = guarded.put(version_id="mine")
    held = guarded.put(version_id="held", fingerprint=OTHERS, at=T0 + 1)
    guarded.put(version_id="foreign", fingerprint=OTHERS, at=T0 + 2)
    guarded.delete(version_id="mine")
    asked = []

    def stays(version, marks):
        asked.append((version.version_id, marks))
        return version.version_id == "held"

    step = guarded.restore(stays=stays)

    assert sorted(asked) == [("foreign", b"marks"), ("held", b"marks")]
    assert (step.back, step.aside) == (1, 1)
    assert [place[2] for place in guarded.listed()] == [held.generation, mine.generation]
    assert guarded.restore(stays=stays).keys == []


def test_a_restore_goes_on_where_the_last_step_ended(guarded):
    mine = {key: guarded.put(key) for key in ("a", "b", "c", "d/e")}
    for key in mine:
        guarded.delete(key)
    after, steps = None, []
    while True:
        step = guarded.restore(keys=2, after=after)
        steps.append(step.keys)
        after = step.next_after
        if after is None:
            break

    assert steps == [["a", "b"], ["c", "d/e"], []]
    assert {key: guarded.current(key) for key in mine} == mine


def test_a_restore_of_a_prefix_leaves_other_keys_alone(guarded):
    mine = {key: guarded.put(key) for key in ("a", "d/e", "d/\U0010ffff", "e")}
    for key in mine:
        guarded.delete(key)

    step = guarded.run(
        guarded.catalog.keeping.restore("shelf", "d/", to_ms=T0, after=None, keys=9, keep_ms=DAY_MS)
    )

    assert step.keys == ["d/e", "d/\U0010ffff"]
    assert guarded.run(guarded.catalog.keeping.count("shelf", "d/")) == 2
    assert guarded.run(guarded.catalog.keeping.count("shelf")) == 4


def test_what_a_restore_sets_aside_can_be_restored(guarded):
    guarded.put()
    foreign = guarded.put(fingerprint=OTHERS, at=T0 + 1)
    guarded.restore()

    guarded.restore(to_ms=T0 + 1)

    assert guarded.current() == foreign


def test_kept_versions_go_when_their_time_is_over_and_take_their_blobs_along(guarded):
    blob = guarded.make.file()
    guarded.put(blob=blob)
    guarded.delete()
    ends = guarded.totals().next_ms
    letting = guarded.catalog.keeping.let_go

    assert guarded.run(letting(ends - 1, limit=10)) == 0
    assert guarded.run(guarded.catalog.doomed(limit=10)) == []
    assert guarded.run(letting(ends, limit=10)) == 1
    assert [one.blob_id for one in guarded.run(guarded.catalog.doomed(limit=10))] == [blob.blob_id]


def test_kept_versions_can_be_kept_for_longer_and_never_for_less(guarded):
    guarded.put()
    guarded.delete()
    ends = guarded.totals().next_ms

    guarded.run(guarded.catalog.keeping.extend("shelf", 1))
    assert guarded.totals().next_ms == ends

    guarded.run(guarded.catalog.keeping.extend("shelf", 2 * DAY_MS))
    assert guarded.totals().next_ms == ends + DAY_MS


def test_a_bucket_is_not_deleted_from_under_what_is_kept_of_it(guarded):
    guarded.put()
    guarded.delete()

    with pytest.raises(errors.BucketNotEmpty):
        guarded.run(guarded.catalog.delete_bucket("shelf"))
    assert guarded.run(guarded.catalog.keeping.drop("shelf", limit=10)) == 1
    guarded.run(guarded.catalog.delete_bucket("shelf"))


def test_the_guard_keeps_what_leaves_the_customers_keys(guarded):
    mine = guarded.put()
    guarded.put(fingerprint=b"", mode="SSE-S3", at=T0 + 1)
    assert guarded.totals().versions == 1
    guarded.put(fingerprint=b"", mode="SSE-S3", at=T0 + 2)

    assert guarded.totals().versions == 1
    assert guarded.seen[0].version == mine


def test_a_key_that_left_no_fingerprint_proves_nothing(guarded):
    guarded.put(fingerprint=b"")
    guarded.put(fingerprint=b"", at=T0 + 1)

    assert guarded.totals().versions == 1


def test_a_bucket_takes_versions_under_listed_keys_only(guarded):
    allowed = {guarding.KEYS: guarding.keys_document([MINE])}
    guarded.run(guarded.catalog.change_settings("shelf", allowed))
    mine = guarded.put()

    with pytest.raises(errors.KeyNotAllowed) as refused:
        guarded.put(fingerprint=OTHERS)
    draft = guarded.make.draft("key", fingerprint=OTHERS, version_id=mine.version_id)
    with pytest.raises(errors.KeyNotAllowed):
        guarded.run(
            guarded.catalog.replace_version(
                draft, guarded.run(guarded.catalog.current("shelf", "key"))
            )
        )

    assert refused.value.fingerprint == OTHERS
    assert guarded.current() == mine
    guarded.put("plain", fingerprint=b"", mode="SSE-S3")


def test_a_listed_key_is_not_foreign(guarded):
    allowed = {guarding.KEYS: guarding.keys_document([MINE, OTHERS])}
    guarded.run(guarded.catalog.change_settings("shelf", allowed))
    guarded.put()
    guarded.put(fingerprint=OTHERS, at=T0 + 1)

    assert guarded.totals().versions == 0


def test_what_a_key_guards_is_found_page_by_page_wherever_it_stands(guarded):
    guarded.run(guarded.catalog.change_settings("shelf", {records.VERSIONING: records.ENABLED}))
    guarded.put("a", version_id="a1")
    guarded.put("a", version_id="a2")
    guarded.put("b", version_id="b1")
    guarded.put("b", OTHERS, version_id="b2", at=T0 + 1)
    guarded.put("gone", version_id="g1")
    guarded.delete("gone", version_id="g1")
    upload = dataclasses.replace(guarded.make.upload("open"), fingerprint=MINE)
    guarded.run(guarded.catalog.create_upload(upload))
    found, after = [], None
    while True:
        page = guarded.run(guarded.catalog.keeping.under(MINE, after=after, limit=2))
        assert len(page.found) <= 2
        found += [(one.bucket, one.key, one.version_id, one.standing) for one in page.found]
        after = page.next_after
        if after is None:
            break

    assert found == [
        ("shelf", "a", "a2", keeping.CURRENT),
        ("shelf", "a", "a1", keeping.BEHIND),
        ("shelf", "b", "b1", keeping.BEHIND),
        ("shelf", "gone", "g1", keeping.KEPT),
        ("shelf", "open", upload.upload_id, keeping.UPLOAD),
    ]
    assert guarded.run(guarded.catalog.keeping.under(b"x" * 16, limit=2)).found == []
