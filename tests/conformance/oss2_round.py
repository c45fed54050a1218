"""What oss2's AliKMSProvider does against our KMS; run by `test_kms_alibaba` as a process.

Its packages warn of deprecations when imported, which the tests take for errors. Reads what
to use as JSON from standard input, and prints what came of it.
"""

import json
import sys

from aliyunsdkcore.acs_exception import exceptions
from aliyunsdkkms.request.v20160120 import DecryptRequest, DescribeKeyRequest, EncryptRequest
from oss2 import crypto
from oss2.exceptions import OpenApiServerError


def provider(given, **changes):
    """Make a provider that talks to our KMS."""
    used = {**given, **changes}
    made = crypto.AliKMSProvider(
        used["access_key"],
        used["secret_key"],
        "us-east-1",
        used["key_id"],
        passphrase=used.get("passphrase"),
    )
    made.kms_client.add_endpoint("us-east-1", "kms", given["url"])
    return made


def told(call, *arguments):
    """Return how a call is refused: status, code, message."""
    try:
        call(*arguments)
    except OpenApiServerError as error:
        return [error.status, error.code, error.message]
    except exceptions.ServerException as error:
        return [error.get_http_status(), error.get_error_code(), error.get_error_msg()]
    return None


def ask(client, request, **values):
    """Send a request of the SDK's own."""
    request.set_accept_format("JSON")
    for name, value in values.items():
        getattr(request, f"set_{name}")(value)
    return json.loads(client.do_action_with_exception(request))


PASTED = 'no "JSON'


def main():
    """Do it."""
    given = json.load(sys.stdin)
    one = provider(given)
    key, sealed_key = one.get_key()
    material = one.create_content_material()
    client = one.kms_client
    number = ask(client, EncryptRequest.EncryptRequest(), KeyId=given["key_id"], Plaintext="7")
    bound = ask(
        client,
        EncryptRequest.EncryptRequest(),
        KeyId=given["key_id"],
        Plaintext="é + more",
        EncryptionContext='{"b": "2", "a": "1"}',
    )
    _, guarded = provider(given, passphrase=PASTED).get_key()

    def opened(blob, **context):
        return ask(client, DecryptRequest.DecryptRequest(), CiphertextBlob=blob, **context)

    answer = {
        "key": len(key),
        "key comes back": one.decrypt_encrypted_key(sealed_key) == key,
        "iv": len(one.decrypt_encrypted_iv(material.encrypted_iv)),
        "number": opened(number["CiphertextBlob"], EncryptionContext="{}"),
        "bound": opened(bound["CiphertextBlob"], EncryptionContext='{"a":"1","b":"2"}'),
        "unbound": told(lambda: opened(bound["CiphertextBlob"])),
        "described": ask(client, DescribeKeyRequest.DescribeKeyRequest(), KeyId=given["key_id"]),
        "guarded": len(provider(given, passphrase=PASTED).decrypt_encrypted_key(guarded)),
        "not guarded": told(provider(given, passphrase="x").decrypt_encrypted_key, guarded),
        "wrong secret": told(provider(given, secret_key="wrong").get_key),
        "unknown": told(provider(given, access_key="unknown").get_key),
        "no such key": told(provider(given, key_id="00000000-0000-4000-8000-000000000000").get_key),
        "changed": told(one.decrypt_encrypted_key, "A" + sealed_key[1:]),
        "disabled": told(provider(given, key_id=given["disabled_id"]).get_key),
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
