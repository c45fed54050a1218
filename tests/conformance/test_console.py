"""The web console: in a browser, and what its listener answers to others."""

import base64
import contextlib
import hashlib
import json
import sys
from pathlib import Path

import pytest
import urllib3

sys.path.insert(0, str(Path(__file__).parent))
import chromium

from strongroom.testing import Strongroom

KEY = b"k" * 32
UNDER_KEY = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
BODY = b"as it was"

STEPS = """
const $ = (selector) => document.querySelector(selector);
const until = async (what) => {
  for (let turn = 0; turn < 6000; turn++) {
    const found = what();
    if (found && !document.body.hasAttribute("aria-busy")) return found;
    await new Promise((go) => setTimeout(go, 10));
  }
  throw new Error("never: " + what);
};
const named = (text) => () =>
  Array.from(document.querySelectorAll("main button.link")).find((one) => one.textContent === text);
const submit = (form, fields) => {
  for (const [name, value] of Object.entries(fields)) $(form)[name].value = value;
  $(form).requestSubmit();
};
const told = () => $("p.told").textContent;
"""


@pytest.fixture(scope="module")
def server():
    with Strongroom(console=True) as running:
        yield running


@pytest.fixture
def browser(server, tmp_path):
    if chromium.PROGRAM is None:
        pytest.skip("there is no chromium on this machine")
    with contextlib.closing(chromium.Chromium(server.console_url, tmp_path)) as opened:
        yield opened


@pytest.fixture
def bucket(server, request):
    name = "console-" + hashlib.md5(request.node.name.encode()).hexdigest()[:8]  # noqa: S324 - a name
    client = server.boto3_client()
    client.create_bucket(Bucket=name)
    return client, name


def sign_in(browser, server, bucket):
    fields = json.dumps({"access": server.access_key, "secret": server.secret_key})
    browser.run(f"""{STEPS}
        submit("#sign-in", {fields});
        (await until(named("{bucket}"))).click();
        await until(() => !$("#folder").hidden);""")


@pytest.mark.slow
def test_a_person_uploads_looks_changes_downloads_and_deletes(browser, server, bucket):
    client, name = bucket
    client.put_object(Bucket=name, Key="a folder/ü + 'x'.txt", Body=b"nested")
    sign_in(browser, server, name)

    seen = browser.run(f"""{STEPS}
        const files = new DataTransfer();
        files.items.add(new File(["{BODY.decode()}"], "diary & 100%.txt", {{type: "text/plain"}}));
        $("#upload").files.files = files.files;
        $("#upload").requestSubmit();
        (await until(named("diary & 100%.txt"))).click();
        await until(() => $("#object").open);
        const facts = $("#object dl").textContent;
        submit("#describe", {{type: "text/markdown", metadata: "mood: good"}});
        await until(() => told() === "Saved.");
        $("#download").click();
        return facts;""")
    done = browser.event("Browser.downloadProgress", lambda told: told["state"] != "inProgress")

    assert "text/plain" in seen
    assert "AES256" in seen
    assert done["state"] == "completed"
    assert [file.read_bytes() for file in browser.downloads.iterdir()] == [BODY]
    stored = client.get_object(Bucket=name, Key="diary & 100%.txt")
    assert stored["Body"].read() == BODY
    assert (stored["ContentType"], stored["Metadata"]) == ("text/markdown", {"mood": "good"})

    browser.run(f"""{STEPS}
        confirm = () => true;
        $("#remove").click();
        await until(() => !$("#object").open && !named("diary & 100%.txt")());
        (await until(named("a folder/"))).click();
        (await until(named("ü + 'x'.txt"))).click();
        await until(() => $("#object").open);""")
    listed = client.list_objects_v2(Bucket=name)["Contents"]
    assert [row["Key"] for row in listed] == ["a folder/ü + 'x'.txt"]


@pytest.mark.slow
def test_an_object_under_a_customer_key_is_shown_and_what_cannot_be_done_is_said(
    browser, server, bucket
):
    """S002.30, S003.22, S003.23."""
    client, name = bucket
    client.put_object(Bucket=name, Key="vault", Body=BODY, **UNDER_KEY)
    sign_in(browser, server, name)

    seen = browser.run(f"""{STEPS}
        const note = $("#no-sse-c").checkVisibility() && $("#no-sse-c").textContent;
        (await until(named("vault"))).click();
        await until(() => $("#object").open);
        return {{note, locked: $("#locked").checkVisibility() && $("#locked").textContent,
                 describe: $("#describe").checkVisibility(), download: $("#download").disabled,
                 told: told()}};""")

    assert "cannot upload under a key of yours (SSE-C)" in " ".join(seen["note"].split())
    said = " ".join(seen["locked"].split())
    assert "encrypted under a key that its owner keeps (SSE-C)" in said
    for what in ("download", "metadata", "storage class", "strongroom cp --sse-c-key"):
        assert what in said
    assert (seen["describe"], seen["download"], seen["told"]) == (False, True, "")
    kept = client.get_object(Bucket=name, Key="vault", **UNDER_KEY)
    assert kept["Body"].read() == BODY


@pytest.mark.slow
def test_an_error_is_told_in_the_stores_words(browser, server):
    fields = json.dumps({"access": server.access_key, "secret": "wrong"})

    told = browser.run(f"""{STEPS}
        submit("#sign-in", {fields});
        await until(told);
        return [told(), $("#buckets").hidden];""")

    assert told[0].startswith("The request signature we calculated does not match")
    assert told[1] is True


@pytest.mark.slow
def test_a_stored_page_runs_no_script_beside_the_console(browser, server, bucket):
    client, name = bucket
    page = b"<title>still</title><script>document.title = 'ran'</script>"
    client.put_object(Bucket=name, Key="trap.html", Body=page, ContentType="text/html")
    there = client.generate_presigned_url("get_object", {"Bucket": name, "Key": "trap.html"})
    own = server.boto3_client(endpoint_url=server.console_url)
    here = own.generate_presigned_url("get_object", {"Bucket": name, "Key": "trap.html"})

    titles = []
    for url in (there, here):
        browser.ask("Page.navigate", url=url)
        browser.event("Page.loadEventFired")
        titles.append(browser.run("return document.title;"))

    assert titles == ["ran", "still"]


def get(server, url):
    with urllib3.PoolManager(ca_certs=server.ca_bundle) as pool:
        return pool.request("GET", url)


def test_the_listener_serves_s3_too_and_a_bare_address_is_led_to_the_page(server):
    page = get(server, server.console_url + "/")
    client = server.boto3_client(endpoint_url=server.console_url)
    client.create_bucket(Bucket="beside")

    client.put_object(Bucket="beside", Key="k", Body=BODY, **UNDER_KEY)

    assert page.url == "/-/console/"
    assert b"<title>strongroom</title>" in page.data
    assert client.get_object(Bucket="beside", Key="k", **UNDER_KEY)["Body"].read() == BODY
    assert get(server, server.console_url + "/-/health/live").status == 200


def test_other_listeners_have_no_console(server):
    told = get(server, server.endpoint_url + "/-/console/")

    assert told.status == 404
    assert b"NoSuchBucket" in told.data


def test_no_customer_key_is_in_what_the_console_may_send():
    """It knows none of the three headers: what it cannot send, it cannot leak."""
    static = Path(sys.modules["strongroom"].__file__).parent / "console" / "static"

    for file in static.glob("*.js"):
        assert "customer-key" not in file.read_text().lower()
        assert base64.b64encode(KEY).decode() not in file.read_text()
