"""kms: the two dialects of the key management service, AWS's and Alibaba's.

Lives here: what both share (`path`, `services`), which of them a request is
(`listener`), and a package for each: signature, codec, faults, handlers.
May import: `dialects.pipeline`, `dialects.operation` and below.
Must not know: sockets, adapters, other dialects; the two know nothing of each other.
"""
