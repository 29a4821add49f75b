"""Every suite that comes with fpbench can be planned on as many samples as its data set has."""

import io
import re
import wave
import zipfile
from pathlib import Path

import pytest

from fpbench.builtin.published_sets.datasets import Published
from fpbench.execute.request import Request
from fpbench.plan import DataFacts
from fpbench.registry import load
from fpbench.spec import read_suite

BOARDS = Path(__file__).parents[3] / "leaderboards"


def asked(board):
    """As many samples as the board's README asks for."""
    found = re.search(r"at least ([\d,]+) (?:images|sounds)", (board / "README.md").read_text())
    return int(found.group(1).replace(",", ""))


def archive(board, path):
    """A zip with so many images, each of one colour."""
    with zipfile.ZipFile(path, "w") as file:
        for index in range(asked(board)):
            file.writestr(f"{index}.ppm", b"P6 1 1 255 " + index.to_bytes(3, "big"))
    return f"dataset.path={path}"


def recorded(board, path):
    """A zip with so many short sounds."""
    with zipfile.ZipFile(path, "w") as file:
        for index in range(asked(board)):
            data = io.BytesIO()
            with wave.open(data, "wb") as sound:
                sound.setparams((1, 2, 8000, 0, "NONE", ""))
                sound.writeframes((index + 1).to_bytes(2, "little") * 200)
            file.writestr(f"{index}.wav", data.getvalue())
    return f"dataset.path={path}"


def captioned(board, params):
    """What would be known of one pool of so many images: too many to be made here."""
    held = {"test": params.test, "reference": params.reference}
    counts = {"train": min(params.train, asked(board) - sum(held.values())), **held}
    return DataFacts(params.size, counts, "not brought", conditions="captions")


@pytest.mark.parametrize("name", sorted(p.parent.name for p in BOARDS.glob("*/suite.toml")))
def test_a_shipped_suite_asks_for_no_more_samples_than_there_are(name, tmp_path):
    dataset = read_suite(name, load()).dataset
    assignments, facts = (), None
    if isinstance(dataset, Published):
        facts = DataFacts(dataset.size, dataset.counts, "not prepared")
    elif dataset.name == "image-folder":
        if dataset.params.captions:
            facts = captioned(BOARDS / name, dataset.params)
        else:
            assignments = (archive(BOARDS / name, tmp_path / "images.zip"),)
    elif dataset.name == "audio-folder":
        assignments = (recorded(BOARDS / name, tmp_path / "sounds.zip"),)
    plan, _ = Request(name, assignments=assignments, data=facts).plan()
    suite, there = plan.suite, plan.facts.counts["test"]
    assert suite.carriers_from + suite.carriers <= there
    assert plan.facts.counts["train"] == dataset.params.train
    assert [cell for cell in plan.cells if cell.refusal is None]


@pytest.mark.timeout(300)  # what a process imports for the first decoder
def test_wouaf_sd2_modulates_the_layers_of_the_paper():
    """Two convolutions of 14 resnet blocks and three projections, of a decoder of that size."""
    import torch
    from diffusers import AutoencoderKL
    from fpbench_wouaf.carriers import layers_of
    from torch import nn

    widths = [128, 256, 512, 512]
    ends = ["DownEncoderBlock2D"] * 4, ["UpDecoderBlock2D"] * 4
    sizes = {"down_block_types": ends[0], "up_block_types": ends[1], "layers_per_block": 2}
    with torch.device("meta"):
        decoder = AutoencoderKL(block_out_channels=widths, latent_channels=4, **sizes).decoder
    for method in read_suite("wouaf-sd2", load()).methods[:2]:
        found = layers_of(
            decoder, "weights", attention=True, chosen=re.compile(method.component.params.layers)
        )
        assert sum(isinstance(layer, nn.Conv2d) for layer in found.values()) == 28
        assert sum(isinstance(layer, nn.Linear) for layer in found.values()) == 3
