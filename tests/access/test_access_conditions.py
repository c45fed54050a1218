"""Condition operators, each with a request that meets it and one that does not."""

import pytest

from strongroom.access import conditions

KEY = "aws:key"


def holds(operator, wanted, asked, **others):
    values = tuple(wanted) if isinstance(wanted, list) else (wanted,)
    asked = asked if isinstance(asked, list) else [asked]
    context = {KEY: tuple(asked)} if asked else {}
    context |= {name.replace("_", ":"): (value,) for name, value in others.items()}
    return conditions.parse(operator, "AWS:Key", values, variables=True).holds(context)


@pytest.mark.parametrize(
    ("operator", "wanted", "meets", "misses"),
    [
        ("StringEquals", "a*", "a*", "ab"),
        ("StringNotEquals", "a", "b", "a"),
        ("StringEqualsIgnoreCase", "Ab", "aB", "b"),
        ("StringNotEqualsIgnoreCase", "Ab", "b", "aB"),
        ("StringLike", "a*?", "abc", "a"),
        ("StringNotLike", "a*", "ba", "ab"),
        ("NumericEquals", "10", "10.0", "11"),
        ("NumericNotEquals", "10", "11", "10"),
        ("NumericLessThan", "10", "9", "10"),
        ("NumericLessThanEquals", "10", "10", "11"),
        ("NumericGreaterThan", "10", "11", "10"),
        ("NumericGreaterThanEquals", "-1.5", "-1.5", "-2"),
        ("DateEquals", "2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-01-02"),
        ("DateNotEquals", "2026-01-02", "2026-01-03", "2026-01-02T00:00Z"),
        ("DateLessThan", "2026-01-02T00:00:00Z", "2026-01-01T23:59:59.9Z", "2026-01-02"),
        ("DateLessThanEquals", "1767312000", "2026-01-02", "2026-01-02T00:00:01Z"),
        ("DateGreaterThan", "2026-01", "2026-01-02", "2026-01-01"),
        ("DateGreaterThanEquals", "2026-01-02", "2026-01-02", "2026-01-01"),
        ("Bool", "true", "TRUE", "false"),
        ("BinaryEquals", "QUE=", "QUE=", "QUI="),
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", "11.1.2.3"),
        ("IpAddress", "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"),
        ("IpAddress", "2001:db8::/32", "2001:db8::1", "10.0.0.1"),
        ("NotIpAddress", "10.0.0.0/8", "11.1.2.3", "10.1.2.3"),
        ("ArnLike", "arn:aws:iam::*:user/a*", "arn:aws:iam::1:user/ab", "arn:aws:iam::1:role/a"),
        ("ArnEquals", "arn:aws:iam::1:user/?", "arn:aws:iam::1:user/a", "arn:aws:iam::1:user/ab"),
        ("ArnNotLike", "arn:aws:s3:::b", "arn:aws:s3:::c", "arn:aws:s3:::b"),
        ("ArnNotEquals", "arn:aws:s3:::b*", "arn:aws:s3:::c", "arn:aws:s3:::bb"),
        ("ArnLike", "*", "arn:aws:s3:::b", "b"),
        ("Null", "true", [], "a"),
        ("Null", "false", "a", []),
    ],
)
def test_each_operator_holds_and_fails(operator, wanted, meets, misses):
    assert holds(operator, wanted, meets)
    assert not holds(operator, wanted, misses)


@pytest.mark.parametrize("operator", ["StringEquals", "NumericLessThan", "IpAddress", "Bool"])
def test_what_the_request_does_not_say_meets_no_condition(operator):
    wanted = {"IpAddress": "10.0.0.1", "Bool": "true"}.get(operator, "1")

    assert not holds(operator, wanted, [])
    assert holds(f"{operator}IfExists", wanted, [])


@pytest.mark.parametrize("operator", ["StringNotEquals", "NotIpAddress", "NumericNotEquals"])
def test_what_the_request_does_not_say_differs_from_everything(operator):
    wanted = "10.0.0.1" if operator == "NotIpAddress" else "1"

    assert holds(operator, wanted, [])
    assert holds(f"{operator}IfExists", wanted, [])


def test_one_of_several_values_suffices_and_a_negation_excludes_each():
    assert holds("StringEquals", ["a", "b"], "b")
    assert not holds("StringNotEquals", ["a", "b"], "b")
    assert holds("StringNotEquals", ["a", "b"], "c")


@pytest.mark.parametrize(
    ("operator", "asked", "expected"),
    [
        ("ForAllValues:StringEquals", ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "c"], False),
        ("ForAllValues:StringEquals", [], True),
        ("ForAnyValue:StringEquals", ["c", "a"], True),
        ("ForAnyValue:StringEquals", ["c", "d"], False),
        ("ForAnyValue:StringEquals", [], False),
        ("ForAnyValue:StringEqualsIfExists", [], True),
        ("ForAllValues:StringNotEquals", ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["c", "a"], False),
        ("ForAnyValue:StringNotEquals", ["c", "a"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], False),
        ("ForAnyValue:StringNotEquals", [], False),
    ],
)
def test_set_operators_look_at_every_value_of_the_request(operator, asked, expected):
    assert holds(operator, ["a", "b"], asked) == expected


@pytest.mark.parametrize(
    ("operator", "wanted", "asked"),
    [
        ("NumericEquals", "1", "one"),
        ("NumericEquals", "1", "1e0"),
        ("NumericLessThan", "5", "nan"),
        ("DateLessThan", "2030-01-01", "2026-13-01"),
        ("IpAddress", "0.0.0.0/0", "somewhere"),
        ("Bool", "false", ""),
    ],
)
def test_a_request_that_says_nonsense_meets_no_condition(operator, wanted, asked):
    assert not holds(operator, wanted, asked)


def test_values_may_be_taken_from_the_request():
    assert holds("StringEquals", "${aws:username}", "ann", aws_username="ann")
    assert not holds("StringEquals", "${aws:username}", "ann", aws_username="bob")
    assert not holds("StringEquals", "${aws:username}", "ann")
    assert holds("StringLike", "home/${aws:username}/*", "home/ann/x", aws_username="ann")
    assert holds(
        "ArnLike",
        "arn:aws:iam::1:user/${aws:username}",
        "arn:aws:iam::1:user/ann",
        aws_username="ann",
    )


@pytest.mark.parametrize(
    ("operator", "key", "value"),
    [
        ("StringSimilar", KEY, "a"),
        ("ForSomeValues:StringEquals", KEY, "a"),
        ("NullIfExists", KEY, "true"),
        ("ForAllValues:Null", KEY, "true"),
        ("stringequals", KEY, "a"),
        ("StringEquals", "nocolon", "a"),
        ("StringEquals", ":name", "a"),
        ("StringEquals", "aws:", "a"),
        ("NumericEquals", KEY, "one"),
        ("NumericEquals", KEY, "9" * 65),
        ("DateEquals", KEY, "yesterday"),
        ("DateEquals", KEY, "2026-02-30"),
        ("Bool", KEY, "yes"),
        ("Null", KEY, "maybe"),
        ("IpAddress", KEY, "10.0.0.0/33"),
        ("ArnLike", KEY, "somebody"),
        # A star does not stand for colons.
        ("ArnLike", KEY, "arn:*:user/a"),
    ],
)
def test_a_condition_nobody_could_judge_by_is_refused(operator, key, value):
    with pytest.raises(conditions.Unreadable):
        conditions.parse(operator, key, (value,), variables=True)
