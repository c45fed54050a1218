"""oss2's AliKMSProvider and Alibaba's SDK against the KMS listener; then what they would not send."""

import base64
import datetime as dt
import hmac
import json
import os
import secrets
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlencode
from xml.dom import minidom

import pytest

ROUND = Path(__file__).with_name("oss2_round.py")


@pytest.fixture(scope="module")
def kms(server):
    return server.boto3_client("kms")


@pytest.fixture(scope="module")
def key_id(kms):
    return kms.create_key()["KeyMetadata"]["KeyId"]


@pytest.fixture(scope="module")
def told(server, kms, key_id):
    """What oss2 says of its round."""
    disabled = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=disabled)
    given = {
        "url": server.kms_url,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "key_id": key_id,
        "disabled_id": disabled,
    }
    done = subprocess.run(  # noqa: S603 - this interpreter, our own script
        [sys.executable, "-W", "ignore", str(ROUND)],
        input=json.dumps(given),
        env={**os.environ, "ALIBABA_CLOUD_CA_BUNDLE": str(server.ca_bundle)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_oss2_makes_a_data_key_and_opens_it(told):
    """Covers S004.26."""
    assert told["key"] == 32
    assert told["key comes back"]
    assert told["iv"] == 16


def test_a_plaintext_is_text_and_comes_back_as_it_was_sent(told, key_id):
    assert told["number"]["Plaintext"] == "7"
    assert told["number"]["KeyId"] == key_id
    assert told["number"]["KeyVersionId"]
    assert told["bound"]["Plaintext"] == "é + more"


def test_a_context_is_bound_whatever_it_is_made_of(told):
    assert told["unbound"][:2] == [400, "InvalidCiphertext"]
    assert told["guarded"] == 32
    assert told["not guarded"][:2] == [400, "InvalidCiphertext"]


def test_a_key_is_described(told, key_id):
    metadata = told["described"]["KeyMetadata"]
    assert metadata["KeyId"] == key_id
    assert metadata["KeyState"] == "Enabled"
    assert metadata["KeyUsage"] == "ENCRYPT/DECRYPT"


def test_refusals_reach_oss2_with_their_codes(told):
    # The core SDK compares the string to sign, and makes this of a wrong secret.
    assert told["wrong secret"][:2] == [400, "InvalidAccessKeySecret"]
    assert told["unknown"][:2] == [404, "InvalidAccessKeyId.NotFound"]
    assert told["no such key"][:2] == [404, "Forbidden.KeyNotFound"]
    assert told["changed"][:2] == [400, "InvalidCiphertext"]
    assert told["disabled"][:2] == [409, "Rejected.Disabled"]


class Rpc:
    """Signs and sends RPC requests, with whatever is bent about them."""

    def __init__(self, server):
        self.server = server
        self.context = ssl.create_default_context(cafile=server.ca_bundle)

    def signed(self, method="POST", **params):
        now = dt.datetime.now(dt.UTC)
        together = {
            "AccessKeyId": self.server.access_key,
            "Format": "JSON",
            "Version": "2016-01-20",
            "SignatureMethod": "HMAC-SHA1",
            "SignatureVersion": "1.0",
            "SignatureType": "",
            "SignatureNonce": secrets.token_hex(8),
            "Timestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            **params,
        }
        query = "&".join(
            f"{quote(name, safe='~')}={quote(together[name], safe='~')}"
            for name in sorted(together)
        )
        to_sign = f"{method}&%2F&{quote(query, safe='~')}"
        digest = hmac.digest(f"{self.server.secret_key}&".encode(), to_sign.encode(), "sha1")
        return {**together, "Signature": base64.b64encode(digest).decode()}

    def send(self, params, method="POST", *, in_form=False, **headers):
        text = urlencode(params)
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.server.kms_url + "/" + ("" if in_form else f"?{text}"),
            text.encode() if in_form else (None if method == "GET" else b""),
            {
                **({"Content-Type": "application/x-www-form-urlencoded"} if in_form else {}),
                **headers,
            },
            method=method,
        )
        try:
            with urllib.request.urlopen(request, context=self.context) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def ask(self, method="POST", **params):
        status, body = self.send(self.signed(method, **params), method)
        return status, json.loads(body)


@pytest.fixture(scope="module")
def rpc(server):
    return Rpc(server)


def test_get_and_a_form_are_taken_too(rpc, key_id):
    params = {"Action": "DescribeKey", "KeyId": key_id}

    assert rpc.ask("GET", **params)[0] == 200
    status, body = rpc.send(rpc.signed(**params), in_form=True)

    assert status == 200
    assert json.loads(body)["KeyMetadata"]["KeyId"] == key_id


def test_xml_is_written_where_it_is_asked_for(rpc, key_id):
    status, body = rpc.send(rpc.signed(Action="DescribeKey", KeyId=key_id, Format="XML"))
    document = minidom.parseString(body)  # noqa: S318 - our own server's

    assert status == 200
    assert document.documentElement.tagName == "DescribeKeyResponse"
    (found,) = document.getElementsByTagName("KeyId")
    assert found.firstChild.data == key_id


def test_a_request_counts_once(rpc, key_id):
    params = rpc.signed(Action="DescribeKey", KeyId=key_id)

    assert rpc.send(params)[0] == 200
    status, body = rpc.send(params)

    assert (status, json.loads(body)["Code"]) == (400, "SignatureNonceUsed")


@pytest.mark.parametrize(
    ("bent", "code"),
    [
        ({"Timestamp": "2020-01-01T00:00:00Z"}, "InvalidTimeStamp.Expired"),
        ({"Timestamp": "yesterday"}, "InvalidTimeStamp.Format"),
        ({"Version": "2014-01-01"}, "InvalidVersion"),
        ({"Action": "Nonsense"}, "InvalidAction.NotFound"),
        ({"SignatureMethod": "HMAC-SHA256"}, "InvalidParameter"),
        ({"SecurityToken": "x"}, "InvalidSecurityToken.NotFound"),
        ({"SignatureNonce": ""}, "MissingParameter"),
        ({"KeyId": ""}, "MissingParameter"),
        ({"Action": "GenerateDataKey", "KeySpec": "AES_512"}, "InvalidParameter"),
        ({"Action": "GenerateDataKey", "NumberOfBytes": "1025"}, "InvalidParameter"),
        ({"Action": "GenerateDataKey", "NumberOfBytes": "x"}, "InvalidParameter"),
        ({"Action": "Encrypt", "Plaintext": "x" * 4097}, "InvalidParameter"),
        ({"Action": "Encrypt", "Plaintext": "x", "DryRun": "true"}, "UnsupportedOperation"),
        ({"Action": "Decrypt", "CiphertextBlob": "no base64"}, "InvalidCiphertext"),
        ({"Action": "CreateAlias", "AliasName": "alias/aws/x"}, "InvalidParameter"),
    ],
)
def test_what_is_wrong_is_named(rpc, key_id, bent, code):
    status, document = rpc.ask(**{"Action": "DescribeKey", "KeyId": key_id, **bent})

    assert status >= 400
    assert document["Code"] == code
    assert document["RequestId"]


def test_a_changed_request_tells_the_string_to_sign_after_a_colon(rpc, key_id):
    params = rpc.signed(Action="DescribeKey", KeyId=key_id)

    status, body = rpc.send({**params, "Extra": ""})
    document = json.loads(body)

    assert (status, document["Code"]) == (400, "SignatureDoesNotMatch")
    before, _, after = document["Message"].partition(":")
    assert before == (
        "Specified signature is not matched with our calculation. server string to sign is"
    )
    assert after.startswith("POST&%2F&AccessKeyId%3D")


def test_bytes_that_are_no_text_are_signed_and_are_no_ciphertext(rpc):
    params = {"Action": "Decrypt", "CiphertextBlob": "\udcff\udcfe"}
    now = dt.datetime.now(dt.UTC)
    together = {
        "AccessKeyId": rpc.server.access_key,
        "Format": "JSON",
        "Version": "2016-01-20",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": secrets.token_hex(8),
        "Timestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        **params,
    }
    encoded = {
        name: quote(value.encode("utf-8", "surrogateescape"), safe="~")
        for name, value in together.items()
    }
    query = "&".join(f"{name}={encoded[name]}" for name in sorted(encoded))
    to_sign = f"POST&%2F&{quote(query, safe='~')}"
    digest = hmac.digest(f"{rpc.server.secret_key}&".encode(), to_sign.encode(), "sha1")
    signature = quote(base64.b64encode(digest).decode(), safe="~")
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{rpc.server.kms_url}/?{query}&Signature={signature}", b"", method="POST"
    )

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, context=rpc.context)  # noqa: S310

    assert json.loads(caught.value.read())["Code"] == "InvalidCiphertext"


def test_keys_are_made_aliased_listed_disabled_and_scheduled(rpc):
    made = rpc.ask(Action="CreateKey", Description="by Alibaba")[1]["KeyMetadata"]
    key_id = made["KeyId"]
    rpc.ask(Action="CreateAlias", AliasName="alias/by-alibaba", KeyId=key_id)

    found = rpc.ask(Action="DescribeKey", KeyId="alias/by-alibaba")[1]["KeyMetadata"]
    assert found == made
    total = rpc.ask(Action="ListKeys", PageSize="1")[1]["TotalCount"]
    page = rpc.ask(Action="ListKeys", PageSize="100")[1]
    assert page["TotalCount"] == total == len(page["Keys"]["Key"])
    assert key_id in {row["KeyId"] for row in page["Keys"]["Key"]}
    sealed = rpc.ask(Action="GenerateDataKeyWithoutPlaintext", KeyId=key_id)[1]
    assert "Plaintext" not in sealed
    rpc.ask(Action="DisableKey", KeyId=key_id)
    assert rpc.ask(Action="Encrypt", KeyId=key_id, Plaintext="x")[1]["Code"] == "Rejected.Disabled"
    rpc.ask(Action="EnableKey", KeyId=key_id)
    moved = rpc.ask(
        Action="ReEncrypt", CiphertextBlob=sealed["CiphertextBlob"], DestinationKeyId=key_id
    )[1]
    opened = rpc.ask(Action="Decrypt", CiphertextBlob=moved["CiphertextBlob"])[1]
    assert len(base64.b64decode(opened["Plaintext"])) == 32
    rpc.ask(Action="DeleteAlias", AliasName="alias/by-alibaba")
    rpc.ask(Action="ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays="7")
    assert rpc.ask(Action="Encrypt", KeyId=key_id, Plaintext="x")[1]["Code"] == (
        "Rejected.PendingDeletion"
    )
    rpc.ask(Action="CancelKeyDeletion", KeyId=key_id)
    assert rpc.ask(Action="DescribeKey", KeyId=key_id)[1]["KeyMetadata"]["KeyState"] == "Disabled"


def test_the_dialects_do_not_open_each_others_ciphertexts(rpc, kms, key_id):
    text = rpc.ask(Action="Encrypt", KeyId=key_id, Plaintext="x")[1]["CiphertextBlob"]
    raw = kms.encrypt(KeyId=key_id, Plaintext=b"x")["CiphertextBlob"]

    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(CiphertextBlob=base64.b64decode(text))
    status, document = rpc.ask(Action="Decrypt", CiphertextBlob=base64.b64encode(raw).decode())

    assert (status, document["Code"]) == (400, "InvalidCiphertext")


def test_a_good_signature_of_one_dialect_is_none_in_the_other(rpc, key_id):
    params = rpc.signed(Action="DescribeKey", KeyId=key_id)

    status, body = rpc.send(params, **{"X-Amz-Target": "TrentService.DescribeKey"})

    assert status == 400
    assert json.loads(body)["__type"] == "MissingAuthenticationTokenException"
