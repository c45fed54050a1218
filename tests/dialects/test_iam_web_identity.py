"""AssumeRoleWithWebIdentity and identity providers, as boto3 speaks them."""

import datetime as dt
import json
import time

import pytest
from botocore.exceptions import ClientError

from strongroom.access import identities, issuers

ALICE = "alicekey", "alice-secret"
URL = "https://issuer.example/realm"


class World:
    """A store with alice's account in it, which believes an issuer; and that issuer."""

    def __init__(self, make_store, issuer):
        self.issuer = issuer
        # boto3 signs by the clock of this machine; from here on this one stands still.
        self.now_ms = int(time.time()) * 1000
        self.trouble = ""
        self.store = make_store(clock_ms=lambda: self.now_ms, fetch=self.fetch)
        self.store.add_user("alice", *ALICE)
        self.iam = self.store.query_client("iam", *ALICE)
        self.sts = self.store.query_client("sts", "nobody", "nothing")
        made = self.iam.create_open_id_connect_provider(Url=URL, ClientIDList=["strongroom"])
        self.provider = made["OpenIDConnectProviderArn"]
        self.account = self.provider.split(":")[4]

    async def fetch(self, url, _thumbprints):
        if self.trouble:
            raise issuers.IssuerSilent(self.trouble)
        return json.dumps(self.issuer.documents[url.removeprefix(self.issuer.url)]).encode()

    def role(self, name="reader", *, condition=None, allows=("s3:ListAllMyBuckets",), **more):
        statement = {
            "Effect": "Allow",
            "Principal": {"Federated": self.provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": condition or {"StringEquals": {"issuer.example/realm:sub": "ann"}},
        }
        trust = {"Version": "2012-10-17", "Statement": [statement]}
        made = self.iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), **more
        )
        allowed = {"Effect": "Allow", "Action": list(allows), "Resource": "*"}
        self.iam.put_role_policy(
            RoleName=name,
            PolicyName="p",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
        )
        return made["Role"]["Arn"]

    def assume(self, arn, *, token=None, **more):
        return self.sts.assume_role_with_web_identity(
            RoleArn=arn,
            RoleSessionName="session",
            WebIdentityToken=token or self.token(),
            **more,
        )

    def token(self, **changes):
        return self.issuer.token(self.now_ms // 1000, **changes)

    def of(self, answer):
        found = answer["Credentials"]
        return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]


@pytest.fixture
def world(make_store, issuer):
    return World(make_store, issuer)


def refused(code, status, call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    answer = caught.value.response
    assert answer["Error"]["Code"] == code
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
    return answer["Error"]["Message"]


def test_a_token_makes_a_session_of_a_role(world):
    arn = world.role()

    answer = world.assume(arn)

    assert answer["SubjectFromWebIdentityToken"] == "ann"
    assert answer["Audience"] == "strongroom"
    assert answer["Provider"] == world.provider
    assert answer["AssumedRoleUser"]["Arn"] == (
        f"arn:aws:sts::{world.account}:assumed-role/reader/session"
    )
    who = world.store.query_client("sts", *world.of(answer)).get_caller_identity()
    assert who["Arn"] == answer["AssumedRoleUser"]["Arn"]


def test_the_session_may_do_what_the_role_may_and_no_more(world):
    world.store.client(*ALICE).create_bucket(Bucket="bucket")
    access_key, secret_key, token = world.of(world.assume(world.role()))
    s3 = world.store.client(access_key, secret_key, token=token)

    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["bucket"]
    refused("AccessDenied", 403, s3.list_objects_v2, Bucket="bucket")


def test_limits_narrow_the_session(world):
    limits = {"Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}
    answer = world.assume(world.role(), Policy=json.dumps(limits))
    access_key, secret_key, token = world.of(answer)
    s3 = world.store.client(access_key, secret_key, token=token)

    assert answer["PackedPolicySize"] > 0
    refused("AccessDenied", 403, s3.list_buckets)


def test_a_session_lasts_as_long_as_is_asked_for_and_the_role_allows(world):
    arn = world.role(MaxSessionDuration=7200)

    def life(**more):
        return (
            world.assume(arn, **more)["Credentials"]["Expiration"].timestamp() - world.now_ms / 1000
        )

    assert life() == 3600
    assert life(DurationSeconds=7200) == 7200
    refused("ValidationError", 400, life, DurationSeconds=7201)


def test_whom_the_role_does_not_trust_is_refused_as_where_there_is_no_role(world):
    arn = world.role()

    trusting = refused("AccessDenied", 403, world.assume, arn, token=world.token(sub="bob"))
    missing = refused("AccessDenied", 403, world.assume, f"{arn}-none")

    assert trusting == missing == "Not authorized to perform sts:AssumeRoleWithWebIdentity"


def test_conditions_see_the_tokens_claims_and_the_sessions_name(world):
    fits = {
        "StringEquals": {
            "issuer.example/realm:aud": "strongroom",
            "sts:RoleSessionName": "session",
        },
        "ForAnyValue:StringEquals": {"issuer.example/realm:amr": "otp"},
    }
    arn = world.role(condition=fits)

    world.assume(arn, token=world.token(amr=["pwd", "otp"]))
    refused("AccessDenied", 403, world.assume, arn, token=world.token(amr=["pwd"]))
    refused("AccessDenied", 403, world.assume, arn)


def test_policies_can_ask_who_vouched_and_when_the_session_began(world):
    world.store.client(*ALICE).create_bucket(Bucket="bucket")

    def sees(condition):
        name = f"r{len(world.iam.list_roles()['Roles'])}"
        arn = world.role(name, allows=("s3:None",))
        allowed = {
            "Effect": "Allow",
            "Action": "s3:ListAllMyBuckets",
            "Resource": "*",
            "Condition": condition,
        }
        world.iam.put_role_policy(
            RoleName=name,
            PolicyName="p",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
        )
        access_key, secret_key, token = world.of(world.assume(arn))
        s3 = world.store.client(access_key, secret_key, token=token)
        try:
            s3.list_buckets()
        except ClientError:
            return False
        return True

    began = dt.datetime.fromtimestamp(world.now_ms / 1000, dt.UTC).isoformat()
    assert sees({"StringEquals": {"aws:FederatedProvider": world.provider}})
    assert sees({"DateEquals": {"aws:TokenIssueTime": began}})
    assert not sees({"DateGreaterThan": {"aws:TokenIssueTime": began}})
    assert sees({"Bool": {"aws:MultiFactorAuthPresent": "false"}})


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"aud": "stranger"}, "InvalidIdentityToken", "Incorrect token audience"),
        ({"exp": 1_000_000_000}, "ExpiredTokenException", "Token expired: current date"),
        ({"iss": "https://other.example"}, "InvalidIdentityToken", "No OpenIDConnect provider"),
        ({"iss": "https://Issuer.example/realm"}, "InvalidIdentityToken", "No OpenIDConnect"),
        ({"headers": {"kid": "none"}}, "InvalidIdentityToken", "Couldn't retrieve verification"),
    ],
    ids=str,
)
def test_a_token_that_proves_nothing_is_refused(world, changes, code, said):
    arn = world.role()

    assert said in refused(code, 400, world.assume, arn, token=world.token(**changes))


def test_what_is_no_token_is_refused(world):
    assert "not a valid JWT" in refused(
        "InvalidIdentityToken", 400, world.assume, world.role(), token="a" * 40
    )


def test_an_issuer_that_is_silent_is_told_apart(world):
    world.trouble = "it does not answer"

    said = refused("IDPCommunicationError", 400, world.assume, world.role())

    assert "https://issuer.example/realm" in said


def test_a_provider_speaks_in_its_own_account_only(world):
    arn = world.role()
    world.store.add_user("bob", "bobkey", "bob-secret-key")
    elsewhere = world.store.query_client("iam", "bobkey", "bob-secret-key")
    other = elsewhere.create_open_id_connect_provider(
        Url="https://other.example", ClientIDList=["strongroom"]
    )["OpenIDConnectProviderArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": other},
        "Action": "sts:AssumeRoleWithWebIdentity",
    }
    world.iam.update_assume_role_policy(
        RoleName="reader",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )

    token = world.token(iss="https://other.example")

    said = refused("InvalidIdentityToken", 400, world.assume, arn, token=token)
    assert said == "No OpenIDConnect provider found in your account for https://other.example"


def test_a_session_ends_with_its_role_but_not_with_the_provider(world):
    sts = world.store.query_client("sts", *world.of(world.assume(world.role())))
    world.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=world.provider)

    sts.get_caller_identity()
    world.iam.delete_role_policy(RoleName="reader", PolicyName="p")
    world.iam.delete_role(RoleName="reader")
    refused("InvalidClientTokenId", 403, sts.get_caller_identity)


@pytest.mark.parametrize("name", ["PolicyArns", "ProviderId"])
def test_what_would_narrow_the_session_and_is_not_served_is_refused(world, name):
    value = [{"arn": "arn:aws:iam::aws:policy/X" * 2}] if name == "PolicyArns" else "accounts.x"

    refused("ValidationError", 400, world.assume, world.role(), **{name: value})


# Providers


def test_a_provider_is_shown_as_it_was_registered(world):
    found = world.iam.get_open_id_connect_provider(OpenIDConnectProviderArn=world.provider)

    assert found["Url"] == "issuer.example/realm"
    assert found["ClientIDList"] == ["strongroom"]
    assert found["ThumbprintList"] == []
    assert world.provider == (f"arn:aws:iam::{world.account}:oidc-provider/issuer.example/realm")
    listed = world.iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    assert listed == [{"Arn": world.provider}]


def test_a_provider_is_changed_and_deleted(world):
    named = {"OpenIDConnectProviderArn": world.provider}
    world.iam.add_client_id_to_open_id_connect_provider(**named, ClientID="other")
    world.iam.add_client_id_to_open_id_connect_provider(**named, ClientID="other")
    world.iam.remove_client_id_from_open_id_connect_provider(**named, ClientID="strongroom")
    world.iam.update_open_id_connect_provider_thumbprint(**named, ThumbprintList=["AB" * 20])
    world.iam.tag_open_id_connect_provider(**named, Tags=[{"Key": "a", "Value": "b"}])
    world.iam.tag_open_id_connect_provider(**named, Tags=[{"Key": "c", "Value": "d"}])
    world.iam.untag_open_id_connect_provider(**named, TagKeys=["a"])

    found = world.iam.get_open_id_connect_provider(**named)
    assert (found["ClientIDList"], found["ThumbprintList"]) == (["other"], ["ab" * 20])
    assert found["Tags"] == [{"Key": "c", "Value": "d"}]
    assert world.iam.list_open_id_connect_provider_tags(**named)["Tags"] == found["Tags"]

    world.iam.delete_open_id_connect_provider(**named)
    world.iam.delete_open_id_connect_provider(**named)
    refused("NoSuchEntity", 404, world.iam.get_open_id_connect_provider, **named)


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"Url": URL}, "EntityAlreadyExists", 409),
        ({"Url": "http://issuer.example"}, "ValidationError", 400),
        ({"Url": "https://issuer.example/?a"}, "ValidationError", 400),
        ({"ClientIDList": ["x" * 256]}, "ValidationError", 400),
        ({"ClientIDList": [str(number) for number in range(101)]}, "LimitExceeded", 409),
        ({"ThumbprintList": ["z" * 40]}, "ValidationError", 400),
        ({"ThumbprintList": [f"{number:040}" for number in range(6)]}, "LimitExceeded", 409),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_provider_that_cannot_be_is_not_registered(world, changes, code, status):
    given = {"Url": "https://new.example", "ClientIDList": ["a"]} | changes

    refused(code, status, world.iam.create_open_id_connect_provider, **given)


def test_an_accounts_users_need_permission_on_the_providers_arn(world):
    world.iam.create_user(UserName="bob")
    made = world.iam.create_access_key(UserName="bob")["AccessKey"]
    statement = {
        "Effect": "Allow",
        "Action": ["iam:GetOpenIDConnectProvider", "iam:CreateOpenIDConnectProvider"],
        "Resource": [world.provider, world.provider.replace("realm", "new")],
    }
    world.iam.put_user_policy(
        UserName="bob",
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    iam = world.store.query_client("iam", made["AccessKeyId"], made["SecretAccessKey"])
    named = {"OpenIDConnectProviderArn": world.provider}

    iam.get_open_id_connect_provider(**named)
    iam.create_open_id_connect_provider(Url="https://issuer.example/new", ClientIDList=["a"])
    denied = [
        (iam.delete_open_id_connect_provider, named),
        (iam.list_open_id_connect_providers, {}),
        (iam.create_open_id_connect_provider, {"Url": "https://issuer.example/other"}),
    ]
    for call, given in denied:
        refused("AccessDenied", 403, call, **given)


def test_root_has_providers_of_its_own(world):
    arn = f"arn:aws:iam::{identities.ROOT.account_id}:role/reader"

    refused("InvalidIdentityToken", 400, world.assume, arn)
