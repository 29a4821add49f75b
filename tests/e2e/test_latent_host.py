"""A run on a published decoder: attacks on weights, fine-tuning, a file that is none."""

from pathlib import Path

import pytest
from PIL import Image
from tiny_autoencoders import saved_chain

import fpbench
from fpbench.api import Outcome

WHO = ("-p", "fpbench.testing.fakes")

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


@pytest.mark.timeout(240)
def test_users_get_copies_out_of_a_bundle_where_the_hosts_files_are_said(
    run_suite, suite_file, plain_suite, command, tmp_path
):
    (tmp_path / "decoder").mkdir()
    places = saved_chain(tmp_path / "decoder")
    head, _, tail = plain_suite.partition("[[attacks]]")
    text = head + tail[tail.index("[population]") :]
    run_suite(suite_file(('use = "tiny-host"', HOST.format(**places)), text=text))
    registry, bundle = tmp_path / "users.db", tmp_path / "given.zip"
    given = ("--no-readings", "--weights", "-m", "perfect")
    assert command(*WHO, "export", tmp_path / "run", "-o", bundle, *given)[0] == 0
    assert command("users", "init", registry)[0] == 0
    there = [f"--place={name}={path}" for name, path in places.items()]
    asked = ("issue", f"{bundle}:perfect", "--user", "Ada", "--registry", registry)
    code, _, err = command(*WHO, *asked, "-o", tmp_path / "copy")
    assert (code, "(--place autoencoder=PATH, --place encoder=PATH)" in err) == (7, True), err
    assert "code 0 of model given:perfect is his; no copy was made" in err
    code, out, err = command(*WHO, *asked, "-o", tmp_path / "copy", *there, "--again")
    assert (code, err) == (0, ""), err
    plugins = ["fpbench.testing.fakes"]
    copy = fpbench.load_copy(tmp_path / "copy", plugins=plugins, places=places)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(copy.sample(2)):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    traced = ("trace", tmp_path / "images", "--registry", registry, "--false-rate", "0.01")
    code, out, err = command(*WHO, *traced, "--method", f"{bundle}:perfect")
    assert (code, err) == (0, "")
    assert out.count("Ada (active), 16 of 16 bits") == 2
    for wrong, said in (
        (("--place", "autoencoder"), "expected NAME=PATH"),
        (("--place", "autoencoder=x", "--place", "autoencoder=y"), "each name once"),
    ):
        code, _, err = command(*WHO, *asked, "-o", tmp_path / "other", *wrong)
        assert (code, said in err) == (2, True), err
    code, _, err = command(
        *WHO, "issue", f"{tmp_path / 'run'}:perfect", *asked[2:], "-o", tmp_path / "other", *there
    )
    assert (code, "expected places of a bundle's files" in err) == (2, True), err
