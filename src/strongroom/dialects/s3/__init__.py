"""s3: Amazon S3's dialect.

Lives here: the vendored wire model and its corrections, routes, signatures,
facets (wire words to domain values and back), the table of faults, handlers.
May import: `dialects.pipeline`, `dialects.operation` and below.
Must not know: sockets, adapters, other dialects.
"""
