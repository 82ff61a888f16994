"""A zip is opened as the folder it holds, and a hostile one does no harm."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from registry.core import archives
from registry.core.errors import DataError


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return path


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as caught, archives.as_folder(path):
        pass
    assert caught.value.expected
    assert caught.value.fix
    return caught.value


def test_it_is_unpacked_for_as_long_as_it_is_open(tmp_path: Path) -> None:
    files = {"a/b.txt": b"one", "c.jpg": b"two", "win\\dows.txt": b"three"}
    with archives.as_folder(zipped(tmp_path / "x.zip", files)) as folder:
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
        assert found == {"a/b.txt": b"one", "c.jpg": b"two", "win/dows.txt": b"three"}
    assert not folder.exists()


def test_a_folder_is_itself(tmp_path: Path) -> None:
    with archives.as_folder(tmp_path) as folder:
        assert folder == tmp_path
    assert tmp_path.exists()


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/out.txt", "..\\out.txt", "C:\\out.txt"])
def test_paths_that_lead_out_are_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = zipped(tmp_path / "in" / "x.zip", {"fine.txt": b"", name: b"!"})
    assert "outside" in refused(path).found
    assert not list(tmp_path.rglob("*.txt"))


def test_links_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert "links" in refused(tmp_path / "x.zip").found


def test_a_bomb_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_GROWTH", 1000)
    path = zipped(tmp_path / "x.zip", {"zeros": bytes(20_000_000)})
    assert "unpacks to more than" in refused(path).found


@pytest.mark.parametrize("where", [b"PK\x01\x02", b"PK\x03\x04", b""])
def test_an_entry_that_lies_about_its_size_stops_there(
    where: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size stands in the central directory and before the file's bytes; either or both may lie."""
    monkeypatch.setattr(archives, "FREE_GROWTH", 1000)
    body = bytearray(zipped(tmp_path / "x.zip", {"zeros": bytes(20_000_000)}).read_bytes())
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        if where in (mark, b""):
            begin = body.rindex(mark) + at
            body[begin : begin + 4] = (10).to_bytes(4, "little")
    (tmp_path / "lies.zip").write_bytes(body)
    said = refused(tmp_path / "lies.zip").found
    assert ("unpacks to more than" if where == b"PK\x03\x04" else "damaged") in said


@pytest.mark.parametrize("name", [".", "a/..", "\0YZ"])
def test_an_entry_without_a_name_is_refused(name: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"fine.txt": b"1", name.replace("\0", "X"): b""})
    path.write_bytes(path.read_bytes().replace(b"XYZ", b"\0YZ"))
    assert "outside" in refused(path).found


def test_an_entry_for_the_top_folder_is_nothing(tmp_path: Path) -> None:
    with archives.as_folder(zipped(tmp_path / "x.zip", {"./": b"", "./fine.txt": b"1"})) as folder:
        assert [one.name for one in folder.iterdir()] == ["fine.txt"]


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("x/a/b/c", "x/a")])
def test_one_name_as_file_and_folder_is_told(names: tuple[str, str], tmp_path: Path) -> None:
    assert "both as a file and as a folder" in refused(zipped(tmp_path / "x.zip", dict.fromkeys(names, b""))).found


def test_a_name_too_long_for_the_disk_is_told(tmp_path: Path) -> None:
    assert "too long" in refused(zipped(tmp_path / "x.zip", {"n" * 300: b""})).found


def test_names_in_utf8_without_the_flag_are_read_as_what_they_are(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"faXXade.jpg": b"1"})
    path.write_bytes(path.read_bytes().replace(b"faXXade", "façade".encode()))
    with archives.as_folder(path) as folder:
        assert [one.name for one in folder.iterdir()] == ["façade.jpg"]


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    refused(zipped(tmp_path / "x.zip", {str(n): b"" for n in range(4)}))


def test_damage_is_told(tmp_path: Path) -> None:
    body = bytearray(zipped(tmp_path / "x.zip", {"a.txt": bytes(range(256)) * 40}).read_bytes())
    body[60:80] = bytes(20)
    (tmp_path / "bad.zip").write_bytes(body)
    assert "damaged" in refused(tmp_path / "bad.zip").found
    (tmp_path / "cut.zip").write_bytes(body[:200])
    assert "neither a folder nor a zip" in refused(tmp_path / "cut.zip").found
    assert "does not exist" in refused(tmp_path / "none.zip").found


def test_a_password_is_told(tmp_path: Path) -> None:
    body = bytearray(zipped(tmp_path / "x.zip", {"a.txt": b"secret"}).read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(mark) + at] |= 1  # the flag that says: encrypted
    (tmp_path / "locked.zip").write_bytes(body)
    assert "cannot be unpacked" in refused(tmp_path / "locked.zip").found
