"""Whatever a client does with versions, in whatever order: the store agrees with a few lists."""

import dataclasses
import itertools
import sys

from botocore import exceptions
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

KEYS = st.sampled_from(["a", "a/", "a/b", "b c+%", "é/ü"])
PICKS = st.integers(0, 99)
HOLDERS = st.sampled_from([None, 1, 2])
# Inline, and in a file of its own.
SIZES = st.sampled_from([0, 10, 20_000])
RAW_KEYS = {1: b"1" * 32, 2: b"2" * 32}


def own_key(holder, prefix=""):
    if holder is None:
        return {}
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": RAW_KEYS[holder]}


@dataclasses.dataclass
class Kept:
    """A version, or a delete marker, which has no body."""

    version_id: str
    body: bytes | None = None
    holder: int | None = None
    tag: str = ""


class AnyVersions(RuleBasedStateMachine):
    """Does what a client may do, and expects what a stack per key says.

    Attributes:
        client: boto3's; set in a subclass.
    """

    client = None
    numbers = itertools.count()

    def __init__(self):
        super().__init__()
        self.stacks = {}
        self.status = None
        self.writes = 0
        self.bucket = f"any-versions-{next(self.numbers)}"
        self.client.create_bucket(Bucket=self.bucket)

    def teardown(self):
        # After a failure the lists say nothing, and a second failure would hide the first.
        if sys.exc_info()[0] is None:
            self.read_everything()
        for kind in ("Versions", "DeleteMarkers"):
            for row in self.call("list_object_versions").get(kind, []):
                self.call("delete_object", Key=row["Key"], VersionId=row["VersionId"])
        self.call("delete_bucket")

    def call(self, method, expected=None, **options):
        """Call a method of the client; return the answer, or None if `expected` is its refusal."""
        try:
            answer = getattr(self.client, method)(Bucket=self.bucket, **options)
        except exceptions.ClientError as error:
            if error.response["Error"]["Code"] != expected:
                raise
            return None
        assert expected is None, f"{method} is to be refused with {expected}"
        return answer

    def pick(self, number):
        """Return a key and one of its versions, by a number of `PICKS`; None if there are none."""
        there = [(key, kept) for key, stack in sorted(self.stacks.items()) for kept in stack]
        return there[number % len(there)] if there else None

    def remove(self, key, version_id):
        """Return the version that is gone; None if there was none."""
        stack = self.stacks.get(key, [])
        for kept in stack:
            if kept.version_id == version_id:
                stack.remove(kept)
                if not stack:
                    del self.stacks[key]
                return kept
        return None

    def push(self, key, kept):
        if kept.version_id == "null":
            self.remove(key, "null")
        self.stacks.setdefault(key, []).insert(0, kept)

    def written(self, key, answer, **what):
        """Keep a version that was just written, under the id that the answer tells."""
        version_id = answer.get("VersionId", "null")
        assert (version_id != "null") == (self.status == "Enabled")
        self.push(key, Kept(version_id, **what))

    @initialize(status=st.sampled_from([None, "Enabled"]))
    def begin(self, status):
        self.put("a", 10, None)
        if status:
            self.switch(status)
        self.put("a", 20_000, 1)
        self.delete("a")

    @rule(status=st.sampled_from(["Enabled", "Suspended"]))
    def switch(self, status):
        self.call("put_bucket_versioning", VersioningConfiguration={"Status": status})
        self.status = status
        assert self.call("get_bucket_versioning")["Status"] == status

    @rule(key=KEYS, size=SIZES, holder=HOLDERS)
    def put(self, key, size, holder):
        self.writes += 1
        body = (b"%8d" % self.writes * (size // 8 + 1))[:size]

        answer = self.call("put_object", Key=key, Body=body, **own_key(holder))

        self.written(key, answer, body=body, holder=holder)

    @rule(key=KEYS, size=SIZES, holder=HOLDERS)
    def upload(self, key, size, holder):
        self.writes += 1
        body = (b"%8d" % self.writes * (size // 8 + 1))[:size]
        opened = self.call("create_multipart_upload", Key=key, **own_key(holder))["UploadId"]
        which = {"Key": key, "UploadId": opened}
        part = self.call("upload_part", PartNumber=1, Body=body, **which, **own_key(holder))

        answer = self.call(
            "complete_multipart_upload",
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
            **which,
        )

        self.written(key, answer, body=body, holder=holder)

    @rule(pick=PICKS, to=KEYS, holder=HOLDERS)
    def copy(self, pick, to, holder):
        found = self.pick(pick)
        if found is None:
            return
        key, kept = found
        refused = "InvalidRequest" if kept.body is None else None
        if self.status is None and key == to and kept.holder is holder is None:
            refused = "InvalidRequest"

        answer = self.call(
            "copy_object",
            refused,
            Key=to,
            CopySource={"Bucket": self.bucket, "Key": key, "VersionId": kept.version_id},
            **own_key(kept.holder, "CopySource"),
            **own_key(holder),
        )

        if answer is not None:
            self.written(to, answer, body=kept.body, holder=holder, tag=kept.tag)

    @rule(key=KEYS)
    def delete(self, key):
        answer = self.call("delete_object", Key=key)

        if self.status is None:
            assert "DeleteMarker" not in answer
            self.remove(key, "null")
        else:
            assert answer["DeleteMarker"]
            assert (answer["VersionId"] != "null") == (self.status == "Enabled")
            self.push(key, Kept(answer["VersionId"]))

    @rule(pick=PICKS)
    def delete_version(self, pick):
        found = self.pick(pick)
        if found is None:
            return
        key, kept = found

        answer = self.call("delete_object", Key=key, VersionId=kept.version_id)

        assert answer.get("DeleteMarker", False) == (kept.body is None)
        assert self.remove(key, kept.version_id) is kept

    @rule(picks=st.lists(PICKS, min_size=1, max_size=3), also=KEYS)
    def delete_many(self, picks, also):
        found = {(key, kept.version_id) for key, kept in filter(None, map(self.pick, picks))}
        named = [{"Key": key, "VersionId": version_id} for key, version_id in sorted(found)]
        if also in {key for key, _ in found}:
            # Whether the marker or the version comes first is nobody's promise.
            also = "zzz"

        answer = self.call("delete_objects", Delete={"Objects": [*named, {"Key": also}]})

        assert "Errors" not in answer
        for key, version_id in found:
            self.remove(key, version_id)
        (row,) = [row for row in answer["Deleted"] if "VersionId" not in row]
        if self.status is None:
            self.remove(also, "null")
        else:
            self.push(also, Kept(row["DeleteMarkerVersionId"]))

    @rule(pick=PICKS, tag=st.sampled_from(["", "1", "2"]))
    def set_tag(self, pick, tag):
        found = self.pick(pick)
        if found is None:
            return
        key, kept = found

        self.call(
            "put_object_tagging",
            "MethodNotAllowed" if kept.body is None else None,
            Key=key,
            VersionId=kept.version_id,
            Tagging={"TagSet": [{"Key": "t", "Value": tag}] if tag else []},
        )

        kept.tag = tag

    @rule(prefix=st.sampled_from(["", "a", "a/"]), size=st.sampled_from([1, 2, 3, 1000]))
    def list_versions(self, prefix, size):
        found = {"Versions": [], "DeleteMarkers": []}
        pages = self.client.get_paginator("list_object_versions").paginate(
            Bucket=self.bucket, Prefix=prefix, PaginationConfig={"PageSize": size}
        )
        for page in pages:
            assert sum(len(page.get(kind, [])) for kind in found) <= size
            for kind in found:
                found[kind] += [
                    (row["Key"], row["VersionId"], row["IsLatest"]) for row in page.get(kind, [])
                ]

        expected = {"Versions": [], "DeleteMarkers": []}
        for key in sorted(self.stacks, key=str.encode):
            for place, kept in enumerate(self.stacks[key]):
                if key.startswith(prefix):
                    kind = "DeleteMarkers" if kept.body is None else "Versions"
                    expected[kind].append((key, kept.version_id, not place))
        assert found == expected

    @rule()
    def list_objects(self):
        rows = self.call("list_objects_v2").get("Contents", [])

        assert [(row["Key"], row["Size"]) for row in rows] == [
            (key, len(self.stacks[key][0].body))
            for key in sorted(self.stacks, key=str.encode)
            if self.stacks[key][0].body is not None
        ]

    @rule(pick=PICKS)
    def read(self, pick):
        found = self.pick(pick)
        if found is not None:
            self.read_version(*found)
            self.read_current(found[0])

    def read_version(self, key, kept):
        which = {"Key": key, "VersionId": kept.version_id}
        refused = "MethodNotAllowed" if kept.body is None else None

        answer = self.call("get_object", refused, **which, **own_key(kept.holder))

        if answer is not None:
            assert answer["Body"].read() == kept.body
            assert answer.get("VersionId") == (kept.version_id if self.status else None)
            assert answer.get("TagCount", 0) == (1 if kept.tag else 0)

    def read_current(self, key):
        kept = self.stacks[key][0]
        refused = "NoSuchKey" if kept.body is None else None

        answer = self.call("get_object", refused, Key=key, **own_key(kept.holder))

        if answer is not None:
            assert answer["Body"].read() == kept.body

    def read_everything(self):
        for key, stack in self.stacks.items():
            self.read_current(key)
            for kept in stack:
                self.read_version(key, kept)


def test_any_sequence_with_versions_agrees_with_lists_and_leaves_nothing(store, run_machine):
    run_machine(AnyVersions, store.client(), examples=15, steps=30)

    store.run(store.core.collector.collect())
    usage = store.run(store.catalog.usage())
    assert store.remains == (set(), set(), set())
    assert (usage.buckets, usage.objects, usage.uploads, usage.doomed_blobs) == (0, 0, 0, 0)
    assert store.reported == []
