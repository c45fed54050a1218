"""server: the only place that knows everything.

Lives here: settings, the composition root (`build`), the ASGI adapter,
listeners with TLS, logs and metrics, background work.
May import: every room below.
Must not know: command-line syntax.
"""
