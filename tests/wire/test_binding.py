"""What the codec does where botocore as a judge cannot look: mistakes, bytes, limits."""

import json
from datetime import UTC, datetime

import pytest

from strongroom import errors
from strongroom.dialects.s3 import corrections
from strongroom.wire import binding, elements, model, xml_body

CUSTOMER_KEY = "x-amz-server-side-encryption-customer-key"
NAMESPACE = b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@pytest.fixture
def parse(operations):
    def call(name, headers=(), query=(), *, bucket="b", key="k", body=None):
        return operations[name].parse(list(headers), list(query), bucket=bucket, key=key, body=body)

    return call


@pytest.fixture
def reply(operations):
    return lambda name, result: operations[name].reply(result)


# Requests: addresses, headers, queries.


def test_bucket_and_key_are_taken_only_where_the_path_has_them(parse):
    assert parse("GetObject") == {"Bucket": "b", "Key": "k"}
    assert parse("ListBuckets") == {}
    assert parse("GetObject", bucket=None, key=None) == {}


def test_headers_that_the_operation_does_not_know_are_passed_over(parse):
    assert parse("HeadBucket", [(b"x-amz-acl", b"private"), (b"host", b"h")]) == {"Bucket": "b"}


def test_metadata_comes_out_as_the_bytes_that_went_in(parse, reply):
    sent = [
        (b"x-amz-meta-utf8", "caf\xe9 \N{KEY}".encode()),
        (b"x-amz-meta-latin1", b"caf\xe9"),
        (b"x-amz-meta-mail", b"=?UTF-8?B?Y2Fmw6k=?="),
        (b"x-amz-meta-empty", b""),
    ]

    params = parse("PutObject", sent)

    assert reply("HeadObject", {"Metadata": params["Metadata"]}).headers == sent


def test_repeated_headers_are_joined_with_a_comma(parse):
    params = parse(
        "PutObject",
        [
            (b"x-amz-meta-a", b"1"),
            (b"cache-control", b"no-store"),
            (b"x-amz-meta-a", b"2"),
            (b"cache-control", b"private"),
            (b"cache-control", b"max-age=0"),
        ],
    )

    assert params["Metadata"] == {"a": "1,2"}
    assert params["CacheControl"] == "no-store,private,max-age=0"


def test_a_list_may_come_in_one_header_or_several(parse):
    name = b"x-amz-object-attributes"

    for headers in ([(name, b"ETag, ObjectSize")], [(name, b"ETag"), (name, b"ObjectSize")]):
        assert parse("GetObjectAttributes", headers)["ObjectAttributes"] == ["ETag", "ObjectSize"]


@pytest.mark.parametrize(
    ("name", "headers", "query", "expected"),
    [
        ("ListObjectsV2", [], [("max-keys", "ten")], ("MaxKeys", "max-keys", "ten", "query")),
        ("ListObjectsV2", [], [("fetch-owner", "1")], ("FetchOwner", "fetch-owner", "1", "query")),
        (
            "UploadPart",
            [(b"content-length", b"-")],
            [("uploadId", "u"), ("partNumber", "1")],
            ("ContentLength", "content-length", "-", "header"),
        ),
        (
            "PutObject",
            [(b"x-amz-object-lock-retain-until-date", b"soon")],
            [],
            ("ObjectLockRetainUntilDate", "x-amz-object-lock-retain-until-date", "soon", "header"),
        ),
    ],
)
def test_a_value_that_does_not_parse_is_refused_by_its_names(parse, name, headers, query, expected):
    with pytest.raises(errors.MalformedValue) as refusal:
        parse(name, headers, query)

    error = refusal.value
    assert (error.member, error.wire_name, error.value, error.where) == expected


def test_the_text_of_a_refused_value_does_not_hold_the_value(parse):
    with pytest.raises(errors.MalformedValue) as refusal:
        parse("ListObjectsV2", query=[("max-keys", "a secret by mistake")])

    assert "secret" not in str(refusal.value)
    assert "secret" not in repr(refusal.value)


def test_a_parameter_given_twice_is_refused(parse):
    with pytest.raises(errors.MalformedValue):
        parse("ListObjectsV2", query=[("prefix", "a"), ("prefix", "a")])


@pytest.mark.parametrize("text", [b"yesterday", b"", b"Fri, 99 Jan 2026 03:04:05 GMT"])
def test_a_conditional_date_that_does_not_parse_is_ignored(parse, text):
    headers = [(b"if-modified-since", text), (b"if-unmodified-since", text)]

    assert parse("GetObject", headers) == {"Bucket": "b", "Key": "k"}


def test_a_missing_member_that_is_required_is_told(parse):
    with pytest.raises(errors.MissingValue) as header:
        parse("GetObjectAttributes")
    with pytest.raises(errors.MissingValue) as query:
        parse("UploadPart", query=[("uploadId", "u")])
    with pytest.raises(errors.MissingValue) as body:
        parse("PutBucketTagging", body=b"")

    found = [(e.value.member, e.value.wire_name, e.value.where) for e in (header, query, body)]
    assert found == [
        ("ObjectAttributes", "x-amz-object-attributes", "header"),
        ("PartNumber", "partNumber", "query"),
        ("Tagging", "Tagging", "body"),
    ]


def test_headers_of_a_presigned_url_may_stand_in_its_query(parse):
    query = [
        ("x-amz-acl", "private"),
        ("X-Amz-Meta-Name", "caf\xe9"),
        ("x-amz-meta-two", "2"),
        ("X-Amz-Signature", "0"),
    ]

    params = parse("PutObject", query=query)

    assert params["ACL"] == "private"
    # As if it had come as a header, in UTF-8.
    assert params["Metadata"] == {"name": "caf\xe9".encode().decode("latin-1"), "two": "2"}


def test_a_header_and_its_parameter_must_agree(parse):
    headers = [(b"x-amz-acl", b"private"), (b"x-amz-meta-a", b"1")]

    assert parse("PutObject", headers, [("x-amz-acl", "private"), ("x-amz-meta-a", "1")])
    for query in ([("x-amz-acl", "public-read")], [("x-amz-meta-a", "2")]):
        with pytest.raises(errors.MalformedValue):
            parse("PutObject", headers, query)


@pytest.mark.parametrize("name", [CUSTOMER_KEY, CUSTOMER_KEY.upper()])
def test_a_customer_key_in_a_query_is_refused_and_not_repeated(parse, name):
    with pytest.raises(errors.MalformedValue) as refusal:
        parse("PutObject", query=[(name, "c2VjcmV0")])

    assert refusal.value.value == ""
    assert refusal.value.__cause__ is None


# Requests: documents.


def test_a_stream_is_not_among_the_params(parse):
    assert "Body" not in parse("PutObject", body=b"data")


def test_a_text_payload_is_read_as_utf8(parse):
    assert parse("PutBucketPolicy", body='{"\xe9": 1}'.encode())["Policy"] == '{"\xe9": 1}'
    with pytest.raises(errors.MalformedDocument):
        parse("PutBucketPolicy", body=b"\xff")


@pytest.mark.parametrize(
    "namespace", [b"", b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', b' xmlns="urn:x"']
)
def test_a_document_is_read_in_any_namespace(parse, namespace):
    body = b"<Delete%s><Object><Key> a </Key></Object><Quiet>true</Quiet></Delete>" % namespace

    assert parse("DeleteObjects", body=body)["Delete"] == {
        "Objects": [{"Key": " a "}],
        "Quiet": True,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"<Delete><Object><Key>a</Key></Object><Quiet>true</Quiet><Quiet>true</Quiet></Delete>",
        b"<Delete><Object><Key>a</Key><Unknown/></Object></Delete>",
        b"<Delete><Object></Object></Delete>",
        b"<Delete></Delete>",
        b"<Delete>text</Delete>",
        b"<Delete><Object>text</Object></Delete>",
        b"<Delete><Object><Key><Deep/></Key></Object></Delete>",
        b"<Other><Object><Key>a</Key></Object></Other>",
        b"<Delete><Object><Key>a</Key></Object>",
        b"not XML",
    ],
)
def test_a_document_outside_its_schema_is_refused(parse, body):
    with pytest.raises(errors.MalformedDocument):
        parse("DeleteObjects", body=body)


@pytest.mark.parametrize(
    "body",
    [
        b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag><Other/></TagSet></Tagging>",
        b"<Tagging><TagSet>text</TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
        b"<Tagging/>",
    ],
)
def test_a_list_outside_its_schema_is_refused(parse, body):
    with pytest.raises(errors.MalformedDocument):
        parse("PutBucketTagging", body=body)


def test_a_value_in_a_document_that_does_not_parse_is_refused_by_its_element(parse):
    body = b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber></Part></CompleteMultipartUpload>"

    with pytest.raises(errors.MalformedValue) as refusal:
        parse("CompleteMultipartUpload", query=[("uploadId", "u")], body=body)

    assert (refusal.value.wire_name, refusal.value.where) == ("PartNumber", "body")


def test_the_largest_completion_is_within_the_limits(parse):
    part = (
        b'<Part><ETag>"d41d8cd98f00b204e9800998ecf8427e"</ETag><PartNumber>%d</PartNumber>'
        b"<ChecksumSHA512>"
        + b"A" * 88
        + b"</ChecksumSHA512><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>"
    )
    body = b"".join(part % (n + 1) for n in range(10_000))
    body = b"<CompleteMultipartUpload>" + body + b"</CompleteMultipartUpload>"

    params = parse("CompleteMultipartUpload", query=[("uploadId", "u")], body=body)

    assert len(params["MultipartUpload"]["Parts"]) == 10_000


def test_the_largest_deletion_is_within_the_limits(parse):
    # A thousand keys of 1,024 bytes, each byte escaped at its longest.
    entry = b"<Object><Key>" + b"&quot;" * 1024 + b"</Key></Object>"

    params = parse("DeleteObjects", body=b"<Delete>" + entry * 1000 + b"</Delete>")

    assert [len(entry["Key"]) for entry in params["Delete"]["Objects"]] == [1024] * 1000


@pytest.mark.parametrize("root", [b"LegalHold", b"ObjectLockLegalHold"])
def test_a_legal_hold_may_have_either_of_its_roots(parse, root):
    body = b"<%s><Status>ON</Status></%s>" % (root, root)

    assert parse("PutObjectLegalHold", body=body)["LegalHold"] == {"Status": "ON"}


def test_a_grantee_has_its_type_as_an_attribute(parse):
    body = (
        b"<AccessControlPolicy><AccessControlList><Grant>"
        b'<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group">'
        b"<URI>u</URI></Grantee><Permission>READ</Permission>"
        b"</Grant></AccessControlList></AccessControlPolicy>"
    )

    grants = parse("PutBucketAcl", body=body)["AccessControlPolicy"]["Grants"]

    assert grants == [{"Grantee": {"Type": "Group", "URI": "u"}, "Permission": "READ"}]


# Replies.


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("HeadObject", {"Etag": "x"}),
        ("ListObjectsV2", {"Contents": [{"Kee": "x"}]}),
        ("GetBucketAcl", {"Grants": [{"Grantee": {"Type": "Group", "Uri": "u"}}]}),
        ("CopyObject", {"CopyObjectResult": {"Etag": "x"}}),
        ("DeleteBucket", {"DeleteMarker": True}),
    ],
)
def test_a_misspelt_member_of_a_result_is_refused(reply, name, result):
    with pytest.raises(elements.UnknownMemberError):
        reply(name, result)


def test_none_in_a_result_is_as_good_as_absent(reply):
    page = {"Prefix": None, "Contents": [{"Key": "k", "Size": None}]}

    answer = reply("ListObjectsV2", {**page, "NextContinuationToken": None, "RequestCharged": None})

    assert b"<Contents><Key>k</Key></Contents>" in answer.body
    assert b"<Prefix></Prefix>" in answer.body
    assert b"Token" not in answer.body
    assert answer.headers == [(b"content-type", b"application/xml")]


def test_a_stream_in_a_result_is_left_to_the_caller(operations, reply):
    answer = reply("GetObject", {"Body": object(), "ContentType": "text/plain"})

    assert operations["GetObject"].output_stream == "Body"
    assert operations["HeadObject"].output_stream is None
    assert answer.body is None
    assert answer.headers == [(b"content-type", b"text/plain")]


def test_a_result_may_choose_its_status(reply):
    assert reply("GetObject", {binding.STATUS: 206}).status == 206
    assert reply("GetObject", {}).status == 200


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("DeleteObject", 204),
        ("AbortMultipartUpload", 204),
        ("PutBucketPolicy", 204),
        ("PutObject", 200),
    ],
)
def test_an_operation_has_its_own_status(reply, name, status):
    assert reply(name, {}).status == status


@pytest.mark.parametrize("text", ["a\r\nset-cookie: b", "a\nb", "a\x00b", "\x7f"])
def test_a_value_that_would_end_its_header_is_refused(reply, text):
    for result in (
        {"ContentDisposition": text},
        {"Metadata": {"a": text}},
        {"Metadata": {text: "a"}},
    ):
        with pytest.raises(errors.MalformedValue) as refusal:
            reply("GetObject", result)
        assert refusal.value.where == "reply"


def test_a_tab_may_stand_in_a_header(reply):
    headers = reply("GetObject", {"ContentDisposition": "a\tb", "Metadata": {"a": "b\tc"}}).headers

    assert headers == [(b"content-disposition", b"a\tb"), (b"x-amz-meta-a", b"b\tc")]


@pytest.mark.parametrize(
    "result",
    [
        {"ContentDisposition": "\N{KEY}"},
        {"Metadata": {"a": "\N{KEY}"}},
        {"Metadata": {"\xe9": "a"}},
        {"Metadata": {"a b": "c"}},
    ],
)
def test_what_a_header_cannot_hold_is_refused(reply, result):
    with pytest.raises(errors.MalformedValue):
        reply("GetObject", result)


def test_what_s3_prints_although_empty_is_printed(reply):
    body = reply("ListObjectsV2", {"Name": "b"}).body

    for element in (b"<Prefix></Prefix>", b"<KeyCount>0</KeyCount>", b"<IsTruncated>false<"):
        assert element in body


def test_a_reply_without_members_is_its_root(reply):
    assert reply("GetBucketVersioning", {}).body.endswith(
        b"<VersioningConfiguration " + NAMESPACE + b"></VersioningConfiguration>"
    )


def test_a_payload_that_is_absent_makes_no_document(reply):
    answer = reply("GetBucketReplication", {})

    assert (answer.body, answer.headers) == (None, [])


def test_a_policy_is_answered_as_it_is(reply):
    answer = reply("GetBucketPolicy", {"Policy": '{"a": "\xe9"}'})

    assert answer.body == '{"a": "\xe9"}'.encode()
    assert answer.headers == [(b"content-type", b"application/json")]


def test_the_location_of_the_first_region_is_empty(reply):
    assert reply("GetBucketLocation", {}).body.endswith(NAMESPACE + b"></LocationConstraint>")


def test_a_grantee_is_written_with_its_type_as_an_attribute(reply):
    grants = [{"Grantee": {"Type": 'a"<&', "ID": "1"}, "Permission": "READ"}, {"Grantee": {}}]

    body = reply("GetBucketAcl", {"Grants": grants}).body

    assert (
        b'<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        b'xsi:type="a&quot;&lt;&amp;"><ID>1</ID></Grantee>' in body
    )
    assert b"<Grantee></Grantee>" in body


def test_times_in_headers_have_the_form_that_the_model_says(reply):
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    headers = reply(
        "HeadObject", {"LastModified": moment, "ObjectLockRetainUntilDate": moment}
    ).headers

    assert headers == [
        (b"last-modified", b"Fri, 02 Jan 2026 03:04:05 GMT"),
        (b"x-amz-object-lock-retain-until-date", b"2026-01-02T03:04:05.000Z"),
    ]


# Errors and mistakes of our own.


def test_an_error_document_has_s3s_shape():
    document = binding.error_document(
        "NoSuchKey", "The key <&> is not there.", {"Key": "a\x01b"}, "REQUEST", "HOST"
    )

    assert document == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b"<Error><Code>NoSuchKey</Code><Message>The key &lt;&amp;&gt; is not there.</Message>"
        b"<Key>a&#x1;b</Key><RequestId>REQUEST</RequestId><HostId>HOST</HostId></Error>"
    )


def test_an_error_document_reads_back():
    document = binding.error_document("C", "M", {"X-Amz-Expires": "1"}, "R", "H")

    root = xml_body.parse(document, max_bytes=1000, max_depth=2, max_nodes=10)

    assert {child.tag: child.text for child in root.children}["X-Amz-Expires"] == "1"


@pytest.mark.parametrize(
    "wrong",
    [
        binding.Corrections(roots={"NoSuchOperation": "x"}),
        binding.Corrections(special_writers={"NoSuchShape": lambda general: general}),
        binding.Corrections(roots={n: r for n, r in corrections.ROOTS.items() if n != "ListParts"}),
    ],
)
def test_corrections_that_do_not_fit_the_model_do_not_compile(s3_model, wrong):
    with pytest.raises(ValueError, match=r"."):
        binding.compile_operations(s3_model, wrong)


def small_model(shapes, **operation):
    described = {"name": "O", "http": {"method": "GET", "requestUri": "/"}, **operation}
    document = {"source": {}, "operations": {"O": described}, "shapes": shapes}
    return model.load(json.dumps(document).encode())


TEXT = {"type": "string"}
LISTED = {"type": "structure", "members": {"A": {"shape": "L"}}}


def test_an_operation_may_have_neither_input_nor_output():
    compiled = binding.compile_operations(small_model({}), binding.Corrections())

    assert compiled["O"].parse([], [("a", "b")], bucket=None, key=None, body=b"<x/>") == {}
    assert compiled["O"].reply({}) == binding.Reply(200, [], None)


def test_a_reply_without_a_known_root_does_not_compile():
    source = small_model(
        {"R": {"type": "structure", "members": {"A": {"shape": "T"}}}, "T": TEXT},
        output={"shape": "R"},
    )

    with pytest.raises(ValueError, match="no root element is known for the reply of O"):
        binding.compile_operations(source, binding.Corrections())


def test_a_list_without_an_item_does_not_compile():
    source = small_model({"R": LISTED, "L": {"type": "list"}}, input={"shape": "R"})

    with pytest.raises(ValueError, match="the list L has no item"):
        binding.compile_operations(source, binding.Corrections())


def test_a_list_whose_item_has_no_name_is_made_of_members():
    shapes = {"R": LISTED, "L": {"type": "list", "member": {"shape": "T"}}, "T": TEXT}
    source = small_model(shapes, input={"shape": "R"}, output={"shape": "R"})
    compiled = binding.compile_operations(source, binding.Corrections(roots={"O": "R"}))["O"]

    reply = compiled.reply({"A": ["1", "2"]})

    assert b"<A><member>1</member><member>2</member></A>" in reply.body
    assert compiled.parse([], [], bucket=None, key=None, body=reply.body) == {"A": ["1", "2"]}


def test_a_binding_names_its_operation(operations):
    assert repr(operations["GetObject"]) == "Binding(GetObject)"
