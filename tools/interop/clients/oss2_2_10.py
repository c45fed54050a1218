"""Alibaba's oss2 2.10.0, the last whose clients wrote V1."""
# /// script
# dependencies = ["oss2==2.10.0", "aliyun-python-sdk-kms"]
# ///

import tempfile
from pathlib import Path

import oss2
import plaintexts
import rig
import shelf
from oss2 import crypto


def provider(keys):
    home = tempfile.mkdtemp()
    for name, half in (
        (crypto.LocalRsaProvider.PRIV_KEY_FILE, "private"),
        (crypto.LocalRsaProvider.PUB_KEY_FILE, "public"),
    ):
        Path(home, name).write_text(keys["rsa"][half], "utf-8")
    return crypto.LocalRsaProvider(dir=home)


def bucket(store, keys):
    auth = oss2.Auth("key", "secret")
    return oss2.CryptoBucket(
        auth, store.endpoint, "bucket", enable_crc=False, crypto_provider=provider(keys)
    )


def write(run, store):
    for size in (1, 16, 100_000):
        case = f"oss2-v1-{size}"
        with run.step(f"writes {case}"):
            bucket(store, run.keys).put_object(case, plaintexts.make(case, size))
            metadata, body = store.objects[case]
            run.put(case, metadata, body, size=size, keys=["rsa-oaep"])


def read(run, store):
    for name, (about, body) in run.objects().items():
        if about["format"] == "oss-v1":
            store.objects[name] = (about["metadata"], body)
            with run.step(f"reads {name}"):
                plain = bucket(store, run.keys).get_object(name).read()
                run.expect(name, about["size"], plain)


def main():
    run = rig.Rig(oss2.__version__)
    with shelf.Shelf() as store:
        {"write": write, "read": read}[run.phase](run, store)


main()
