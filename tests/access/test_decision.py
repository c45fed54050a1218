"""Who may do what: owners, root, and nobody else."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from strongroom import errors
from strongroom.access import actions, decision, identities

ALICE = identities.Principal("a" * 64, "alice")
BOB = identities.Principal("b" * 64, "bob")
EVERYTHING = list(actions.Action)


def allowed(principal, action, owner):
    try:
        decision.require(principal, action, owner)
    except errors.AccessDenied:
        return False
    return True


@pytest.mark.parametrize("action", EVERYTHING)
def test_root_may_do_everything_everywhere(action):
    assert allowed(identities.ROOT, action, ALICE.user_id)
    assert allowed(identities.ROOT, action, None)


@pytest.mark.parametrize("action", EVERYTHING)
def test_owners_may_do_everything_in_their_buckets(action):
    assert allowed(ALICE, action, ALICE.user_id)


@pytest.mark.parametrize("action", EVERYTHING)
def test_others_may_do_nothing_in_them(action):
    assert not allowed(BOB, action, ALICE.user_id)
    assert not allowed(identities.ANONYMOUS, action, ALICE.user_id)


@pytest.mark.parametrize("action", EVERYTHING)
def test_without_a_bucket_the_known_may_make_and_list_buckets(action):
    assert allowed(ALICE, action, None) == (action in actions.NEEDS_NO_BUCKET)
    assert not allowed(identities.ANONYMOUS, action, None)


def test_a_bucket_without_an_owner_is_not_everybodys():
    for action in EVERYTHING:
        assert not allowed(identities.ANONYMOUS, action, identities.ANONYMOUS.user_id)


@given(
    principal=st.builds(
        identities.Principal, st.text(max_size=3), st.text(), st.just(False), st.booleans()
    ),
    action=st.sampled_from(EVERYTHING),
    owner=st.text(max_size=3),
)
def test_who_is_not_the_owner_is_refused(principal, action, owner):
    expected = principal.user_id == owner and not principal.is_anonymous

    assert allowed(principal, action, owner) == expected


def test_actions_are_named_as_policies_name_them():
    assert all(action.value.partition(":")[0] == "s3" for action in actions.Action)
    assert len({action.value for action in actions.Action}) == len(actions.Action)
