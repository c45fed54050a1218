"""docs/seeds.md says which tests hold which requirement, and is current."""

import importlib.util
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("report_seeds", ROOT / "tools/report_seeds.py")
report = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(report)

CITED = {"S009.1": {"tests/x/test_a.py": ["test_it_holds"], "tests/x/test_b.py": []}}


def document(held):
    return f"# Title\n\n| id | requirement | held by |\n| S009.1 | It holds. | {held} |\n"


def test_the_document_of_the_seeds_is_current():
    there = (ROOT / "docs/seeds.md").read_text(encoding="utf-8")

    assert there == report.render(there, report.citations(ROOT / "tests")), "run `make docs`"


def test_a_cited_row_names_files_and_tests():
    shown = report.render(document("not yet: later"), CITED)

    assert shown == document(
        "[test_a](../tests/x/test_a.py): `test_it_holds`; [test_b](../tests/x/test_b.py)"
    )


def test_what_is_written_by_hand_stays_where_no_test_cites():
    assert report.render(document("not yet: later"), {}) == document("not yet: later")


@pytest.mark.parametrize("held", [" ", "[test_a](../tests/x/test_a.py)"])
def test_a_row_that_nothing_holds_any_more_is_an_error(held):
    with pytest.raises(ValueError, match=r"S009\.1: no test"):
        report.render(document(held), {})


def test_a_citation_of_no_requirement_is_an_error():
    with pytest.raises(ValueError, match=r"no requirement: S009\.2"):
        report.render(document(""), CITED | {"S009.2": {}})


def test_a_row_stands_once():
    with pytest.raises(ValueError, match="twice"):
        report.render(document("not yet: a") * 2, {})


def test_an_id_in_a_test_cites_for_that_test_and_one_above_it_for_the_file():
    source = '"""S009.1."""\n\ndef test_a():\n    """S009.2."""\n'

    assert list(report.cited_in(source)) == [("S009.1", ""), ("S009.2", "test_a")]
