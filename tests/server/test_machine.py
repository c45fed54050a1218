"""What a process asks of the system; in a process of its own, as it cannot be undone."""

import subprocess
import sys

FORBID = """
import ctypes, resource
from strongroom.server import machine
machine.forbid_core_dumps()
PR_GET_DUMPABLE = 3
print(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE), resource.getrlimit(resource.RLIMIT_CORE)[0])
"""
RAISE = """
import resource
from strongroom.server import machine
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
machine.raise_open_files()
machine.tune_allocator()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(soft == min(machine.OPEN_FILES, hard))
"""


def printed(program):
    return subprocess.run(  # noqa: S603 - the programs above
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()


def test_no_core_file_and_no_debugger():
    assert printed(FORBID) == ["0", "0"]


def test_open_files_are_raised_to_what_is_allowed():
    assert printed(RAISE) == ["True"]
