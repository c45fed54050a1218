"""What a lock forbids, and who may change it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import errors
from strongroom.crypto import marks
from strongroom.service import locks

NOW = 1_700_000_000_000
LATER = NOW + 1_000
GOVERNED = locks.Lock(locks.GOVERNANCE, LATER)
COMPLIANT = locks.Lock(locks.COMPLIANCE, LATER)
HELD = locks.Lock(hold=locks.ON)
LOCKS = st.builds(
    locks.Lock,
    st.sampled_from(["", locks.GOVERNANCE, locks.COMPLIANCE]),
    st.integers(NOW - 3, NOW + 3),
    st.sampled_from(["", locks.ON, locks.OFF]),
)


@pytest.mark.parametrize(
    ("lock", "bypass"),
    [
        (GOVERNED, False),
        (COMPLIANT, False),
        (COMPLIANT, True),
        (HELD, False),
        (HELD, True),
        (locks.Lock(locks.GOVERNANCE, LATER, locks.ON), True),
    ],
)
def test_a_locked_version_is_not_deleted(lock, bypass):
    with pytest.raises(errors.ObjectLocked):
        locks.check_deletion(lock, NOW, bypass=bypass)


@pytest.mark.parametrize(
    ("lock", "now_ms", "bypass"),
    [
        (locks.NO_LOCK, NOW, False),
        (locks.Lock(hold=locks.OFF), NOW, False),
        (GOVERNED, NOW, True),
        (GOVERNED, LATER, False),
        (COMPLIANT, LATER, False),
    ],
)
def test_a_version_is_deleted_where_nothing_holds_it(lock, now_ms, bypass):
    locks.check_deletion(lock, now_ms, bypass=bypass)


def test_a_retention_ends_with_the_millisecond_that_it_names():
    assert locks.is_retained(COMPLIANT, LATER - 1)
    assert not locks.is_retained(COMPLIANT, LATER)


@pytest.mark.parametrize("mode", [locks.GOVERNANCE, locks.COMPLIANCE])
def test_anybody_who_may_set_a_retention_makes_one_longer(mode):
    lock = locks.Lock(mode, LATER, locks.ON)

    longer = locks.retained(lock, mode, LATER + 1, NOW, bypass=False)

    assert longer == locks.Lock(mode, LATER + 1, locks.ON)


CHANGES = [("", 0), (locks.GOVERNANCE, LATER - 1), (locks.COMPLIANCE, LATER - 1)]
"""No retention, and a shorter one of either mode."""


@pytest.mark.parametrize(("mode", "until_ms"), [*CHANGES, (locks.COMPLIANCE, LATER + 1)])
def test_governance_gives_way_to_a_bypass_alone(mode, until_ms):
    with pytest.raises(errors.ObjectLocked):
        locks.retained(GOVERNED, mode, until_ms, NOW, bypass=False)

    changed = locks.retained(GOVERNED, mode, until_ms, NOW, bypass=True)
    assert changed == locks.Lock(mode, until_ms)


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize(("mode", "until_ms"), [*CHANGES, (locks.GOVERNANCE, LATER + 1)])
def test_compliance_gives_way_to_nobody(mode, until_ms, bypass):
    with pytest.raises(errors.ObjectLocked):
        locks.retained(COMPLIANT, mode, until_ms, NOW, bypass=bypass)


@pytest.mark.parametrize(
    ("lock", "change"), list(itertools.product((GOVERNED, COMPLIANT), CHANGES))
)
def test_a_retention_that_is_over_is_changed_by_anybody(lock, change):
    assert locks.retained(lock, *change, LATER, bypass=False) == locks.Lock(*change)


@given(LOCKS, LOCKS, st.booleans())
def test_no_change_of_a_retention_lets_go_what_could_not_be_deleted(lock, wanted, bypass):
    try:
        changed = locks.retained(lock, wanted.mode, wanted.until_ms, NOW, bypass=bypass)
    except errors.ObjectLocked:
        return

    try:
        locks.check_deletion(changed, NOW, bypass=bypass)
    except errors.ObjectLocked:
        return
    locks.check_deletion(lock, NOW, bypass=bypass)


@given(LOCKS)
def test_a_lock_is_noted_beside_the_other_notes_and_read_again(lock):
    before = marks.Marks({"a": "b"}, "list", {"of-another": "x"})

    after = locks.noted(before, lock)

    assert locks.of(after) == lock
    assert locks.noted(after, locks.NO_LOCK) == before


@pytest.mark.parametrize(
    "text", ["GOVERNANCE", "worm:1:", "COMPLIANCE:-1:", "::on", "COMPLIANCE:01:"]
)
def test_a_note_that_is_no_lock_does_not_pass_for_none(text):
    with pytest.raises(errors.NotAuthentic):
        locks.of(marks.Marks(notes={"lock": text}))


def test_what_asks_for_no_retention_gets_that_of_its_bucket_and_keeps_its_hold():
    asked = locks.Lock(hold=locks.ON)
    terms = locks.Terms(asked, locks.COMPLIANCE, 1_000)

    assert terms.at(NOW) == locks.Lock(locks.COMPLIANCE, LATER, locks.ON)
    assert locks.Terms(GOVERNED, locks.COMPLIANCE, 9_000).at(NOW) == GOVERNED
    assert locks.Terms(asked).at(NOW) == asked
    assert locks.NO_TERMS.at(NOW) == locks.NO_LOCK
