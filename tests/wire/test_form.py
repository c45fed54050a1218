"""The decoder of browser forms: forms of real clients, refusals, and any split of the input."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.wire import form

BOUNDARY = b"----WebKitFormBoundary7MA4YWxkTrZu0gW"


def part(name, value, further=b"", boundary=BOUNDARY):
    return b'--%s\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (
        boundary,
        name,
        further,
        value,
    )


def whole(fields, content, *, filename=b'; filename="a.txt"', after=(), boundary=BOUNDARY):
    parts = [part(name, value, boundary=boundary) for name, value in fields]
    parts.append(part(b"file", content, filename, boundary))
    parts += [part(name, value, boundary=boundary) for name, value in after]
    return b"".join(parts) + b"--%s--\r\n" % boundary


def decode(pieces, boundary=BOUNDARY, **limits):
    """Return the form and the file of a body that comes in these pieces."""
    decoder = form.Decoder(boundary, **limits)
    left = list(pieces)
    while not decoder.feed_fields(left.pop(0)):
        if not left:
            decoder.finish()
            raise form.FileMissing(0)
    content = b"".join(
        bytes(got) for piece in (decoder.unread(), *left) for got in decoder.feed(piece)
    )
    decoder.finish()
    return decoder.form, content


def bytewise(data):
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("split", [lambda data: [data], bytewise])
def test_fields_come_by_their_lower_case_names_and_the_file_as_it_is(split):
    body = whole([(b"Key", b"a b"), (b"x-amz-meta-B", b"\xc3\xbc")], b"con\r\ntent")

    found, content = decode(split(body))

    assert found.fields == {"key": b"a b", "x-amz-meta-b": b"\xc3\xbc"}
    assert found.names == {"key": "Key", "x-amz-meta-b": "x-amz-meta-B"}
    assert found.filename == "a.txt"
    assert content == b"con\r\ntent"


@pytest.mark.parametrize("split", [lambda data: [data], bytewise])
def test_what_only_looks_like_a_boundary_is_content(split):
    content = b"\r\n--" + BOUNDARY[:-1] + b"\r\n-\r\r\n--" + BOUNDARY.lower() + b"\r\n"

    assert decode(split(whole([], content)))[1] == content


def test_what_follows_the_file_is_ignored():
    body = whole([(b"key", b"k")], b"content", after=[(b"key", b"other"), (b"submit", b"Send")])

    found, content = decode([body])

    assert (found.fields, content) == ({"key": b"k"}, b"content")


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        (b"", None),
        (b'; filename=""', ""),
        (b"; filename=plain.txt", "plain.txt"),
        (b'; filename="C:\\Users\\me\\photo.jpg"', "C:\\Users\\me\\photo.jpg"),
        (b'; filename="a \\"b\\"; c=d.txt"', 'a "b"; c=d.txt'),
        (b'; filename="\xc3\xbc.txt"', "ü.txt"),
        (b"; filename*=utf-8''%C3%BC.txt", "ü.txt"),
        (b"; filename=\"u.txt\"; filename*=UTF-8'en'%C3%BC.txt", "ü.txt"),
        (b"; filename=\"u.txt\"; filename*=latin-9''%FC.txt", "u.txt"),
        (b'; FileName="a.txt"\r\nContent-Type: text/plain\r\nX-Other: ignored', "a.txt"),
    ],
)
def test_a_file_is_called_what_the_client_calls_it(disposition, filename):
    assert decode([whole([], b"x", filename=disposition)])[0].filename == filename


def test_a_part_with_a_filename_is_a_field_unless_it_is_called_file():
    body = part(b"key", b"k", b'; filename="key"') + whole([], b"x")

    assert decode([body])[0].fields == {"key": b"k"}


def test_an_empty_line_before_the_form_and_blanks_behind_a_boundary_are_allowed():
    body = whole([(b"key", b"k")], b"x").replace(BOUNDARY + b"\r\n", BOUNDARY + b" \t\r\n", 1)

    assert decode([b"\r\n" + body])[0].fields == {"key": b"k"}


def test_whatever_stands_behind_the_last_boundary_is_ignored():
    assert decode([whole([], b"x") + b"epilogue\r\n--" + BOUNDARY])[1] == b"x"


# Boundaries.


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data; charset=utf-8; Boundary="a b:c"', b"a b:c"),
        (b"multipart/form-data;boundary=" + b"x" * 70, b"x" * 70),
        (b"application/x-www-form-urlencoded", None),
        (b"multipart/mixed; boundary=abc", None),
        (b"", None),
    ],
)
def test_a_content_type_announces_a_boundary(content_type, boundary):
    assert form.boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "parameters", [b"", b"; boundary=", b'; boundary="a "', b"; boundary=" + b"x" * 71, b"; x=abc"]
)
def test_a_form_without_a_possible_boundary_is_malformed(parameters):
    with pytest.raises(errors.BadBody):
        form.boundary_of(b"multipart/form-data" + parameters)


# Refusals.


@pytest.mark.parametrize(
    "body",
    [
        b"key=k&file=x",
        b"--other\r\n\r\n",
        part(b"key", b"k").replace(b"form-data", b"attachment"),
        part(b"key", b"k").replace(b"name=", b"title="),
        b"--" + BOUNDARY + b"\r\n\r\nno head\r\n--" + BOUNDARY,
        b"--" + BOUNDARY + b"more\r\n",
        whole([(b"key", b"k")], b"x").removesuffix(b"--\r\n"),
        whole([(b"key", b"k")], b"x")[:-30],
    ],
)
def test_what_is_no_form_is_malformed(body):
    for pieces in ([body], bytewise(body)):
        with pytest.raises(errors.BadBody):
            decode(pieces)


def test_a_form_without_a_file_says_so():
    with pytest.raises(form.FileMissing) as refusal:
        decode([part(b"key", b"k") + b"--" + BOUNDARY + b"--"])

    assert refusal.value.count == 0


def test_a_second_file_is_not_left_unsaid():
    with pytest.raises(form.FileMissing) as refusal:
        decode([whole([], b"x", after=[(b"file", b"y")])])

    assert refusal.value.count == 2


def test_a_field_that_comes_twice_is_refused():
    with pytest.raises(form.FieldRepeated) as refusal:
        decode([whole([(b"acl", b"private"), (b"ACL", b"public-read")], b"x")])

    assert refusal.value.name == "ACL"


@pytest.mark.parametrize("split", [lambda data: [data], bytewise])
def test_the_fields_have_a_limit_that_the_file_does_not_have(split):
    body = whole([(b"key", b"k" * 500)], b"x" * 5000)
    size = body.index(b"xxx")

    assert len(decode(split(body), max_fields_bytes=size)[1]) == 5000
    with pytest.raises(form.FieldsTooLong):
        decode(split(body), max_fields_bytes=size - 1)


def test_fields_without_end_are_given_up_at_the_limit():
    decoder = form.Decoder(BOUNDARY, max_fields_bytes=1000)
    decoder.feed_fields(part(b"key", b"k" * 800)[:-2])

    with pytest.raises(form.FieldsTooLong):
        decoder.feed_fields(b"k" * 200)


@pytest.mark.parametrize("end", [b"--\r\n", b""])
def test_what_follows_the_file_has_a_limit(end):
    body = whole([], b"x", after=[(b"submit", b"s")]).removesuffix(b"--\r\n") + end

    with pytest.raises(errors.BadBody):
        decode([body, *[b"y" * 100] * 11], max_after_bytes=1000)


# Properties.

NAMES = st.text("abcdefgh-", min_size=1, max_size=8).filter(lambda name: name != "file")
CONTENT = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"\r\n", b"--", b"b", b"\r\n--b", b"\r", b"x"])).map(b"".join),
)


@given(
    fields=st.dictionaries(NAMES, st.binary(max_size=20), max_size=4),
    content=CONTENT,
    cuts=st.lists(st.floats(0, 1), max_size=6),
)
@settings(max_examples=200)
def test_any_split_of_any_form_gives_the_same(fields, content, cuts):
    boundary = b"boundary"
    everything = b"".join(fields.values()) + content
    if b"\r\n--" + boundary in b"\r\n" + everything:
        return
    pairs = [(name.encode(), value) for name, value in fields.items()]
    body = whole(pairs, content, boundary=boundary)
    places = sorted({0, len(body), *(int(cut * len(body)) for cut in cuts)})
    pieces = [body[a:b] for a, b in itertools.pairwise(places)]

    found, got = decode(pieces, boundary)

    assert found.fields == {name.decode(): value for name, value in pairs}
    assert got == content


@given(body=st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_are_a_form_or_refused(body):
    try:
        decode([b"--b\r\nContent-Disposition: form-data; name=" + body], b"b")
    except errors.BadBody:
        return
