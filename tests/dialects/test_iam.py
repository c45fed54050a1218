"""IAM and STS as boto3 speaks them, and what their policies do to S3."""

import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from strongroom import errors
from strongroom.access import identities, sessions

ALICE = "alicekey", "alice-secret"
BOB = "bobkey", "bob-secret-key"
SESSION = boto3.session.Session()


class Clock:
    now_ms = 1_800_000_000_000

    def __call__(self):
        return self.now_ms


def connect(store, service, access_key, secret_key, token=None):
    return store.query_client(service, access_key, secret_key, token)


@pytest.fixture
def iam(store):
    store.add_user("alice", *ALICE)
    return connect(store, "iam", *ALICE)


@pytest.fixture
def s3(store, iam):  # noqa: ARG001 - alice has to be there
    client = store.client(*ALICE)
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="key", Body=b"body")
    return client


@pytest.fixture
def bob(iam):
    """Alice's user, with the keys that are proven by."""
    user = iam.create_user(UserName="bob")["User"]
    made = iam.create_access_key(UserName="bob")["AccessKey"]
    return user, (made["AccessKeyId"], made["SecretAccessKey"])


def policy(*actions, resource="*", effect="Allow", **more):
    statement = {"Effect": effect, "Action": list(actions), "Resource": resource} | more
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(principal, **more):
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"} | more
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def refused(code, call, **options):
    with pytest.raises(ClientError) as caught:
        call(**options)
    assert caught.value.response["Error"]["Code"] == code


def read(client):
    return client.get_object(Bucket="bucket", Key="key")["Body"].read()


# Users and their keys


def test_a_user_is_made_shown_renamed_and_removed(iam):
    made = iam.create_user(UserName="bob", Path="/team/", Tags=[{"Key": "a", "Value": "b"}])["User"]
    assert made["Arn"].endswith(":user/team/bob")
    assert iam.get_user(UserName="BOB")["User"] == made
    refused("EntityAlreadyExists", iam.create_user, UserName="Bob")

    iam.update_user(UserName="bob", NewUserName="robert", NewPath="/")

    assert [user["UserName"] for user in iam.list_users()["Users"]] == ["robert"]
    assert iam.list_users(PathPrefix="/team/")["Users"] == []
    assert iam.list_user_tags(UserName="robert")["Tags"] == [{"Key": "a", "Value": "b"}]
    iam.delete_user(UserName="robert")
    refused("NoSuchEntity", iam.get_user, UserName="robert")


def test_the_owner_of_an_account_is_its_root(store, iam):
    account = connect(store, "sts", *ALICE).get_caller_identity()

    assert account["Arn"] == f"arn:aws:iam::{account['Account']}:root"
    assert iam.get_user()["User"]["Arn"] == account["Arn"]


def test_accounts_do_not_see_each_other(store, iam, bob):  # noqa: ARG001 - bob is there
    store.add_user("eve", "evekey", "eve-secret-key")
    eve = connect(store, "iam", "evekey", "eve-secret-key")

    assert eve.list_users()["Users"] == []
    refused("NoSuchEntity", eve.get_user, UserName="bob")
    refused("NoSuchEntity", eve.create_access_key, UserName="bob")


def test_root_has_users_too(store):
    iam = connect(store, "iam", "rootaccess", "root-secret-for-tests")
    store.ask("PUT", "/rooted")
    iam.create_user(UserName="bob")
    made = iam.create_access_key(UserName="bob")["AccessKey"]
    keys = made["AccessKeyId"], made["SecretAccessKey"]

    assert store.ask("GET", "/rooted", who=keys).status == 403
    iam.put_user_policy(UserName="bob", PolicyName="p", PolicyDocument=policy("s3:ListBucket"))
    assert store.ask("GET", "/rooted", who=keys).status == 200


def test_access_keys_are_rotated(store, iam, s3, bob):
    iam.attach_user_policy(
        UserName="bob", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    )
    _, old = bob
    new = iam.create_access_key(UserName="bob")["AccessKey"]
    refused("LimitExceeded", iam.create_access_key, UserName="bob")

    iam.update_access_key(UserName="bob", AccessKeyId=old[0], Status="Inactive")

    assert read(store.client(new["AccessKeyId"], new["SecretAccessKey"])) == b"body"
    refused("InvalidAccessKeyId", store.client(*old).list_buckets)
    found = iam.list_access_keys(UserName="bob")["AccessKeyMetadata"]
    assert {each["AccessKeyId"]: each["Status"] for each in found} == {
        old[0]: "Inactive",
        new["AccessKeyId"]: "Active",
    }
    iam.delete_access_key(UserName="bob", AccessKeyId=old[0])
    refused("NoSuchEntity", iam.delete_access_key, UserName="bob", AccessKeyId=old[0])
    assert read(s3) == b"body"


def test_nobody_removes_the_keys_of_another_user(iam, bob):
    iam.create_user(UserName="carol")

    refused("NoSuchEntity", iam.delete_access_key, UserName="carol", AccessKeyId=bob[1][0])


@pytest.mark.parametrize(
    ("name", "path"), [("a b", "/"), ("a" * 65, "/"), ("ok", "no"), ("ok", "/no"), ("ok", "/ /")]
)
def test_names_and_paths_have_a_form(iam, name, path):
    refused("ValidationError", iam.create_user, UserName=name, Path=path)


def test_what_something_hangs_on_is_not_removed(iam, bob):  # noqa: ARG001 - bob has a key
    refused("DeleteConflict", iam.delete_user, UserName="bob")
    iam.create_group(GroupName="team")
    iam.add_user_to_group(GroupName="team", UserName="bob")
    refused("DeleteConflict", iam.delete_group, GroupName="team")


# What they may do


def test_a_user_may_do_what_its_policies_allow(store, iam, s3, bob):
    mine = store.client(*bob[1])
    refused("AccessDenied", mine.get_object, Bucket="bucket", Key="key")
    refused("AccessDenied", mine.list_buckets)

    iam.put_user_policy(UserName="bob", PolicyName="read", PolicyDocument=policy("s3:GetObject"))

    assert read(mine) == b"body"
    refused("AccessDenied", mine.put_object, Bucket="bucket", Key="key", Body=b"x")
    iam.put_user_policy(
        UserName="bob",
        PolicyName="not",
        PolicyDocument=policy("s3:*", effect="Deny", resource="arn:aws:s3:::bucket/key"),
    )
    refused("AccessDenied", mine.get_object, Bucket="bucket", Key="key")
    iam.delete_user_policy(UserName="bob", PolicyName="not")
    assert read(mine) == b"body"
    assert iam.list_user_policies(UserName="bob")["PolicyNames"] == ["read"]
    shown = iam.get_user_policy(UserName="bob", PolicyName="read")["PolicyDocument"]
    assert shown == json.loads(policy("s3:GetObject"))
    assert read(s3) == b"body"


def test_a_user_makes_buckets_for_the_account(store, iam, s3, bob):
    mine = store.client(*bob[1])
    refused("AccessDenied", mine.create_bucket, Bucket="new")

    only = policy("s3:CreateBucket", "s3:ListAllMyBuckets", resource="arn:aws:s3:::new*")
    iam.put_user_policy(UserName="bob", PolicyName="p", PolicyDocument=only)

    refused("AccessDenied", mine.create_bucket, Bucket="other")
    mine.create_bucket(Bucket="new")
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["bucket", "new"]
    refused("AccessDenied", mine.list_objects_v2, Bucket="new")


def test_groups_and_managed_policies_permit_as_well(store, iam, s3, bob):
    mine = store.client(*bob[1])
    made = iam.create_policy(PolicyName="readers", PolicyDocument=policy("s3:GetObject"))["Policy"]
    iam.create_group(GroupName="team")
    iam.attach_group_policy(GroupName="team", PolicyArn=made["Arn"])
    refused("AccessDenied", mine.get_object, Bucket="bucket", Key="key")

    iam.add_user_to_group(GroupName="team", UserName="bob")

    assert read(mine) == b"body"
    assert [each["GroupName"] for each in iam.list_groups_for_user(UserName="bob")["Groups"]] == [
        "team"
    ]
    refused("DeleteConflict", iam.delete_policy, PolicyArn=made["Arn"])
    iam.remove_user_from_group(GroupName="team", UserName="bob")
    refused("AccessDenied", mine.get_object, Bucket="bucket", Key="key")
    iam.detach_group_policy(GroupName="team", PolicyArn=made["Arn"])
    iam.delete_policy(PolicyArn=made["Arn"])
    refused("NoSuchEntity", iam.get_policy, PolicyArn=made["Arn"])
    assert read(s3) == b"body"


def test_within_the_account_the_buckets_policy_is_enough(store, s3, bob):
    named = json.loads(policy("s3:GetObject", resource="arn:aws:s3:::bucket/*"))
    named["Statement"][0]["Principal"] = {"AWS": bob[0]["Arn"]}

    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps(named))

    assert read(store.client(*bob[1])) == b"body"


def test_across_accounts_both_sides_have_to_agree(store, iam, bob):
    mine = store.client(*bob[1])
    store.add_user("eve", "evekey", "eve-secret-key")
    eve = store.client("evekey", "eve-secret-key")
    eve.create_bucket(Bucket="eves")
    eve.put_object(Bucket="eves", Key="key", Body=b"body")
    for principal in (bob[0]["Arn"], bob[0]["Arn"].split(":")[4]):
        shared = json.loads(policy("s3:GetObject", resource="arn:aws:s3:::eves/*"))
        shared["Statement"][0]["Principal"] = {"AWS": principal}
        eve.put_bucket_policy(Bucket="eves", Policy=json.dumps(shared))
        refused("AccessDenied", mine.get_object, Bucket="eves", Key="key")

        iam.put_user_policy(UserName="bob", PolicyName="p", PolicyDocument=policy("s3:GetObject"))

        assert mine.get_object(Bucket="eves", Key="key")["Body"].read() == b"body"
        iam.delete_user_policy(UserName="bob", PolicyName="p")
    assert store.client(*ALICE).get_object(Bucket="eves", Key="key")["Body"].read() == b"body"


def test_a_user_cannot_change_a_policy_that_denies_it(store, iam, s3, bob):
    iam.put_user_policy(UserName="bob", PolicyName="all", PolicyDocument=policy("s3:*"))
    deny = json.loads(policy("s3:*", effect="Deny", resource="arn:aws:s3:::bucket"))
    deny["Statement"][0]["Principal"] = "*"
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps(deny))

    refused("AccessDenied", store.client(*bob[1]).delete_bucket_policy, Bucket="bucket")
    s3.delete_bucket_policy(Bucket="bucket")


def test_a_user_administers_only_what_its_policies_allow(store, iam, bob):
    mine = connect(store, "iam", *bob[1])
    for call, options in (
        (mine.list_users, {}),
        (mine.create_user, {"UserName": "carol"}),
        (mine.create_access_key, {}),
        (mine.put_user_policy, {"UserName": "bob", "PolicyName": "p", "PolicyDocument": policy("*")}),
    ):  # fmt: skip
        refused("AccessDenied", call, **options)

    only_self = policy("iam:*AccessKey*", "iam:GetUser", resource=bob[0]["Arn"])
    iam.put_user_policy(UserName="bob", PolicyName="self", PolicyDocument=only_self)

    assert mine.get_user()["User"]["Arn"] == bob[0]["Arn"]
    assert len(mine.list_access_keys()["AccessKeyMetadata"]) == 1
    iam.create_user(UserName="carol")
    refused("AccessDenied", mine.create_access_key, UserName="carol")


@pytest.mark.parametrize(
    "text", ["{", "[]", policy("nonsense"), policy("s3:*", effect="Maybe"), trust("*")]
)
def test_a_malformed_policy_is_refused(iam, bob, text):  # noqa: ARG001 - bob is there
    for call, options in (
        (iam.put_user_policy, {"UserName": "bob", "PolicyName": "p"}),
        (iam.create_policy, {"PolicyName": "p"}),
    ):
        refused("MalformedPolicyDocument", call, PolicyDocument=text, **options)


# Sessions


def test_a_session_token_stands_for_the_user(store, iam, s3, bob):  # noqa: ARG001 - the bucket is there
    iam.put_user_policy(UserName="bob", PolicyName="p", PolicyDocument=policy("s3:GetObject"))
    made = connect(store, "sts", *bob[1]).get_session_token()["Credentials"]
    keys = made["AccessKeyId"], made["SecretAccessKey"]

    assert read(temporary(store, made)) == b"body"
    who = connect(store, "sts", *keys, made["SessionToken"]).get_caller_identity()
    assert who["Arn"] == bob[0]["Arn"]
    refused("InvalidAccessKeyId", store.client(*keys).list_buckets)
    bent = {**made, "SessionToken": "A" + made["SessionToken"][1:]}
    refused("InvalidToken", temporary(store, bent).list_buckets)
    other = {**made, "AccessKeyId": bob[1][0], "SecretAccessKey": bob[1][1]}
    refused("InvalidToken", temporary(store, other).list_buckets)
    again = connect(store, "sts", *keys, made["SessionToken"])
    refused("AccessDenied", again.get_session_token)


def temporary(store, made):
    client = SESSION.client(
        "s3",
        endpoint_url="https://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id=made["AccessKeyId"],
        aws_secret_access_key=made["SecretAccessKey"],
        aws_session_token=made["SessionToken"],
        config=Config(retries={"max_attempts": 1, "mode": "standard"}),
    )
    client.meta.events.register("before-send.s3", store.answer)
    return client


def test_a_session_ends_with_its_user_and_with_its_time(make_store):
    clock = Clock()
    store = make_store(clock_ms=clock)
    people = store.core.people
    store.add_user("alice", *ALICE)
    accounts = people.members
    alice = store.run(people.find(ALICE[0])).principal.user_id
    bob = store.run(accounts.add(alice, "user", "bob"))
    secret_key = identities.new_secret_key(bytes)
    session = sessions.Session(alice, bob.row.entity_id, "", "", clock.now_ms + 1000, secret_key)
    key, token = people.begin_session(session)

    found = store.run(people.find(key, token, now_ms=clock.now_ms))
    assert (found.principal.member.name, found.secret_key) == ("bob", secret_key)
    with pytest.raises(errors.TokenExpired):
        store.run(people.find(key, token, now_ms=clock.now_ms + 1000))
    store.run(accounts.remove(alice, "user", "bob"))
    with pytest.raises(errors.TokenInvalid):
        store.run(people.find(key, token, now_ms=clock.now_ms))


# Roles


def test_a_role_is_assumed_by_whom_it_trusts(store, iam, s3, bob):  # noqa: ARG001 - the bucket is there
    sts = connect(store, "sts", *bob[1])
    arn = iam.create_role(
        RoleName="reader", AssumeRolePolicyDocument=trust({"AWS": bob[0]["Arn"]})
    )["Role"]["Arn"]
    iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=policy("s3:GetObject"))

    answer = sts.assume_role(RoleArn=arn, RoleSessionName="session")

    made = answer["Credentials"]
    assert answer["AssumedRoleUser"]["Arn"].endswith(":assumed-role/reader/session")
    assert read(temporary(store, made)) == b"body"
    refused("AccessDenied", temporary(store, made).list_objects_v2, Bucket="bucket")
    refused(
        "AccessDenied", sts.assume_role, RoleArn=arn.replace("reader", "none"), RoleSessionName="ss"
    )
    store.add_user("eve", "evekey", "eve-secret-key")
    eve = connect(store, "sts", "evekey", "eve-secret-key")
    refused("AccessDenied", eve.assume_role, RoleArn=arn, RoleSessionName="session")


def test_trust_in_an_account_is_for_that_account_to_hand_out(store, iam, bob):
    account = bob[0]["Arn"].split(":")[4]
    sts = connect(store, "sts", *bob[1])
    arn = iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust({"AWS": account}))["Role"]["Arn"]  # fmt: skip
    refused("AccessDenied", sts.assume_role, RoleArn=arn, RoleSessionName="session")

    iam.put_user_policy(
        UserName="bob", PolicyName="p", PolicyDocument=policy("sts:AssumeRole", resource=arn)
    )

    assert sts.assume_role(RoleArn=arn, RoleSessionName="session")["Credentials"]


def test_limits_of_a_session_only_narrow(store, iam, s3, bob):
    sts = connect(store, "sts", *bob[1])
    arn = iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust({"AWS": bob[0]["Arn"]}))[
        "Role"
    ]["Arn"]
    iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=policy("s3:GetObject"))
    wider = sts.assume_role(
        RoleArn=arn, RoleSessionName="session", Policy=policy("s3:GetObject", "s3:ListBucket")
    )["Credentials"]
    narrower = sts.assume_role(
        RoleArn=arn, RoleSessionName="session", Policy=policy("s3:ListBucket")
    )["Credentials"]

    assert read(temporary(store, wider)) == b"body"
    refused("AccessDenied", temporary(store, wider).list_objects_v2, Bucket="bucket")
    refused("AccessDenied", temporary(store, narrower).get_object, Bucket="bucket", Key="key")
    assert read(s3) == b"body"


def test_sessions_last_as_long_as_the_role_lets_them(store, iam, bob):
    arn = iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust({"AWS": bob[0]["Arn"]}))[
        "Role"
    ]["Arn"]
    sts = connect(store, "sts", *bob[1])

    refused(
        "ValidationError",
        sts.assume_role,
        RoleArn=arn,
        RoleSessionName="session",
        DurationSeconds=3601,
    )


# The protocol


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"Action=Nothing&Version=2010-05-08", "InvalidAction"),
        (b"", "InvalidAction"),
        (b"Action=ListUsers&Action=ListUsers", "MalformedQueryString"),
        (b"Action", "MalformedQueryString"),
        (b"%ff=%ff", "MalformedQueryString"),
        (b"a=" + b"x" * 300_000, "ValidationError"),
        (b"Action=ListUsers&MaxItems=0", "ValidationError"),
        (b"Action=GetRole", "ValidationError"),
    ],
)
def test_a_form_that_means_nothing_is_refused(iam, body, code):
    iam.meta.events.register("before-call.iam", lambda params, **_: params.update(body=body))

    refused(code, iam.list_users)


def test_nobody_unknown_is_answered(store, iam):  # noqa: ARG001 - there is an account
    refused("InvalidClientTokenId", connect(store, "iam", "NOBODY", "wrong-secret").list_users)
    refused("SignatureDoesNotMatch", connect(store, "iam", ALICE[0], "wrong-secret").list_users)


def test_lists_come_in_pages(iam):
    for number in range(5):
        iam.create_user(UserName=f"user{number}")

    pages = list(iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 2}))

    assert [[user["UserName"] for user in page["Users"]] for page in pages] == [
        ["user0", "user1"],
        ["user2", "user3"],
        ["user4"],
    ]


# What would narrow rights is never ignored


@pytest.mark.parametrize(
    "options",
    [
        {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]},
        {"Tags": [{"Key": "team", "Value": "a"}]},
        {"TransitiveTagKeys": ["team"]},
        {"SourceIdentity": "somebody"},
    ],
)
def test_a_session_is_not_begun_without_the_limits_it_asks_for(store, iam, options):
    account = connect(store, "sts", *ALICE).get_caller_identity()["Account"]
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust({"AWS": account}))["Role"]
    sts = connect(store, "sts", *ALICE)

    refused(
        "ValidationError", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="ss", **options
    )


def test_nobody_is_made_without_the_boundary_that_is_asked_for(iam):
    boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    refused("ValidationError", iam.create_user, UserName="eve", PermissionsBoundary=boundary)
    refused(
        "ValidationError",
        iam.create_role,
        RoleName="r",
        AssumeRolePolicyDocument=trust({"AWS": "*"}),
        PermissionsBoundary=boundary,
    )
    refused("NoSuchEntity", iam.get_user, UserName="eve")


# What making a bucket again does to its access list


GRANT = {"GrantRead": f'id="{identities.ROOT_ID}"'}


def test_making_a_bucket_again_needs_what_setting_its_list_needs(store, iam, bob):
    mine, bobs = store.client(*ALICE), store.client(*bob[1])
    mine.create_bucket(Bucket="lists", ObjectOwnership="ObjectWriter")
    before = mine.get_bucket_acl(Bucket="lists")["Grants"]
    again = {"Bucket": "lists", "ObjectOwnership": "ObjectWriter", **GRANT}

    iam.put_user_policy(
        UserName="bob",
        PolicyName="p",
        PolicyDocument=policy("s3:CreateBucket", "s3:PutBucketOwnershipControls"),
    )
    refused("AccessDenied", bobs.create_bucket, **again)

    iam.put_user_policy(UserName="bob", PolicyName="p", PolicyDocument=policy("s3:*"))
    deny = policy(
        "s3:PutBucketAcl",
        resource="arn:aws:s3:::lists",
        effect="Deny",
        Principal={"AWS": bob[0]["Arn"]},
    )
    mine.put_bucket_policy(Bucket="lists", Policy=deny)
    refused("AccessDenied", bobs.create_bucket, **again)
    assert mine.get_bucket_acl(Bucket="lists")["Grants"] == before

    mine.delete_bucket_policy(Bucket="lists")
    bobs.create_bucket(**again)
    assert mine.get_bucket_acl(Bucket="lists")["Grants"] != before
    mine.create_bucket(Bucket="lists")
    assert mine.get_bucket_acl(Bucket="lists")["Grants"] == before


def test_a_list_and_an_ownership_of_a_new_bucket_need_their_own_permission(store, iam, bob):
    bobs = store.client(*bob[1])
    for action, given in (
        ("s3:PutBucketAcl", {"ACL": "private"}),
        ("s3:PutBucketOwnershipControls", {"ObjectOwnership": "ObjectWriter"}),
    ):
        iam.put_user_policy(
            UserName="bob", PolicyName="p", PolicyDocument=policy("s3:CreateBucket")
        )
        refused("AccessDenied", bobs.create_bucket, Bucket="new-bucket", **given)
        iam.put_user_policy(
            UserName="bob", PolicyName="p", PolicyDocument=policy("s3:CreateBucket", action)
        )
        bobs.create_bucket(Bucket="new-bucket", **given)
        store.client(*ALICE).delete_bucket(Bucket="new-bucket")


# Who administers users is judged by what is really done, and on all that is known of it


def allow_bob(iam, *statements):
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    iam.put_user_policy(UserName="bob", PolicyName="p", PolicyDocument=document)


ALL_OF_IAM = {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}


def test_an_empty_name_is_judged_as_the_user_it_means(store, iam, bob):
    deny = {"Effect": "Deny", "Action": "iam:ListAccessKeys", "Resource": bob[0]["Arn"]}
    allow_bob(iam, ALL_OF_IAM, deny)
    mine = connect(store, "iam", *bob[1])
    refused("AccessDenied", mine.list_access_keys)
    mine.meta.events.register(
        "before-call.iam", lambda params, **_: params["body"].update(UserName="")
    )
    refused("AccessDenied", mine.list_access_keys)


@pytest.mark.parametrize("new", [{"NewUserName": "carol"}, {"NewPath": "/admins/"}])
def test_renaming_needs_permission_on_both_names(store, iam, bob, new):
    allow_bob(iam, {"Effect": "Allow", "Action": "iam:UpdateUser", "Resource": bob[0]["Arn"]})
    mine = connect(store, "iam", *bob[1])

    refused("AccessDenied", mine.update_user, UserName="bob", **new)

    allow_bob(iam, {"Effect": "Allow", "Action": "iam:UpdateUser", "Resource": "*"})
    mine.update_user(UserName="bob", **new)


def test_which_policy_is_attached_can_be_limited(store, iam, bob):
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    limits = {"Condition": {"ArnNotEquals": {"iam:PolicyARN": admin}}}
    allow_bob(iam, ALL_OF_IAM | limits)
    mine = connect(store, "iam", *bob[1])

    refused("AccessDenied", mine.attach_user_policy, UserName="bob", PolicyArn=admin)
    mine.attach_user_policy(UserName="bob", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")


@pytest.mark.parametrize(
    "condition",
    [
        {"Bool": {"aws:SecureTransport": "true"}},
        {"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}},
        {"NumericGreaterThan": {"aws:EpochTime": "1"}},
        {"StringLike": {"aws:UserAgent": "*"}},
        {"StringEquals": {"aws:PrincipalTag/team": "a"}},
        {"StringEquals": {"aws:ResourceTag/team": "a"}},
        {"StringEquals": {"aws:PrincipalType": "User"}},
    ],
)
def test_denies_under_conditions_hold_for_iam(store, iam, bob, condition):
    iam.tag_user(UserName="bob", Tags=[{"Key": "team", "Value": "a"}])
    allow_bob(iam, ALL_OF_IAM)
    mine = connect(store, "iam", *bob[1])
    mine.get_user(UserName="bob")

    deny = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}
    allow_bob(iam, ALL_OF_IAM, deny)

    refused("AccessDenied", mine.get_user, UserName="bob")


def test_tags_that_a_request_brings_can_be_denied(store, iam, bob):
    condition = {"StringEquals": {"aws:RequestTag/team": "admins"}}
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}
    allow_bob(iam, ALL_OF_IAM, deny)
    mine = connect(store, "iam", *bob[1])

    mine.tag_user(UserName="bob", Tags=[{"Key": "team", "Value": "b"}])
    tags = [{"Key": "team", "Value": "admins"}]
    refused("AccessDenied", mine.tag_user, UserName="bob", Tags=tags)


def test_denies_under_conditions_hold_for_roles(store, iam, bob):
    sts = connect(store, "sts", *bob[1])
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}
    deny["Condition"] = {"Bool": {"aws:SecureTransport": "true"}}
    allow = json.loads(trust({"AWS": bob[0]["Arn"]}))["Statement"]
    document = json.dumps({"Version": "2012-10-17", "Statement": [*allow, deny]})
    arn = iam.create_role(RoleName="r", AssumeRolePolicyDocument=document)["Role"]["Arn"]

    refused("AccessDenied", sts.assume_role, RoleArn=arn, RoleSessionName="session")
