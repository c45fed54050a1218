# /// script
# requires-python = ">=3.11"
# dependencies = ["minio"]
# ///
"""minio-py: its own transfer code and its SSE-C API, copies and compositions included."""

import io

import minio
import rig
import urllib3
from minio import commonconfig, deleteobjects, sse

job = rig.Rig()
job.client("minio", minio.__version__)
pool = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=job.ca)
client = minio.Minio(
    job.host,
    access_key=job.access_key,
    secret_key=job.secret_key,
    region=job.region,
    http_client=pool,
)
client.make_bucket("attic")
KEY, OTHER = sse.SseCustomerKey(job.key), sse.SseCustomerKey(job.other_key)

for title, key in (("without a key", None), ("under a customer key", KEY)):
    with job.step(f"fput_object, list_objects, fget_object of the tree, {title}"):
        there = job.room()
        for name in rig.files(job.tree):
            client.fput_object("attic", f"tree/{name}", str(job.tree / name), sse=key)
        found = [o.object_name for o in client.list_objects("attic", "tree/", recursive=True)]
        assert sorted(found) == sorted(f"tree/{name}" for name in rig.files(job.tree))
        for name in rig.files(job.tree):
            client.fget_object("attic", f"tree/{name}", str(there / name), ssec=key)
        job.assert_same(there, job.tree)
    with job.step(f"put_object of unknown length, stat, ranges, {title}"):
        data = bytes(range(256)) * 50_000
        client.put_object("attic", "stream", io.BytesIO(data), -1, part_size=5 * 2**20, sse=key)
        assert client.stat_object("attic", "stream", ssec=key).size == len(data)
        got = client.get_object("attic", "stream", offset=5_242_870, length=20, ssec=key)
        assert got.read() == data[5_242_870:5_242_890]
        got.close()
        got.release_conn()

with job.step("copy_object from key to key"):
    source = commonconfig.CopySource("attic", "stream", ssec=KEY)
    client.copy_object("attic", "copied", source, sse=OTHER)
    got = client.get_object("attic", "copied", ssec=OTHER)
    assert got.read() == data
    got.release_conn()

with job.step("compose_object of parts under two keys"):
    sources = [
        commonconfig.ComposeSource("attic", "stream", ssec=KEY),
        commonconfig.ComposeSource("attic", "copied", ssec=OTHER, offset=10, length=1000),
    ]
    client.compose_object("attic", "composed", sources, sse=OTHER)
    got = client.get_object("attic", "composed", ssec=OTHER)
    assert got.read() == data + data[10:1010]
    got.release_conn()

with job.step("remove_objects, presigned URLs, tags"):
    client.put_object("attic", "plain", io.BytesIO(b"plain"), 5)
    assert job.fetch(client.presigned_get_object("attic", "plain")) == b"plain"
    tags = commonconfig.Tags.new_object_tags()
    tags["colour"] = "blue"
    client.set_object_tags("attic", "plain", tags)
    assert client.get_object_tags("attic", "plain") == {"colour": "blue"}
    names = [o.object_name for o in client.list_objects("attic", recursive=True)]
    for name in filter(rig.has_controls, names):
        client.remove_object("attic", name)
    doomed = [deleteobjects.DeleteObject(name) for name in names if not rig.has_controls(name)]
    assert list(client.remove_objects("attic", doomed)) == []
    client.remove_bucket("attic")
