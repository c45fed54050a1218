# /// script
# requires-python = ">=3.11"
# dependencies = ["pyarrow"]
# ///
"""pyarrow.fs.S3FileSystem: copy_files, streams, Parquet."""

import pyarrow as pa
import rig
from pyarrow import fs, parquet

job = rig.Rig()
job.client("pyarrow", pa.__version__)
s3 = fs.S3FileSystem(
    access_key=job.access_key,
    secret_key=job.secret_key,
    region=job.region,
    endpoint_override=job.endpoint,
    tls_ca_file_path=job.ca,
    allow_bucket_creation=True,
    allow_bucket_deletion=True,
)
s3.create_dir("attic")

with job.step("copy_files up and down"):
    there = job.room()
    fs.copy_files(str(job.tree), "attic/tree", destination_filesystem=s3)
    fs.copy_files("attic/tree", str(there), source_filesystem=s3)
    job.assert_same(there, job.tree)

with job.step("get_file_info"):
    found = s3.get_file_info(fs.FileSelector("attic/tree", recursive=True))
    files = {i.path.removeprefix("attic/tree/"): i.size for i in found if i.is_file}
    assert files == {name: (job.tree / name).stat().st_size for name in rig.files(job.tree)}

with job.step("Parquet written, and columns read by ranges"):
    table = pa.table({"number": range(3_000_000), "text": [f"row {n}" for n in range(3_000_000)]})
    parquet.write_table(table, "attic/table.parquet", filesystem=s3, row_group_size=100_000)
    read = parquet.read_table("attic/table.parquet", filesystem=s3, columns=["text"],
                              filters=[("number", ">=", 2_999_990)])  # fmt: skip
    assert read.column("text").to_pylist() == [f"row {n}" for n in range(2_999_990, 3_000_000)]

with job.step("output stream in parts, random reads, copy, move, delete"):
    with s3.open_output_stream("attic/stream", metadata={"Content-Type": "text/plain"}) as out:
        for number in range(24):
            out.write(bytes([number]) * 2**20)
    with s3.open_input_file("attic/stream") as file:
        assert file.read_at(2, 7 * 2**20 - 1) == b"\x06\x07"
        assert file.metadata()["Content-Type"] == b"text/plain"
    s3.copy_file("attic/stream", "attic/copied")
    s3.move("attic/copied", "attic/moved")
    with s3.open_input_stream("attic/moved") as file:
        assert file.read()[-1:] == b"\x17"
    for name in filter(rig.has_controls, rig.files(job.tree)):
        s3.delete_file(f"attic/tree/{name}")
    s3.delete_dir("attic/tree")
    s3.delete_dir_contents("attic")
    s3.delete_dir("attic")

with job.step(
    "a customer key",
    cannot="S3FileSystem has no setting for one",
    seen="unexpected keyword argument",
):
    fs.S3FileSystem(sse_customer_key=job.key_base64)
