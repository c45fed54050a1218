# /// script
# requires-python = ">=3.11"
# dependencies = ["oss2==2.19.1", "setuptools<81"]
# ///
"""oss2 2.19: what its CryptoBucket writes ours opens, and the other way round.

Against a stand-in: no OSS dialect is served yet.
"""

import oss_crypto

oss_crypto.run()
