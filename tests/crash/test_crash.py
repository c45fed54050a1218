"""A server that is killed at any moment has everything that it acknowledged."""

import pytest
from ordeal import content, kills


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_lost_in_five_kills(tmp_path, seed):
    siege = kills.Siege(tmp_path / "data", seed, clients=3, load_s=(0.1, 0.6), most=5 * content.MIB)

    summary = siege.run(5)

    assert not summary.failed, "\n".join(summary.lines())
    assert summary.kills >= 5
    assert summary.acknowledged > 20
    assert summary.found.objects > 20
