"""Health, metrics, and how a host names a bucket."""

import pytest
from cryptography import x509

HEALTH = ["/-/health/live", "/-/health/ready", "/minio/health/live"]
NAME = "-/health/live"


@pytest.fixture
def virtual(connect, bucket):
    """Ask at the host that names the bucket; paths are keys.

    TLS asks for plain `localhost`: OpenSSL takes no wildcard right below a top-level name.
    """
    wire = connect(name="localhost")
    host = f"{bucket}.localhost:{wire.host.rpartition(':')[2]}"

    def ask(method, target, *args, **options):
        return wire.ask(method, target, *args, host=host, **options)

    return ask


@pytest.mark.parametrize("path", HEALTH)
@pytest.mark.parametrize("url", ["endpoint_url", "http_url"])
def test_health_needs_no_signature(connect, server, url, path):
    answer = connect(url=getattr(server, url)).ask("GET", path, signed=False)

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"


def test_the_generated_certificate_is_for_every_name_of_this_machine(server):
    raw = (server.data_dir / "tls" / "server.crt").read_bytes()
    names = x509.load_pem_x509_certificate(raw).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )

    assert set(names.value.get_values_for_type(x509.DNSName)) == {"localhost", "*.localhost"}
    assert {str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)} == {
        "127.0.0.1",
        "::1",
    }


@pytest.mark.parametrize("path", HEALTH[:2])
def test_health_is_on_the_metrics_listener_too(connect, server, path):
    assert connect(url=server.metrics_url).ask("GET", path, signed=False).status == 200


def test_a_signed_request_for_the_alias_is_for_an_object(connect):
    answer = connect().ask("GET", "/minio/health/live")

    assert answer.fault[:2] == (404, "NoSuchBucket")


def test_metrics_are_for_root(connect):
    answer = connect().ask("GET", "/-/metrics")

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"strongroom_" in answer.body


def test_metrics_are_refused_to_strangers(connect):
    answer = connect().ask("GET", "/-/metrics", signed=False)

    assert answer.fault[:2] == (403, "AccessDenied")


def test_metrics_are_refused_to_other_users(connect, user):
    answer = connect().ask("GET", "/-/metrics", keys=user.keys)

    assert answer.fault[:2] == (403, "AccessDenied")


def test_the_metrics_listener_asks_for_no_signature_and_serves_no_objects(connect, server, bucket):
    wire = connect(url=server.metrics_url)

    metrics = wire.ask("GET", "/-/metrics", signed=False)
    objects = wire.ask("GET", f"/{bucket}")

    assert metrics.status == 200
    assert b"strongroom_" in metrics.body
    assert objects.status == 404


def test_a_host_may_name_the_bucket(virtual, connect, bucket, key):
    put = virtual("PUT", "/deep/film", key.headers(), b"private")
    by_path = connect().ask("GET", f"/{bucket}/deep/film", key.headers())
    by_host = virtual("GET", "/deep/film", key.headers())
    listed = virtual("GET", "/?list-type=2")

    assert put.status == 200
    assert by_path.body == by_host.body == b"private"
    assert listed.field("Key") == "deep/film"


def test_under_a_host_that_names_a_bucket_every_path_is_a_key(virtual, connect, bucket):
    put = virtual("PUT", f"/{NAME}", {}, b"an ordinary object")
    unsigned = virtual("GET", f"/{NAME}", signed=False)

    assert put.status == 200
    assert unsigned.fault[:2] == (403, "AccessDenied")
    assert connect().ask("GET", f"/{bucket}/{NAME}").body == b"an ordinary object"


def test_a_domain_of_ones_own_names_buckets_too(connect, run_server):
    with run_server(args=["--domain", "store.example"]) as running:
        wire = connect(running)
        running.boto3_client().create_bucket(Bucket="attic")
        wire.ask("PUT", "/note", {}, b"text", host="attic.store.example")

        answer = wire.ask("GET", "/attic/note")

    assert answer.body == b"text"
