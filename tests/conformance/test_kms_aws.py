"""boto3's KMS client and `aws kms` against the KMS listener."""

import base64
import contextlib
import datetime as dt
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from botocore import UNSIGNED, exceptions
from botocore.config import Config
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

CONTEXT = {"shelf": "attic", "é": "ü"}
ONE_TRY = Config(retries={"max_attempts": 1})


@pytest.fixture(scope="module")
def kms(server):
    return server.boto3_client("kms", config=ONE_TRY)


@pytest.fixture(scope="module")
def alice(server, user):
    """A client of another user."""
    access_key, secret_key = user.keys
    return server.boto3_client(
        "kms", config=ONE_TRY, aws_access_key_id=access_key, aws_secret_access_key=secret_key
    )


@contextlib.contextmanager
def refused(code, text=None):
    with pytest.raises(exceptions.ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert text is None or text in error["Message"]


def new_key(kms, **options):
    return kms.create_key(**options)["KeyMetadata"]


def test_temporary_credentials_are_taken(server, kms):
    made = server.boto3_client("sts").get_session_token()["Credentials"]
    session = {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
    }
    key = new_key(kms)["KeyId"]

    temporary = server.boto3_client(
        "kms", config=ONE_TRY, aws_session_token=made["SessionToken"], **session
    )
    forged = server.boto3_client("kms", config=ONE_TRY, aws_session_token="x" * 40, **session)
    blob = temporary.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]

    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"
    with refused("UnrecognizedClientException"):
        forged.describe_key(KeyId=key)


def test_a_key_is_described_as_it_was_made(kms):
    made = new_key(kms, Description="for the attic", Tags=[{"TagKey": "team", "TagValue": "ops"}])

    found = kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]

    assert found == made
    assert made["Arn"] == f"arn:aws:kms:us-east-1:000000000000:key/{made['KeyId']}"
    assert made["KeyState"] == "Enabled"
    assert made["Enabled"]
    assert made["KeySpec"] == made["CustomerMasterKeySpec"] == "SYMMETRIC_DEFAULT"
    assert made["EncryptionAlgorithms"] == ["SYMMETRIC_DEFAULT"]
    assert made["KeyManager"] == "CUSTOMER"
    assert abs(made["CreationDate"] - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
    assert kms.list_resource_tags(KeyId=made["KeyId"])["Tags"] == [
        {"TagKey": "team", "TagValue": "ops"}
    ]


def test_keys_and_aliases_are_listed_in_pages(kms):
    keys = {new_key(kms)["KeyId"] for _ in range(3)}
    for number, key in enumerate(sorted(keys)):
        kms.create_alias(AliasName=f"alias/page-{number}", TargetKeyId=key)

    listed = list(
        kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2}).search("Keys[]")
    )
    aliases = list(
        kms.get_paginator("list_aliases")
        .paginate(PaginationConfig={"PageSize": 2})
        .search("Aliases[]")
    )

    assert keys <= {row["KeyId"] for row in listed}
    assert len({row["KeyId"] for row in listed}) == len(listed)
    assert [row["AliasName"] for row in aliases if "page-" in row["AliasName"]] == [
        f"alias/page-{number}" for number in range(3)
    ]


def test_a_data_key_comes_back_and_under_its_context_alone(kms):
    key = new_key(kms)

    made = kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256", EncryptionContext=CONTEXT)
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)

    assert len(made["Plaintext"]) == 32
    assert opened["Plaintext"] == made["Plaintext"]
    assert opened["KeyId"] == made["KeyId"] == key["Arn"]
    assert opened["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    with refused("InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=made["CiphertextBlob"])
    with refused("InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=b"x" * 200)
    other = new_key(kms)
    with refused("IncorrectKeyException"):
        kms.decrypt(
            CiphertextBlob=made["CiphertextBlob"],
            EncryptionContext=CONTEXT,
            KeyId=other["KeyId"],
        )


@pytest.mark.parametrize(
    ("asked", "size"),
    [({"KeySpec": "AES_128"}, 16), ({"NumberOfBytes": 1}, 1), ({"NumberOfBytes": 1024}, 1024)],
)
def test_a_data_key_has_the_size_that_was_asked_for(kms, asked, size):
    key = new_key(kms)["KeyId"]

    made = kms.generate_data_key(KeyId=key, **asked)
    blind = kms.generate_data_key_without_plaintext(KeyId=key, **asked)

    assert len(made["Plaintext"]) == size
    assert "Plaintext" not in blind
    assert len(kms.decrypt(CiphertextBlob=blind["CiphertextBlob"])["Plaintext"]) == size


def test_encrypt_and_re_encrypt(kms):
    first, second = new_key(kms), new_key(kms)

    sealed = kms.encrypt(KeyId=first["Arn"], Plaintext=b"secret", EncryptionContext=CONTEXT)
    moved = kms.re_encrypt(
        CiphertextBlob=sealed["CiphertextBlob"],
        SourceEncryptionContext=CONTEXT,
        DestinationKeyId=second["KeyId"],
        DestinationEncryptionContext={"new": "one"},
    )

    assert (moved["SourceKeyId"], moved["KeyId"]) == (first["Arn"], second["Arn"])
    opened = kms.decrypt(CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"new": "one"})
    assert opened["Plaintext"] == b"secret"
    assert opened["KeyId"] == second["Arn"]


def test_rotation_gives_new_material_and_old_ciphertexts_open(kms):
    key = new_key(kms)["KeyId"]
    old = kms.encrypt(KeyId=key, Plaintext=b"old")["CiphertextBlob"]
    assert not kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]

    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    kms.rotate_key_on_demand(KeyId=key)

    status = kms.get_key_rotation_status(KeyId=key)
    assert status["KeyRotationEnabled"]
    assert status["RotationPeriodInDays"] == 90
    due = status["NextRotationDate"] - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=89) < due < dt.timedelta(days=91)
    (rotation,) = kms.list_key_rotations(KeyId=key)["Rotations"]
    assert rotation["RotationType"] == "ON_DEMAND"
    new = kms.encrypt(KeyId=key, Plaintext=b"new")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=old)["Plaintext"] == b"old"
    assert kms.decrypt(CiphertextBlob=new)["Plaintext"] == b"new"
    ids = {kms.decrypt(CiphertextBlob=blob)["KeyMaterialId"] for blob in (old, new)}
    assert len(ids) == 2
    kms.disable_key_rotation(KeyId=key)
    assert not kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]


def test_a_disabled_key_does_nothing_until_it_is_enabled(kms):
    key = new_key(kms)
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]

    kms.disable_key(KeyId=key["KeyId"])

    with refused("DisabledException", f"{key['Arn']} is disabled."):
        kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")
    with refused("DisabledException"):
        kms.decrypt(CiphertextBlob=sealed)
    kms.enable_key(KeyId=key["KeyId"])
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"


def test_a_deletion_waits_and_can_be_cancelled(kms):
    """Covers S003.12."""
    key = new_key(kms)
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]

    planned = kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)

    assert planned["KeyState"] == "PendingDeletion"
    waits = planned["DeletionDate"] - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=6) < waits < dt.timedelta(days=8)
    with refused("KMSInvalidStateException", f"{key['Arn']} is pending deletion."):
        kms.decrypt(CiphertextBlob=sealed)
    with refused("KMSInvalidStateException"):
        kms.schedule_key_deletion(KeyId=key["KeyId"])
    assert kms.cancel_key_deletion(KeyId=key["KeyId"])["KeyId"] == key["Arn"]
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Disabled"
    with refused("KMSInvalidStateException", "is not pending deletion"):
        kms.cancel_key_deletion(KeyId=key["KeyId"])
    kms.enable_key(KeyId=key["KeyId"])
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"


def test_an_alias_names_a_key_moves_and_goes(kms):
    first, second = new_key(kms), new_key(kms)

    kms.create_alias(AliasName="alias/mine", TargetKeyId=first["KeyId"])

    assert kms.describe_key(KeyId="alias/mine")["KeyMetadata"]["Arn"] == first["Arn"]
    (row,) = kms.list_aliases(KeyId=first["KeyId"])["Aliases"]
    assert row["AliasArn"] == "arn:aws:kms:us-east-1:000000000000:alias/mine"
    with refused("AlreadyExistsException"):
        kms.create_alias(AliasName="alias/mine", TargetKeyId=second["KeyId"])
    kms.update_alias(AliasName="alias/mine", TargetKeyId=second["KeyId"])
    assert kms.describe_key(KeyId=row["AliasArn"])["KeyMetadata"]["Arn"] == second["Arn"]
    kms.delete_alias(AliasName="alias/mine")
    with refused("NotFoundException", "Alias arn:aws:kms"):
        kms.describe_key(KeyId="alias/mine")
    with refused("NotFoundException"):
        kms.delete_alias(AliasName="alias/mine")
    with refused("InvalidAliasNameException"):
        kms.create_alias(AliasName="alias/aws/mine", TargetKeyId=second["KeyId"])
    with refused("ValidationException"):
        kms.create_alias(AliasName="mine", TargetKeyId=second["KeyId"])


def test_tags_and_descriptions_change(kms):
    key = new_key(kms)["KeyId"]

    kms.tag_resource(KeyId=key, Tags=[{"TagKey": n, "TagValue": n.upper()} for n in "abc"])
    kms.untag_resource(KeyId=key, TagKeys=["b"])
    kms.update_key_description(KeyId=key, Description="other")

    page = kms.list_resource_tags(KeyId=key, Limit=1)
    rest = kms.list_resource_tags(KeyId=key, Marker=page["NextMarker"])
    assert page["Truncated"]
    assert page["Tags"] + rest["Tags"] == [
        {"TagKey": "a", "TagValue": "A"},
        {"TagKey": "c", "TagValue": "C"},
    ]
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "other"
    with refused("TagException"):
        kms.tag_resource(KeyId=key, Tags=[{"TagKey": "aws:x", "TagValue": ""}])
    with refused("LimitExceededException"):
        kms.tag_resource(KeyId=key, Tags=[{"TagKey": f"t{n}", "TagValue": ""} for n in range(50)])


def test_a_key_policy_is_put_and_read(kms):
    key = new_key(kms)["KeyId"]
    before = json.loads(kms.get_key_policy(KeyId=key)["Policy"])
    before["Statement"][0]["Sid"] = "Changed"

    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(before))

    assert json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]) == before
    assert kms.list_key_policies(KeyId=key)["PolicyNames"] == ["default"]
    with refused("MalformedPolicyDocumentException"):
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy="{}")
    with refused("NotFoundException"):
        kms.get_key_policy(KeyId=key, PolicyName="other")


def test_grants_are_made_listed_retired_and_revoked(kms):
    key = new_key(kms)["KeyId"]

    one = kms.create_grant(
        KeyId=key,
        GranteePrincipal="arn:aws:iam::000000000000:user/bob",
        RetiringPrincipal="arn:aws:iam::000000000000:user/eve",
        Operations=["Decrypt"],
        Name="one",
        Constraints={"EncryptionContextSubset": {"a": "b"}},
    )
    same = kms.create_grant(
        KeyId=key,
        GranteePrincipal="arn:aws:iam::000000000000:user/bob",
        RetiringPrincipal="arn:aws:iam::000000000000:user/eve",
        Operations=["Decrypt"],
        Name="one",
        Constraints={"EncryptionContextSubset": {"a": "b"}},
    )
    two = kms.create_grant(
        KeyId=key, GranteePrincipal="arn:aws:iam::000000000000:user/bob", Operations=["Encrypt"]
    )

    assert same == one | {"ResponseMetadata": same["ResponseMetadata"]}
    assert {row["GrantId"] for row in kms.list_grants(KeyId=key)["Grants"]} == {
        one["GrantId"],
        two["GrantId"],
    }
    (row,) = kms.list_retirable_grants(RetiringPrincipal="arn:aws:iam::000000000000:user/eve")[
        "Grants"
    ]
    assert row["Constraints"] == {"EncryptionContextSubset": {"a": "b"}}
    kms.retire_grant(GrantToken=one["GrantToken"])
    with refused("DryRunOperationException"):
        kms.revoke_grant(KeyId=key, GrantId=two["GrantId"], DryRun=True)
    kms.revoke_grant(KeyId=key, GrantId=two["GrantId"])
    assert kms.list_grants(KeyId=key)["Grants"] == []
    with refused("NotFoundException"):
        kms.revoke_grant(KeyId=key, GrantId=two["GrantId"])
    with refused("InvalidGrantTokenException"):
        kms.retire_grant(GrantToken="nonsense")


@pytest.mark.parametrize(
    ("algorithm", "pad", "kind"),
    [
        ("RSASSA_PSS_SHA_256", "pss", hashes.SHA256),
        ("RSASSA_PSS_SHA_512", "pss", hashes.SHA512),
        ("RSASSA_PKCS1_V1_5_SHA_384", "pkcs1", hashes.SHA384),
    ],
)
@pytest.mark.parametrize("digested", [False, True])
def test_an_rsa_signature_is_verified_by_us_and_by_others(kms, algorithm, pad, kind, digested):
    key = new_key(kms, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    running = hashes.Hash(kind())
    running.update(b"message")
    message = running.finalize() if digested else b"message"
    options = {
        "KeyId": key["KeyId"],
        "Message": message,
        "MessageType": "DIGEST" if digested else "RAW",
        "SigningAlgorithm": algorithm,
    }

    made = kms.sign(**options)["Signature"]

    assert kms.verify(Signature=made, **options)["SignatureValid"]
    with refused("KMSInvalidSignatureException"):
        kms.verify(Signature=made[:-1] + bytes([made[-1] ^ 1]), **options)
    public = kms.get_public_key(KeyId=key["KeyId"])
    assert algorithm in public["SigningAlgorithms"]
    paddings = {
        "pss": padding.PSS(padding.MGF1(kind()), padding.PSS.DIGEST_LENGTH),
        "pkcs1": padding.PKCS1v15(),
    }
    serialization.load_der_public_key(public["PublicKey"]).verify(
        made, b"message", paddings[pad], kind()
    )


@pytest.mark.parametrize(
    ("spec", "algorithm", "kind"),
    [
        ("ECC_NIST_P256", "ECDSA_SHA_256", hashes.SHA256),
        ("ECC_NIST_P384", "ECDSA_SHA_384", hashes.SHA384),
        ("ECC_NIST_P521", "ECDSA_SHA_512", hashes.SHA512),
        ("ECC_SECG_P256K1", "ECDSA_SHA_256", hashes.SHA256),
        ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512", None),
    ],
)
def test_a_signature_over_a_curve_is_verified_by_us_and_by_others(kms, spec, algorithm, kind):
    key = new_key(kms, KeySpec=spec, KeyUsage="SIGN_VERIFY")
    options = {"KeyId": key["KeyId"], "Message": b"message", "SigningAlgorithm": algorithm}

    made = kms.sign(**options)["Signature"]

    assert kms.verify(Signature=made, **options)["SignatureValid"]
    with refused("KMSInvalidSignatureException"):
        kms.verify(Signature=made, **{**options, "Message": b"other"})
    public = serialization.load_der_public_key(kms.get_public_key(KeyId=key["KeyId"])["PublicKey"])
    if kind is None:
        public.verify(made, b"message")
    else:
        public.verify(made, b"message", ec.ECDSA(kind()))


@pytest.mark.parametrize("bits", [224, 256, 384, 512])
def test_macs(kms, bits):
    key = new_key(kms, KeySpec=f"HMAC_{bits}", KeyUsage="GENERATE_VERIFY_MAC")
    options = {"KeyId": key["KeyId"], "Message": b"message", "MacAlgorithm": f"HMAC_SHA_{bits}"}

    made = kms.generate_mac(**options)["Mac"]

    assert len(made) == bits // 8
    assert kms.verify_mac(Mac=made, **options)["MacValid"]
    with refused("KMSInvalidMacException"):
        kms.verify_mac(Mac=bytes(len(made)), **options)


@pytest.mark.parametrize("algorithm", ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"])
def test_rsa_encryption_is_opened_whoever_encrypted(kms, algorithm):
    key = new_key(kms, KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")["KeyId"]
    kind = hashes.SHA1 if algorithm.endswith("_1") else hashes.SHA256
    public = serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])

    ours = kms.encrypt(KeyId=key, Plaintext=b"secret", EncryptionAlgorithm=algorithm)
    theirs = public.encrypt(b"secret", padding.OAEP(padding.MGF1(kind()), kind(), None))

    for blob in (ours["CiphertextBlob"], theirs):
        opened = kms.decrypt(CiphertextBlob=blob, KeyId=key, EncryptionAlgorithm=algorithm)
        assert opened["Plaintext"] == b"secret"
    with refused("InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=bytes(256), KeyId=key, EncryptionAlgorithm=algorithm)
    with refused("ValidationException"):
        kms.encrypt(KeyId=key, Plaintext=bytes(300), EncryptionAlgorithm=algorithm)
    with refused("InvalidKeyUsageException"):
        kms.encrypt(KeyId=key, Plaintext=b"secret")


@pytest.mark.parametrize("spec", ["RSA_2048", "ECC_NIST_P256"])
def test_a_data_key_pair_belongs_together(kms, spec):
    key = new_key(kms)["KeyId"]

    made = kms.generate_data_key_pair(KeyId=key, KeyPairSpec=spec, EncryptionContext=CONTEXT)
    blind = kms.generate_data_key_pair_without_plaintext(KeyId=key, KeyPairSpec=spec)

    private = serialization.load_der_private_key(made["PrivateKeyPlaintext"], None)
    assert made["PublicKey"] == private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    opened = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == made["PrivateKeyPlaintext"]
    assert "PrivateKeyPlaintext" not in blind


def test_random_bytes_are_as_many_as_asked_for(kms):
    assert len(kms.generate_random(NumberOfBytes=77)["Plaintext"]) == 77


def test_what_a_key_is_not_for_is_refused(kms):
    symmetric = new_key(kms)["KeyId"]
    signing = new_key(kms, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyId"]

    with refused("InvalidKeyUsageException"):
        kms.generate_data_key(KeyId=signing, KeySpec="AES_256")
    with refused("InvalidKeyUsageException"):
        kms.sign(KeyId=symmetric, Message=b"x", SigningAlgorithm="ECDSA_SHA_256")
    with refused("InvalidKeyUsageException"):
        kms.sign(KeyId=signing, Message=b"x", SigningAlgorithm="RSASSA_PSS_SHA_256")
    with refused("UnsupportedOperationException"):
        kms.get_public_key(KeyId=symmetric)
    with refused("UnsupportedOperationException"):
        kms.enable_key_rotation(KeyId=signing)
    with refused("UnsupportedOperationException"):
        kms.create_key(Origin="EXTERNAL")
    with refused("ValidationException"):
        kms.create_key(KeySpec="HMAC_256", KeyUsage="SIGN_VERIFY")
    with refused("UnsupportedOperationException"):
        kms.describe_custom_key_stores()


def test_what_does_not_fit_is_told_without_its_value(kms):
    key = new_key(kms)["KeyId"]

    with refused("ValidationException", "enum value set"):
        kms.generate_data_key(KeyId=key, KeySpec="AES_512")
    with refused("ValidationException", "either number of bytes or key spec"):
        kms.generate_data_key(KeyId=key)
    with refused("ValidationException", "less than or equal to 1024"):
        kms.generate_data_key(KeyId=key, NumberOfBytes=1025)
    with refused("ValidationException", "length less than or equal to 4096"):
        kms.encrypt(KeyId=key, Plaintext=bytes(4097))
    with refused("NotFoundException", "Invalid keyId 'fake'"):
        kms.describe_key(KeyId="fake")


def test_a_request_with_a_wrong_secret_or_an_unknown_key_is_refused(server):
    wrong = server.boto3_client("kms", aws_secret_access_key="wrong" * 8)
    unknown = server.boto3_client("kms", aws_access_key_id="AKIAUNKNOWN")
    elsewhere = server.boto3_client("kms", region_name="eu-west-1")

    with refused("InvalidSignatureException"):
        wrong.list_keys()
    with refused("UnrecognizedClientException"):
        unknown.list_keys()
    with refused("InvalidSignatureException", "us-east-1/kms"):
        elsewhere.list_keys()


def test_an_unsigned_or_unknown_request_is_refused_in_json(server):
    context = ssl.create_default_context(cafile=server.ca_bundle)

    def send(**headers):
        request = urllib.request.Request(server.kms_url, b"{}", headers)  # noqa: S310 - our own
        try:
            urllib.request.urlopen(request, context=context)  # noqa: S310 - likewise
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        pytest.fail("it was answered")

    status, document = send(**{"X-Amz-Target": "TrentService.ListKeys"})
    assert (status, document["__type"]) == (400, "MissingAuthenticationTokenException")
    for target in ("TrentService.Nonsense", "Other.ListKeys"):
        status, document = send(**{"X-Amz-Target": target})
        assert (status, document) == (400, {"__type": "UnknownOperationException"})
    assert send()[1]["__type"] == "UnknownOperationException"


def test_another_user_may_what_the_owner_grants_and_no_more(kms, alice, user):
    key = new_key(kms)["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"a": "b"})["CiphertextBlob"]

    def opened():
        return alice.decrypt(CiphertextBlob=sealed, EncryptionContext={"a": "b"})["Plaintext"]

    with refused("AccessDeniedException", "kms:Decrypt"):
        opened()
    with refused("AccessDeniedException"):
        alice.describe_key(KeyId=key)
    with refused("AccessDeniedException"):
        alice.schedule_key_deletion(KeyId=key)
    assert key not in {row["KeyId"] for row in alice.list_keys()["Keys"]}

    grant = kms.create_grant(KeyId=key, GranteePrincipal=user.user_id, Operations=["Decrypt"])

    assert opened() == b"x"
    with refused("AccessDeniedException"):
        alice.encrypt(KeyId=key, Plaintext=b"y")
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    with refused("AccessDeniedException"):
        opened()


def test_another_user_may_what_the_policy_says_and_has_keys_of_their_own(kms, alice, user):
    key = new_key(kms)["KeyId"]
    policy = json.loads(kms.get_key_policy(KeyId=key)["Policy"])
    policy["Statement"].append(
        {
            "Effect": "Allow",
            "Principal": {"CanonicalUser": user.user_id},
            "Action": ["kms:Encrypt", "kms:DescribeKey"],
            "Resource": "*",
        }
    )
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))

    sealed = alice.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    with refused("AccessDeniedException"):
        alice.decrypt(CiphertextBlob=sealed)
    assert key in {row["KeyId"] for row in alice.list_keys()["Keys"]}
    own = new_key(alice)["KeyId"]
    assert alice.generate_data_key(KeyId=own, KeySpec="AES_256")["Plaintext"]
    with refused("MalformedPolicyDocumentException", "will not allow you"):
        alice.put_key_policy(
            KeyId=own,
            PolicyName="default",
            Policy=json.dumps({**policy, "Statement": policy["Statement"][:1]}),
        )


def test_the_command_line_of_aws_does_a_round(server, tmp_path):
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_CA_BUNDLE": str(server.ca_bundle),
        "AWS_ENDPOINT_URL_KMS": server.kms_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }

    def aws(*words):
        done = subprocess.run(  # noqa: S603 - this interpreter, these words
            [sys.executable, "-m", "awscli", "kms", *words, "--output", "json"],
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        )
        return json.loads(done.stdout) if done.stdout else None

    plain = tmp_path / "plain"
    plain.write_bytes(b"\x00secret")
    sealed = tmp_path / "sealed"

    key = aws("create-key", "--description", "by aws")["KeyMetadata"]["KeyId"]
    aws("create-alias", "--alias-name", "alias/by-aws", "--target-key-id", key)
    made = aws(
        "encrypt", "--key-id", "alias/by-aws", "--plaintext", f"fileb://{plain}",
        "--encryption-context", "a=b",
    )  # fmt: skip
    sealed.write_bytes(base64.b64decode(made["CiphertextBlob"]))
    opened = aws("decrypt", "--ciphertext-blob", f"fileb://{sealed}", "--encryption-context", "a=b")

    assert base64.b64decode(opened["Plaintext"]) == b"\x00secret"
    assert [row["KeyId"] for row in aws("list-keys")["Keys"] if row["KeyId"] == key] == [key]


def test_unsigned_requests_use_no_key_even_where_everybody_may_read_and_write(server, new_name):
    s3 = server.boto3_client()
    nobody = server.boto3_client(config=Config(signature_version=UNSIGNED))
    bucket = new_name()
    s3.create_bucket(Bucket=bucket)
    s3.delete_public_access_block(Bucket=bucket)
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement})
    )
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    s3.put_object(Bucket=bucket, Key="sealed", Body=b"x", ServerSideEncryption="aws:kms")

    assert nobody.get_object(Bucket=bucket, Key="plain")["Body"].read() == b"x"
    with refused("AccessDenied"):
        nobody.get_object(Bucket=bucket, Key="sealed")
    with refused("AccessDenied"):
        nobody.put_object(Bucket=bucket, Key="new", Body=b"x", ServerSideEncryption="aws:kms")
