"""`strongroom.testing`: the private server that others test with, over the real store."""

import signal

import pytest

from strongroom.testing import Strongroom


def test_the_fixture_gives_a_server_that_stores(strongroom_server):
    client = strongroom_server.boto3_client()

    client.create_bucket(Bucket="fixture")
    client.put_object(Bucket="fixture", Key="a b/ü%2F", Body=b"kept")

    assert client.get_object(Bucket="fixture", Key="a b/ü%2F")["Body"].read() == b"kept"


def test_what_was_stored_survives_a_kill():
    with Strongroom(durable=True) as server:
        client = server.boto3_client()
        client.create_bucket(Bucket="attic")
        client.put_object(Bucket="attic", Key="k", Body=b"x" * 300_000)

        server.kill()
        server.restart()

        got = server.boto3_client().get_object(Bucket="attic", Key="k")
        assert got["Body"].read() == b"x" * 300_000


def test_a_given_directory_is_kept_and_a_temporary_one_goes(tmp_path):
    with Strongroom(tmp_path / "kept") as server:
        log = server.log_path
        assert server.data_dir == tmp_path / "kept"
    assert (tmp_path / "kept" / "catalog.sqlite").exists()
    assert not log.parent.exists()


def test_stop_gives_the_exit_status_and_may_be_called_twice():
    server = Strongroom()
    server.start()

    assert server.stop() == 0
    assert server.stop() == 0


def test_a_server_that_does_not_start_raises_with_its_log():
    with pytest.raises(RuntimeError, match=r"status 2; its log(.|\n)*region"):
        Strongroom(args=["--region", "NO SUCH"]).start()


def test_a_reloaded_certificate_does_not_disturb_a_client():
    with Strongroom() as server:
        client = server.boto3_client()
        client.create_bucket(Bucket="attic")

        server.process.send_signal(signal.SIGHUP)

        for number in range(20):
            client.put_object(Bucket="attic", Key=str(number), Body=b"x")
        assert client.list_objects_v2(Bucket="attic")["KeyCount"] == 20
