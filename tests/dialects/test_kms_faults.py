"""What the KMS dialects' tables of errors say is what their modules use."""

import ast
import pathlib

import pytest

from strongroom import errors
from strongroom.dialects import kms
from strongroom.dialects.kms.alibaba import faults as alibaba
from strongroom.dialects.kms.aws import faults as aws
from strongroom.dialects.operation import Refused

ROOM = pathlib.Path(kms.__file__).parent
DIALECTS = {"aws": aws, "alibaba": alibaba}
SAMPLES = [
    kind("text")
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, errors.KmsError)
    and kind not in (errors.KmsNotVerified, errors.KmsInvalidGrant)
] + [
    errors.KmsNotVerified("mac", ""),
    errors.KmsNotVerified("signature", ""),
    errors.KmsInvalidGrant("id", "text"),
    errors.KmsInvalidGrant("token", "text"),
    *(
        errors.KmsInvalidInput("text", kind)
        for kind in ("InvalidAliasName", "Tag", "UnsupportedOperation")
    ),
    errors.AccessDenied(),
    errors.BodyTooLong(),
    errors.MalformedDocument("text"),
    errors.StoreFailed("text"),
    errors.NotAuthentic("text"),
    ZeroDivisionError("text"),
    Refused("NotServed"),
]


def texts(node):
    """Return the strings that an expression may be: itself, or both arms of a choice."""
    if isinstance(node, ast.Constant):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    # Taken from a table, whose every row the test above goes through.
    return set()


@pytest.mark.parametrize("faults", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("error", SAMPLES, ids=repr)
def test_every_error_is_told_with_a_code_of_the_table(faults, error):
    assert faults.refusal(error).code in faults.FAULTS


@pytest.mark.parametrize("name", DIALECTS)
def test_every_code_that_a_module_refuses_with_is_in_the_table(name):
    used = set()
    for path in (ROOM / name).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refused":
                used |= texts(node.args[0])

    assert used <= DIALECTS[name].FAULTS.keys()
    assert len(used) > 5


@pytest.mark.parametrize("faults", DIALECTS.values(), ids=DIALECTS)
def test_what_is_not_the_clients_fault_says_nothing_of_its_cause(faults):
    for error in (errors.StoreFailed("secret"), errors.NotAuthentic("secret"), KeyError("secret")):
        refusal = faults.refusal(error)
        assert "secret" not in (refusal.message or "")
        assert faults.FAULTS[refusal.code][0] == 500
