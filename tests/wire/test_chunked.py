"""The aws-chunked decoder: forms of real clients, refusals, and any split of the input."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.wire import chunked

SIGNATURE = b"5" * 64


class Recorder:
    """A verifier that accepts everything and writes down what it was asked."""

    def __init__(self):
        self.open = b""
        self.chunks = []
        self.trailers = None

    def update(self, piece):
        self.open += bytes(piece)

    def end_chunk(self, signature):
        self.chunks.append((self.open, signature))
        self.open = b""

    def end_trailers(self, signature, canonical):
        self.trailers = (signature, canonical)


class WrongSignatureError(Exception):
    pass


class Refuser(Recorder):
    def end_chunk(self, _signature):
        raise WrongSignatureError


def decode(parts, length, *, verifier=None, trailers=None, **limits):
    decoder = chunked.Decoder(decoded_length=length, verifier=verifier, trailers=trailers, **limits)
    decoded = b"".join(bytes(piece) for part in parts for piece in decoder.feed(part))
    return decoded, decoder.finish()


def encode(chunks, *, signed=False, trailers=(), end=b"\r\n"):
    extension = b";chunk-signature=" + SIGNATURE if signed else b""
    out = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks if chunk)
    out += b"0" + extension + b"\r\n"
    return out + b"".join(b"%s:%s\r\n" % pair for pair in trailers) + end


# The forms that clients send.


def test_signed_chunks_come_out_with_their_signatures():
    verifier = Recorder()

    decoded, trailers = decode([encode([b"abc", b"de"], signed=True)], 5, verifier=verifier)

    assert (decoded, trailers) == (b"abcde", {})
    assert verifier.chunks == [(b"abc", SIGNATURE), (b"de", SIGNATURE), (b"", SIGNATURE)]
    assert verifier.trailers is None


def test_signed_trailers_are_verified_in_their_canonical_form():
    verifier = Recorder()
    body = encode(
        [b"abc"],
        signed=True,
        trailers=[
            (b"X-Amz-Meta-Z", b" two "),
            (b"x-amz-checksum-crc32", b"AAAAAA=="),
            (b"x-amz-trailer-signature", SIGNATURE),
        ],
    )

    _, trailers = decode(
        [body], 3, verifier=verifier, trailers=[b"x-amz-checksum-crc32", b"x-amz-meta-z"]
    )

    assert trailers == {b"x-amz-checksum-crc32": b"AAAAAA==", b"x-amz-meta-z": b"two"}
    canonical = b"x-amz-checksum-crc32:AAAAAA==\nx-amz-meta-z:two\n"
    assert verifier.trailers == (SIGNATURE, canonical)


@pytest.mark.parametrize(
    "end",
    [
        b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n",  # botocore, the SDKs for Java, Go and JavaScript
        b"x-amz-checksum-crc32:AAAAAA==\n\r\n\r\n",  # minio-go
        b"x-amz-checksum-crc32:AAAAAA==\r\n",  # the last CRLF left out
        b"x-amz-checksum-crc32:AAAAAA==",
        b"X-Amz-Checksum-CRC32: AAAAAA== \r\n\r\n",
    ],
)
def test_an_unsigned_trailer_is_read_however_it_ends(end):
    body = b"3\r\nabc\r\n0\r\n" + end

    decoded, trailers = decode([body], 3, trailers=[b"x-amz-checksum-crc32"])

    assert (decoded, trailers) == (b"abc", {b"x-amz-checksum-crc32": b"AAAAAA=="})


@pytest.mark.parametrize(
    "end",
    [
        b"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:%s\r\n\r\n",
        b"x-amz-checksum-crc32:AAAAAA==\n\r\nx-amz-trailer-signature:%s\r\n\r\n",  # minio-go
        b"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:%s",
    ],
)
def test_a_signed_trailer_is_read_however_it_ends(end):
    verifier = Recorder()
    body = encode([b"abc"], signed=True, end=end % SIGNATURE)

    _, trailers = decode([body], 3, verifier=verifier, trailers=[b"x-amz-checksum-crc32"])

    assert trailers == {b"x-amz-checksum-crc32": b"AAAAAA=="}
    assert verifier.trailers == (SIGNATURE, b"x-amz-checksum-crc32:AAAAAA==\n")


@pytest.mark.parametrize("end", [b"", b"\r", b"\r\n", b"\r\n\r\n"])
def test_the_last_line_end_may_be_missing_or_doubled(end):
    assert decode([b"3\r\nabc\r\n0\r\n" + end], 3) == (b"abc", {})


def test_an_empty_payload_is_the_closing_chunk_alone():
    assert decode([b"0\r\n\r\n"], 0) == (b"", {})


def test_upper_case_sizes_leading_zeros_and_unknown_extensions_are_read():
    assert decode([b"00A;x=1\r\n0123456789\r\n0\r\n\r\n"], 10) == (b"0123456789", {})


def test_pieces_share_the_memory_of_what_was_fed():
    decoder = chunked.Decoder(decoded_length=4, verifier=None, trailers=None)
    data = b"4\r\nabcd\r\n0\r\n\r\n"

    (piece,) = decoder.feed(data)

    assert isinstance(piece, memoryview)
    assert piece.obj is data


# Refusals.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"3",
        b"3\r\n",
        b"3\r\nab",
        b"3\r\nabc",
        b"3\r\nabc\r",
        b"3\r\nabc\r\n",
        b"3\r\nabc\r\n0\r",
    ],
)
def test_a_body_that_ends_before_its_closing_chunk_is_too_short(body):
    with pytest.raises(errors.BodyTooShort):
        decode([body], 3)


def test_a_closing_chunk_before_the_announced_length_is_too_short():
    with pytest.raises(errors.BodyTooShort):
        decode([encode([b"abc"])], 4)


def test_more_than_the_announced_length_is_too_long_before_any_of_it_is_handed_out():
    decoder = chunked.Decoder(decoded_length=3, verifier=None, trailers=None)
    assert decoder.feed(b"2\r\nab\r\n")

    with pytest.raises(errors.BodyTooLong):
        decoder.feed(b"2\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b"3\nabc\r\n0\r\n\r\n",
        b"\r\n3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"g\r\nabc\r\n0\r\n\r\n",
        b"00000000000000003\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
        b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
    ],
)
def test_framing_that_cannot_be_read_is_refused(body):
    with pytest.raises(errors.BodyMalformed):
        decode([body], 3)


@pytest.mark.parametrize(
    "end",
    [
        b"\r\n",
        b"x-amz-checksum-sha1:AA==\r\n\r\n",
        b"x-amz-checksum-crc32\r\n\r\n",
        b":AAAAAA==\r\n\r\n",
        b"x-amz-checksum crc32:AAAAAA==\r\n\r\n",
        b"x-amz-checksum-crc32:AA\x00AAA==\r\n\r\n",
        b"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
        b"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:5\r\n\r\n",
        b"x-amz-checksum-crc32:AAAAAA==\r\n\r\nmore:text\r\n",
    ],
)
def test_trailers_other_than_the_announced_are_refused(end):
    with pytest.raises(errors.BodyMalformed):
        decode([b"3\r\nabc\r\n0\r\n" + end], 3, trailers=[b"x-amz-checksum-crc32"])


def test_trailers_of_signed_chunks_must_be_signed():
    body = encode([b"abc"], signed=True, trailers=[(b"x-amz-checksum-crc32", b"AAAAAA==")])

    with pytest.raises(errors.BodyMalformed):
        decode([body], 3, verifier=Recorder(), trailers=[b"x-amz-checksum-crc32"])


def test_a_trailer_after_the_signature_of_the_trailers_is_refused():
    body = encode(
        [b"abc"],
        signed=True,
        trailers=[(b"x-amz-trailer-signature", SIGNATURE), (b"x-amz-checksum-crc32", b"A")],
    )

    with pytest.raises(errors.BodyMalformed):
        decode([body], 3, verifier=Recorder(), trailers=[b"x-amz-checksum-crc32"])


@pytest.mark.parametrize(
    "header", [b"3", b"3;", b"3;chunk-signature=55", b"3;chunk-signature=" + b"G" * 64, b"3;x=1"]
)
def test_a_chunk_without_a_signature_is_refused_where_chunks_are_signed(header):
    with pytest.raises(errors.BodyMalformed):
        decode([header + b"\r\nabc\r\n"], 3, verifier=Recorder())


def test_a_wrong_signature_is_told_at_the_end_of_its_chunk():
    decoder = chunked.Decoder(decoded_length=3, verifier=Refuser(), trailers=None)
    assert decoder.feed(b"3;chunk-signature=" + SIGNATURE + b"\r\nab")

    with pytest.raises(WrongSignatureError):
        decoder.feed(b"c")


def test_the_line_before_a_chunk_may_be_as_long_as_the_limit_and_no_longer():
    line = b"3;" + b"x" * 6 + b"\r\n"
    body = line + b"abc\r\n0\r\n\r\n"

    assert decode([body], 3, max_chunk_header=len(line)) == (b"abc", {})
    with pytest.raises(errors.BodyMalformed):
        decode([body], 3, max_chunk_header=len(line) - 1)


def test_a_line_that_never_ends_is_refused_at_the_limit():
    decoder = chunked.Decoder(decoded_length=3, verifier=None, trailers=None)
    for _ in range(chunked.MAX_CHUNK_HEADER):
        decoder.feed(b"1")

    with pytest.raises(errors.BodyMalformed):
        decoder.feed(b"1")


def test_trailers_may_be_as_long_as_the_limit_and_no_longer():
    trailer = b"a:" + b"x" * 20 + b"\r\n\r\n"
    body = b"0\r\n" + trailer

    assert decode([body], 0, trailers=[b"a"], max_trailer_bytes=len(trailer))
    with pytest.raises(errors.BodyMalformed):
        decode([body], 0, trailers=[b"a"], max_trailer_bytes=len(trailer) - 1)


# Any split gives the same.

bodies = st.builds(
    encode,
    st.lists(st.binary(max_size=40), max_size=4),
    signed=st.booleans(),
    trailers=st.lists(
        st.sampled_from(
            [(b"x-amz-checksum-crc32", b"AAAAAA=="), (b"x-amz-trailer-signature", SIGNATURE)]
        ),
        max_size=2,
    ),
    end=st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"junk"]),
)


def outcome(parts, length, *, signed, trailers):
    verifier = Recorder() if signed else None
    decoder = chunked.Decoder(decoded_length=length, verifier=verifier, trailers=trailers)
    try:
        decoded = b"".join(bytes(piece) for part in parts for piece in decoder.feed(part))
        return decoded, decoder.finish(), verifier and (verifier.chunks, verifier.trailers)
    except errors.BadBody as error:
        return type(error), str(error)


@given(
    bodies | st.binary(max_size=60),
    st.integers(0, 100),
    st.booleans(),
    st.sampled_from([None, [b"x-amz-checksum-crc32"]]),
    st.lists(st.integers(0, 300), max_size=6),
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_any_split_of_the_input_gives_the_same(body, length, signed, trailers, cuts, data):
    if data.draw(st.booleans(), label="damage") and body:
        place = data.draw(st.integers(0, len(body) - 1))
        body = body[:place] + data.draw(st.binary(max_size=2)) + body[place + 1 :]
    cuts = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(cuts)]

    whole = outcome([body], length, signed=signed, trailers=trailers)

    assert outcome(pieces, length, signed=signed, trailers=trailers) == whole
    single = [body[n : n + 1] for n in range(len(body))]
    assert outcome(single, length, signed=signed, trailers=trailers) == whole


@given(
    st.lists(st.binary(min_size=1, max_size=60), max_size=5),
    st.booleans(),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
@settings(max_examples=150, deadline=None)
def test_what_was_encoded_is_decoded(chunks, signed, sizes):
    body, payload = encode(chunks, signed=signed), b"".join(chunks)
    parts = []
    for size in sizes:
        parts.append(body[:size])
        body = body[size:]

    decoded, trailers = decode(
        [*parts, body], len(payload), verifier=Recorder() if signed else None
    )

    assert (decoded, trailers) == (payload, {})
