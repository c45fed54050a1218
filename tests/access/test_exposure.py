"""Which bucket policies are public."""

import json

import pytest

from strongroom.access import documents, exposure

OPEN = {
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::bucket/*",
}


def is_public(*statements):
    text = json.dumps({"Version": "2012-10-17", "Statement": statements})
    return exposure.is_public(documents.parse(text, documents.Kind.BUCKET))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": ["123456789012", "*"]}},
        {"Condition": {"StringLike": {"aws:Referer": "https://example.com/*"}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/1"]}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": "::/0"}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": "${aws:username}"}}},
        {"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Condition": {"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Condition": {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:root"}}},
        {"Condition": {"ForAllValues:StringEquals": {"aws:userid": "AIDA"}}},
        {"Condition": {"StringNotEquals": {"aws:userid": "AIDA"}}},
    ],
)
def test_what_speaks_to_everybody_is_public(changes):
    assert is_public(OPEN | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": "Deny"},
        {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}},
        {"Principal": {"Service": "logging.s3.amazonaws.com"}},
        {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"]}}},
        {"Condition": {"StringEquals": {"aws:userid": ["AIDA", "AIDB"]}}},
        {"Condition": {"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::123456789012:root"}}},
    ],
)
def test_what_speaks_to_somebody_is_not(changes):
    assert not is_public(OPEN | changes)


def test_one_public_statement_makes_a_policy_public():
    assert is_public(OPEN | {"Principal": {"AWS": "123456789012"}}, OPEN)
