"""wire: the syntax that all dialects share.

Lives here: request and response values, the model-driven codec, XML bodies,
the aws-chunked decoder.
May import: `errors`.
Must not know: sockets, clocks, the store, what an operation means.
"""
