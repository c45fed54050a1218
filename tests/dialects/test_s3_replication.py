"""A bucket's replication document, and replication within one store. S002.9."""

import copy
import json

import pytest

from strongroom import errors
from strongroom.access import identities
from strongroom.dialects.s3 import replica_manifest
from strongroom.service import replicas

ROLE = "arn:aws:iam::123456789012:role/replication"
SSE = "x-amz-server-side-encryption"
LARGE = b"".join(n.to_bytes(4) for n in range(50_000))


def rule(**changes):
    made = {
        "ID": "all",
        "Priority": 1,
        "Filter": {"Prefix": ""},
        "Status": "Enabled",
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": "arn:aws:s3:::twin"},
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def document(*rules, role=ROLE):
    return {"Role": role, "Rules": list(rules)}


@pytest.fixture
def two(store):
    """Two buckets with versions."""
    client = store.client()
    for name in ("bucket", "twin"):
        client.create_bucket(Bucket=name)
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return client


def replicate(client, *rules):
    client.put_bucket_replication(
        Bucket="bucket", ReplicationConfiguration=document(*(rules or (rule(),)))
    )


def work(store):
    return store.run(store.core.replicated.sender.run())


def refusal(client, asked, **options):
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, asked)(**options)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def ids(client, bucket="twin"):
    return [v["VersionId"] for v in client.list_object_versions(Bucket=bucket).get("Versions", ())]


# The document


def test_the_document_comes_back_as_it_was_put_and_goes(two):
    absent = refusal(two, "get_bucket_replication", Bucket="bucket")
    assert absent[0] == "ReplicationConfigurationNotFoundError"

    replicate(two, rule(Filter={"And": {"Prefix": "a", "Tags": [{"Key": "b", "Value": "c"}]}}))

    found = two.get_bucket_replication(Bucket="bucket")["ReplicationConfiguration"]
    assert found == document(
        rule(Filter={"And": {"Prefix": "a", "Tags": [{"Key": "b", "Value": "c"}]}})
    )
    two.delete_bucket_replication(Bucket="bucket")
    assert refusal(two, "get_bucket_replication", Bucket="bucket") == absent


KMS = {"SseKmsEncryptedObjects": {"Status": "Enabled"}}
OLD = {"Filter": None, "Priority": None, "DeleteMarkerReplication": None}


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        (document(), "MalformedXML", ""),
        (document(rule(), role="me"), "InvalidArgument", "Invalid Role"),
        (document(rule(Priority=None)), "InvalidRequest", "Priority must be specified"),
        (
            document(rule(DeleteMarkerReplication=None)),
            "InvalidRequest",
            "DeleteMarkerReplication must be specified",
        ),
        (document(rule(), rule(ID="two")), "InvalidRequest", "duplicate priority 1"),
        (document(rule(), rule(Priority=2)), "InvalidArgument", "Rule Id must be unique"),
        (document(rule(ID="i" * 256)), "InvalidArgument", "255"),
        (document(rule(Status="On")), "MalformedXML", ""),
        (document(rule(Prefix="a")), "MalformedXML", ""),
        (document(rule(), rule(**OLD, Prefix="a", ID="two")), "MalformedXML", ""),
        (
            document(rule(**OLD, Prefix="a"), rule(**OLD, Prefix="ab", ID="two")),
            "InvalidRequest",
            "overlapping prefixes 'a' and 'ab'",
        ),
        (
            document(
                rule(
                    Filter={"Tag": {"Key": "a", "Value": "b"}},
                    DeleteMarkerReplication={"Status": "Enabled"},
                )
            ),
            "InvalidRequest",
            "Delete marker replication is not supported if any Tag filter",
        ),
        (document(rule(SourceSelectionCriteria=KMS)), "InvalidRequest", "EncryptionConfiguration"),
        (
            document(
                rule(
                    Destination={
                        "Bucket": "arn:aws:s3:::twin",
                        "EncryptionConfiguration": {"ReplicaKmsKeyID": "alias/a"},
                    }
                )
            ),
            "InvalidRequest",
            "SseKmsEncryptedObjects must be specified",
        ),
        (
            document(rule(Destination={"Bucket": "arn:aws:s3:::twin", "StorageClass": "GLACIER"})),
            "InvalidStorageClass",
            "",
        ),
        (document(rule(Destination={"Bucket": "twin"})), "InvalidArgument", "ARN"),
        (
            document(rule(Destination={"Bucket": "arn:aws:s3:::nowhere"})),
            "InvalidRequest",
            "Destination bucket must exist.",
        ),
        (
            document(rule(Destination={"Bucket": "arn:aws:s3:::bucket"})),
            "InvalidRequest",
            "same as source",
        ),
        (
            document(rule(Destination={"Bucket": "arn:aws:s3:far::twin"})),
            "InvalidRequest",
            "no other store far",
        ),
        (
            document(
                rule(
                    Destination={
                        "Bucket": "arn:aws:s3:::twin",
                        "ReplicationTime": {"Status": "Enabled", "Time": {"Minutes": 15}},
                    }
                )
            ),
            "NotImplemented",
            "ReplicationTime",
        ),
        (
            document(rule(SourceSelectionCriteria={"ReplicaModifications": {"Status": "Enabled"}})),
            "NotImplemented",
            "ReplicaModifications",
        ),
    ],
)
def test_a_document_that_cannot_be_followed_is_refused(store, two, asked, code, words):
    found = refusal(two, "put_bucket_replication", Bucket="bucket", ReplicationConfiguration=asked)

    assert found[0] == code
    assert words in found[1]
    assert "replication" not in store.run(store.catalog.bucket("bucket")).settings


def test_both_buckets_must_have_versions_and_the_source_keeps_them(two):
    asked = {"ReplicationConfiguration": document(rule())}
    suspended = {"VersioningConfiguration": {"Status": "Suspended"}}
    two.create_bucket(Bucket="plain")
    plain = refusal(two, "put_bucket_replication", Bucket="plain", **asked)
    two.put_bucket_versioning(Bucket="twin", **suspended)
    target = refusal(two, "put_bucket_replication", Bucket="bucket", **asked)
    two.put_bucket_versioning(Bucket="twin", VersioningConfiguration={"Status": "Enabled"})
    two.put_bucket_replication(Bucket="bucket", **asked)

    kept = refusal(two, "put_bucket_versioning", Bucket="bucket", **suspended)

    assert plain == (
        "InvalidRequest",
        "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
    )
    assert target == ("InvalidRequest", "Destination bucket must have versioning enabled.")
    assert kept[0] == "InvalidBucketState"


# Within one store


@pytest.mark.parametrize("body", [b"", b"small", LARGE], ids=["empty", "inline", "file"])
@pytest.mark.parametrize("mode", ["SSE-C", "SSE-S3", "aws:kms", "aws:kms:dsse"])
def test_a_version_of_every_mode_is_replicated_and_opens_by_its_own_key(
    store, two, key, other_key, mode, body
):
    destination = {
        "Bucket": "arn:aws:s3:::twin",
        "EncryptionConfiguration": {"ReplicaKmsKeyID": "alias/aws/s3"},
    }
    replicate(two, rule(Destination=destination, SourceSelectionCriteria=KMS))
    own = key.options if mode == "SSE-C" else {}
    how = own or ({} if mode == "SSE-S3" else {"ServerSideEncryption": mode})
    put = two.put_object(Bucket="bucket", Key="k", Body=body, Metadata={"a": "b"}, **how)
    head = two.head_object(Bucket="bucket", Key="k", **own)
    assert head["ReplicationStatus"] == "PENDING"

    assert work(store) == 1

    assert two.head_object(Bucket="bucket", Key="k", **own)["ReplicationStatus"] == "COMPLETED"
    found = two.get_object(Bucket="twin", Key="k", **own)
    assert found["Body"].read() == body
    assert (found["ReplicationStatus"], found["Metadata"]) == ("REPLICA", {"a": "b"})
    for member in ("VersionId", "ETag", "ChecksumCRC64NVME"):
        assert found.get(member) == put.get(member) or member not in found
    assert found["LastModified"] == head["LastModified"]
    assert found.get("ServerSideEncryption") == put.get("ServerSideEncryption")
    assert store.reported == []
    if own:
        for wrong in (other_key.options, {}):
            assert refusal(two, "head_object", Bucket="twin", Key="k", **wrong)[0] in ("403", "400")


def test_a_replica_outlives_its_origin_and_can_be_copied_and_tagged(store, two, key):
    replicate(two)
    put = two.put_object(Bucket="bucket", Key="k", Body=LARGE, **key.options)
    work(store)
    two.delete_object(Bucket="bucket", Key="k", VersionId=put["VersionId"])
    store.run(store.core.collector.collect())

    two.put_object_tagging(
        Bucket="twin", Key="k", Tagging={"TagSet": [{"Key": "own", "Value": "tag"}]}
    )
    source = {f"CopySource{name}": value for name, value in key.options.items()}
    two.copy_object(Bucket="bucket", Key="back", CopySource="twin/k", **source, **key.options)

    assert two.get_object(Bucket="bucket", Key="back", **key.options)["Body"].read() == LARGE
    assert two.get_object(Bucket="twin", Key="k", **key.options)["Body"].read() == LARGE


def test_a_row_that_is_moved_to_another_bucket_is_no_replica(store, two, key):
    two.put_object(Bucket="bucket", Key="k", Body=LARGE, **key.options)
    stored = store.run(store.catalog.current("bucket", "k"))
    # As somebody with the disk would, who cannot make the marks of a replica.
    forged = copy.copy(stored.version)
    forged.bucket = "twin"
    draft = replicas.records.Draft(
        forged, stored.envelope, stored.body, stored.marks, shares=stored.version
    )
    store.run(store.catalog.put_version(draft))

    code, _ = refusal(two, "get_object", Bucket="twin", Key="k", **key.options)

    assert code == "InternalError"
    assert {type(error) for error in store.reported} == {errors.NotAuthentic}


def test_versions_keep_their_order_and_markers_go_where_the_rule_says(store, two):
    replicate(two, rule(DeleteMarkerReplication={"Status": "Enabled"}))
    made = [
        two.put_object(Bucket="bucket", Key="k", Body=body)["VersionId"] for body in (b"1", b"2")
    ]
    gone = two.delete_object(Bucket="bucket", Key="k")["VersionId"]
    tasks = store.run(store.catalog.replication.due(2**50, limit=9))
    assert len(tasks) == 3

    work(store)

    assert ids(two) == made[::-1]
    (marker,) = two.list_object_versions(Bucket="twin")["DeleteMarkers"]
    assert (marker["VersionId"], marker["IsLatest"]) == (gone, True)


def test_without_the_rule_a_marker_stays_at_home_and_a_deleted_version_goes_nowhere(store, two):
    replicate(two)
    put = two.put_object(Bucket="bucket", Key="k", Body=b"1")
    work(store)
    two.delete_object(Bucket="bucket", Key="k")
    two.delete_object(Bucket="bucket", Key="k", VersionId=put["VersionId"])

    work(store)

    assert ids(two) == [put["VersionId"]]
    assert "DeleteMarkers" not in two.list_object_versions(Bucket="twin")
    assert store.run(store.catalog.replication.backlog()).waiting == 0


def test_tags_follow_and_replicas_do_not_go_round(store, two):
    replicate(two)
    two.put_bucket_replication(
        Bucket="twin",
        ReplicationConfiguration=document(rule(Destination={"Bucket": "arn:aws:s3:::bucket"})),
    )
    two.put_object(Bucket="bucket", Key="k", Body=b"1")
    work(store)
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    two.put_object_tagging(Bucket="bucket", Key="k", Tagging=tags)
    assert two.head_object(Bucket="bucket", Key="k")["ReplicationStatus"] == "PENDING"

    work(store)

    assert two.get_object_tagging(Bucket="twin", Key="k")["TagSet"] == tags["TagSet"]
    assert two.head_object(Bucket="bucket", Key="k")["ReplicationStatus"] == "COMPLETED"
    assert len(ids(two, "bucket")) == len(ids(two)) == 1
    two.put_object(Bucket="twin", Key="other", Body=b"2")
    work(store)
    assert two.get_object(Bucket="bucket", Key="other")["Body"].read() == b"2"


def test_only_what_a_rule_covers_is_replicated(store, two):
    tagged = {"And": {"Prefix": "in/", "Tags": [{"Key": "a", "Value": "b"}]}}
    replicate(two, rule(Filter=tagged))
    two.put_object(Bucket="bucket", Key="in/yes", Body=b"1", Tagging="a=b&c=d")
    two.put_object(Bucket="bucket", Key="in/no", Body=b"1", Tagging="a=c")
    two.put_object(Bucket="bucket", Key="out", Body=b"1", Tagging="a=b")
    two.put_object(
        Bucket="bucket", Key="in/kms", Body=b"1", Tagging="a=b", ServerSideEncryption="aws:kms"
    )

    assert work(store) == 1

    listed = two.list_objects_v2(Bucket="twin")["Contents"]
    assert [row["Key"] for row in listed] == ["in/yes"]
    assert "ReplicationStatus" not in two.head_object(Bucket="bucket", Key="out")


def test_uploads_and_copies_are_replicated_with_their_parts(store, two, key):
    replicate(two)
    own = key.options
    place = {"Bucket": "bucket", "Key": "film"}
    begun = two.create_multipart_upload(**place, **own)["UploadId"]
    pieces = [bytes(5 * 1024 * 1024), b"end"]
    sent = [
        {
            "PartNumber": number,
            "ETag": two.upload_part(**place, UploadId=begun, PartNumber=number, Body=piece, **own)[
                "ETag"
            ],
        }
        for number, piece in enumerate(pieces, 1)
    ]
    done = two.complete_multipart_upload(**place, UploadId=begun, MultipartUpload={"Parts": sent})
    source = {f"CopySource{name}": value for name, value in own.items()}
    two.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/film", **source, **own)

    assert work(store) == 2

    found = two.get_object(Bucket="twin", Key="film", PartNumber=2, **own)
    assert (found["Body"].read(), found["PartsCount"]) == (b"end", 2)
    assert found["ETag"] == done["ETag"]
    copied = two.get_object(Bucket="twin", Key="copy", **own)
    assert copied["Body"].read() == b"".join(pieces)


def test_a_target_that_refuses_is_told_and_tried_again(store, two):
    replicate(two)
    two.put_object(Bucket="bucket", Key="k", Body=b"1")
    two.put_bucket_versioning(Bucket="twin", VersioningConfiguration={"Status": "Suspended"})

    assert work(store) == 0

    assert two.head_object(Bucket="bucket", Key="k")["ReplicationStatus"] == "FAILED"
    backlog = store.run(store.catalog.replication.backlog("bucket"))
    assert (backlog.waiting, backlog.failing) == (1, 1)
    two.put_bucket_versioning(Bucket="twin", VersioningConfiguration={"Status": "Enabled"})
    store.run(store.catalog.replication.enqueue("bucket", [("k", ids(two, "bucket")[0])], 0))
    assert work(store) == 1
    assert two.head_object(Bucket="bucket", Key="k")["ReplicationStatus"] == "COMPLETED"


def test_nobody_replicates_into_a_bucket_that_is_not_open_to_him(store, two):
    store.add_user("alice", "ALICEALICE", "alicealicealice")
    alice = store.client(access_key="ALICEALICE", secret_key="alicealicealice")
    alice.create_bucket(Bucket="hers")
    alice.put_bucket_versioning(Bucket="hers", VersioningConfiguration={"Status": "Enabled"})
    alice.put_bucket_replication(Bucket="hers", ReplicationConfiguration=document(rule()))
    alice.put_object(Bucket="hers", Key="k", Body=b"1")

    assert work(store) == 0

    assert alice.head_object(Bucket="hers", Key="k")["ReplicationStatus"] == "FAILED"
    user = store.run(store.catalog.users())[0].user_id
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{identities.account_of(user)}:root"},
        "Action": ["s3:ReplicateObject", "s3:ReplicateTags"],
        "Resource": "arn:aws:s3:::twin/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    two.put_bucket_policy(Bucket="twin", Policy=policy)
    store.run(store.catalog.replication.enqueue("hers", [("k", ids(alice, "hers")[0])], 0))
    assert work(store) == 1
    assert alice.head_object(Bucket="hers", Key="k")["ReplicationStatus"] == "COMPLETED"


def test_what_was_there_before_the_rule_is_replicated_where_it_says_so(store, two):
    old = [
        two.put_object(Bucket="bucket", Key="k", Body=body)["VersionId"] for body in (b"1", b"2")
    ]

    replicate(two, rule(ExistingObjectReplication={"Status": "Enabled"}))

    assert work(store) == 2
    assert ids(two) == old[::-1]
    assert two.head_object(Bucket="bucket", Key="k")["ReplicationStatus"] == "COMPLETED"


# What comes from another store


def manifest_of(store, key="k", **changes):
    """Return the manifest of a version under a customer's key, as its source sends it."""
    stored = store.run(store.catalog.current("bucket", key))
    refs = store.run(store.catalog.blob_refs(stored.version))
    blobs = {ref.blob_id: store.run(store.catalog.inline(ref.blob_id)) for ref in refs}
    made = replicas.Manifest(stored.version, stored.body, {}, envelope=stored.envelope, blobs=blobs)
    told = json.loads(replica_manifest.encode(made, "")) | changes
    return json.dumps(told).encode()


@pytest.fixture
def elsewhere(make_store):
    """Another store with a bucket that takes replicas."""
    other = make_store()
    client = other.client()
    client.create_bucket(Bucket="twin")
    client.put_bucket_versioning(Bucket="twin", VersioningConfiguration={"Status": "Enabled"})
    return other


def send(elsewhere, body, key="k", **how):
    return elsewhere.ask("PUT", f"/twin/{key}?x-strongroom-replica", {}, body, **how)


def test_a_manifest_with_its_blobs_makes_a_replica(store, two, key, elsewhere):
    two.put_object(Bucket="bucket", Key="k", Body=b"small", **key.options)

    answer = send(elsewhere, manifest_of(store))

    assert (answer.status, json.loads(answer.body)) == (200, {"missing": []})
    client = elsewhere.client()
    assert client.get_object(Bucket="twin", Key="k", **key.options)["Body"].read() == b"small"


@pytest.mark.parametrize(
    "bend",
    [
        lambda told: told | {"etag": "0" * 32, "size": 6},
        lambda told: told | {"version_id": "A" * 32},
        lambda told: told | {"modified_ms": told["modified_ms"] + 1},
        lambda told: told | {"key": "other"},
        lambda told: told | {"format": 2},
        lambda told: told | {"envelope": ""},
        lambda told: told | {"envelope": told["envelope"][:-8] + "AAAAAAA="},
        lambda told: told | {"blobs": {n: "AAAA" + b[4:] for n, b in told["blobs"].items()}},
        lambda told: told | {"body": "AAAA"},
        lambda told: told | {"modified_ms": 2**60},
        lambda _told: {},
        lambda _told: [],
    ],
)
def test_a_replica_that_was_tampered_with_is_refused(store, two, key, elsewhere, bend):
    two.put_object(Bucket="bucket", Key="k", Body=b"small", **key.options)
    told = json.loads(manifest_of(store))

    answer = send(elsewhere, json.dumps(bend(told)).encode())

    if answer.status == 200:
        # Of the envelope nobody but the customer can tell; it is refused when it is opened.
        client = elsewhere.client()
        assert refusal(client, "get_object", Bucket="twin", Key="k", **key.options)[0] == (
            "InternalError"
        )
        return
    assert answer.status == 400
    assert elsewhere.reported == []
    assert elsewhere.client().list_object_versions(Bucket="twin").get("Versions") is None


def test_replicas_come_over_tls_from_who_may_and_to_buckets_with_versions(
    store, two, key, elsewhere
):
    two.put_object(Bucket="bucket", Key="k", Body=b"small", **key.options)
    body = manifest_of(store)
    assert send(elsewhere, body, secure=False).fault.code == "InvalidRequest"
    elsewhere.add_user("bob", "BOBBOBBOB", "bobbobbobbob")
    assert send(elsewhere, body, who=("BOBBOBBOB", "bobbobbobbob")).fault.code == "AccessDenied"
    elsewhere.client().create_bucket(Bucket="plain")

    plain = elsewhere.ask("PUT", "/plain/k?x-strongroom-replica", {}, body)

    assert plain.fault.code == "InvalidRequest"
