# /// script
# requires-python = ">=3.11"
# dependencies = ["s3fs"]
# ///
"""s3fs (fsspec, aiobotocore): put, get, open, copy, move and walk."""

from typing import Any

import rig
import s3fs
import trees

job = rig.Rig()
LOST = f"wild/{trees.QUERY}"
CARRIED = rig.files(job.tree, without=[LOST])
job.client("s3fs", s3fs.__version__)
SSE = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": job.key}
# What an operation does not know of these, s3fs leaves out. Copies, moves and appends
# read what lies there, and need the key once more.
ALL = SSE | {f"CopySource{name}": value for name, value in SSE.items()}


def connect(region: str | None = None, **options: Any) -> s3fs.S3FileSystem:
    """Return a file system."""
    return s3fs.S3FileSystem(
        key=job.access_key,
        secret=job.secret_key,
        endpoint_url=job.endpoint,
        client_kwargs={"verify": job.ca} | ({"region_name": region} if region else {}),
        use_listings_cache=False,
        skip_instance_cache=True,
        **options,
    )


with job.step(
    "mkdir with client_kwargs region_name us-east-1",
    cannot="it sends the region as LocationConstraint, which S3 refuses for us-east-1",
    seen="location-constraint",
):
    connect(region="us-east-1").mkdir("region")

for title, bucket, options in (
    ("without a key", "attic", {}),
    ("under a customer key", "cellar", {"s3_additional_kwargs": ALL}),
):
    connect().mkdir(bucket)
    fs = connect(**options)
    with job.step(f"put, find and get of the tree, {title}"):
        there = job.room()
        for name in CARRIED:
            fs.put_file(str(job.tree / name), f"{bucket}/tree/{name}")
        found = [path.removeprefix(f"{bucket}/tree/") for path in fs.find(f"{bucket}/tree")]
        assert sorted(found) == CARRIED
        for name in found:
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            fs.get_file(f"{bucket}/tree/{name}", str(there / name))
        job.assert_same(there, job.tree, without=[LOST])
    with job.step(
        f"a name with ?versionId= in it, {title}",
        cannot="s3fs reads what follows as a version",
        seen="like a query is there",
    ):
        fs.put_file(str(job.tree / LOST), f"{bucket}/lost/{LOST}")
        found = fs.find(f"{bucket}/lost")
        assert found == [f"{bucket}/lost/{LOST}"], f"{found[0]} is there"
    with job.step(f"recursive put and get, {title}"):
        there = job.room()
        fs.put(f"{job.tree}/sizes", f"{bucket}/recursive", recursive=True)
        fs.get(f"{bucket}/recursive", str(there / "sizes"), recursive=True)
        job.assert_same(there / "sizes", job.tree / "sizes")
    with job.step(f"open, write, seek, read, append, {title}"):
        with fs.open(f"{bucket}/written", "wb", block_size=5 * 2**20) as file:
            for number in range(12):
                file.write(bytes([number]) * 2**20)
        with fs.open(f"{bucket}/written", "rb") as file:
            file.seek(3 * 2**20 - 1)
            assert file.read(2) == b"\x02\x03"
        with fs.open(f"{bucket}/written", "ab") as file:
            file.write(b"end")
        assert fs.cat(f"{bucket}/written", start=-4) == b"\x0bend"
    with job.step(f"copy and move, {title}"):
        fs.copy(f"{bucket}/written", f"{bucket}/copied")
        fs.mv(f"{bucket}/copied", f"{bucket}/moved")
        assert fs.cat(f"{bucket}/moved") == fs.cat(f"{bucket}/written")
        assert not fs.exists(f"{bucket}/copied")
    with job.step(f"copy of a large object in parts, {title}"):
        large = max(rig.files(job.tree), key=lambda name: (job.tree / name).stat().st_size)
        fs.copy(f"{bucket}/tree/{large}", f"{bucket}/large", managed_copy_threshold=2**20)
        assert fs.info(f"{bucket}/large")["size"] == (job.tree / large).stat().st_size
        there = job.room() / "large"
        fs.get_file(f"{bucket}/large", str(there))
        assert there.read_bytes() == (job.tree / large).read_bytes()
    with job.step(f"checksum, touch, walk, rm --recursive, {title}"):
        fs.touch(f"{bucket}/tree/touched")
        assert fs.size(f"{bucket}/tree/touched") == 0
        walked = [f"{at}/{name}" for at, _, names in fs.walk(f"{bucket}/tree") for name in names]
        expected = [f"{bucket}/tree/{name}" for name in (*CARRIED, "touched")]
        assert sorted(walked) == sorted(expected), set(walked) ^ set(expected)
        for name in filter(rig.has_controls, CARRIED):
            fs.rm_file(f"{bucket}/tree/{name}")
        fs.rm(f"{bucket}/tree", recursive=True)
        fs.rm(f"{bucket}/recursive", recursive=True)
        assert not fs.exists(f"{bucket}/tree")
