"""Patterns of policies: wildcards, variables, and that no pattern is slow."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from strongroom.access import wildcards


def matches(pattern, text, context=None, **how):
    parsed = wildcards.parse(pattern, **{"variables": True} | how)
    return parsed.matches(text, context or {})


def naive(pattern, text):
    """The definition, with no thought of speed."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and naive(pattern[1:], text[1:])


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_patterns_match_what_the_definition_says(pattern, text):
    assert matches(pattern, text) == naive(pattern, text)


@given(st.text(max_size=20), st.text(max_size=20))
def test_without_wildcards_a_pattern_matches_only_itself(pattern, text):
    assert matches(pattern, text, variables=False, wild=False) == (pattern == text)


def test_a_pattern_of_many_stars_is_answered_at_once():
    assert not matches("a*" * 5000 + "b", "a" * 1024)
    assert not matches("?a*" * 5000 + "b", "a" * 1024)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("home/${aws:username}/*", "home/ann/x", True),
        ("home/${AWS:UserName}/*", "home/ann/x", True),
        ("home/${aws:username}/*", "home/bob/x", False),
        ("home/${ aws:username }", "home/ann", True),
        ("${aws:principaltag/Team}", "red", True),
        ("${aws:principaltag/team}", "red", False),
        ("${aws:absent}", "", False),
        ("${aws:absent, 'guest'}/x", "guest/x", True),
        ("${aws:username, 'guest'}", "ann", True),
        ("${*}${?}${$}", "*?$", True),
        ("${*}", "anything", False),
        ("a${b", "a${b", True),
        ("${aws:several}", "one", False),
        ("${aws:star}", "anything", False),
        ("${aws:star}", "*", True),
    ],
)
def test_variables_stand_for_what_the_request_says(pattern, text, expected):
    context = {
        "aws:username": ("ann",),
        "aws:principaltag/Team": ("red",),
        "aws:several": ("one", "two"),
        "aws:star": ("*",),
    }

    assert matches(pattern, text, context) == expected


def test_the_older_language_has_no_variables():
    context = {"aws:username": ("ann",)}

    assert not matches("${aws:username}", "ann", context, variables=False)
    assert matches("${aws:username}", "${aws:username}", context, variables=False)
    assert matches("${*}/x", "${anything}/x", variables=False)


def test_a_pattern_tells_what_it_takes_from_the_request():
    parsed = wildcards.parse("a/${aws:UserName}/${s3:prefix, 'x'}", variables=True)

    assert parsed.variables == {"aws:username", "s3:prefix"}
    assert not parsed.is_fixed
    assert wildcards.parse("a/b", variables=True).is_fixed
