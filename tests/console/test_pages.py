"""The console's files, and what keeps stored pages apart from them."""

import pytest

from strongroom.console import pages
from strongroom.wire import message

REGION = 'moon"><script>'


@pytest.fixture(scope="module")
def served():
    return pages.Pages(REGION)


def request(path, method="GET", headers=(), query=b""):
    return message.Request(method, path, query, list(headers), body=None, secure=True)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        (b"", b"text/html; charset=utf-8"),
        (b"console.js", b"text/javascript; charset=utf-8"),
        (b"store.js", b"text/javascript; charset=utf-8"),
        (b"sign.js", b"text/javascript; charset=utf-8"),
        (b"console.css", b"text/css; charset=utf-8"),
        (b"door.svg", b"image/svg+xml"),
    ],
)
def test_a_file_has_its_type_and_a_policy_that_lets_only_own_scripts_run(
    served, name, content_type
):
    answer = served.answer(request(pages.ROOT + name))
    headers = dict(answer.headers)

    assert answer.status == 200
    assert headers[b"content-type"] == content_type
    assert int(headers[b"content-length"]) == len(answer.body) > 0
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'; script-src 'self';")
    assert b"unsafe" not in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_the_region_is_in_the_page_as_text(served):
    page = served.answer(request(pages.ROOT)).body

    assert b'content="moon&quot;&gt;&lt;script&gt;"' in page
    assert b"{{" not in page


def test_a_head_has_the_length_and_no_body(served):
    whole = served.answer(request(pages.ROOT))
    head = served.answer(request(pages.ROOT, "HEAD"))

    assert (head.headers, head.body) == (whole.headers, b"")


def test_the_bare_address_leads_to_the_page(served):
    answer = served.answer(request(b"/"))

    assert (answer.status, dict(answer.headers)[b"location"]) == (303, pages.ROOT)


@pytest.mark.parametrize(
    "asked",
    [
        request(b"/", headers=[(b"authorization", b"AWS4-HMAC-SHA256 Credential")]),
        request(b"/", query=b"X-Amz-Signature=0"),
        request(b"/", "POST"),
        request(b"/attic"),
        request(b"/attic/-/console/console.js"),
        request(b"/-/console"),
    ],
    ids=["signed", "presigned", "post", "bucket", "object", "no-slash"],
)
def test_everything_else_is_for_s3(served, asked):
    assert served.answer(asked) is None


@pytest.mark.parametrize("name", [b"nothing.js", b"../pages.py", b"%2e%2e/pages.py", b"index.html"])
def test_there_are_no_other_files(served, name):
    assert served.answer(request(pages.ROOT + name)).status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_files_are_read_only(served, method):
    assert served.answer(request(pages.ROOT, method)).status == 405


def test_an_answer_of_s3_is_a_page_of_another_origin(served):
    stored = message.Response(200, [(b"content-type", b"text/html")], b"<script>")

    confined = served.confine(stored)

    assert confined.headers[: len(stored.headers)] == stored.headers
    assert dict(confined.headers)[b"content-security-policy"] == b"sandbox"
    assert (confined.status, confined.body) == (200, b"<script>")
