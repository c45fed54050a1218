"""Policy documents: what is refused, and in which words."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from strongroom import errors
from strongroom.access import documents

GOOD = {
    "Sid": "One",
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::bucket/*",
}


def bent(**changes):
    """A good statement, with fields changed or, by None, left out."""
    fields = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return json.dumps({"Version": "2012-10-17", "Statement": [fields]})


def refusal(text, kind=documents.Kind.BUCKET):
    with pytest.raises(errors.MalformedPolicy) as caught:
        understood(text, kind)
    return str(caught.value)


def understood(text, kind):
    if kind is documents.Kind.BUCKET:
        return documents.parse_for_bucket(text, "bucket")
    return documents.parse(text, kind)


def test_a_good_policy_is_understood():
    found = documents.parse_for_bucket(bent(), "bucket").statements[0]

    assert found.allows
    assert found.sid == "One"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "This policy contains invalid Json"),
        ("{", "This policy contains invalid Json"),
        ("[]", "Policies must be valid JSON and the first byte must be '{'"),
        ('"x"', "Policies must be valid JSON and the first byte must be '{'"),
        ("[" * 10_000, "This policy contains invalid Json"),
        ('{"Statement": NaN}', "This policy contains invalid Json"),
        ('{"Id": "\\ud800", "Statement": []}', "This policy contains invalid Json"),
        ('{"Statement": [], "Statement": []}', "This policy contains invalid Json"),
        (bent().replace('"Effect"', '"Effect": "Deny", "Effect"'), "This policy contains invalid Json"),
        ('{"Statement": []}', "Could not parse the policy: Statement is empty!"),
        ('{"Version": "2012-10-17"}', "Missing required field Statement"),
        ('{"Version": "2020-01-01", "Statement": []}', "The policy must contain a valid version string"),
        ('{"Id": 1, "Statement": []}', "The policy has an invalid Id"),
        ('{"Statments": []}', "Unknown field Statments"),
        ('{"Statement": ["x"]}', "Could not parse the policy: Statement is not an object"),
        (" " * 20_480 + bent(), "Policy exceeds the maximum allowed document size."),
    ],
)  # fmt: skip
def test_a_document_that_is_no_policy_is_refused(text, message):
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Effect": None}, "Missing required field Effect"),
        ({"Effect": "allow"}, "Invalid effect: allow"),
        ({"Effect": ["Allow"]}, "Invalid effect: ['Allow']"),
        ({"Sid": 1}, "Statement IDs (SID) must be alpha-numeric."),
        ({"Principal": None}, "Missing required field Principal"),
        ({"Principal": "ann"}, "Invalid principal in policy"),
        ({"Principal": {}}, "Invalid principal in policy"),
        ({"Principal": {"AWS": []}}, "Invalid principal in policy"),
        ({"Principal": {"AWS": "arn:aws:iam::1:user/*"}}, "Invalid principal in policy"),
        ({"Principal": {"AWS": "arn:aws:iam::*:root"}}, "Invalid principal in policy"),
        ({"Principal": {"CanonicalUser": "*"}}, "Invalid principal in policy"),
        ({"Principal": {"Service": "example.com"}}, "Invalid principal in policy"),
        ({"Principal": {"Federated": "*"}}, "Invalid principal in policy"),
        ({"Principal": {"Alien": "*"}}, "Invalid principal in policy"),
        ({"Principal": ["*"]}, "Invalid principal in policy"),
        ({"NotPrincipal": "*"}, "Statement must not contain both Principal and NotPrincipal"),
        (
            {"Principal": None, "NotPrincipal": {"AWS": "123456789012"}},
            "Allow with NotPrincipal is not allowed.",
        ),
        ({"Action": None}, "Missing required field Action"),
        ({"Action": []}, "Policy has invalid action"),
        ({"Action": ""}, "Policy has invalid action"),
        ({"Action": "GetObject"}, "Policy has invalid action"),
        ({"Action": "iam:GetUser"}, "Policy has invalid action"),
        ({"Action": "s3:GetObjects"}, "Policy has invalid action"),
        ({"Action": {"s3": "GetObject"}}, "Policy has invalid action"),
        ({"NotAction": "s3:PutObject"}, "Statement must not contain both Action and NotAction"),
        ({"Resource": None}, "Missing required field Resource"),
        ({"Resource": "bucket/*"}, "Policy has invalid resource"),
        ({"Resource": "arn:aws:s3:::another/*"}, "Policy has invalid resource"),
        ({"Resource": "arn:aws:sqs:::bucket"}, "Policy has invalid resource"),
        ({"Resource": "arn:aws:s3:::bucket"}, "Action does not apply to any resource(s) in statement"),
        ({"Action": "s3:ListBucket"}, "Action does not apply to any resource(s) in statement"),
        ({"NotResource": "arn:aws:s3:::b"}, "Statement must not contain both Resource and NotResource"),
        ({"Condition": []}, "Policy has an invalid condition"),
        ({"Condition": {"StringEquals": {}}}, "Policy has an invalid condition"),
        ({"Condition": {"StringEquals": {"aws:x": []}}}, "Policy has an invalid condition"),
        ({"Condition": {"StringEquals": {"aws:x": {}}}}, "Policy has an invalid condition"),
        ({"Condition": {"Equals": {"aws:x": "y"}}}, "Invalid Condition type : Equals"),
        ({"Condition": {"StringEquals": {"x": "y"}}}, "Policy has an invalid condition key"),
        ({"Conditions": {}}, "Unknown field Conditions"),
    ],
)  # fmt: skip
def test_a_statement_that_says_too_little_or_too_much_is_refused(changes, message):
    assert refusal(bent(**changes)) == message


@pytest.mark.parametrize(
    "principal",
    [
        {"AWS": "*"},
        {"AWS": ["123456789012", "arn:aws:iam::123456789012:root"]},
        {"AWS": "arn:aws:iam::s3tenant1:root"},
        {"AWS": "arn:aws:iam:::user/ann"},
        {"AWS": "arn:aws:sts::123456789012:assumed-role/role/session"},
        {"AWS": "a" * 64, "CanonicalUser": ["b" * 64]},
        {"Service": "logging.s3.amazonaws.com"},
        {"Federated": "https://accounts.example.com"},
    ],
)
def test_principals_are_written_in_several_ways(principal):
    documents.parse_for_bucket(bent(Principal=principal), "bucket")


@pytest.mark.parametrize(
    "changes",
    [
        {"Resource": "arn:aws:s3:::*", "Action": "s3:ListBucket"},
        {"Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"], "Action": "s3:*"},
        {"Resource": "*", "Action": "*"},
        {"Resource": "arn:aws:s3:::buck?t/${aws:username}/*"},
        {"Resource": "arn:aws:s3:::bucket", "Action": "S3:listbucket"},
        {"Condition": {"Bool": {"aws:SecureTransport": False}}},
        {"Condition": {"NumericLessThan": {"s3:max-keys": 10}}},
        {"Sid": "Allow Public Access to All Objects"},
        {"Effect": "Deny", "Principal": None, "NotPrincipal": {"AWS": "123456789012"}},
    ],
)
def test_what_aws_takes_is_taken(changes):
    documents.parse_for_bucket(bent(**changes), "bucket")


def test_statements_of_an_identity_have_names_of_their_own():
    named = {name: value for name, value in GOOD.items() if name != "Principal"}
    twice = json.dumps({"Statement": [named, named]})

    assert refusal(twice, documents.Kind.IDENTITY) == (
        "Statement IDs (SID) in a single policy must be unique."
    )


def test_one_statement_needs_no_list():
    assert documents.parse_for_bucket(json.dumps({"Statement": GOOD}), "bucket").statements


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("IDENTITY", {}, "Policy document should not specify a principal."),
        ("IDENTITY", {"Principal": None, "Sid": "a b"}, "Statement IDs (SID) must be alpha-numeric."),
        ("TRUST", {"Action": "sts:AssumeRole"}, "Has prohibited field Resource"),
        ("TRUST", {"Resource": None}, "Policy has invalid action"),
    ],
)  # fmt: skip
def test_documents_of_identities_have_other_fields(kind, changes, message):
    assert refusal(bent(**changes), documents.Kind[kind]) == message


def test_identities_have_actions_of_every_service():
    text = bent(Principal=None, Action=["iam:*", "s3:GetObject"], Resource="*")

    assert documents.parse(text, documents.Kind.IDENTITY).statements[0].principals is None


def test_a_document_tells_which_keys_it_asks_for():
    found = documents.parse_for_bucket(
        bent(
            Resource="arn:aws:s3:::bucket/${aws:username}/*",
            Condition={"StringEquals": {"s3:ExistingObjectTag/a": "${aws:PrincipalTag/B}"}},
        ),
        "bucket",
    )

    assert found.keys == {"aws:username", "s3:existingobjecttag/a", "aws:principaltag/B"}
    assert found.asks_for("s3:existingobjecttag/")
    assert not found.asks_for("s3:requestobjecttag")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["Allow", "Deny", "*", "s3:GetObject", "arn:aws:s3:::bucket/*", "AWS", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Version", "Statement", "Effect", "Principal", "Action", "Resource", "Condition"]
            ),
            inner,
            max_size=7,
        )
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from(documents.Kind))
def test_any_json_is_a_policy_or_is_refused(value, kind):
    try:
        found = documents.parse(json.dumps(value), kind)
    except errors.MalformedPolicy:
        return
    assert all(statement.actions for statement in found.statements)


@given(st.text(max_size=40))
def test_any_text_is_a_policy_or_is_refused(text):
    with pytest.raises(errors.MalformedPolicy):
        documents.parse(text, documents.Kind.BUCKET)
