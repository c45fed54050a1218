"""S004.7: no byte of a master key or of a data key is sent, logged or left on a disk."""

import base64
import logging

import pytest

from strongroom.client import AesKey, RsaKey, s3, sealed
from strongroom.client.keys import KeyRing
from strongroom.client.rules import Rules

MIB = 1024 * 1024
MASTER = b"\x01canary: a master key of mine\xfe\xff\x80"


def shapes(secret):
    return {
        "raw": secret,
        "hex": secret.hex().encode(),
        "base64": base64.b64encode(secret)[:-2],
        "urlsafe": base64.urlsafe_b64encode(secret)[:-2],
        "repr": repr(secret)[2:-1].encode(),
    }


class Tapped:
    """A boto3 client that keeps everything that it is given to send."""

    def __init__(self, client):
        self._client = client
        self.sent = []

    def __getattr__(self, name):
        found = getattr(self._client, name)
        if name.startswith("_") or not callable(found):
            return found

        def call(**kwargs):
            self.sent += [repr(kwargs).encode(), bytes(kwargs.get("Body", b""))]
            return found(**kwargs)

        return call


@pytest.mark.parametrize("kind", ["sealed", "s3-v3"])
def test_no_key_leaves(strongroom_server, rsa_pem, caplog, tmp_path, kind):
    raw = strongroom_server.boto3_client()
    raw.create_bucket(Bucket=f"canary-{kind}")
    tapped = Tapped(raw)
    headers = []
    raw.meta.events.register("before-send.s3", lambda request, **_: headers.append(request))
    key = AesKey(MASTER)
    client = s3.EncryptedClient(
        tapped,
        [key, RsaKey(rsa_pem)],
        format=kind,
        part_bytes=5 * MIB,
        checkpoint_dir=tmp_path / "c",
    )
    named = {"Bucket": f"canary-{kind}", "Key": "bird"}
    (tmp_path / "up").write_bytes(bytes(11 * MIB))

    with caplog.at_level(logging.DEBUG):
        client.upload_file(tmp_path / "up", "canary-" + kind, "bird")
        client.download_file("canary-" + kind, "bird", tmp_path / "down")
        client.head_object(**named)
        client.get_object(**named, Range="bytes=5-9")["Body"].read()
        client.copy_object(**{**named, "Key": "second"}, CopySource=named)
        client.put_object(**{**named, "Key": "third"}, Body=b"chirp")
        client.delete_object(**{**named, "Key": "third"})

    seen = [*tapped.sent, caplog.text.encode("utf-8", "replace"), repr(client).encode()]
    seen += [f"{one.url} {one.headers}".encode() for one in headers]
    bare = raw.head_object(**named)["Metadata"]
    opened = sealed.unlock(bare, KeyRing(key), None, Rules())
    data_key = opened.key if kind == "s3-v3" else opened._stream_key  # noqa: SLF001 - the worst that could leak
    assert len(tapped.sent) > 10
    assert len(headers) > 10
    for secret in (MASTER, data_key.reveal()):
        found = [name for name, shape in shapes(secret).items() for text in seen if shape in text]
        assert found == []
    assert not any(b"chirp" in text for text in seen)
