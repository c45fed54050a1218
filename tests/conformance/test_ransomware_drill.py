"""The ransomware drill in its short form: a thief with valid credentials and a key of his own."""

import json
import subprocess
import sys
from pathlib import Path

DRILL = Path(__file__).parents[2] / "tools" / "drills" / "ransomware.py"


def test_twenty_objects_are_all_back_after_the_drill():
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, DRILL, "--objects", "20", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["listed"] == {"locked": 0, "lost": 0}
    for bucket in ("guarded", "versions"):
        assert (report[bucket]["lost_before"], report[bucket]["lost"]) == (20, 0)
        assert report[bucket]["restored"] == 20
    assert report["alarms"] == 30
