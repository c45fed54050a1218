"""alibaba: the KMS as Alibaba Cloud speaks it, RPC parameters under `Action`.

Lives here: the RPC signature, the table of faults, handlers.
May import: `dialects.kms.path`, `dialects.kms.services`, `dialects.operation` and below.
Must not know: sockets, adapters, the AWS dialect.
"""
