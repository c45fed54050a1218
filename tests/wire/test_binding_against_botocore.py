"""The codec agrees with botocore, both ways, over every operation of the model.

Requests: params are drawn from the shapes, botocore serialises them, we parse, and
both must be equal. Replies: results are drawn, we write, botocore parses.
"""

import io
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qsl, urlsplit

import botocore.parsers
import botocore.serialize
import botocore.session
import pytest
from botocore.awsrequest import HeadersDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.dialects.s3 import corrections

SERVICE = botocore.session.get_session().get_service_model("s3")
NAMES = sorted(SERVICE.operation_names)
SERIALIZER = botocore.serialize.create_serializer("rest-xml", include_validation=False)
PARSER = botocore.parsers.create_parser("rest-xml")

# Known differences, by operation, with the reason.
REQUESTS_APART = {
    # Deprecated since 2014 and never routed: its shape has the member `Event` twice,
    # as one event and as a list that is flattened under the same name.
    "PutBucketNotification",
}
REPLIES_APART = {
    "GetBucketNotification",  # as above
    "SelectObjectContent",  # a stream of binary events, which the codec leaves to the handler
    "GetBucketLocation",  # botocore reads the root's text in a handler after its parser
}

# Names of characters that XML and headers can hold; what each cannot is tested elsewhere.
XML_TEXT = st.text(
    st.characters(
        exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff", max_codepoint=0x1F600
    ),
    max_size=8,
)
HEADER_TEXT = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=8
).filter(lambda text: text.strip() == text)
QUERY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MOMENTS = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))

_strategies = {}


def values_of(shape, text, depth=0):
    """Return a strategy for values of a botocore shape."""
    name = (shape.name, text is XML_TEXT, text is HEADER_TEXT)
    if name not in _strategies:
        _strategies[name] = st.deferred(lambda: _values_of(shape, text, depth))
    return _strategies[name]


SCALARS = {
    "map": st.dictionaries(
        st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=8),
        HEADER_TEXT,
        max_size=2,
    ),
    "integer": st.integers(-(2**31), 2**31),
    "long": st.integers(-(2**63), 2**63),
    "boolean": st.booleans(),
    "timestamp": MOMENTS,
    "blob": st.binary(max_size=8),
}


def _values_of(shape, text, depth):
    match shape.type_name:
        case "structure":
            return structures_of(shape, {}, depth)
        case "list":
            return st.lists(values_of(shape.member, text, depth), min_size=1, max_size=2)
        case "string":
            known = getattr(shape, "enum", None)
            return st.sampled_from(known) if known else text
        case kind:
            return SCALARS[kind]


def structures_of(shape, fixed, depth=0):
    """Return a strategy for dicts of a structure: required members always, others at times."""
    required, optional = {}, {}
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        text = {"header": HEADER_TEXT, "querystring": QUERY_TEXT}.get(location, XML_TEXT)
        strategy = fixed[name] if name in fixed else values_of(member, text, depth + 1)
        (required if name in shape.required_members or name in fixed else optional)[name] = strategy
    return st.fixed_dictionaries(required, optional=optional)


FIXED = {
    "Bucket": st.just("bucket"),
    "Key": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
    "RequestRoute": st.just("route"),
    "Policy": XML_TEXT.filter(bool),  # an empty body is a missing policy
}


def full(shape, depth=0):
    """Return a value that has every member, down to a depth that covers all but recursion."""
    match shape.type_name:
        case "structure":
            members = {} if depth > 8 else shape.members
            return {name: full(member, depth + 1) for name, member in members.items()}
        case "list":
            return [full(shape.member, depth + 1)] * 2
        case "string":
            known = getattr(shape, "enum", None)
            return known[0] if known else "a<&>b"
        case kind:
            return {
                "map": {"k": "v"}, "integer": 7, "long": 7, "boolean": True, "blob": b"blob",
                "timestamp": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            }[kind]  # fmt: skip


def plain(value):
    """Drop what neither side can tell from absent, and compare times in one zone."""
    if isinstance(value, dict):
        inner = {name: plain(item) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item not in ({}, [], None)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value


def streaming_member(shape):
    payload = shape.serialization.get("payload")
    streams = payload and (
        shape.members[payload].serialization.get("streaming")
        or shape.members[payload].serialization.get("eventstream")
    )
    return payload if streams else None


def check_request(operations, name, params):
    operation = SERVICE.operation_model(name)
    sent = SERIALIZER.serialize_to_request(params, operation)
    query = parse_qsl(urlsplit(sent["url_path"]).query, keep_blank_values=True)
    query += [(name, str(value)) for name, value in sent["query_string"].items()]
    headers = [
        (name.lower().encode("latin-1"), str(value).encode("latin-1"))
        for name, value in sent["headers"].items()
    ]
    stream = streaming_member(operation.input_shape)

    got = operations[name].parse(
        headers,
        query,
        bucket=params.get("Bucket"),
        key=params.get("Key"),
        body=None if stream else sent["body"],
    )

    expected = {member: value for member, value in params.items() if member != stream}
    if isinstance(expected.get("Expires"), datetime):
        # botocore's client writes a date here, S3 keeps any text, and so do we.
        expected["Expires"] = format_datetime(expected["Expires"], usegmt=True)
    assert plain(got) == plain(expected)


def check_reply(operations, name, result):
    operation = SERVICE.operation_model(name)
    shape = operation.output_shape
    stream = streaming_member(shape)

    reply = operations[name].reply(result)

    body = io.BytesIO(b"") if stream else reply.body or b""
    headers = HeadersDict({k.decode("latin-1"): v.decode("latin-1") for k, v in reply.headers})
    parsed = PARSER.parse({"status_code": reply.status, "headers": headers, "body": body}, shape)
    del parsed["ResponseMetadata"]
    if stream:
        parsed[stream] = result.get(stream)
    if shape.serialization.get("payload") == "Policy" and "Policy" not in result:
        assert parsed.pop("Policy") == ""
    assert plain(parsed) == plain({**corrections.ALWAYS.get(name, {}), **result})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REQUESTS_APART])
def test_a_request_with_every_member_is_read_as_botocore_meant_it(operations, name):
    shape = SERVICE.operation_model(name).input_shape
    params = full(shape)
    params |= {
        n: v for n, v in {"Bucket": "b", "Key": "dir/k", "RequestRoute": "r"}.items() if n in params
    }

    check_request(operations, name, params)


@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if n not in REPLIES_APART and SERVICE.operation_model(n).output_shape],
)
def test_a_reply_with_every_member_is_read_by_botocore_as_meant(operations, name):
    check_reply(operations, name, full(SERVICE.operation_model(name).output_shape))


@given(st.data())
@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_request_is_read_as_botocore_meant_it(operations, data):
    name = data.draw(st.sampled_from([name for name in NAMES if name not in REQUESTS_APART]))
    shape = SERVICE.operation_model(name).input_shape
    fixed = {member: strategy for member, strategy in FIXED.items() if member in shape.members}

    check_request(operations, name, data.draw(structures_of(shape, fixed)))


@given(st.data())
@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_reply_is_read_by_botocore_as_meant(operations, data):
    candidates = [n for n in NAMES if n not in REPLIES_APART]
    name = data.draw(
        st.sampled_from([n for n in candidates if SERVICE.operation_model(n).output_shape])
    )

    check_reply(
        operations, name, data.draw(structures_of(SERVICE.operation_model(name).output_shape, {}))
    )


def test_a_location_is_the_text_of_the_root(operations):
    reply = operations["GetBucketLocation"].reply({"LocationConstraint": "eu-west-1"})

    assert reply.body.endswith(
        b'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"eu-west-1</LocationConstraint>"
    )


@pytest.mark.parametrize("name", sorted(REQUESTS_APART))
def test_a_known_difference_in_a_request_is_one_still(operations, name):
    with pytest.raises((AssertionError, errors.MalformedDocument)):
        check_request(operations, name, full(SERVICE.operation_model(name).input_shape))


@pytest.mark.parametrize("name", sorted(REPLIES_APART))
def test_a_known_difference_in_a_reply_is_one_still(operations, name):
    with pytest.raises((AssertionError, AttributeError, KeyError)):
        check_reply(operations, name, full(SERVICE.operation_model(name).output_shape))
