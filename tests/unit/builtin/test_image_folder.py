import io
import os
import shutil
import struct
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import fpbench.builtin.image_folder.contents as contents
import fpbench.builtin.image_folder.pixels as pixels
from fpbench.api import MissingResource
from fpbench.builtin.image_folder.dataset import ImageFolder
from fpbench.builtin.image_folder.pixels import decode, decode_square
from fpbench.cli.main import cli
from fpbench.execute.request import Request
from fpbench.plan.identity import identity
from fpbench.spec.model import component_json
from fpbench.stages.bench import Bench
from fpbench.store import Store


def encoded(array, format="PNG", **options):
    buffer = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def picture(seed, height=40, width=48):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def numbered(pattern, numbers):
    return {pattern.format(i): encoded(picture(i)) for i in numbers}


@pytest.fixture
def folder(tmp_path):
    return laid(tmp_path, numbered("deep/{:02d}.png", range(30)) | {"notes.txt": b"not an image"})


def dataset(path, **params):
    options = {"size": 16, "train": 20, "test": 5, "reference": 5} | params
    return ImageFolder(ImageFolder.Params(path=str(path), **options))


def laid(tmp_path, files, name="images"):
    root = tmp_path / name
    for file, data in files.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def zipped(tmp_path, files, name="images.zip", **options):
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", **options) as archive:
        for file, data in files.items():
            archive.writestr(file, data)
    return path


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}


def pools(found):
    return {pool: sorted(names) for pool, names in found._pools.items()}


# -- pixels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_upright(orientation):
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8, :8], upright[:8, 8:] = (255, 0, 0), (0, 255, 0)
    # How a camera that was held so stores it: the inverse of what EXIF says of each number.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for format in ("PNG", "TIFF", "WEBP"):
        data = encoded(np.ascontiguousarray(stored), format, exif=exif, **_LOSSLESS.get(format, {}))
        assert (decode_square(data, 16) == upright).all(), format


_LOSSLESS = {"WEBP": {"lossless": True}}


def test_a_damaged_exif_block_leaves_the_image_as_it_lies():
    image = picture(0, 16, 16)
    assert (decode_square(encoded(image, exif=b"Exif\0\0nonsense"), 16) == image).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_a_16_bit_grey_ramp_keeps_its_levels(format):
    ramp = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16) + 255
    found = decode_square(encoded(ramp, format), 16)
    assert (found == np.arange(256).reshape(16, 16, 1)).all()


@pytest.mark.parametrize("values", [np.float32(0.5), np.int32(70_000), np.int32(-1)])
def test_pixels_without_a_range_are_refused(values):
    with pytest.raises(pixels.DamagedImage, match=r"floats|more than 16 bits"):
        decode_square(encoded(np.full((16, 16), values), "TIFF"), 16)


def test_alpha_is_composited_on_black():
    red = np.zeros((16, 16, 4), np.uint8)
    red[..., 0] = 255
    red[8:, :, 3] = 255
    red[:4, :, 3] = 128
    found = decode_square(encoded(red), 16)
    assert (found[4:8] == 0).all()
    assert (found[8:] == (255, 0, 0)).all()
    assert (found[:4] == (128, 0, 0)).all()
    grey = np.dstack([np.full((16, 16), 200, np.uint8), np.zeros((16, 16), np.uint8)])
    assert (decode_square(encoded(Image.fromarray(grey)), 16) == 0).all()


def test_a_transparent_colour_of_a_palette_is_black():
    image = Image.new("P", (16, 16), 1)
    image.putpalette([10, 20, 30, 255, 0, 0])
    image.paste(0, (0, 0, 16, 8))
    assert (decode_square(encoded(image), 16)[0, 0] == (10, 20, 30)).all()
    found = decode_square(encoded(image, transparency=1), 16)
    assert (found[0, 0] == (10, 20, 30)).all()
    assert (found[15, 15] == 0).all()


def test_cmyk_and_1_bit_images_become_rgb():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(decode_square(encoded(cmyk, "TIFF"), 16) - [255.0, 0, 0]).max() == 0
    assert np.abs(decode_square(encoded(cmyk, "JPEG"), 16) - [255.0, 0, 0]).max() <= 3
    bits = np.indices((16, 16)).sum(0) % 2 == 0
    assert (decode_square(encoded(bits), 16)[..., 0] == bits * 255).all()


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_taken(format):
    first, second = (Image.new("RGB", (16, 16), c) for c in ((255, 0, 0), (0, 0, 255)))
    data = encoded(
        first, format, save_all=True, append_images=[second], **_LOSSLESS.get(format, {})
    )
    assert (decode_square(data, 16) == (255, 0, 0)).all()


def test_sizes_and_kinds_are_brought_to_one(tmp_path):
    files = {
        "grey.png": encoded(picture(0)[:, :, 0]),
        "small.png": encoded(picture(1, 8, 9)),
        "photo.JPG": encoded(picture(3, 100, 60), "JPEG"),
        "scan.jfif": encoded(picture(4), "JPEG"),
        "drawn.gif": encoded(picture(5), "GIF"),
        "new.avif": encoded(picture(6), "AVIF"),
    }
    found = dataset(laid(tmp_path, files), train=4, test=1, reference=1)
    images = [found.read(s, np.arange(n)) for s, n in found.info().counts.items()]
    assert np.concatenate(images).shape == (6, 16, 16, 3)
    assert found.remarks() == ("smaller than the size that is used, enlarged (1): small.png",)


def test_centre_crop_and_area_average_agree_with_numpy():
    image = picture(7, 32, 40)
    expected = image[:, 4:36].reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(decode_square(encoded(image), 16) - expected).max() <= 1


# -- splits -------------------------------------------------------------------------------------


def test_splits_are_disjoint_and_fixed_by_contents(folder, tmp_path):
    found = dataset(folder)
    assert found.info().counts == {"train": 20, "test": 5, "reference": 5}
    assert len(set.union(*(set(split) for split in found._splits.values()))) == 30
    renamed = {f"{i}.png": data for i, data in enumerate(reversed(files_of(folder).values()))}
    other = dataset(zipped(tmp_path, renamed))
    assert other.digest() == found.digest()
    for split, count in found.info().counts.items():
        assert (found.read(split, np.arange(count)) == other.read(split, np.arange(count))).all()


@pytest.mark.parametrize("wrap", ["", "mydata/", "home/mydata/", "./"])
@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Train", "TEST"), ("training", "val"), ("train", "valid")],
)
def test_given_splits_are_respected(tmp_path, wrap, train, test):
    files = numbered(f"{wrap}{train}/a/{{}}.png", range(12))
    files |= numbered(f"{wrap}{test}/a/{{}}.png", range(50, 56))
    found = dataset(zipped(tmp_path, files), reference=4, test=5)._splits
    assert all(f"{test}/" in name for name in found["test"])
    assert all(f"{train}/" in name for name in found["train"] + found["reference"])
    assert {k: len(v) for k, v in found.items()} == {"train": 8, "test": 5, "reference": 4}


def test_validation_beside_test_is_the_reference(tmp_path):
    files = numbered("train/{}.png", range(8)) | numbered("test/{}.png", range(10, 13))
    files |= numbered("validation/{}.png", range(20, 24))
    found = dataset(laid(tmp_path, files))._splits
    assert {name.split("/")[0] for name in found["reference"]} == {"validation"}
    assert {k: len(v) for k, v in found.items()} == {"train": 8, "test": 3, "reference": 4}


@pytest.mark.parametrize(
    ("names", "got"),
    [
        (["train/a.png"], "got train alone"),
        (["mydata/train/a.png", "mydata/train/b.png"], "got train alone"),
        (["test/a.png", "val/b.png"], "got test, val alone"),
        (["train/a.png", "cats/b.png"], "got train alone"),
        (["train/a.png", "eval/b.png"], "got eval beside train"),
        (["train/a.png", "test/b.png", "dev/c.png"], "got dev beside test, train"),
        (["train/a.png", "training/b.png", "test/c.png"], "got test, train, training"),
        (["train/a.png", "Train/b.png", "test/c.png"], "got Train, test, train"),
        (["train/a.png", "test/b.png", "logo.png"], "elsewhere such as logo.png"),
        (["train/a.png", "test/b.png", "extra/c.png"], "elsewhere such as extra/c.png"),
        (["mydata/train/a.png", "mydata/test/b.png", "logo.png"], "got test, train"),
        (["cats/train/a.png", "cats/test/b.png", "dogs/train/c.png"], "got test, train"),
        (["trainA/a.png", "testA/b.png"], "got testA, trainA"),
        (["train2017/a.png", "val2017/b.png"], "got train2017, val2017"),
        (["train_images/a.png", "test_images/b.png"], "got test_images, train_images"),
        (["train_0.png", "train_1.png", "test_0.png"], "file names that say test and train"),
    ],
)
def test_half_recognised_splits_are_refused(tmp_path, names, got):
    files = {name: encoded(picture(i)) for i, name in enumerate(names)}
    with pytest.raises(MissingResource, match=f"{got}.*; move or rename"):
        dataset(zipped(tmp_path, files)).info()


@pytest.mark.parametrize(
    "names",
    [
        ["cats/a.png", "dogs/b.png"],
        ["trainers/a.png", "boots/b.png"],
        ["valerie/a.png", "teston/b.png", "contest_1.png", "strain_2.png"],
        ["train_0.png", "train_1.png"],
    ],
)
def test_other_folders_are_one_pool(tmp_path, names):
    files = {name: encoded(picture(i)) for i, name in enumerate(names)}
    assert list(pools(dataset(zipped(tmp_path, files)))) == ["pool"]


def test_a_class_called_train_within_splits_is_a_class(tmp_path):
    files = numbered("train/train/{}.png", range(4)) | numbered("test/train/{}.png", range(9, 12))
    assert dataset(laid(tmp_path, files), reference=2).info().counts["test"] == 3


# -- what counts --------------------------------------------------------------------------------


def test_hidden_files_and_folders_are_left_out(folder):
    clean = dataset(folder)
    for name in (
        ".ipynb_checkpoints/00-checkpoint.png",
        "__MACOSX/deep/._00.png",
        "deep/._01.png",
        "deep/.hidden.png",
        "deep/@eaDir/thumb.jpg",
        "deep/.DS_Store",
        "deep/Thumbs.db",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    found = dataset(folder)
    assert found.digest() == clean.digest()
    archive = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*g")}
    hidden = dataset(zipped(folder.parent, archive))
    assert hidden.digest() == clean.digest()
    (said,) = hidden.remarks()
    assert said == (
        "left out, hidden or in hidden folders (5): "
        ".ipynb_checkpoints/, __MACOSX/, deep/._01.png, …"
    )
    # What lies in hidden folders is not looked at.
    assert said in found.remarks()


def test_equal_pictures_count_once(folder):
    before = dataset(folder)
    shutil.copy(folder / "deep" / "03.png", folder / "again.png")
    # Other bytes, the same pixels.
    (folder / "other.bmp").write_bytes(encoded(picture(4), "BMP"))
    found = dataset(folder)
    assert sum(map(len, found._pools.values())) == 30
    assert found.remarks()[-1] == (
        "equal to others in the pixels that are used, counted once (2): "
        "deep/03.png (= again.png), deep/04.png (= other.bmp)"
    )
    assert found.info() == before.info()


def test_a_picture_of_the_test_split_is_not_trained_on(tmp_path):
    files = numbered("train/{}.png", range(10)) | numbered("test/{}.png", range(10, 16))
    files |= numbered("val/{}.png", range(14, 20)) | {"train/copy.bmp": encoded(picture(11), "BMP")}
    files |= numbered("train/{}.png", range(18, 19))
    found = dataset(laid(tmp_path, files), test=9, reference=9)
    assert found.info().counts == {"train": 10, "test": 6, "reference": 4}
    assert "train/copy.bmp" not in found._splits["train"]
    (across,) = (said for said in found.remarks() if "another split" in said)
    assert across == (
        "equal to images of another split, counted in that one alone (4): "
        "train/18.png (= val/18.png), train/copy.bmp (= test/11.png), val/14.png (= test/14.png), …"
    )


def test_kinds_that_are_not_read_are_counted(folder):
    for name in ("a.heic", "b.heic", "c.jxl", "d.zip", "noext"):
        (folder / name).write_bytes(b"?")
    assert dataset(folder).remarks() == (
        "left out, images of kinds that are not read (3: .heic 2, .jxl 1): a.heic, b.heic, c.jxl; "
        "convert them to PNG or JPEG",
        "left out, archives that are not looked into (1: .zip 1): d.zip; unpack them",
        "left out, no images by their names (2: .txt 1, no suffix 1): noext, notes.txt",
    )


def test_names_that_are_no_utf8_are_read_and_shown(folder, tmp_path):
    name = os.fsencode(folder) + b"/caf\xe9.png"
    with open(name, "wb") as file:  # noqa: PTH123 - a name of bytes
        file.write(encoded(picture(77)))
    plain = numbered("{}.png", range(30)) | {"café.png": encoded(picture(77))}
    assert dataset(folder).digest() == dataset(zipped(tmp_path, plain)).digest()
    assert dataset(folder).digest() == dataset(folder).digest()
    with open(name, "wb") as file:  # noqa: PTH123 - a name of bytes
        file.write(b"no image")
    with pytest.raises(MissingResource, match=r"caf\\udce9\.png") as caught:
        dataset(folder).info()
    str(caught.value).encode()


def test_linked_folders_are_followed_once_and_loops_are_not(folder, tmp_path):
    outside = laid(tmp_path, numbered("{}.png", range(40, 45)), "outside")
    (folder / "class").symlink_to(outside, target_is_directory=True)
    (folder / "class2").symlink_to(outside, target_is_directory=True)
    (folder / "a-loop").symlink_to(folder, target_is_directory=True)
    (folder / "gone.png").symlink_to(tmp_path / "nothing")
    (folder / "itself").symlink_to("itself")
    found = dataset(folder)
    assert len(found._contents) == 35
    assert found.remarks()[-3:] == (
        "links to folders, followed (1): class",
        "links to folders that are read already, not followed (2): a-loop, class2",
        "links to nothing, left out (2): gone.png, itself",
    )


def test_a_train_folder_that_links_to_test_trains_on_no_test_image(tmp_path):
    root = laid(tmp_path, numbered("test/x/{}.png", range(5)) | numbered("train/{}.png", [7, 8, 9]))
    (root / "train" / "x").symlink_to(root / "test" / "x", target_is_directory=True)
    assert {k: len(v) for k, v in pools(dataset(root)).items()} == {"test": 5, "train": 3}


# -- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"no image"]
)
@pytest.mark.parametrize("look", ["info", "digest", "verify"])
def test_damaged_images_are_named_before_anything_is_trained(folder, damage, look):
    victim = folder / "deep" / "07.png"
    victim.write_bytes(damage(victim.read_bytes()))
    with pytest.raises(MissingResource, match=r"deep/07\.png .*; mend, convert or remove"):
        getattr(dataset(folder), look)()


def test_many_damaged_images_are_counted(folder):
    for path in sorted((folder / "deep").iterdir())[:5]:
        path.write_bytes(b"")
    with pytest.raises(MissingResource, match=r"\(5\): deep/00\.png \(empty\), .*, deep/04\.png"):
        dataset(folder).info()


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_gigapixel_headers_are_refused_before_they_are_decoded(folder, side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(bomb)
    with pytest.raises(MissingResource, match=r"bomb\.png \(.*more than 67,108,864"):
        dataset(folder).info()


def patched(path, local, central, change):
    """Change a field of the headers of every file in an archive."""
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", local), (b"PK\1\2", central)):
        at = data.find(mark)
        while at >= 0:
            change(data, at + offset)
            at = data.find(mark, at + 4)
    path.write_bytes(data)
    return path


def put(value):
    def change(data, at):
        data[at : at + 2] = struct.pack("<H", value)

    return change


def test_encrypted_archives_are_refused(tmp_path):
    path = patched(zipped(tmp_path, numbered("{}.png", range(3))), 6, 8, put(1))
    with pytest.raises(MissingResource, match=r"encrypted \(3\): 0\.png, 1\.png, 2\.png; unpack"):
        dataset(path).info()


def test_deflate64_archives_are_refused(tmp_path):
    path = patched(zipped(tmp_path, numbered("{}.png", range(3))), 8, 10, put(9))
    with pytest.raises(MissingResource, match=r"\(3\): 0\.png \(Deflate64\), .*; unpack"):
        dataset(path).info()


def test_wrong_checksums_are_named(tmp_path):
    path = patched(zipped(tmp_path, numbered("{}.png", range(3))), 14, 16, put(7))
    with pytest.raises(MissingResource, match=r"\(3\): 0\.png \(Bad CRC.*copy the archive again"):
        dataset(path).info()


def test_separators_of_windows_are_separators(tmp_path):
    files = numbered("d\\Train\\{}.png", range(6)) | numbered("d\\Test\\{}.png", range(6, 9))
    assert {k: len(v) for k, v in pools(dataset(zipped(tmp_path, files))).items()} == {
        "test": 3,
        "train": 6,
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nowhere", "got nothing"),
        (lambda p: p, "got none: no file at all"),
        (lambda p: (p / "a.zip", (p / "a.zip").write_bytes(b"PK"))[0], "a folder or a zip file"),
        (
            lambda p: (p, (p / "a.heic").write_bytes(b"?"))[0],
            r"got none: .*: a\.heic",
        ),
    ],
)
def test_folders_without_images_are_said(tmp_path, make, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MissingResource, match=message):
        dataset(make(empty)).info()


# -- identity -----------------------------------------------------------------------------------


def test_a_folder_its_copy_and_its_zip_are_the_same(folder, tmp_path):
    moved = tmp_path / "elsewhere" / "other"
    shutil.copytree(folder, moved)
    for number, path in enumerate(moved.rglob("*.png")):
        os.utime(path, ns=(number * 10**9, number * 10**9))
    wrapped = {f"mydata/{name}": data for name, data in reversed(files_of(folder).items())}
    here, *others = (dataset(p) for p in (folder, moved, zipped(tmp_path, wrapped)))
    for other in others:
        assert other.digest() == here.digest()
        assert identity(other) == identity(here)
        indices = np.array([3, 0, 3])
        assert (other.read("train", indices) == here.read("train", indices)).all()
    # Records and pages name no folder of this machine.
    assert component_json(others[0])["params"]["path"] == moved.name


def test_digest_changes_with_a_pixel(folder):
    before = dataset(folder).digest()
    assert dataset(folder).digest() == before
    changed = picture(0)
    changed[20, 20, 0] ^= 128
    (folder / "deep" / "00.png").write_bytes(encoded(changed))
    assert dataset(folder).digest() != before


def test_digest_changes_when_a_file_moves_between_splits(tmp_path):
    root = laid(
        tmp_path, numbered("train/{}.png", range(9)) | numbered("test/{}.png", range(9, 15))
    )
    before = dataset(root).digest()
    (root / "test" / "9.png").rename(root / "train" / "9.png")
    assert dataset(root).digest() != before


def rewritten_in_secret(path):
    """Other pixels in as many bytes, with the time it had."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.fixture
def bitmaps(tmp_path):
    return laid(tmp_path, {f"{i}.bmp": encoded(picture(i), "BMP") for i in range(6)})


def test_what_size_and_time_do_not_tell_is_found_before_training(bitmaps):
    found = dataset(bitmaps, train=2, test=2, reference=2)
    before = found.digest()
    found.verify()
    rewritten_in_secret(bitmaps / "3.bmp")
    assert dataset(bitmaps).digest() == before
    with pytest.raises(MissingResource, match=r"got a change: 3\.bmp; run again"):
        found.verify()
    assert dataset(bitmaps).digest() != before
    dataset(bitmaps).verify()


def test_images_that_changed_are_never_read(bitmaps):
    found = dataset(bitmaps, train=2, test=2, reference=2)
    name = found._splits["test"][1]
    rewritten_in_secret(bitmaps / name)
    found.read("test", np.array([0]))
    with pytest.raises(MissingResource, match=f"got a change: {name}"):
        found.read("test", np.array([1]))


@pytest.mark.parametrize("change", [lambda p: (p / "3.bmp").unlink(), None])
def test_images_that_came_or_went_are_found_before_training(bitmaps, change):
    found = dataset(bitmaps)
    found.digest()
    change(bitmaps) if change else (bitmaps / "9.bmp").write_bytes(b"")
    with pytest.raises(MissingResource, match=r"got a change: [39]\.bmp"):
        found.verify()


def test_what_was_looked_at_is_not_decoded_again(folder, monkeypatch):
    before = dataset(folder).digest()
    decoded = []
    monkeypatch.setattr(contents, "decode", lambda d, s: decoded.append(d) or decode(d, s))
    assert dataset(folder).digest() == before
    assert decoded == []
    # The same bytes at another time, or under another name.
    os.utime(folder / "deep" / "05.png", ns=(5, 5))
    (folder / "deep" / "06.png").rename(folder / "06.png")
    assert dataset(folder).digest() == before
    assert decoded == []
    (folder / "new.png").write_bytes(encoded(picture(99)))
    assert dataset(folder).digest() != before
    assert len(decoded) == 1


def test_an_interrupted_look_goes_on_where_it_was(folder, monkeypatch):
    decoded = []

    def interrupted(data, size):
        decoded.append(data)
        if len(decoded) == 20:
            raise KeyboardInterrupt
        return decode(data, size)

    monkeypatch.setattr(contents, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dataset(folder).info()
    dataset(folder).info()
    assert len(decoded) < 35


def of(folder):
    """What makes the suite of fakes one of a folder of 30 images."""
    yield 'use = "toy-faces"\n', f'use = "image-folder"\npath = "{folder}"\nsize = 16\n'
    numbers = {"train": (64, 10), "test": (64, 18), "reference": (64, 2), "real": (20, 5)}
    for name, (old, new) in (numbers | {"clean_images": (8, 2)}).items():
        yield f"{name} = {old}\n", f"{name} = {new}\n"


def test_a_plan_warns_of_what_was_left_out(folder, suite_file):
    (folder / "again.png").write_bytes(encoded(picture(3)))
    suite = suite_file(*of(folder))
    done = CliRunner().invoke(cli, ["-p", "fpbench.testing.fakes", "plan", str(suite)])
    assert done.exit_code == 0, done.output
    said = "warning: dataset image-folder: equal to others in the pixels that are used"
    assert said in done.stderr
    assert said not in done.stdout


def test_stages_read_no_other_images_than_were_planned_with(folder, suite_file, tmp_path):
    request = Request(str(suite_file(*of(folder))), plugins=("fpbench.testing.fakes",))
    facts = request.plan()[0].facts
    (folder / "new.png").write_bytes(encoded(picture(99)))
    # As in a worker, which is told what was found out before.
    plan, _ = replace(request, data=facts).plan()
    bench = Bench(plan, Store(tmp_path / "store"), torch.device("cpu"))
    with pytest.raises(MissingResource, match=r"expected the images of the plan.*run again"):
        bench.train_images  # noqa: B018


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"by": 1}', b"\xff", b'{"images": 3}'])
def test_a_damaged_cache_is_looked_at_anew(folder, damage, monkeypatch, tmp_path):
    monkeypatch.setenv("FPBENCH_DATA", str(tmp_path / "data"))
    before = dataset(folder).digest()
    (file,) = (tmp_path / "data" / "image-folder").iterdir()
    file.write_bytes(damage)
    assert dataset(folder).digest() == before


def test_without_a_cache_everything_is_read_again(folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FPBENCH_DATA", str(tmp_path / "file"))
    assert dataset(folder).digest() == dataset(folder).digest()


@pytest.mark.real_data
def test_real_faces_are_read(real_data):
    found = dataset(real_data / "utkface-64.zip", size=32, train=100, test=50, reference=50)
    assert found.info().counts == {"train": 100, "test": 50, "reference": 50}
    images = found.read("train", np.arange(100))
    assert images.shape == (100, 32, 32, 3)
    assert 60 < images.mean() < 190
