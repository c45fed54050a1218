"""The data directory: its lock, and the secrets of its first start."""

import base64
import io
import json
import stat

import pytest

from strongroom import errors
from strongroom.server import app, home, observe, settings


@pytest.fixture
def log():
    return io.StringIO()


@pytest.fixture
def opened(tmp_path, log):
    def enter(**changes):
        chosen = settings.Settings(
            **({"data_dir": tmp_path / "data", "data_dir_given": True} | changes)
        )
        return home.opened(chosen, observe.reporter(log))

    return enter


def test_a_first_start_makes_directory_credentials_and_master_key(opened, tmp_path):
    with opened() as completed:
        table = json.loads((tmp_path / "data" / "root-credentials.json").read_bytes())
        key = base64.b64decode((tmp_path / "data" / "master.key").read_text())

        assert completed.root_access_key == table["access_key"]
        assert completed.root_secret_key.reveal().decode() == table["secret_key"]
        assert completed.master_key.reveal() == key
        assert len(key) == 32
        assert len(table["secret_key"]) == 40


def test_all_of_it_is_for_the_owner_only(opened, tmp_path):
    with opened():
        data = tmp_path / "data"
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in data.iterdir()}

    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert modes.pop("in-use.lock") == 0o600
    assert modes == {"lock": 0o600, "root-credentials.json": 0o600, "master.key": 0o600}


def test_the_next_start_reads_the_same(opened):
    with opened() as first:
        pass
    with opened() as second:
        assert second == first


def test_generated_secrets_are_not_logged(opened, log):
    with opened() as completed:
        said = log.getvalue()

    assert "credentials.generated" in said
    assert completed.root_access_key in said
    assert completed.root_secret_key.reveal().decode() not in said
    assert base64.b64encode(completed.master_key.reveal()).decode() not in said


def test_a_second_holder_is_told_who_holds_the_directory(opened, tmp_path):
    with opened(), pytest.raises(errors.StoreLocked, match=str(tmp_path)), opened():
        pass


def test_the_directory_is_free_again_afterwards(opened):
    for _ in range(2):
        with opened():
            pass


def test_given_secrets_are_not_written_down(opened, tmp_path):
    given = settings.load(
        {},
        {
            "STRONGROOM_ROOT_ACCESS_KEY": "root-user",
            "STRONGROOM_ROOT_SECRET_KEY": "hush-hush-hush",
            "STRONGROOM_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
        },
    )

    with opened(
        root_access_key=given.root_access_key,
        root_secret_key=given.root_secret_key,
        master_key=given.master_key,
    ):
        assert {p.name for p in (tmp_path / "data").iterdir()} == {home.LOCK, home.IN_USE}


def test_a_directory_in_use_gets_no_new_master_key(opened, tmp_path):
    with opened():
        pass
    (tmp_path / "data" / "catalog.sqlite").touch()
    (tmp_path / "data" / "master.key").unlink()

    with pytest.raises(errors.MasterKeyTrouble, match="restore the file"), opened():
        pass

    assert not (tmp_path / "data" / "master.key").exists()


def test_a_crash_before_the_first_object_does_not_lock_the_directory_out(opened, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / ".master.key.0123456789abcdef").write_bytes(b"half")
    (data / "tls").mkdir()

    with opened() as completed:
        assert completed.master_key is not None


@pytest.mark.parametrize("content", [b"", b"nonsense!", b"c2hvcnQ=", b"\xff\xfe"])
def test_a_malformed_master_key_refuses_to_start_and_stays(opened, tmp_path, content):
    with opened():
        pass
    path = tmp_path / "data" / "master.key"
    path.write_bytes(content)

    with pytest.raises(errors.MasterKeyTrouble, match=r"master\.key"), opened():
        pass

    assert path.read_bytes() == content


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"access_key": "a", "secret_key": 1}'])
def test_malformed_credentials_refuse_to_start(opened, tmp_path, content):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "root-credentials.json").write_text(content)

    with pytest.raises(app.StartRefused, match=r"root-credentials\.json"), opened():
        pass


def test_a_data_directory_that_is_a_file_is_refused(opened, tmp_path):
    (tmp_path / "data").touch()

    with pytest.raises(app.StartRefused, match="cannot be used"), opened():
        pass


def test_an_error_within_is_not_blamed_on_the_directory(opened):
    with pytest.raises(ConnectionError), opened():
        raise ConnectionError


def test_ephemeral_lives_in_a_directory_that_goes(opened):
    with opened(ephemeral=True, data_dir_given=False) as completed:
        held = completed.data_dir
        assert held.is_dir()
        assert not (held / "master.key").exists()
        assert completed.master_key is not None

    assert not held.exists()


def test_ephemeral_keeps_a_directory_that_was_given(opened, tmp_path):
    with opened(ephemeral=True):
        pass

    assert (tmp_path / "data" / "root-credentials.json").exists()


def test_inspecting_neither_makes_nor_holds_anything(opened, tmp_path):
    chosen = settings.Settings(data_dir=tmp_path / "data")
    with pytest.raises(app.StartRefused, match="no data directory"):
        home.inspected(chosen)
    with opened() as completed:
        assert home.inspected(chosen).master_key == completed.master_key
    (tmp_path / "data" / "master.key").unlink()

    with pytest.raises(errors.MasterKeyTrouble, match="restore the file"):
        home.inspected(chosen)


def test_commands_and_a_server_share_a_catalog_and_a_recovery_does_not(opened, tmp_path):
    data = tmp_path / "data"
    with (
        opened(),
        home.in_use(data),
        home.in_use(data),
        pytest.raises(errors.StoreLocked, match="Another command"),
        home.recovering(data),
    ):
        pass
    with home.recovering(data):
        with pytest.raises(errors.StoreLocked, match="being recovered"), home.in_use(data):
            pass
        with pytest.raises(errors.StoreLocked), opened():
            pass


def test_without_leave_to_write_a_command_says_so(tmp_path):
    with pytest.raises(app.StartRefused, match="cannot be used"), home.in_use(tmp_path / "none"):
        pass
