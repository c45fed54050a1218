"""`strongroom cp`, `ls`, `stat`, `rm`, `mb`, `rb` against a private server."""

import hashlib
import itertools
import json
import os
import stat
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from strongroom.cli.remote import attempts
from strongroom.testing import Strongroom

KEY = bytes(range(32))
MIB = 1024 * 1024
NUMBERS = itertools.count()

ODD_NAMES = [
    "plain.txt",
    " leading and trailing ",
    "ünïcødé 漢字 🗝",
    "e\u0301 is not \u00e9",
    "100%",
    "a%2Fb+c&d=e;f?versionId=1#g",
    "quo'te\"s`$(x)",
    "back\\slash",
    "new\nline\ttab",
    "bell\x07 escape\x1b[31m",
    "-dash",
    "...",
    "*[glob]?",
    "~home",
    "deep/er/and/deeper",
    "\ufeffmark\u202e",
    "x" * 200,
]


@pytest.fixture
def bucket(strongroom_server):
    name = f"cli-{os.getpid()}-{next(NUMBERS)}"
    strongroom_server.boto3_client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3(strongroom_server):
    return strongroom_server.boto3_client()


@pytest.fixture
def do(run, strongroom_server, tmp_path):
    """Run a command as root of the private server, and expect its status."""
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "other-key").write_bytes(KEY[::-1])
    environ = {
        "AWS_ENDPOINT_URL": strongroom_server.endpoint_url,
        "AWS_CA_BUNDLE": strongroom_server.ca_bundle,
        "AWS_ACCESS_KEY_ID": strongroom_server.access_key,
        "AWS_SECRET_ACCESS_KEY": strongroom_server.secret_key,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }

    def invoke(*args, status=0, env=None, **kwargs):
        told = run(*args, env=environ | (env or {}), **kwargs)
        assert told.exit_code == status, (told.output, told.stderr, told.exception)
        return told

    return invoke


def lines(told):
    return [json.loads(line) for line in told.stdout.splitlines()]


def noise(size, seed=0):
    return hashlib.shake_128(bytes([seed])).digest(size)


@pytest.mark.parametrize("key", [(), ("--sse-c-key", "key")], ids=["store", "customer"])
@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 11 * MIB + 7])
def test_a_file_comes_back_as_it_went(do, bucket, tmp_path, key, size):
    (tmp_path / "in").write_bytes(noise(size))

    do("cp", "in", f"s3://{bucket}/k", "--part-size", "5", *key)
    do("cp", f"s3://{bucket}/k", "out", "--part-size", "5", *key)

    assert (tmp_path / "out").read_bytes() == noise(size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "key", "other-key", "out"]


def test_a_tree_of_odd_names_comes_back_byte_for_byte(do, s3, bucket, tmp_path):
    for number, name in enumerate(ODD_NAMES):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * number)

    sent = lines(do("cp", "-r", "tree", f"s3://{bucket}/p", "--sse-c-key", "key", "--json"))
    fetched = lines(do("cp", "-r", f"s3://{bucket}/p", "back", "--sse-c-key", "key", "--json"))
    listed = {one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]}

    assert listed == {f"p/{name}" for name in ODD_NAMES}
    assert {line["target"] for line in sent} == {f"s3://{bucket}/p/{name}" for name in ODD_NAMES}
    assert {line["target"] for line in fetched} == {f"back/{name}" for name in ODD_NAMES}
    for number, name in enumerate(ODD_NAMES):
        assert (tmp_path / "back" / name).read_bytes() == name.encode() * number


def test_keys_that_no_path_can_have_are_told_and_the_rest_is_fetched(do, s3, bucket, tmp_path):
    for key in ("t/a", "t/../out-of-here", "t//double", "t/dir/", "t/a/b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else b"x")

    told = do("cp", "-r", f"s3://{bucket}/t", "deep/back", "--jobs", "1", status=1)

    assert "t/../out-of-here" not in told.stdout
    assert told.stderr.count("cannot be a file below") == 2
    assert (tmp_path / "deep/back/a").read_bytes() == b"x"
    assert (tmp_path / "deep/back/dir").is_dir()
    assert not (tmp_path / "deep/out-of-here").exists()
    assert told.stderr.count("\n") == 3  # `a/b` cannot lie below the file `a`


def test_an_object_whose_name_has_no_path_can_be_fetched_by_itself(do, s3, bucket, tmp_path):
    s3.put_object(Bucket=bucket, Key="../a//b/", Body=b"odd")

    do("cp", f"s3://{bucket}/../a//b/", "out")

    assert (tmp_path / "out").read_bytes() == b"odd"


def test_streams_go_in_and_come_out(do, bucket):
    data = noise(12 * MIB + 3)

    do("cp", "-", f"s3://{bucket}/k", "--part-size", "5", "--sse-c-key", "key", input=data)
    told = do("cp", f"s3://{bucket}/k", "-", "--sse-c-key", "key")

    assert told.stdout_bytes == data


def test_an_empty_stream_is_an_empty_object(do, s3, bucket):
    do("cp", "-", f"s3://{bucket}/k", input=b"")

    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 0


def test_a_copy_within_the_store_may_change_the_key(do, bucket, tmp_path):
    (tmp_path / "in.txt").write_bytes(b"secret")
    do("cp", "in.txt", f"s3://{bucket}/k", "--sse-c-key", "key", "--metadata", "a=b")

    where = f"s3://{bucket}/k"
    do("cp", where, where, "--source-sse-c-key", "key", "--sse-c-key", "other-key")
    refused = do("cp", where, "out", "--sse-c-key", "key", status=1)
    about = lines(do("stat", where, "--sse-c-key", "other-key", "--json"))[0]
    do("cp", where, "out", "--sse-c-key", "other-key")

    assert "another customer key guards it" in refused.stderr
    assert (about["content_type"], about["metadata"]) == ("text/plain", {"a": "b"})
    assert (tmp_path / "out").read_bytes() == b"secret"


def test_a_prefix_is_copied_to_another(do, s3, bucket):
    for number in range(3):
        s3.put_object(Bucket=bucket, Key=f"from/{number}", Body=b"%d" % number)

    do("cp", "-r", f"s3://{bucket}/from", f"s3://{bucket}/to")

    got = [s3.get_object(Bucket=bucket, Key=f"to/{number}")["Body"].read() for number in range(3)]
    assert got == [b"0", b"1", b"2"]


def test_a_changed_header_keeps_the_others(do, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", CacheControl="no-store", Metadata={"a": "b"})

    do("cp", f"s3://{bucket}/k", f"s3://{bucket}/k2", "--content-type", "text/x-new")

    head = s3.head_object(Bucket=bucket, Key="k2")
    assert (head["ContentType"], head["CacheControl"]) == ("text/x-new", "no-store")
    assert head["Metadata"] == {"a": "b"}


def test_names_are_found_for_targets_that_are_places(do, s3, bucket, tmp_path):
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    (tmp_path / "dir").mkdir()

    do("cp", "one", "two", f"s3://{bucket}/p/")
    do("cp", "one", f"s3://{bucket}")
    do("cp", f"s3://{bucket}/p/one", "dir")
    do("cp", f"s3://{bucket}/p/two", "made/")

    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["one", "p/one", "p/two"]
    assert (tmp_path / "dir/one").read_bytes() == b"1"
    assert (tmp_path / "made/two").read_bytes() == b"2"


def test_several_directories_keep_their_names(do, s3, bucket, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)

    do("cp", "-r", "a", "b", f"s3://{bucket}/p")

    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["p/a/f", "p/b/f"]


def test_what_is_there_is_replaced_unless_asked_not_to(do, s3, bucket, tmp_path):
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o640)
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    s3.put_object(Bucket=bucket, Key="other", Body=b"other")

    do("cp", "-n", "new", f"s3://{bucket}/k")
    do("cp", "-n", f"s3://{bucket}/other", f"s3://{bucket}/k")
    kept = s3.get_object(Bucket=bucket, Key="k")["Body"].read()
    do("cp", "new", f"s3://{bucket}/k")
    do("cp", "-n", f"s3://{bucket}/k", "old")
    kept_here = (tmp_path / "old").read_bytes()
    do("cp", f"s3://{bucket}/k", "old")

    assert (kept, kept_here) == (b"old", b"old")
    assert (tmp_path / "old").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640


def test_a_large_file_is_not_replaced_either(do, s3, bucket, tmp_path):
    (tmp_path / "big").write_bytes(noise(6 * MIB))
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")

    do("cp", "-n", "big", f"s3://{bucket}/k", "--part-size", "5")

    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_link_is_written_through(do, s3, bucket, tmp_path):
    s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")

    do("cp", f"s3://{bucket}/k", "link")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_links_that_go_round_are_followed_once(do, s3, bucket, tmp_path):
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/f").write_bytes(b"x")
    (tmp_path / "tree/sub/up").symlink_to("..")

    do("cp", "-r", "tree", f"s3://{bucket}/p")

    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["p/sub/f"]


def test_an_interrupted_download_goes_on_where_it_was(do, s3, bucket, tmp_path, monkeypatch):
    data = noise(21 * MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm="CRC64NVME")
    fetch = ("cp", f"s3://{bucket}/k", "out", "--part-size", "5", "--jobs", "1", "--json")

    class Cut(BaseException):
        """What ends a process, without its chance to tidy up."""

    with monkeypatch.context() as patch:
        write = attempts.Attempt.write
        at_most = iter(range(12))

        def broken(self, at, piece):
            if next(at_most, None) is None:
                raise Cut
            write(self, at, piece)

        patch.setattr(attempts.Attempt, "write", broken)
        with pytest.raises(Cut):
            do(*fetch, catch_exceptions=False)
    left = sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("."))
    table = lines(do(*fetch))[0]

    assert [name.rpartition(".")[2] for name in left] == ["json", "part"]
    assert table["resumed"] == 10 * MIB
    assert (tmp_path / "out").read_bytes() == data
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


def test_stat_ls_and_buckets(do, bucket, tmp_path):
    (tmp_path / "f.json").write_bytes(b"{}")
    do("cp", "f.json", f"s3://{bucket}/d/f.json", "--sse-c-key", "key")
    do("cp", "f.json", f"s3://{bucket}/top")

    buckets = lines(do("ls", "--json"))
    shallow = lines(do("ls", f"s3://{bucket}", "--json"))
    deep = lines(do("ls", "-r", f"s3://{bucket}", "--json"))
    text = do("ls", "-r", f"s3://{bucket}").stdout
    about = lines(do("stat", f"s3://{bucket}/d/f.json", "--sse-c-key", "key", "--json"))[0]
    of_bucket = lines(do("stat", f"s3://{bucket}", "--json"))[0]

    assert bucket in [one["bucket"] for one in buckets]
    assert [one.get("prefix", one.get("key")) for one in shallow] == ["d/", "top"]
    assert [(one["key"], one["size"]) for one in deep] == [("d/f.json", 2), ("top", 2)]
    assert text.splitlines()[0].endswith("             2  d/f.json")
    assert (about["size"], about["content_type"]) == (2, "application/json")
    assert about["customer_algorithm"] == "AES256"
    assert about["checksums"].keys() == {"crc64nvme"}
    assert of_bucket["bucket"] == bucket


@pytest.mark.parametrize(
    ("key", "said"),
    [((), "wants --sse-c-key"), (("--sse-c-key", "other-key"), "another customer key guards it")],
)
def test_a_missing_and_a_wrong_key_are_told_apart(do, bucket, tmp_path, key, said):
    (tmp_path / "f").write_bytes(b"x")
    do("cp", "f", f"s3://{bucket}/k", "--sse-c-key", "key")

    for command in (("stat", f"s3://{bucket}/k"), ("cp", f"s3://{bucket}/k", "out")):
        told = do(*command, *key, status=1)

        assert said in told.stderr
        assert told.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_rm_removes_objects_prefixes_and_odd_names(do, s3, bucket):
    keys = [f"p/{name}" for name in ODD_NAMES] + ["p", "px", "other"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")

    dry = lines(do("rm", "-r", f"s3://{bucket}/p", "--dry-run", "--json"))
    removed = lines(do("rm", "-r", f"s3://{bucket}/p", "--json"))
    do("rm", f"s3://{bucket}/other", f"s3://{bucket}/was-never-there")

    assert {one["key"] for one in removed} == {f"p/{name}" for name in ODD_NAMES}
    assert len(dry) == len(removed)
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["p", "px"]


def test_versions_are_listed_shown_fetched_and_removed(do, s3, bucket, tmp_path):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"1", b"22")]
    s3.put_object(Bucket=bucket, Key="kk", Body=b"longer name")

    do("rm", f"s3://{bucket}/k")
    listed = lines(do("ls", f"s3://{bucket}", "--versions", "--json"))
    do("cp", f"s3://{bucket}/k", "old", "--version-id", ids[0])
    about = lines(do("stat", f"s3://{bucket}/k", "--version-id", ids[1], "--json"))[0]
    do("cp", f"s3://{bucket}/k", f"s3://{bucket}/k", "--version-id", ids[0])
    restored = s3.get_object(Bucket=bucket, Key="k")["Body"].read()
    removed = lines(do("rm", f"s3://{bucket}/k", "--versions", "--json"))
    left = lines(do("ls", f"s3://{bucket}", "--versions", "--json"))

    of_k = [one for one in listed if one["key"] == "k"]
    assert sum(one["delete_marker"] for one in of_k) == 1
    assert {one["version_id"] for one in of_k if not one["delete_marker"]} == set(ids)
    assert [one["is_latest"] for one in of_k if one["delete_marker"]] == [True]
    assert (tmp_path / "old").read_bytes() == restored == b"1"
    assert (about["version_id"], about["size"]) == (ids[1], 2)
    assert len(removed) == 4
    assert [one["key"] for one in left] == ["kk"]


def test_a_bucket_with_versions_goes_by_force(do, s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for name in ("plain", "bell\x07", "plain"):
        s3.put_object(Bucket=bucket, Key=name, Body=b"x")
    s3.delete_object(Bucket=bucket, Key="plain")

    do("rb", f"s3://{bucket}", status=1)
    do("rb", "--force", f"s3://{bucket}")

    assert "no such bucket" in do("ls", f"s3://{bucket}", status=1).stderr


def test_buckets_are_made_and_removed(do, s3, bucket):
    do("mb", f"s3://{bucket}-new")
    again = do("rb", f"s3://{bucket}-new")
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    s3.create_multipart_upload(Bucket=bucket, Key="open")
    refused = do("rb", f"s3://{bucket}", status=1)
    do("rb", "--force", f"s3://{bucket}")
    gone = do("ls", f"s3://{bucket}", status=1)

    assert again.stdout == f"removed s3://{bucket}-new\n"
    assert "BucketNotEmpty" in refused.stderr
    assert "no such bucket" in gone.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("cp", "one", "two"),
        ("cp", "-", "-"),
        ("cp", "-r", "-", "s3://b/k"),
        ("cp", "-", "s3://b/"),
        ("cp", "s3://b/k", "-", "--json"),
        ("cp", "s3://b/k", "local", "s3://b/"),
        ("cp", "a", "b", "s3://b/k"),
        ("cp", "-r", "a", "s3://b/", "--version-id", "v"),
        ("cp", "a", "s3://b/", "--source-sse-c-key", "key"),
        ("cp", "a", "s3://b/", "--metadata", "novalue"),
        ("cp", "s3://b/k", "s3://b/l", "--cse-key", "key"),
        ("rm", "s3://b"),
        ("rm", "-r", "s3://b/k", "--version-id", "v"),
        ("mb", "s3://b/k"),
    ],
)
def test_what_makes_no_sense_together_is_status_2(do, args):
    do(*args, status=2)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("cp", "none", "s3://{}/k"), "none cannot be read"),
        (("cp", ".", "s3://{}/k"), "is a directory: add --recursive"),
        (("cp", "s3://{}/none", "out"), "there is no such object"),
        (("cp", "-r", "s3://{}/none", "out"), "There is nothing below"),
        (("cp", "s3://{}", "out"), "is a bucket"),
        (("cp", "key", "s3://no-such-bucket-here/k"), "there is no such bucket"),
        (("cp", "key", "s3://{}/k", "--sse-c-key", "none"), "none cannot be read"),
        (("cp", "key", "s3://{}/" + "k" * 1025), "KeyTooLong"),
        (("ls", "{}"), "write s3://BUCKET/KEY"),
        (("stat", "s3://{}/none"), "there is no such object"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_status_1(do, bucket, args, said):
    told = do(*(arg.format(bucket) for arg in args), status=1)

    assert said in told.stderr
    assert told.stderr.startswith("strongroom: ")
    assert told.stderr.count("\n") == 1


def test_one_failure_does_not_keep_the_rest(do, s3, bucket, tmp_path):
    (tmp_path / "good").write_bytes(b"x")

    do("cp", "good", "none", f"s3://{bucket}/", status=1)

    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["good"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
def test_a_name_that_is_no_utf8_is_told_and_the_rest_goes(do, s3, bucket, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/good").write_bytes(b"x")
    (tmp_path / os.fsdecode(b"tree/bad\xff")).write_bytes(b"x")

    told = do("cp", "-r", "tree", f"s3://{bucket}/p", status=1)

    assert "not UTF-8" in told.stderr
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["p/good"]


def test_a_key_is_not_sent_over_plain_http(do, bucket):
    plain = ("--endpoint-url", "http://127.0.0.1:9")

    told = do("stat", f"s3://{bucket}/k", "--sse-c-key", "key", *plain, status=1)

    assert "is not HTTPS" in told.stderr


def test_an_untrusted_certificate_is_told_with_what_to_do(do):
    told = do("ls", env={"AWS_CA_BUNDLE": ""}, status=1)

    assert "--ca-bundle" in told.stderr


def test_a_data_directory_tells_where_the_store_is_and_makes_root(run, tmp_path):
    with Strongroom(tmp_path / "data") as server:
        where = (
            "--data-dir",
            str(tmp_path / "data"),
            "--endpoint-url",
            server.endpoint_url.replace("127.0.0.1", "localhost"),
        )
        env = {
            "STRONGROOM_ROOT_ACCESS_KEY": server.access_key,
            "STRONGROOM_ROOT_SECRET_KEY": server.secret_key,
        }

        made = run("mb", "s3://attic", *where, env=env)
        listed = run("ls", *where, env=env)

    assert (made.exit_code, made.stderr) == (0, "")
    assert listed.stdout.endswith("s3://attic\n")


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "Nothing says where the store is"),
        ({"AWS_ENDPOINT_URL": "https://localhost:9"}, "Nothing says who asks"),
        ({"STRONGROOM_DATA_DIR": "data", "AWS_ACCESS_KEY_ID": "a"}, "Partial credentials"),
    ],
)
def test_a_store_that_nobody_named_is_nowhere(run, env, said):
    quiet = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    told = run("ls", env=quiet | env)

    assert told.exit_code == 1
    assert said in told.stderr


# Encryption on this side


@pytest.fixture
def pem(tmp_path):
    pair = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    locked = serialization.BestAvailableEncryption(b"open sesame")
    for name, how in (("rsa.pem", plain), ("locked.pem", locked)):
        (tmp_path / name).write_bytes(
            pair.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
        )


@pytest.mark.usefixtures("pem")
@pytest.mark.parametrize("source", ["key", "rsa.pem", "locked.pem"])
@pytest.mark.parametrize("size", [0, 1, 12 * MIB + 5])
def test_what_is_encrypted_here_comes_back_and_lies_there_as_ciphertext(
    do, s3, bucket, tmp_path, source, size
):
    (tmp_path / "in").write_bytes(noise(size))
    with_key = ("--cse-key", source, "--part-size", "5")
    env = {"STRONGROOM_PASSPHRASE": "open sesame"}

    do("cp", "in", f"s3://{bucket}/k", *with_key, env=env)
    do("cp", f"s3://{bucket}/k", "out", *with_key, env=env)
    streamed = do("cp", f"s3://{bucket}/k", "-", *with_key, env=env).stdout_bytes

    stored = s3.get_object(Bucket=bucket, Key="k")["Body"].read()
    assert (tmp_path / "out").read_bytes() == streamed == noise(size)
    assert len(stored) > size
    assert size < 32 or noise(size)[:32] not in stored
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_both_keys_may_guard_one_object(do, bucket, tmp_path):
    (tmp_path / "in").write_bytes(b"secret")
    keys = ("--cse-key", "key", "--sse-c-key", "other-key")

    do("cp", "in", f"s3://{bucket}/k", *keys)
    do("cp", f"s3://{bucket}/k", "out", *keys)
    refused = do("cp", f"s3://{bucket}/k", "no", "--cse-key", "key", status=1)

    assert (tmp_path / "out").read_bytes() == b"secret"
    assert "wants --sse-c-key" in refused.stderr


def test_a_copy_in_the_store_keeps_the_envelope_whatever_is_added(do, bucket, tmp_path):
    (tmp_path / "in").write_bytes(b"secret")
    do("cp", "in", f"s3://{bucket}/k", "--cse-key", "key", "--metadata", "a=b")

    do("cp", f"s3://{bucket}/k", f"s3://{bucket}/k2", "--metadata", "c=d")
    do("cp", f"s3://{bucket}/k2", "out", "--cse-key", "key")

    assert (tmp_path / "out").read_bytes() == b"secret"


@pytest.mark.parametrize(
    ("source", "said"),
    [("other-key", "under another key than that of --cse-key"), ("none", "none cannot be read")],
)
def test_another_key_opens_nothing_and_leaves_nothing(do, bucket, tmp_path, source, said):
    (tmp_path / "in").write_bytes(b"secret")
    do("cp", "in", f"s3://{bucket}/k", "--cse-key", "key")

    told = do("cp", f"s3://{bucket}/k", "out", "--cse-key", source, status=1)

    assert said in told.stderr
    assert not (tmp_path / "out").exists()


def test_a_plain_object_is_not_taken_for_an_encrypted_one(do, s3, bucket, tmp_path):
    s3.put_object(Bucket=bucket, Key="k", Body=b"put there by somebody else")

    for target in ("out", "-"):
        told = do("cp", f"s3://{bucket}/k", target, "--cse-key", "key", status=1)

        assert "not encrypted on this side" in told.stderr
        assert told.stdout == ""
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_left_by_encrypted_copies_too(do, s3, bucket, tmp_path):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    (tmp_path / "big").write_bytes(noise(11 * MIB))
    for source in ("key", "big"):
        do("cp", "-n", source, f"s3://{bucket}/k", "--cse-key", "key")

    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
