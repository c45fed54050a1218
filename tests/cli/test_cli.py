"""The command line: exit statuses, and what people and scripts read."""

import json
import os
import subprocess
import sys

import click
import click.testing
import pytest

from strongroom import cli


def test_help_names_every_option_that_is_served_and_its_variable(run):
    told = run("serve", "--help")

    assert told.exit_code == 0
    for option in (
        "--data-dir",
        "--listen",
        "--http-listen",
        "--metrics-listen",
        "--trusted-proxy",
        "--tls-cert",
        "--tls-key",
        "--workers",
        "--ephemeral",
        "--domain",
        "--region",
        "--sse-c-default",
        "--acl-default",
        "--public-access-default",
        "--signature-v2",
        "--fingerprints",
        "--config",
    ):
        assert option in told.output
    assert "STRONGROOM_MASTER_KEY" in told.output
    assert "--oss-listen" not in told.output


@pytest.mark.parametrize(
    "args",
    [
        ["--ephemeral", "--workers", "2"],
        ["--listen", "nonsense"],
        ["--oss-listen", ":0"],
        ["--database-url", "postgresql://h/d"],
        ["--no-such-option"],
        ["--tls-cert", "only.pem"],
    ],
)
def test_a_slip_in_the_options_is_status_2_and_starts_nothing(run, tmp_path, args):
    told = run("serve", *args)

    assert told.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_served_is_said_so(run):
    assert "does not serve the OSS dialect yet" in run("serve", "--oss-listen", ":0").stderr


def test_a_command_that_does_not_exist_is_status_2(run):
    assert run("frobnicate").exit_code == 2


def test_version_is_text_or_json(run):
    assert run("version").output.startswith("strongroom ")
    assert set(json.loads(run("version", "--json").output)) == {
        "strongroom",
        "python",
        "cryptography",
        "openssl",
    }


def test_a_user_is_added_listed_and_removed(run, store):
    where = ("--data-dir", str(store))

    added = json.loads(run("admin", "user", "add", "ada", "--json", *where).output)
    listed = json.loads(run("admin", "user", "list", "--json", *where).output)
    removed = run("admin", "user", "remove", "ada", *where)
    left = json.loads(run("admin", "user", "list", "--json", *where).output)

    assert added["name"] == "ada"
    assert len(added["user_id"]) == 64
    assert added["access_key"]
    assert len(added["secret_key"]) >= 40
    assert [one["user_id"] for one in listed] == [added["user_id"]]
    assert removed.exit_code == 0
    assert left == []


def test_an_identity_provider_is_believed_and_believed_no_more(run, store):
    where = ("--data-dir", str(store))
    url = "https://issuer.example/realm"
    add = ("admin", "oidc", "add", url, "--client-id", "a", "--client-id", "b", *where)

    arn = json.loads(run(*add, "--json").output)["arn"]
    twice = run(*add)
    listed = json.loads(run("admin", "oidc", "list", "--json", *where).output)
    removed = run("admin", "oidc", "remove", url, *where)
    again = run("admin", "oidc", "remove", url, *where)

    assert arn.endswith(":oidc-provider/issuer.example/realm")
    assert listed == [{"url": url, "arn": arn, "clients": "a,b"}]
    assert (twice.exit_code, removed.exit_code, again.exit_code) == (1, 0, 1)
    assert "already a oidc-provider" in twice.stderr
    assert "There is no oidc-provider 'issuer.example/realm'" in again.stderr
    assert run("admin", "oidc", "list", *where).output == ""


def test_an_identity_provider_may_belong_to_another_account(run, store):
    where = ("--data-dir", str(store))
    add = ("admin", "oidc", "add", "https://issuer.example", "--client-id", "a", *where)
    run("admin", "user", "add", "ada", *where)

    nobody = run(*add, "--account", "bob")
    added = run(*add, "--account", "ada")

    assert "There is no user 'bob'" in nobody.stderr
    assert added.exit_code == 0
    assert run("admin", "oidc", "list", *where).output == ""
    assert "issuer.example" in run("admin", "oidc", "list", "--account", "ada", *where).output


def test_access_keys_are_rotated(run, store):
    where = ("--data-dir", str(store))
    first = json.loads(run("admin", "user", "add", "ada", "--json", *where).output)

    second = json.loads(run("admin", "key", "add", "ada", "--json", *where).output)
    too_many = run("admin", "key", "add", "ada", *where)
    disabled = run("admin", "key", "disable", first["access_key"], *where)
    listed = json.loads(run("admin", "key", "list", "ada", "--json", *where).output)

    assert len(second["secret_key"]) >= 40
    assert (too_many.exit_code, disabled.exit_code) == (1, 0)
    assert {one["access_key"]: one["status"] for one in listed} == {
        first["access_key"]: "inactive",
        second["access_key"]: "active",
    }
    assert run("admin", "key", "enable", first["access_key"], *where).exit_code == 0
    assert run("admin", "key", "remove", first["access_key"], *where).exit_code == 0
    shown = run("admin", "key", "list", "ada", *where).output
    assert second["access_key"] in shown
    assert second["secret_key"] not in shown
    assert first["access_key"] not in shown


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["list", "nobody"], "There is no user 'nobody'"),
        (["add", "root"], "There is no user 'root'"),
        (["add", "root/nobody"], "There is no user 'nobody'"),
        (["disable", "NOKEY"], "There is no access key 'NOKEY'"),
        (["remove", "NOKEY"], "There is no access key 'NOKEY'"),
    ],
)
def test_keys_of_nobody_are_told_to_be_nobodys(run, store, args, text):
    told = run("admin", "key", *args, "--data-dir", str(store))

    assert told.exit_code == 1
    assert text in told.stderr


def test_a_secret_is_printed_once_and_never_listed(run, store):
    where = ("--data-dir", str(store))

    added = run("admin", "user", "add", "ada", *where)
    listed = run("admin", "user", "list", *where)

    secret = added.output.split("secret key  ")[1].strip()
    assert secret not in listed.output
    assert "ada" in listed.output


@pytest.mark.parametrize("how", ["option", "variable", "prompt"])
def test_a_secret_may_be_chosen(run, store, how):
    args = [
        "admin",
        "user",
        "add",
        "ada",
        "--access-key",
        "adakey",
        "--json",
        "--data-dir",
        str(store),
    ]
    kwargs = {}
    if how == "option":
        args += ["--secret-key", "chosen-secret"]
    elif how == "variable":
        kwargs["env"] = {"STRONGROOM_USER_SECRET_KEY": "chosen-secret"}
    else:
        args += ["--secret-key", "-"]
        kwargs["input"] = "chosen-secret\nchosen-secret\n"

    told = run(*args, **kwargs)

    table = json.loads(told.stdout.splitlines()[-1])
    assert (table["access_key"], table["secret_key"]) == ("adakey", "chosen-secret")


def test_a_name_that_is_taken_is_a_sentence_and_status_1(run, store):
    where = ("--data-dir", str(store))
    run("admin", "user", "add", "ada", *where)

    again = run("admin", "user", "add", "ada", *where)

    assert again.exit_code == 1
    assert again.stderr == (
        "strongroom: The user or access key 'ada' exists already; choose another.\n"
    )


def test_a_user_who_is_not_there_is_a_sentence_and_status_1(run, store):
    told = run("admin", "user", "remove", "nobody", "--data-dir", str(store))

    assert told.exit_code == 1
    assert "'nobody'" in told.stderr


def test_a_data_directory_that_is_not_there_is_not_made(run, tmp_path):
    told = run("admin", "user", "list", "--data-dir", str(tmp_path / "none"))

    assert told.exit_code == 1
    assert "There is no data directory" in told.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "args", [["--access-key", "a b"], ["--secret-key", "short"]], ids=["access", "secret"]
)
def test_keys_that_cannot_be_used_are_status_2(run, store, args):
    told = run("admin", "user", "add", "ada", *args, "--data-dir", str(store))

    assert told.exit_code == 2
    assert told.stderr.startswith("strongroom: ")
    assert args[1] not in told.stderr


def test_the_module_runs_as_a_program():
    ended = subprocess.run(
        [sys.executable, "-m", "strongroom.cli", "version", "--json"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=60,
        check=True,
    )

    assert json.loads(ended.stdout)["strongroom"]


def test_doctor_finds_nothing_wrong_with_a_fresh_store(run, store):
    text = run("doctor", "--data-dir", str(store))
    found = [
        json.loads(line)
        for line in run("doctor", "--data-dir", str(store), "--json").stdout.splitlines()
    ]

    assert text.exit_code == 0
    assert {one["status"] for one in found} <= {"ok", "warn"}
    assert all(one["check"] in text.stdout for one in found)


def test_doctor_fails_where_something_does(run, store):
    (store / "master.key").chmod(0o644)

    told = run("doctor", "--data-dir", str(store))

    assert told.exit_code == 1
    assert f"chmod 600 {store}/master.key" in told.stdout


def test_every_command_is_found_under_its_name_and_says_what_it_does():
    context = click.Context(cli.main)

    for name in cli.COMMANDS:
        command = cli.main.get_command(context, name)
        assert command.name == name
        assert command.hidden or command.get_short_help_str()


def test_a_command_that_does_not_exist_is_a_usage_error():
    outcome = click.testing.CliRunner().invoke(cli.main, ["sing"])

    assert outcome.exit_code == 2
    assert "No such command 'sing'" in outcome.output


def test_asking_for_the_version_does_not_load_the_server():
    code = (
        "import sys; from strongroom import cli; cli.main(['version'], standalone_mode=False);"
        "print([name for name in ('granian', 'alembic', 'boto3', 'awscrt') if name in sys.modules])"
    )
    printed = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert printed.splitlines()[-1] == "[]"
