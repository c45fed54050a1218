"""JSON documents by the model, with botocore as the judge in both directions."""

import datetime as dt
import json

import botocore.session
import pytest
from botocore import parsers, serialize
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.dialects.kms.aws import protocol
from strongroom.wire import json_body

FACTS = protocol.MODEL


SERVICE = botocore.session.get_session().get_service_model("kms")
BROKEN = "Value at '{}' failed to satisfy constraint: Member must "


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
REQUESTS = st.fixed_dictionaries(
    {"KeyId": TEXT, "Plaintext": st.binary(max_size=20)},
    optional={
        "EncryptionContext": st.dictionaries(TEXT, TEXT, max_size=3),
        "GrantTokens": st.lists(TEXT, max_size=2),
        "DryRun": st.booleans(),
    },
)
KEYS = st.fixed_dictionaries(
    {"KeyId": TEXT, "Enabled": st.booleans()},
    optional={
        "CreationDate": st.integers(0, 2**42).map(
            lambda ms: dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
        ),
        "EncryptionAlgorithms": st.lists(TEXT, max_size=2),
        "PendingDeletionWindowInDays": st.integers(0, 365),
    },
)


@given(REQUESTS)
@settings(deadline=None)
def test_what_botocore_writes_is_read_as_it_was_meant(params):
    model = SERVICE.operation_model("Encrypt")
    sent = serialize.create_serializer("json", False).serialize_to_request(params, model)

    assert json_body.read(FACTS, "EncryptRequest", sent["body"]) == params


@given(KEYS)
@settings(deadline=None)
def test_what_is_written_is_read_by_botocore_as_it_was_meant(metadata):
    model = SERVICE.operation_model("DescribeKey")
    body = json_body.write(FACTS, "DescribeKeyResponse", {"KeyMetadata": metadata})

    found = parsers.create_parser("json").parse(
        {"body": body, "headers": {}, "status_code": 200}, model.output_shape
    )

    assert found["KeyMetadata"] == metadata


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"nonsense",
        b"\xff",
        b"[" * 100_000,
        b'{"KeyId": 1}',
        b'{"KeyId": "a", "KeyId": "b"}',
        b'{"Plaintext": "not base64!"}',
        b'{"Plaintext": {}}',
        b'{"EncryptionContext": []}',
        b'{"EncryptionContext": {"a": 1}}',
        b'{"EncryptionContext": {"a": "1", "a": "2"}}',
        b'{"GrantTokens": "a"}',
        b'{"DryRun": "true"}',
        b'{"DryRun": NaN}',
        b'{"KeyId": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: body[:30],
)
def test_what_is_not_of_the_shape_is_malformed(body):
    with pytest.raises(errors.MalformedDocument):
        json_body.read(FACTS, "EncryptRequest", body)


def test_booleans_are_no_numbers():
    with pytest.raises(errors.MalformedDocument):
        json_body.read(FACTS, "ListKeysRequest", b'{"Limit": true}')


def test_null_unknown_and_absent_members_are_left_out():
    assert json_body.read(FACTS, "EncryptRequest", b'{"KeyId": null, "New": [1]}') == {}
    assert json_body.read(FACTS, "EncryptRequest", b"") == {}


def test_a_member_that_the_shape_has_not_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        json_body.write(FACTS, "EncryptResponse", {"Keyid": "a"})
    assert json.loads(json_body.write(FACTS, "EncryptResponse", {"KeyId": None})) == {}


@pytest.mark.parametrize(
    ("shape", "params", "broken"),
    [
        ("EncryptRequest", {"KeyId": "k", "Plaintext": b"x"}, []),
        (
            "EncryptRequest",
            {"KeyId": "", "Plaintext": bytes(4097)},
            [
                ("keyId", "have length greater than or equal to 1"),
                ("plaintext", "have length less than or equal to 4096"),
            ],
        ),
        ("EncryptRequest", {"Plaintext": b"x"}, [("keyId", "not be null")]),
        ("ListKeysRequest", {"Limit": 0}, [("limit", "have value greater than or equal to 1")]),
        (
            "CreateKeyRequest",
            {"Tags": [{"TagKey": "", "TagValue": ""}]},
            [("tags.1.member.tagKey", "have length greater than or equal to 1")],
        ),
        (
            "CreateAliasRequest",
            {"AliasName": "alias/ä\n", "TargetKeyId": "k"},
            [("aliasName", "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")],
        ),
    ],
)
def test_broken_constraints_are_told_as_aws_does_without_the_value(shape, params, broken):
    texts = [BROKEN.format(place) + text for place, text in broken]

    assert list(json_body.violations(FACTS, shape, params)) == texts


def test_every_pattern_of_the_model_compiles():
    for shape in FACTS.shapes.values():
        if shape.pattern is not None:
            json_body._pattern(shape.pattern)  # noqa: SLF001 - all of them, not only those of a request
