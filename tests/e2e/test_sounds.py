"""Sounds through the whole run, to a page that shows and plays them."""

import json
import wave
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
from rows import value

import fpbench
from fpbench.api import Outcome, SpecError
from fpbench.execute.request import Request, read_request
from fpbench.publish.archive import open_bundle
from fpbench.publish.bundle import Wish, export
from fpbench.publish.contents import contents
from fpbench.publish.verify import verify
from fpbench.python.tracing import check_sizes, listed, readings
from fpbench.report.build import build_page

pytestmark = pytest.mark.timeout(300)

SUITE = """
[suite]
name = "sounds"
[dataset]
use = "toy-speech"
length = 1024
train = 40
test = 40
reference = 20
[host]
use = "spoken-synth"
[[methods]]
use = "spoken-blocks"
[[attacks]]
use = "spoken-hush"
share = [0.5, 0.75]
[[attacks]]
use = "weight-noise"
sigma = [0.3]
[[backbones]]
use = "stoi"
[population]
copies = 4
images = 4
shared = 5
[negatives]
real = 20
host = 20
[score]
registered = 30
false_rate = 0.01
"""
PLUGINS = ("waves", "spoken")


@pytest.fixture(scope="module")
def run(run_in, tmp_path_factory):
    """Records and folder of the suite's run."""
    place = tmp_path_factory.mktemp("sounds")
    (place / "suite.toml").write_text(SUITE)
    return run_in(place, place / "suite.toml", plugins=PLUGINS)[1:]


def test_sounds_are_measured_in_their_own_words_and_can_be_seen_and_heard(run, tmp_path):
    records, folder = run
    found = value(records, "spoken-blocks", "spoken-hush 0.5", "damage", "distance")
    assert found["outcome"] == Outcome.DONE
    assert found["value"] == pytest.approx(6.02, abs=0.1)
    assert (found["budget"], found["damage"]) == (8.0, found["value"])
    assert found["unit"] == "dB"
    assert found["sample"]["titles"]["distance"] == ["log-spectral distance", "dB"]
    assert value(records, "spoken-blocks", "none", "imperceptibility", "si-snr")["value"] < 10
    assert value(records, "spoken-blocks", "none", "frechet-proxy", "copies")["value"] > 0
    short = value(records, "spoken-blocks", "none", "imperceptibility", "stoi")
    assert (short["outcome"], short["reason"]) == (
        Outcome.REFUSED,
        "it is undefined for every sample",  # an eighth of a second holds too little speech
    )
    assert json.loads((folder / "suite.json").read_text())["score"]["sample_budget"] == 8.0
    build_page(folder, tmp_path / "page")
    page = tmp_path / "page"
    index = (page / "index.html").read_text()
    assert "log-spectral distance in dB of 8" in (page / "protocol.html").read_text()
    assert "Share of sounds traced" in index
    assert "Fréchet sound distance" in index
    for text in ("PSNR", "SSIM", " image"):
        assert text not in index, text
    header = (page / "leaderboard.csv").read_text().splitlines()[0].split(",")
    assert {"snr_to_host_db", "si_snr_to_host_db", "snr_between_codes_db"} <= set(header)
    assert "psnr_to_host_db" not in header
    assert '<audio controls preload="none" src="samples/host.wav" aria-label=' in index
    for name, sounds in (("host", 4), ("spoken-blocks-spoken-hush-0.5", 1)):
        with wave.open(str(page / "samples" / f"{name}.wav")) as file:
            assert (file.getframerate(), file.getsampwidth()) == (8000, 2)
            assert file.getnframes() == sounds * (1024 + 1200)


def test_a_bundle_has_the_sounds_of_drawn_data_but_for_the_data_sets_own(run, tmp_path):
    _, folder = run
    request = read_request(folder, PLUGINS, folder.parent / "store")
    export(folder, request, tmp_path / "bundle.zip", Wish("somebody", "as a test"))
    assert list(contents(tmp_path / "bundle.zip"))[-1].startswith("  35 sounds drawn by the host")
    with open_bundle(tmp_path / "bundle.zip") as bundle:
        assert verify(bundle, PLUGINS, rescore=False).problems == []
        there = {path.name for path in (bundle.folder / "samples").iterdir()}
        assert {"host.png", "host.wav", "spoken-blocks-copy-0.wav"} <= there
        assert "real.wav" not in there


def test_sounds_are_traced_as_they_are(run, tmp_path):
    _, folder = run
    method = fpbench.open_run(str(folder), plugins=PLUGINS).method("spoken-blocks")
    sounds = method.images(1)
    assert sounds.shape == (4, 1, 1024)
    assert sounds.dtype == np.int16

    def read(name, samples, rate=8000):
        file = tmp_path / name
        if isinstance(samples, bytes):
            file.write_bytes(samples)
        else:
            soundfile.write(file, samples, rate, format="WAV")
        files, lacking = listed([tmp_path])
        assert lacking == 0
        check_sizes(method, files)
        ((told, logits),) = readings(Mock(of_scores=False), method, files)
        return [each.name for each in told], logits

    read("a.wav", sounds[0, 0])
    names, logits = read("b.wav", sounds[1, 0])
    assert names == ["a.wav", "b.wav"]
    assert ((logits > 0) == method.codes[1]).all()
    with pytest.raises(
        SpecError, match=r"expected 1 channels of 1,024 samples at 8,000 Hz, as the"
    ):
        read("c.wav", sounds[0, 0], 16_000)
    with pytest.raises(SpecError, match=r"c\.wav: expected a sound, got one damaged, or no sounds"):
        read("c.wav", b"no sound")


def test_a_suite_may_name_its_own_budget(suite_file):
    suite = suite_file(("[score]", "[score]\nsample_budget = 9.5"), text=SUITE)
    plan, _ = Request(str(suite), plugins=PLUGINS).plan()
    assert plan.suite.score.sample_budget == 9.5


def test_what_is_for_images_is_refused_before_anything_is_trained(suite_file):
    more = """
[[attacks]]
use = "jpeg"
quality = [50]
[[attacks]]
use = "re-embed"
[population]"""
    suite = suite_file(("[population]", more), text=SUITE)
    plan, _ = Request(str(suite), plugins=PLUGINS).plan()
    refused = {cell.point.label: cell.refusal for cell in plan.cells if cell.refusal}
    assert {*refused} == {"jpeg 50", "re-embed"}
    assert {reason.reason for reason in refused.values()} == {"it is meant for image, not audio"}
    suite = suite_file(('use = "spoken-blocks"', 'use = "hidden"'), text=SUITE)
    with pytest.raises(SpecError, match="method hidden: expected samples of image, got audio of"):
        Request(str(suite), plugins=PLUGINS).plan()


def test_a_sound_attack_is_refused_in_an_image_suite(suite_file):
    more = '[[attacks]]\nuse = "spoken-hush"\nshare = [0.5]\n[population]'
    suite = suite_file(("[population]", more))
    plan, _ = Request(str(suite), plugins=("waves", "spoken", "fpbench.testing.fakes")).plan()
    (cell,) = [c for c in plan.cells if c.point.label == "spoken-hush 0.5"][:1]
    assert cell.refusal.reason == "it is meant for audio, not image"


def test_a_folder_of_sounds_is_attacked_as_it_lies(command, tmp_path):
    folder, out = tmp_path / "sounds", tmp_path / "out"
    folder.mkdir()
    stereo = np.random.default_rng(0).integers(-9000, 9000, (2000, 2)).astype(np.int16)
    soundfile.write(folder / "a.flac", stereo, 44_100)
    (folder / "b.wav").write_text("no sound")
    hush = ("-p", "waves", "-p", "spoken", "attack", folder, "-a", "spoken-hush[share=0.5]")
    code, said, err = command(*hush, "-o", out)
    assert (code, "1 files written" in said) == (4, True)
    assert "b.wav: expected a sound, got one damaged, or no sounds (text); replace it" in err
    samples, rate = soundfile.read(out / "a.wav", dtype="int16")
    assert rate == 44_100
    np.testing.assert_array_equal(samples, np.rint(stereo / 2))
    code, _, err = command(*hush, "-a", "jpeg", "-o", tmp_path / "other")
    assert code == 2
    assert "got others: spoken-hush is for audio, jpeg is for image" in err
