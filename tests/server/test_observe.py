"""What gets into the log, and what does not."""

import io
import json
import logging
import warnings
from datetime import datetime

import pytest

from strongroom.server import observe

HUSH = "hush-hush"


@pytest.fixture
def log():
    return io.StringIO()


@pytest.fixture
def reporter(log):
    return observe.reporter(log)


def lines(log):
    return [json.loads(line) for line in log.getvalue().splitlines()]


def failure():
    local = HUSH
    try:
        try:
            raise ValueError(local)  # noqa: TRY301 - a cause is what is wanted
        except ValueError as error:
            raise RuntimeError(f"wrapped {local}") from error
    except RuntimeError as error:
        return error


def test_fields_that_an_event_does_not_list_are_dropped(reporter, log):
    reporter.log.info("server.ready", s3="https://h:1", authorization=HUSH)

    (line,) = lines(log)
    assert line["s3"] == "https://h:1"
    assert "authorization" not in line


def test_an_event_that_is_not_listed_has_no_fields(reporter, log):
    reporter.log.info("something.new", key=HUSH)

    (line,) = lines(log)
    assert set(line) == {"event", "level", "timestamp"}


def test_a_request_is_one_line_with_what_was_learned(reporter, log):
    exchange = reporter.begin("ID", "GET", "192.0.2.7")
    reporter.describe("ID", operation="GetObject", bucket="attic", key="ü", access_key="AK")
    reporter.describe("ID", code="NoSuchKey")
    exchange.status, exchange.bytes_out = 404, 10
    reporter.finish(exchange)

    (line,) = lines(log)
    assert line["event"] == "request"
    assert (line["operation"], line["bucket"], line["key"]) == ("GetObject", "attic", "ü")
    assert (line["status"], line["code"], line["bytes_out"]) == (404, "NoSuchKey", 10)
    assert (line["peer"], line["access_key"]) == ("192.0.2.7", "AK")
    assert "outcome" not in line


def test_the_line_of_a_request_has_the_fields_of_its_event_and_says_them_as_json(log):
    reporter = observe.reporter(log, worker=3)
    exchange = reporter.begin("ID", "PUT", "192.0.2.7")
    exchange.bucket, exchange.key = 'a"b', 'line\nfeed \\ "quote" \x7f ü'
    exchange.operation, exchange.access_key = "PutObject", "AK"
    exchange.status, exchange.bytes_in, exchange.outcome = 200, 5, "cut"
    reporter.finish(exchange)

    (line,) = lines(log)
    assert line["key"] == exchange.key
    assert line["bucket"] == 'a"b'
    assert (line["worker"], line["bytes_in"], line["outcome"]) == (3, 5, "cut")
    assert line["duration_ms"] >= 0
    assert "code" not in line
    assert set(line) <= observe.EVENTS["request"] | {"event", "level", "timestamp", "worker"}
    assert line["level"] == "info"
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


def test_a_terminal_gets_the_line_of_a_request_as_text():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    reporter = observe.reporter(terminal)
    reporter.finish(reporter.begin("ID", "GET", "192.0.2.7"))

    assert "192.0.2.7" in terminal.getvalue()
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(terminal.getvalue())


def test_a_description_of_an_unknown_request_is_ignored(reporter, log):
    reporter.describe("ID", operation="GetObject")

    assert log.getvalue() == ""


def test_a_failure_is_types_and_places_and_never_messages(reporter, log):
    reporter.failed("ID", failure())

    (line,) = lines(log)
    assert line["error"] == "builtins.RuntimeError from builtins.ValueError"
    assert any("test_observe.py" in place and "failure" in place for place in line["trace"])
    assert HUSH not in log.getvalue()


def test_a_failure_of_the_system_has_its_number():
    described = observe.describe_error(OSError(28, HUSH))

    assert described["error"] == "builtins.OSError (errno 28)"


def test_libraries_say_their_template_and_not_their_arguments(reporter, log):
    handler = observe.LibraryHandler(reporter)
    logger = logging.getLogger("library.of.the.test")
    logger.propagate = False
    logger.handlers[:] = [handler]

    logger.warning("cannot %s", HUSH)
    logger.error(f"all {HUSH} in one", exc_info=failure())  # noqa: G004 - what libraries do

    first, second = lines(log)
    assert first["template"] == "cannot %s"
    assert "template" not in second
    assert second["error"].startswith("builtins.RuntimeError")
    assert HUSH not in log.getvalue()


def test_debug_lines_are_left_out(reporter, log):
    reporter.log.debug("job.done", job="j")

    assert log.getvalue() == ""


def test_a_terminal_gets_text_instead_of_json():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    observe.reporter(terminal).log.info("server.ready", s3="https://h:1")

    assert "server.ready" in terminal.getvalue()
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(terminal.getvalue())


def test_routing_leaves_nothing_to_other_handlers(reporter, log):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        observe.route_libraries(reporter)
        logging.getLogger("anything").warning("said %s", HUSH)
        assert lines(log)[0]["logger"] == "anything"
        assert len(root.handlers) == 1
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = before
        root.setLevel(level)
        warnings.resetwarnings()
        warnings.simplefilter("error")
