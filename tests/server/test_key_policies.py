"""Key policies are judged as buckets' policies are."""

import json

import pytest

from strongroom import errors
from strongroom.access import identities
from strongroom.dialects import authority
from strongroom.dialects.kms import path, services
from strongroom.keyring import key_access, kms
from strongroom.server import key_service
from strongroom.wire import message

BOB = kms.Caller("bb" * 32, name="bob")
NOW_MS = 1_800_000_000_000
ARN = "arn:aws:kms:us-east-1:000000000000:key/x"
VIA = "s3.us-east-1.amazonaws.com"
ACCOUNT = identities.account_of(BOB.user_id)


def statement(effect="Allow", principal="*", action="kms:Decrypt", **more):
    return {
        "Effect": effect,
        "Principal": principal,
        "Action": action,
        "Resource": "*",
        **more,
    }


def judged(*statements, context=None, via="", caller=BOB):
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    key_service.check_policy(text)
    asked = key_access.Asked(
        "kms:Decrypt",
        key_service.names_of(caller),
        ARN,
        context or {},
        via,
        caller.account_names,
    )
    return key_service.judge(text, asked)


@pytest.mark.parametrize(
    "principal",
    [
        "*",
        {"AWS": "*"},
        {"CanonicalUser": BOB.user_id},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"},
        {"AWS": ["arn:aws:iam::111111111111:root", f"arn:aws:iam::{ACCOUNT}:root"]},
    ],
)
def test_a_principal_is_named_as_in_a_buckets_policy(principal):
    assert judged(statement(principal=principal)) is True


@pytest.mark.parametrize(
    "principal", [{"AWS": "arn:aws:iam::111111111111:root"}, {"CanonicalUser": "cc" * 32}]
)
def test_somebody_else_is_not_named(principal):
    assert judged(statement(principal=principal)) is None


@pytest.mark.parametrize(
    ("condition", "context", "via", "verdict"),
    [
        ({"StringEquals": {"kms:EncryptionContext:Shelf": "attic"}}, {"shelf": "attic"}, "", True),
        ({"StringEquals": {"kms:EncryptionContext:Shelf": "attic"}}, {"shelf": "x"}, "", None),
        ({"StringEquals": {"kms:EncryptionContext:Shelf": "attic"}}, {}, "", None),
        (
            {"StringLike": {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::shelf/*"}},
            {"aws:s3:arn": "arn:aws:s3:::shelf/film"},
            "",
            True,
        ),
        ({"StringEquals": {"kms:ViaService": VIA}}, {}, VIA, True),
        ({"StringEquals": {"kms:ViaService": VIA}}, {}, "", None),
        ({"StringEquals": {"kms:CallerAccount": ACCOUNT}}, {}, "", True),
        (
            {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["a", "b"]}},
            {"a": "1"},
            "",
            True,
        ),
        (
            {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["a", "b"]}},
            {"c": "1"},
            "",
            None,
        ),
    ],
)
def test_a_condition_asks_for_the_context_and_the_way_of_asking(condition, context, via, verdict):
    assert judged(statement(Condition=condition), context=context, via=via) is verdict


def test_a_deny_stands():
    assert judged(statement(), statement("Deny", {"CanonicalUser": BOB.user_id})) is False
    assert judged(statement(), statement("Deny", action="kms:Encrypt")) is True


def test_names_that_differ_in_case_alone_allow_nothing():
    condition = {"StringEquals": {"kms:EncryptionContext:a": "good"}}

    assert judged(statement(Condition=condition), context={"a": "bad", "A": "good"}) is False


def test_what_cannot_be_read_allows_nothing_and_is_not_taken():
    asked = key_access.Asked("kms:Decrypt", key_service.names_of(BOB), ARN, {}, "")
    for text in ("", "{}", json.dumps({"Statement": [statement(action="s3:GetObject")]})):
        assert key_service.judge(text, asked) is False
        with pytest.raises(errors.KmsMalformedPolicy):
            key_service.check_policy(text)


def test_nobody_in_particular_has_no_names():
    assert key_service.names_of(kms.Caller("")) == frozenset()


def test_the_policies_that_keys_are_made_with_are_read():
    key_service.check_policy(key_access.default_policy("000000000000", BOB.user_id))
    key_service.check_policy(key_access.service_policy("000000000000", VIA))
    assert (
        key_service.judge(
            key_access.default_policy("000000000000", BOB.user_id),
            key_access.Asked("kms:Decrypt", key_service.names_of(BOB), ARN, {}, ""),
        )
        is True
    )


@pytest.mark.parametrize("name", ["CreateKey", "ListKeys", "ListAliases", "GenerateRandom"])
def test_what_concerns_no_key_needs_a_policy_of_the_callers_own(name):
    path.check_keyless(name, BOB)
    path.check_keyless(name, kms.Caller(BOB.user_id, permits=lambda *_: True))
    with pytest.raises(errors.KmsAccessDenied):
        path.check_keyless(name, kms.Caller(BOB.user_id, permits=lambda *_: False))


ALLOW_ALL = '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"


def member(arn=ALICE, limits=None):
    """A user in Bob's account who may do everything, or one of their sessions."""
    own = identities.identity_policy(ALLOW_ALL)
    session = None if limits is None else identities.identity_policy(limits)
    found = identities.Member("alice", arn, "AIDAX", "", (own,), session)
    return identities.Principal(BOB.user_id, "bob", member=found)


def request(peer="192.0.2.7"):
    return message.Request("POST", b"/", b"", [], None, secure=True, request_id="0", peer=peer)


def by_s3(principal, peer="192.0.2.7"):
    return authority.key_caller(principal, request(peer), NOW_MS, direct=False)


def by_itself(principal, peer="192.0.2.7"):
    return services.caller(principal, request(peer), NOW_MS)


@pytest.mark.parametrize("caller_of", [by_itself, by_s3])
def test_a_member_is_denied_by_name_and_allowed_as_one_of_the_account(caller_of):
    alice = caller_of(member())
    account = statement(principal={"CanonicalUser": BOB.user_id}, action="kms:*")

    assert judged(account, caller=alice) is True
    assert judged(statement(principal={"AWS": ALICE}), caller=alice) is True
    assert judged(account, statement("Deny", {"AWS": ALICE}), caller=alice) is False
    assert judged(account, statement("Deny", {"AWS": ALICE})) is True
    owner = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"}
    assert judged(statement(principal=owner), caller=alice) is None
    condition = {"StringEquals": {"kms:CallerAccount": ACCOUNT}}
    assert judged(statement(Condition=condition), caller=alice) is True


def test_what_is_granted_to_an_accounts_owner_is_not_granted_to_its_members():
    assert key_service.names_of(by_itself(member())).isdisjoint(key_service.names_of(BOB))


@pytest.mark.parametrize("caller_of", [by_itself, by_s3])
def test_sessions_of_one_role_are_told_apart_by_their_limits(caller_of):
    limits = ALLOW_ALL.replace('"*"', '"s3:*"', 1)
    plain, limited = caller_of(member()), caller_of(member(limits=limits))

    assert plain.who == caller_of(member()).who
    assert limited.who == caller_of(member(limits=limits)).who
    assert plain.who != limited.who


@pytest.mark.parametrize("caller_of", [by_itself, by_s3])
def test_a_deny_of_the_callers_own_is_told_from_silence(caller_of):
    denied = ALLOW_ALL.replace("Allow", "Deny").replace('"*"', '"kms:Decrypt"', 1)
    alice = caller_of(member(limits=denied))

    assert alice.forbids("kms:Decrypt", ARN)
    assert not alice.forbids("kms:Encrypt", ARN)
    assert caller_of(identities.Principal(BOB.user_id, "bob")).forbids is None


WITHIN = '{"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}'


def under(effect, condition=WITHIN):
    """A member who is allowed everything, and something more under a condition."""
    allowed = json.loads(ALLOW_ALL)["Statement"]
    more = {
        "Effect": effect,
        "Action": "kms:*",
        "Resource": "*",
        "Condition": json.loads(condition),
    }
    text = json.dumps({"Statement": [allowed, more] if effect == "Deny" else [more]})
    found = identities.Member("alice", ALICE, "AIDAX", "", (identities.identity_policy(text),))
    return identities.Principal(BOB.user_id, "bob", member=found)


@pytest.mark.parametrize("caller_of", [by_itself, by_s3])
def test_conditions_of_the_callers_own_policies_see_the_request(caller_of):
    here, elsewhere = "192.0.2.7", "198.51.100.7"

    assert caller_of(under("Deny"), here).forbids("kms:Decrypt", ARN)
    assert not caller_of(under("Deny"), elsewhere).forbids("kms:Decrypt", ARN)
    assert caller_of(under("Allow"), here).permits("kms:Decrypt", ARN)
    assert not caller_of(under("Allow"), elsewhere).permits("kms:Decrypt", ARN)


@pytest.mark.parametrize("caller_of", [by_itself, by_s3])
def test_a_condition_on_the_action_itself_denies_and_does_not_allow(caller_of):
    condition = '{"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}'

    assert caller_of(under("Deny", condition)).forbids("kms:Decrypt", ARN)
    assert not caller_of(under("Allow", condition)).permits("kms:Decrypt", ARN)


def test_requests_from_elsewhere_are_told_apart_where_a_policy_asks_for_that():
    one, other = "192.0.2.7", "198.51.100.7"

    assert by_s3(member(), one).who == by_s3(member(), other).who
    assert by_s3(under("Deny"), one).who == by_s3(under("Deny"), one).who
    assert by_s3(under("Deny"), one).who != by_s3(under("Deny"), other).who
