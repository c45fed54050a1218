"""Who may do what: owners, root, policies, lists, and nobody else."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from strongroom.access import actions, decision, global_keys, grants, identities, policy
from strongroom.access.actions import Action
from strongroom.store import records

ALICE = identities.Principal("a" * 64, "alice")
BOB = identities.Principal("b" * 64, "bob")
CAROL = identities.Principal("c" * 64, "carol")
EVERYTHING = list(actions.Action)
ENFORCED = {"ownership": json.dumps({"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})}
OBJECT, BUCKET = "arn:aws:s3:::bucket/key", "arn:aws:s3:::bucket"


def rules(owner=ALICE.user_id, **settings):
    named = {name.replace("_", "-"): text for name, text in settings.items()}
    return decision.rules_of(records.Bucket("bucket", owner, 0, "us-east-1", named))


def statement(effect="Allow", principal="*", action="*", resource="*", **more):
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": resource} | more


def text(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def blocked(**settings):
    return json.dumps(settings)


def verdict(principal, action, ruled, *, found=None, resource=None, context=None):
    place = resource or (OBJECT if "Object" in action else BUCKET)
    return decision.decide(
        principal, action, place, ruled, context=lambda: context or {}, found=found
    )


def allowed(*args, **more):
    return verdict(*args, **more) is policy.Verdict.ALLOWED


@pytest.mark.parametrize("action", EVERYTHING)
def test_root_may_do_everything_everywhere(action):
    assert allowed(identities.ROOT, action, rules(**ENFORCED))
    assert decision.may_without_bucket(identities.ROOT, action)


@pytest.mark.parametrize("action", EVERYTHING)
def test_owners_may_do_everything_in_their_buckets(action):
    assert allowed(ALICE, action, rules(**ENFORCED))


@pytest.mark.parametrize("action", EVERYTHING)
@pytest.mark.parametrize("settings", [{}, ENFORCED])
def test_others_may_do_nothing_in_them(action, settings):
    for other in (BOB, identities.ANONYMOUS):
        assert verdict(other, action, rules(**settings)) is policy.Verdict.SILENT


@pytest.mark.parametrize("action", EVERYTHING)
def test_without_a_bucket_the_known_may_make_and_list_buckets(action):
    may = decision.may_without_bucket

    assert may(ALICE, action) == (action in actions.NEEDS_NO_BUCKET)
    assert not may(identities.ANONYMOUS, action)


def test_a_bucket_of_nobody_known_is_not_everybodys():
    for action in EVERYTHING:
        assert not allowed(
            identities.ANONYMOUS, action, rules(identities.ANONYMOUS.user_id, **ENFORCED)
        )


@given(
    principal=st.builds(
        identities.Principal, st.text(max_size=3), st.text(), st.just(False), st.booleans()
    ),
    action=st.sampled_from(EVERYTHING),
    owner=st.text(max_size=3),
)
def test_who_is_not_the_owner_is_refused(principal, action, owner):
    expected = principal.user_id == owner and not principal.is_anonymous

    assert allowed(principal, action, rules(owner, **ENFORCED)) == expected


# Policies


@pytest.mark.parametrize(
    "principal",
    [
        "*",
        {"AWS": BOB.user_id},
        {"CanonicalUser": BOB.user_id},
        {"AWS": BOB.account_id},
        {"AWS": f"arn:aws:iam::{BOB.account_id}:root"},
        {"AWS": f"arn:aws:iam::{BOB.account_id}:user/bob"},
        {"AWS": "arn:aws:iam:::user/bob"},
    ],
)
def test_a_policy_lets_others_in_by_any_of_their_names(principal):
    ruled = rules(policy=text(statement(principal=principal, action="s3:GetObject")))

    assert allowed(BOB, Action.GET_OBJECT, ruled)
    assert not allowed(BOB, Action.PUT_OBJECT, ruled)
    assert allowed(CAROL, Action.GET_OBJECT, ruled) == (principal == "*")
    assert allowed(identities.ANONYMOUS, Action.GET_OBJECT, ruled) == (principal == "*")


@pytest.mark.parametrize("principal", [ALICE, BOB, identities.ROOT, identities.ANONYMOUS])
def test_what_a_policy_denies_nobody_may(principal):
    ruled = rules(policy=text(statement(), statement("Deny", action="s3:GetObject")))

    assert verdict(principal, Action.GET_OBJECT, ruled) is policy.Verdict.DENIED
    assert allowed(principal, Action.PUT_OBJECT, ruled)


@pytest.mark.parametrize(
    "action", [Action.GET_BUCKET_POLICY, Action.PUT_BUCKET_POLICY, Action.DELETE_BUCKET_POLICY]
)
def test_an_owner_cannot_be_locked_out_of_the_policy(action):
    ruled = rules(policy=text(statement("Deny")))

    assert allowed(ALICE, action, ruled)
    assert allowed(identities.ROOT, action, ruled)
    assert not allowed(BOB, action, ruled)


def test_a_stored_policy_that_cannot_be_read_allows_nothing_but_to_mend_it():
    ruled = rules(policy='{"Statement": ')

    assert not any(
        allowed(principal, action, ruled)
        for principal in (ALICE, BOB, identities.ROOT, identities.ANONYMOUS)
        for action in (Action.GET_OBJECT, Action.LIST_BUCKET, Action.DELETE_BUCKET)
    )
    assert allowed(ALICE, Action.PUT_BUCKET_POLICY, ruled)


def test_conditions_see_the_request():
    plain = statement("Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})
    ruled = rules(policy=text(plain))

    assert not allowed(ALICE, Action.GET_OBJECT, ruled, context={"aws:securetransport": ("false",)})
    assert allowed(ALICE, Action.GET_OBJECT, ruled, context={"aws:securetransport": ("true",)})


def test_conditions_see_the_tags_of_the_object():
    tagged = statement(Condition={"StringEquals": {"s3:ExistingObjectTag/class": "open"}})
    ruled = rules(policy=text(tagged), **ENFORCED)

    assert ruled.needs_object(Action.GET_OBJECT)
    assert not ruled.needs_object(Action.PUT_OBJECT)
    for value, expected in (("open", True), ("closed", False)):
        found = decision.ObjectFacts(ALICE.user_id, tags={"class": value})
        assert allowed(BOB, Action.GET_OBJECT, ruled, found=found) == expected


def test_a_public_policy_can_be_restricted_to_the_owner():
    restricted = blocked(RestrictPublicBuckets=True)
    named = text(statement(principal={"AWS": BOB.account_id}))

    assert not allowed(
        BOB, Action.GET_OBJECT, rules(policy=text(statement()), public_access_block=restricted)
    )
    assert allowed(BOB, Action.GET_OBJECT, rules(policy=named, public_access_block=restricted))


# Access lists


def acl(*given, owner=ALICE.user_id):
    listed = [grants.Grant(grantee, grants.Permission(name)) for grantee, name in given]
    return grants.AccessList(owner, tuple(listed))


@pytest.mark.parametrize(
    ("permission", "permitted"),
    [
        ("READ", {Action.LIST_BUCKET, Action.LIST_BUCKET_VERSIONS, Action.LIST_BUCKET_MULTIPART_UPLOADS}),
        ("WRITE", {Action.PUT_OBJECT, Action.DELETE_OBJECT}),
        ("READ_ACP", {Action.GET_BUCKET_ACL}),
        ("WRITE_ACP", {Action.PUT_BUCKET_ACL}),
        ("FULL_CONTROL", set(grants.ON_BUCKET)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("grantee", [BOB.user_id, grants.AUTHENTICATED_USERS, grants.ALL_USERS])
def test_a_list_on_a_bucket_permits_what_s3_says(grantee, permission, permitted):
    ruled = rules(acl=acl((grantee, permission)).encode())

    assert {action for action in EVERYTHING if allowed(BOB, action, ruled)} == permitted
    nobody = {action for action in EVERYTHING if allowed(identities.ANONYMOUS, action, ruled)}
    assert nobody == (permitted if grantee == grants.ALL_USERS else set())
    assert not allowed(BOB, Action.LIST_BUCKET, rules(acl=ruled.acl.encode(), **ENFORCED))


@pytest.mark.parametrize(
    ("permission", "permitted"),
    [
        ("READ", {Action.GET_OBJECT, Action.GET_OBJECT_VERSION}),
        ("READ_ACP", {Action.GET_OBJECT_ACL, Action.GET_OBJECT_VERSION_ACL}),
        ("WRITE_ACP", {Action.PUT_OBJECT_ACL, Action.PUT_OBJECT_VERSION_ACL}),
        ("WRITE", set()),
        ("FULL_CONTROL", set(grants.ON_OBJECT)),
    ],
)
def test_a_list_on_an_object_permits_what_s3_says(permission, permitted):
    found = decision.ObjectFacts(ALICE.user_id, acl((BOB.user_id, permission)))

    assert {a for a in EVERYTHING if allowed(BOB, a, rules(), found=found)} == permitted
    assert not any(allowed(CAROL, action, rules(), found=found) for action in EVERYTHING)
    assert not any(allowed(BOB, a, rules(**ENFORCED), found=found) for a in EVERYTHING)


def test_public_lists_can_be_ignored():
    ruled = rules(
        acl=acl((grants.ALL_USERS, "READ"), (CAROL.user_id, "READ")).encode(),
        public_access_block=blocked(IgnorePublicAcls=True),
    )

    assert not allowed(BOB, Action.LIST_BUCKET, ruled)
    assert allowed(CAROL, Action.LIST_BUCKET, ruled)


def test_what_somebody_else_owns_the_buckets_owner_may_delete_and_not_read():
    found = decision.ObjectFacts(BOB.user_id)
    everyone = rules(policy=text(statement()))

    assert rules().needs_object(Action.GET_OBJECT)
    for ruled in (rules(), everyone):
        assert not allowed(ALICE, Action.GET_OBJECT, ruled, found=found)
        assert not allowed(CAROL, Action.GET_OBJECT_TAGGING, ruled, found=found)
        assert allowed(ALICE, Action.DELETE_OBJECT, ruled, found=found)
        assert allowed(BOB, Action.GET_OBJECT, ruled, found=found)
        assert allowed(BOB, Action.PUT_OBJECT_TAGGING, ruled, found=found)


def test_where_lists_are_disabled_the_buckets_owner_owns_everything():
    found = decision.ObjectFacts(BOB.user_id)
    ruled = rules(**ENFORCED)

    assert not ruled.needs_object(Action.GET_OBJECT)
    assert ruled.owner_of(BOB.user_id) == ALICE.user_id
    assert allowed(ALICE, Action.GET_OBJECT, ruled, found=found)
    assert not allowed(BOB, Action.GET_OBJECT, ruled, found=found)


def test_nobody_who_did_not_sign_owns_what_nobody_signed_for():
    found = decision.ObjectFacts(identities.ANONYMOUS.user_id)

    assert not allowed(identities.ANONYMOUS, Action.GET_OBJECT, rules(), found=found)


@pytest.mark.parametrize(
    ("name", "further"),
    [
        ("private", []),
        ("public-read", [("AllUsers", "READ")]),
        ("public-read-write", [("AllUsers", "READ"), ("AllUsers", "WRITE")]),
        ("authenticated-read", [("AuthenticatedUsers", "READ")]),
        ("bucket-owner-read", [(ALICE.user_id, "READ")]),
        ("bucket-owner-full-control", [(ALICE.user_id, "FULL_CONTROL")]),
        ("log-delivery-write", [("LogDelivery", "WRITE"), ("LogDelivery", "READ_ACP")]),
    ],
)
def test_canned_lists_are_what_s3_says(name, further):
    listed = grants.canned(name, BOB.user_id, ALICE.user_id)

    assert listed == acl((BOB.user_id, "FULL_CONTROL"), *further, owner=BOB.user_id)
    assert grants.AccessList.parse(listed.encode()) == listed
    assert listed.is_public == (name.startswith(("public", "authenticated")))


def test_no_list_has_a_name_that_s3_does_not_know():
    assert grants.canned("public", BOB.user_id, ALICE.user_id) is None


def test_actions_are_named_as_policies_name_them():
    assert all(action.value.partition(":")[0] == "s3" for action in actions.Action)
    assert len({action.value for action in actions.Action}) == len(actions.Action)


def test_accounts_have_twelve_digits_and_their_own():
    assert len({p.account_id for p in (ALICE, BOB, CAROL, identities.ROOT)}) == 4
    assert all(p.account_id.isdigit() and len(p.account_id) == 12 for p in (ALICE, BOB))


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([("Allow", {})], True),
        ([("Allow", {"Bool": {"aws:SecureTransport": "true"}})], True),
        ([("Allow", {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}})], True),
        ([("Allow", {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})], False),
        ([("Allow", {"StringEquals": {"kms:ViaService": "s3"}})], False),
        ([("Allow", {}), ("Deny", {"StringEquals": {"kms:ViaService": "s3"}})], False),
        ([("Allow", {"StringEquals": {"aws:username": "bob"}})], True),
        ([("Allow", {"StringEquals": {"aws:PrincipalTag/team": "a"}})], False),
        ([("Allow", {}), ("Deny", {"Bool": {"aws:SecureTransport": "false"}})], True),
        ([("Allow", {}), ("Deny", {"Bool": {"aws:SecureTransport": "true"}})], False),
        ([("Allow", {}), ("Deny", {"StringEquals": {"aws:PrincipalTag/team": "a"}})], True),
        ([("Allow", {}), ("Deny", {"StringEquals": {"aws:username": "bob"}})], False),
        ([("Allow", {}), ("Deny", {"StringEquals": {"aws:username": "eve"}})], True),
    ],
)
def test_conditions_on_the_action_that_nobody_told_of_never_help_the_asker(statements, expected):
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": effect, "Action": "kms:*", "Resource": "*", "Condition": condition}
            if condition
            else {"Effect": effect, "Action": "kms:*", "Resource": "*"}
            for effect, condition in statements
        ],
    }
    allowed = identities.identity_policy(json.dumps(document))
    member = identities.Member("bob", "arn:aws:iam::1:user/bob", "AIDA", "", (allowed,))
    principal = identities.Principal("a" * 64, "acme", member=member)
    keys = global_keys.of_request(principal, 0, secure=True, peer="192.0.2.7", user_agent=None)
    permits = decision.own_policies(principal, lambda: keys)

    assert permits("kms:Decrypt", "arn:aws:kms:us-east-1:1:key/k") is expected
