"""Images that were marked elsewhere, scored like those of every method."""

import csv
import re
import sys
import tomllib
import zipfile

import numpy as np
import pytest
from PIL import Image
from rows import value

from fpbench.api import ContractError, MissingResource, StageError
from fpbench.builtin.self_marked.params import SelfMarkedParams
from fpbench.builtin.self_marked.reading import read
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.report.build import build_page

BITS = 16
WHO = ("-p", "fpbench.testing.fakes")
READER = '''
import sys
from pathlib import Path
import numpy as np


def read(image):
    """Bit k is the contrast between the two halves of block k of the image."""
    grey = image.mean(axis=2).ravel()
    block = np.arange(grey.size) * 32 // grey.size
    halves = np.array([grey[block == k].mean() for k in range(32)]).reshape(16, 2)
    return halves[:, 1] - halves[:, 0]


if __name__ == "__main__":
    from PIL import Image
    for path in sorted(Path(sys.argv[-1]).iterdir()):
        logits = read(np.asarray(Image.open(path).convert("RGB")))
        print(path.name, "".join("1" if value > 0 else "0" for value in logits))
'''


def marked(image, code):
    """The image with half of its contrast, and a step within each of 16 blocks."""
    block = np.arange(image[..., 0].size) * 32 // image[..., 0].size
    step = np.where(block % 2, 1, -1) * np.where(code[block // 2], 1, -1)
    levels = 64 + image * 0.5 + 40.0 * step.reshape(image.shape[:2])[..., None]
    return levels.round().clip(0, 255).astype(np.uint8)


@pytest.fixture
def brought(tmp_path):
    """Originals, marked ones in a zip, a file of codes, a reader."""
    faces = ToyFaces(ToyFaces.Params.model_validate({"train": 128}))
    images = faces.read("train", np.arange(100, 120))
    codes = np.random.default_rng(0).integers(0, 2, (20, BITS)).astype(bool)
    (tmp_path / "originals").mkdir()
    (tmp_path / "reader").mkdir()
    (tmp_path / "reader" / "read.py").write_text(READER)
    with zipfile.ZipFile(tmp_path / "marked.zip", "w") as archive:
        for number, (image, code) in enumerate(zip(images, codes, strict=True)):
            Image.fromarray(image).save(tmp_path / "originals" / f"{number:02}.png")
            with archive.open(f"{number:02}.webp", "w") as file:
                Image.fromarray(marked(image, code)).save(file, "WEBP", lossless=True)
    with (tmp_path / "codes.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["name", "code"])
        for number in reversed(range(20)):
            bits = "".join("1" if bit else "0" for bit in codes[number])
            lines.writerow([f"{number:02}.png", bits])
    return tmp_path


@pytest.fixture
def suite(suite_file, brought):
    def write(*more, reads='function = "read.py:read"'):
        table = (
            f'use = "self-marked"\nlabel = "mine"\nbits = {BITS}\n'
            f'marked = "{brought / "marked.zip"}"\ncodes_file = "{brought / "codes.csv"}"\n'
            f'folder = "{brought / "reader"}"\n{reads}'
        )
        return suite_file(
            ('use = "tiny-host"', f'use = "originals"\npath = "{brought / "originals"}"'),
            ('use = "blind"', table),
            ("copies = 5\nimages = 4", "copies = 20\nimages = 1"),
            ('[[attacks]]\nuse = "weight-noise"\nsigma = [0.1, 0.3]\n', ""),
            (
                'use = "bypass"',
                'use = "bypass"\n[[attacks]]\nuse = "copy-residual"\nclean_images = 8',
            ),
            *more,
        )

    return write


COMMAND = f'command = ["{sys.executable}", "read.py"]'


@pytest.mark.timeout(180)
def test_what_was_marked_elsewhere_is_scored(run_suite, suite):
    _, records, folder = run_suite(suite())
    clean = value(records, "mine", "none", "bit-accuracy")
    assert (clean["value"], clean["clusters"]) == (1, 20)
    assert value(records, "mine", "none", "attribution")["value"] > 0.9
    assert value(records, "mine", "jpeg 90", "bit-accuracy")["value"] > 0.95
    assert abs(value(records, "mine", "bypass", "bit-accuracy")["value"] - 0.5) < 0.15
    psnr = value(records, "mine", "none", "imperceptibility", "psnr")["value"]
    assert 10 < psnr < 20
    refused = value(records, "mine", "copy-residual 10", "")
    assert refused["reason"].startswith("its images were marked elsewhere")
    mine = [r for r in records.values() if r["method"].get("label") == "mine"]
    assert not [r for r in mine if r["metric"] == "code-influence"]
    assert {r["method"]["name"] for r in mine} == {"self-marked"}
    build_page(folder, folder / "page")
    assert "self-marked, post-hoc, 16 bits" in (folder / "page" / "index.html").read_text()
    # What the suite would run is in no record.
    text = (folder / "records.jsonl").read_text() + (folder / "suite.json").read_text()
    assert "read.py:read" not in text
    assert "left out" in text


FEW = (("copies = 20", "copies = 3"), ("quality = [90, 50]", "quality = 90"))


@pytest.mark.timeout(180)
def test_a_command_reads_a_folder_where_it_may(command, suite, brought):
    path, runs = suite(*FEW, reads=COMMAND), ("--runs", brought / "runs")
    code, _, err = command(*WHO, "run", path, "-m", "mine", *runs)
    assert code == 2
    assert "method mine: expected to be allowed to run its `command`" in err
    assert "look at it, and run again with --allow-commands" in err
    code, out, err = command(*WHO, "run", path, "-m", "mine", *runs, "--allow-commands", "-j", 1)
    assert (code, "bit-accuracy 1.0000" in out) == (0, True), err
    # A bundle loses it, and can be read without it.
    bundle = brought / "mine.zip"
    assert command(*WHO, "export", brought / "runs" / "fakes", "-o", bundle)[0] == 0
    with zipfile.ZipFile(bundle) as archive:
        assert not [n for n in archive.namelist() if b"read.py" in archive.read(n)]
        told = tomllib.loads(archive.read("suite.toml").decode())
    assert told["methods"][1]["command"] == ["left out"]
    assert command(*WHO, "verify", bundle)[1].count("command") == 0


def planned(command, path, *more):
    """What a plan says of the method, cell by cell."""
    _, out, err = command(*WHO, "plan", path, "-m", "mine", *more)
    return out + err


def test_what_does_not_pair_is_named_before_anything_is_run(command, suite, brought):
    said = planned(command, suite(("copies = 20", "copies = 21")))
    assert "expected 21 originals, 1 for each of 21 copies, got 20" in said
    said = planned(command, suite((f"bits = {BITS}", "bits = 12")))
    assert "expected codes of 12 bits, as `bits` says, got 00 (16)" in said
    said = planned(command, suite(("copies = 20\nimages = 1", "copies = 5\nimages = 4")))
    assert "expected one code on the 4 images of a user, in the order of names" in said
    said = planned(
        command,
        suite((f'use = "originals"\npath = "{brought / "originals"}"', 'use = "tiny-host"')),
    )
    assert "expected the host originals, which shows what was marked, got tiny-host" in said
    said = planned(command, suite(), "--set", "dataset.size=64")
    assert "expected images of 64 by 64 pixels, as [dataset] size says, got 00.png of 32" in said
    (brought / "originals" / "07.png").rename(brought / "originals" / "eight.png")
    said = planned(command, suite())
    assert "expected a line `name,code`" in said
    assert "none for eight" in said


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import time; time.sleep(60)", "within 2 s, got no end"),
        ("print('000000.png 0101')", "expected a line `000000.png` with 16 bits as one word"),
        ("raise SystemExit('no weights')", "got exit code 1: no weights"),
        ("print('000000.png', *['nan'] * 16)", "expected a line `000000.png` with 16 bits"),
    ],
)
def test_a_reader_that_fails_is_named(program, message, tmp_path):
    command = (sys.executable, "-c", program)
    params = SelfMarkedParams(
        marked="m", codes_file="c", bits=16, folder=str(tmp_path), command=command, timeout_s=2.0
    )
    with pytest.raises((StageError, ContractError), match=re.escape(message)):
        read("method mine", np.zeros((1, 8, 8, 3), np.uint8), params)


def test_a_function_that_gives_something_else_is_named(tmp_path):
    (tmp_path / "read.py").write_text("def few(image):\n    return [True] * 3\n")
    given = {"marked": "m", "codes_file": "c", "bits": 16, "folder": str(tmp_path)}
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(ContractError, match="to give 16 bits or logits, got bool"):
        read("method mine", pixels, SelfMarkedParams(**given, function="read.py:few"))
    with pytest.raises(MissingResource, match="expected a function none in read"):
        read("method mine", pixels, SelfMarkedParams(**given, function="read.py:none"))
    with pytest.raises(ValueError, match="either a `function` or a `command`"):
        SelfMarkedParams(**given)
