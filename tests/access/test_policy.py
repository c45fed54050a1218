"""Verdicts, beside a second evaluator that was written from the definition alone."""

import ipaddress
import itertools
import json

import hypothesis.strategies as st
from hypothesis import given, settings

from strongroom.access import documents, policy

ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]
RESOURCES = ["arn:aws:s3:::b", "arn:aws:s3:::b/x", "arn:aws:s3:::b/ann/x"]
CONTEXTS = [
    {},
    {"aws:username": ("ann",), "aws:sourceip": ("10.0.0.1",)},
    {"s3:prefix": ("ann",), "aws:username": ("ann",)},
    {"s3:prefix": ("x", "y"), "aws:sourceip": ("192.168.1.1",), "s3:max-keys": ("5",)},
]
ANN = policy.Asker(
    names=frozenset({"arn:aws:iam::111111111111:user/ann"}),
    account_names=frozenset({"111111111111", "arn:aws:iam::111111111111:root"}),
)
OWNER = policy.Asker(
    names=frozenset({"111111111111", "arn:aws:iam::111111111111:root"}),
    account_names=frozenset({"111111111111", "arn:aws:iam::111111111111:root"}),
)
STRANGER = policy.Asker(names=frozenset({"2" * 12}), account_names=frozenset({"2" * 12}))
SERVICE = policy.Asker(service="logging.s3.amazonaws.com")
ASKERS = [ANN, OWNER, STRANGER, policy.NOBODY, SERVICE]
UNIVERSE = list(itertools.product(ASKERS, ACTIONS, RESOURCES, CONTEXTS))

one_or_more = lambda values: st.one_of(values, st.lists(values, min_size=1, max_size=2))  # noqa: E731
principals = st.one_of(
    st.just("*"),
    st.fixed_dictionaries(
        {
            "AWS": one_or_more(
                st.sampled_from(
                    [
                        "*",
                        "111111111111",
                        "arn:aws:iam::111111111111:root",
                        "arn:aws:iam::111111111111:user/ann",
                        "222222222222",
                    ]
                )
            )
        }
    ),
    st.just({"Service": "logging.s3.amazonaws.com"}),
)
tests = st.one_of(
    st.tuples(
        st.sampled_from(
            [
                f"{quantifier}{operator}{suffix}"
                for quantifier in ("", "ForAllValues:", "ForAnyValue:")
                for operator in ("StringEquals", "StringNotEquals", "StringLike", "StringNotLike")
                for suffix in ("", "IfExists")
            ]
        ),
        st.sampled_from(["s3:prefix", "aws:username"]),
        one_or_more(st.sampled_from(["ann", "x", "*", "a?n", "${aws:username}"])),
    ),
    st.tuples(
        st.just("Null"),
        st.sampled_from(["s3:prefix", "aws:SourceIp"]),
        st.sampled_from(["true", "false", True, False]),
    ),
    st.tuples(
        st.sampled_from(["IpAddress", "NotIpAddress", "IpAddressIfExists"]),
        st.just("aws:SourceIp"),
        one_or_more(st.sampled_from(["10.0.0.0/8", "0.0.0.0/0", "192.168.1.1"])),
    ),
    st.tuples(
        st.sampled_from(["NumericLessThan", "NumericNotEquals", "NumericGreaterThanEquals"]),
        st.just("s3:max-keys"),
        one_or_more(st.sampled_from(["5", 5, "6"])),
    ),
)


@st.composite
def statements(draw, effects=("Allow", "Deny")):
    found = {"Effect": draw(st.sampled_from(effects))}
    not_principal = found["Effect"] == "Deny" and draw(st.booleans())
    found["NotPrincipal" if not_principal else "Principal"] = draw(principals)
    found[draw(st.sampled_from(["Action", "NotAction"]))] = draw(
        one_or_more(st.sampled_from([*ACTIONS, "s3:*", "*", "S3:get*", "s3:??tObject"]))
    )
    found[draw(st.sampled_from(["Resource", "NotResource"]))] = draw(
        one_or_more(
            st.sampled_from(
                [*RESOURCES, "*", "arn:aws:s3:::b*", "arn:aws:s3:::b/${aws:username}/*"]
            )
        )
    )
    condition = {}
    for operator, key, values in draw(st.lists(tests, max_size=2)):
        condition.setdefault(operator, {})[key] = values
    if condition:
        found["Condition"] = condition
    return found


def document(found, version="2012-10-17"):
    return documents.parse(
        json.dumps({"Version": version, "Statement": found}), documents.Kind.BUCKET
    )


# The second evaluator: raw JSON, lists of all possibilities, no code of the first.


def listed(value):
    return value if isinstance(value, list) else [value]


def glob(pattern, text):
    """Whether one of all ways to spend the text on the pattern works out."""
    reached = {0}
    for sign in pattern:
        if sign == "*":
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(text) and sign in ("?", text[at])}
    return len(text) in reached


def filled(text, context):
    """The text with its variable replaced; None if there is nothing to replace it with."""
    if "${aws:username}" not in text:
        return text
    names = context.get("aws:username", ())
    return text.replace("${aws:username}", names[0]) if names else None


def compare(operator, asked, wanted):
    if operator == "StringEquals":
        return asked == wanted
    if operator == "StringLike":
        return glob(wanted, asked)
    if operator == "IpAddress":
        return ipaddress.ip_address(asked) in ipaddress.ip_network(wanted)
    number = float(asked), float(wanted)
    return {
        "NumericEquals": number[0] == number[1],
        "NumericLessThan": number[0] < number[1],
        "NumericGreaterThanEquals": number[0] >= number[1],
    }[operator]


def condition_holds(operator, key, values, context):
    asked = context.get(key.lower(), ())
    wanted = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    if operator == "Null":
        return ("true" if not asked else "false") in wanted
    quantifier, _, base = operator.rpartition(":")
    if base.endswith("IfExists"):
        if not asked:
            return True
        base = base.removesuffix("IfExists")
    negated = "Not" in base
    plain = base.replace("Not", "")
    if not asked:
        return quantifier == "ForAllValues" or (negated and quantifier == "")
    outcomes = []
    for value in asked:
        fits = [filled(text, context) for text in wanted]
        hit = any(text is not None and compare(plain, value, text) for text in fits)
        outcomes.append(hit is not negated)
    if quantifier == "ForAllValues" or (negated and not quantifier):
        return False not in outcomes
    return True in outcomes


def second_opinion(found, asker, action, resource, context):
    verdicts = set()
    for statement in found:
        name = "Principal" if "Principal" in statement else "NotPrincipal"
        value = statement[name]
        texts = ["*"] if value == "*" else listed(next(iter(value.values())))
        mine = "*" in texts or set(texts) & asker.names or asker.service in texts
        account = set(texts) & asker.account_names
        if name == "NotPrincipal":
            speaks = "" if mine else "allowed"
        else:
            speaks = "allowed" if mine else ("delegated" if account else "")
        if not speaks:
            continue
        name = "Action" if "Action" in statement else "NotAction"
        hit = any(glob(text.lower(), action.lower()) for text in listed(statement[name]))
        if hit is (name == "NotAction"):
            continue
        name = "Resource" if "Resource" in statement else "NotResource"
        fits = [filled(text, context) for text in listed(statement[name])]
        hit = any(text is not None and glob(text, resource) for text in fits)
        if hit is (name == "NotResource"):
            continue
        if all(
            condition_holds(operator, key, listed(values), context)
            for operator, by_key in statement.get("Condition", {}).items()
            for key, values in by_key.items()
        ):
            verdicts.add("denied" if statement["Effect"] == "Deny" else speaks)
    return next((name for name in ("denied", "allowed", "delegated") if name in verdicts), "silent")


@settings(max_examples=60, deadline=None)
@given(st.lists(statements(), min_size=1, max_size=3))
def test_a_second_evaluator_comes_to_the_same_verdict(found):
    parsed = document(found)

    for asker, action, resource, context in UNIVERSE:
        verdict = policy.judge([parsed], policy.Asked(asker, action, resource, context))
        assert verdict.value == second_opinion(found, asker, action, resource, context)


STRENGTH = [
    policy.Verdict.DENIED,
    policy.Verdict.SILENT,
    policy.Verdict.DELEGATED,
    policy.Verdict.ALLOWED,
]


@settings(max_examples=30, deadline=None)
@given(st.lists(statements(), min_size=1, max_size=3), statements(effects=["Deny"]), st.data())
def test_adding_a_deny_never_allows(found, deny, data):
    at = data.draw(st.integers(0, len(found)))
    before, after = document(found), document([*found[:at], deny, *found[at:]])

    for asker, action, resource, context in UNIVERSE:
        asked = policy.Asked(asker, action, resource, context)
        was, now = policy.judge([before], asked), policy.judge([after], asked)
        assert now in (was, policy.Verdict.DENIED)
        assert policy.judge([before, document([deny])], asked) is now


@settings(max_examples=30, deadline=None)
@given(st.lists(statements(), min_size=1, max_size=3), statements(effects=["Allow"]))
def test_adding_an_allow_never_forbids(found, allow):
    before, after = document(found), document([*found, allow])

    for asker, action, resource, context in UNIVERSE:
        asked = policy.Asked(asker, action, resource, context)
        was, now = policy.judge([before], asked), policy.judge([after], asked)
        assert STRENGTH.index(now) >= STRENGTH.index(was)


def verdict(statement, asker=STRANGER, resource=RESOURCES[1], context=None, **how):
    asked = policy.Asked(asker, "s3:GetObject", resource, context or {})
    return policy.judge([document([statement], **how)], asked)


ALLOW = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}


def test_nothing_said_is_nothing_allowed():
    assert policy.judge([], policy.Asked(OWNER, "s3:GetObject", RESOURCES[1], {})) is (
        policy.Verdict.SILENT
    )


def test_everybody_includes_those_who_did_not_sign():
    assert verdict(ALLOW, policy.NOBODY) is policy.Verdict.ALLOWED


def test_an_account_is_delegated_to_and_its_owner_meant():
    named = ALLOW | {"Principal": {"AWS": "111111111111"}}

    assert verdict(named, ANN) is policy.Verdict.DELEGATED
    assert verdict(named, OWNER) is policy.Verdict.ALLOWED
    assert verdict(named, STRANGER) is policy.Verdict.SILENT


def test_the_older_language_takes_variables_as_text():
    mine = ALLOW | {"Resource": "arn:aws:s3:::b/${aws:username}/*"}
    context = {"aws:username": ("ann",)}

    assert verdict(mine, ANN, RESOURCES[2], context) is policy.Verdict.ALLOWED
    assert verdict(mine, ANN, RESOURCES[2], context, version="2008-10-17") is (
        policy.Verdict.SILENT
    )
