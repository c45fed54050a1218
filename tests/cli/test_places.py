"""Names of objects and files, and the way from one to the other."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli import failures
from strongroom.cli.remote import places


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://b", "b", ""),
        ("s3://b/", "b", ""),
        ("s3://b/k", "b", "k"),
        ("s3://b//k", "b", "/k"),
        ("s3://b/a/../k", "b", "a/../k"),
        ("s3://b/a%2Fb?versionId=1#x", "b", "a%2Fb?versionId=1#x"),
        ("s3://b/ ü\n", "b", " ü\n"),
    ],
)
def test_what_stands_after_the_bucket_is_the_key_as_it_is(text, bucket, key):
    assert places.parse(text) == places.Remote(bucket, key)


@pytest.mark.parametrize("text", ["s3://", "s3:///k", "s3://b/\udcff", ""])
def test_what_names_no_place_is_refused(text):
    with pytest.raises(failures.Failed):
        places.parse(text)


def test_a_dash_is_a_stream_and_all_else_a_path():
    assert places.parse("-") == places.Stream()
    assert places.parse("./-") == places.Local(pathlib.Path("-"))
    assert places.parse("a/b/").is_folder
    assert not places.parse("a/b").is_folder


@pytest.mark.parametrize(
    "key", ["..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", ".", "", "a/", "a\0b", "/"]
)
def test_a_key_that_could_lead_elsewhere_has_no_path(key):
    with pytest.raises(failures.Failed, match="cannot be a file below"):
        places.path_below(pathlib.Path("out"), key)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_two_keys_are_one_path_and_all_lie_below(one, other):
    folder = pathlib.Path("/out")
    found = []
    for key in (one, other):
        try:
            found.append(places.path_below(folder, key))
        except failures.Failed:
            return

    assert all(path.is_relative_to(folder) and path != folder for path in found)
    assert all(".." not in path.parts for path in found)
    assert (found[0] == found[1]) == (one == other)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("a\nb\x1b[31m", "a\\nb\\x1b[31m"),
        ("\u202egpj", "\\u202egpj"),
        ("\udcff", "\\udcff"),
    ],
)
def test_a_name_cannot_play_with_the_terminal(text, seen):
    assert places.shown(text) == seen
