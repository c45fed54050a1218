"""Reading hostile documents, and writing text that reads back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.wire import xml_body


def parse(data, *, max_bytes=10_000, max_depth=8, max_nodes=100):
    return xml_body.parse(data, max_bytes=max_bytes, max_depth=max_depth, max_nodes=max_nodes)


def refusal_of(data, **limits):
    with pytest.raises(errors.MalformedDocument) as refusal:
        parse(data, **limits)
    return str(refusal.value)


def test_elements_attributes_and_text_are_read_without_their_namespaces():
    root = parse(
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<s3:A xmlns:s3="http://s3.amazonaws.com/doc/2006-03-01/">\n'
        b'  <s3:B xsi:type="T" n="1">text</s3:B>\n  <C/><!-- a comment -->\n</s3:A>\n'
    )

    assert root.tag == "A"
    first, second = root.children
    assert (first.tag, first.text, first.attributes) == ("B", "text", {"type": "T", "n": "1"})
    assert (second.tag, second.text, second.attributes) == ("C", "", None)


def test_white_space_in_an_element_is_kept_and_between_elements_dropped():
    root = parse(b"<A>\n <Key> a\tb \n</Key>\n <Key> </Key> </A>")

    assert root.text == ""
    assert [child.text for child in root.children] == [" a\tb \n", " "]


def test_references_and_cdata_are_text():
    root = parse(b"<A>&lt;&#13;&#x1F511;<![CDATA[<&>]]></A>")

    assert root.text == "<\r\N{KEY}<&>"


def test_text_around_a_comment_is_one_text():
    assert parse(b"<A>one<!-- x -->two</A>").text == "onetwo"


def test_a_byte_order_mark_is_skipped_and_tells_utf16():
    assert parse(b"\xef\xbb\xbf<A>\xc3\xa9</A>").text == "\xe9"
    assert parse("<A>\xe9</A>".encode("utf-16")).text == "\xe9"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"   ",
        b"text",
        b"<A>",
        b"<A></B>",
        b"<A/><B/>",
        b"<A/>text",
        b"<A b=1/>",
        b"<A b='1' b='2'/>",
        b"<A>&unknown;</A>",
        b"<A>&#0;</A>",
        b"<A>\x00</A>",
        b"<A>\xff</A>",
        b"<A>\xc0\xaf</A>",
        b"<A>\xed\xa0\x80</A>",
        b'<?xml version="1.0" encoding="ISO-8859-1"?><A>\xe9</A>',
    ],
)
def test_what_is_not_well_formed_utf8_is_refused(data):
    assert refusal_of(data).startswith("The document is not well-formed XML: ")


def test_billion_laughs_are_refused_at_the_document_type():
    laughs = b'<!DOCTYPE a [<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY %c "&%c;&%c;">' % (98 + n, 97 + n, 97 + n) for n in range(20)
    )

    assert "document type" in refusal_of(laughs + b"]><A>&u;</A>")


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE A><A/>",
        b'<!DOCTYPE A SYSTEM "file:///etc/passwd"><A/>',
        b'<!DOCTYPE A PUBLIC "-//X" "http://127.0.0.1/x.dtd"><A/>',
        b'<!DOCTYPE A [<!ENTITY x SYSTEM "file:///etc/passwd">]><A>&x;</A>',
        b'<!DOCTYPE A [<!ENTITY % x "y"> %x;]><A/>',
    ],
)
def test_document_types_and_entities_are_refused(data):
    assert "document type" in refusal_of(data)


def test_a_processing_instruction_is_refused():
    assert "processing instruction" in refusal_of(b'<?xml-stylesheet href="x"?><A/>')


@pytest.mark.parametrize("data", [b"<A>x<B/></A>", b"<A><B/>x</A>", b"<A><B/> &#160; <B/></A>"])
def test_text_beside_elements_is_refused(data):
    assert refusal_of(data) == "The element A has text beside elements."


def test_a_document_may_be_as_long_as_the_limit_and_no_longer():
    data = b"<A>" + b"x" * 93 + b"</A>"

    assert parse(data, max_bytes=100).text == "x" * 93
    assert refusal_of(data, max_bytes=99) == "The document is longer than 99 bytes."


def test_a_document_may_be_as_deep_as_the_limit_and_no_deeper():
    data = b"<A>" * 8 + b"</A>" * 8

    assert parse(data, max_depth=8).tag == "A"
    assert refusal_of(data, max_depth=7) == "The document is nested deeper than 7 elements."


def test_elements_and_attributes_are_counted_together():
    data = b'<A><B c="1" d="2"/><B/></A>'

    assert len(parse(data, max_nodes=5).children) == 2
    assert refusal_of(data, max_nodes=4).startswith("The document has more than 4 elements")


def test_a_long_text_in_many_pieces_is_joined_once():
    data = b"<A>" + b"x&amp;" * 50_000 + b"</A>"

    assert parse(data, max_bytes=len(data)).text == "x&" * 50_000


# Writing.


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain/key-1.txt", "plain/key-1.txt"),
        ('a<b>&"c"', 'a&lt;b&gt;&amp;"c"'),
        ("\r\n\t", "&#13;\n\t"),
        ("\x00\x01\x0b\x1f\x7f", "&#x0;&#x1;&#xb;&#x1f;&#x7f;"),
        ("\ufffe\uffff", "&#xfffe;&#xffff;"),
        ("\ud800", "&#xd800;"),
        ("caf\xe9 \N{KEY} \u2028", "caf\xe9 \N{KEY} \u2028"),
        ("]]>", "]]&gt;"),
    ],
)
def test_text_is_escaped_as_s3_escapes_it(text, written):
    assert xml_body.escape(text) == written
    xml_body.escape(text).encode("utf-8")


XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff").filter(
        lambda c: c >= " " or c in "\t\n\r"
    )
)


@given(XML_TEXT)
@settings(max_examples=200, deadline=None)
def test_whatever_xml_can_hold_reads_back(text):
    assert parse(f"<A>{xml_body.escape(text)}</A>".encode()).text == text


@given(XML_TEXT)
@settings(max_examples=200, deadline=None)
def test_whatever_xml_can_hold_reads_back_from_an_attribute(text):
    root = parse(f'<A b="{xml_body.escape_attribute(text)}"/>'.encode())

    assert root.attributes == {"b": text}


@given(st.binary(max_size=80) | st.text("<>/A&;#!?[]- \"'=x", max_size=80).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_input_is_read_or_refused_with_a_sentence(data):
    try:
        outcome = parse(b"<A>" + data + b"</A>").tag
    except errors.MalformedDocument as refusal:
        outcome = str(refusal)

    assert outcome == "A" or outcome.endswith(".")
