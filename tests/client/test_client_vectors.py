"""What seven clients of other people wrote, read by ours: every object, range and refusal.

S004.6, S004.9, S004.14, S004.15, S004.16, S004.17, S004.18, S004.21, S004.22, S004.27, S004.37,
S004.44, S004.46, S004.47, S004.48, S004.49, S004.50, S004.51, S004.52. Who wrote what is told in
`tests/vectors/cse/README.md`.
"""

import base64
import hashlib
import json
import pathlib

import pytest

from strongroom import errors
from strongroom.client import RsaKey, open_sealed

VECTORS = pathlib.Path(__file__).parents[1] / "vectors/cse"

RAISED = {
    "no_key": errors.WrongKey,
    "unwrap": errors.WrongKey,
    "context": errors.WrongKey,
    "unsupported": errors.UnsupportedFormat,
    "envelope": errors.MalformedEnvelope,
    "integrity": errors.NotAuthentic,
    "commitment": errors.NotAuthentic,
}


def opened(vector, body=None, **options):
    return open_sealed(
        vector.headers,
        vector.body if body is None else body,
        vector.keys,
        instruction=vector.instruction,
        context=vector.context,
        **options,
    )


def behind_a_function(vector):
    return lambda start, end: vector.body[start:end]


def test_all_vectors_are_there():
    reads = [json.loads(path.read_text("utf-8"))["reads"] for path in VECTORS.glob("*.json")]

    assert len(reads) + sum(map(len, reads)) == 573


def test_a_whole_object_opens(good_vector):
    plain = opened(good_vector)

    assert len(plain) == good_vector.size
    assert hashlib.sha256(plain).hexdigest() == good_vector.sha256


@pytest.mark.parametrize("unverified", [False, True], ids=["verified", "unverified"])
def test_every_range_opens(good_vector, unverified):
    for read in good_vector.reads:
        wanted = (read["first"], read["last"] + 1)

        plain = opened(
            good_vector,
            behind_a_function(good_vector),
            byte_range=wanted,
            unverified_ranges=unverified,
        )

        assert hashlib.sha256(plain).hexdigest() == read["sha256"], wanted


def test_every_refusal_is_of_the_right_kind(bad_vector):
    kinds = tuple(RAISED[kind] for kind in bad_vector.expect_error.split("|"))

    with pytest.raises(kinds):
        opened(bad_vector)


def test_the_other_vendors_prefix_makes_no_difference(good_vector):
    other = {"x-amz-meta-": "x-oss-meta-", "x-oss-meta-": "x-amz-meta-"}
    swapped = {
        other.get(name[:11], name[:11]) + name[11:]: value
        for name, value in good_vector.headers.items()
    }

    plain = open_sealed(
        swapped,
        good_vector.body,
        good_vector.keys,
        instruction=good_vector.instruction,
        context=good_vector.context,
    )

    assert hashlib.sha256(plain).hexdigest() == good_vector.sha256


def test_a_body_behind_a_function_is_read_whole(good_vector):
    plain = opened(good_vector, behind_a_function(good_vector))

    assert hashlib.sha256(plain).hexdigest() == good_vector.sha256


def test_what_a_writer_announced_is_compared_when_asked():
    """S004.19, S004.20: oss2 writes both if the caller gave them, even if they are wrong."""
    found = json.loads((VECTORS / "oss2-v2-rsa-pkcs8-1000-headers.json").read_text("utf-8"))
    key = RsaKey(found["master_keys"][0]["private_key_pem"])
    headers, body = found["stored"]["headers"], base64.b64decode(found["stored"]["body_b64"])
    plain = open_sealed(headers, body, key)
    right = base64.b64encode(hashlib.md5(plain, usedforsecurity=False).digest()).decode()
    name = "x-oss-meta-client-side-encryption-unencrypted-content-"

    assert open_sealed({**headers, name + "md5": right}, body, key, check_announced=True) == plain
    with pytest.raises(errors.NotAuthentic):
        open_sealed(headers, body, key, check_announced=True)
    with pytest.raises(errors.NotAuthentic):
        open_sealed(
            {**headers, name + "md5": right, name + "length": "999"},
            body,
            key,
            check_announced=True,
        )
