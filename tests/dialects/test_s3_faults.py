"""What the tables of errors, actions and handlers say is what the modules use."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import types

import pytest

import strongroom
from strongroom import errors
from strongroom.access import actions
from strongroom.dialects import operation, s3
from strongroom.dialects.iam import query
from strongroom.dialects.s3 import faults, protocol, settings
from strongroom.service import conditions

SOURCE = pathlib.Path(strongroom.__file__).parent
ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.StrongroomError)
]
FAMILIES = {kind for kind in ALL if kind.__subclasses__()}
LEAVES = [kind for kind in ALL if kind not in FAMILIES]


def trees(folder):
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def texts(node):
    """Return the strings that an expression may be: itself, or both arms of a choice."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    return set()


def codes_in(tree):
    """Return the codes of all refusals that a module makes."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name == "Refused":
                found |= texts(node.args[0]) or {f"computed in line {node.lineno}"}
    return found


def sample(kind):
    """Make an error with some value for each of its attributes that needs one."""
    wanted = inspect.signature(kind.__init__).parameters
    kinds = {"int": 1, "bytes": b"\0", "str": "text"}
    values = [
        kinds[str(parameter.annotation)]
        for name, parameter in wanted.items()
        if name != "self"
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and parameter.default is parameter.empty
    ]
    return kind(*values)


@pytest.mark.parametrize("kind", LEAVES)
def test_every_row_makes_a_refusal_with_a_known_code(kind):
    refusal = faults.refusal(sample(kind))

    assert isinstance(refusal, operation.Refused)
    assert refusal.code in faults.FAULTS
    assert all(isinstance(text, str) for text in refusal.fields.values())


def test_errors_outside_the_tree_of_errors_have_rows_too():
    own = {
        kind
        for kind in faults.DOMAIN
        if kind.__module__ != errors.__name__ and issubclass(kind, errors.StrongroomError)
    }

    assert own == {conditions.NotModified}


def test_no_error_has_a_row_that_is_a_family():
    assert not FAMILIES & faults.DOMAIN.keys()


def test_an_error_that_nobody_knows_is_internal():
    assert (
        faults.refusal(ZeroDivisionError("text that is nobody's business")).code == "InternalError"
    )
    assert faults.refusal(errors.StrongroomError("likewise")).code == "InternalError"


def test_every_code_that_a_module_refuses_with_is_in_the_table():
    used = set()
    for path, tree in trees(SOURCE / "dialects"):
        if {"kms", "iam"} & set(path.relative_to(SOURCE).parts):
            # They speak other languages: `test_kms_faults`, and the next test.
            continue
        codes = codes_in(tree)
        if path.name == "settings.py":
            # Its table holds the codes; the next test reads it.
            codes = {code for code in codes if not code.startswith("computed")}
        assert codes <= faults.FAULTS.keys(), path.name
        used |= codes

    assert len(used) > 30


def test_every_code_that_iam_refuses_with_is_in_its_table():
    used = set().union(*(codes_in(tree) for _, tree in trees(SOURCE / "dialects/iam")))

    assert used
    assert used <= query.CODES.keys()


def test_what_a_bucket_without_a_document_answers_is_in_the_table():
    answers = [document.absent for document in settings.DOCUMENTS]
    answers += [absent for _, absent in settings.NEVER_HAD.values()]

    assert {answer for answer in answers if isinstance(answer, str)} <= faults.FAULTS.keys()


def test_codes_are_refused_with_their_status():
    for code, (status, text) in faults.FAULTS.items():
        assert code.removeprefix("KMS.").isalnum()
        assert 300 <= status < 600
        assert text


def test_every_action_is_asked_for():
    named = {
        node.attr
        for path, tree in trees(SOURCE)
        if path.name != "actions.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and "Action" in (getattr(node.value, "id", ""), getattr(node.value, "attr", ""))
    }

    assert named == set(actions.Action.__members__)


def test_every_handler_is_collected():
    declared = set()
    for found in pkgutil.iter_modules(s3.__path__):
        module = importlib.import_module(f"{s3.__name__}.{found.name}")
        declared |= {
            one.name
            for value in vars(module).values()
            for one in (value if isinstance(value, tuple) else (value,))
            if isinstance(one, operation.Declared)
        }

    assert declared == protocol.HANDLERS.keys()


def test_two_handlers_of_one_operation_are_refused():
    async def handler(call):
        return call

    declare = operation.operation("PutObject", action=actions.Action.PUT_OBJECT)
    module = types.SimpleNamespace(one=declare(handler), two=declare(handler))

    with pytest.raises(ValueError, match="PutObject"):
        operation.collect(module)


def test_an_operation_without_an_action_does_not_import():
    with pytest.raises(TypeError, match="action"):
        operation.operation("PutObject")
