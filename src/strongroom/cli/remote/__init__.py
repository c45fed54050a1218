"""remote: what the commands do that talk to a store as a client of S3.

Lives here: where the store is, names of objects and files, transfers, progress.
May import: boto3 (where a client is made), `cli.failures`, `cli.keysources`, `server`, `crypto`.
Must not know: how options are declared.
"""
