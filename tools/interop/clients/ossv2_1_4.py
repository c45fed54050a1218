"""Alibaba's newer SDK: V2 under RSA, whole, in parts, with several keys."""
# /// script
# dependencies = ["alibabacloud-oss-v2==1.4.1"]
# ///

import alibabacloud_oss_v2 as oss
import plaintexts
import rig
import shelf
from alibabacloud_oss_v2.encryption_client import EncryptionClient

MIB = 1024 * 1024


def cipher(keys, name):
    pair = keys[name]
    return oss.crypto.MasterRsaCipher(
        mat_desc=pair["description"] or None,
        public_key=pair["public"],
        private_key=pair["private"],
    )


def client(store, keys, name):
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider("key", "secret")
    config.region = "cn-hangzhou"
    config.endpoint = store.endpoint
    config.use_path_style = True
    config.disable_upload_crc64_check = True
    config.disable_download_crc64_check = True
    others = [cipher(keys, other) for other in ("rsa", "described") if other != name]
    return EncryptionClient(oss.Client(config), cipher(keys, name), others)


def write(run, store):
    for name in ("rsa", "described"):
        for size in (0, 1, 16, 100_000):
            case = f"ossv2-{name}-{size}"
            with run.step(f"writes {case}"):
                body = plaintexts.make(case, size)
                target = client(store, run.keys, name)
                target.put_object(oss.PutObjectRequest(bucket="bucket", key=case, body=body))
                metadata, stored = store.objects[case]
                run.put(case, metadata, stored, size=size, keys=[name])
    case, size = "ossv2-multipart", 2 * MIB + 12_345
    with run.step(f"writes {case}"):
        target = client(store, run.keys, "rsa")
        plain = plaintexts.make(case, size)
        begun = target.initiate_multipart_upload(
            oss.InitiateMultipartUploadRequest(
                bucket="bucket", key=case, cse_part_size=MIB, cse_data_size=size
            )
        )
        parts = []
        for number, start in enumerate(range(0, size, MIB), 1):
            done = target.upload_part(
                oss.UploadPartRequest(
                    bucket="bucket",
                    key=case,
                    upload_id=begun.upload_id,
                    part_number=number,
                    cse_multipart_context=begun.cse_multipart_context,
                    body=plain[start : start + MIB],
                )
            )
            parts.append(oss.UploadPart(part_number=number, etag=done.etag))
        target.complete_multipart_upload(
            oss.CompleteMultipartUploadRequest(
                bucket="bucket",
                key=case,
                upload_id=begun.upload_id,
                complete_multipart_upload=oss.CompleteMultipartUpload(parts=parts),
            )
        )
        metadata, stored = store.objects[case]
        run.put(case, metadata, stored, size=size, keys=["rsa"])


def read(run, store):
    for name, (about, body) in run.objects().items():
        if about["format"] != "oss-v2":
            continue
        if about["keys"][0] == "rsa-oaep":
            run.say(f"reads {name}", "cannot", "it knows no OAEP")
            continue
        store.objects[name] = (about["metadata"], body)
        target = client(store, run.keys, "rsa")
        size = about["size"]
        with run.step(f"reads {name}"):
            answer = target.get_object(oss.GetObjectRequest(bucket="bucket", key=name))
            run.expect(name, size, answer.body.content)
        if size > 1000:
            with run.step(f"reads a range of {name}"):
                wanted = oss.GetObjectRequest(
                    bucket="bucket", key=name, range_header="bytes=33-999"
                )
                run.expect(name, size, target.get_object(wanted).body.content, 33, 1000)


def main():
    run = rig.Rig("1.4.1")
    with shelf.Shelf() as store:
        {"write": write, "read": read}[run.phase](run, store)


main()
