"""Single values between text and Python."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.wire import scalars

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MOMENTS = st.datetimes(timezones=st.just(UTC), allow_imaginary=False).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


@pytest.mark.parametrize(
    "text",
    [
        "Fri, 02 Jan 2026 03:04:05 GMT",
        "Friday, 02-Jan-26 03:04:05 GMT",
        "Fri Jan  2 03:04:05 2026",
        "Fri, 02 Jan 2026 04:04:05 +0100",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.000Z",
        "2026-01-02T04:04:05+01:00",
        "20260102T030405Z",
        "2026-01-02T03:04:05",
        " 2026-01-02T03:04:05Z\n",
    ],
)
def test_a_time_is_read_in_all_the_forms_that_clients_send(text):
    moment = scalars.read_time(text)

    assert moment == MOMENT
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-13-02T03:04:05Z",
        "2026-01-02T25:04:05Z",
        "Fri, 99 Jan 2026 03:04:05 GMT",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1767323045000000000000",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        scalars.read_time(text)


@given(MOMENTS)
@settings(max_examples=150, deadline=None)
def test_an_iso_time_reads_back_to_the_millisecond(moment):
    text = scalars.write_iso_time(moment)

    assert len(text) == len("2026-01-02T03:04:05.000Z")
    assert scalars.read_time(text) == moment


@given(MOMENTS.filter(lambda moment: moment.year >= 1000))
@settings(max_examples=150, deadline=None)
def test_an_http_date_reads_back_to_the_second(moment):
    assert scalars.read_time(scalars.write_http_date(moment)) == moment.replace(microsecond=0)


@pytest.mark.parametrize("write", [scalars.write_iso_time, scalars.write_http_date])
def test_a_time_of_another_zone_is_written_as_utc(write):
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert write(elsewhere) == write(MOMENT)


@pytest.mark.parametrize("write", [scalars.write_iso_time, scalars.write_http_date])
def test_a_time_without_a_zone_is_refused(write):
    with pytest.raises(ValueError, match="without a zone"):
        write(MOMENT.replace(tzinfo=None))


def test_times_are_written_as_s3_writes_them():
    assert scalars.write_iso_time(MOMENT) == "2026-01-02T03:04:05.000Z"
    assert scalars.write_http_date(MOMENT) == "Fri, 02 Jan 2026 03:04:05 GMT"


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("-7", -7), ("+7", 7), (" 007 ", 7)])
def test_an_integer_is_read(text, value):
    assert scalars.read_integer(text) == value


@pytest.mark.parametrize("text", ["", "1.0", "1_000", "0x10", "\u0663", "1e3", "--1", "9" * 21])
def test_what_is_no_integer_is_refused(text):
    with pytest.raises(ValueError, match="not an integer"):
        scalars.read_integer(text)


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("-0.5", -0.5), ("1e3", 1000.0)])
def test_a_number_is_read(text, value):
    assert scalars.read_decimal(text) == value


@pytest.mark.parametrize("text", ["", "nan", "inf", "1_0", "1e9999", "0x1p3"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="not a number"):
        scalars.read_decimal(text)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), (" TRUE\n", True)])
def test_a_boolean_is_read_in_any_case(text, value):
    assert scalars.read_boolean(text) is value


@pytest.mark.parametrize("text", ["", "1", "yes", "truth"])
def test_what_is_no_boolean_is_refused(text):
    with pytest.raises(ValueError, match="neither"):
        scalars.read_boolean(text)


def test_base64_may_have_line_breaks():
    assert scalars.read_blob("aGVs\n bG8=") == b"hello"
    assert scalars.write_blob(b"hello") == "aGVsbG8="


@pytest.mark.parametrize("text", ["aGVsbG8", "aGVs*G8=", "a"])
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        scalars.read_blob(text)


def test_lists_are_split_at_commas_and_trimmed():
    assert scalars.read_list(" ETag ,Checksum,, ObjectSize") == ["ETag", "Checksum", "ObjectSize"]
    assert scalars.write_list(["a", "b"]) == "a,b"
