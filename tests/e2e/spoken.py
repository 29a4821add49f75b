"""Sounds with known answers: what is done with waves, as the modality audio."""

from waves import Blocks, Hush, Synth

from fpbench.api import hookimpl

AUDIO = frozenset({"audio"})


class SpokenSynth(Synth):
    """See `Synth`."""

    name, modalities = "spoken-synth", AUDIO


class SpokenBlocks(Blocks):
    """See `Blocks`."""

    name, modalities = "spoken-blocks", AUDIO


class SpokenHush(Hush):
    """See `Hush`."""

    name, modalities = "spoken-hush", AUDIO


@hookimpl
def fpbench_hosts():
    return [SpokenSynth]


@hookimpl
def fpbench_methods():
    return [SpokenBlocks]


@hookimpl
def fpbench_attacks():
    return [SpokenHush]
