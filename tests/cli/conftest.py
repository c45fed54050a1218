"""What the tests of commands share: a clean environment, and a data directory."""

import base64
import dataclasses
import io
import json
import os
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from click import testing as click_testing

from strongroom import cli
from strongroom.server import build, home, observe, settings
from strongroom.store import mirrors
from strongroom.testing import Strongroom

OWN = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
SOURCE = {f"CopySource{name}": value for name, value in OWN.items()}
BUCKET = "attic"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Invoke the command line in an empty directory, without variables of ours or of AWS."""
    for name in [name for name in os.environ if name.startswith(("STRONGROOM_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def invoke(*args, **kwargs):
        return click_testing.CliRunner().invoke(cli.main, args, **kwargs)

    return invoke


@pytest.fixture
def store(tmp_path):
    """A data directory as a first start of the server leaves it."""
    chosen = settings.Settings(data_dir=tmp_path / "data", data_dir_given=True)
    with home.opened(chosen, observe.reporter(io.StringIO())) as completed:
        build.prepare(completed)
    return tmp_path / "data"


@dataclasses.dataclass
class Stored:
    """A stopped store that may be damaged, and the commands on it."""

    data_dir: Path
    master_key: str
    bodies: dict
    bucket: str = BUCKET
    own: dict = dataclasses.field(default_factory=lambda: dict(OWN))

    def change(self, statement, *values):
        catalog = sqlite3.connect(self.data_dir / "catalog.sqlite", isolation_level=None)
        try:
            assert catalog.execute(statement, values).rowcount, "the damage is done"
        finally:
            catalog.close()

    def ask(self, statement, *values):
        catalog = sqlite3.connect(self.data_dir / "catalog.sqlite")
        try:
            return catalog.execute(statement, values).fetchall()
        finally:
            catalog.close()

    def files(self, key):
        """Return the files of an object's parts, in order."""
        places = self.ask(
            "SELECT o.place FROM versions v JOIN envelopes e USING (envelope_id)"
            " JOIN blobs o USING (body_id) WHERE v.key = ? ORDER BY o.ordinal",
            key.encode(),
        )
        return [self.data_dir / "blobs" / place for (place,) in places]

    def copied(self, data_dir):
        shutil.copytree(self.data_dir, data_dir)
        return dataclasses.replace(self, data_dir=data_dir, bodies=dict(self.bodies))

    def how(self, key):
        """Return what brings the key that opens an object."""
        return {} if key == "server's" else OWN

    def lacking(self):
        """Start a server and return the names of objects that are not what was written."""
        with self.serve() as server:
            client = server.boto3_client()
            return [
                key
                for key, body in self.bodies.items()
                if client.get_object(Bucket=BUCKET, Key=key, **self.how(key))["Body"].read() != body
            ]

    def is_whole(self):
        """Whether all objects are there and a scrub finds nothing."""
        there = {key.decode() for (key,) in self.ask("SELECT key FROM versions")}
        return there == set(self.bodies) and self.damages() == []

    def become(self, other):
        """Let a while pass: be the other store, which is the same one later."""
        shutil.rmtree(self.data_dir)
        shutil.copytree(other.data_dir, self.data_dir)
        self.bodies = dict(other.bodies)

    def flip(self, path, at):
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    def serve(self):
        """Return a server on this store, not started yet."""
        return Strongroom(self.data_dir, env={"STRONGROOM_MASTER_KEY": self.master_key})

    def run(self, *args, with_master_key=True):
        """Run a command on this store."""
        env = {"STRONGROOM_MASTER_KEY": self.master_key if with_master_key else None}
        command = [*map(str, args), "--data-dir", str(self.data_dir)]
        return click_testing.CliRunner().invoke(cli.main, command, env=env)

    def wait_for_mirrors(self):
        """Wait until the server has mirrored everything, registry included."""
        idle = threading.Event()
        for _ in range(600):
            if not self.ask("SELECT 1 FROM outbox"):
                return
            idle.wait(0.1)
        pytest.fail("nothing is mirrored in a minute")

    @property
    def registry(self):
        return self.data_dir / "envelopes" / mirrors.REGISTRY

    def damages(self, **how):
        told = self.run("scrub", "--json", **how)
        found = json.loads(told.stdout)["damages"]
        assert told.exit_code == (1 if found else 0)
        return found


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory):
    """A stopped store with objects of all kinds, which nobody may change."""
    bodies = {
        "empty": b"",
        "small": b"s" * 100,
        "large": os.urandom(200_000),
        "server's": os.urandom(200_000),
    }
    whole = os.urandom(5 * 2**20)
    parts = (whole, whole[::-1], b"end")
    data_dir = tmp_path_factory.mktemp("stored") / "data"
    master_key = base64.b64encode(os.urandom(32)).decode()
    with Strongroom(data_dir, env={"STRONGROOM_MASTER_KEY": master_key}) as server:
        client = server.boto3_client()
        client.create_bucket(Bucket=BUCKET)
        for key, body in bodies.items():
            how = {"Tagging": "a=1"} if key == "server's" else OWN
            client.put_object(Bucket=BUCKET, Key=key, Body=body, **how)
        client.copy_object(
            Bucket=BUCKET, Key="shares", CopySource=f"{BUCKET}/large", **OWN, **SOURCE
        )
        upload = {"Bucket": BUCKET, "Key": "in parts"}
        upload["UploadId"] = client.create_multipart_upload(**upload, **OWN)["UploadId"]
        sent = []
        for number, body in enumerate(parts, 1):
            etag = client.upload_part(PartNumber=number, Body=body, **upload, **OWN)["ETag"]
            sent.append({"PartNumber": number, "ETag": etag})
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": sent})
        upload = {"Bucket": BUCKET, "Key": "open"}
        upload["UploadId"] = client.create_multipart_upload(**upload, **OWN)["UploadId"]
        client.upload_part(PartNumber=7, Body=os.urandom(100_000), **upload, **OWN)
    bodies |= {"shares": bodies["large"], "in parts": b"".join(parts)}
    return Stored(data_dir, master_key, bodies)


@pytest.fixture(scope="session")
def filled_later(filled_store, tmp_path_factory):
    """The same store a while later: some objects more, two less."""
    later = filled_store.copied(tmp_path_factory.mktemp("later") / "data")
    with later.serve() as server:
        client = server.boto3_client()
        for key in ("in parts", "server's"):
            client.delete_object(Bucket=BUCKET, Key=key)
            del later.bodies[key]
        for number in range(4):
            later.bodies[f"new {number}"] = b"%d" % number * 40_000
            client.put_object(
                Bucket=BUCKET, Key=f"new {number}", Body=later.bodies[f"new {number}"], **OWN
            )
    return later


@pytest.fixture
def stored(filled_store, tmp_path):
    """A copy of `filled_store` of one's own."""
    return filled_store.copied(tmp_path / "data")


@pytest.fixture(scope="session")
def mirrored_store(filled_store, tmp_path_factory):
    """The filled store, after its server had the time to mirror it."""
    store = filled_store.copied(tmp_path_factory.mktemp("mirrored") / "data")
    with store.serve():
        store.wait_for_mirrors()
    return store


@pytest.fixture
def mirrored(mirrored_store, tmp_path):
    return mirrored_store.copied(tmp_path / "data")
