"""A customer's key travels by TLS alone, whatever a client or a header says."""

import ssl

import pytest
from botocore import exceptions

NOT_SECURE = (
    400,
    "InvalidRequest",
    (
        "Requests specifying Server Side Encryption with Customer provided keys must be made over a"
        " secure connection."
    ),
)
COPY = "x-amz-copy-source-server-side-encryption"
FORGED = [
    {},
    {"X-Forwarded-Proto": "https"},
    {"X-Forwarded-Proto": "https, https"},
    {"x-forwarded-ssl": "on"},
    {"Forwarded": "proto=https;for=127.0.0.1"},
    {"X-Forwarded-Scheme": "https"},
    {"Front-End-Https": "on"},
]
OPERATIONS = [
    ("PUT", "/{}/film"),
    ("GET", "/{}/film"),
    ("HEAD", "/{}/film"),
    ("POST", "/{}/film?uploads"),
    ("PUT", "/{}/film?partNumber=1&uploadId=x"),
    ("POST", "/{}/film?uploadId=x"),
    ("GET", "/{}/film?attributes"),
    ("DELETE", "/{}/film"),
    ("GET", "/{}"),
    ("GET", "/"),
]


@pytest.fixture(scope="module")
def proxied(run_server):
    """Serve behind a proxy at 127.0.0.1, from memory; with a bucket `attic`."""
    with run_server(http=True, args=["--trusted-proxy", "127.0.0.1/32"]) as running:
        running.boto3_client().create_bucket(Bucket="attic")
        yield running


@pytest.mark.parametrize("forged", FORGED, ids=str)
def test_a_key_over_plain_http_is_refused_forged_header_or_not(
    connect, server, s3, bucket, key, forged
):
    """S000.6."""
    answer = connect(url=server.http_url).ask(
        "PUT", f"/{bucket}/film", key.headers() | forged, b"private"
    )

    assert answer.fault == NOT_SECURE
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize(("method", "target"), OPERATIONS)
def test_every_operation_refuses_a_key_over_plain_http(
    connect, server, bucket, key, method, target
):
    """S000.6."""
    answer = connect(url=server.http_url).ask(method, target.format(bucket), key.headers())

    assert answer.status == 400
    if method != "HEAD":
        assert answer.fault == NOT_SECURE


@pytest.mark.parametrize("only", ["algorithm", "key", "md5"])
def test_one_of_the_headers_is_enough_to_be_refused_over_plain_http(
    connect, server, bucket, key, only
):
    """S000.6."""
    absent = {name: None for name in ("algorithm", "key", "md5") if name != only}

    answer = connect(url=server.http_url).ask(
        "PUT", f"/{bucket}/film", key.headers(**absent), b"private"
    )

    assert answer.fault == NOT_SECURE


def test_the_key_of_a_copys_source_is_refused_over_plain_http(connect, server, s3, bucket, key):
    """S000.6."""
    s3.put_object(Bucket=bucket, Key="film", Body=b"private", **key.options)

    answer = connect(url=server.http_url).ask(
        "PUT", f"/{bucket}/copy", {"x-amz-copy-source": f"/{bucket}/film"} | key.headers(COPY)
    )

    assert answer.fault == NOT_SECURE


def test_boto3_over_plain_http_is_refused_with_a_key_and_served_without(server, bucket, key):
    """S000.6."""
    client = server.boto3_client(endpoint_url=server.http_url)

    client.put_object(Bucket=bucket, Key="open", Body=b"public")
    with pytest.raises(exceptions.ClientError) as caught:
        client.put_object(Bucket=bucket, Key="film", Body=b"private", **key.options)

    assert caught.value.response["Error"]["Message"] == NOT_SECURE[2]
    assert client.get_object(Bucket=bucket, Key="open")["Body"].read() == b"public"
    client.close()


def test_a_trusted_proxy_that_says_https_is_believed(connect, proxied, key):
    https = {"X-Forwarded-Proto": "https"}
    wire = connect(proxied, url=proxied.http_url)

    put = wire.ask("PUT", "/attic/film", key.headers() | https, b"private")
    got = wire.ask("GET", "/attic/film", key.headers() | https)

    assert (put.status, got.status, got.body) == (200, 200, b"private")


@pytest.mark.parametrize(
    "said", [None, "http", "https, http", "http, https", "", "httpsx", "https,"]
)
def test_a_trusted_proxy_that_says_anything_else_is_refused(connect, proxied, key, said):
    headers = key.headers() if said is None else key.headers() | {"X-Forwarded-Proto": said}

    answer = connect(proxied, url=proxied.http_url).ask("PUT", "/attic/no", headers, b"private")

    assert answer.fault == NOT_SECURE


def test_a_trusted_proxy_makes_nobody_else_trusted(connect, proxied, key):
    headers = key.headers() | {"X-Forwarded-Proto": "https"}

    elsewhere = connect(proxied, url=proxied.http_url, source="127.0.0.2")

    assert elsewhere.ask("PUT", "/attic/no", headers, b"private").fault == NOT_SECURE


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_carry_a_key(connect, server, bucket, key, version):
    """S000.12."""
    context = ssl.create_default_context(cafile=server.ca_bundle)
    context.minimum_version = context.maximum_version = version
    wire = connect(context=context)

    put = wire.ask("PUT", f"/{bucket}/film", key.headers(), b"private")
    got = wire.ask("GET", f"/{bucket}/film", key.headers())

    assert wire.sock.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version]
    assert (put.status, got.body) == (200, b"private")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_1_1_is_refused(connect, server):
    context = ssl.create_default_context(cafile=server.ca_bundle)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        connect(context=context)
