"""`aws s3 cp` and `aws s3 sync` carry a tree under a customer key, there and back."""

import filecmp

import pytest

MIB = 1024 * 1024
SEGMENT = 65_536 - 16
"""Plaintext bytes of a full segment; the first holds 40 fewer (docs/formats/sealed-object.md)."""
SIZES = {
    "empty": 0,
    "one byte": 1,
    **{f"segments/first{step:+}": SEGMENT - 40 + step for step in (-1, 0, 1)},
    **{f"segments/second{step:+}": 2 * SEGMENT - 40 + step for step in (-1, 0, 1)},
    **{f"parts/threshold{step:+}": 8 * MIB + step for step in (-1, 0, 1)},
    "parts/20 MB": 20_000_000,
    "parts/deep/300 MB, ünïcode & +plus": 300_000_000,
}
SMALL = {name: size for name, size in SIZES.items() if size < 10 * MIB}


@pytest.fixture
def tree(aws, content):
    """Write files of the given sizes below `here`."""

    def written(sizes):
        root = aws.home / "here"
        for seed, (name, size) in enumerate(sizes.items()):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(size, seed))
        return root

    return written


@pytest.fixture
def s3_command(aws, key):
    """Run an `aws s3` command under the key; return the lines that it printed."""
    (aws.home / "key").write_bytes(key.raw)

    def run(*args, options=("--sse-c", "AES256", "--sse-c-key", "fileb://key")):
        printed = aws(
            "s3", *args, "--no-progress", *options, env={"AWS_ENDPOINT_URL": aws.endpoint}
        )
        return printed.splitlines()

    return run


def assert_same(here, there, names):
    assert sorted(str(p.relative_to(there)) for p in there.rglob("*") if p.is_file()) == sorted(
        names
    )
    assert [n for n in names if not filecmp.cmp(here / n, there / n, shallow=False)] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sync_carries_a_tree_up_and_down(aws, s3, bucket, key, tree, s3_command):
    """S003.26."""
    here, there = tree(SIZES), aws.home / "there"

    up = s3_command("sync", "here", f"s3://{bucket}/tree")
    again = s3_command("sync", "here", f"s3://{bucket}/tree")
    down = s3_command("sync", f"s3://{bucket}/tree", "there")

    assert len(up) == len(down) == len(SIZES)
    assert again == [], "sizes and times of a listing tell that nothing changed"
    assert_same(here, there, SIZES)
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert {found["Key"].removeprefix("tree/"): found["Size"] for found in listed} == SIZES
    head = s3.head_object(Bucket=bucket, Key="tree/parts/20 MB", **key.options)
    assert head["SSECustomerKeyMD5"] == key.md5


@pytest.mark.slow
def test_sync_carries_what_changed_and_takes_away_what_is_gone(aws, bucket, tree, s3_command):
    """S003.26."""
    here, there = tree({"kept": 70_000, "grown": 10, "gone": 5}), aws.home / "there"
    s3_command("sync", "here", f"s3://{bucket}")
    s3_command("sync", f"s3://{bucket}", "there")

    (here / "grown").write_bytes(b"x" * 70_001)
    (here / "gone").unlink()
    up = s3_command("sync", "here", f"s3://{bucket}", "--delete")
    down = s3_command("sync", f"s3://{bucket}", "there", "--delete")

    assert [line.split(":")[0] for line in up] == ["delete", "upload"]
    assert [line.split(":")[0] for line in down] == ["delete", "download"]
    assert_same(here, there, ["kept", "grown"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_cp_carries_a_tree_up_and_down(aws, bucket, tree, s3_command):
    """S003.26."""
    here, there = tree(SIZES), aws.home / "there"

    up = s3_command("cp", "here", f"s3://{bucket}/tree", "--recursive")
    down = s3_command("cp", f"s3://{bucket}/tree", "there", "--recursive")

    assert len(up) == len(down) == len(SIZES)
    assert_same(here, there, SIZES)


@pytest.mark.slow
def test_cp_carries_single_files_between_keys_of_their_own(aws, bucket, customer, tree, s3_command):
    """S003.15, S003.26."""
    here = tree(SMALL)
    keys = {}
    for number, name in enumerate(["empty", "parts/threshold+1"]):
        keys[name] = aws.home / f"key {number}"
        keys[name].write_bytes(customer().raw)

    for name, file in keys.items():
        options = ("--sse-c", "AES256", "--sse-c-key", f"fileb://{file}")
        s3_command("cp", here / name, f"s3://{bucket}/{name}", options=options)
        s3_command("cp", f"s3://{bucket}/{name}", aws.home / "again", options=options)

        assert filecmp.cmp(here / name, aws.home / "again", shallow=False)
