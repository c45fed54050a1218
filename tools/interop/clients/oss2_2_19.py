"""Alibaba's oss2 2.19.1: V2 under RSA, descriptions, OAEP, multipart; reads V1 as well."""
# /// script
# dependencies = ["oss2==2.19.1", "aliyun-python-sdk-kms"]
# ///

import tempfile
from pathlib import Path

import oss2
import plaintexts
import rig
import shelf
from oss2 import crypto, models

MIB = 1024 * 1024


def provider(keys, name):
    """Return the crypto provider for one of the driver's keys."""
    if name == "rsa-oaep":
        home = tempfile.mkdtemp()
        for suffix, half in ((".private_key.pem", "private"), (".public_key.pem", "public")):
            Path(home, f"local_rsa{suffix}").write_text(keys["rsa"][half], "utf-8")
        return crypto.LocalRsaProvider(dir=home, key="local_rsa")
    pair = keys["described" if name == "described" else "rsa"]
    return crypto.RsaProvider(
        {"public_key": pair["public"], "private_key": pair["private"]},
        passphrase=None,
        mat_desc=pair["description"] or None,
    )


def bucket(store, found):
    auth = oss2.Auth("key", "secret")
    return oss2.CryptoBucket(auth, store.endpoint, "bucket", found, enable_crc=False)


def write(run, store):
    for name in ("rsa", "described", "rsa-oaep"):
        for size in (0, 1, 15, 16, 17, 100_000):
            case = f"oss2-{name}-{size}"
            with run.step(f"writes {case}"):
                target = bucket(store, provider(run.keys, name))
                target.put_object(case, plaintexts.make(case, size))
                metadata, body = store.objects[case]
                run.put(case, metadata, body, size=size, keys=[name])
    case, size = "oss2-multipart", 2 * MIB + 12_345
    with run.step(f"writes {case}"):
        target = bucket(store, provider(run.keys, "rsa"))
        plain = plaintexts.make(case, size)
        context = models.MultipartUploadCryptoContext(data_size=size, part_size=MIB)
        upload = target.init_multipart_upload(case, upload_context=context).upload_id
        parts = []
        for number, start in enumerate(range(0, size, MIB), 1):
            piece = plain[start : start + MIB]
            done = target.upload_part(case, upload, number, piece, upload_context=context)
            parts.append(models.PartInfo(number, done.etag, part_crc=done.crc))
        target.complete_multipart_upload(case, upload, parts)
        metadata, body = store.objects[case]
        run.put(case, metadata, body, size=size, keys=["rsa"])


def read(run, store):
    for name, (about, body) in run.objects().items():
        if about["format"] not in ("oss-v1", "oss-v2"):
            continue
        store.objects[name] = (about["metadata"], body)
        size = about["size"]
        target = bucket(store, provider(run.keys, about["keys"][0]))
        with run.step(f"reads {name}"):
            run.expect(name, size, target.get_object(name).read())
        if size > 1000:
            with run.step(f"reads a range of {name}"):
                plain = target.get_object(name, byte_range=(33, 999)).read()
                run.expect(name, size, plain, 33, 1000)


def main():
    run = rig.Rig(oss2.__version__)
    with shelf.Shelf() as store:
        {"write": write, "read": read}[run.phase](run, store)


main()
