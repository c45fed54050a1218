# /// script
# requires-python = ">=3.11"
# dependencies = ["oss2==2.10.0", "setuptools<81"]
# ///
"""oss2 2.10: what its CryptoBucket writes ours opens, and the other way round.

Against a stand-in: no OSS dialect is served yet.
"""

import oss_crypto

oss_crypto.run()
