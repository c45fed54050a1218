"""connectors: masters elsewhere, one module each, behind `keyring.masters.MasterKeys`.

Lives here: HashiCorp Vault or OpenBao (`vault`), AWS KMS (`aws`), PKCS #11 (`pkcs11`),
KMIP (`kmip`), and how long and how often they are asked (`attempts`). Each needs the
extra of its name, and imports that package when it is made.
May import: `keyring`, `crypto`, `errors`, and the one client package.
Must not know: the store, requests, each other.
"""
