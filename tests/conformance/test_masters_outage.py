"""Masters elsewhere are killed while objects are written: nothing is lost, nothing opened wrongly.

A server of ours with each master in turn; it asks the master for every object.
"""

import sys
import threading
from pathlib import Path

import pytest
from botocore import exceptions
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).parent))
import masters_elsewhere as elsewhere

from strongroom.testing import Strongroom

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

WRITERS = 2
ENOUGH = 10
PATIENCE_S = 120


def body_of(name):
    return f"body of {name} ".encode() * 50


class Load:
    """Writes objects under a KMS key, each once, and remembers what was answered."""

    def __init__(self, server, key):
        self.client = server.boto3_client(
            config=Config(retries={"total_max_attempts": 1}, read_timeout=100)
        )
        self.key = key
        self.written, self.refused = [], []
        self.changed = threading.Condition()
        self.over = False
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(WRITERS)]

    def run(self, writer):
        number = 0
        while not self.over:
            number += 1
            name = f"{writer}-{number}"
            try:
                self.client.put_object(
                    Bucket="attic",
                    Key=name,
                    Body=body_of(name),
                    ServerSideEncryption="aws:kms",
                    SSEKMSKeyId=self.key,
                )
            except exceptions.ClientError as error:
                outcome, told = self.refused, error.response
            else:
                outcome, told = self.written, name
            with self.changed:
                outcome.append(told)
                self.changed.notify_all()

    def wait(self, outcome, more):
        """Return when `more` further requests have had an outcome."""
        with self.changed:
            wanted = len(outcome) + more
            assert self.changed.wait_for(lambda: len(outcome) >= wanted, PATIENCE_S)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exc):
        self.over = True
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize(
    "kind",
    [
        elsewhere.OpenBao,
        elsewhere.OwnKms,
        elsewhere.PyKmip,
        pytest.param(
            elsewhere.SoftHsm,
            marks=pytest.mark.skipif(elsewhere.softhsm() is None, reason="there is no SoftHSM"),
        ),
    ],
)
def test_a_master_that_is_killed_under_load_loses_nothing(kind, tmp_path):
    place = kind(tmp_path)
    arguments, environment = place.serve
    with Strongroom(kms=True, args=(*arguments, "--kms-cache-s", "0"), env=environment) as server:
        try:
            drill(place, server)
        finally:
            place.stop()


def drill(place, server):
    kms = server.boto3_client("kms", config=Config(retries={"total_max_attempts": 1}))
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    s3 = server.boto3_client(config=Config(retries={"total_max_attempts": 1}, read_timeout=100))
    s3.create_bucket(Bucket="attic")

    with Load(server, key) as load:
        load.wait(load.written, ENOUGH)
        place.kill()
        load.wait(load.refused, WRITERS + 1)
        known = load.written[0]
        with pytest.raises(exceptions.ClientError) as caught:
            s3.get_object(Bucket="attic", Key=known)
        place.start()
        load.wait(load.written, ENOUGH)

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert {told["Error"]["Code"] for told in load.refused} == {"ServiceUnavailable"}
    stored = {
        row["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="attic")
        for row in page["Contents"]
    }
    assert set(load.written) <= stored
    for name in stored:
        assert s3.get_object(Bucket="attic", Key=name)["Body"].read() == body_of(name)
