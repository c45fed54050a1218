"""A page of another origin, in a browser: presigned URLs and forms, with a customer key.

S002.20, S002.22, S002.35, from where they are used most.
"""

import contextlib
import http.server
import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).parent))
import chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no chromium on this machine"),
]

PAGE = """<!doctype html><meta charset="utf-8"><title>page</title>
<iframe name="inner"></iframe>
<script>
const plan = PLAN;
async function ask(name, url, options) {
  try {
    const answer = await fetch(url, options);
    return {status: answer.status, etag: answer.headers.get("etag"),
            type: answer.headers.get("content-type"), text: await answer.text()};
  } catch (error) {
    return {error: error.name};
  }
}
function form(fields, content) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  data.append("file", new File([content], "a b.txt"));
  return data;
}
async function main() {
  const told = {};
  for (const [name, url, options] of plan.fetches) {
    if (options.fields) {
      options.body = form(options.fields, "from a form");
      delete options.fields;
    }
    told[name] = await ask(name, url, options);
  }
  await fetch("/told", {method: "POST", body: JSON.stringify(told)});
  const real = document.createElement("form");
  Object.assign(real, {action: plan.form.url, method: "post", enctype: "multipart/form-data",
                       target: "inner"});
  for (const [name, value] of Object.entries(plan.form.fields)) {
    const field = document.createElement("input");
    Object.assign(field, {type: "hidden", name, value});
    real.append(field);
  }
  const chosen = document.createElement("input");
  Object.assign(chosen, {type: "file", name: "file"});
  const files = new DataTransfer();
  files.items.add(new File(["from a page"], "ü.txt"));
  chosen.files = files.files;
  const button = document.createElement("input");
  Object.assign(button, {type: "submit", name: "sent", value: "Send"});
  real.append(chosen, button);
  document.body.append(real);
  real.requestSubmit(button);
}
main();
</script>"""


class Page:
    """A web server with one page, which tells back what it saw."""

    def __init__(self):
        self.html = b""
        self.told = queue.Queue()
        page = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, body=b""):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                parts = urlsplit(self.path)
                if parts.path == "/done":
                    page.told.put(("done", parse_qs(parts.query)))
                self.answer(page.html if parts.path == "/" else b"")

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                page.told.put(("told", json.loads(body)))
                self.answer()

            def log_message(self, *_args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def page():
    with contextlib.closing(Page()) as serving:
        yield serving


@pytest.fixture
def browse(tmp_path):
    """Open a page in a browser that is ended after the test."""
    running = []

    def opened(url):
        command = [*chromium.HEADLESS, f"--user-data-dir={tmp_path / 'profile'}", url]
        running.append(
            subprocess.Popen(  # noqa: S603 - the machine's own browser
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )

    yield opened
    for process in running:
        process.terminate()
        process.wait(chromium.PATIENCE_S)


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_page_uploads_and_downloads_under_a_customer_key(
    server, s3, bucket, new_name, key, page, browse, version
):
    private = new_name()
    s3.create_bucket(Bucket=private)
    s3.put_object(Bucket=private, Key="k", Body=b"x")
    rule = {
        "AllowedOrigins": [page.origin],
        "AllowedMethods": ["GET", "PUT", "POST"],
        "AllowedHeaders": ["x-amz-server-side-encryption-customer-*", "content-type"],
        "ExposeHeaders": ["ETag"],
    }
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    client = server.boto3_client(config=Config(signature_version=version))
    algorithm = {"SSECustomerAlgorithm": "AES256"}
    triple = key.headers()
    fields = {name.lower(): text for name, text in triple.items()}

    def url(operation, name, within=bucket, **params):
        return client.generate_presigned_url(operation, {"Bucket": within, "Key": name, **params})

    def form(name, **further):
        sent = fields | further
        conditions = [{field: text} for field, text in sent.items()] + [{"sent": "Send"}]
        return client.generate_presigned_post(bucket, name, Fields=sent, Conditions=conditions)

    by_form = form("by-form/${filename}", sent="Send")
    by_page = client.generate_presigned_post(
        bucket,
        "by-page",
        Fields=fields | {"success_action_redirect": f"{page.origin}/done?a=b"},
        Conditions=[
            *({field: text} for field, text in fields.items()),
            ["starts-with", "$success_action_redirect", page.origin],
        ],
    )
    plan = {
        "fetches": [
            (
                "put",
                url("put_object", "k", ContentType="text/x", **algorithm),
                {"method": "PUT", "headers": {**triple, "content-type": "text/x"}, "body": "hällo"},
            ),
            ("get", url("get_object", "k", **algorithm), {"headers": triple}),
            ("bare", url("get_object", "k"), {}),
            ("form", by_form["url"], {"method": "POST", "fields": by_form["fields"]}),
            ("got", url("get_object", "by-form/a b.txt", **algorithm), {"headers": triple}),
            ("header", url("get_object", "k"), {"headers": {"x-other": "1"}}),
            ("private", url("get_object", "k", private), {}),
        ],
        "form": by_page,
    }
    page.html = PAGE.replace("PLAN", json.dumps(plan)).encode()

    browse(f"{page.origin}/")
    _, told = page.told.get(timeout=chromium.PATIENCE_S)
    _, done = page.told.get(timeout=chromium.PATIENCE_S)
    client.close()

    assert told["put"]["status"] == 200, told
    assert told["put"]["etag"]
    assert told["get"] == told["get"] | {"status": 200, "type": "text/x", "text": "hällo"}
    assert told["bare"]["status"] == 400
    assert "InvalidRequest" in told["bare"]["text"]
    assert told["form"]["status"] == 204, told
    assert told["got"] == told["got"] | {"status": 200, "text": "from a form"}
    assert told["header"] == {"error": "TypeError"}
    assert told["private"] == {"error": "TypeError"}
    stored = s3.get_object(Bucket=bucket, Key="by-page", **key.options)
    assert stored["Body"].read() == b"from a page"
    assert done == {"a": ["b"], "bucket": [bucket], "key": ["by-page"], "etag": [stored["ETag"]]}
