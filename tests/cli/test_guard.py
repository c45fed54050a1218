"""`strongroom admin bucket`, `admin restore` and `keys objects` beside a running server."""

import base64
import datetime as dt
import json
import time

import pytest

from strongroom.testing import Strongroom

MASTER_KEY = base64.b64encode(b"m" * 32).decode()
MINE = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
THEIRS = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"t" * 32}
LARGE = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def served():
    with Strongroom(durable=True, env={"STRONGROOM_MASTER_KEY": MASTER_KEY}) as server:
        yield server


@pytest.fixture
def admin(run, served):
    """Run a command on the data directory; its JSON, or its exit status and what it says."""

    def invoke(*args, status=0):
        done = run(
            *args,
            *("--data-dir", str(served.data_dir)),
            env={"STRONGROOM_MASTER_KEY": MASTER_KEY},
        )
        assert done.exit_code == status, done.output + done.stderr
        return done.stderr if status else done.output

    return invoke


def fingerprint_of(admin, tmp_path, raw):
    (tmp_path / "a.key").write_bytes(raw)
    return json.loads(admin("keys", "fingerprint", str(tmp_path / "a.key"), "--json"))[
        "fingerprint"
    ]


def now():
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    time.sleep(0.005)
    return moment


def test_a_guarded_bucket_comes_back_and_says_what_it_keeps(admin, served, tmp_path):
    s3 = served.boto3_client()
    s3.create_bucket(Bucket="vault")
    for key, body in (("a/small", b"small"), ("a/large", LARGE), ("b/other", b"other")):
        s3.put_object(Bucket="vault", Key=key, Body=body, **MINE)
    shown = json.loads(admin("admin", "bucket", "guard", "vault", "--days", "7", "--json"))
    assert shown["guard_days"] == 7
    moment = now()
    s3.put_object(Bucket="vault", Key="a/small", Body=b"pay", **THEIRS)
    s3.delete_object(Bucket="vault", Key="a/large")
    s3.delete_object(Bucket="vault", Key="b/other")

    shown = json.loads(admin("admin", "bucket", "show", "vault", "--json"))
    dry = json.loads(admin("admin", "restore", "vault/a/", "--to", moment, "--dry-run", "--json"))
    done = json.loads(admin("admin", "restore", "vault/a/", "--to", moment, "--json"))

    assert (shown["kept_versions"], shown["kept_bytes"]) == (3, 10 + len(LARGE))
    assert (dry["restored"], dry["set_aside"], dry["dry_run"]) == (2, 1, True)
    assert done == dry | {"dry_run": False}
    assert s3.get_object(Bucket="vault", Key="a/small", **MINE)["Body"].read() == b"small"
    assert s3.get_object(Bucket="vault", Key="a/large", **MINE)["Body"].read() == LARGE
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket="vault")["Contents"]]
    assert listed == ["a/large", "a/small"]
    told = admin("keys", "objects", fingerprint_of(admin, tmp_path, b"k" * 32), "--json")
    guarded = [one for one in map(json.loads, told.splitlines()) if one["bucket"] == "vault"]
    assert [(one["key"], one["standing"]) for one in guarded] == [
        ("a/large", "current"),
        ("a/small", "current"),
        ("b/other", "kept"),
    ]
    alarms = [each for each in served.log_events() if each["event"] == "guard.foreign_key"]
    (alarm,) = (each for each in alarms if each["bucket"] == "vault")
    assert alarm["key"] == "a/small"
    assert alarm["was"] == fingerprint_of(admin, tmp_path, b"k" * 32)
    assert alarm["by"] == fingerprint_of(admin, tmp_path, b"t" * 32)
    s3.close()


def test_a_version_under_legal_hold_stays_in_front_of_what_comes_back(admin, served):
    s3 = served.boto3_client()
    s3.create_bucket(Bucket="held", ObjectLockEnabledForBucket=True)
    admin("admin", "bucket", "guard", "held", "--days", "7")
    mine = s3.put_object(Bucket="held", Key="key", Body=b"mine", **MINE)["VersionId"]
    moment = now()
    hold = s3.put_object(
        Bucket="held", Key="key", Body=b"held", ObjectLockLegalHoldStatus="ON", **MINE
    )["VersionId"]
    s3.put_object(Bucket="held", Key="key", Body=b"pay", **THEIRS)
    s3.delete_object(Bucket="held", Key="key", VersionId=mine)

    done = json.loads(admin("admin", "restore", "held", "--to", moment, "--json"))

    assert (done["restored"], done["set_aside"]) == (1, 1)
    found = s3.list_object_versions(Bucket="held")["Versions"]
    assert [one["VersionId"] for one in found] == [hold, mine]
    assert s3.get_object(Bucket="held", Key="key", VersionId=mine, **MINE)["Body"].read() == b"mine"
    s3.close()


def test_a_list_of_keys_is_set_shown_and_taken_away(admin, served, tmp_path):
    s3 = served.boto3_client()
    s3.create_bucket(Bucket="listed")
    mine = fingerprint_of(admin, tmp_path, b"k" * 32)
    theirs = fingerprint_of(admin, tmp_path, b"t" * 32)
    change = ("admin", "bucket", "keys", "listed")

    both = json.loads(admin(*change, "--allow", mine, "--allow", theirs, "--json"))
    one = json.loads(admin(*change, "--remove", theirs, "--json"))
    with pytest.raises(s3.exceptions.ClientError, match=theirs):
        s3.put_object(Bucket="listed", Key="key", Body=b"x", **THEIRS)
    none = json.loads(admin(*change, "--remove", mine, "--json"))
    every = json.loads(admin(*change, "--any", "--json"))

    assert both["keys"] == sorted([mine, theirs])
    assert (one["keys"], none["keys"], every["keys"]) == ([mine], [], None)
    assert "no list" in admin(*change, "--remove", mine, status=1)
    s3.close()


def test_what_is_kept_survives_a_recovery_and_can_be_dropped(run, tmp_path):
    env = {"STRONGROOM_MASTER_KEY": MASTER_KEY}

    def admin(*args):
        done = run(*args, "--data-dir", str(tmp_path / "data"), env=env)
        assert done.exit_code == 0, done.output + done.stderr
        return done.output

    with Strongroom(tmp_path / "data", env=env, args=("--guard-default", "30")) as server:
        s3 = server.boto3_client()
        s3.create_bucket(Bucket="vault")
        for key, body in (("small", b"small"), ("large", LARGE)):
            s3.put_object(Bucket="vault", Key=key, Body=body, **MINE)
        moment = now()
        for key in ("small", "large"):
            s3.put_object(Bucket="vault", Key=key, Body=b"pay", **THEIRS)
        s3.close()
    admin("recover")
    scrubbed = run("scrub", "--data-dir", str(tmp_path / "data"), env=env)
    assert scrubbed.exit_code == 0, scrubbed.output + scrubbed.stderr
    done = json.loads(admin("admin", "restore", "vault", "--to", moment, "--json"))
    assert (done["restored"], done["set_aside"]) == (2, 2)
    dropped = json.loads(admin("admin", "bucket", "drop-kept", "vault", "--yes", "--json"))
    assert dropped["dropped"] == 2

    with Strongroom(tmp_path / "data", env=env) as server:
        s3 = server.boto3_client(
            aws_access_key_id=server.access_key, aws_secret_access_key=server.secret_key
        )
        for key, body in (("small", b"small"), ("large", LARGE)):
            assert s3.get_object(Bucket="vault", Key=key, **MINE)["Body"].read() == body
        s3.close()


@pytest.mark.parametrize(
    "args",
    [
        ("restore", "vault", "--to", "yesterday"),
        ("restore", "vault", "--to", "2026-11-22T18:00:00"),
        ("bucket", "guard", "vault"),
        ("bucket", "guard", "vault", "--days", "3", "--off"),
        ("bucket", "keys", "vault", "--allow", "5d0c"),
        ("key", "objects", "x" * 32),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(admin, args):
    assert "Error" in admin("admin", *args, status=2)
