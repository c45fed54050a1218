"""Every failure the domain can name. No HTTP, no wire words.

    StrongroomError
    ├── NotFound
    │   ├── BucketNotFound
    │   ├── ObjectNotFound
    │   ├── VersionNotFound
    │   ├── IsDeleteMarker
    │   ├── SourceGone
    │   ├── UploadNotFound
    │   └── UserNotFound
    ├── Conflict
    │   ├── BucketExists
    │   ├── BucketNotEmpty
    │   ├── UserExists
    │   ├── VersioningChanged
    │   ├── MarksChanged
    │   ├── BucketLocked
    │   └── PreconditionFailed
    ├── AccountTrouble
    │   ├── NoSuchEntity
    │   ├── EntityExists
    │   ├── EntityBusy
    │   ├── EntityInUse
    │   ├── InvalidEntity
    │   └── LimitPassed
    ├── BadToken
    │   ├── TokenInvalid
    │   └── TokenExpired
    ├── AccessDenied
    ├── ObjectLocked
    ├── KeyTrouble
    │   ├── WrongKey
    │   ├── KeyRequired
    │   ├── KeyNotApplicable
    │   ├── PartKeyMissing
    │   ├── PartKeyMismatch
    │   ├── NotRewrappable
    │   ├── KeyNotAllowed
    │   ├── MasterKeyTrouble
    │   └── KmsError
    │       ├── KmsKeyNotFound
    │       ├── KmsKeyDisabled
    │       ├── KmsKeyPendingDeletion
    │       ├── KmsInvalidState
    │       ├── KmsAccessDenied
    │       ├── KmsUnavailable
    │       ├── KmsInvalidCiphertext
    │       ├── KmsIncorrectKey
    │       ├── KmsWrongUsage
    │       ├── KmsNotVerified
    │       ├── KmsAlreadyExists
    │       ├── KmsLimitExceeded
    │       ├── KmsInvalidGrant
    │       ├── KmsMalformedPolicy
    │       └── KmsInvalidInput
    ├── NotAuthentic
    ├── BadBody
    │   ├── BodyTooShort
    │   ├── BodyTooLong
    │   ├── BodyMalformed
    │   ├── ClientGone
    │   ├── DigestMismatch
    │   └── ObjectTooLarge
    ├── SourceTooLarge
    ├── BadUpload
    │   ├── InvalidPart
    │   ├── InvalidPartOrder
    │   ├── PartTooSmall
    │   ├── PartChecksumMissing
    │   ├── UploadSizeMismatch
    │   └── ChecksumTypeMismatch
    ├── RangeNotSatisfiable
    ├── PartNotThere
    ├── InvalidBucketName
    ├── MalformedDocument
    ├── MalformedPolicy
    ├── MalformedValue
    ├── MissingValue
    ├── StoreTrouble
    │   ├── BlobMissing
    │   ├── StoreFull
    │   ├── StoreLocked
    │   └── StoreFailed
    └── ClientTrouble
        ├── MalformedEnvelope
        ├── UnsupportedFormat
        │   └── NotSealed
        ├── KmsCallFailed
        ├── SourceChanged
        └── LostTrack

A dialect's `faults.py` turns these into codes and statuses, and nothing else does. What is
under `ClientTrouble` is said by the client library and never reaches a dialect.
"""

from __future__ import annotations


class StrongroomError(Exception):
    """Root of all failures that the domain names."""


class NotFound(StrongroomError):
    """What was asked for is not there."""


class BucketNotFound(NotFound):
    """No bucket of this name."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.bucket = bucket


class ObjectNotFound(NotFound):
    """No object of this key, or its newest version is a delete marker.

    `marker_id` is then the marker's version id; None if there is no version at all.
    """

    def __init__(self, bucket: str, key: str, marker_id: str | None = None) -> None:
        super().__init__(bucket, key)
        self.bucket = bucket
        self.key = key
        self.marker_id = marker_id


class VersionNotFound(NotFound):
    """The key exists, or not, but this version of it does not."""

    def __init__(self, bucket: str, key: str, version_id: str) -> None:
        super().__init__(bucket, key, version_id)
        self.bucket = bucket
        self.key = key
        self.version_id = version_id


class IsDeleteMarker(NotFound):
    """The version that was asked for by its id is a delete marker and has no content."""

    def __init__(self, bucket: str, key: str, version_id: str, modified_ms: int) -> None:
        super().__init__(bucket, key, version_id)
        self.bucket = bucket
        self.key = key
        self.version_id = version_id
        self.modified_ms = modified_ms


class SourceGone(NotFound):
    """What was to be copied was overwritten or deleted while it was being copied."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(bucket, key)
        self.bucket = bucket
        self.key = key


class UploadNotFound(NotFound):
    """No multipart upload of this id is open for this key."""

    def __init__(self, upload_id: str) -> None:
        super().__init__(upload_id)
        self.upload_id = upload_id


class UserNotFound(NotFound):
    """No user or credential of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Conflict(StrongroomError):
    """The state of the store forbids it."""


class BucketExists(Conflict):
    """The name is taken; `owner` is the canonical id of who has it."""

    def __init__(self, bucket: str, owner: str) -> None:
        super().__init__(bucket)
        self.bucket = bucket
        self.owner = owner


class BucketNotEmpty(Conflict):
    """A bucket with objects or open uploads cannot be deleted."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.bucket = bucket


class UserExists(Conflict):
    """The user name or access key is taken."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class VersioningChanged(Conflict):
    """The bucket's versioning was switched while a version was on its way; to be tried again."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.bucket = bucket


class MarksChanged(Conflict):
    """A version's marks were changed since they were read; to be tried again."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class BucketLocked(Conflict):
    """A bucket with object lock has versioning enabled, and keeps both."""


class PreconditionFailed(Conflict):
    """A condition of the request does not hold; `condition` is its name."""

    def __init__(self, condition: str) -> None:
        super().__init__(condition)
        self.condition = condition


class AccountTrouble(StrongroomError):
    """Something about the users, groups, roles and policies of an account."""


class NoSuchEntity(AccountTrouble):
    """The account has no such thing; `kind` is what it would be."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, name)
        self.kind = kind
        self.name = name


class EntityExists(AccountTrouble):
    """The name is taken among its kind."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, name)
        self.kind = kind
        self.name = name


class EntityBusy(AccountTrouble):
    """Others changed it each time that it was to be changed."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, name)
        self.kind = kind
        self.name = name


class EntityInUse(AccountTrouble):
    """Something still hangs on it; the text says what."""


class InvalidEntity(AccountTrouble):
    """A name, path or document has not the right form; the text says which."""


class LimitPassed(AccountTrouble):
    """The account would have more than it may; the text says of what."""


class BadToken(StrongroomError):
    """Temporary credentials do not prove anything."""


class TokenInvalid(BadToken):
    """The token is none of ours, or not of this access key, or whose it was is gone."""


class TokenExpired(BadToken):
    """The token's time is over."""


class AccessDenied(StrongroomError):
    """The principal may not do this."""


class ObjectLocked(StrongroomError):
    """A lock of the version forbids it."""


class KeyTrouble(StrongroomError):
    """Something about the key that guards an object."""


class WrongKey(KeyTrouble):
    """The key is not the one that the object was sealed under."""


class KeyRequired(KeyTrouble):
    """The object is under a customer's key and the request brings none."""


class KeyNotApplicable(KeyTrouble):
    """The request brings a customer key for an object that has none."""


class PartKeyMissing(KeyTrouble):
    """The part's encryption differs from the upload's: one has a customer key, one has none."""


class PartKeyMismatch(KeyTrouble):
    """The part brings another customer key than the upload began with."""


class NotRewrappable(KeyTrouble):
    """What a version of this `mode` is sealed under cannot be changed without sealing it anew."""

    def __init__(self, mode: str) -> None:
        super().__init__(mode)
        self.mode = mode


class KeyNotAllowed(KeyTrouble):
    """The bucket takes writes under other customer keys than the one of this `fingerprint`."""

    def __init__(self, bucket: str, fingerprint: bytes) -> None:
        super().__init__(bucket, fingerprint)
        self.bucket = bucket
        self.fingerprint = fingerprint


class MasterKeyTrouble(KeyTrouble):
    """The master key is missing, short, or not the one of this store; the text says what to do."""


class KmsError(KeyTrouble):
    """The key management service refuses, or cannot do it.

    The text is a sentence for who asked, in the words of AWS KMS; it names keys and
    holds no secret.
    """


class KmsKeyNotFound(KmsError):
    """No key of this id, ARN or alias."""


class KmsKeyDisabled(KmsError):
    """The key is disabled."""


class KmsKeyPendingDeletion(KmsError):
    """The key waits for its deletion."""


class KmsInvalidState(KmsError):
    """The key's state does not allow this."""


class KmsAccessDenied(KmsError):
    """The caller may not do this with this key."""


class KmsUnavailable(KmsError):
    """The service cannot be reached, or did not answer in time. It may be asked again."""


class KmsInvalidCiphertext(KmsError):
    """The ciphertext is not one of this service, was changed, or has another context."""


class KmsIncorrectKey(KmsError):
    """The ciphertext was made under another key than the one that was named."""


class KmsWrongUsage(KmsError):
    """A key of this kind does not do this."""


class KmsNotVerified(KmsError):
    """A signature or MAC is not the message's; `kind` is `signature` or `mac`."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class KmsAlreadyExists(KmsError):
    """The alias is taken."""


class KmsLimitExceeded(KmsError):
    """There are too many of these."""


class KmsInvalidGrant(KmsError):
    """The grant, or the token of one, is not to be used; `kind` is `id` or `token`."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class KmsMalformedPolicy(KmsError):
    """The key policy cannot be read, or would lock everybody out."""


class KmsInvalidInput(KmsError):
    """A value is not one that this can take; the text says which.

    `kind` is the exception that AWS KMS gives a name of its own, or empty.
    """

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind


class NotAuthentic(StrongroomError):
    """Stored bytes are not what was written: changed, moved, cut or exchanged."""


class BadBody(StrongroomError):
    """The body that arrived is not the body that was announced."""


class BodyTooShort(BadBody):
    """Fewer bytes arrived than were announced."""


class BodyTooLong(BadBody):
    """More bytes arrived than were announced."""


class BodyMalformed(BadBody):
    """The framing of the body cannot be read; the text says where."""


class ClientGone(BadBody):
    """The client hung up in the middle of its body."""


class DigestMismatch(BadBody):
    """A digest of the body differs from the announced one.

    `algorithm` is `MD5` for Content-MD5, `X-SHA256` for the signed payload hash,
    otherwise the name of the checksum. Both digests are raw bytes.
    """

    def __init__(self, algorithm: str, announced: bytes, computed: bytes) -> None:
        super().__init__(algorithm)
        self.algorithm = algorithm
        self.announced = announced
        self.computed = computed


class ObjectTooLarge(BadBody):
    """The announced size in bytes passes the limit."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit


class SourceTooLarge(StrongroomError):
    """What is to be copied has more bytes than one copy may have."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit


class BadUpload(StrongroomError):
    """A multipart upload cannot be completed as asked."""


class InvalidPart(BadUpload):
    """A named part was not uploaded, or its ETag or checksum differs."""

    def __init__(self, number: int, etag: str = "") -> None:
        super().__init__(number)
        self.number = number
        self.etag = etag


class InvalidPartOrder(BadUpload):
    """Parts are not listed in ascending order."""


class PartTooSmall(BadUpload):
    """A part that is not the last has fewer bytes than the minimum."""

    def __init__(self, number: int, size: int, minimum: int, etag: str) -> None:
        super().__init__(number, size, minimum)
        self.number = number
        self.size = size
        self.minimum = minimum
        self.etag = etag


class PartChecksumMissing(BadUpload):
    """The upload's checksum is made of its parts', and a Complete gives none for a part."""

    def __init__(self, algorithm: str, number: int) -> None:
        super().__init__(algorithm, number)
        self.algorithm = algorithm
        self.number = number


class UploadSizeMismatch(BadUpload):
    """A Complete announces another size than its parts have, both in bytes."""

    def __init__(self, announced: int, size: int) -> None:
        super().__init__(announced, size)
        self.announced = announced
        self.size = size


class ChecksumTypeMismatch(BadUpload):
    """The upload was opened with another checksum algorithm or type; `expected` names it."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected, got)
        self.expected = expected
        self.got = got


class RangeNotSatisfiable(StrongroomError):
    """The range lies outside the object of `size` bytes; `asked` is the range as sent."""

    def __init__(self, size: int, asked: str) -> None:
        super().__init__(size)
        self.size = size
        self.asked = asked


class PartNotThere(StrongroomError):
    """The object has `count` parts that can be asked for, and `number` is not among them."""

    def __init__(self, number: int, count: int) -> None:
        super().__init__(number, count)
        self.number = number
        self.count = count


class InvalidBucketName(StrongroomError):
    """The name breaks the naming rules."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.bucket = bucket


class MalformedDocument(StrongroomError):
    """A document body does not parse, or passes a limit; the text says which."""


class MalformedPolicy(StrongroomError):
    """A policy document cannot be obeyed as it stands; the text says why, for its author."""


class MalformedValue(StrongroomError):
    """A value of the request cannot be what its place needs.

    The value is an attribute and not in the exception's text, so that a log of the
    text cannot show what a client put in the wrong place.

    Attributes:
        member: the name in the operation's params.
        wire_name: header, query parameter or element as it is on the wire.
        value: the text as sent.
        where: `header`, `query`, `body` or `reply`.
    """

    def __init__(self, member: str, wire_name: str, value: str, where: str) -> None:
        super().__init__(wire_name, where)
        self.member = member
        self.wire_name = wire_name
        self.value = value
        self.where = where


class MissingValue(StrongroomError):
    """The operation needs a value that the request does not bring; attributes as above."""

    def __init__(self, member: str, wire_name: str, where: str) -> None:
        super().__init__(wire_name, where)
        self.member = member
        self.wire_name = wire_name
        self.where = where


class StoreTrouble(StrongroomError):
    """The store itself fails."""


class BlobMissing(StoreTrouble):
    """A blob that the catalog names cannot be found; `place` says where it was looked for."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


class StoreFull(StoreTrouble):
    """No space left; nothing was acknowledged."""


class StoreLocked(StoreTrouble):
    """Another server holds the data directory; the text names it."""


class StoreFailed(StoreTrouble):
    """Disk or database answered with an error; nothing was acknowledged."""


class ClientTrouble(StrongroomError):
    """What only the client library says, to the program that uses it."""


class MalformedEnvelope(ClientTrouble):
    """The metadata of a client-side encrypted object contradict themselves or are not whole."""


class UnsupportedFormat(ClientTrouble):
    """A format, cipher or wrap that is unknown here, or that the caller does not allow."""


class NotSealed(UnsupportedFormat):
    """The object carries no envelope: it was never encrypted, or somebody stripped it."""


class KmsCallFailed(ClientTrouble):
    """A key management service refused or could not answer; `code` is its word for it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class SourceChanged(ClientTrouble):
    """What is transferred changed between an attempt and its continuation."""


class LostTrack(ClientTrouble):
    """A checkpoint cannot be continued: its upload is gone, or it is not one of ours."""
