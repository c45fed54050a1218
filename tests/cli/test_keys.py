"""`strongroom keys`, and the sources that a customer key may come from."""

import base64
import hashlib
import json
import stat

import pytest

from strongroom.cli import failures, keysources
from strongroom.crypto import passphrase, secret

KEY = bytes(range(32))
WORDS = "six words that nobody else knows"
RECIPE = "$argon2id$v=19$m=19456,t=1,p=1$c3Ryb25ncm9vbS1zYWx0IQ"
DERIVED = passphrase.Recipe.parse(RECIPE).derive(secret.SecretKey(WORDS.encode())).reveal()
CHEAP = ("--memory-mib", "19", "--passes", "1", "--lanes", "1")


def md5(raw):
    return base64.b64encode(hashlib.md5(raw, usedforsecurity=False).digest()).decode()


def test_a_new_key_is_shown_in_hex_and_base64_with_its_md5(run):
    told = json.loads(run("keys", "new", "--json").output)

    raw = bytes.fromhex(told["hex"])
    assert len(raw) == 32
    assert told == {"hex": raw.hex(), "base64": base64.b64encode(raw).decode(), "md5": md5(raw)}


def test_no_two_new_keys_are_alike(run):
    assert run("keys", "new").output != run("keys", "new").output


@pytest.mark.parametrize("form", ["raw", "hex", "base64"])
def test_a_key_in_a_file_is_for_its_owner_and_not_printed(run, tmp_path, form):
    told = run("keys", "new", "--out", "k", "--format", form, "--json")

    key = keysources.parse((tmp_path / "k").read_bytes())
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert json.loads(told.output) == {"file": "k", "md5": md5(key.reveal())}
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize("command", ["new", "derive"])
def test_a_file_that_exists_is_never_written_over(run, tmp_path, command):
    (tmp_path / "k").write_bytes(KEY)

    told = run("keys", command, "--out", "k", env={"STRONGROOM_PASSPHRASE": WORDS})

    assert told.exit_code == 1
    assert "was left alone" in told.stderr
    assert (tmp_path / "k").read_bytes() == KEY
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_a_directory_that_is_not_there_is_a_sentence(run):
    told = run("keys", "new", "--out", "none/k")

    assert told.exit_code == 1
    assert told.stderr == "strongroom: none/k cannot be written (No such file or directory).\n"


def test_a_derived_key_comes_again_from_its_recipe(run, tmp_path):
    """S000.11."""
    env = {"STRONGROOM_PASSPHRASE": WORDS}

    first = json.loads(
        run("keys", "derive", *CHEAP, "--recipe-out", "recipe", "--json", env=env).output
    )
    by_file = json.loads(run("keys", "derive", "--recipe", "recipe", "--json", env=env).output)
    by_text = json.loads(
        run("keys", "derive", "--recipe", first["recipe"], "--json", env=env).output
    )

    assert first == by_file == by_text
    assert (tmp_path / "recipe").read_text() == first["recipe"] + "\n"
    assert (first["memory_kib"], first["passes"], first["lanes"]) == (19 * 1024, 1, 1)
    assert first["recipe"].endswith(
        base64.b64encode(bytes.fromhex(first["salt"])).decode().rstrip("=")
    )


@pytest.mark.parametrize("how", ["variable", "file", "prompt"])
def test_a_passphrase_may_come_from_three_places(run, tmp_path, how):
    args, kwargs = ["keys", "derive", "--recipe", RECIPE, "--json"], {}
    if how == "variable":
        kwargs["env"] = {"STRONGROOM_PASSPHRASE": WORDS}
    elif how == "file":
        (tmp_path / "words").write_text(WORDS + "\n")
        args += ["--passphrase-file", "words"]
    else:
        kwargs["input"] = f"{WORDS}\n"

    told = run(*args, **kwargs)

    assert json.loads(told.stdout)["hex"] == DERIVED.hex()
    assert WORDS not in told.output


def test_a_new_passphrase_is_asked_for_twice(run):
    slipped = run("keys", "derive", *CHEAP, input=f"{WORDS}\nanother\n")
    typed = run("keys", "derive", *CHEAP, input=f"{WORDS}\n{WORDS}\n")

    assert slipped.exit_code == 1
    assert "hex" not in slipped.stdout
    assert typed.exit_code == 0


def test_a_short_passphrase_is_warned_of(run):
    told = run("keys", "derive", *CHEAP, env={"STRONGROOM_PASSPHRASE": "short"})

    assert told.exit_code == 0
    assert "This passphrase is short" in told.stderr


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["--recipe", RECIPE, "--passes", "2"], 2, "for a new recipe"),
        (["--memory-mib", "1"], 2, "memory"),
        (["--recipe", "nowhere"], 1, "nowhere cannot be read"),
        (["--recipe", "$argon2id$nonsense"], 1, "no recipe"),
        (["--passphrase-file", "nowhere"], 1, "nowhere cannot be read"),
    ],
)
def test_a_slip_is_a_sentence(run, args, status, said):
    told = run("keys", "derive", *args)

    assert told.exit_code == status
    assert said in told.stderr


def test_an_empty_passphrase_is_refused(run):
    told = run("keys", "derive", *CHEAP, env={"STRONGROOM_PASSPHRASE": ""})

    assert told.exit_code == 1
    assert "empty" in told.stderr


def test_fingerprints_tell_keys_apart_and_stores_apart(run, store, tmp_path):
    (tmp_path / "one").write_bytes(KEY)
    (tmp_path / "other").write_bytes(KEY[::-1])
    where = ("--data-dir", str(store), "--json")
    elsewhere = {"STRONGROOM_MASTER_KEY": base64.b64encode(b"m" * 32).decode()}

    one, again, other = (
        json.loads(run("keys", "fingerprint", name, *where).output)["fingerprint"]
        for name in ("one", "file:one", "other")
    )
    refused = run("keys", "fingerprint", "one", *where, env=elsewhere)

    assert one == again != other
    assert len(bytes.fromhex(one)) == 16
    assert refused.exit_code == 1
    assert "not the one that this data directory was made with" in refused.stderr


# Sources


@pytest.mark.parametrize(
    "raw",
    [
        KEY,
        KEY.hex().encode(),
        KEY.hex().upper().encode() + b"\r\n",
        base64.b64encode(KEY),
        base64.b64encode(KEY) + b"\n",
    ],
    ids=["raw", "hex", "hex-line", "base64", "base64-line"],
)
def test_a_key_is_read_from_bytes_hex_and_base64(raw):
    assert keysources.parse(raw) == secret.SecretKey(KEY)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        KEY[:31],
        KEY + b"\n",
        KEY.hex().encode()[:-1],
        b" " + KEY.hex().encode(),
        base64.b64encode(KEY)[:-1],
        base64.b64encode(KEY + b"more"),
        KEY.hex().encode() + b"\n\n",
    ],
)
def test_what_is_no_key_is_not_guessed_at(raw):
    assert keysources.parse(raw) is None


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}", "fileb://{}"])
def test_a_source_may_be_a_file(tmp_path, form):
    (tmp_path / "k").write_bytes(KEY)

    assert keysources.read(form.format(tmp_path / "k"), {}) == secret.SecretKey(KEY)


def test_a_source_may_be_a_variable():
    environ = {"NAME": base64.b64encode(KEY).decode()}

    assert keysources.read("env:NAME", environ) == secret.SecretKey(KEY)


@pytest.mark.parametrize("where", ["text", "file"])
def test_a_source_may_be_a_passphrase(tmp_path, where):
    (tmp_path / "recipe").write_text(RECIPE + "\n")
    source = RECIPE if where == "text" else tmp_path / "recipe"

    found = keysources.read(f"passphrase:{source}", {"STRONGROOM_PASSPHRASE": WORDS})

    assert found.reveal() == DERIVED


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("env:NONE", "NONE is not set"),
        ("env:BAD", "BAD holds no key"),
        ("no-file", "no-file cannot be read"),
        ("a\0b", "no file has such a name"),
        ("passphrase:nowhere", "nowhere cannot be read"),
    ],
)
def test_a_source_that_gives_no_key_says_which(source, said):
    with pytest.raises(failures.Failed, match=said) as raised:
        keysources.read(source, {"BAD": "sesame"})

    assert "sesame" not in str(raised.value)


@pytest.mark.parametrize("text", [KEY.hex(), base64.b64encode(KEY).decode(), "k" * 32])
def test_a_key_on_the_command_line_is_refused_and_not_repeated(text):
    with pytest.raises(failures.Failed, match="on the command line") as raised:
        keysources.read(text, {})

    assert text not in str(raised.value)
