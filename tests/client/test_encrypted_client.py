"""`EncryptedClient` against a started server: S004.1, S004.4, S004.5, S004.10, S004.12, S004.13,
S004.35, S003.4, S003.10.
"""

import hashlib
import io
import secrets
import threading

import pytest

from strongroom import errors
from strongroom.client import AesKey, RsaKey, open_sealed, s3

MIB = 1024 * 1024
FORMATS = {
    "s3-v3": {},
    "sealed": {"format": "sealed"},
    "s3-v2": {"format": "s3-v2", "commitment_policy": "FORBID_ENCRYPT_ALLOW_DECRYPT"},
    "oss-v2": {
        "format": "oss-v2",
        "commitment_policy": "FORBID_ENCRYPT_ALLOW_DECRYPT",
        "formats": ["oss-v2"],
    },
}


@pytest.fixture(scope="module")
def raw(strongroom_server):
    return strongroom_server.boto3_client()


@pytest.fixture(scope="module")
def bucket(raw):
    raw.create_bucket(Bucket="client-side")
    return "client-side"


@pytest.fixture(params=FORMATS)
def written(request):
    return request.param


@pytest.fixture
def make(raw, written, rsa_pem):
    """Makes clients of the format at hand; all have the same key."""
    key = RsaKey(rsa_pem) if written == "oss-v2" else AesKey(bytes(range(32)))

    def client(**options):
        return s3.EncryptedClient(raw, key, **{**FORMATS[written], **options})

    return client


@pytest.fixture
def name(request):
    return request.node.name


def stored(raw, bucket, key):
    answer = raw.get_object(Bucket=bucket, Key=key)
    return answer, answer["Body"].read()


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 70_000])
def test_what_is_put_is_got(make, raw, bucket, name, size):
    plain = secrets.token_bytes(size)

    make().put_object(Bucket=bucket, Key=name, Body=plain, Metadata={"Colour": "blue"})
    answer = make().get_object(Bucket=bucket, Key=name)

    assert answer["Body"].read() == plain
    assert answer["ContentLength"] == size
    assert answer["Metadata"] == {"colour": "blue"}
    assert size < 16 or plain not in stored(raw, bucket, name)[1]


def test_the_store_has_what_open_sealed_opens(make, raw, bucket, name, written, rsa_pem):
    make().put_object(Bucket=bucket, Key=name, Body=b"a plain word")
    answer, body = stored(raw, bucket, name)
    headers = {"x-amz-meta-" + key: value for key, value in answer["Metadata"].items()}
    key = RsaKey(rsa_pem) if written == "oss-v2" else AesKey(bytes(range(32)))

    assert open_sealed(headers, body, key) == b"a plain word"


def test_head_tells_the_size_of_the_plaintext(make, bucket, name):
    make().put_object(Bucket=bucket, Key=name, Body=b"x" * 1000, Metadata={"a": "b"})

    head = make().head_object(Bucket=bucket, Key=name)

    assert (head["ContentLength"], head["Metadata"]) == (1000, {"a": "b"})


def test_a_listing_tells_plain_sizes_when_asked(make, bucket, name):
    make().put_object(Bucket=bucket, Key=f"{name}/a", Body=b"x" * 123)

    listed = make().list_objects_v2(Bucket=bucket, Prefix=f"{name}/", plain_sizes=True)

    assert [entry["Size"] for entry in listed["Contents"]] == [123]


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=7-90000", 7, 90001),
        ("bytes=-5", -5, None),
        ("bytes=9-", 9, None),
    ],
)
def test_a_range_is_one_of_the_plaintext(make, bucket, name, asked, start, end):
    plain = secrets.token_bytes(200_000)
    make().put_object(Bucket=bucket, Key=name, Body=plain)

    answer = make().get_object(Bucket=bucket, Key=name, Range=asked)

    wanted = plain[start:end]
    first = start % len(plain)
    assert answer["Body"].read() == wanted
    assert answer["ContentLength"] == len(wanted)
    assert answer["ContentRange"] == f"bytes {first}-{first + len(wanted) - 1}/200000"


def test_a_range_behind_the_end_is_refused(make, bucket, name):
    make().put_object(Bucket=bucket, Key=name, Body=b"short")

    with pytest.raises(errors.RangeNotSatisfiable):
        make().get_object(Bucket=bucket, Key=name, Range="bytes=5-")


def test_files_go_up_and_down_in_parts(make, raw, bucket, name, tmp_path):
    plain = secrets.token_bytes(19 * MIB + 5)
    (tmp_path / "up").write_bytes(plain)
    told_up, told_down = [], []
    client = make(part_bytes=5 * MIB)

    client.upload_file(tmp_path / "up", bucket, name, Callback=told_up.append)
    client.download_file(bucket, name, tmp_path / "down", Callback=told_down.append)

    assert (tmp_path / "down").read_bytes() == plain
    assert sum(told_up) == sum(told_down) == len(plain)
    assert len(told_up) == 4
    assert raw.head_object(Bucket=bucket, Key=name)["ETag"].endswith('-4"')
    assert sorted(path.name for path in tmp_path.iterdir()) == ["down", "up"]
    assert make().get_object(Bucket=bucket, Key=name)["Body"].read() == plain


class Dribble(io.RawIOBase):
    """Gives less than it is asked for, and does not know how much there is."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def read(self, count=-1):
        return self._data.read(min(count, 999_983))


def test_a_stream_of_unknown_length_is_uploaded(make, bucket, name):
    plain = secrets.token_bytes(11 * MIB)
    back = io.BytesIO()
    client = make(part_bytes=5 * MIB)

    client.upload_fileobj(Dribble(plain), bucket, name)
    client.download_fileobj(bucket, name, back)

    assert back.getvalue() == plain


def test_a_body_is_read_in_pieces_and_lines(make, bucket, name):
    plain = b"".join(b"line %d\r\n" % number for number in range(1000)) + b"no end"
    make().put_object(Bucket=bucket, Key=name, Body=plain)
    client = make()

    def body():
        return client.get_object(Bucket=bucket, Key=name)["Body"]

    assert b"".join(body().iter_chunks(7)) == plain
    assert list(body().iter_lines(11)) == plain.split(b"\r\n")
    assert io.BufferedReader(body()).readlines() == plain.splitlines(keepends=True)
    with body() as opened:
        assert opened.read(3) + opened.read(0) + opened.read() == plain


def test_a_copy_opens_whatever_happens_to_its_metadata(make, bucket, name):
    client = make()
    client.put_object(Bucket=bucket, Key=name, Body=b"kept", Metadata={"old": "1"})

    client.copy_object(
        Bucket=bucket,
        Key=name + "-new",
        CopySource={"Bucket": bucket, "Key": name},
        MetadataDirective="REPLACE",
        Metadata={"new": "2"},
        ContentType="text/plain",
    )
    client.copy_object(Bucket=bucket, Key=name + "-same", CopySource=f"{bucket}/{name}")
    new = client.get_object(Bucket=bucket, Key=name + "-new")

    assert new["Body"].read() == b"kept"
    assert (new["Metadata"], new["ContentType"]) == ({"new": "2"}, "text/plain")
    assert client.get_object(Bucket=bucket, Key=name + "-same")["Metadata"] == {"old": "1"}


def test_plain_and_stripped_objects_are_refused_unless_allowed(make, raw, bucket, name):
    raw.put_object(Bucket=bucket, Key=name, Body=b"never encrypted")

    for call in (make().get_object, make().head_object):
        with pytest.raises(errors.NotSealed):
            call(Bucket=bucket, Key=name)
    allowed = make(allow_plaintext=True).get_object(Bucket=bucket, Key=name)

    assert allowed["Body"].read() == b"never encrypted"


def test_another_key_opens_nothing(make, raw, bucket, name, written):
    make().put_object(Bucket=bucket, Key=name, Body=b"secret")
    other = s3.EncryptedClient(raw, AesKey(bytes(32)), **FORMATS[written])

    with pytest.raises(errors.WrongKey):
        other.get_object(Bucket=bucket, Key=name)


def damaged(raw, bucket, key, change):
    answer, body = stored(raw, bucket, key)
    raw.put_object(
        Bucket=bucket, Key=key, Body=change(bytearray(body)), Metadata=answer["Metadata"]
    )


def flip(body):
    body[len(body) // 2] ^= 1
    return bytes(body)


DAMAGE = {
    "flipped": flip,
    "cut": lambda body: bytes(body[:-1]),
    "cut by a tag": lambda body: bytes(body[:-16]),
    "longer": lambda body: bytes(body) + b"\0",
    "empty": lambda _body: b"",
    "doubled": lambda body: bytes(body) * 2,
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_before_anything_is_returned(
    make, raw, bucket, name, written, change, tmp_path
):
    if written == "oss-v2":
        pytest.skip("this format authenticates nothing; docs/guide says so")
    client = make()
    client.put_object(Bucket=bucket, Key=name, Body=secrets.token_bytes(200_000))
    damaged(raw, bucket, name, change)
    back = io.BytesIO()

    with pytest.raises(errors.NotAuthentic):
        client.get_object(Bucket=bucket, Key=name)["Body"].read()
    with pytest.raises(errors.NotAuthentic):
        client.get_object(Bucket=bucket, Key=name, Range="bytes=-100000")["Body"].read()
    with pytest.raises(errors.NotAuthentic):
        client.download_file(bucket, name, tmp_path / "down")
    with pytest.raises(errors.NotAuthentic):
        client.download_fileobj(bucket, name, back)
    assert list(tmp_path.iterdir()) == []
    assert written == "sealed" or back.getvalue() == b""


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_verified_range_is_right_or_refused_whatever_is_damaged_elsewhere(
    raw, bucket, name, change
):
    client = s3.EncryptedClient(raw, AesKey(bytes(32)), format="sealed")
    plain = secrets.token_bytes(400_000)
    client.put_object(Bucket=bucket, Key=name, Body=plain)
    damaged(raw, bucket, name, change)
    right = refused = 0

    for start in range(0, 400_000, 40_000):
        try:
            answer = client.get_object(Bucket=bucket, Key=name, Range=f"bytes={start}-{start + 9}")
            assert answer["Body"].read() == plain[start : start + 10]
            right += 1
        except (errors.NotAuthentic, errors.RangeNotSatisfiable):
            refused += 1

    assert right + refused == 10
    # Only what is in the damaged segment is lost, or everything where the length gives it away.
    assert right in {10, 9, 8, 0}


def test_metadata_with_a_name_of_envelopes_is_refused(make, bucket, name):
    with pytest.raises(ValueError, match="X-Amz-Key-V2"):
        make().put_object(Bucket=bucket, Key=name, Body=b"", Metadata={"X-Amz-Key-V2": "mine"})


def test_what_describes_the_plaintext_is_compared_or_refused(make, bucket, name):
    with pytest.raises(errors.DigestMismatch):
        make().put_object(Bucket=bucket, Key=name, Body=b"x", ContentMD5="A" * 22 + "==")
    with pytest.raises(ValueError, match="ChecksumCRC32"):
        make().put_object(Bucket=bucket, Key=name, Body=b"x", ChecksumCRC32="AAAAAA==")


def test_an_upload_that_fails_leaves_nothing_open(make, raw, bucket, name):
    class Broken(Dribble):
        def read(self, count=-1):
            if self._data.tell() > 12 * MIB:
                raise OSError("the disk went away")
            return super().read(count)

    with pytest.raises(OSError, match="went away"):
        make(part_bytes=5 * MIB).upload_fileobj(Broken(bytes(20 * MIB)), bucket, name)

    uploads = raw.list_multipart_uploads(Bucket=bucket, Prefix=name)
    assert uploads.get("Uploads", []) == []


def test_a_bound_object_opens_only_under_its_name(raw, bucket):
    client = s3.EncryptedClient(raw, AesKey(bytes(32)), format="sealed", bind_name=True)
    client.put_object(Bucket=bucket, Key="bound/a", Body=b"a")
    client.put_object(Bucket=bucket, Key="bound/b", Body=b"b")
    source = {"Bucket": bucket, "Key": "bound/a"}

    raw.copy_object(Bucket=bucket, Key="bound/b", CopySource=source)
    client.copy_object(Bucket=bucket, Key="bound/c", CopySource=source)

    with pytest.raises(errors.NotAuthentic):
        client.get_object(Bucket=bucket, Key="bound/b")
    assert client.get_object(Bucket=bucket, Key="bound/c")["Body"].read() == b"a"


@pytest.mark.parametrize("written", ["s3-v3", "sealed", "s3-v2"])
def test_keys_may_lie_beside_the_object(make, raw, bucket, name):
    client = make(instruction_file=True)
    client.put_object(Bucket=bucket, Key=name, Body=b"beside")
    client.copy_object(Bucket=bucket, Key=name + "2", CopySource={"Bucket": bucket, "Key": name})

    assert client.get_object(Bucket=bucket, Key=name)["Body"].read() == b"beside"
    assert client.head_object(Bucket=bucket, Key=name + "2")["ContentLength"] == 6
    client.delete_object(Bucket=bucket, Key=name)
    client.delete_object(Bucket=bucket, Key=name + "2")
    assert "Contents" not in raw.list_objects_v2(Bucket=bucket, Prefix=name)


def test_delete_leaves_what_is_only_named_like_an_instruction_file(make, raw, bucket, name):
    client = make()
    client.put_object(Bucket=bucket, Key=name, Body=b"x")
    raw.put_object(Bucket=bucket, Key=name + ".instruction", Body=b"a recipe")

    client.delete_object(Bucket=bucket, Key=name)

    listed = raw.list_objects_v2(Bucket=bucket, Prefix=name)["Contents"]
    assert [entry["Key"] for entry in listed] == [name + ".instruction"]


def test_policies_have_the_meaning_of_amazons(raw, bucket):
    key = AesKey(bytes(32))
    old = s3.EncryptedClient(
        raw, key, format="s3-v2", commitment_policy="FORBID_ENCRYPT_ALLOW_DECRYPT"
    )
    between = s3.EncryptedClient(raw, key, commitment_policy="REQUIRE_ENCRYPT_ALLOW_DECRYPT")
    strict = s3.EncryptedClient(raw, key)
    old.put_object(Bucket=bucket, Key="policy/old", Body=b"old")
    strict.put_object(Bucket=bucket, Key="policy/new", Body=b"new")

    assert between.get_object(Bucket=bucket, Key="policy/old")["Body"].read() == b"old"
    assert old.get_object(Bucket=bucket, Key="policy/new")["Body"].read() == b"new"
    with pytest.raises(errors.UnsupportedFormat):
        strict.get_object(Bucket=bucket, Key="policy/old")
    for options in ({"format": "s3-v2"}, {"commitment_policy": "FORBID_ENCRYPT_ALLOW_DECRYPT"}):
        with pytest.raises(ValueError, match="does not write"):
            s3.EncryptedClient(raw, key, **options)


def test_many_threads_share_one_client(make, bucket, name):
    client = make()
    found = {}

    def work(number):
        plain = hashlib.sha256(b"%d" % number).digest() * 5000
        client.put_object(Bucket=bucket, Key=f"{name}/{number}", Body=plain)
        body = client.get_object(Bucket=bucket, Key=f"{name}/{number}")["Body"]
        found[number] = body.read() == plain

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == dict.fromkeys(range(6), True)
