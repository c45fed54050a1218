"""What conventions ask of every module and import-linter cannot say."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/strongroom"
MAX_LINES = 700
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "managers"}
SIGN = ("Lives here:", "May import:", "Must not know:")
PURE_ROOMS = ("crypto", "wire")

PACKAGES = sorted(
    path.parent.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("__init__.py")
    if path.parent != PACKAGE
)
PYTHON_FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("src", "tests", "tools")
    for path in (ROOT / folder).rglob("*.py")
)
BELOW_THE_SERVER = [
    name
    for name in PYTHON_FILES
    if name.startswith("src/")
    and not name.startswith(("src/strongroom/cli/", "src/strongroom/server/"))
    and name != "src/strongroom/testing.py"
]
PURE_FILES = [
    name
    for name in PYTHON_FILES
    if name.startswith(tuple(f"src/strongroom/{room}/" for room in PURE_ROOMS))
]


def parsed(name):
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), filename=name)


def test_the_rooms_of_the_layout_are_all_looked_at():
    rooms = {"access", "cli", "crypto", "dialects", "keyring", "server", "service", "store", "wire"}

    assert rooms <= set(PACKAGES)
    assert all(any(f"/{room}/" in name for name in PURE_FILES) for room in PURE_ROOMS)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_sign_on_its_door(package):
    sign = ast.get_docstring(parsed(f"src/strongroom/{package}/__init__.py")) or ""

    assert [line for line in SIGN if line not in sign] == []


@pytest.mark.parametrize(
    "package", [package for package in PACKAGES if package not in {"cli", "client"}]
)
def test_an_init_file_is_a_sign_and_exports_nothing(package):
    body = parsed(f"src/strongroom/{package}/__init__.py").body

    assert [type(node).__name__ for node in body] == ["Expr"]


def test_no_module_has_a_name_that_says_nothing():
    vague = [
        name
        for name in PYTHON_FILES
        if VAGUE & {part.removesuffix(".py") for part in name.split("/")}
    ]

    assert vague == []


def test_no_file_is_longer_than_one_can_hold_in_mind():
    lengths = {name: len((ROOT / name).read_bytes().splitlines()) for name in PYTHON_FILES}

    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("name", PURE_FILES)
def test_pure_rooms_have_one_colour(name):
    asynchronous = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)

    found = [node.lineno for node in ast.walk(parsed(name)) if isinstance(node, asynchronous)]

    assert found == []


@pytest.mark.parametrize("name", BELOW_THE_SERVER)
def test_below_the_server_nobody_reads_the_environment(name):
    found = [
        node.lineno
        for node in ast.walk(parsed(name))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}
    ]

    assert found == []
