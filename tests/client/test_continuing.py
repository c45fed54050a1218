"""Transfers that end in the middle and go on: S004.32, S004.33, S004.36."""

import hashlib
import json
import secrets

import pytest
from botocore.exceptions import ClientError

from strongroom import errors
from strongroom.client import AesKey, checkpoints, s3

MIB = 1024 * 1024
KEY = AesKey(b"\xa7" * 32)
FORMATS = ["s3-v3", "sealed"]


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


class Mortal:
    """A boto3 client that dies at a certain call, and counts the others."""

    def __init__(self, client, operation, after):
        self._client = client
        self._operation = operation
        self._after = after
        self.calls = []

    def __getattr__(self, name):
        found = getattr(self._client, name)
        if name != self._operation:
            return found

        def call(**kwargs):
            if len(self.calls) >= self._after:
                raise Killed
            self.calls.append(kwargs)
            return found(**kwargs)

        return call


@pytest.fixture(scope="module")
def raw(strongroom_server):
    client = strongroom_server.boto3_client()
    client.create_bucket(Bucket="continuing")
    return client


@pytest.fixture(params=FORMATS)
def options(request):
    return {"format": request.param, "part_bytes": 5 * MIB, "threads": 1}


@pytest.fixture
def name(request):
    return request.node.name


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(secrets.token_bytes(17 * MIB + 3))
    return path


def client_of(raw, options, operation="none", after=0):
    mortal = Mortal(raw, operation, after)
    return s3.EncryptedClient(mortal, KEY, **options), mortal


def test_an_upload_goes_on_where_it_was_killed(raw, options, name, source, tmp_path):
    journal = tmp_path / "journal"
    dying, _ = client_of(raw, options, "upload_part", after=2)
    with pytest.raises(Killed):
        dying.upload_file(source, "continuing", name, checkpoint=journal)
    assert journal.stat().st_mode & 0o777 == 0o600
    told = []

    living, counted = client_of(raw, options, "upload_part", after=99)
    living.upload_file(source, "continuing", name, Callback=told.append, checkpoint=journal)

    assert len(counted.calls) == 2
    assert sum(told) == source.stat().st_size
    assert not journal.exists()
    body = living.get_object(Bucket="continuing", Key=name)["Body"].read()
    assert hashlib.sha256(body).digest() == hashlib.sha256(source.read_bytes()).digest()


def test_a_checkpoint_holds_no_key_and_no_plaintext(raw, options, name, source, tmp_path):
    journal = tmp_path / "journal"
    dying, _ = client_of(raw, options, "upload_part", after=2)
    with pytest.raises(Killed):
        dying.upload_file(source, "continuing", name, checkpoint=journal)
    text = journal.read_bytes()
    plain = source.read_bytes()

    for secret in (KEY.key.reveal(), plain[:32], hashlib.sha256(plain).digest()):
        assert secret not in text
        assert secret.hex().encode() not in text
    assert {"upload_id", "envelope"} <= json.loads(text.splitlines()[0]).keys()


def test_a_source_that_changed_meanwhile_is_sent_anew(raw, options, name, source, tmp_path):
    journal = tmp_path / "journal"
    dying, _ = client_of(raw, options, "upload_part", after=2)
    with pytest.raises(Killed):
        dying.upload_file(source, "continuing", name, checkpoint=journal)
    changed = bytearray(source.read_bytes())
    changed[100] ^= 1
    source.write_bytes(changed)

    living, counted = client_of(raw, options, "upload_part", after=99)
    living.upload_file(source, "continuing", name, checkpoint=journal)

    assert len(counted.calls) == 4
    assert living.get_object(Bucket="continuing", Key=name)["Body"].read() == changed
    assert "Uploads" not in raw.list_multipart_uploads(Bucket="continuing", Prefix=name)


def test_other_bytes_under_the_same_stat_are_never_sealed_again(raw, name, source, tmp_path):
    journal = tmp_path / "journal"
    options = {"part_bytes": 5 * MIB, "threads": 1}
    dying, _ = client_of(raw, options, "upload_part", after=2)
    with pytest.raises(Killed):
        dying.upload_file(source, "continuing", name, checkpoint=journal)
    lines = journal.read_bytes().splitlines()
    changed = bytearray(source.read_bytes())
    changed[100] ^= 1
    source.write_bytes(changed)
    head = json.loads(lines[0])
    # As if a disk without times had kept the file's identity.
    head["file"] = checkpoints.identity(source.stat())
    journal.write_bytes(b"\n".join([json.dumps(head).encode(), *lines[1:]]) + b"\n")

    living, _ = client_of(raw, options)
    with pytest.raises(errors.SourceChanged):
        living.upload_file(source, "continuing", name, checkpoint=journal)

    assert not journal.exists()
    with pytest.raises(ClientError):
        raw.head_object(Bucket="continuing", Key=name)


def test_an_upload_that_is_gone_is_begun_anew(raw, options, name, source, tmp_path):
    journal = tmp_path / "journal"
    dying, _ = client_of(raw, options, "upload_part", after=2)
    with pytest.raises(Killed):
        dying.upload_file(source, "continuing", name, checkpoint=journal)
    upload_id = json.loads(journal.read_bytes().splitlines()[0])["upload_id"]
    raw.abort_multipart_upload(Bucket="continuing", Key=name, UploadId=upload_id)

    living, _ = client_of(raw, options)
    living.upload_file(source, "continuing", name, checkpoint=journal)

    body = living.get_object(Bucket="continuing", Key=name)["Body"].read()
    assert body == source.read_bytes()


@pytest.mark.parametrize("after", [2])
def test_a_download_goes_on_where_it_was_killed(raw, options, name, source, tmp_path, after):
    sender, _ = client_of(raw, options)
    sender.upload_file(source, "continuing", name)
    journal, target = tmp_path / "journal", tmp_path / "target"
    dying, _ = client_of(raw, options, "get_object", after=after)
    with pytest.raises(Killed):
        dying.download_file("continuing", name, target, checkpoint=journal)
    assert not target.exists()
    part = tmp_path / "target.strongroom-part"
    assert source.read_bytes().startswith(part.read_bytes())

    living, counted = client_of(raw, options, "get_object", after=99)
    told = []
    living.download_file("continuing", name, target, Callback=told.append, checkpoint=journal)

    assert target.read_bytes() == source.read_bytes()
    assert sum(told) == source.stat().st_size
    assert len(counted.calls) <= 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_a_continued_download_still_verifies_the_whole(raw, name, source, tmp_path, monkeypatch):
    options = {"part_bytes": 5 * MIB, "threads": 1}
    monkeypatch.setattr("strongroom.client.downloads.JOURNAL_EVERY_BYTES", 1)
    sender, _ = client_of(raw, options)
    sender.upload_file(source, "continuing", name)
    journal, target = tmp_path / "journal", tmp_path / "target"
    dying, _ = client_of(raw, options, "get_object", after=2)
    with pytest.raises(Killed):
        dying.download_file("continuing", name, target, checkpoint=journal)
    part = tmp_path / "target.strongroom-part"
    with part.open("r+b") as file:
        file.write(b"changed on the disk")

    living, _ = client_of(raw, options)
    with pytest.raises(errors.NotAuthentic):
        living.download_file("continuing", name, target, checkpoint=journal)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
    living.download_file("continuing", name, target, checkpoint=journal)
    assert target.read_bytes() == source.read_bytes()


def test_a_download_continues_only_the_same_version(raw, options, name, source, tmp_path):
    sender, _ = client_of(raw, options)
    sender.upload_file(source, "continuing", name)
    journal, target = tmp_path / "journal", tmp_path / "target"
    dying, _ = client_of(raw, options, "get_object", after=2)
    with pytest.raises(Killed):
        dying.download_file("continuing", name, target, checkpoint=journal)
    source.write_bytes(secrets.token_bytes(17 * MIB))
    sender.upload_file(source, "continuing", name)

    living, _ = client_of(raw, options)
    living.download_file("continuing", name, target, checkpoint=journal)

    assert target.read_bytes() == source.read_bytes()


def test_checkpoints_find_their_place_by_themselves(raw, options, name, source, tmp_path):
    kept = tmp_path / "kept"
    dying, _ = client_of(raw, {**options, "checkpoint_dir": kept}, "upload_part", after=2)
    with pytest.raises(Killed):
        dying.upload_file(source, "continuing", name)
    assert len(list(kept.iterdir())) == 1

    living, counted = client_of(raw, {**options, "checkpoint_dir": kept}, "upload_part", after=99)
    living.upload_file(source, "continuing", name)

    assert len(counted.calls) == 2
    assert list(kept.iterdir()) == []


def test_a_journal_has_one_user_and_forgets_half_a_line(tmp_path):
    path = tmp_path / "journal"
    with checkpoints.Journal(path) as journal:
        journal.begin(op="upload")
        journal.add(part=1)
        with pytest.raises(errors.LostTrack, match="in use"):
            checkpoints.Journal(path)
    with path.open("ab") as file:
        file.write(b'{"part": 2, "sha')

    with checkpoints.Journal(path) as journal:
        assert [line.get("part") for line in journal.lines()] == [None, 1]
        journal.add(part=3)
        assert [line.get("part") for line in journal.lines()] == [None, 1, 3]


def test_a_file_that_is_no_journal_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_bytes(b"not ours\n")

    with (
        checkpoints.Journal(path) as journal,
        pytest.raises(errors.LostTrack, match="no checkpoint"),
    ):
        list(journal.lines())

    assert path.read_bytes() == b"not ours\n"
