"""formats: how each client lays an object and its envelope down.

Lives here: one module a family of formats, each with `unlock` (envelope and keys to
content) and, where we write it, `lock`.
May import: `crypto`, `errors`, and the modules of `client` that know no format.
Must not know: boto3, files, where bytes come from.
"""
