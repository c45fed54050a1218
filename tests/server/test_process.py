"""A server from its start to its end, as a process."""

import concurrent.futures
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from strongroom.testing import Strongroom

GET = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"
PATIENCE_S = 20


def events(server, name):
    return [event for event in server.log_events() if event["event"] == name]


def scraped(server, connect):
    asked = b"GET /-/metrics HTTP/1.1\r\nhost: a\r\n\r\n"
    return connect(server, url=server.metrics_url).ask(asked)[2]


def served_certificate(server):
    host, port = server.endpoint_url.removeprefix("https://").split(":")
    pem = ssl.get_server_certificate((host, int(port)), timeout=PATIENCE_S)
    return x509.load_pem_x509_certificate(pem.encode())


def serves_another(server, serial):
    try:
        return served_certificate(server).serial_number != serial
    except OSError:
        # A handshake that was under way at the change.
        return False


def environment():
    ours = {k: v for k, v in os.environ.items() if not k.startswith("STRONGROOM_")}
    return ours | {"PYTHONPATH": os.pathsep.join(sys.path)}


def run_to_end(command, *args):
    return subprocess.run(  # noqa: S603 - our own command line
        [*command, *args],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


# TLS as it is served


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name
)
def test_tls_versions_in_use_are_served_to_strict_clients(dummy_server, connect, version):
    context = ssl.create_default_context(cafile=dummy_server.ca_bundle)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.minimum_version = context.maximum_version = version

    wire = connect(dummy_server, context=context)

    assert wire.sock.version() == version.name.replace("_", ".")
    assert wire.ask(GET)[0] == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_1_1_is_refused(dummy_server, connect):
    context = ssl.create_default_context(cafile=dummy_server.ca_bundle)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(dummy_server, context=context)


def test_only_http_1_1_is_offered(dummy_server, connect):
    context = ssl.create_default_context(cafile=dummy_server.ca_bundle)
    context.set_alpn_protocols(["h2", "http/1.1"])

    assert connect(dummy_server, context=context).sock.selected_alpn_protocol() == "http/1.1"


# Start


def test_the_ready_line_names_every_listener(dummy_server):
    assert dummy_server.endpoint_url.startswith("https://127.0.0.1:")
    assert dummy_server.http_url.startswith("http://127.0.0.1:")
    assert dummy_server.metrics_url.startswith("http://127.0.0.1:")


def test_the_metrics_listener_answers_without_a_signature(dummy_server, connect):
    assert b"strongroom_build_info" in scraped(dummy_server, connect)


def test_a_server_leaves_no_core_and_makes_files_for_its_user_only(dummy_server):
    limits = Path(f"/proc/{dummy_server.process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    status = Path(f"/proc/{dummy_server.process.pid}/status").read_text()

    assert core.split()[4] == "0"
    assert "Umask:\t0077" in status


def test_a_second_server_on_the_data_directory_is_refused(make_server, dummy_command):
    first = make_server(durable=True)

    second = run_to_end(dummy_command, "--data-dir", str(first.data_dir), "--listen", "127.0.0.1:0")

    assert second.returncode == 1
    assert str(first.data_dir) in second.stderr.splitlines()[-1]
    assert second.stdout == ""


def test_a_second_server_on_the_port_is_refused(dummy_server, dummy_command, tmp_path):
    address = dummy_server.endpoint_url.removeprefix("https://")

    second = run_to_end(dummy_command, "--data-dir", str(tmp_path / "d"), "--listen", address)

    assert second.returncode == 1
    assert f"Cannot listen on {address}" in second.stderr.splitlines()[-1]


def test_an_application_that_cannot_be_built_is_a_sentence_and_status_1(dummy_command):
    ended = run_to_end(
        dummy_command, "--ephemeral", "--listen", "127.0.0.1:0", "--region", "fails-to-build"
    )

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "strongroom: The master key is not the one of this store."
    )


def test_a_port_is_free_again_at_once(make_server, connect):
    server = make_server(durable=True)
    address = server.endpoint_url.removeprefix("https://")
    # The server closes first, so its side of the connection stays in TIME_WAIT.
    connect(server).ask(GET)
    server.stop()

    again = make_server(durable=True, args=["--listen", address])

    assert again.endpoint_url == f"https://{address}"


def test_secrets_are_neither_in_the_log_nor_readable(make_server, connect):
    server = make_server(
        durable=True,
        env={"STRONGROOM_MASTER_KEY": "aHVzaC1odXNoLWh1c2gtaHVzaC1odXNoLWh1c2ghISE="},
    )
    connect(server).ask(GET)

    assert server.secret_key not in server.log_text()
    assert "aHVzaC1odXNo" not in server.log_text()
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in server.data_dir.rglob("*")}
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    assert modes["ca.key"] == modes["server.key"] == modes["lock"] == 0o600


# Stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_with_status_0(make_server, number):
    server = make_server()
    process = server.process

    process.send_signal(number)

    assert process.wait(PATIENCE_S) == 0


def test_sigterm_lets_an_upload_and_a_download_finish(make_server, connect, until):
    server = make_server()
    size = 40_000_000
    upload, download = connect(server), connect(server)
    upload.send(b"PUT /up HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\nexpect: 100-continue\r\n\r\n")
    assert upload.head()[0] == 100
    download.send(b"GET /stream?%d HTTP/1.1\r\nhost: a\r\n\r\n" % size)
    download.head()
    process = server.process

    process.send_signal(signal.SIGTERM)
    until(lambda: events(server, "server.stopping"))
    until(lambda: refuses(server))
    status, headers, body = upload.ask(b"abcdef")

    assert (status, json.loads(body)["size"]) == (200, 6)
    assert dict(headers)["connection"] == b"close"
    assert len(download.read(size)) == size
    assert process.wait(PATIENCE_S) == 0
    assert events(server, "server.stopped")[0]["drained"] is True


def refuses(server):
    host, port = server.endpoint_url.removeprefix("https://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_second_signal_ends_the_server_at_once(make_server, connect, until):
    server = make_server()
    upload = connect(server)
    upload.send(b"PUT /up HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\nexpect: 100-continue\r\n\r\n")
    upload.head()
    process = server.process

    process.send_signal(signal.SIGTERM)
    until(lambda: events(server, "server.stopping"))
    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE_S) == 1


def test_what_takes_longer_than_draining_is_cut(make_server, connect, until):
    server = make_server(args=["--region", "impatient"])
    upload, download = connect(server), connect(server)
    download.send(b"GET /stream?1000000000000 HTTP/1.1\r\nhost: a\r\n\r\n")
    download.head()
    process = server.process

    process.send_signal(signal.SIGTERM)
    until(lambda: events(server, "server.cut") or events(server, "server.stopped"))

    assert process.wait(PATIENCE_S) == 0
    assert upload.ends()
    answered = [one for one in events(server, "request") if one.get("operation") == "DummyStream"]
    assert answered[0]["outcome"] in ("cut", "gone")
    assert answered[0]["bytes_out"] < 10**12


def test_a_signal_while_starting_ends_with_status_0(dummy_command):
    starting = subprocess.Popen(  # noqa: S603 - our own command line
        [*dummy_command, "--ephemeral", "--listen", "127.0.0.1:0", "--region", "never-built"],
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    with starting:
        while b"building" not in starting.stderr.readline():
            assert starting.poll() is None

        starting.send_signal(signal.SIGTERM)

        assert starting.wait(PATIENCE_S) == 0


def test_idle_connections_do_not_hold_up_the_end(make_server, connect):
    server = make_server()
    idle = connect(server)
    idle.ask(GET)
    connect(server)
    process = server.process

    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE_S) == 0
    assert events(server, "server.stopped")[0]["drained"] is True


# A new certificate


def test_sighup_serves_a_renewed_certificate_and_old_connections_finish(
    make_server, connect, until
):
    server = make_server()
    upload = connect(server)
    upload.send(b"PUT /up HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\nexpect: 100-continue\r\n\r\n")
    upload.head()
    before = served_certificate(server).serial_number
    (server.data_dir / "tls" / "server.crt").unlink()

    server.process.send_signal(signal.SIGHUP)
    until(lambda: events(server, "tls.reloaded"))

    until(lambda: serves_another(server, before))
    assert json.loads(upload.ask(b"abcdef")[2])["size"] == 6
    assert upload.ends()
    assert connect(server).ask(GET)[0] == 200


def test_a_certificate_that_cannot_be_used_leaves_the_old_one_in_place(make_server, connect, until):
    server = make_server()
    before = served_certificate(server).serial_number
    (server.data_dir / "tls" / "ca.key").write_bytes(b"nonsense")

    server.process.send_signal(signal.SIGHUP)
    until(lambda: events(server, "tls.reload_failed"))

    assert served_certificate(server).serial_number == before
    assert connect(server).ask(GET)[0] == 200


def test_a_reload_costs_a_client_one_connection_at_most(make_server, connect, until):
    server = make_server()
    reloads = 5
    stop = []

    def ask_again_and_again():
        answered = lost = 0
        while not stop:
            # What a reload may lose is a handshake, or a connection without a request yet.
            try:
                wire = connect(server)
                wire.send(GET)
                answered += wire.response()[0] == 200
                wire.close()
            except (OSError, AssertionError):
                lost += 1
        return answered, lost

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask_again_and_again) for _ in range(3)]
        for count in range(1, reloads + 1):
            server.process.send_signal(signal.SIGHUP)
            until(lambda count=count: len(events(server, "tls.reloaded")) >= count)
        stop.append(1)

        for answered, lost in (one.result(PATIENCE_S) for one in asking):
            assert answered > 0
            assert lost <= reloads


# Several processes


@pytest.fixture(scope="module")
def two_workers(dummy_command):
    args = ["--workers", "2"]
    with Strongroom(durable=True, metrics=True, args=args, command=dummy_command) as server:
        yield server


def pids(server, connect, times=40):
    found = set()
    for _ in range(times):
        wire = connect(server)
        found.add(json.loads(wire.ask(GET)[2])["pid"])
        wire.close()
    return found


def test_workers_share_the_connections(two_workers, connect):
    found = pids(two_workers, connect)

    assert len(found) == 2
    assert two_workers.process.pid not in found


def test_secrets_are_not_in_arguments_or_environment_of_workers(two_workers, connect):
    for pid in pids(two_workers, connect):
        for file in ("cmdline", "environ"):
            content = Path(f"/proc/{pid}/{file}").read_bytes()
            assert two_workers.secret_key.encode() not in content
            assert b"STRONGROOM_" not in content


def test_a_worker_that_dies_is_replaced(two_workers, connect, until):
    before = pids(two_workers, connect)
    starts = len(events(two_workers, "worker.started"))

    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(events(two_workers, "worker.started")) == starts + 1)

    after = pids(two_workers, connect)
    assert len(after) == 2
    assert after & before == {max(before)}


def test_metrics_of_workers_are_added_up(two_workers, connect, until):
    assert len(pids(two_workers, connect)) == 2
    asked = sum(one.get("operation") == "DummyX" for one in events(two_workers, "request"))

    def agree():
        line = b'strongroom_requests_total{operation="DummyX",status="2xx"} %d.0'
        total = line % sum(
            one.get("operation") == "DummyX" for one in events(two_workers, "request")
        )
        return all(total in scraped(two_workers, connect) for _ in range(5))

    until(agree)
    assert asked >= 40


def test_sighup_reaches_every_worker(two_workers, until):
    before = served_certificate(two_workers).serial_number
    reloads = len(events(two_workers, "tls.reloaded"))
    (two_workers.data_dir / "tls" / "server.crt").unlink()

    two_workers.process.send_signal(signal.SIGHUP)
    until(lambda: len(events(two_workers, "tls.reloaded")) == reloads + 2)

    until(lambda: all(serves_another(two_workers, before) for _ in range(20)))


def test_workers_end_with_their_parent(make_server, connect):
    server = make_server(durable=True, args=["--workers", "2"])
    found = pids(server, connect)
    process = server.process

    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE_S) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in found)


def test_workers_end_when_their_parent_was_killed(make_server, connect, until):
    server = make_server(durable=True, args=["--workers", "2"])
    found = pids(server, connect)

    server.kill()

    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in found))


def test_workers_that_cannot_start_end_the_server_with_status_1(dummy_command, tmp_path):
    ended = run_to_end(
        dummy_command,
        "--data-dir",
        str(tmp_path / "d"),
        "--listen",
        "127.0.0.1:0",
        "--workers",
        "2",
        "--region",
        "fails-to-build",
    )

    assert ended.returncode == 1
    assert "strongroom ready" not in ended.stdout
    assert "did not start" in ended.stderr.splitlines()[-1]
