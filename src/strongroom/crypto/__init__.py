"""crypto: bytes in, bytes out.

Lives here: sealing and opening of streams, envelopes and body records; key
derivation; the injective encoding; lengths and ranges; digests.
May import: `errors`, `cryptography`, `awscrt.checksums`.
Must not know: where a key came from, files, sockets, clocks, settings, logs.
"""
