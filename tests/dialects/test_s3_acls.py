"""Access control lists, and who owns what others write."""

import base64
import hashlib

import pytest
from botocore.exceptions import ClientError

from strongroom.access import decision, identities
from strongroom.dialects.s3 import services

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
KNOWN = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
OPEN = services.NewBuckets(ownership=decision.Ownership.WRITER, blocks_public=False)
BOB = "bobkey", "bob-secret-key"


@pytest.fixture
def store(make_store):
    """Make a store whose new buckets have lists enabled, and nothing blocked."""
    return make_store(new_buckets=OPEN)


@pytest.fixture
def bob(store):
    store.add_user("bob", *BOB)
    return store.client(*BOB)


@pytest.fixture
def bob_id(bob):
    return bob.list_buckets()["Owner"]["ID"]


def grants_of(answer):
    return [
        (grant["Grantee"].get("ID") or grant["Grantee"]["URI"], grant["Permission"])
        for grant in answer["Grants"]
    ]


def refused(code, call, **options):
    with pytest.raises(ClientError) as caught:
        call(**options)
    assert caught.value.response["Error"]["Code"] == code


ROOT = identities.ROOT_ID


@pytest.mark.parametrize(
    ("canned", "grants"),
    [
        ("private", [(ROOT, "FULL_CONTROL")]),
        ("public-read", [(ALL, "READ"), (ROOT, "FULL_CONTROL")]),
        ("public-read-write", [(ALL, "READ"), (ALL, "WRITE"), (ROOT, "FULL_CONTROL")]),
        ("authenticated-read", [(KNOWN, "READ"), (ROOT, "FULL_CONTROL")]),
    ],
)
def test_canned_lists_are_shown_with_their_grants(s3, canned, grants):
    s3.create_bucket(Bucket="canned", ACL=canned)
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", ACL=canned)
    s3.put_bucket_acl(Bucket="bucket", ACL=canned)

    assert grants_of(s3.get_bucket_acl(Bucket="canned")) == grants
    assert grants_of(s3.get_bucket_acl(Bucket="bucket")) == grants
    assert grants_of(s3.get_object_acl(Bucket="bucket", Key="key")) == grants


def test_a_public_bucket_is_listed_and_a_public_object_read_by_anybody(store, s3):
    s3.put_bucket_acl(Bucket="bucket", ACL="public-read")
    s3.put_object(Bucket="bucket", Key="open", Body=b"x", ACL="public-read")
    s3.put_object(Bucket="bucket", Key="shut", Body=b"x")

    assert store.ask("GET", "/bucket", who=None).status == 200
    assert store.ask("GET", "/bucket/open", who=None).body == b"x"
    assert store.ask("GET", "/bucket/shut", who=None).status == 403
    assert store.ask("GET", "/bucket/nothing", who=None).status == 404
    assert store.ask("PUT", "/bucket/new", body=b"x", who=None).status == 403


def test_lists_come_with_uploads_and_copies_too(store, s3):
    upload = s3.create_multipart_upload(Bucket="bucket", Key="film", ACL="public-read")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="film", UploadId=upload, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(
        Bucket="bucket",
        Key="film",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    source = {"Bucket": "bucket", "Key": "film"}
    s3.copy_object(Bucket="bucket", Key="open", CopySource=source, ACL="public-read")
    s3.copy_object(Bucket="bucket", Key="shut", CopySource=source)

    assert [
        store.ask("GET", f"/bucket/{name}", who=None).status for name in ("film", "open", "shut")
    ] == [200, 200, 403]


def test_a_list_of_an_object_can_be_replaced_and_its_tags_stay(s3, bob, bob_id):
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", Tagging="a=b")
    s3.put_object_acl(Bucket="bucket", Key="key", GrantRead=f'id="{bob_id}"')

    assert bob.get_object(Bucket="bucket", Key="key")["Body"].read() == b"x"
    refused("AccessDenied", bob.get_object_acl, Bucket="bucket", Key="key")
    assert s3.get_object_tagging(Bucket="bucket", Key="key")["TagSet"] == [
        {"Key": "a", "Value": "b"}
    ]


def test_a_list_is_read_from_a_document(s3, bob, bob_id):
    s3.put_object(Bucket="bucket", Key="key", Body=b"x")
    shown = s3.get_object_acl(Bucket="bucket", Key="key")
    bobs = {"Grantee": {"Type": "CanonicalUser", "ID": bob_id}, "Permission": "READ_ACP"}
    everybodys = {"Grantee": {"Type": "Group", "URI": ALL}, "Permission": "READ"}
    policy = {"Owner": shown["Owner"], "Grants": [*shown["Grants"], bobs, everybodys]}

    s3.put_object_acl(Bucket="bucket", Key="key", AccessControlPolicy=policy)

    assert grants_of(bob.get_object_acl(Bucket="bucket", Key="key")) == [
        (ALL, "READ"),
        (ROOT, "FULL_CONTROL"),
        (bob_id, "READ_ACP"),
    ]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-acl": "public"}, "InvalidArgument"),
        ({"x-amz-acl": "private", "x-amz-grant-read": f'uri="{ALL}"'}, "InvalidRequest"),
        ({"x-amz-grant-read": "somebody"}, "InvalidArgument"),
        ({"x-amz-grant-read": 'id="nobody"'}, "InvalidArgument"),
        ({"x-amz-grant-read": 'uri="http://example.com"'}, "InvalidArgument"),
        ({"x-amz-grant-read": 'emailAddress="a@b.c"'}, "UnresolvableGrantByEmailAddress"),
        ({}, "MissingSecurityHeader"),
    ],
)
@pytest.mark.usefixtures("s3")
def test_a_list_that_means_nothing_is_refused(store, headers, code):
    answer = store.ask("PUT", "/bucket?acl", headers)

    assert answer.fault.code == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<AccessControlPolicy/>", "MalformedACLError"),
        (b"<AccessControlPolicy><Owner><ID>x</ID></Owner></AccessControlPolicy>", "AccessDenied"),
        (b"<Other/>", "MalformedXML"),
    ],
)
@pytest.mark.usefixtures("s3")
def test_a_document_that_is_no_list_is_refused(store, body, code):
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    assert store.ask("PUT", "/bucket?acl", {"content-md5": md5}, body).fault.code == code


def test_a_document_needs_no_digest(store, s3):
    """s3cmd sends none with lists, and copies them along with objects."""
    s3.put_bucket_acl(Bucket="bucket", ACL="public-read")
    shown = store.ask("GET", "/bucket?acl")
    s3.put_object(Bucket="bucket", Key="k", Body=b"x")

    told = store.ask("PUT", "/bucket/k?acl", {"content-type": "application/xml"}, shown.body)

    assert told.status == 200
    assert grants_of(s3.get_object_acl(Bucket="bucket", Key="k")) == grants_of(
        s3.get_bucket_acl(Bucket="bucket")
    )


def test_what_others_write_is_theirs(s3, bob, bob_id):
    s3.put_bucket_acl(Bucket="bucket", GrantWrite=f'id="{bob_id}"')

    bob.put_object(Bucket="bucket", Key="theirs", Body=b"x")

    assert bob.get_object(Bucket="bucket", Key="theirs")["Body"].read() == b"x"
    assert bob.get_object_acl(Bucket="bucket", Key="theirs")["Owner"]["ID"] == bob_id
    refused("AccessDenied", bob.list_objects_v2, Bucket="bucket")


@pytest.mark.parametrize(
    ("ownership", "canned", "bobs"),
    [
        ("ObjectWriter", "bucket-owner-full-control", True),
        ("BucketOwnerPreferred", "private", True),
        ("BucketOwnerPreferred", "bucket-owner-full-control", False),
        ("BucketOwnerEnforced", "bucket-owner-full-control", False),
    ],
)
def test_ownership_decides_whose_a_new_object_is(s3, bob, bob_id, ownership, canned, bobs):
    s3.put_bucket_acl(Bucket="bucket", ACL="private")
    rules = {"Rules": [{"ObjectOwnership": ownership}]}
    s3.put_bucket_ownership_controls(Bucket="bucket", OwnershipControls=rules)
    policy = (
        '{"Statement": {"Effect": "Allow", "Principal": {"AWS": "%s"},'
        ' "Action": ["s3:PutObject", "s3:PutObjectAcl"], "Resource": "arn:aws:s3:::bucket/*"}}'
    )
    s3.put_bucket_policy(Bucket="bucket", Policy=policy % bob_id)

    bob.put_object(Bucket="bucket", Key="key", Body=b"x", ACL=canned)

    owner = s3.get_object_acl(Bucket="bucket", Key="key")["Owner"]["ID"]
    assert owner == (bob_id if bobs else ROOT)
    shown = s3.get_bucket_ownership_controls(Bucket="bucket")["OwnershipControls"]
    assert shown == rules


def test_where_lists_are_disabled_nothing_else_than_full_control_can_be_set(make_store):
    s3 = make_store().client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", ACL="bucket-owner-full-control")
    s3.put_bucket_acl(Bucket="bucket", ACL="bucket-owner-full-control")
    s3.put_object_acl(Bucket="bucket", Key="key", ACL="bucket-owner-full-control")

    code = "AccessControlListNotSupported"
    for canned in ("private", "public-read"):
        refused(code, s3.put_object, Bucket="bucket", Key="key", ACL=canned)
        refused(code, s3.put_bucket_acl, Bucket="bucket", ACL=canned)
        refused(code, s3.put_object_acl, Bucket="bucket", Key="key", ACL=canned)
    shown = s3.get_bucket_acl(Bucket="bucket")
    s3.put_bucket_acl(
        Bucket="bucket", AccessControlPolicy={n: shown[n] for n in ("Owner", "Grants")}
    )
    controls = s3.get_bucket_ownership_controls(Bucket="bucket")["OwnershipControls"]
    assert controls["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_a_bucket_is_made_with_lists_where_it_asks_for_them(make_store):
    s3 = make_store().client()
    refused(
        "InvalidBucketAclWithObjectOwnership", s3.create_bucket, Bucket="b-a", ACL="public-read"
    )
    refused(
        "InvalidBucketAclWithBlockPublicAccessError",
        s3.create_bucket,
        Bucket="b-a",
        ACL="public-read",
        ObjectOwnership="ObjectWriter",
    )

    s3.create_bucket(Bucket="b-a", ACL="private", ObjectOwnership="BucketOwnerPreferred")

    refused("AccessDenied", s3.put_bucket_acl, Bucket="b-a", ACL="public-read")
    refused("InvalidArgument", s3.create_bucket, Bucket="b-b", ObjectOwnership="Nobody")


def test_public_lists_can_be_blocked_and_ignored(store, s3):
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", ACL="public-read")
    s3.put_public_access_block(
        Bucket="bucket",
        PublicAccessBlockConfiguration={"BlockPublicAcls": True, "IgnorePublicAcls": True},
    )

    assert store.ask("GET", "/bucket/key", who=None).status == 403
    for canned in ("public-read", "public-read-write", "authenticated-read"):
        refused("AccessDenied", s3.put_object, Bucket="bucket", Key="key", ACL=canned)
        refused("AccessDenied", s3.put_object_acl, Bucket="bucket", Key="key", ACL=canned)
        refused("AccessDenied", s3.put_bucket_acl, Bucket="bucket", ACL=canned)
    s3.put_object(Bucket="bucket", Key="key", Body=b"x", ACL="private")


def test_lists_that_grant_something_cannot_be_disabled(s3):
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.put_bucket_acl(Bucket="bucket", ACL="public-read")

    refused(
        "InvalidBucketAclWithObjectOwnership",
        s3.put_bucket_ownership_controls,
        Bucket="bucket",
        OwnershipControls=rules,
    )

    s3.put_bucket_acl(Bucket="bucket", ACL="private")
    s3.put_bucket_ownership_controls(Bucket="bucket", OwnershipControls=rules)
    s3.delete_bucket_ownership_controls(Bucket="bucket")
    refused("OwnershipControlsNotFoundError", s3.get_bucket_ownership_controls, Bucket="bucket")


@pytest.mark.parametrize("rules", [[], [{"ObjectOwnership": "Nobody"}]])
def test_ownership_has_one_rule_of_a_known_kind(s3, rules):
    refused(
        "MalformedXML",
        s3.put_bucket_ownership_controls,
        Bucket="bucket",
        OwnershipControls={"Rules": rules},
    )


def test_creating_a_bucket_again_resets_its_list(s3):
    s3.put_bucket_acl(Bucket="bucket", ACL="public-read")

    s3.create_bucket(Bucket="bucket")

    assert grants_of(s3.get_bucket_acl(Bucket="bucket")) == [(ROOT, "FULL_CONTROL")]


def test_what_nobody_signed_for_belongs_to_nobody(store, s3):
    s3.put_bucket_acl(Bucket="bucket", ACL="public-read-write")

    assert store.ask("PUT", "/bucket/new", body=b"x", who=None).status == 200

    listed = s3.list_objects(Bucket="bucket")["Contents"][0]["Owner"]
    assert listed == {"ID": identities.ANONYMOUS_ID, "DisplayName": "anonymous"}
    assert store.ask("GET", "/bucket/new", who=None).status == 403
