"""`fpbench attack`: images of a folder come out as in a suite."""

import io
import zipfile

import numpy as np
from PIL import Image

ALONE = (
    ('[[attacks]]\nuse = "jpeg"\nquality = [90, 50]\n', '[[attacks]]\nuse = "noting"\n'),
    ('[[attacks]]\nuse = "weight-noise"\nsigma = [0.1, 0.3]\n', ""),
    ('[[methods]]\nuse = "blind"\n', ""),
    (
        '[[attacks]]\nuse = "fine-tune"\nsteps = [1, 3]\ncopies = 3\nimages = 6\n'
        "clean_images = 8\n",
        "",
    ),
    ('name = "fakes"', 'name = "fakes"\nseed = 7'),
)


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def test_images_come_out_as_in_a_suite(run_suite, suite_file, command, tmp_path, monkeypatch):
    noted = tmp_path / "noted"
    noted.mkdir()
    monkeypatch.setenv("FPBENCH_NOTED", str(noted))
    run_suite(suite_file(*ALONE), plugins=("noting",))
    # Of four images each: those of the copies come first, user by user.
    of_copies = [np.load(file) for file in sorted(noted.iterdir())]
    of_copies = [kept for kept in of_copies if len(kept["before"]) == 4]
    user = 2
    before, after = (of_copies[user][name].transpose(0, 2, 3, 1) for name in ("before", "after"))
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for number, image in enumerate(before):
            archive.writestr(f"mine/{number:03}.png", png(image))
    arguments = ("-a", "noting", "-o", tmp_path / "out", "--seed", 7, "--user", user)
    code, out, err = command("-p", "noting", "attack", tmp_path / "mine.zip", *arguments)
    assert (code, err) == (0, "")
    assert "4 files written" in out
    for number, image in enumerate(after):
        written = np.asarray(Image.open(tmp_path / "out" / "mine" / f"{number:03}.png"))
        assert (written == image).all()


def test_sizes_differ_strengths_have_folders_and_what_is_broken_is_named(command, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("a", (20, 30)), ("b", (48, 16))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            images / f"{name}.png"
        )
    (images / "c.jpg").write_bytes(b"no image")
    out = tmp_path / "out"
    code, said, err = command(
        "attack", images, "-a", "jpeg[quality=90,50]", "-a", "gaussian-noise[sigma=0]", "-o", out
    )
    assert code == 4
    assert "6 files written" in said
    assert "c.jpg: expected an image, got" in err
    assert sorted(folder.name for folder in out.iterdir()) == [
        "gaussian-noise-0",
        "jpeg-50",
        "jpeg-90",
    ]
    for name in ("a", "b"):
        original = np.asarray(Image.open(images / f"{name}.png"))
        same, coded = (
            np.asarray(Image.open(out / folder / f"{name}.png"))
            for folder in ("gaussian-noise-0", "jpeg-50")
        )
        assert (same == original).all()
        file = io.BytesIO()
        Image.fromarray(original).save(file, "JPEG", quality=50, subsampling=2)
        assert coded.shape == original.shape
        assert (coded == np.asarray(Image.open(file))).mean() > 0.99


def test_what_needs_a_suite_is_refused(command, tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg")
    out = tmp_path / "out"
    code, _, err = command("attack", tmp_path, "-a", "bypass", "-a", "jpeg[quality=0]", "-o", out)
    assert code == 2
    assert "quality: expected" in err
    code, _, err = command("attack", tmp_path, "-a", "bypass", "-o", tmp_path)
    assert code == 2
    assert "-a bypass: expected an attack on images" in err
    assert "expected an empty folder" in err
    code, _, err = command("attack", tmp_path, "-a", "jpeg", "-o", out)
    assert code == 2
    assert "a.png: expected a name of its own without its suffix, got that of a.jpg" in err
    code, _, err = command("attack", tmp_path / "none", "-a", "jpeg", "-o", out)
    assert code == 7
    assert "none, got nothing; name yours" in err
