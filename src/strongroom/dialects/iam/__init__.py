"""dialects.iam: IAM's and STS's query API, on `POST /` of the S3 listener.

Lives here: which actions there are, what they need, how they are read and answered.
May import: `dialects.pipeline` and below, `access`, `service`, `wire`.
Must not know: other dialects; whose signature it is, it is told.
"""
