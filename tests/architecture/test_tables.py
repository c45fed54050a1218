"""Tables that must be whole: domain errors, faults, operations."""

import importlib.util
import pathlib
import re

import pytest

from strongroom import errors
from strongroom.dialects.kms.alibaba import dialect as kms_alibaba
from strongroom.dialects.kms.alibaba import faults as kms_alibaba_faults
from strongroom.dialects.kms.aws import faults as kms_faults
from strongroom.dialects.kms.aws import protocol as kms_protocol
from strongroom.dialects.s3 import faults, protocol

ROOT = pathlib.Path(__file__).resolve().parents[2]
BRANCH = re.compile(r"^(?P<lead>[│ ]*)[├└]── (?P<name>\w+)$")


def declared_errors():
    """Every domain error of `errors.py`, with the one that it is derived from."""
    return {
        name: kind.__base__.__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type)
        and issubclass(kind, errors.StrongroomError)
        and kind is not errors.StrongroomError
    }


def leaves():
    parents = set(declared_errors().values())
    return sorted(
        name
        for name in declared_errors()
        if name not in parents and not issubclass(getattr(errors, name), errors.ClientTrouble)
    )


def drawn_errors():
    """The same, as the docstring of `errors.py` draws it."""
    drawn = {}
    above = ["StrongroomError"]
    for line in errors.__doc__.splitlines():
        match = BRANCH.match(line.removeprefix("    "))
        if match:
            depth = len(match["lead"]) // 4 + 1
            drawn[match["name"]] = above[depth - 1]
            above[depth:] = [match["name"]]
    return drawn


def test_the_tree_of_errors_is_drawn_as_it_is():
    assert drawn_errors() == declared_errors()


@pytest.mark.parametrize("name", leaves())
def test_every_domain_error_has_a_fault_of_its_own(name):
    assert getattr(errors, name) in faults.DOMAIN


@pytest.mark.parametrize("name", [name for name in leaves() if name.startswith("Kms")])
def test_every_error_of_the_kms_has_a_fault_where_the_kms_is_served(name):
    kind = getattr(errors, name)
    # Alibaba's dialect has neither signatures nor grants nor policies.
    elsewhere = {"KmsNotVerified", "KmsInvalidGrant", "KmsMalformedPolicy"}

    assert kind in kms_faults.DOMAIN
    assert (kind in kms_alibaba_faults.DOMAIN) == (name not in elsewhere)


def test_served_and_declined_operations_make_up_the_model_of_the_kms():
    assert kms_protocol.HANDLERS.keys() & kms_protocol.DECLINED.keys() == set()
    assert kms_protocol.HANDLERS.keys() | kms_protocol.DECLINED.keys() == (
        kms_protocol.MODEL.operations.keys()
    )
    assert kms_alibaba.Alibaba.handlers.keys() <= {"GenerateDataKey", "Encrypt", "Decrypt"} | set(
        kms_protocol.MODEL.operations
    )


def test_every_served_or_declined_operation_is_in_the_model():
    assert protocol.HANDLERS.keys() <= protocol.MODEL.operations.keys()
    assert protocol.DECLINED.keys() <= protocol.MODEL.operations.keys()


def test_no_operation_is_both_served_and_declined():
    assert protocol.HANDLERS.keys() & protocol.DECLINED.keys() == set()


def test_served_declined_and_later_operations_make_up_the_model():
    standing = {name: protocol.standing(name) for name in protocol.MODEL.operations}
    served = {name for name, text in standing.items() if text == "served"}
    later = {name for name, text in standing.items() if text == "not in this release"}

    assert served == set(protocol.HANDLERS)
    assert served | later | protocol.DECLINED.keys() == protocol.MODEL.operations.keys()
    assert all(standing.values())


def test_the_document_of_operations_is_current():
    path = ROOT / "tools/report_operations.py"
    spec = importlib.util.spec_from_file_location("report_operations", path)
    report = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(report)

    assert (ROOT / "docs/operations.md").read_text(encoding="utf-8") == report.render(), (
        "run `make docs`"
    )
