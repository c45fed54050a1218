"""What touches one key costs the same wherever it lies and however many there are."""

from ordeal import million


def test_costs_depend_neither_on_position_nor_on_number(tmp_path):
    rows = million.compare(tmp_path / "catalog.sqlite", 10_000)

    dear = [row for row in rows if row[3] > million.ALLOWED * row[2]]
    assert dear == []
    by_what = {}
    for what, _, _, many in rows:
        by_what.setdefault(what, []).append(many)
    assert all(max(costs) <= million.ALLOWED * min(costs) for costs in by_what.values())
