"""aws: the KMS as AWS speaks it, JSON 1.1 under `X-Amz-Target`.

Lives here: the vendored wire model, Signature Version 4 for JSON services, the table of
faults, handlers.
May import: `dialects.kms.path`, `dialects.kms.services`, `dialects.operation` and below.
Must not know: sockets, adapters, the Alibaba dialect.
"""
