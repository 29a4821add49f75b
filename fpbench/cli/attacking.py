"""`attack`: a folder of images or sounds under attacks on them, without a suite."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from fpbench.cli import exits
from fpbench.cli.options import json_option


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-a",
    "--attack",
    "attacks",
    multiple=True,
    required=True,
    metavar="NAME[k=v]",
    help="An attack on images or sounds, e.g. 'jpeg[quality=90,50]'; repeats.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="An empty folder, or none yet; with several attacks or strengths, each gets its own.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="That of the suite."
)
@click.option(
    "--user",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The user of that suite, from 0, whose images they are taken for.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ...")
@json_option
@click.pass_obj
def attack(
    plugins: tuple[str, ...],
    folder: Path,
    attacks: tuple[str, ...],
    output: Path,
    seed: int,
    user: int,
    device: str,
    as_json: bool,
) -> None:
    """Attack the images of FOLDER, a folder or zip, and write them as PNG; or sounds, as WAV.

    They come out as in a suite: image i, in the order of names, draws what the image i of that user
    draws there. Images keep their size, sounds their length, rate and channels. Attacks that are
    for sounds read sounds, all others images.
    """
    from fpbench.api import MissingResource
    from fpbench.registry import load
    from fpbench.spec import read_attacks

    found = read_attacks(load(plugins), attacks)
    if not folder.exists():
        raise MissingResource(f"expected a folder or zip at {folder}, got nothing; name yours")
    import torch

    from fpbench.execute.folder import attack_folder
    from fpbench.execute.machine import resolve_device

    where = torch.device(resolve_device(device))
    written, problems = attack_folder(folder, found, output, seed=seed, user=user, device=where)
    if as_json:
        told = {"written": written, "output": str(output), "problems": problems}
        click.echo(json.dumps(told, indent=2))
    else:
        for problem in problems:
            click.echo(problem, err=True)
        click.echo(f"{written:,} files written to {output}, {len(problems):,} could not be read")
    if problems:
        sys.exit(exits.CELLS_FAILED if written else exits.NOTHING_MEASURED)
