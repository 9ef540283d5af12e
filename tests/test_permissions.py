import logging
import os
import stat
from pathlib import Path

import pytest

from exporter.configuration.loading import parse_configuration
from exporter.credentials import admin_key_source
from exporter.ledger.store import Store
from exporter.permissions import Permissions, PermissionWatch, Person, Use, excesses, remedy, this_process

OWN_GROUP, OTHER_GROUP, ROOT = 1000, 44, 0
USER = 1000


def found(mode: int, *, group: int = OWN_GROUP, owner: int = USER, kind: int = stat.S_IFREG) -> Permissions:
    return Permissions(kind | mode, owner, group)


@pytest.mark.parametrize(
    ("use", "permissions"),
    [
        pytest.param(Use.SECRET, found(0o600), id="as it should be"),
        pytest.param(Use.SECRET, found(0o400, owner=ROOT), id="systemd's credentials"),
        pytest.param(Use.SECRET, found(0o440, owner=ROOT, group=ROOT), id="systemd's credentials with an access list"),
        pytest.param(Use.SECRET, found(0o440, owner=ROOT), id="a secret of Kubernetes with fsGroup"),
        pytest.param(Use.SECRET, found(0o640, owner=ROOT), id="root's file for a service's group"),
        pytest.param(Use.SECRET, found(0o666, kind=stat.S_IFIFO), id="a pipe from another program"),
        pytest.param(Use.SECRET, found(0o666, kind=stat.S_IFCHR), id="a device"),
        pytest.param(Use.STATE, found(0o600), id="as the exporter makes it"),
        pytest.param(Use.STATE, found(0o660), id="a volume of Kubernetes with fsGroup"),
        pytest.param(Use.STATE_FOLDER, found(0o700, kind=stat.S_IFDIR), id="the folder as the exporter makes it"),
        pytest.param(Use.STATE_FOLDER, found(0o755, kind=stat.S_IFDIR), id="a folder that mkdir made"),
        pytest.param(Use.STATE_FOLDER, found(0o2775, owner=ROOT, kind=stat.S_IFDIR), id="the root of such a volume"),
        pytest.param(Use.OPEN, found(0o644, owner=ROOT, group=ROOT), id="a ConfigMap"),
        pytest.param(Use.OPEN, found(0o664), id="a checkout where each user has a group"),
    ],
)
def test_what_is_usual_is_not_loose(use: Use, permissions: Permissions) -> None:
    assert excesses(permissions, use, {OWN_GROUP}) == []


@pytest.mark.parametrize(
    ("use", "permissions", "told"),
    [
        (Use.SECRET, found(0o604), ["everybody may read it"]),
        (Use.SECRET, found(0o644), ["everybody may read it"]),
        (Use.SECRET, found(0o602), ["everybody may change it"]),
        (Use.SECRET, found(0o666), ["everybody may change it", "everybody may read it"]),
        (Use.SECRET, found(0o660), [f"group {OWN_GROUP} may change it"]),
        (Use.SECRET, found(0o640, group=OTHER_GROUP), [f"group {OTHER_GROUP} may read it"]),
        (
            Use.SECRET,
            found(0o660, group=OTHER_GROUP),
            [f"group {OTHER_GROUP} may change it", f"group {OTHER_GROUP} may read it"],
        ),
        (Use.SECRET, found(0o620, group=ROOT), [f"group {ROOT} may change it"]),
        (Use.STATE, found(0o644), ["everybody may read it"]),
        (
            Use.STATE,
            found(0o660, group=OTHER_GROUP),
            [f"group {OTHER_GROUP} may change it", f"group {OTHER_GROUP} may read it"],
        ),
        (Use.STATE_FOLDER, found(0o777, kind=stat.S_IFDIR), ["everybody may change it"]),
        (Use.STATE_FOLDER, found(0o1777, kind=stat.S_IFDIR), ["everybody may change it"]),
        (Use.STATE_FOLDER, found(0o775, group=OTHER_GROUP, kind=stat.S_IFDIR), [f"group {OTHER_GROUP} may change it"]),
        (Use.OPEN, found(0o646), ["everybody may change it"]),
        (Use.OPEN, found(0o664, group=OTHER_GROUP), [f"group {OTHER_GROUP} may change it"]),
    ],
)
def test_who_may_do_what_they_need_not_is_told(use: Use, permissions: Permissions, told: list[str]) -> None:
    assert excesses(permissions, use, {OWN_GROUP}) == told


def test_what_the_remedies_give_is_not_loose() -> None:
    for groups in ({OWN_GROUP}, {OTHER_GROUP}):
        for use, mode in ((Use.SECRET, 0o600), (Use.STATE, 0o600), (Use.STATE_FOLDER, 0o700)):
            assert excesses(found(mode), use, groups) == []
        for mode in range(0o1000):
            assert excesses(found(mode & ~0o022), Use.OPEN, groups) == []
    # Somebody else's secret, by the group of its reader.
    assert excesses(found(0o640, owner=ROOT), Use.SECRET, {OWN_GROUP}) == []


@pytest.mark.parametrize(
    ("use", "owner", "expected"),
    [
        (Use.SECRET, USER, "chmod 600 '/a key'"),
        (Use.SECRET, ROOT, "chmod 640 '/a key', with a group that this user is in; for a secret of Kubernetes"),
        (Use.STATE, USER, "chmod 600 '/a key'"),
        (Use.STATE_FOLDER, USER, "chmod 700 '/a key'"),
        (Use.STATE_FOLDER, ROOT, "name a folder below it, such as --storage.path='/a key/state'"),
        (Use.OPEN, ROOT, "chmod go-w '/a key'"),
    ],
)
def test_the_remedy_is_one_that_this_user_can_apply(use: Use, owner: int, expected: str) -> None:
    person = Person(USER, frozenset({OWN_GROUP}))
    assert remedy(Path("/a key"), found(0o666, owner=owner), use, person).startswith(expected)


def warnings(caplog: pytest.LogCaptureFixture, path: Path) -> list[str]:
    return [
        f"{record.levelname} {getattr(record, 'mode', '')} {record.getMessage()}"
        for record in caplog.records
        if getattr(record, "file", None) == str(path)
    ]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("sk-admin-hunter2", encoding="utf-8")
    path.chmod(0o644)
    return path


def test_a_file_is_told_of_once_and_again_when_it_changes_or_is_replaced(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = PermissionWatch()
    for _ in range(3):
        watch.look_at(key_file, Use.SECRET)
    told = ["WARNING 0644 permissions are loose: everybody may read it"]
    assert warnings(caplog, key_file) == told
    [record] = caplog.records
    assert getattr(record, "remedy", "") == f"chmod 600 {key_file}"
    key_file.chmod(0o646)
    watch.look_at(key_file, Use.SECRET)
    watch.look_at(key_file, Use.SECRET)
    told.append("WARNING 0646 permissions are loose: everybody may change it and everybody may read it")
    assert warnings(caplog, key_file) == told
    key_file.chmod(0o600)
    watch.look_at(key_file, Use.SECRET)
    assert warnings(caplog, key_file) == told
    key_file.chmod(0o644)
    watch.look_at(key_file, Use.SECRET)
    told.append(told[0])
    assert warnings(caplog, key_file) == told
    # A rotation puts another file in its place.
    new = key_file.with_name("new")
    new.write_text("sk-admin-new", encoding="utf-8")
    new.chmod(0o644)
    new.rename(key_file)
    watch.look_at(key_file, Use.SECRET)
    watch.look_at(key_file, Use.SECRET)
    assert warnings(caplog, key_file) == [*told, told[0]]


def test_the_file_behind_the_links_is_looked_at(
    tmp_path: Path, key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # As Kubernetes lays out a secret: key -> ..data/key, ..data -> ..2026_11_21.
    (tmp_path / "..2026").mkdir()
    key_file.rename(tmp_path / "..2026" / "key")
    (tmp_path / "..data").symlink_to("..2026")
    link = tmp_path / "key"
    link.symlink_to("..data/key")
    watch = PermissionWatch()
    watch.look_at(link, Use.SECRET)
    assert warnings(caplog, link) == ["WARNING 0644 permissions are loose: everybody may read it"]
    caplog.clear()
    (tmp_path / "..data" / "key").chmod(0o600)
    watch.look_at(link, Use.SECRET)
    assert not caplog.records


def test_a_file_that_cannot_be_looked_at_is_told_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = PermissionWatch()
    watch.look_at(tmp_path / "gone", Use.SECRET)
    watch.look_at(tmp_path / "gone", Use.SECRET)
    assert warnings(caplog, tmp_path / "gone") == ["WARNING  cannot see who may read a file"]


def test_the_groups_of_the_process_are_all_of_them() -> None:
    person = this_process()
    assert person.user == os.geteuid()
    assert person.groups == {os.getegid(), *os.getgroups()}


def test_a_key_file_is_looked_at_whenever_it_is_read(key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    configuration = parse_configuration(f"openai: {{admin_key_file: {key_file}}}", "test")
    source = admin_key_source(configuration, {})
    assert warnings(caplog, key_file) == ["WARNING 0644 permissions are loose: everybody may read it"]
    # A reload asks anew; that is no news.
    admin_key_source(configuration, {})()
    assert len(warnings(caplog, key_file)) == 1
    key_file.chmod(0o666)
    source()
    assert len(warnings(caplog, key_file)) == 2
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_state_is_its_owner_s_alone_whatever_the_umask(
    tmp_path: Path, mask: int, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    before = os.umask(mask)
    try:
        with Store.open(folder) as store:
            store.claim("http://127.0.0.1/v1")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (folder, *folder.iterdir())}
    finally:
        os.umask(before)
    assert modes == {
        "state": 0o700,
        "ledger.lock": 0o600,
        "ledger.sqlite3": 0o600,
        "ledger.sqlite3-shm": 0o600,
        "ledger.sqlite3-wal": 0o600,
    }
    assert not caplog.records


def test_a_loose_state_is_told_of_when_it_is_opened_and_when_it_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    folder = tmp_path / "state"
    Store.open(folder).close()
    folder.chmod(0o777)
    (folder / "ledger.sqlite3").chmod(0o644)
    with Store.open(folder) as store:
        assert warnings(caplog, folder) == ["WARNING 0777 permissions are loose: everybody may change it"]
        for name in ("ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm"):
            # SQLite gives its log the permissions of the file itself.
            assert warnings(caplog, folder / name) == ["WARNING 0644 permissions are loose: everybody may read it"]
        assert warnings(caplog, folder / "ledger.lock") == []
        caplog.clear()
        (folder / "ledger.lock").chmod(0o606)
        store.claim("http://127.0.0.1/v1")
        assert len(warnings(caplog, folder / "ledger.lock")) == 1
        store.save_directory("project", {})
        assert [record.getMessage() for record in caplog.records] == [
            "permissions are loose: everybody may change it and everybody may read it"
        ]
