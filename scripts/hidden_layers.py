"""Measures a HiDDeN model under the noise layers of its paper, beside what others published.

    python scripts/hidden_layers.py hidden.safetensors photographs.zip --size 128

The file holds embedder and extractor: a public checkpoint as `python -m fpbench_hidden.converting`
makes it, or what a run has trained, objects/*/KEY/main/arrays.safetensors of its store. Photographs
are the first ones of the test split: no more than a suite has there, its trainings have not seen
them. Prints a table in Markdown: the share of bits that are read wrong once a layer has been over
a marked photograph, with the standard error over photographs, and what the public logs say of a
model that was trained on that layer alone.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import click
import numpy as np
import torch
from fpbench_hidden import layout, paper, paper_noise
from fpbench_hidden.params import HiddenParams
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from fpbench.api.images import to_float, to_uint8
from fpbench.nn.draws import Draws
from fpbench.nn.state import part
from fpbench.registry import load
from fpbench.stages.images import SplitStream

LAYERS = ("identity", "dropout", "cropout", "crop", "gaussian-blur", "jpeg-mask", "jpeg-drop")
# validation.csv of ando-khachatryan/HiDDeN at the last epoch, each of a model of its own; its crop
# keeps about 5 % of the area, its cropout 33 %, its dropout 55 to 60 % of the pixels.
PUBLISHED = {
    "identity": 0.0009,
    "dropout": 0.0099,
    "cropout": 0.0704,
    "crop": 0.0604,
    "jpeg-mask": 0.0127,
}
_BATCH = 20


def measure(weights: Path, photographs: Tensor, seed: int = 0) -> tuple[float, dict[str, Tensor]]:
    """Squared change of images in [-1, 1], and for each layer the share of wrong bits, (N,).

    Args:
        weights: safetensors in the layout of `fpbench_hidden.layout`.
        photographs: (N, 3, H, W) uint8.
        seed: of codes and layers.
    """
    with safe_open(weights, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    for name in state:
        if name.endswith(layout.COUNTER):  # a store has no tensors without axes
            state[name] = state[name].reshape(())
    if not {"reader.linear.bias", "reader.layers.0.layers.0.bias"} <= state.keys():
        raise click.ClickException(
            f"expected embedder.* and reader.* of HiDDeN as published in {weights.name}, got "
            "others; convert a checkpoint with python -m fpbench_hidden.converting"
        )
    sizes = {
        "bits": len(state["reader.linear.bias"]),
        "channels": len(state["reader.layers.0.layers.0.bias"]),
    }
    params = HiddenParams(architecture="paper", **sizes)
    found = {name: tuple(value.shape) for name, value in state.items()}
    layout.check(f"the weights {weights.name}", found, layout.shapes(**sizes))
    embedder = paper.restore(part(state, "embedder"), params, torch.device("cpu"))
    layers: dict[str, paper_noise.Layer] = {name: paper_noise.layers(name)[0] for name in LAYERS}
    layers["JPEG 50"] = _jpeg
    wrong: dict[str, list[Tensor]] = {name: [] for name in layers}
    change = []
    rng = torch.Generator().manual_seed(seed)
    for start in range(0, len(photographs), _BATCH):
        covers = to_float(photographs[start : start + _BATCH])
        codes = torch.rand(len(covers), params.bits, generator=rng) < 0.5
        with torch.no_grad():
            marked = to_float(to_uint8(embedder(covers, codes)))
        change.append((marked - covers).square().flatten(1).mean(1))
        for number, (name, layer) in enumerate(layers.items()):
            own = torch.Generator().manual_seed(seed + start * len(layers) + number)
            seen = to_uint8(layer(marked, covers, Draws(own, len(covers))))
            right = (paper.extract(state, seen, params) > 0) == codes
            wrong[name].append(1 - right.float().mean(1))
    return float(torch.cat(change).mean()), {name: torch.cat(own) for name, own in wrong.items()}


def table(change: float, wrong: dict[str, Tensor]) -> str:
    """Both, as Markdown."""
    lines = [
        f"Squared change {change:.4f} on [-1, 1], {10 * math.log10(4 / change):.1f} dB.",
        "",
        "| layer | wrong bits | public log |",
        "|---|---|---|",
    ]
    for name, values in wrong.items():
        error = float(values.std()) / math.sqrt(len(values))
        known = f"{PUBLISHED[name]:.4f}" if name in PUBLISHED else ""
        lines.append(f"| {name} | {float(values.mean()):.4f} ± {error:.4f} | {known} |")
    return "\n".join(lines)


def _jpeg(images: Tensor, covers: Tensor, draws: Draws) -> Tensor:
    """A real codec, which no model of the paper met in training."""
    del covers, draws
    read = []
    for image in to_uint8(images).permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=50)
        read.append(np.asarray(Image.open(file)))
    return to_float(torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2))


@click.command()
@click.argument("weights", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("photographs", type=click.Path(path_type=Path, exists=True))
@click.option("--size", default=128, show_default=True, help="Side of the photographs, pixels.")
@click.option("--count", default=200, show_default=True, help="Photographs, at most.")
def main(weights: Path, photographs: Path, size: int, count: int) -> None:
    """Measure a model of HiDDeN under the noise layers of its paper."""
    kind = load().component("datasets", "image-folder")
    images = kind(kind.Params(path=str(photographs), size=size, train=1, test=count, reference=1))
    stream = SplitStream(images, "test", torch.device("cpu"))
    chosen = stream.read(np.arange(len(stream)))
    click.echo(table(*measure(weights, chosen)))


if __name__ == "__main__":
    main()
