"""console: a page for people, which does nothing that S3 cannot.

Lives here: static files, and the headers that keep what is stored apart from them. There is no
session: the page signs each request in the browser and sends it to S3, which the console's
listener serves beside it. So the server learns no password here, and what the console may do
is what the access key may do.
May import: `wire`.
Must not know: dialects, services, the store.
"""
