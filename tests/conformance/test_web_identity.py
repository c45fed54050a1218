"""A workload with a token of an identity provider, a started server, and boto3's own way to STS."""

import datetime as dt
import http.server
import json
import ssl
import threading
import time

import boto3
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec

from strongroom import testing
from strongroom.server import tls


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_args):
        pass

    def do_GET(self):
        body = json.dumps(self.server.issuer.documents[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_workload_gets_credentials_by_its_token_and_by_nothing_else(
    make_issuer, tmp_path, monkeypatch
):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    # The issuer's certificate is of the CA that the server will make its own with.
    pair = tls.ensure(folder / "tls", None, dt.datetime.now(dt.UTC))
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    serving.socket = context.wrap_socket(serving.socket, server_side=True)
    url = f"https://localhost:{serving.server_address[1]}"
    serving.issuer = make_issuer(url)
    thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
    thread.start()
    try:
        options = ("--oidc-ca", str(pair.ca), "--oidc-private-networks")
        with testing.Strongroom(folder, args=options) as server:
            _check(server, serving.issuer, tmp_path, monkeypatch)
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()


def _check(server, issuer, tmp_path, monkeypatch):
    iam = server.boto3_client("iam")
    provider = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["strongroom"])[
        "OpenIDConnectProviderArn"
    ]
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{issuer.url.removeprefix('https://')}:sub": "ann"}},
    }
    role = iam.create_role(
        RoleName="reader",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement}),
    )["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    iam.put_role_policy(
        RoleName="reader",
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": allowed}),
    )
    server.boto3_client().create_bucket(Bucket="attic")
    path = tmp_path / "token"

    def client(**claims):
        path.write_text(issuer.token(int(time.time()), **claims))
        session = boto3.session.Session()
        where = {
            "endpoint_url": server.endpoint_url,
            "verify": server.ca_bundle,
            "region_name": "us-east-1",
        }
        return session.client("s3", **where)

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(path))
    monkeypatch.setenv("AWS_ROLE_ARN", role)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.endpoint_url)
    monkeypatch.setenv("AWS_CA_BUNDLE", server.ca_bundle)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client().put_object(Bucket="attic", Key="diary", Body=b"dear diary")
    assert client().get_object(Bucket="attic", Key="diary")["Body"].read() == b"dear diary"
    with pytest.raises(ClientError, match="Not authorized to perform"):
        client(sub="bob").list_objects_v2(Bucket="attic")
    with pytest.raises(ClientError, match="signature cannot be verified"):
        client(key=ec.generate_private_key(ec.SECP256R1())).list_objects_v2(Bucket="attic")
    assert "eyJ" not in server.log_text()
