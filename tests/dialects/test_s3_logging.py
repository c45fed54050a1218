"""Access logs of buckets: where they go, and what stands in them."""

import dataclasses
import json
import re
import urllib.parse

import pytest
from botocore import exceptions

from strongroom import errors
from strongroom.access import decision, identities, log_delivery
from strongroom.access.decision import Ownership
from strongroom.dialects.s3 import log_lines, services
from strongroom.server import access_log
from strongroom.service import access_logs

MINUTE_MS = 60_000


def permit(s3, bucket="logs", resource="arn:aws:s3:::logs/*", effect="Allow", **condition):
    statement = {
        "Effect": effect,
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": resource,
        **condition,
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))


@pytest.fixture
def store(make_store, clock):
    return make_store(clock_ms=clock)


@pytest.fixture
def s3(store):
    client = store.client()
    for name in ("bucket", "logs"):
        client.create_bucket(Bucket=name)
    return client


def enable(s3, target="logs", prefix="log/", bucket="bucket", **more):
    enabled = {"TargetBucket": target, "TargetPrefix": prefix, **more}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": enabled})
    return enabled


def refusal(s3, **how):
    with pytest.raises(exceptions.ClientError) as caught:
        enable(s3, **how)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


# The document


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"TargetObjectKeyFormat": {"SimplePrefix": {}}},
        {"TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}},
    ],
)
def test_where_records_go_is_shown_as_it_was_set_until_it_is_removed(s3, form):
    permit(s3)

    enabled = enable(s3, **form)

    assert s3.get_bucket_logging(Bucket="bucket")["LoggingEnabled"] == enabled
    s3.put_bucket_logging(Bucket="bucket", BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="bucket")


def test_a_target_that_is_not_there_is_refused(s3):
    assert refusal(s3, target="nowhere") == (
        "InvalidTargetBucketForLogging",
        "The target bucket for logging does not exist",
    )


def test_a_target_of_another_owner_is_refused(store, s3):
    store.add_user("anna", "annaannaanna", "anna-secret-key")
    anna = store.client("annaannaanna", "anna-secret-key")
    anna.create_bucket(Bucket="annas")
    permit(anna, "annas", "arn:aws:s3:::annas/*")

    code, text = refusal(s3, target="annas")

    assert code == "InvalidTargetBucketForLogging"
    assert "must be the same" in text


HERE = {"aws:SourceArn": "arn:aws:s3:::bucket"}
ELSEWHERE = {"aws:SourceArn": "arn:aws:s3:::other"}
REFUSING = [
    {"resource": "arn:aws:s3:::logs/other/*"},
    {"effect": "Deny"},
    {"Condition": {"ArnLike": ELSEWHERE}},
    {"Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}},
]


@pytest.mark.parametrize("policy", [None, *REFUSING], ids=str)
def test_a_target_whose_policy_does_not_permit_delivery_is_refused(s3, policy):
    if policy is not None:
        permit(s3, **policy)

    code, text = refusal(s3)

    assert code == "InvalidTargetBucketForLogging"
    assert "log-delivery group" in text


PERMITTING = [
    {"resource": "arn:aws:s3:::logs/log/*"},
    {"resource": "arn:aws:s3:::logs/log/"},
    {"Condition": {"ArnLike": HERE}},
    {
        "Condition": {
            "StringEquals": {"aws:SourceAccount": identities.account_of(identities.ROOT_ID)}
        }
    },
]


@pytest.mark.parametrize("policy", PERMITTING, ids=str)
def test_a_target_whose_policy_permits_delivery_is_taken(s3, policy):
    permit(s3, **policy)

    enable(s3)


def test_the_group_of_log_delivery_permits_where_lists_count(make_store):
    store = make_store(
        new_buckets=services.NewBuckets(ownership=Ownership.WRITER, blocks_public=False)
    )
    s3 = store.client()
    s3.create_bucket(Bucket="bucket")
    s3.create_bucket(Bucket="logs")
    assert refusal(s3)[0] == "InvalidTargetBucketForLogging"
    s3.put_bucket_acl(Bucket="logs", ACL="log-delivery-write")

    enable(s3)

    enforced = json.dumps({"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    store.run(store.catalog.change_settings("logs", {decision.OWNERSHIP: enforced}))
    bucket, target = (store.run(store.catalog.bucket(name)) for name in ("bucket", "logs"))
    assert not log_delivery.is_permitted(bucket, target, "log/")


@pytest.mark.parametrize(
    "form",
    [
        {"TargetObjectKeyFormat": {}},
        {"TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "Never"}}},
        {"TargetObjectKeyFormat": {"PartitionedPrefix": {}}},
        {
            "TargetObjectKeyFormat": {
                "SimplePrefix": {},
                "PartitionedPrefix": {"PartitionDateSource": "EventTime"},
            }
        },
    ],
    ids=str,
)
def test_a_format_that_does_not_validate_is_refused(s3, form):
    permit(s3)

    assert refusal(s3, **form)[0] == "MalformedXML"


GRANT = {
    "Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"},
    "Permission": "READ",
}


def test_grants_are_refused_where_lists_do_not_count(s3):
    permit(s3)

    assert refusal(s3, TargetGrants=[GRANT])[0] == "AccessControlListNotSupported"


# What is delivered


@pytest.fixture
def logs(store, s3):
    """The store's logs, with a bucket that is logged into another."""
    permit(s3)
    enable(s3)
    return store.core.access_logs


def source(store):
    return store.run(store.catalog.bucket("bucket"))


def delivered(s3):
    found = s3.list_objects_v2(Bucket="logs").get("Contents", [])
    keys = [each["Key"] for each in found]
    assert all(re.search(r"-[0-9A-F]{16}$", key) for key in keys)
    return {
        key.rpartition("-")[0]: s3.get_object(Bucket="logs", Key=key)["Body"].read().decode()
        for key in keys
    }


def test_records_wait_for_others_and_are_delivered_as_one_object(store, s3, logs, clock):
    logs.add(source(store), "one")
    clock.now_ms += 4 * MINUTE_MS
    logs.add(source(store), "two")
    assert store.run(logs.deliver()) == 0
    clock.now_ms += MINUTE_MS

    assert store.run(logs.deliver()) == 1

    assert delivered(s3) == {"log/2023-11-13-12-05-00": "one\ntwo\n"}
    assert store.run(logs.deliver(everything=True)) == 0


def test_a_process_that_ends_delivers_what_it_has(store, s3, logs):
    logs.add(source(store), "one")

    assert store.run(logs.deliver(everything=True)) == 1

    assert list(delivered(s3).values()) == ["one\n"]


def test_many_records_do_not_wait(store, logs):
    logs.add(source(store), "x" * access_logs.MAX_OBJECT_BYTES)

    assert store.run(logs.deliver()) == 1


def test_keys_tell_source_and_day_where_they_are_to(store, s3, logs, clock):
    form = {"PartitionedPrefix": {"PartitionDateSource": "DeliveryTime"}}
    enable(s3, TargetObjectKeyFormat=form)
    logs.add(source(store), "delivered tomorrow")
    clock.now_ms += 24 * 60 * MINUTE_MS
    store.run(logs.deliver())
    form = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}
    enable(s3, prefix="event/", TargetObjectKeyFormat=form)
    logs.add(source(store), "today")
    clock.now_ms += 24 * 60 * MINUTE_MS
    logs.add(source(store), "tomorrow")
    store.run(logs.deliver(everything=True))

    account = identities.account_of(identities.ROOT_ID)
    place = f"{account}/us-east-1/bucket/2023/11"
    assert sorted(delivered(s3)) == [
        f"event/{place}/14/2023-11-14-00-00-00",
        f"event/{place}/15/2023-11-15-00-00-00",
        f"log/{place}/14/2023-11-14-12-00-00",
    ]


def test_what_may_not_be_delivered_any_more_is_dropped(store, s3, logs):
    logs.add(source(store), "one")
    s3.delete_bucket_policy(Bucket="logs")

    assert store.run(logs.deliver(everything=True)) == 0
    logs.add(source(store), "two")
    s3.delete_bucket(Bucket="logs")
    assert store.run(logs.deliver(everything=True)) == 0


def test_what_cannot_be_written_is_kept_for_the_next_time(store, s3, logs):
    logs.add(source(store), "one")
    store.catalog.failure = errors.StoreFull("no space")
    with pytest.raises(errors.StoreFull):
        store.run(logs.deliver(everything=True))
    store.catalog.failure = None
    logs.add(source(store), "two")

    assert store.run(logs.deliver(everything=True)) == 1

    assert list(delivered(s3).values()) == ["one\ntwo\n"]


def test_records_that_nobody_can_store_do_not_fill_the_memory(store, s3, logs):
    for _ in range(10):
        logs.add(source(store), "x" * access_logs.MAX_OBJECT_BYTES)

    store.run(logs.deliver())
    (found,) = s3.list_objects_v2(Bucket="logs")["Contents"]
    assert found["Size"] <= access_logs.MAX_HELD_BYTES


def test_objects_of_a_log_have_the_grants_that_were_asked_for(make_store):
    store = make_store(
        new_buckets=services.NewBuckets(ownership=Ownership.WRITER, blocks_public=False)
    )
    s3 = store.client()
    for name in ("bucket", "logs"):
        s3.create_bucket(Bucket=name)
    s3.put_bucket_acl(Bucket="logs", ACL="log-delivery-write")
    assert refusal(s3, TargetGrants=[{**GRANT, "Permission": "READ_ACP"}])[0] == "MalformedXML"
    enable(s3, TargetGrants=[GRANT])
    store.core.access_logs.add(source(store), "one")
    store.run(store.core.access_logs.deliver(everything=True))

    (found,) = s3.list_objects_v2(Bucket="logs")["Contents"]
    listed = s3.get_object_acl(Bucket="logs", Key=found["Key"])["Grants"]

    assert {grant["Permission"] for grant in listed} == {"READ", "FULL_CONTROL"}


# What stands in a record


class Reporter:
    """Says that each request is over at once, with 5 bytes in 20 ms."""

    def __init__(self):
        self.exchange = dataclasses.make_dataclass("Exchange", ["status", "bytes_out"])

    def when_over(self, _request_id, ended):
        self.ended = ended
        return 0.010


@pytest.fixture
def recorded(store, s3, clock):
    """Send a request and return the fields of its record; None if there is none."""
    permit(s3)
    enable(s3)
    return recording(store, clock)


def recording(store, clock):
    handle = store.core.s3.handle
    outcomes = []

    async def noted(request):
        outcome = await handle(request)
        outcomes.append((request, outcome))
        return outcome

    store.core.s3.handle = noted
    lines = []

    class Logs:
        def add(self, bucket, line):
            assert bucket.name == "bucket"
            lines.append(line)

    def ask(send, keep=lambda _lines: None):
        outcomes.clear()
        lines.clear()
        send()
        for request, outcome in outcomes:
            reporter = Reporter()
            recorder = access_log.Recorder(store.catalog, Logs(), reporter, clock_ms=clock)
            if recorder.concerns(outcome):
                store.run(recorder.note(request, outcome))
                if hasattr(reporter, "ended"):
                    reporter.ended(reporter.exchange(outcome.response.status, 5), 0.020)
        keep(lines)
        if not lines:
            return None
        fields = re.findall(r'\[[^]]*\]|"[^"]*"|[^ ]+', lines[-1].partition("\n")[0])
        assert len(fields) == 26
        return fields

    return ask


def test_a_record_has_the_fields_of_s3_in_their_order(store, s3, recorded):
    s3.put_object(Bucket="bucket", Key="a b/ü", Body=b"hello")

    fields = recorded(
        lambda: store.ask(
            "GET",
            "/bucket/a%20b/%C3%BC",
            {"user-agent": 'agent "7"\x09x', "referer": "https://page.example/?a=b"},
        )
    )

    assert fields[:2] == [identities.ROOT_ID, "bucket"]
    assert fields[2:5] == ["[13/Nov/2023:12:00:00 +0000]", "-", identities.ROOT_ID]
    assert re.fullmatch("[0-9A-F]{16}", fields[5])
    assert fields[6:9] == [
        "REST.GET.OBJECT",
        "a%20b/%C3%BC",
        '"GET /bucket/a%20b/%C3%BC HTTP/1.1"',
    ]
    assert fields[9:15] == ["200", "-", "5", "5", "20", "10"]
    assert fields[15:18] == ['"https://page.example/?a=b"', '"agent %227%22%09x"', "-"]
    assert fields[19:26] == ["SigV4", "-", "AuthHeader", "127.0.0.1:9", "-", "-", "-"]


def test_a_refusal_is_recorded_with_its_code(store, recorded):
    gone = recorded(lambda: store.ask("GET", "/bucket/none"))
    forged = recorded(lambda: store.ask("GET", "/bucket/none", who=("rootaccess", "x" * 20)))
    nobody = recorded(lambda: store.ask("GET", "/bucket/none", who=None))

    assert gone[9:11] == ["404", "NoSuchKey"]
    assert (forged[4], forged[9], forged[10]) == ("-", "403", "SignatureDoesNotMatch")
    assert (nobody[4], nobody[10], nobody[21]) == ("-", "AccessDenied", "-")


def test_a_bucket_that_logs_nothing_has_no_record(store, recorded):
    assert recorded(lambda: store.ask("GET", "/logs/none")) is None
    assert recorded(lambda: store.ask("GET", "/nowhere/none")) is None


def test_what_is_secret_in_a_url_is_struck_out(store, recorded, key):
    url = store.client(signature_version="s3v4").generate_presigned_url(
        "get_object", {"Bucket": "bucket", "Key": "a"}
    )
    parts = urllib.parse.urlsplit(url)
    signature = dict(urllib.parse.parse_qsl(parts.query))["X-Amz-Signature"]
    quoted = urllib.parse.quote(key.encoded, safe="")
    target = (
        f"{parts.path}?{parts.query}&X-Amz-Security-Token=tok"
        f"&x-amz-server-side-encryption-customer-key={quoted}"
        f"&X-amz-server-side-encryption-customer%2Dkey-MD5={quoted}"
    )

    fields = recorded(lambda: store.send("GET", target, [("host", "127.0.0.1:9")]))

    line = " ".join(fields)
    assert "X-Amz-Signature=REDACTED" in line
    assert line.count("=REDACTED") == 4
    assert signature not in line
    assert quoted not in line
    assert "=tok" not in line
    assert fields[19] == "SigV4"
    assert fields[21] == "QueryString"


@pytest.mark.parametrize(
    ("name", "method", "shown"),
    [
        ("GetObject", "GET", "REST.GET.OBJECT"),
        ("HeadBucket", "HEAD", "REST.HEAD.BUCKET"),
        ("ListObjectsV2", "GET", "REST.GET.BUCKET"),
        ("CopyObject", "PUT", "REST.COPY.OBJECT"),
        ("UploadPart", "PUT", "REST.PUT.PART"),
        ("CompleteMultipartUpload", "POST", "REST.POST.UPLOAD"),
        ("DeleteObjects", "POST", "REST.POST.MULTI_OBJECT_DELETE"),
        ("PutObjectTagging", "PUT", "REST.PUT.OBJECT_TAGGING"),
        ("GetBucketLifecycleConfiguration", "GET", "REST.GET.LIFECYCLE"),
        ("GetBucketVersioning", "GET", "REST.GET.VERSIONING"),
        ("DeleteBucket", "DELETE", "REST.DELETE.BUCKET"),
        ("", "GET", "REST.GET.UNKNOWN"),
    ],
)
def test_operations_have_the_names_of_s3(name, method, shown):
    assert log_lines.operation(name, method) == shown


def test_sizes_are_those_of_the_object_and_versions_have_their_ids(s3, recorded):
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})

    put = recorded(lambda: s3.put_object(Bucket="bucket", Key="a", Body=b"0123456789"))
    ranged = recorded(lambda: s3.get_object(Bucket="bucket", Key="a", Range="bytes=2-3"))
    marker = recorded(lambda: s3.delete_object(Bucket="bucket", Key="a"))

    assert (put[6], put[12]) == ("REST.PUT.OBJECT", "10")
    assert (ranged[9], ranged[12]) == ("206", "10")
    assert put[17] == ranged[17] != "-"
    assert marker[12] == "-"
    assert marker[17] not in ("-", put[17])


def test_a_record_tells_whether_an_access_list_was_needed(make_store, clock):
    store = make_store(
        clock_ms=clock,
        new_buckets=services.NewBuckets(ownership=Ownership.WRITER, blocks_public=False),
    )
    s3 = store.client()
    for name in ("bucket", "logs"):
        s3.create_bucket(Bucket=name)
    permit(s3)
    enable(s3)
    s3.put_object(Bucket="bucket", Key="a", Body=b"a", ACL="public-read")
    recorded = recording(store, clock)
    anna = store.add_user("anna", "annaannaanna", "anna-secret-key")

    def get():
        assert store.ask("GET", "/bucket/a", who=anna).status == 200

    own = recorded(lambda: store.ask("GET", "/bucket/a"))
    listed = recorded(get)
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::bucket/*",
            }
        ],
    }
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps(document))
    permitted = recorded(get)

    assert (own[25], listed[25], permitted[25]) == ("-", "Yes", "-")


def test_keys_that_are_deleted_together_have_a_record_each(s3, recorded):
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    for name in ("a", "b c"):
        s3.put_object(Bucket="bucket", Key=name, Body=b"")
    wanted = [{"Key": "a"}, {"Key": "b c"}, {"Key": "d", "VersionId": "x"}]
    lines = []

    def delete():
        s3.delete_objects(Bucket="bucket", Delete={"Objects": wanted, "Quiet": True})

    recorded(delete, lines.extend)

    (text,) = lines
    whole, *entries = (re.findall(r'\[[^]]*\]|"[^"]*"|[^ ]+', line) for line in text.split("\n"))
    assert whole[6:8] == ["REST.POST.MULTI_OBJECT_DELETE", "-"]
    assert {len(fields) for fields in (whole, *entries)} == {26}
    assert [fields[6:11] for fields in entries] == [
        ["BATCH.DELETE.OBJECT", "a", "-", "204", "-"],
        ["BATCH.DELETE.OBJECT", "b%20c", "-", "204", "-"],
        ["BATCH.DELETE.OBJECT", "d", "-", "404", "NoSuchVersion"],
    ]
    assert {fields[5] for fields in entries} == {whole[5]}
    assert entries[0][17] not in ("-", entries[1][17])
