"""The ordeals' own package stands beside their tests, and is a program as well."""

import secrets
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def seed():
    """What all draws of a test follow from; pytest shows it when the test fails."""
    drawn = secrets.token_hex(4)
    print(f"seed {drawn}")  # noqa: T201 - for whoever repeats the test
    return drawn


@pytest.fixture(scope="session")
def needs_strace():
    """Skip, with the reason, where no system call can be watched."""
    from ordeal import trace  # noqa: PLC0415 - found only now

    reason = trace.missing()
    if reason:
        pytest.skip(reason)
