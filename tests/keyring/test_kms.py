"""The KMS from within: data keys, ciphertexts, who may, and what a key's state forbids."""

import asyncio
import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import (
    key_access,
    key_blobs,
    key_specs,
    kms,
    kms_keys,
    master,
    masters,
)
from strongroom.store import kms as rows
from strongroom.store import memory

ALICE = kms.Caller("aa" * 32, name="alice")
BOB = kms.Caller("bb" * 32, name="bob")
ROOT = kms.Caller("00" * 32, is_root=True)
NOBODY = kms.Caller("")
CONTEXT = {"aws:s3:arn": "arn:aws:s3:::shelf/key", "b": "ü"}
NOW = 1_700_000_000_000
ARN = "arn:aws:kms:eu-central-1:000000000000:key/"


class Bench:
    """A KMS in memory, with a key of Alice's."""

    def __init__(self, raw=bytes(32), catalog=None):
        counter = itertools.count(1)
        self.catalog = catalog or memory.MemoryCatalog()
        self.random_bytes = lambda size: next(counter).to_bytes(size, "big")
        built_in = masters.BuiltIn(master.Master(SecretKey(raw)), self.random_bytes)
        self.materials = masters.Materials(
            {built_in.name: built_in},
            built_in.name,
            random_bytes=self.random_bytes,
            clock_ms=lambda: NOW,
        )
        self.kms = kms.Kms(
            self.catalog.kms,
            self.materials,
            region="eu-central-1",
            random_bytes=self.random_bytes,
            clock_ms=lambda: NOW,
        )

    async def add(self, number=1, alias=None, **changes):
        plain = rows.Key(
            key_id=f"00000000-0000-4000-8000-{number:012}",
            spec=key_specs.SYMMETRIC,
            usage=key_specs.ENCRYPT_DECRYPT,
            created_ms=NOW,
            creator=ALICE.user_id,
            policy=key_access.default_policy(self.kms.account, ALICE.user_id),
        )
        key = dataclasses.replace(plain, **changes)
        named = None if alias is None else rows.Alias(alias, key.key_id, NOW, NOW)
        assert await self.kms.add_key(key, named)
        return key


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def key(bench):
    return asyncio.run(bench.add(alias="alias/mine"))


def test_a_data_key_comes_back_under_its_context_and_no_other(bench, key):
    async def story():
        made = await bench.kms.generate_data_key(key.key_id, CONTEXT, ALICE)
        turned = dict(reversed(CONTEXT.items()))
        opened = await bench.kms.decrypt(made.ciphertext, turned, ALICE)

        assert len(made.plaintext) == 32
        assert opened == made
        assert made.key_arn == f"arn:aws:kms:eu-central-1:000000000000:key/{key.key_id}"
        for wrong in ({}, {**CONTEXT, "c": ""}, {**CONTEXT, "b": "u"}, {"b": "ü"}):
            with pytest.raises(errors.KmsInvalidCiphertext):
                await bench.kms.decrypt(made.ciphertext, wrong, ALICE)

    asyncio.run(story())


@given(
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
)
def test_a_ciphertext_opens_under_an_equal_context_only(sealed_with, opened_with):
    header = key_blobs.Header(key_blobs.Kind.BYTES, "00000000-0000-4000-8000-000000000001", 1)
    material = SecretKey(b"m" * 32)
    blob = key_blobs.seal(header, material, b"data", sealed_with, bytes)

    if sealed_with == opened_with:
        assert key_blobs.open_blob(blob, material, opened_with) == b"data"
    else:
        with pytest.raises(errors.KmsInvalidCiphertext):
            key_blobs.open_blob(blob, material, opened_with)


def test_every_changed_bit_of_a_ciphertext_is_found_out(bench, key):
    async def story():
        made = await bench.kms.generate_data_key(key.key_id, {}, ALICE, size=1)
        for place in range(len(made.ciphertext)):
            changed = bytearray(made.ciphertext)
            changed[place] ^= 1
            with pytest.raises((errors.KmsInvalidCiphertext, errors.KmsKeyNotFound)):
                await bench.kms.decrypt(bytes(changed), {}, ALICE)
        for length in range(len(made.ciphertext)):
            with pytest.raises(errors.KmsInvalidCiphertext):
                await bench.kms.decrypt(made.ciphertext[:length], {}, ALICE)

    asyncio.run(story())


def test_a_ciphertext_of_one_kind_does_not_open_as_another(bench, key):
    async def story():
        text = await bench.kms.encrypt(
            key.key_id, SecretKey(b"7"), {}, ALICE, kind=key_blobs.Kind.TEXT
        )

        with pytest.raises(errors.KmsInvalidCiphertext):
            await bench.kms.decrypt(text.ciphertext, {}, ALICE)
        opened = await bench.kms.decrypt(text.ciphertext, {}, ALICE, kind=key_blobs.Kind.TEXT)
        assert opened.plaintext == SecretKey(b"7")

    asyncio.run(story())


def test_a_key_is_found_by_all_its_names(bench, key):
    async def story():
        arn = bench.kms.arn(key)
        for name in (key.key_id, arn, "alias/mine", bench.kms.arn_of("alias/mine")):
            assert (await bench.kms.describe(name, ALICE)).arn == arn

    asyncio.run(story())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fake-key-id", "Invalid keyId 'fake-key-id'"),
        (
            "00000000-0000-4000-8000-000000000002",
            f"Key '{ARN}00000000-0000-4000-8000-000000000002' does not exist",
        ),
        ("arn:aws:kms:us-west-2:000000000000:key/x", "Invalid arn us-west-2"),
        (
            "alias/none",
            "Alias arn:aws:kms:eu-central-1:000000000000:alias/none is not found.",
        ),
        ("", "Invalid keyId ''"),
        ("arn:aws:kms", "Invalid arn arn:aws:kms"),
        ("arn:aws:s3:eu-central-1:000000000000:key/x", None),
        ("arn:aws:kms:eu-central-1:000000000000:grant/x", None),
        (
            "arn:aws:kms:eu-central-1:111111111111:key/00000000-0000-4000-8000-000000000001",
            None,
        ),
        ("alias/ü", None),
    ],
)
@pytest.mark.usefixtures("key")
def test_a_name_that_is_none_is_told_in_the_words_of_aws(bench, name, text):
    with pytest.raises(errors.KmsKeyNotFound) as caught:
        asyncio.run(bench.kms.generate_data_key(name, {}, ALICE))

    assert text is None or str(caught.value) == text


def test_the_owner_and_root_may_use_a_key_and_others_may_not(bench, key):
    async def story():
        made = await bench.kms.generate_data_key(key.key_id, {}, ALICE)
        await bench.kms.decrypt(made.ciphertext, {}, ROOT)
        for other in (BOB, NOBODY):
            with pytest.raises(errors.KmsAccessDenied, match="kms:Decrypt"):
                await bench.kms.decrypt(made.ciphertext, {}, other)
            with pytest.raises(errors.KmsAccessDenied, match="kms:GenerateDataKey"):
                await bench.kms.generate_data_key(key.key_id, {}, other)
            with pytest.raises(errors.KmsAccessDenied):
                await bench.kms.describe(key.key_id, other)

    asyncio.run(story())


def test_who_has_policies_of_its_own_needs_them_besides(bench, key):
    asked = []

    def caller(*allowed):
        def permits(action, arn):
            asked.append((action, arn))
            return action in allowed

        user = "arn:aws:iam::1:user/x"
        return dataclasses.replace(
            ALICE,
            member=user,
            names=frozenset({user}),
            account_names=frozenset({ALICE.user_id}),
            permits=permits,
        )

    async def story():
        decrypts = caller("kms:Decrypt")
        made = await bench.kms.generate_data_key(key.key_id, CONTEXT, caller("kms:GenerateDataKey"))

        assert (await bench.kms.decrypt(made.ciphertext, CONTEXT, decrypts)).plaintext
        with pytest.raises(errors.KmsAccessDenied):
            await bench.kms.generate_data_key(key.key_id, CONTEXT, decrypts)
        with pytest.raises(errors.KmsAccessDenied):
            await bench.kms.decrypt(made.ciphertext, CONTEXT, caller())

    asyncio.run(story())
    assert {arn for _, arn in asked} == {f"{ARN}{key.key_id}"}
    assert caller().who != ALICE.who


def test_a_grant_permits_what_it_names_under_its_constraint(bench, key):
    async def story():
        made = await bench.kms.generate_data_key(key.key_id, {"a": "b", "c": "d"}, ALICE)
        other = await bench.kms.generate_data_key(key.key_id, {"c": "d"}, ALICE)
        await bench.catalog.kms.add_grant(
            rows.Grant(
                grant_id="1" * 64,
                key_id=key.key_id,
                name="",
                grantee=BOB.user_id,
                retiring="",
                operations=("Decrypt",),
                context_equals=None,
                context_subset={"a": "b"},
                created_ms=NOW,
                issuer="",
            )
        )

        assert await bench.kms.decrypt(made.ciphertext, {"a": "b", "c": "d"}, BOB) == made
        with pytest.raises(errors.KmsAccessDenied):
            await bench.kms.decrypt(other.ciphertext, {"c": "d"}, BOB)
        with pytest.raises(errors.KmsAccessDenied):
            await bench.kms.generate_data_key(key.key_id, {"a": "b"}, BOB)

    asyncio.run(story())


def statement(effect, principal, action, **more):
    return {
        "Effect": effect,
        "Principal": principal,
        "Action": action,
        "Resource": "*",
        **more,
    }


@pytest.mark.parametrize(
    ("statements", "bob_may"),
    [
        ([statement("Allow", {"AWS": "arn:aws:iam::000000000000:user/bob"}, "kms:*")], True),
        ([statement("Allow", {"CanonicalUser": BOB.user_id}, ["kms:Gen*", "kms:x"])], True),
        ([statement("Allow", "*", "KMS:generatedatakey")], True),
        ([statement("Allow", {"AWS": "arn:aws:iam::000000000000:user/eve"}, "kms:*")], False),
        ([statement("Allow", "*", "kms:Decrypt")], False),
        ([statement("Allow", "*", "kms:*", Resource="arn:aws:kms:*:key/other")], False),
        ([statement("Allow", "*", "kms:*", Condition={"Bool": {"a": "b"}})], False),
        (
            [
                statement("Allow", "*", "kms:*"),
                statement("Deny", {"AWS": "arn:aws:iam::000000000000:user/bob"}, "kms:Generate*"),
            ],
            False,
        ),
        (
            [
                statement("Allow", "*", "kms:*"),
                statement("Deny", "*", "kms:*", Condition={"Bool": {"a": "b"}}),
            ],
            False,
        ),
    ],
)
def test_a_key_policy_is_judged(bench, statements, bob_may):
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    key_access.check(policy)

    async def story():
        key = await bench.add(policy=policy)
        if bob_may:
            await bench.kms.generate_data_key(key.key_id, {}, BOB)
        else:
            with pytest.raises(errors.KmsAccessDenied):
                await bench.kms.generate_data_key(key.key_id, {}, BOB)
        await bench.kms.generate_data_key(key.key_id, {}, ROOT)

    asyncio.run(story())


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "[]",
        "{}",
        "nonsense",
        "[" * 100_000,
        json.dumps({"Statement": [1]}),
        json.dumps({"Statement": statement("Maybe", "*", "kms:*")}),
        json.dumps({"Statement": statement("Allow", "bob", "kms:*")}),
        json.dumps({"Statement": statement("Allow", {"Me": "bob"}, "kms:*")}),
        json.dumps({"Statement": statement("Allow", "*", [1])}),
        json.dumps({"Statement": statement("Allow", "*", "kms:*", NotAction="x")}),
        json.dumps({"Statement": statement("Allow", "*", "kms:*", Condition=[])}),
        json.dumps({"Statement": statement("Allow", "*", "kms:*"), "Else": 1}),
        json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*"}}),
    ],
)
def test_a_malformed_policy_is_refused(policy):
    with pytest.raises((errors.KmsMalformedPolicy, errors.KmsLimitExceeded)):
        key_access.check(policy)


def test_the_default_policies_are_well_formed():
    key_access.check(key_access.default_policy("000000000000", ALICE.user_id))
    key_access.check(key_access.service_policy("000000000000", "s3"))


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"enabled": False}, errors.KmsKeyDisabled, "{arn} is disabled."),
        ({"deletion_ms": NOW + 1}, errors.KmsKeyPendingDeletion, "{arn} is pending deletion."),
    ],
)
def test_the_state_of_a_key_forbids_its_use_and_not_its_description(
    bench, key, changes, error, text
):
    async def story():
        made = await bench.kms.generate_data_key(key.key_id, {}, ALICE)
        await bench.catalog.kms.change_key(
            key.key_id, lambda found: dataclasses.replace(found, **changes)
        )

        for call in (
            bench.kms.generate_data_key("alias/mine", {}, ALICE),
            bench.kms.decrypt(made.ciphertext, {}, ALICE),
            bench.kms.encrypt(key.key_id, SecretKey(b"x"), {}, ALICE),
        ):
            with pytest.raises(error) as caught:
                await call
            assert str(caught.value) == text.format(arn=bench.kms.arn(key))
        assert (await bench.kms.describe(key.key_id, ALICE)).state != "Enabled"

    asyncio.run(story())


def test_the_key_of_s3_is_made_when_first_used_and_serves_all_through_s3_alone(bench):
    async def story():
        made = await bench.kms.generate_data_key(kms.S3_ALIAS, {}, ALICE)
        again = await bench.kms.generate_data_key(kms.S3_ALIAS, {}, BOB)
        assert made.key_arn == again.key_arn
        assert (await bench.kms.decrypt(made.ciphertext, {}, BOB)).plaintext == made.plaintext
        with pytest.raises(errors.KmsAccessDenied):
            await bench.kms.decrypt(made.ciphertext, {}, NOBODY)
        for asker in (ALICE, ROOT):
            direct = dataclasses.replace(asker, direct=True)
            with pytest.raises(errors.KmsAccessDenied):
                await bench.kms.decrypt(made.ciphertext, {}, direct)
            assert (await bench.kms.describe(kms.S3_ALIAS, direct)).key.manager == "s3"

    asyncio.run(story())


def test_two_that_name_the_key_of_s3_at_once_get_one_key():
    one = Bench()
    two = Bench(catalog=one.catalog)
    counter = itertools.count(1_000)
    two.kms.random_bytes = lambda size: next(counter).to_bytes(size, "big")
    finders = []

    class Late:
        """Lets the other one in after this one has seen no alias."""

        def __getattr__(self, name):
            return getattr(one.catalog.kms, name)

        async def alias(self, name):
            found = await one.catalog.kms.alias(name)
            if found is None and not finders:
                finders.append(await two.kms.resolve(name))
            return found

    one.kms.store = Late()

    found = asyncio.run(one.kms.resolve(kms.S3_ALIAS))

    assert [found] == finders
    assert len(asyncio.run(one.catalog.kms.keys(limit=9))) == 1


def test_a_ciphertext_names_its_key_and_another_is_refused(bench, key):
    async def story():
        await bench.add(2)
        made = await bench.kms.generate_data_key(key.key_id, {}, ALICE)

        await bench.kms.decrypt(made.ciphertext, {}, ALICE, key="alias/mine")
        with pytest.raises(errors.KmsIncorrectKey):
            await bench.kms.decrypt(
                made.ciphertext, {}, ALICE, key="00000000-0000-4000-8000-000000000002"
            )

    asyncio.run(story())


def test_old_material_opens_after_a_rotation_and_new_data_keys_use_the_new(bench, key):
    async def story():
        old = await bench.kms.generate_data_key(key.key_id, {}, ALICE)
        wrapped = await bench.materials.seal(key.key_id, 2, key.spec, SecretKey(b"n" * 32))
        await bench.catalog.kms.rotate(
            rows.Material(key.key_id, 2, wrapped, NOW, "ON_DEMAND"), lambda found: found
        )
        new = await bench.kms.generate_data_key(key.key_id, {}, ALICE)

        assert key_blobs.read(old.ciphertext).version == 1
        assert key_blobs.read(new.ciphertext).version == 2
        for made in (old, new):
            assert await bench.kms.decrypt(made.ciphertext, {}, ALICE) == made

    asyncio.run(story())


@pytest.mark.parametrize("spec", ["RSA_2048", "HMAC_256", "ECC_NIST_P256"])
def test_a_key_of_another_kind_makes_no_data_keys(bench, spec):
    async def story():
        key = await bench.add(spec=spec, usage=key_specs.find(spec).usages[0])

        with pytest.raises(errors.KmsWrongUsage):
            await bench.kms.generate_data_key(key.key_id, {}, ALICE)

    asyncio.run(story())


def test_sizes_are_limited(bench, key):
    async def story():
        for size in (0, 1025):
            with pytest.raises(errors.KmsInvalidInput):
                await bench.kms.generate_data_key(key.key_id, {}, ALICE, size=size)
        for length in (0, 4097):
            with pytest.raises(errors.KmsInvalidInput):
                await bench.kms.encrypt(key.key_id, SecretKey(bytes(length)), {}, ALICE)
        with pytest.raises(errors.KmsInvalidInput):
            await bench.kms.generate_data_key(key.key_id, {"a": "b" * 8192}, ALICE)
        await bench.kms.encrypt(key.key_id, SecretKey(bytes(4096)), {"a": "b" * 8191}, ALICE)

    asyncio.run(story())


def test_nothing_of_a_material_or_a_data_key_is_stored(bench, key):
    async def story():
        made = await bench.kms.generate_data_key(key.key_id, {}, ALICE)
        found = await bench.catalog.kms.key(key.key_id)
        (stored,) = await bench.catalog.kms.materials(key.key_id)
        material = await bench.kms.material(found)

        assert material.reveal() not in stored.wrapped
        assert made.plaintext.reveal() not in made.ciphertext

    asyncio.run(story())


def test_a_material_moved_to_another_key_does_not_open(bench, key):
    async def story():
        second = await bench.add(2)
        (stored,) = await bench.catalog.kms.materials(key.key_id)

        with pytest.raises(errors.NotAuthentic):
            await bench.materials.open(second, dataclasses.replace(stored, key_id=second.key_id))
        with pytest.raises(errors.NotAuthentic):
            await bench.materials.open(key, dataclasses.replace(stored, version=2))
        with pytest.raises(errors.NotAuthentic):
            await bench.materials.open(dataclasses.replace(key, spec="HMAC_256"), stored)

    asyncio.run(story())


def test_another_master_key_opens_nothing(bench, key):
    async def story():
        made = await bench.kms.generate_data_key(key.key_id, {}, ALICE)
        other = Bench(b"o" * 32, bench.catalog)

        with pytest.raises(errors.NotAuthentic):
            await other.kms.decrypt(made.ciphertext, {}, ALICE)

    asyncio.run(story())


def test_a_grant_is_not_retired_by_whom_their_own_policies_do_not_let(bench, key):
    keys = kms_keys.Keys(bench.kms)
    asked = []

    def permits(*question):
        asked.append(question)
        return False

    async def story():
        grant = await keys.create_grant(
            key.key_id, ALICE, grantee="x", operations=["Decrypt"], retiring=BOB.user_id
        )
        kept = dataclasses.replace(BOB, permits=permits)
        with pytest.raises(errors.KmsAccessDenied):
            await keys.retire(kept, reference=key.key_id, grant_id=grant.grant_id)
        await keys.retire(BOB, reference=key.key_id, grant_id=grant.grant_id)

    asyncio.run(story())
    assert asked == [("kms:RetireGrant", ARN + key.key_id)]


def test_a_managed_key_does_not_serve_whom_their_own_policies_forbid_it(bench):
    def forbids(action, _arn):
        return action == "kms:Decrypt"

    kept = dataclasses.replace(BOB, forbids=forbids)

    async def story():
        made = await bench.kms.generate_data_key(kms.S3_ALIAS, CONTEXT, kept)
        assert (await bench.kms.decrypt(made.ciphertext, CONTEXT, BOB)).plaintext == made.plaintext
        with pytest.raises(errors.KmsAccessDenied):
            await bench.kms.decrypt(made.ciphertext, CONTEXT, kept)

    asyncio.run(story())
