"""What somebody changed on the disk is never served for what was written."""

import pytest
from ordeal import damages, tamper


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_damage_to_a_stored_object_passes_for_right(tmp_path, seed):
    tampering = tamper.Tampering(tmp_path, seed, most=40, catalogs=1)

    summary = tampering.run(41)

    assert not summary.failed, "\n".join(summary.lines())
    assert summary.cases == 41
    assert summary.refused > summary.cases
    assert summary.right > 0


@pytest.mark.slow
def test_a_state_that_was_put_back_would_be_noticed(tmp_path, seed):
    """What nobody can tell from outside, the judge can: it knows what was written last."""
    (whole,) = (one for one in damages.DAMAGES if one.name == "the whole of an earlier state")
    untold = damages.Damage("put back", whole.do)
    tampering = tamper.Tampering(tmp_path, seed, most=3, damages=[untold], catalogs=0)

    summary = tampering.run(3)

    assert len({text.split(" (")[0] for text in summary.survivors}) == 3
