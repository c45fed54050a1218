"""Pages of other origins: documents, preflights, and headers on answers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.dialects.s3 import cors

VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
ANYONE = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}


@pytest.fixture
def share(bucket):
    """Give the bucket rules."""
    client = bucket.client()

    def put(*rules):
        client.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": list(rules)})

    return put


def preflight(store, origin="https://page", method="GET", headers=None, target="/bucket/key"):
    sent = {"origin": origin, "access-control-request-method": method}
    if headers:
        sent["access-control-request-headers"] = headers
    return store.ask("OPTIONS", target, {n: v for n, v in sent.items() if v}, who=None)


def shared(answer):
    return {n: v for n, v in answer.headers.items() if n.startswith("access-control-")}


# Documents.


def test_rules_are_set_shown_and_removed(bucket, share):
    client = bucket.client()
    rules = [
        {
            "ID": "uploads",
            "AllowedMethods": ["PUT", "POST"],
            "AllowedOrigins": ["https://*.example.com"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag", "x-amz-version-id"],
            "MaxAgeSeconds": 3000,
        },
        ANYONE,
    ]
    share(*rules)
    assert client.get_bucket_cors(Bucket="bucket")["CORSRules"] == rules

    client.delete_bucket_cors(Bucket="bucket")
    client.delete_bucket_cors(Bucket="bucket")
    answer = bucket.ask("GET", "/bucket?cors")
    assert (answer.status, answer.fault.code) == (404, "NoSuchCORSConfiguration")


@pytest.mark.parametrize(
    ("rule", "code", "says"),
    [
        ({"AllowedMethods": ["PATCH"]}, "InvalidRequest", "Unsupported method is PATCH"),
        ({"AllowedMethods": ["get"]}, "InvalidRequest", "Unsupported method is get"),
        (
            {"AllowedOrigins": ["http://*.*"]},
            "InvalidRequest",
            'AllowedOrigin "http://*.*" can not have more than one wildcard.',
        ),
        (
            {"AllowedHeaders": ["x-*-*"]},
            "InvalidRequest",
            'AllowedHeader "x-*-*" can not have more than one wildcard.',
        ),
        ({"ExposeHeaders": ["*"]}, "InvalidRequest", 'ExposeHeader "*" contains wildcard.'),
        ({"ExposeHeaders": ["a b"]}, "InvalidRequest", "contains invalid character."),
        ({"AllowedOrigins": []}, "MalformedXML", ""),
        ({"AllowedMethods": []}, "MalformedXML", ""),
        ({"AllowedOrigins": [""]}, "MalformedXML", ""),
        ({"ID": "i" * 256}, "MalformedXML", ""),
        ({"MaxAgeSeconds": -1}, "MalformedXML", ""),
    ],
)
def test_a_rule_that_cannot_be_is_refused(bucket, share, rule, code, says):
    client = bucket.client()

    with pytest.raises(client.exceptions.ClientError) as refused:
        share(ANYONE | rule)

    assert refused.value.response["Error"]["Code"] == code
    assert says in refused.value.response["Error"]["Message"]
    assert bucket.ask("GET", "/bucket?cors").status == 404


@pytest.mark.parametrize("count", [0, 101])
def test_a_document_has_1_to_100_rules(bucket, share, count):
    client = bucket.client()

    with pytest.raises(client.exceptions.ClientError, match="MalformedXML"):
        share(*[ANYONE] * count)
    share(*[ANYONE] * 100)


# Preflights.


def test_a_preflight_is_answered_by_the_first_rule_that_fits(bucket, share):
    share(
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://other"]},
        {
            "AllowedMethods": ["PUT", "GET"],
            "AllowedOrigins": ["https://page"],
            "AllowedHeaders": ["x-amz-*", "Content-Type"],
            "ExposeHeaders": ["ETag", "x-amz-request-id"],
            "MaxAgeSeconds": 60,
        },
        {"AllowedMethods": ["PUT"], "AllowedOrigins": ["*"], "AllowedHeaders": ["*"]},
    )

    answer = preflight(bucket, method="PUT", headers="X-Amz-Meta-A,content-type")

    assert (answer.status, answer.body) == (200, b"")
    assert shared(answer) == {
        "access-control-allow-origin": "https://page",
        "access-control-allow-methods": "PUT, GET",
        "access-control-allow-headers": "x-amz-meta-a, content-type",
        "access-control-expose-headers": "ETag, x-amz-request-id",
        "access-control-max-age": "60",
        "access-control-allow-credentials": "true",
    }
    assert answer.headers["vary"] == VARY
    assert answer.headers["content-length"] == "0"
    assert shared(preflight(bucket, method="PUT", headers="range")) == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "PUT",
        "access-control-allow-headers": "range",
    }


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 200),
        ({"target": "/bucket"}, 200),
        ({"target": "/bucket?uploads"}, 200),
        ({"origin": "https://Page"}, 403),
        ({"origin": "https://page.evil"}, 403),
        ({"method": "PUT"}, 403),
        ({"headers": "x-other"}, 403),
        ({"headers": "X-AMZ-DATE"}, 200),
        ({"headers": "x-amz-date, x-other"}, 403),
    ],
)
def test_a_preflight_must_fit_in_everything(bucket, share, asked, status):
    share(
        {
            "AllowedMethods": ["GET"],
            "AllowedOrigins": ["https://page"],
            "AllowedHeaders": ["x-amz-date"],
        }
    )

    answer = preflight(bucket, **asked)

    assert answer.status == status
    if status == 403:
        assert shared(answer) == {}
        assert answer.fault.code == "AccessForbidden"
        assert answer.fault.message.startswith("CORSResponse: This CORS request is not allowed.")
        assert answer.fault.fields == {
            "Method": asked.get("method", "GET"),
            "ResourceType": "OBJECT",
        }


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"origin": None}, "Insufficient information. Origin request header needed."),
        ({"method": None}, "Invalid Access-Control-Request-Method: null"),
        ({"method": "PATCH"}, "Invalid Access-Control-Request-Method: PATCH"),
    ],
)
def test_a_preflight_without_enough_information_is_refused(bucket, share, asked, says):
    share(ANYONE)

    answer = preflight(bucket, **asked)

    assert (answer.status, answer.fault.code) == (400, "BadRequest")
    assert answer.fault.message == says


def test_a_bucket_without_rules_is_shared_with_nobody(bucket):
    answer = preflight(bucket, target="/bucket")
    assert (answer.status, answer.fault.code) == (403, "AccessForbidden")
    assert answer.fault.message == "CORSResponse: CORS is not enabled for this bucket."
    assert answer.fault.fields["ResourceType"] == "BUCKET"

    assert (
        preflight(bucket, target="/nowhere/key").fault.message == "CORSResponse: Bucket not found"
    )
    assert preflight(bucket, target="/").status == 403


def test_a_preflight_for_a_bucket_of_the_host_is_answered(bucket, share):
    share(ANYONE)
    headers = {"origin": "https://page", "access-control-request-method": "GET"}

    answer = bucket.ask("OPTIONS", "/key", headers, who=None, host="bucket.localhost:9")

    assert answer.status == 200


# Answers.


def test_an_answer_says_who_may_see_it(bucket, share):
    share(
        {
            "AllowedMethods": ["GET"],
            "AllowedOrigins": ["https://page"],
            "ExposeHeaders": ["ETag"],
        }
    )
    bucket.ask("PUT", "/bucket/key", body=b"x")

    for target, status in (("/bucket/key", 200), ("/bucket/gone", 404), ("/bucket", 200)):
        answer = bucket.ask("GET", target, {"origin": "https://page"})
        assert answer.status == status
        assert shared(answer) == {
            "access-control-allow-origin": "https://page",
            "access-control-allow-methods": "GET",
            "access-control-expose-headers": "ETag",
            "access-control-allow-credentials": "true",
        }
        assert answer.headers["vary"] == VARY


def test_a_refusal_says_so_too(bucket, share):
    share(ANYONE)

    answer = bucket.ask("GET", "/bucket/key", {"origin": "https://page"}, who=None)

    assert answer.status == 403
    assert shared(answer)["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("headers", "method"),
    [
        ({}, "GET"),
        ({"origin": "https://other"}, "GET"),
        ({"origin": "https://page"}, "HEAD"),
    ],
)
def test_nobody_else_sees_it(bucket, share, headers, method):
    share({"AllowedMethods": ["GET"], "AllowedOrigins": ["https://page"]})
    bucket.ask("PUT", "/bucket/key", body=b"x")

    answer = bucket.ask(method, "/bucket/key", headers)

    assert answer.status == 200
    assert shared(answer) == {}
    assert ("vary" in answer.headers) == bool(headers)


def test_a_client_may_say_which_method_it_asks_about(bucket, share):
    share({"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]})
    headers = {"origin": "https://page", "access-control-request-method": "GET"}

    assert "access-control-allow-origin" in bucket.ask("PUT", "/bucket/key", headers).headers


def test_a_bucket_that_is_not_there_or_has_no_rules_adds_nothing(bucket):
    for target in ("/bucket", "/nowhere", "/"):
        assert shared(bucket.ask("GET", target, {"origin": "https://page"})) == {}


# Patterns.


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*", "", True),
        ("a*", "a", True),
        ("*a", "ba", True),
        ("a*b", "ab", True),
        ("a*b", "axyb", True),
        ("a*a", "a", False),
        ("ab*ba", "aba", False),
        ("a.c", "abc", False),
        ("", "", True),
    ],
)
def test_one_star_stands_for_anything(pattern, text, fits):
    rules = [{"AllowedMethods": ["GET"], "AllowedOrigins": [pattern]}]

    assert (cors.allowed(rules, cors.Asked(text, "GET")) is not None) == fits


@given(st.text("ab*", max_size=6), st.text("ab", max_size=6))
def test_a_pattern_fits_what_its_star_can_be_replaced_with(pattern, text):
    if pattern.count("*") > 1:
        return
    middles = ("".join(m) for n in range(7) for m in itertools.product("ab", repeat=n))
    expected = any(pattern.replace("*", middle) == text for middle in middles)
    rules = [{"AllowedMethods": ["GET"], "AllowedOrigins": [pattern]}]

    assert (cors.allowed(rules, cors.Asked(text, "GET")) is not None) == expected
