"""A run on a published decoder: attacks on weights, fine-tuning, a file that is none."""

from pathlib import Path

from tiny_autoencoders import saved_chain

from fpbench.api import Outcome

HOST = """use = "latent-diffusion"
autoencoder = "{autoencoder}"
encoder = "{encoder}"
images = 64
components = 16"""
MORE = """[[attacks]]
use = "permute-channels"
[[attacks]]
use = "collude"
users = [2]
[[attacks]]
use = "bypass\""""


def test_a_suite_runs_on_a_decoder_from_its_files(run_suite, suite_file, tmp_path):
    places = saved_chain(tmp_path)
    path = suite_file(
        ('use = "tiny-host"', HOST.format(**places)), ('[[attacks]]\nuse = "bypass"', MORE)
    )
    summary, records, _ = run_suite(path)
    assert set(summary.cells) == {Outcome.DONE}, summary.cells
    assert records


def test_a_damaged_file_is_refused_before_anything_runs(command, suite_file, tmp_path):
    places = saved_chain(tmp_path)
    damaged = Path(places["autoencoder"])
    damaged.write_bytes(damaged.read_bytes() + b"1234")
    path = suite_file(('use = "tiny-host"', HOST.format(**places)))
    code, out, said = command("-p", "fpbench.testing.fakes", "plan", path)
    assert code != 0
    assert "decoder.safetensors: expected weights as safetensors" in out + said
