"""The fuzz targets in short: the corpus, and mutations of it. `make fuzz` goes on from here."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ENDINGS = {
    "chunked_bodies": {
        "empty": "decoded",
        "huge-size": "BodyTooLong",
        "long-line": "BodyMalformed",
        "long-trailers": "BodyMalformed",
        "longer-than-announced": "BodyTooLong",
        "signed": "decoded",
        "signed-trailers-as-minio-go": "decoded",
        "unsigned-trailer": "decoded",
        "wrong-signature": "Refused",
    },
    "xml_documents": {
        "attributes": "read",
        "complete": "read",
        "deep": "MalformedDocument",
        "delete": "read",
        "entities": " ".join(["MalformedDocument"] * 4),
        "location": "read",
        "prefixes": "MalformedDocument",
        "tagging": "read",
        "utf-16": " ".join(["MalformedDocument"] * 4),
    },
    "signatures": {
        "chunks": "SignatureDoesNotMatch",
        "header": "SignatureDoesNotMatch",
        "query": "SignatureDoesNotMatch",
        "sts": "SignatureDoesNotMatch",
        "version-2": "InvalidRequest",
        "version-2-header": "InvalidRequest",
    },
    "facet_values": {
        "copy": "",
        "get": "",
        "list": "",
        "presigned": "InvalidArgument",
        "put": "",
    },
    "policies": {
        "conditions": "18 of 54",
        "identity": "30 of 54",
        "only-sse-c": "0 of 54",
        "public": "24 of 54",
        "trust": "3 of 54",
        "twice": "This policy contains invalid Json",
    },
    "requests": {
        "acl": "GetObjectAcl 200",
        "attributes": "GetObjectAttributes 200",
        "attributes-of-parts": "GetObjectAttributes 200",
        "complete": "CompleteMultipartUpload 200",
        "copy": "CopyObject 200",
        "create-bucket": "CreateBucket 200",
        "delete-many": "DeleteObjects 200",
        "get": "GetObject 206",
        "get-range": "GetObject 206",
        "get-sealed": "GetObject 200",
        "head": "HeadObject 206",
        "list": "ListObjectsV2 200",
        "list-buckets": "ListBuckets 200",
        "list-parts": "ListParts 200",
        "list-uploads": "ListMultipartUploads 200",
        "list-v1": "ListObjects 200",
        "much-metadata": "MetadataTooLarge",
        "part-copy": "UploadPartCopy 200",
        "put-trailer": "PutObject 200",
        "tag": "PutObjectTagging 200",
    },
    "forms": {
        "anonymous": "anonymous",
        "cut": "BodyMalformed",
        "escapes": "allowed",
        "failed": "AccessDenied",
        "long-fields": "FieldsTooLong",
        "malformed-policy": "InvalidPolicyDocument",
        "no-boundary": "BodyMalformed",
        "quoted": "anonymous",
        "twice": "FieldRepeated",
        "two-files": "FileMissing",
        "uncovered": "AccessDenied",
        "version-2": "allowed",
        "version-4": "allowed",
    },
    "old_signatures": {
        "both": "InvalidArgument",
        "header": "SignatureDoesNotMatch",
        "header-amz-date": "SignatureDoesNotMatch",
        "header-garbled": "InvalidArgument",
        "header-late": "RequestTimeTooSkewed",
        "none": "no claim",
        "url": "SignatureDoesNotMatch",
        "url-expired": "AccessDenied",
        "url-for-ever": "AccessDenied",
        "url-in-part": "AccessDenied",
        "url-sealed": "SignatureDoesNotMatch",
    },
    "wrapped_keys": {
        "oss-v1-rsa": "oss-v1 40",
        "oss-v2-kms": "oss-v2 40",
        "oss-v2-rsa": "oss-v2 40",
        "plain": "NotSealed",
        "sealed-all": "sealed 40",
        "sealed-beside": "sealed 40",
        "two-formats": "MalformedEnvelope",
        "v2-aes": "s3-v2 40",
        "v2-kms": "s3-v2 40",
        "v2-rsa": "s3-v2 40",
        "v3-aes": "s3-v3 40",
        "v3-beside": "s3-v3 40",
        "v3-kms": "s3-v3 40",
        "v3-other-description": "WrongKey",
        "v3-other-description-try-all": "WrongKey",
        "v3-rsa": "s3-v3 40",
        "write-oss-v1": "oss-v1 written",
        "write-oss-v2": "oss-v2 written",
        "write-s3-v2": "s3-v2 written",
        "write-s3-v3": "s3-v3 written",
        "write-sealed": "sealed written",
    },
    "identity_tokens": {
        "authorised-party": "The ID Token's signature cannot be verified; signed: Incorrect token audience",
        "critical": "The ID Token provided is not a valid JWT. (You may see this ; signed: verified",
        "expired": "Token expired: current date/time 1800000000 must be before t; signed: Token expired: current date/time 1800000000 must be before t",
        "no-token": "The ID Token provided is not a valid JWT. (You may see this ; signed: The ID Token provided is not a valid JWT. (You may see this ",
        "not-yet": "The ID Token is not valid yet; signed: The ID Token is not valid yet",
        "other-audience": "Incorrect token audience; signed: Incorrect token audience",
        "other-key": "The ID Token's signature cannot be verified; signed: verified",
        "set": "2 keys",
        "set-private": "0 keys",
        "shared-secret": "The ID Token is signed with an algorithm that is not support; signed: verified",
        "tags": "The ID Token asks for session tags, which are not supported; signed: The ID Token asks for session tags, which are not supported",
        "unsigned": "The ID Token is signed with an algorithm that is not support; signed: verified",
        "url": "a name",
        "url-two-hosts": "no name",
    },
}
"""How each input of the corpus ends: the seeds get past the first checks."""

MUTATIONS = {"requests": 60, "wrapped_keys": 60}
PIECES = (
    b"", b"\0", b"\xff", b"\r\n", b"\n", b" ", b",", b";", b"=", b"&", b"%", b"%00", b"%ff", b"/",
    b"?", b":", b'"', b"-1", b"0", b"99999999999999999999", b"\xc3\xbc", b"\xed\xa0\x80",
    b"<", b">", b"</", b"&lt;", b"&#0;", b"<!--", b"]]>", b"*", b"bytes=", b"null",
)  # fmt: skip


def edits():
    place = st.floats(0, 1, exclude_max=True)
    piece = st.one_of(st.sampled_from(PIECES), st.binary(max_size=8))
    return st.lists(st.tuples(place, st.integers(0, 12), piece), min_size=1, max_size=6)


def edited(data, changes):
    for place, length, piece in changes:
        start = int(place * (len(data) + 1))
        data = data[:start] + piece + data[start + length :]
    return data


def test_every_target_is_tested_here(fuzz_main, corpus):
    assert tuple(ENDINGS) == fuzz_main.TARGETS
    assert {name: set(found) for name, found in ENDINGS.items()} == {
        name: set(corpus(name)) for name in ENDINGS
    }


@pytest.mark.parametrize("target", ENDINGS)
def test_the_corpus_ends_as_it_should(target, run_target, corpus):
    found = {name: run_target(target, data) for name, data in corpus(target).items()}

    assert found == ENDINGS[target]


@pytest.mark.parametrize("target", ENDINGS)
def test_mutations_of_the_corpus_are_read_or_refused(target, run_target, corpus):
    seeds = [data for _, data in sorted(corpus(target).items())]

    @settings(
        max_examples=MUTATIONS.get(target, 200),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.sampled_from(seeds), edits())
    def mutate(seed, changes):
        # A target raises for whatever is neither read nor refused in the domain's words.
        assert isinstance(run_target(target, edited(seed, changes)), str)

    mutate()


@pytest.mark.parametrize(
    ("target", "seed", "old", "new", "ending"),
    [
        ("chunked_bodies", "unsigned-trailer", b"world", b"w", "BodyMalformed"),
        ("xml_documents", "delete", b"</Key>", b"", "MalformedDocument"),
        ("signatures", "header", b"us-east-1", b"mars", "AuthorizationHeaderMalformed"),
        ("facet_values", "copy", b"bytes=0-99", b"bytes=9-0", "InvalidArgument"),
        ("policies", "public", b'"Allow"', b'"Deny"', "0 of 54"),
        ("policies", "public", b'"Effect"', b'"effect"', "Unknown field effect"),
        ("requests", "get-sealed", b"AAEC", b"AAED", "InvalidArgument"),
        (
            "wrapped_keys",
            "v3-aes",
            b"x-amz-meta-x-amz-d: ",
            b"x-amz-meta-x-amz-d: AAAA",
            "MalformedEnvelope",
        ),
        ("wrapped_keys", "sealed-all", b'"aes"', b'"rsa"', "NotAuthentic"),
        ("identity_tokens", "url", b"https", b"http", "no name"),
        ("requests", "list-parts", b"marker=0", b"marker=99999999999999999999", "InvalidArgument"),
    ],
)
def test_a_change_that_matters_is_refused(target, seed, old, new, ending, run_target, corpus):
    changed = corpus(target)[seed].replace(old, new)

    assert run_target(target, changed) == ending
