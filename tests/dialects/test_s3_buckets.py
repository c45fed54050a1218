"""Buckets: names, owners, addresses; and requests that mean nothing here."""

import pytest

ALICE = ("alicekey", "alices-secret")
BOB = ("bobskey", "bobs-secret")


@pytest.fixture
def two_users(store):
    store.add_user("alice", *ALICE)
    store.add_user("bob", *BOB)
    assert store.ask("PUT", "/alices", who=ALICE).status == 200
    assert store.ask("PUT", "/alices/k", {}, b"hers", who=ALICE).status == 200
    return store


def test_a_bucket_is_created_found_and_deleted(store):
    created = store.ask("PUT", "/bucket")
    head = store.ask("HEAD", "/bucket")
    place = store.ask("GET", "/bucket?location")
    deleted = store.ask("DELETE", "/bucket")

    assert (created.status, created.headers["location"]) == (200, "/bucket")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["x-amz-bucket-region"] == "us-east-1"
    assert place.document.tag == "LocationConstraint"
    assert place.document.text == ""
    assert (deleted.status, deleted.body) == (204, b"")
    assert store.ask("HEAD", "/bucket").status == 404


@pytest.mark.parametrize(
    "name",
    [
        "ab", "a" * 64, "Bucket", "under_score", "-begins", "ends-", ".dot", "dot.", "two..dots",
        "192.168.0.1", "xn--a", "sthree-a", "amzn-s3-demo-a", "a-s3alias", "a--ol-s3", "a.mrap",
        "a--x-s3", "a--table-s3", "sch%C3%B6n", "a%20b", "a%0Ab",
    ],
)  # fmt: skip
def test_a_bad_name_is_refused(store, name):
    answer = store.ask("PUT", f"/{name}")

    assert (answer.status, answer.fault.code) == (400, "InvalidBucketName")


@pytest.mark.parametrize("name", ["abc", "a" * 63, "1.2.3", "my.bucket-1", "300.1.1.1", "a.b"])
def test_a_good_name_is_taken(store, name):
    assert store.ask("PUT", f"/{name}").status == 200


def test_a_bucket_with_objects_is_not_deleted(bucket):
    bucket.ask("PUT", "/bucket/k", {}, b"x")

    answer = bucket.ask("DELETE", "/bucket")

    assert (answer.status, answer.fault.code) == (409, "BucketNotEmpty")
    assert bucket.ask("GET", "/bucket/k").body == b"x"


def test_an_owner_may_create_a_bucket_again_in_us_east_1(bucket):
    bucket.ask("PUT", "/bucket/k", {}, b"x")

    assert bucket.ask("PUT", "/bucket").status == 200
    assert bucket.ask("GET", "/bucket/k").body == b"x"


def test_elsewhere_an_owner_may_not(make_store):
    store = make_store(region="eu-west-1")
    client = store.client(region="eu-west-1")
    options = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    client.create_bucket(Bucket="bucket", **options)

    with pytest.raises(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket="bucket", **options)
    with pytest.raises(client.exceptions.ClientError, match="IllegalLocationConstraint"):
        client.create_bucket(Bucket="another")

    assert client.get_bucket_location(Bucket="bucket")["LocationConstraint"] == "eu-west-1"


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1", "mars"])
def test_a_bucket_is_made_here_or_nowhere(store, region):
    document = (
        f"<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint>"
        "</CreateBucketConfiguration>"
    ).encode()

    answer = store.ask("PUT", "/bucket", {}, document)

    assert (answer.status, answer.fault.code) == (400, "InvalidLocationConstraint")


def test_new_buckets_may_start_with_customer_keys_blocked(make_store, key):
    # The contract of the command line, `--sse-c-default`.
    store = make_store(block_sse_c=True)
    store.ask("PUT", "/bucket")

    refused = store.ask("PUT", "/bucket/k", key.headers(), b"x")

    assert (refused.status, refused.fault.code) == (403, "AccessDenied")
    assert store.ask("POST", "/bucket/k?uploads", key.headers()).status == 403
    assert store.ask("PUT", "/bucket/k", {}, b"x").status == 200


def test_buckets_are_listed_in_pages(store):
    for name in ("one", "two", "three"):
        store.ask("PUT", f"/{name}")

    client = store.client()
    first = client.list_buckets(MaxBuckets=2)
    rest = client.list_buckets(MaxBuckets=2, ContinuationToken=first["ContinuationToken"])
    some = client.list_buckets(Prefix="t")

    assert [row["Name"] for row in first["Buckets"]] == ["one", "three"]
    assert [row["Name"] for row in rest["Buckets"]] == ["two"]
    assert [row["Name"] for row in some["Buckets"]] == ["three", "two"]
    assert first["Owner"]["DisplayName"] == "root"


@pytest.mark.parametrize("query", ["max-buckets=0", "max-buckets=10001", "continuation-token=x"])
def test_a_page_of_buckets_that_cannot_be_is_refused(store, query):
    assert store.ask("GET", f"/?{query}").fault.code == "InvalidArgument"


# Whose it is


REQUESTS = [
    ("HEAD", "/alices", b""),
    ("GET", "/alices", b""),
    ("GET", "/alices?list-type=2", b""),
    ("GET", "/alices?versions", b""),
    ("GET", "/alices?uploads", b""),
    ("GET", "/alices?location", b""),
    ("DELETE", "/alices", b""),
    ("GET", "/alices/k", b""),
    ("HEAD", "/alices/k", b""),
    ("PUT", "/alices/k", b"his"),
    ("DELETE", "/alices/k", b""),
    ("POST", "/alices/k?uploads", b""),
    ("PUT", "/alices/k?partNumber=1&uploadId=u", b"x"),
    ("GET", "/alices/k?uploadId=u", b""),
    ("POST", "/alices/k?uploadId=u", b"<a/>"),
    ("DELETE", "/alices/k?uploadId=u", b""),
    ("POST", "/alices?delete", b"<Delete><Object><Key>k</Key></Object></Delete>"),
]


@pytest.mark.parametrize("who", [BOB, None], ids=["another", "nobody"])
@pytest.mark.parametrize(("method", "target", "body"), REQUESTS)
def test_what_is_somebodys_is_nobody_elses(two_users, method, target, body, who):
    before = two_users.remains

    answer = two_users.ask(method, target, {}, body, who=who)

    assert answer.status == 403
    if method != "HEAD":
        assert (answer.fault.code, answer.fault.message) == ("AccessDenied", "Access Denied")
    assert two_users.remains == before
    assert two_users.ask("GET", "/alices/k", who=ALICE).body == b"hers"


def test_a_name_that_is_taken_by_another_is_taken(two_users):
    answer = two_users.ask("PUT", "/alices", who=BOB)

    assert (answer.status, answer.fault.code) == (409, "BucketAlreadyExists")
    assert two_users.ask("GET", "/alices/k", who=ALICE).body == b"hers"


def test_everybody_sees_the_own_buckets(two_users):
    two_users.ask("PUT", "/bobs", who=BOB)

    assert b"<Name>bobs</Name>" in two_users.ask("GET", "/", who=BOB).body
    assert b"alices" not in two_users.ask("GET", "/", who=BOB).body
    assert two_users.ask("GET", "/", who=None).fault.code == "AccessDenied"
    assert two_users.ask("PUT", "/nobodys", who=None).fault.code == "AccessDenied"


def test_root_may_do_everything(two_users):
    assert two_users.ask("GET", "/alices/k").body == b"hers"


def test_an_unknown_access_key_is_refused(bucket):
    fault = bucket.ask("GET", "/bucket", who=("nobody", "secret-of-nobody")).fault

    assert (fault.status, fault.code) == (403, "InvalidAccessKeyId")
    assert fault.fields == {"AWSAccessKeyId": "nobody"}


def test_a_user_who_is_removed_is_unknown_at_once(two_users):
    two_users.run(two_users.catalog.remove_user("alice"))

    assert two_users.ask("GET", "/alices/k", who=ALICE).fault.code == "InvalidAccessKeyId"
    assert two_users.ask("GET", "/alices/k").body == b"hers"


# Addresses


@pytest.mark.parametrize("host", ["bucket.localhost", "bucket.localhost:9000", "BUCKET.LocalHost"])
def test_a_host_may_name_the_bucket(bucket, host):
    bucket.ask("PUT", "/bucket/a/b", {}, b"x")

    assert bucket.ask("GET", "/a/b", host=host).body == b"x"
    assert b"<Name>bucket</Name>" in bucket.ask("GET", "/?list-type=2", host=host).body
    assert bucket.ask("PUT", "/bucket/k", {}, b"y", host=host).status == 200
    assert bucket.ask("GET", "/bucket/bucket/k").body == b"y"


def test_a_bucket_with_dots_may_be_named_by_a_host(store):
    store.ask("PUT", "/my.bucket")
    store.ask("PUT", "/k", {}, b"x", host="my.bucket.localhost")

    assert store.ask("GET", "/my.bucket/k").body == b"x"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9000", "[::1]:9000", "example.org"])
def test_other_hosts_leave_the_bucket_to_the_path(bucket, host):
    bucket.ask("PUT", "/bucket/k", {}, b"x")

    assert bucket.ask("GET", "/bucket/k", host=host).body == b"x"


def test_boto3_addresses_by_host(store, s3):
    client = store.client(host="localhost:9", s3={"addressing_style": "virtual"})
    client.put_object(Bucket="bucket", Key="a b", Body=b"x")

    assert s3.get_object(Bucket="bucket", Key="a b")["Body"].read() == b"x"


# Presigned URLs


def fetch(store, url, method="GET", headers=None, body=b""):
    target = url.partition("://")[2].partition("/")[2]
    return store.ask(method, f"/{target}", headers, body, who=None)


@pytest.fixture
def signer(store):
    return store.client(signature_version="s3v4")


def test_a_presigned_url_needs_nothing_else(bucket, signer):
    # S002.23
    params = {"Bucket": "bucket", "Key": "a b/c"}
    put = signer.generate_presigned_url("put_object", Params=params)
    get = signer.generate_presigned_url("get_object", Params=params)
    head = signer.generate_presigned_url("head_object", Params=params)

    assert fetch(bucket, put, "PUT", body=b"x").status == 200
    assert fetch(bucket, get).body == b"x"
    assert fetch(bucket, head, "HEAD").status == 200
    assert fetch(bucket, get, "DELETE").fault.code == "SignatureDoesNotMatch"


def test_a_presigned_url_under_a_key_needs_its_headers(bucket, signer, key, other_key):
    # S002.20 S002.21 S002.22 S002.24
    params = {"Bucket": "bucket", "Key": "k", **key.options}
    put, get, head = (
        signer.generate_presigned_url(f"{what}_object", Params=params)
        for what in ("put", "get", "head")
    )

    assert fetch(bucket, put, "PUT", key.headers(), b"x").status == 200
    assert fetch(bucket, get, "GET", key.headers()).body == b"x"
    assert fetch(bucket, head, "HEAD", key.headers()).status == 200
    for url in (get, get.partition("?")[0]):
        assert fetch(bucket, url).status in (400, 403)
    assert fetch(bucket, get, "GET", other_key.headers()).status == 403


def test_a_presigned_url_may_be_signed_with_the_algorithm_alone(bucket, signer, key, other_key):
    # S002.21 S002.22: whoever signs the URL need not know the key.
    params = {"Bucket": "bucket", "Key": "k", "SSECustomerAlgorithm": "AES256"}
    put, get, head = (
        signer.generate_presigned_url(f"{what}_object", Params=params)
        for what in ("put", "get", "head")
    )

    assert fetch(bucket, put, "PUT", key.headers(), b"x").status == 200
    assert fetch(bucket, get, "GET", key.headers()).body == b"x"
    assert fetch(bucket, head, "HEAD", key.headers()).status == 200
    assert fetch(bucket, get, "GET", other_key.headers()).status == 403
    assert fetch(bucket, get, "GET", key.headers(key=None)).status == 400
    assert fetch(bucket, get, "GET", key.headers() | {"x-amz-acl": "private"}).status == 403


def test_a_url_that_is_signed_without_sse_c_takes_no_key(bucket, signer, key):
    url = signer.generate_presigned_url("put_object", Params={"Bucket": "bucket", "Key": "k"})

    answer = fetch(bucket, url, "PUT", key.headers(), b"x")

    assert (answer.status, answer.fault.code) == (403, "AccessDenied")


def test_a_plain_url_of_an_object_under_a_key_is_400(bucket, signer, key):
    # S002.24
    bucket.ask("PUT", "/bucket/k", key.headers(), b"x")
    url = signer.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})

    answer = fetch(bucket, url)

    assert (answer.status, answer.fault.code) == (400, "InvalidRequest")


# What means nothing here


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("PATCH", "/bucket/k", "OBJECT"),
        ("POST", "/bucket/k", "OBJECT"),
        ("TRACE", "/bucket", "BUCKET"),
        ("DELETE", "/", "SERVICE"),
        ("POST", "/", "SERVICE"),
    ],
)
def test_a_method_that_means_nothing_is_405(bucket, method, target, kind):
    fault = bucket.ask(method, target).fault

    assert (fault.status, fault.code) == (405, "MethodNotAllowed")
    assert fault.fields["Method"] == method
    assert fault.fields["ResourceType"] == kind


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/bucket/k?torrent"),
        ("POST", "/bucket/k?select&select-type=2"),
        ("POST", "/bucket/k?restore"),
        ("PUT", "/bucket?website"),
        ("PUT", "/bucket?accelerate"),
    ],
)
def test_an_operation_that_is_not_served_is_501(bucket, method, target):
    fault = bucket.ask(method, target).fault

    assert (fault.status, fault.code) == (501, "NotImplemented")


def test_an_unserved_operation_never_falls_through_to_another(bucket):
    bucket.ask("PUT", "/bucket/k", {}, b"x")

    assert bucket.ask("POST", "/bucket/k?restore", {}, b"<a/>").status == 501
    assert bucket.ask("DELETE", "/bucket?website").status == 501
    assert bucket.ask("GET", "/bucket/k").body == b"x"


def test_headers_have_8_kilobytes_at_most(bucket):
    answer = bucket.ask("GET", "/bucket", {"x-amz-meta-a": "a" * 8192})

    assert (answer.status, answer.fault.code) == (400, "RequestHeaderSectionTooLarge")


def test_every_answer_has_its_ids(bucket):
    answers = [bucket.ask(*what) for what in (("GET", "/bucket"), ("HEAD", "/no"), ("GET", "/no"))]

    ids = [answer.headers["x-amz-request-id"] for answer in answers]
    assert len(set(ids)) == 3
    assert all(answer.headers["x-amz-id-2"] for answer in answers)
