# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""restic: init, backup, check, restore, forget --prune. Taken from the system."""

import shutil

import rig

job = rig.Rig()
job.client("restic", "")
ENV = {
    "AWS_ACCESS_KEY_ID": job.access_key,
    "AWS_SECRET_ACCESS_KEY": job.secret_key,
    "AWS_DEFAULT_REGION": job.region,
    "RESTIC_PASSWORD": "of the test",
    "RESTIC_REPOSITORY": f"s3:{job.endpoint}/attic/backup",
    "RESTIC_CACERT": job.ca,
}


def restic(*words: rig.Word) -> str:
    """Run a command; return what it printed."""
    return job.run("restic", "--cacert", job.ca, *words, env=ENV)


if shutil.which("restic") is None:
    with job.step("backup and restore"):
        raise rig.Skipped("no restic on the PATH, and none among Python's packages")
else:
    job.client("restic", job.run("restic", "version").split()[1])
    with job.step("init, which makes the bucket"):
        restic("init")
    with job.step("backup, check --read-data"):
        restic("backup", job.tree)
        restic("check", "--read-data")
    with job.step("restore"):
        there = job.room()
        restic("restore", "latest", "--target", there)
        job.assert_same(there / job.tree.relative_to("/"), job.tree)
    with job.step("backup of one part, forget --prune, check, restore"):
        restic("backup", job.tree / "odd")
        restic("forget", "--group-by", "", "--keep-last", "1", "--prune")
        restic("check", "--read-data")
        there = job.room()
        restic("restore", "latest", "--target", there)
        job.assert_same(there / (job.tree / "odd").relative_to("/"), job.tree / "odd")
