"""The adapter, through a real listener: what arrives, what leaves, what breaks."""

import asyncio
import contextlib
import io
import json

import pytest

from strongroom.server import asgi, observe
from strongroom.testing import Strongroom
from strongroom.wire import message

HEAD = b"host: a\r\n"


def get(path, *more):
    return (
        b"GET "
        + path
        + b" HTTP/1.1\r\n"
        + HEAD
        + b"".join(line + b"\r\n" for line in more)
        + b"\r\n"
    )


def put(path, length, *more):
    return (
        b"PUT "
        + path
        + b" HTTP/1.1\r\n"
        + HEAD
        + b"content-length: %d\r\n" % length
        + b"".join(line + b"\r\n" for line in more)
        + b"\r\n"
    )


def test_path_and_query_arrive_as_they_were_sent(dummy_server, connect):
    _, _, body = connect(dummy_server).ask(get(b"/a%2Fb//c/../%ff+d?x=%20+y&&z"))

    assert json.loads(body)["raw_path"] == "/a%2Fb//c/../%ff+d"
    assert json.loads(body)["raw_query"] == "x=%20+y&&z"


def test_headers_keep_order_duplicates_and_bytes_outside_ascii(dummy_server, connect):
    _, headers, body = connect(dummy_server).ask(
        get(b"/", b"x-b: 1", b"X-A: caf\xc3\xa9", b"x-b: 2", b"x-raw: \xe9")
    )

    arrived = json.loads(body)["headers"]
    assert [value for name, value in arrived if name == "x-b"] == ["1", "2"]
    assert ["x-a", b"caf\xc3\xa9".decode("latin-1")] in arrived
    assert ["x-raw", "\xe9"] in arrived
    assert [value for name, value in headers if name == "x-dummy"] == [b"a", b"b"]


def test_every_answer_names_server_and_date(dummy_server, connect):
    _, headers, body = connect(dummy_server).ask(get(b"/"))

    assert [value for name, value in headers if name == "server"] == [b"strongroom"]
    assert b"GMT" in dict(headers)["date"]
    request_id = json.loads(body)["request_id"]
    assert len(request_id) == 16
    assert set(request_id) <= set("0123456789ABCDEF")


def test_pipelined_requests_are_answered_in_order(dummy_server, connect):
    wire = connect(dummy_server)
    wire.send(get(b"/one") + put(b"/two", 3) + b"abc" + get(b"/three"))

    answers = [json.loads(wire.response()[2]) for _ in range(3)]

    assert [(answer["raw_path"], answer["size"]) for answer in answers] == [
        ("/one", 0),
        ("/two", 3),
        ("/three", 0),
    ]


def test_a_chunked_body_is_read_to_its_end(dummy_server, connect):
    wire = connect(dummy_server)
    chunked = b"PUT /c HTTP/1.1\r\n" + HEAD + b"transfer-encoding: chunked\r\n\r\n"

    _, _, body = wire.ask(chunked + b"3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n")

    assert json.loads(body)["size"] == 8
    assert wire.ask(get(b"/next"))[0] == 200


def test_a_large_body_arrives_whole(dummy_server, connect):
    wire = connect(dummy_server)
    size = 5_000_001

    wire.send(put(b"/big", size) + b"x" * size)

    assert json.loads(wire.response()[2])["size"] == size


@pytest.mark.parametrize("framing", [b"content-length: 1000", b"transfer-encoding: chunked"])
def test_a_client_that_hangs_up_in_its_body_is_gone_and_not_done(
    dummy_server, connect, counts, framing, until
):
    before = counts()["gone"]
    wire = connect(dummy_server)

    wire.send(b"PUT /left HTTP/1.1\r\n" + HEAD + framing + b"\r\n\r\n" + b"3\r\nabc\r\n")
    wire.close()

    until(lambda: counts()["gone"] == before + 1)


def test_100_continue_is_sent_when_the_body_is_read(dummy_server, connect):
    wire = connect(dummy_server)

    status, _, _ = wire.ask(put(b"/x", 3, b"expect: 100-continue"))
    final = wire.ask(b"abc")

    assert status == 100
    assert (final[0], json.loads(final[2])["size"]) == (200, 3)


def test_a_refusal_comes_without_100_continue_and_closes(dummy_server, connect):
    wire = connect(dummy_server)

    status, headers, body = wire.ask(put(b"/refuse", 10_000_000, b"expect: 100-continue"))

    assert (status, body) == (403, b"no")
    assert dict(headers)["connection"] == b"close"
    assert wire.ends()


def test_a_small_unread_body_does_not_end_up_in_the_next_request(dummy_server, connect):
    wire = connect(dummy_server)

    refused = wire.ask(put(b"/refuse", 26))
    wire.send(b"GET /smuggled HTTP/1.1\r\n\r\n")
    following = wire.ask(get(b"/next"))

    assert refused[0] == 403
    assert json.loads(following[2])["raw_path"] == "/next"


def test_a_large_unread_body_is_taken_so_that_the_refusal_arrives(dummy_server, connect):
    wire = connect(dummy_server)

    # Sent whole before reading, as simple clients do: a reset would lose the answer.
    wire.send(put(b"/refuse", 4_000_000) + b"x" * 4_000_000)
    status, headers, _ = wire.response()

    assert status == 403
    assert dict(headers)["connection"] == b"close"
    assert wire.ends()


def test_a_client_that_never_stops_sending_is_cut_off(dummy_server, connect):
    wire = connect(dummy_server)
    wire.send(put(b"/refuse", 10**12))

    def send_without_end():
        while True:
            wire.send(b"x" * 1_000_000)

    with pytest.raises(OSError, match=r".*"):
        send_without_end()


def test_a_streamed_answer_arrives_whole_and_the_connection_lives_on(dummy_server, connect):
    wire = connect(dummy_server)

    _, _, body = wire.ask(get(b"/stream?1000000"))

    assert body == (bytes(range(256)) * 256 * 16)[:1000000]
    assert wire.ask(get(b"/next"))[0] == 200


def test_a_stream_may_yield_bytes_and_bytearrays(dummy_server, connect):
    assert connect(dummy_server).ask(get(b"/mixed"))[2] == b"abcdef"


def test_a_client_that_leaves_a_download_stops_it_and_its_iterator_is_closed(
    dummy_server, connect, counts, until
):
    before = counts()
    wire = connect(dummy_server)
    wire.send(get(b"/stream?1000000000000"))
    wire.head()

    wire.close()

    until(lambda: counts()["closed"] == before["closed"] + 1)
    # 10**12 bytes are 15 million pieces.
    assert counts()["made"] - before["made"] < 10_000


def test_a_client_that_leaves_a_download_with_an_unfinished_upload_stops_it_too(
    dummy_server, connect, counts, until
):
    before = counts()
    wire = connect(dummy_server)
    wire.send(put(b"/stream?1000000000000", 100))
    wire.head()

    wire.close()

    until(lambda: counts()["closed"] == before["closed"] + 1)


def test_a_stream_that_fails_later_cuts_the_connection(dummy_server, connect):
    wire = connect(dummy_server)
    wire.send(get(b"/break?late"))

    status, headers = wire.head()

    assert (status, dict(headers)["content-length"]) == (200, b"2000")
    assert len(wire.read(2000)) <= 1000


def test_a_stream_that_ends_early_cuts_the_connection(dummy_server, connect):
    wire = connect(dummy_server)
    wire.send(get(b"/short"))
    wire.head()

    assert len(wire.read(100)) < 100


@pytest.mark.parametrize("path", [b"/break?early", b"/raise", b"/end"])
def test_a_failure_before_the_first_byte_is_a_500(dummy_server, connect, path):
    wire = connect(dummy_server)

    status, headers, body = wire.ask(get(path))

    assert (status, body) == (500, b"")
    assert dict(headers)["server"] == b"strongroom"


def test_head_announces_a_length_and_sends_nothing(dummy_server, connect):
    wire = connect(dummy_server)

    for path, length in ((b"/known", b"12345"), (b"/stream?777", b"777")):
        status, headers, _ = wire.ask(get(path).replace(b"GET", b"HEAD"), head=True)
        assert (status, dict(headers)["content-length"]) == (200, length)

    assert wire.ask(get(b"/next"))[0] == 200


def test_head_of_a_whole_answer_has_its_length(dummy_server, connect):
    wire = connect(dummy_server)

    _, headers, _ = wire.ask(get(b"/echo").replace(b"GET", b"HEAD"), head=True)

    assert int(dict(headers)["content-length"]) > 100
    assert wire.ask(get(b"/next"))[0] == 200


@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_have_no_body_and_keep_the_connection(dummy_server, connect, status):
    wire = connect(dummy_server)

    assert wire.ask(get(b"/status?%d" % status))[0] == status
    assert wire.ask(get(b"/next"))[0] == 200


def test_what_is_no_path_is_a_bad_request(dummy_server, connect):
    assert connect(dummy_server).ask(b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n")[0] == 400


def test_forwarded_proto_is_ignored_from_peers_that_are_not_trusted(dummy_server, connect):
    _, _, body = connect(dummy_server, url=dummy_server.http_url).ask(
        get(b"/", b"x-forwarded-proto: https")
    )

    assert json.loads(body)["secure"] is False


def test_tls_is_secure_by_itself(dummy_server, connect):
    _, _, body = connect(dummy_server).ask(get(b"/", b"x-forwarded-proto: http"))

    assert json.loads(body)["secure"] is True


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ([b"x-forwarded-proto: https"], True),
        ([b"X-Forwarded-Proto: HTTPS, https"], True),
        ([b"x-forwarded-proto: http"], False),
        ([b"x-forwarded-proto: https", b"x-forwarded-proto: http"], False),
        ([b"x-forwarded-proto: http, https"], False),
        ([], False),
    ],
)
def test_forwarded_proto_of_a_trusted_proxy_counts_if_every_hop_agrees(
    proxied_server, connect, headers, secure
):
    _, _, body = connect(proxied_server, url=proxied_server.http_url).ask(get(b"/", *headers))

    assert json.loads(body)["secure"] is secure


@pytest.mark.parametrize(
    ("headers", "peer"),
    [
        ([], "127.0.0.1"),
        ([b"x-forwarded-for: 192.0.2.1"], "192.0.2.1"),
        ([b"x-forwarded-for: 192.0.2.9, 192.0.2.1, 10.1.2.3"], "192.0.2.1"),
        ([b"x-forwarded-for: 192.0.2.9", b"x-forwarded-for: 2001:db8::1"], "2001:db8::1"),
        ([b"x-forwarded-for: somebody"], "127.0.0.1"),
        ([b"x-forwarded-for: somebody, 10.1.2.3"], "10.1.2.3"),
    ],
)
def test_a_trusted_proxy_says_who_asks_and_nobody_left_of_it(
    proxied_server, connect, headers, peer
):
    _, _, body = connect(proxied_server, url=proxied_server.http_url).ask(get(b"/", *headers))

    assert json.loads(body)["peer"] == peer


def test_nobody_else_says_who_asks(dummy_server, connect):
    _, _, body = connect(dummy_server).ask(get(b"/", b"x-forwarded-for: 192.0.2.1"))

    assert json.loads(body)["peer"] == "127.0.0.1"


@pytest.fixture(scope="module")
def proxied_server(dummy_command):
    proxies = {"STRONGROOM_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.0/8"}
    with Strongroom(command=dummy_command, http=True, env=proxies) as server:
        yield server


def test_the_log_has_no_query_no_header_and_no_message_of_an_exception(
    dummy_server, connect, until
):
    wire = connect(dummy_server)
    wire.ask(get(b"/log-me?X-Amz-Signature=in-the-query", b"authorization: in-the-header"))
    wire.ask(get(b"/raise"))
    wire.ask(get(b"/break?early"))

    until(
        lambda: (
            sum(
                e.get("operation") == "DummyBreak" and e["event"] == "request"
                for e in dummy_server.log_events()
            )
            >= 1
        )
    )

    text = dummy_server.log_text()
    for secret in ("in-the-query", "in-the-header", "secret-in-the-message"):
        assert secret not in text
    failed = [e for e in dummy_server.log_events() if e["event"] == "request.failed"]
    assert "builtins.RuntimeError" in {e["error"] for e in failed}
    assert any("dummy.py" in place for e in failed for place in e["trace"])


def test_metrics_count_requests_by_operation(dummy_server, connect):
    connect(dummy_server).ask(get(b"/counts"))

    metrics = connect(dummy_server, url=dummy_server.metrics_url)
    text = metrics.ask(get(b"/-/metrics"))[2].decode()

    assert 'strongroom_requests_total{operation="DummyCounts",status="2xx"}' in text
    assert "strongroom_requests_in_flight" in text


@pytest.fixture(scope="module")
def impatient_server(dummy_command):
    with Strongroom(command=dummy_command, args=["--region", "impatient"]) as server:
        yield server


def test_a_client_that_stalls_in_its_body_is_told_and_given_up(impatient_server, connect):
    wire = connect(impatient_server)

    status, headers, _ = wire.ask(put(b"/stalls", 10) + b"abc")

    assert (status, dict(headers)["connection"]) == (408, b"close")
    assert wire.ends()


def test_a_client_that_sends_a_byte_now_and_then_is_given_up_too(impatient_server, connect):
    wire = connect(impatient_server)
    wire.send(put(b"/drips", 1_000_000))
    wire.sock.settimeout(0.02)
    sent, answer = 0, b""

    while not answer:
        wire.send(b"x")
        sent += 1
        with contextlib.suppress(TimeoutError):
            answer = wire.sock.recv(1000)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert sent > 1


def test_a_client_that_takes_nothing_of_its_download_is_given_up(impatient_server, connect, until):
    wire = connect(impatient_server)
    wire.send(get(b"/stream?1000000000000"))

    until(
        lambda: any(
            event.get("operation") == "DummyStream" and event.get("outcome") == "gone"
            for event in impatient_server.log_events()
        )
    )


def test_requests_beyond_the_limit_are_refused_unread():
    sent, log = [], io.StringIO()
    reporter = observe.reporter(log)

    async def first(_request):
        # While this one is under way, a second one comes.
        await asyncio.create_task(adapter(scope, receive, send))
        return message.Response(200, [], b"")

    async def receive():
        raise AssertionError("a refused request is not read")

    async def send(event):
        sent.append(event.get("status"))

    scope = {
        "type": "http",
        "method": "GET",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [],
        "scheme": "https",
        "client": ("192.0.2.7", "1"),
    }
    traffic = asgi.Traffic()
    adapter = asgi.Adapter(first, reporter, traffic, max_requests=1)

    async def main():
        await adapter(scope, receive, send)
        await traffic.idle()

    asyncio.run(main())

    assert [status for status in sent if status] == [503, 200]
    assert "request.overloaded" in log.getvalue()
