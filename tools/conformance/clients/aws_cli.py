# /// script
# requires-python = ">=3.11"
# dependencies = ["awscli"]
# ///
"""aws-cli: `aws s3` cp, sync, mv, rm, presign and `aws s3api`."""

import json

import rig

job = rig.Rig()
ENV = {
    "AWS_ENDPOINT_URL": job.endpoint,
    "AWS_CA_BUNDLE": job.ca,
    "AWS_DEFAULT_REGION": job.region,
    "AWS_ACCESS_KEY_ID": job.access_key,
    "AWS_SECRET_ACCESS_KEY": job.secret_key,
}
key, other = job.home / "key", job.home / "other"
key.write_bytes(job.key)
other.write_bytes(job.other_key)
SSE = ("--sse-c", "AES256", "--sse-c-key", f"fileb://{key}")
SSE_SOURCE = ("--sse-c-copy-source", "AES256", "--sse-c-copy-source-key", f"fileb://{key}")
SSE_OTHER = ("--sse-c", "AES256", "--sse-c-key", f"fileb://{other}")
API = ("--sse-customer-algorithm", "AES256", "--sse-customer-key", f"fileb://{key}")


def aws(*words: rig.Word) -> str:
    """Run a command; return what it printed."""
    return job.run("aws", *words, env=ENV)


def s3(*words: rig.Word) -> list[str]:
    """Run a command of `aws s3`; return the lines that it printed."""
    quiet = ("--no-progress",) if words[0] in ("cp", "mv", "sync") else ()
    return aws("s3", *words, *quiet).splitlines()


version = aws("--version").split()[0].partition("/")[2]
job.client("aws-cli", version)
s3("mb", "s3://attic")
s3("mb", "s3://cellar")

for title, bucket, options in (
    ("without a key", "s3://cellar", ()),
    ("under a customer key", "s3://attic", SSE),
):
    with job.step(f"sync up, again, down, {title}"):
        there = job.room()
        s3("sync", job.tree, f"{bucket}/sync", *options)
        assert s3("sync", job.tree, f"{bucket}/sync", *options) == [], "nothing has changed"
        s3("sync", f"{bucket}/sync", there, *options)
        job.assert_same(there, job.tree)
    with job.step(f"sync --delete, {title}"):
        s3("sync", job.tree / "odd", f"{bucket}/sync", "--delete", *options)
        assert len(s3("ls", "--recursive", f"{bucket}/sync/")) == len(rig.files(job.tree / "odd"))
    with job.step(f"cp --recursive up, between, down; rm --recursive, {title}"):
        there = job.room()
        s3("cp", "--recursive", job.tree, f"{bucket}/cp", *options)
        s3("cp", "--recursive", f"{bucket}/cp", f"{bucket}/copies", *options,
           *(SSE_SOURCE if options else ()))  # fmt: skip
        s3("cp", "--recursive", f"{bucket}/copies", there, *options)
        job.assert_same(there, job.tree)
        s3("rm", "--recursive", f"{bucket}/cp")
        s3("rm", "--recursive", f"{bucket}/copies")

with job.step("mv up, between keys, down"):
    there = job.room()
    (there / "here").write_bytes(b"moved" * 4_000_000)
    s3("mv", there / "here", "s3://attic/moved", *SSE)
    s3("mv", "s3://attic/moved", "s3://attic/moved again", *SSE_SOURCE, *SSE_OTHER)
    s3("mv", "s3://attic/moved again", there / "back", *SSE_OTHER)
    assert rig.files(there) == ["back"], rig.files(there)
    assert (there / "back").read_bytes() == b"moved" * 4_000_000

with job.step("cp from standard input, to standard output"):
    here, there = job.tree / "sizes/part/eight+1", job.room() / "there"
    piped = '"$0" s3 cp - s3://attic/piped "$@" < "$HERE"'
    job.run("sh", "-c", piped, job.program("aws"), *SSE, env=ENV | {"HERE": str(here)})
    piped = '"$0" s3 cp s3://attic/piped - "$@" > "$THERE"'
    job.run("sh", "-c", piped, job.program("aws"), *SSE, env=ENV | {"THERE": str(there)})
    assert there.read_bytes() == here.read_bytes()

with job.step("presign, as signature_version = s3v4"):
    aws("configure", "set", "default.s3.signature_version", "s3v4")
    s3("cp", job.tree / "sizes/one byte", "s3://attic/presigned")
    url = s3("presign", "s3://attic/presigned")[0]
    assert job.fetch(url) == (job.tree / "sizes/one byte").read_bytes()

with job.step("s3api put-object, head-object, get-object --range, get-object-attributes"):
    body = job.tree / "sizes/part/five+1"
    at = ("--bucket", "attic", "--key", "api")
    put = json.loads(aws("s3api", "put-object", *at, "--body", body, *API,
                         "--checksum-algorithm", "SHA256", "--metadata", "colour=blue"))  # fmt: skip
    head = json.loads(aws("s3api", "head-object", *at, *API, "--checksum-mode", "ENABLED"))
    assert head["ETag"] == put["ETag"]
    assert head["ChecksumSHA256"] == put["ChecksumSHA256"]
    assert head["Metadata"] == {"colour": "blue"}
    assert head["SSECustomerKeyMD5"] == job.key_md5
    out = job.room() / "out"
    aws("s3api", "get-object", *at, *API, "--range", "bytes=65470-65490", out)
    assert out.read_bytes() == body.read_bytes()[65470:65491]
    # Here the CLI encodes no key by itself.
    encoded = ("--sse-customer-algorithm", "AES256", "--sse-customer-key", job.key_base64,
               "--sse-customer-key-md5", job.key_md5)  # fmt: skip
    found = json.loads(aws("s3api", "get-object-attributes", *at, *encoded,
                           "--object-attributes", "ObjectSize", "Checksum"))  # fmt: skip
    assert found["ObjectSize"] == body.stat().st_size

with job.step("s3api multipart upload with upload-part-copy, delete-objects, list-objects-v2"):
    at = ("--bucket", "attic", "--key", "parts")
    upload = json.loads(aws("s3api", "create-multipart-upload", *at, *API))["UploadId"]
    source = ("--copy-source", "attic/api", "--copy-source-sse-customer-algorithm", "AES256",
              "--copy-source-sse-customer-key", f"fileb://{key}")  # fmt: skip
    one = json.loads(aws("s3api", "upload-part-copy", *at, "--upload-id", upload,
                         "--part-number", "1", *API, *source))["CopyPartResult"]["ETag"]  # fmt: skip
    two = json.loads(aws("s3api", "upload-part", *at, "--upload-id", upload, "--part-number", "2",
                         "--body", job.tree / "sizes/one byte", *API))["ETag"]  # fmt: skip
    parts = [{"PartNumber": 1, "ETag": one}, {"PartNumber": 2, "ETag": two}]
    aws("s3api", "complete-multipart-upload", *at, "--upload-id", upload,
        "--multipart-upload", json.dumps({"Parts": parts}))  # fmt: skip
    out = job.room() / "out"
    aws("s3api", "get-object", *at, *API, out)
    assert out.read_bytes() == body.read_bytes() + (job.tree / "sizes/one byte").read_bytes()
    doomed = {"Objects": [{"Key": "parts"}, {"Key": "api"}]}
    aws("s3api", "delete-objects", "--bucket", "attic", "--delete", json.dumps(doomed))
    listed = json.loads(aws("s3api", "list-objects-v2", "--bucket", "attic"))["Contents"]
    assert not {"parts", "api"} & {found["Key"] for found in listed}

with job.step("presign, as it is set up: by Signature Version 2"):
    aws("configure", "set", "default.s3.signature_version", "")
    url = s3("presign", "s3://attic/presigned")[0]
    assert job.fetch(url) == (job.tree / "sizes/one byte").read_bytes()
