"""Whatever a client does, in whatever order: a server on a disk agrees with a few dicts."""

import pytest


@pytest.mark.slow
def test_any_sequence_of_calls_agrees_with_dicts(s3, run_any_sequence):
    run_any_sequence(s3, examples=10, steps=30)
