"""The benchmark client against the server that does nothing: seconds, and no figure is judged."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKLOADS = ["put-64m", "put-64m-boto3", "ranges-x4", "head-4k-x16"]


@pytest.mark.slow
def test_a_tiny_run_fills_a_row_for_each_workload(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--targets", "null", "--repeats", "2"]
    command += ["--scale", "0.0005", "--workloads", ",".join(WORKLOADS)]

    done = subprocess.run(  # noqa: S603 - our own module
        [*command, "--dir", tmp_path, "--out", tmp_path / "out"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out/bench.json").read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in rows] == WORKLOADS
    assert all(len(row["targets"]["null"]["rates"]) == 2 for row in rows)
    assert all(row["title"] in done.stdout for row in rows)
