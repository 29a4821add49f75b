"""How many times as fast as its peers every image attack is: `python tests/bench/attack_ratios.py`.

Everyone runs in one process, taking turns, and the best of the rounds counts, so that a busy
machine slows all alike. Before that each peer's pixels are compared with ours: what does other
work shows by its mean difference in levels.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import click
import cv2
import peers
import torch

from fpbench.registry import load
from fpbench.store import Store

# The least ratio to Pillow by family; JPEG's depends on the side.
PILLOW_BARS = {"geometric": 3.0, "colour": 3.0, "filtering": 2.0}
OTHERS_BAR, NOISE_BAR = 0.9, 0.5
# Seconds after which somebody slow has had his rounds; he has one beside the warm-up at least.
ENOUGH = 20.0
HEADER = (
    "attack", "strength", "side", "ours, images/s", "to Pillow", "bar", "to torchvision",
    "its batch", "to kornia", "bar", "to limit", "bar", "verdict", "difference P / T / K",
)  # fmt: skip


def bars(name: str, side: int) -> dict[str, float]:
    """The least ratio to each peer."""
    family = load().component("attacks", name).family
    found = {"torchvision": OTHERS_BAR, "kornia": OTHERS_BAR}
    if name == "jpeg":
        found["pillow"] = 4.0 if side <= 64 else 2.0
    elif family in PILLOW_BARS:
        found["pillow"] = PILLOW_BARS[family]
    if name == "gaussian-noise":
        found["limit"] = NOISE_BAR
    return found


def best_seconds(work: peers.Work, rounds: int) -> dict[str, float]:
    """Seconds of the best round of everyone who can do the work."""
    runs = {}
    for who in peers.WHO:
        try:
            runs[who] = peers.runner(who, work)
        except peers.NoPeer:
            continue
    best, spent = dict.fromkeys(runs, float("inf")), dict.fromkeys(runs, 0.0)
    for number in range(rounds + 1):
        for who, run in runs.items():
            if number > 1 and spent[who] > ENOUGH:
                continue
            start = time.perf_counter()
            run()
            seconds = time.perf_counter() - start
            spent[who] += seconds
            if number:  # the first round warms up
                best[who] = min(best[who], seconds)
    return best


def row(work: peers.Work, rounds: int) -> list[str]:
    """One line of the table."""
    differences = []
    for who in ("pillow", "torchvision", "kornia"):
        try:
            found = peers.difference(work, who)
        except peers.NoPeer:
            found = None
        differences.append("–" if found is None else f"{found:.2f}")
    best, least = best_seconds(work, rounds), bars(work.name, work.side)
    ratios = {who: seconds / best["ours"] for who, seconds in best.items()}
    missed = [who for who, bar in least.items() if ratios.get(who, bar) < bar]
    shown = {who: f"{ratios[who]:.2f}" if who in ratios else "–" for who in peers.WHO}

    def bar(who: str) -> str:
        return f"≥ {least[who]:g}" if who in least and who in ratios else "–"

    return [
        work.name, f"{work.strength:g}", str(work.side), f"{len(work.images) / best['ours']:,.0f}",
        shown["pillow"], bar("pillow"), shown["torchvision"],
        shown["torchvision-batch"], shown["kornia"],
        bar("torchvision") if "torchvision" in ratios else bar("kornia"),
        shown["limit"], bar("limit"), "miss: " + ", ".join(missed) if missed else "pass",
        " / ".join(differences),
    ]  # fmt: skip


def line(cells: list[str] | tuple[str, ...]) -> str:
    """A line of markdown."""
    return "| " + " | ".join(cells) + " |"


@click.command()
@click.option("--images", default=1000, show_default=True, help="Images at each side.")
@click.option("--sizes", default="64,256", show_default=True, help="Sides in pixels.")
@click.option("--only", default="", help="Names of attacks; all unless given.")
@click.option("--rounds", default=5, show_default=True, help="The best of them counts.")
@click.option("--threads", default=0, help="Threads of torch and OpenCV; theirs unless given.")
def main(images: int, sizes: str, only: str, rounds: int, threads: int) -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # of the peers
    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    click.echo(
        f"{images} images in batches of {peers.BATCH}, best of {rounds} rounds, torch with "
        f"{torch.get_num_threads()} threads, OpenCV with {cv2.getNumThreads()}.\n"
        "Ratios: images/s of ours over theirs. Pillow runs in one thread. torchvision gets the\n"
        "tensors that the attack gets, one call an image where each has its own parameter; its\n"
        "batch: contiguous planes, one parameter for all, which is less work and has no bar.\n"
        "kornia's time leaves out the conversion from and to uint8. Limit:\n"
        "the codec alone in one thread, torch.randn of as many numbers, or a copy of the batch.\n"
        "Difference: mean levels between the pixels of Pillow, torchvision, kornia and ours; a\n"
        "quarter of a level is kornia's, who does not round.\n"
    )
    click.echo(line(HEADER))
    click.echo(line(["---"] * len(HEADER)))
    names = [name for name in peers.names() if not only or name in only.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for side in map(int, sizes.split(",")):
                work = peers.work(name, images, side, Store(Path(folder)))
                click.echo(line(row(work, rounds)))


if __name__ == "__main__":
    main()
