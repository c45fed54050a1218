"""`strongroom cse`: what it tells of envelopes, and what it does to them."""

import base64
import itertools
import json
import os
import pathlib

import pytest

from strongroom.client import AesKey, RsaKey, s3

NUMBERS = itertools.count()
VECTORS = pathlib.Path(__file__).parents[1] / "vectors/cse"
OLD, NEW = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture(scope="session")
def rsa_pem():
    found = json.loads((VECTORS / "oss2-v2-rsa-pkcs1-100.json").read_text("utf-8"))
    return found["master_keys"][0]["private_key_pem"]


@pytest.fixture
def raw(strongroom_server):
    return strongroom_server.boto3_client()


@pytest.fixture
def bucket(raw):
    name = f"cse-{os.getpid()}-{next(NUMBERS)}"
    raw.create_bucket(Bucket=name)
    return name


@pytest.fixture
def do(run, strongroom_server, tmp_path):
    """Run `strongroom cse` as root of the private server, and expect its status."""
    (tmp_path / "old").write_bytes(OLD)
    (tmp_path / "new").write_text(NEW.hex())
    environ = {
        "AWS_ENDPOINT_URL": strongroom_server.endpoint_url,
        "AWS_CA_BUNDLE": strongroom_server.ca_bundle,
        "AWS_ACCESS_KEY_ID": strongroom_server.access_key,
        "AWS_SECRET_ACCESS_KEY": strongroom_server.secret_key,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }

    def invoke(*args, status=0, env=None, **kwargs):
        told = run("cse", *args, env=environ | (env or {}), **kwargs)
        assert told.exit_code == status, (told.output, told.stderr, told.exception)
        return told

    return invoke


def lines(told):
    return [json.loads(line) for line in told.stdout.splitlines()]


def sealed(raw, key=OLD, **options):
    return s3.EncryptedClient(raw, AesKey(key), **{"format": "sealed", **options})


def test_inspect_needs_no_key_and_tells_what_is_there(do, raw, bucket):
    sealed(raw, bind_name=True).put_object(Bucket=bucket, Key="a", Body=b"x" * 100)
    sealed(raw, format="s3-v3").put_object(Bucket=bucket, Key="b", Body=b"x" * 100)
    raw.put_object(Bucket=bucket, Key="c", Body=b"plain")

    a, b, c = lines(do("inspect", "--json", "-r", f"s3://{bucket}/"))

    assert (a["format"], a["plain_size"], a["bound_to"]) == ("sealed", 100, ["bucket", "key"])
    assert a["keys"] == [{"kind": "aes"}]
    assert (b["format"], b["wrap"], b["stored_size"]) == ("s3-v3", "AES/GCM", 116)
    assert (c["format"], c["stored_size"]) == (None, 5)
    assert "authenticates: every range" in do("inspect", f"s3://{bucket}/a").stdout


@pytest.mark.parametrize("kind", ["sealed", "s3-v3"])
@pytest.mark.parametrize("beside", [False, True], ids=["on the object", "beside it"])
def test_rekey_changes_the_key_and_nothing_else(do, raw, bucket, kind, beside):
    old = sealed(raw, format=kind, instruction_file=beside)
    old.put_object(
        Bucket=bucket, Key="a", Body=b"x" * 100, ContentType="text/x", Metadata={"u": "1"}
    )
    before = raw.get_object(Bucket=bucket, Key="a")["Body"].read()

    do("rekey", f"s3://{bucket}/a", "--cse-key", "old", "--new-cse-key", "new")

    answer = sealed(raw, NEW, format=kind).get_object(Bucket=bucket, Key="a")
    assert raw.get_object(Bucket=bucket, Key="a")["Body"].read() == before
    assert answer["Body"].read() == b"x" * 100
    assert (answer["ContentType"], answer["Metadata"]) == ("text/x", {"u": "1"})
    told = do("verify", f"s3://{bucket}/a", "--cse-key", "old", status=1)
    assert "no key opens this object" in told.stdout


def test_rekey_gives_several_recipients_of_mixed_kinds(do, raw, bucket, rsa_pem, tmp_path):
    (tmp_path / "pair.pem").write_text(rsa_pem)
    sealed(raw).put_object(Bucket=bucket, Key="a", Body=b"for two")

    do(
        *("rekey", f"s3://{bucket}/a", "--cse-key", "old"),
        *("--new-cse-key", "new", "--new-cse-key", "pair.pem", "--description", "year=2026"),
    )

    for key in (AesKey(NEW), RsaKey(rsa_pem)):
        client = s3.EncryptedClient(raw, key, format="sealed", try_all=True)
        assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"for two"
    (told,) = lines(do("inspect", "--json", f"s3://{bucket}/a"))
    assert [key["kind"] for key in told["keys"]] == ["aes", "rsa"]
    assert {key["description"]["year"] for key in told["keys"]} == {"2026"}


def test_verify_reads_to_the_end_and_says_what_fails(do, raw, bucket):
    for name in "ab":
        sealed(raw).put_object(Bucket=bucket, Key=name, Body=b"x" * 200_000)
    head = raw.head_object(Bucket=bucket, Key="b")
    body = bytearray(raw.get_object(Bucket=bucket, Key="b")["Body"].read())
    body[-1] ^= 1
    raw.put_object(Bucket=bucket, Key="b", Body=bytes(body), Metadata=head["Metadata"])

    told = do("verify", "--json", "-r", f"s3://{bucket}/", "--cse-key", "old", status=1)

    a, b = lines(told)
    assert (a["outcome"], a["size"]) == ("verified", 200_000)
    assert b["outcome"] == "failed"
    assert "Not every object" in told.stderr


def test_verify_opens_what_oss2_wrote_with_an_encrypted_key(do, raw, bucket, tmp_path):
    found = json.loads((VECTORS / "oss2-v2-rsa-encrypted-pem.json").read_text("utf-8"))
    (tmp_path / "pair.pem").write_text(found["master_keys"][0]["private_key_pem"])
    metadata = {
        name.removeprefix("x-oss-meta-"): value
        for name, value in found["stored"]["headers"].items()
        if name.startswith("x-oss-meta-")
    }
    body = base64.b64decode(found["stored"]["body_b64"])
    raw.put_object(Bucket=bucket, Key="a", Body=body, Metadata=metadata)
    passphrase = found["master_keys"][0]["passphrase"]

    told = do(
        *("verify", f"s3://{bucket}/a", "--cse-key", "pair.pem"),
        env={"STRONGROOM_PASSPHRASE": passphrase},
    )

    assert told.stdout.startswith("readable")
    wrong = do(
        *("verify", f"s3://{bucket}/a", "--cse-key", "pair.pem"),
        env={"STRONGROOM_PASSPHRASE": "no"},
        status=1,
    )
    assert "another passphrase" in wrong.stderr


def test_slips_are_said_in_a_sentence(do, raw, bucket):
    do("verify", f"s3://{bucket}/a", status=2)
    do("verify", "a/file", "--cse-key", "old", status=1)
    assert "names no object" in do("inspect", f"s3://{bucket}", status=1).stderr
    assert do("inspect", f"s3://{bucket}/none", status=1).stderr.count("\n") == 1
    raw.put_object(Bucket=bucket, Key="plain", Body=b"x")
    told = do("rekey", f"s3://{bucket}/plain", "--cse-key", "old", "--new-cse-key", "new", status=1)
    assert "no envelope" in told.stderr
