"""The CryptoBucket of oss2, in whichever version is installed, against ours."""

from __future__ import annotations

import base64
import warnings

import doubles
import rig

warnings.simplefilter("ignore")
import oss2  # noqa: E402 - its old releases warn when imported
from Crypto.PublicKey import RSA  # noqa: E402 - PyCryptodome, which oss2 brings
from oss2 import crypto  # noqa: E402

SIZES = [0, 1, 15, 16, 17, 5000, 300_001]
PART = 102_400
PLACE = "/attic/"


def run() -> None:
    """Try everything that this version can."""
    tried = _Tried()
    tried.whole()
    if tried.modern:
        tried.descriptions()
        tried.parts()
        tried.older_wraps()


class _Tried:
    """A pair of keys, a stand-in for OSS, and both sides."""

    def __init__(self) -> None:
        self.job = rig.Rig()
        self.job.client("oss2", oss2.__version__)
        self.store = doubles.Oss()
        pair = RSA.generate(2048)
        self.private = pair.export_key().decode()
        self.public = pair.publickey().export_key().decode()
        self.modern = hasattr(crypto, "RsaProvider")
        self.ours = "oss-v2" if self.modern else "oss-v1"

    def bucket(self, provider: object) -> oss2.CryptoBucket:
        auth = oss2.Auth("id", "secret")
        return oss2.CryptoBucket(auth, self.store.url, "attic", crypto_provider=provider)

    def provider(self, description: dict[str, str] | None = None) -> object:
        if not self.modern:
            return self.local()
        halves = {"private_key": self.private, "public_key": self.public}
        return crypto.RsaProvider(halves, mat_desc=description)

    def local(self) -> object:
        room = self.job.room()
        (room / "k.private_key.pem").write_text(self.private)
        (room / "k.public_key.pem").write_text(self.public)
        return crypto.LocalRsaProvider(dir=str(room), key="k", passphrase="")

    def opened(self, key: str, description: dict[str, str] | None = None) -> bytes:
        headers, body = self.store.objects[PLACE + key]
        told = self.job.ours(
            do="open", headers=headers, body=_text(body), pem=self.private, description=description
        )
        return base64.b64decode(told["plain"])

    def sealed(self, key: str, plain: bytes, **options: object) -> None:
        told = self.job.ours(do="seal", pem=self.private, plain=_text(plain), **options)
        headers = {f"x-oss-meta-{name}": value for name, value in told["envelope"].items()}
        self.store.objects[PLACE + key] = (headers, base64.b64decode(told["body"]))

    def whole(self) -> None:
        """Carry whole objects both ways."""
        with self.job.step(f"it puts, ours opens: {self.ours}"):
            for size in SIZES:
                plain = bytes(range(256)) * (size // 256) + bytes(size % 256)
                self.bucket(self.provider()).put_object(f"a{size}", plain)
                assert self.opened(f"a{size}") == plain, size
        with self.job.step(f"ours seals, it gets: {self.ours}"):
            for size in SIZES:
                plain = bytes(range(256)) * (size // 256) + bytes(size % 256)
                self.sealed(f"b{size}", plain, format=self.ours)
                assert self.bucket(self.provider()).get_object(f"b{size}").read() == plain, size

    def descriptions(self) -> None:
        """Find keys by what they are called, in any order."""
        with self.job.step("it finds our key by its description, and ours finds its"):
            described, same = {"n": "1", "region": "eu"}, {"region": "eu", "n": "1"}
            self.bucket(self.provider(described)).put_object("c", b"described")
            assert self.opened("c", same) == b"described"
            self.sealed("d", b"by ours", format=self.ours, description=described)
            assert self.bucket(self.provider(same)).get_object("d").read() == b"by ours"

    def parts(self) -> None:
        """Carry an object of several parts both ways."""
        with self.job.step("parts: it uploads, ours opens; ours seals, it gets ranges"):
            plain = bytes(range(251)) * 1000
            there = self.bucket(self.provider())
            context = oss2.models.MultipartUploadCryptoContext(len(plain), PART)
            upload = there.init_multipart_upload("e", upload_context=context).upload_id
            sent = []
            for number, at in enumerate(range(0, len(plain), PART), 1):
                piece = plain[at : at + PART]
                done = there.upload_part("e", upload, number, piece, upload_context=context)
                sent.append(
                    oss2.models.PartInfo(number, done.etag, size=len(piece), part_crc=done.crc)
                )
            there.complete_multipart_upload("e", upload, sent)
            assert self.opened("e") == plain
            self.sealed("f", plain, format=self.ours, parts=PART)
            assert there.get_object("f").read() == plain
            middle = there.get_object("f", byte_range=(160_000, 160_099))
            assert middle.read() == plain[160_000:160_100]

    def older_wraps(self) -> None:
        """Pad as LocalRsaProvider, and write V1."""
        with self.job.step("OAEP, as LocalRsaProvider pads"):
            self.bucket(self.local()).put_object("g", b"oaep")
            assert self.opened("g") == b"oaep"
            self.sealed("h", b"oaep of ours", format=self.ours, oaep=True)
            assert self.bucket(self.local()).get_object("h").read() == b"oaep of ours"
        with self.job.step("a V1 object of ours is read by this version too"):
            self.sealed("i", b"old", format="oss-v1")
            assert self.bucket(self.local()).get_object("i").read() == b"old"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
