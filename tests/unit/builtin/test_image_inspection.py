"""What an inspection says of folders and archives that people bring: one kind of situation each."""

import io
import json
import os
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fpbench.api import MissingResource
from fpbench.builtin.image_folder.dataset import ImageFolder
from fpbench.cli import progress
from fpbench.cli.main import cli


def encoded(array, format="PNG", **options):
    buffer = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def picture(seed, height=20, width=24):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def numbered(pattern, numbers):
    return {pattern.format(i): encoded(picture(i)) for i in numbers}


PLAIN = numbered("{:02d}.png", range(12))


def laid(root, files):
    for file, data in files.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def zipped(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for file, data in files.items():
            archive.writestr(file, data)
    return path


def patched(path, name, at, value, change=lambda old, new: new):
    """Another value in both headers of one file of an archive, at these offsets."""
    data, sought = bytearray(path.read_bytes()), name.encode()
    for mark, offset, names in ((b"PK\3\4", at[0], 30), (b"PK\1\2", at[1], 46)):
        start = next(
            i
            for i in range(len(data))
            if data[i:].startswith(mark) and data[i + names :].startswith(sought)
        )
        (old,) = struct.unpack_from("<H", data, start + offset)
        struct.pack_into("<H", data, start + offset, change(old, value))
    path.write_bytes(data)


FLAGS, METHOD, CRC = (6, 8), (8, 10), (14, 16)


def dataset(path, **params):
    options = {"size": 16, "train": 5, "test": 3, "reference": 2} | params
    return ImageFolder(ImageFolder.Params(path=str(path), **options))


def refused(found):
    with pytest.raises(MissingResource) as caught:
        found.info()
    str(caught.value).encode()
    return str(caught.value)


def test_prepare_prints_one_inspection(tmp_path, suite_file):
    files = numbered("mydata/Train/{:02d}.png", range(40)) | numbered(
        "mydata/val/{}.png", range(40, 70)
    )
    files |= {"mydata/Train/copy.bmp": encoded(picture(41), "BMP")}
    files |= {"mydata/Train/x.heic": b"?", "__MACOSX/mydata/._00.png": b"?"}
    path = zipped(tmp_path / "20240115", files)
    new = f'use = "image-folder"\npath = "{path}"\nsize = 16\n'
    lines = 'use = "toy-faces"\n', "train = 64\n", "test = 64\n", "reference = 64\n"
    others = new, "train = 30\n", "test = 28\n", "reference = 6\n"
    suite = suite_file(*zip(lines, others, strict=True))
    done = CliRunner().invoke(cli, ["-p", "fpbench.testing.fakes", "prepare", str(suite)])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[:6] == [
        "ready    data set image-folder: 30 train, 28 test, 6 reference images of 16 pixels",
        "  used: 64 of 70 images (.png 64), below mydata: Train as train, val as test",
        "  left out, images of kinds that are not read (1: .heic 1): mydata/Train/x.heic; "
        "convert them to PNG or JPEG",
        "  left out, hidden or in hidden folders (1): __MACOSX/",
        "  equal to images of another split, counted in that one alone (1): "
        "mydata/Train/copy.bmp (= mydata/val/41.png)",
        "  folders of validation images, taken for a split (1): val (as test)",
    ]


def test_a_data_set_that_is_refused_is_to_be_mended_first(tmp_path, suite_file):
    suite = suite_file(('use = "toy-faces"\n', f'use = "image-folder"\npath = "{tmp_path}/no"\n'))
    done = CliRunner().invoke(cli, ["-p", "fpbench.testing.fakes", "prepare", str(suite)])
    assert done.exit_code == 7
    assert "Next: bring or mend the data set" in done.output


def test_prepare_says_that_images_are_too_few_for_the_suite(tmp_path, suite_file):
    path = laid(tmp_path / "a", PLAIN)
    new = f'use = "image-folder"\npath = "{path}"\nsize = 16\n'
    suite = suite_file(
        ('use = "toy-faces"\n', new),
        ("reference = 64\n", "reference = 4\n"),
        ("test = 64\n", "test = 4\n"),
    )
    done = CliRunner().invoke(cli, ["-p", "fpbench.testing.fakes", "prepare", str(suite)])
    assert done.exit_code == 7
    assert "missing  data set image-folder: 4 train, 4 test, 4 reference images" in done.output
    assert "in the split 'test', got 4; give it more images or lower" in done.output


def test_what_is_done_to_images_is_said(tmp_path):
    exif, turned_not = Image.Exif(), Image.Exif()
    exif[0x0112], turned_not[0x0112] = 6, 1
    opaque = np.dstack([picture(30), np.full((20, 24), 255, np.uint8)])
    clear = opaque.copy()
    clear[3, 4, 3] = 254
    ramp = np.arange(0, 65536, 128, dtype=np.uint16).reshape(16, 32)
    frames = [Image.fromarray(picture(i)) for i in (31, 32)]
    files = PLAIN | {
        "turned.jpg": encoded(picture(33), "JPEG", exif=exif),
        "straight.jpg": encoded(picture(34), "JPEG", exif=turned_not),
        "deep.png": encoded(ramp),
        "deeper.png": png_of_16_bits(),
        "opaque.png": encoded(opaque),
        "clear.png": encoded(clear),
        "moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "small.png": encoded(picture(35, 8, 30)),
    }
    assert dataset(laid(tmp_path, files)).remarks() == (
        "turned upright, as EXIF says (1): turned.jpg",
        "of 16 bits, scaled to 8 (2): deep.png, deeper.png",
        "transparent, composited on black (1): clear.png",
        "animations, of which the first frame is used (1): moving.gif",
        "smaller than the size that is used, enlarged (1): small.png",
    )


def png_of_16_bits():
    """In three colours, which Pillow reads and does not write."""

    def chunk(kind, body):
        length, check = len(body), zlib.crc32(kind + body)
        return struct.pack(">I", length) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(16 * 6) for _ in range(16))
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_all_that_cannot_be_used_is_told_at_once(tmp_path):
    files = numbered("train/{}.png", range(8)) | numbered("test/{}.png", range(10, 19))
    files |= {"train/empty.jpg": b"", "test/photo.jpg": b"\0\0\0\x18ftypheic" + bytes(90)}
    files["test/18.png"] = files["test/18.png"][:500]
    path = zipped(tmp_path / "a.zip", files)
    patched(path, "test/10.png", FLAGS, 1)
    patched(path, "test/11.png", METHOD, 9)
    patched(path, "train/3.png", CRC, 7)
    text = refused(dataset(path))
    assert text == (
        f"dataset image-folder: expected images that can be used in {path}, got "
        "damaged, no images, or too large (3): test/18.png (image file is truncated), "
        "test/photo.jpg (HEIC by its contents, whatever its name), train/empty.jpg (empty); "
        "mend, convert or remove them. Also "
        "damaged in the archive (1): train/3.png (Bad CRC-32 for file 'train/3.png'); "
        "copy the archive again, or pack it without them. Also "
        "encrypted (1): test/10.png; unpack the archive and set [dataset] path to the folder. Also "
        "packed in a way that is not read (1): test/11.png (Deflate64); "
        "unpack the archive and set [dataset] path to the folder"
    )


def test_names_of_many_broken_images_are_in_a_file(tmp_path):
    root = laid(tmp_path / "images", PLAIN | {f"{i}.jpg": b"no image" for i in range(11)})
    name = b"caf\xe9.png"
    (root / os.fsdecode(name)).write_bytes(b"")
    text = refused(dataset(root))
    assert "(12): 0.jpg (cannot identify" in text
    listed = Path(text.partition("All names are in ")[2]).read_bytes()
    assert listed.splitlines() == sorted([*(b"%d.jpg" % i for i in range(11)), name])


def test_what_is_no_image_may_be_encrypted(tmp_path):
    path = zipped(tmp_path / "a.zip", {"notes.txt": b"x", "__MACOSX/._0.png": b"x"} | PLAIN)
    for name in ("notes.txt", "__MACOSX/._0.png"):
        patched(path, name, FLAGS, 1)
    assert dataset(path).digest() == dataset(laid(tmp_path / "b", PLAIN)).digest()


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        (zipfile.ZIP_DEFLATED, "damaged in the archive"),
        (zipfile.ZIP_BZIP2, "damaged in the archive"),
        (zipfile.ZIP_LZMA, "damaged in the archive"),
        (None, "packed in a way that is not read"),
    ],
)
def test_archives_that_cannot_be_unpacked_name_the_file(tmp_path, method, kind):
    path = zipped(tmp_path / "a.zip", PLAIN, compression=method or zipfile.ZIP_STORED)
    if method is None:
        patched(path, "00.png", FLAGS, 0x20)
    else:
        data = bytearray(path.read_bytes())
        data[60:400] = np.random.default_rng(0).bytes(340)
        path.write_bytes(data)
    assert f"{kind} (1): 00.png" in refused(dataset(path))


def test_of_two_files_of_one_name_in_an_archive_the_later_counts(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile says so too
        path = zipped(tmp_path / "a.zip", PLAIN)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("00.png", encoded(picture(99)))
    found = dataset(path)
    assert found.remarks() == (
        "left out, a later file of the archive has the same name (1): 00.png",
    )
    same = laid(tmp_path / "b", PLAIN | {"00.png": encoded(picture(99))})
    assert dataset(same).digest() == found.digest()


def test_names_in_utf8_without_a_mark_are_utf8_and_others_are_shown(tmp_path):
    files = PLAIN | {"日本.png": encoded(picture(40)), "café.png": encoded(picture(41))}
    path = zipped(tmp_path / "a.zip", files)
    for name in ("日本.png", "café.png"):
        patched(path, name, FLAGS, 0x800, lambda old, bit: old & ~bit)
    path.write_bytes(path.read_bytes().replace("café".encode(), b"caf\xe9\xe9"))
    (tmp_path / "captions.json").write_text(json.dumps({n: n for n in (*PLAIN, "日本.png")}))
    found = dataset(path, captions=str(tmp_path / "captions.json"))
    assert found.remarks() == (
        r"with names that are no UTF-8, shown with escapes (1): caf\udce9\udce9.png",
        r"left out, without a caption (1): caf\udce9\udce9.png",
    )


def test_folders_of_thumbnails_are_left_out(tmp_path):
    small = numbered("Thumbs/{}.png", range(20, 24)) | numbered("a/thumbnails/{}.png", range(3))
    root, archive = laid(tmp_path / "a", PLAIN | small), zipped(tmp_path / "a.zip", PLAIN | small)
    plain = dataset(laid(tmp_path / "b", PLAIN)).digest()
    assert dataset(root).digest() == dataset(archive).digest() == plain
    (said,) = dataset(root).remarks()
    assert said == "left out, in folders of thumbnails (2): Thumbs/, a/thumbnails/"
    assert dataset(archive).remarks() == (said,)
    # Whoever names such a folder means it.
    assert dataset(laid(tmp_path / "thumbnails", PLAIN)).digest() == plain


def test_a_link_to_a_hidden_folder_is_followed(tmp_path):
    root = laid(tmp_path / "a", numbered(".store/{}.png", range(12)))
    (root / "cats").symlink_to(root / ".store", target_is_directory=True)
    assert dataset(root).info().counts == {"train": 5, "test": 3, "reference": 2}
    assert dataset(root).remarks() == (
        "left out, hidden or in hidden folders (1): .store/",
        "links to folders, followed (1): cats",
    )


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        (PLAIN, r"all went to test (12); .*dataset.test=2 .*reference=2"),
        (
            numbered("train/{}.png", range(10)) | numbered("test/{}.png", range(20, 25)),
            "all went to reference (10); ask for fewer there, such as --set dataset.reference=2,",
        ),
        (
            numbered("train/{}.png", range(5)) | numbered("test/{}.png", range(6)),
            "got none in train that is in no other folder too: all 5 equal images of test or val",
        ),
    ],
)
def test_a_small_folder_is_refused_for_its_true_cause(tmp_path, files, cause):
    text = refused(dataset(laid(tmp_path, files), train=10_000, test=2_000, reference=2_000))
    for part in cause.split(".*"):
        assert part in text


def test_the_settings_that_are_proposed_for_a_small_folder_work(tmp_path):
    text = refused(dataset(laid(tmp_path, PLAIN), test=2_000, reference=2_000))
    proposed = {
        w.split(".")[1].split("=")[0]: int(w.split("=")[1].rstrip(","))
        for w in text.split()
        if w.startswith("dataset.")
    }
    assert dataset(tmp_path, train=100, **proposed).info().counts == {"train": 8, **proposed}


def test_a_file_called_an_image_starts_no_program(tmp_path):
    # Pillow would have Ghostscript draw it.
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n"
    assert "cannot identify image file" in refused(dataset(laid(tmp_path, PLAIN | {"a.jpg": eps})))


def test_files_that_cannot_be_read_are_told_with_the_others(tmp_path, monkeypatch):
    root = laid(tmp_path, PLAIN | {"empty.png": b""})
    with (root / "huge.tif").open("wb") as file:
        file.truncate(2**30 + 1)
    read = Path.read_bytes

    def guarded(path):
        assert path.name != "huge.tif"
        if path.name == "03.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    text = refused(dataset(root))
    assert "(1): empty.png (empty); " in text
    assert "cannot be read (1): 03.png (Permission denied); make them readable" in text
    assert "of more than 1 GiB (1): huge.tif" in text


def test_a_long_first_look_says_how_far_it_is(tmp_path, monkeypatch, capsys):
    seen = []
    found = dataset(laid(tmp_path, PLAIN))
    found.look(lambda done, total: seen.append((done, total)))
    assert seen == [(i, 12) for i in range(1, 13)]
    dataset(tmp_path).look(lambda *_: pytest.fail("all is known"))
    monkeypatch.setattr(progress, "_LOOK_S", 0.0)
    say = progress.looking()
    say(3, 12)
    assert "3 of 12 samples looked at, about 0 s left" in capsys.readouterr().err
