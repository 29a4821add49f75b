import os
import stat
import struct
import zipfile

import pytest
from bundle_factory import FACTS, packed, seal, small

from fpbench.api import StoreError
from fpbench.publish.archive import open_bundle
from fpbench.publish.manifest import (
    MANIFEST,
    check_names,
    make_manifest,
    manifest_text,
    read_manifest,
)


@pytest.fixture
def folder(tmp_path):
    return small(tmp_path / "bundle")


@pytest.fixture
def refused(tmp_path):
    """Opens a bundle that must be refused; returns the message."""

    def check(path, **options):
        before = sorted(p for p in tmp_path.rglob("*"))
        with pytest.raises(StoreError) as caught, open_bundle(path, **options):
            pass
        assert sorted(p for p in tmp_path.rglob("*")) == before
        assert "expected" in str(caught.value)
        assert "got" in str(caught.value)
        return str(caught.value)

    return check


def test_folder_and_zip_hold_the_same(folder, tmp_path):
    with open_bundle(folder) as one, open_bundle(packed(folder, tmp_path / "b.zip")) as other:
        assert one.manifest == other.manifest
        for name in one.manifest.files:
            assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()
        unpacked = other.folder
    assert not unpacked.exists()
    assert folder.exists()


@pytest.mark.parametrize("zipped", [False, True])
class TestContent:
    @pytest.fixture
    def place(self, folder, tmp_path, zipped):
        return lambda: packed(folder, tmp_path / "b.zip") if zipped else folder

    def test_a_changed_byte(self, folder, place, refused):
        (folder / "records.jsonl").write_text("the Content of records.jsonl\n")
        assert "records.jsonl: expected 29 bytes with SHA-256" in refused(place())

    def test_a_longer_file(self, folder, place, refused):
        (folder / "records.jsonl").write_text("the content of records.jsonl\nand more\n")
        assert "records.jsonl" in refused(place())

    def test_a_missing_file(self, folder, place, refused):
        (folder / "suite.toml").unlink()
        assert "'suite.toml': expected this file, got none" in refused(place())

    def test_a_file_that_every_bundle_has(self, folder, place, refused):
        (folder / "suite.toml").unlink()
        seal(folder)
        assert "'suite.toml': expected this file, got none" in refused(place())

    def test_a_file_that_is_not_listed(self, folder, place, refused):
        (folder / "environment.json").write_text("[]")
        assert "'environment.json': expected only files that manifest.json" in refused(place())

    def test_a_file_of_another_kind(self, folder, place, refused):
        (folder / "page.html").write_text("<script>alert(1)</script>")
        assert "'page.html': expected files that `fpbench export` writes" in refused(place())

    def test_no_manifest(self, folder, place, refused):
        (folder / MANIFEST).unlink()
        assert MANIFEST in refused(place())

    def test_an_edited_manifest(self, folder, place, refused):
        text = (folder / MANIFEST).read_text()
        (folder / MANIFEST).write_text(text.replace('"submitter":"me"', '"submitter":"you"'))
        assert "the manifest was edited" in refused(place())

    def test_a_manifest_of_a_newer_format(self, folder, place, refused):
        text = (folder / MANIFEST).read_text()
        (folder / MANIFEST).write_text(text.replace('"format":1', '"format":2'))
        assert "format" in refused(place())

    def test_more_than_may_be(self, place, refused):
        assert "at most 50 bytes in all" in refused(place(), most_bytes=50)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../records.jsonl", "a way out of its folder"),
        ("samples/../../x.png", "a way out of its folder"),
        ("/etc/passwd", "an absolute path"),
        ("samples\\x.png", "a backslash"),
        ("C:/x.png", "the name of a drive"),
        ("store/objects/aa/x/main/manifest.json", "another one"),
        ("samples/.hidden.png", "another one"),
        ("samples/x.png\x00.html", "another one"),
        ("samples/", "another one"),
        (f"samples/{'a' * 121}.png", "more than 120 characters"),
    ],
)
def test_names_that_lead_elsewhere(folder, tmp_path, refused, name, problem):
    path = packed(folder, tmp_path / "b.zip")
    entry = zipfile.ZipInfo("x")
    entry.filename = name
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, b"x")
    assert problem in refused(path)


def test_a_name_that_comes_twice(folder, tmp_path, refused):
    path = packed(folder, tmp_path / "b.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("records.jsonl", b"other records")
    assert "'records.jsonl': expected every name once, got it twice" in refused(path)


def test_names_that_are_one_on_some_systems():
    with pytest.raises(StoreError, match="expected every name once"):
        check_names(["samples/a.png", "samples/A.png"])


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFDIR])
def test_entries_that_are_no_plain_files(folder, tmp_path, refused, kind):
    (folder / "environment.json").write_text("[]")
    path = packed(seal(folder), tmp_path / "b.zip")
    copy = tmp_path / "c.zip"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as archive:
        for entry in source.infolist():
            if entry.filename == "environment.json":
                entry.external_attr = (kind | 0o644) << 16
            archive.writestr(entry, source.read(entry.filename))
    assert "environment.json: expected a plain file" in refused(copy)


def test_links_in_a_folder(folder, tmp_path, refused):
    (tmp_path / "secret").write_text("x")
    (folder / "environment.json").symlink_to(tmp_path / "secret")
    assert "expected a plain file, got a link" in refused(folder)


def test_linked_folders(folder, tmp_path, refused):
    (tmp_path / "elsewhere").mkdir()
    (folder / "samples").symlink_to(tmp_path / "elsewhere")
    assert "expected a plain file, got a link" in refused(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_in_a_folder(folder, refused):
    os.mkfifo(folder / "environment.json")
    assert "expected a plain file" in refused(folder)


def test_a_bomb_is_not_unpacked(folder, tmp_path, refused):
    (folder / "environment.json").write_bytes(bytes(50_000_000))
    path = packed(seal(folder), tmp_path / "b.zip")
    assert path.stat().st_size < 100_000
    assert "at most 1,000,000 bytes in all, got 50,0" in refused(path, most_bytes=1_000_000)


def test_a_bomb_that_lies_about_its_size(folder, tmp_path, refused):
    (folder / "environment.json").write_bytes(bytes(5_000_000))
    path = packed(seal(folder), tmp_path / "b.zip")
    data = bytearray(path.read_bytes())
    size = struct.pack("<I", 5_000_000)
    assert data.count(size) == 2  # the file's own header and the directory's
    path.write_bytes(data.replace(size, struct.pack("<I", 1_000)))
    assert "environment.json: expected 5000000 bytes" in refused(path, most_bytes=1_000_000)
    # With a manifest that tells the same lie only what is unpacked can show it.
    with zipfile.ZipFile(path, "a") as archive:
        files = read_manifest(archive.read(MANIFEST)).model_dump()["files"]
        files["environment.json"] = {"sha256": "0" * 64, "bytes": 1_000}
        archive.filelist[:] = [e for e in archive.filelist if e.filename != MANIFEST]
        archive.NameToInfo.pop(MANIFEST)
        archive.writestr(MANIFEST, manifest_text(make_manifest({**FACTS, "files": files})))
    assert "a zip file without damage" in refused(path, most_bytes=1_000_000)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing(folder, tmp_path, refused, method):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", method) as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    assert "expected a stored or deflated file" in refused(tmp_path / "b.zip")


def test_texts_that_are_too_large(folder, refused):
    with (folder / "suite.json").open("wb") as file:
        file.truncate(65 * 2**20)
    assert "suite.json: expected at most 67,108,864 bytes" in refused(folder)


def test_a_manifest_that_is_nested_too_deeply(folder, refused):
    (folder / MANIFEST).write_text('{"a":' + "[" * 10**5 + "]" * 10**5 + "}")
    assert "expected a manifest of format 1" in refused(folder)


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_zip_file_that_was_cut(folder, tmp_path, refused, cut):
    path = packed(folder, tmp_path / "b.zip")
    path.write_bytes(path.read_bytes()[:-cut])
    assert "a zip file without damage" in refused(path)


def test_what_is_no_bundle(tmp_path, refused):
    (tmp_path / "a.zip").write_bytes(b"not a zip")
    assert "a zip file without damage" in refused(tmp_path / "a.zip")
    assert "no such file" in refused(tmp_path / "b.zip")


def test_an_encrypted_entry(folder, tmp_path, refused):
    path = packed(folder, tmp_path / "b.zip")
    data = bytearray(path.read_bytes())
    place = data.find(b"PK\x01\x02")
    data[place + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path)


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "x" * 201])
def test_submitters_that_would_steer_a_terminal(folder, text):
    with pytest.raises(StoreError, match="submitter"):
        seal(folder, submitter=text)
