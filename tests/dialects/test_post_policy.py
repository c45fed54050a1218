"""Policy documents of browser forms: which are read, and what they allow."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import post_policy

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXPIRATION = "2026-11-22T12:00:01Z"
INVALID = "Invalid Policy: "
AGAINST = "Invalid according to Policy: "


def encoded(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def policy(*conditions, expiration=EXPIRATION):
    return encoded(json.dumps({"expiration": expiration, "conditions": list(conditions)}))


def policy_text(conditions):
    return f'{{"expiration": "{EXPIRATION}", "conditions": {conditions}}}'


def judge(document, fields, *, now=NOW):
    return post_policy.judge(
        post_policy.parse(document), {n.lower(): v for n, v in fields.items()}, {}, now
    )


def refusal(document, fields=()):
    with pytest.raises(Refused) as refused:
        judge(document, dict(fields))
    return refused.value.code, refused.value.message


# What is allowed.


@pytest.mark.parametrize(
    ("condition", "value", "allowed"),
    [
        ({"a": "x"}, "x", True),
        ({"a": "x"}, "X", False),
        ({"A": "x"}, "x", True),
        (["eq", "$a", "x"], "x", True),
        (["EQ", "$A", "x"], "x", True),
        (["eq", "$a", "x"], "xy", False),
        (["eq", "a", "x"], "x", False),
        (["eq", "$a", ""], "", True),
        (["starts-with", "$a", "x"], "xy", True),
        (["StArTs-WiTh", "$a", "x"], "x", True),
        (["starts-with", "$a", "x"], "yx", False),
        (["starts-with", "$a", "X"], "xy", False),
        (["starts-with", "$a", ""], "anything", True),
        (["starts-with", "$a", ""], "", True),
        (["starts-with", "$a", "x,"], "x,y", True),
        (["eq", "$a", "ü\u2028"], "ü\u2028", True),
    ],
)
def test_a_condition_holds_or_not(condition, value, allowed):
    if allowed:
        assert judge(policy(condition), {"a": value}) is None
    else:
        code, message = refusal(policy(condition), {"a": value})
        assert code == "AccessDenied"
        assert message.startswith(AGAINST + "Policy Condition failed: [")


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("image/png", True),
        ("image/png,image/jpeg", True),
        ("image/png, image/jpeg", True),
        ("image/png,text/html", False),
        ("text/html,image/png", False),
        ("", False),
    ],
)
def test_every_type_of_a_list_must_fit(value, allowed):
    document = policy(["starts-with", "$Content-Type", "image/"])

    if allowed:
        judge(document, {"Content-Type": value})
    else:
        assert refusal(document, {"Content-Type": value})[0] == "AccessDenied"


def test_a_field_that_a_condition_names_must_be_there():
    _, message = refusal(policy(["starts-with", "$a", ""]))

    assert message == f'{AGAINST}Policy Condition failed: ["starts-with", "$a", ""]'


def test_all_conditions_on_a_field_must_hold():
    document = policy(["starts-with", "$a", "x"], {"a": "xy"})

    judge(document, {"a": "xy"})
    assert refusal(document, {"a": "x"})[0] == "AccessDenied"


def test_a_failed_condition_is_shown_as_it_is_written():
    _, message = refusal(policy(["Eq", "$X-Name", 'a "b"']), {"x-name": ""})

    assert message == AGAINST + r'Policy Condition failed: ["eq", "$X-Name", "a \"b\""]'


def test_a_customer_key_in_a_condition_is_not_shown():
    name = "x-amz-server-side-encryption-customer-key"
    for field in (name, f"{name}-MD5"):
        _, message = refusal(policy({field: "c2VjcmV0"}), {field: "b3RoZXI="})

        assert "(redacted)" in message
        assert "c2VjcmV0" not in message


@pytest.mark.parametrize(
    "field", ["policy", "signature", "AWSAccessKeyId", "x-amz-signature", "file", "x-ignore-a"]
)
def test_some_fields_need_no_condition(field):
    judge(policy(), {field: "x"})


def test_all_others_do():
    _, message = refusal(policy({"a": "x"}), {"a": "x", "b": "", "c": "y"})

    assert message == AGAINST + "Extra input fields: b, c"


def test_a_policy_holds_until_its_expiration():
    judge(policy(), {})
    judge(policy(expiration="2026-11-22T12:00:01.500Z"), {})
    with pytest.raises(Refused, match="AccessDenied"):
        judge(policy(), {}, now=datetime(2026, 11, 22, 12, 0, 1, tzinfo=UTC))


# Sizes.


@pytest.mark.parametrize("bounds", [(5, 10), ("5", "10"), (5, "10")])
def test_sizes_are_bounds_that_are_allowed_themselves(bounds):
    sizes = judge(policy(["content-length-range", *bounds]), {})

    assert sizes == post_policy.Sizes(5, 10)
    for size, code in ((4, "EntityTooSmall"), (11, "EntityTooLarge")):
        with pytest.raises(Refused) as refused:
            sizes.check(size)
        assert refused.value.code == code
    sizes.check(5)
    sizes.check(10)


def test_two_ranges_allow_what_both_allow():
    document = policy(["content-length-range", 0, 10], ["content-length-range", 5, 20])

    assert judge(document, {}) == post_policy.Sizes(5, 10)


def test_a_range_of_words_fails():
    code, message = refusal(policy(["content-length-range", "test", "10"]))

    assert code == "AccessDenied"
    assert message == AGAINST + 'Policy Condition failed: ["content-length-range", "test", "10"]'


# What cannot be read.


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("%%%", "invalid Base64 encoding."),
        (encoded("{"), "Invalid JSON."),
        (encoded(b"\xff"), "Invalid JSON."),
        (encoded("[" * 20_000), "Invalid JSON."),
        (encoded("[]"), "Invalid JSON."),
        (encoded("9" * 5000), "Invalid JSON."),
        (encoded('{"Statement": []}'), "Unexpected: 'statement'"),
        (encoded('{"CONDITIONS": []}'), "Unexpected: 'conditions'"),
        (encoded('{"conditions": [], "conditions": []}'), "Unexpected: 'conditions'"),
        (encoded(r'{"\ud800": []}'), "Unexpected: '?'"),
        (encoded('{"conditions": []}'), "Policy missing expiration."),
        (encoded(json.dumps({"expiration": EXPIRATION})), "Policy missing conditions."),
        (
            encoded(json.dumps({"expiration": EXPIRATION, "conditions": {}})),
            "Invalid 'conditions' value: must be a List.",
        ),
        (
            policy({}),
            "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
        ),
        (
            policy({"a": "b", "c": "d"}),
            "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
        ),
        (
            encoded(policy_text('[{"a": "b", "a": "b"}]')),
            "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
        ),
        (policy({"a": 5}), "Invalid Simple-Condition: value must be a string."),
        (policy("a"), "Invalid condition test: must be a List or Object."),
        (policy([]), "Invalid Condition: missing operation identifier."),
        (policy([5, "$a", "b"]), "Invalid Condition: missing operation identifier."),
        (policy(["ends-with", "$a", "b"]), "Invalid Condition: unknown operation 'ends-with'."),
        (policy(["eq", "$a"]), "Invalid eq: wrong number of arguments."),
        (
            policy(["content-length-range", 0]),
            "Invalid content-length-range: wrong number of arguments.",
        ),
        (policy(["eq", "$a", 5]), "Invalid JSON."),
        (policy(["content-length-range", 0, 512.0]), "Invalid JSON."),
        (policy(["content-length-range", 0, True]), "Invalid JSON."),
        (policy(["content-length-range", 0, [1]]), "Invalid JSON."),
        (policy(["content-length-range", 0, float("nan")]), "Invalid JSON."),
    ],
)
def test_a_malformed_policy_says_what_is_wrong(document, says):
    assert refusal(document) == ("InvalidPolicyDocument", INVALID + says)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22 12:00:01 UTC",
        "2026-11-22T12:00:01",
        "2026-11-22T12:00:01+02:00",
        "2026-13-22T12:00:01Z",
        "2026-11-22T12:00:01Z ",
        "\u0662026-11-22T12:00:01Z",
        "",
        5,
        None,
    ],
)
def test_an_expiration_is_a_time_in_utc(text):
    code, message = refusal(policy(expiration=text))

    assert code == "InvalidPolicyDocument"
    assert message.startswith(INVALID + "Invalid 'expiration' value: '")


def test_the_policy_language_has_escapes_that_json_lacks():
    text = r'[{"a": "\$b\v\\$\u00fc"}]'

    judge(encoded(policy_text(text)), {"a": "$b\x0b\\$ü"})


def test_line_breaks_in_the_encoding_do_not_matter():
    text = policy({"a": "x"})

    judge(f" {text[:8]}\r\n{text[8:]}\n", {"a": "x"})


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.just(EXPIRATION)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(["expiration", "conditions", "a"]), st.text(max_size=3)),
            inner,
            max_size=4,
        ),
    ),
)


@given(document=JSON, fields=st.dictionaries(st.sampled_from("abc"), st.text(max_size=3)))
def test_any_document_is_judged_or_refused(document, fields):
    try:
        judge(encoded(json.dumps(document)), fields)
    except Refused as refused:
        told = f"{refused.code} {refused.message}"
    else:
        told = ""
    told.encode()
    assert not told or told.startswith(("InvalidPolicyDocument ", "AccessDenied "))
