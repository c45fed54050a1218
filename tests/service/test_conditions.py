"""If-Match and friends, as RFC 9110 and S3 have them."""

import itertools

import pytest

from strongroom import errors
from strongroom.service import conditions
from strongroom.store import records

ETAG = "9bb58f26192e4ba00f01e2e7b136bbd8"
THEN = 1_700_000_000_999  # its second is 1_700_000_000_000
SECOND = 1_700_000_000_000


@pytest.fixture
def version():
    return records.Version("b", "k", "null", 3, ETAG, THEN, "o", "SSE-S3", bytes(16))


def outcome(when, version):
    try:
        when.check_read(version)
    except errors.PreconditionFailed as error:
        return error.condition
    except conditions.NotModified as error:
        return "not modified" if error.version is version else "another version"
    return "sent"


@pytest.mark.parametrize(
    "sent",
    [ETAG, f'"{ETAG}"', f'W/"{ETAG}"', "*", " * ", f'"a", "{ETAG}"', f'"a",W/"{ETAG}" ,"b"'],
)
def test_these_name_the_etag(version, sent):
    assert outcome(conditions.Conditions(if_match=sent), version) == "sent"
    assert outcome(conditions.Conditions(if_none_match=sent), version) == "not modified"


@pytest.mark.parametrize("sent", ["", '""', "x", ETAG[:-1], f"{ETAG}-1", ETAG.upper(), '"*"'])
def test_these_do_not(version, sent):
    assert outcome(conditions.Conditions(if_match=sent), version) == "If-Match"
    assert outcome(conditions.Conditions(if_none_match=sent), version) == "sent"


@pytest.mark.parametrize("since", [SECOND - 1000, SECOND, SECOND + 1000])
def test_times_are_compared_by_the_second(version, since):
    modified = outcome(conditions.Conditions(if_modified_since_ms=since), version)
    unmodified = outcome(conditions.Conditions(if_unmodified_since_ms=since), version)

    assert modified == ("sent" if since < SECOND else "not modified")
    assert unmodified == ("If-Unmodified-Since" if since < SECOND else "sent")


def test_the_order_is_that_of_rfc_9110(version):
    # 13.2.2: If-Match, else If-Unmodified-Since; then If-None-Match, else If-Modified-Since.
    etags = {None: None, True: ETAG, False: "other"}
    for match, unmodified, none_match, modified in itertools.product((None, True, False), repeat=4):
        when = conditions.Conditions(
            if_match=etags[match],
            if_unmodified_since_ms=None if unmodified is None else SECOND - 1 + unmodified,
            if_none_match=etags[none_match and "x"] if none_match is None else (
                "other" if none_match else ETAG
            ),
            if_modified_since_ms=None if modified is None else SECOND - modified,
        )  # fmt: skip
        if match is False:
            expected = "If-Match"
        elif match is None and unmodified is False:
            expected = "If-Unmodified-Since"
        elif none_match is False or (none_match is None and modified is False):
            expected = "not modified"
        else:
            expected = "sent"

        assert outcome(when, version) == expected


@pytest.mark.parametrize(
    ("when", "current", "expected"),
    [
        ({}, True, None),
        ({}, False, None),
        ({"if_none_match": "*"}, False, None),
        ({"if_none_match": "*"}, True, errors.PreconditionFailed),
        ({"if_none_match": ETAG}, True, errors.PreconditionFailed),
        ({"if_none_match": "other"}, True, None),
        ({"if_match": ETAG}, True, None),
        ({"if_match": "other"}, True, errors.PreconditionFailed),
        ({"if_match": "*"}, True, None),
        ({"if_match": "*"}, False, errors.ObjectNotFound),
    ],
)
def test_writes_are_guarded(version, when, current, expected):
    guard = conditions.Conditions(**when).guard("b", "k")

    if expected is None:
        guard(version if current else None)
    else:
        with pytest.raises(expected):
            guard(version if current else None)
