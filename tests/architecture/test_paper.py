"""What is written beside the code keeps step with it."""

import itertools
import pathlib
import re
import tomllib

import pytest
from packaging import requirements, utils

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/strongroom"
DEPENDENCIES = ROOT / "docs/decisions/0011-dependencies.md"
ADR_SECTIONS = ["Context", "Decision", "Consequences", "What would change our mind"]

FOLDERS = (".ci", "docs", "requirements", "src", "tests", "tools")
TEXT_FILES = sorted(
    path
    for path in itertools.chain(
        ROOT.glob("[A-Za-z]*"), *((ROOT / folder).rglob("*") for folder in FOLDERS)
    )
    if path.is_file()
    and path.suffix not in {".pyc", ".so"}
    and not any(part.endswith(".egg-info") for part in path.parts)
)
DOCUMENTS = [path for path in TEXT_FILES if path.suffix == ".md"]
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))

LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
MODULE = re.compile(r"`(?P<path>[\w./-]+\.(?:py|json))`")
PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+")

MACHINE_PATH = re.compile(r"(?<![\w.~>$}/-])/(?:home|root|work|Users|opt|farm)/")
# Put together here, so that this file does not contain what it looks for.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs"),
        ("deb", "debian"),
    )
)
INDEX_OPTION = "index" + "-url"


def relative(path):
    return path.relative_to(ROOT).as_posix()


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(name):
    lines = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def slugs(document):
    """The anchors that a forge gives to a document's headings."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_all_kinds_of_files_are_looked_at():
    names = {relative(path) for path in TEXT_FILES}

    assert {
        "README.md",
        "Makefile",
        ".ci/run",
        "docs/architecture.md",
        "src/strongroom/errors.py",
    } <= (names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_links_of_a_document_lead_somewhere(document):
    broken = []
    for match in LINK.finditer(FENCE.sub("", document.read_text(encoding="utf-8"))):
        target, _, anchor = match["target"].partition("#")
        if "://" in target:
            continue
        place = (document.parent / target).resolve() if target else document
        if not place.exists() or (anchor and anchor not in slugs(place)):
            broken.append(match["target"])

    assert broken == []


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if "formats" not in path.parts], ids=relative
)
def test_files_that_a_document_names_exist(document):
    named = {match["path"] for match in MODULE.finditer(document.read_text(encoding="utf-8"))}
    places = (ROOT, PACKAGE, PACKAGE / "dialects", document.parent)

    assert [
        path
        for path in sorted(named)
        if "/" in path and not any((place / path).exists() for place in places)
    ] == []


def test_no_file_names_a_place_on_somebodys_machine():
    found = [
        relative(path)
        for path in TEXT_FILES
        if MACHINE_PATH.search(path.read_text(encoding="utf-8", errors="replace"))
    ]

    assert found == []


def test_no_file_names_a_package_registry():
    found = [
        (relative(path), word)
        for path in TEXT_FILES
        for word in (*REGISTRIES, INDEX_OPTION)
        if word in path.read_text(encoding="utf-8", errors="replace")
    ]

    assert found == []


def test_every_dependency_says_why_it_is_there():
    text = DEPENDENCIES.read_text(encoding="utf-8")
    extras = project()["optional-dependencies"]
    declared = [
        requirements.Requirement(line).name
        for line in (*project()["dependencies"], *itertools.chain(*extras.values()))
    ]

    assert [name for name in declared if f"| `{name}` |" not in text] == []


def test_no_dependency_is_explained_that_is_gone():
    extras = project()["optional-dependencies"]
    declared = {
        requirements.Requirement(line).name
        for line in (*project()["dependencies"], *itertools.chain(*extras.values()))
    }

    explained = re.findall(
        r"^\| `([\w-]+)` \|", DEPENDENCIES.read_text(encoding="utf-8"), re.MULTILINE
    )

    assert set(explained) - declared == set()


@pytest.mark.parametrize("name", ["run", "test", "lint"])
def test_pins_are_exact_and_nothing_else(name):
    assert [line for line in pins(name) if not PIN.fullmatch(line)] == []


def test_every_package_is_pinned_once():
    names = [
        utils.canonicalize_name(line.partition("==")[0])
        for file in ("run", "test", "lint")
        for line in pins(file)
    ]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["run", "test", "lint"])
def test_what_is_declared_is_pinned_within_its_range(name):
    declared = (
        project()["dependencies"] if name == "run" else project()["optional-dependencies"][name]
    )
    pinned = dict(line.split("==") for line in pins(name))
    by_name = {utils.canonicalize_name(key): version for key, version in pinned.items()}

    for line in declared:
        wanted = requirements.Requirement(line)
        assert wanted.specifier.contains(by_name[utils.canonicalize_name(wanted.name)]), line


def test_decisions_are_numbered_without_a_gap():
    numbers = [int(path.name[:4]) for path in DECISIONS]

    assert numbers == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("decision", DECISIONS, ids=relative)
def test_a_decision_says_what_would_change_it(decision):
    headings = re.findall(r"^## (.+)$", decision.read_text(encoding="utf-8"), re.MULTILINE)

    assert headings == ADR_SECTIONS


def test_the_two_commands_of_the_readme_are_targets():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for target in ("serve", "test"):
        assert f"make {target}" in readme
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
