"""Idle and slow clients keep nobody from being served."""

import pytest
from ordeal import crowd, serving


@pytest.mark.slow
def test_busy_clients_are_served_among_idle_and_slow_ones(tmp_path):
    with serving.Servers(tmp_path / "data").make() as server:
        summary = crowd.Crowd(server, idle=100, busy=8, seconds=2).run(to_the_limit=False)

    assert summary.failed == []
    assert summary.refused == 0
    assert summary.rate_in_crowd > 0
