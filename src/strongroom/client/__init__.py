"""client: encryption before anything leaves the machine; the server never has these keys.

Lives here: the formats of the vendors' clients and one of our own, the keys that open
them, and clients of S3 that use both. `open_sealed` reads one stored object; `seal` makes
one; `s3.EncryptedClient` does it around a boto3 client.
May import: `crypto` and `errors`; `s3` also boto3, which comes with the extra `client`.
Must not know: that a server of ours exists.
"""

from strongroom.client.keys import AesKey, KmsKey, RsaKey
from strongroom.client.kms import AlibabaKms, AwsKms
from strongroom.client.sealed import open_sealed, seal

__all__ = ["AesKey", "AlibabaKms", "AwsKms", "KmsKey", "RsaKey", "open_sealed", "seal"]
