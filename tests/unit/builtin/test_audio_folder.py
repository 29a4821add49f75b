"""Real sounds from folders and archives."""

import io
import struct
import zipfile

import numpy as np
import pytest
import soundfile
from scipy import signal

from fpbench.api import MissingResource
from fpbench.builtin.audio_folder.dataset import AudioFolder, AudioFolderParams
from fpbench.builtin.audio_folder.decoding import UnfitSound, decode
from fpbench.builtin.audio_folder.findings import Kind


def tone(seconds=0.3, rate=8000, hertz=440.0, level=0.5):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def written(values, rate=8000, kind="WAV", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, values, rate, format=kind, subtype=subtype)
    return file.getvalue()


def folder_of(path, count=12, **sounds):
    path.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (path / f"{number}.wav").write_bytes(written(tone(hertz=200 + 20 * number)))
    for name, content in sounds.items():
        (path / name.replace("__", ".")).write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FPBENCH_DATA", str(tmp_path / "cache"))


def dataset(path, **params):
    small = {"length": 2048, "test": 3, "reference": 3}
    return AudioFolder(AudioFolderParams(path=str(path), **(small | params)))


# -- decoding --------------------------------------------------------------------------------------


def test_16_bit_sounds_at_the_wanted_rate_stay_as_they_are():
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 1000).astype(np.int16)
    found = decode(written(samples), 8000, 1000)
    np.testing.assert_array_equal(found.samples, samples[None])
    assert found.done == ()
    flac = decode(written(samples, kind="FLAC"), 8000, 1000)
    np.testing.assert_array_equal(flac.samples, samples[None])


def test_long_sounds_give_their_middle_and_short_ones_stand_in_silence():
    samples = np.arange(1, 1001, dtype=np.int16)
    cut = decode(written(samples), 8000, 600)
    assert cut.samples.tolist() == [list(range(201, 801))]
    assert cut.done == (Kind.CUT,)
    padded = decode(written(samples), 8000, 1101)
    assert padded.samples[0, 50:1050].tolist() == samples.tolist()
    assert not padded.samples[0, :50].any()
    assert not padded.samples[0, 1050:].any()
    assert padded.done == (Kind.PADDED,)


@pytest.mark.parametrize("own", [11_025, 16_000, 44_100, 48_000])
def test_other_rates_give_the_same_tone(own):
    seconds = 1.0
    found = decode(written(tone(seconds, own), own), 8000, 4096)
    assert Kind.RESAMPLED in found.done
    assert Kind.CUT in found.done
    inner = found.samples[0, 200:-200].astype(float) / 2**15
    time = np.arange(len(inner)) / 8000
    waves = np.stack([np.sin(2 * np.pi * 440 * time), np.cos(2 * np.pi * 440 * time)], axis=1)
    rest = inner - waves @ np.linalg.lstsq(waves, inner, rcond=None)[0]
    assert np.abs(rest).max() < 2e-3
    assert np.abs(inner).max() == pytest.approx(0.5, abs=2e-3)


def test_what_is_cut_before_resampling_is_what_is_resampled_and_cut():
    noise = np.random.default_rng(1).normal(0, 0.1, 64_000)
    found = decode(written(noise, 16_000, subtype="DOUBLE"), 8000, 4096).samples[0]
    whole = signal.resample_poly(noise, 1, 2)
    start = (len(whole) - 4096) // 2
    np.testing.assert_allclose(found / 2**15, whole[start : start + 4096], atol=1 / 2**15)


def test_channels_are_averaged_and_deep_and_loud_values_said():
    left, right = tone(hertz=300), tone(hertz=700)
    stereo = np.stack([left, right], axis=1)
    found = decode(written(stereo, subtype="PCM_24"), 8000, 2400)
    np.testing.assert_allclose(found.samples[0] / 2**15, (left + right) / 2, atol=1 / 2**15)
    assert found.done == (Kind.DEEP, Kind.MIXED)
    loud = decode(written(3 * tone(), subtype="FLOAT"), 8000, 2400)
    np.testing.assert_allclose(loud.samples[0] / 2**15, tone(level=1), atol=2e-2)
    assert loud.done == (Kind.DEEP, Kind.SCALED)
    clipped = decode(written(np.clip(3 * tone(), -1, 1)), 8000, 2400)
    assert clipped.done == (Kind.CLIPPED,)


@pytest.mark.parametrize(("kind", "subtype"), [("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_compressed_sounds_are_read(kind, subtype):
    found = decode(written(tone(1.0, 16_000), 16_000, kind, subtype), 8000, 4096)
    assert np.abs(np.abs(found.samples).max() / 2**15 - 0.5) < 0.1


def bad_sounds():
    whole = written(tone())
    nan = tone()
    nan[5] = np.nan
    return {
        "text__wav": (b"this is no sound at all\n" * 3, Kind.BROKEN, "text"),
        "empty__wav": (b"", Kind.BROKEN, "empty"),
        "header__wav": (whole[:30], Kind.BROKEN, "truncated: 30 of"),
        "half__wav": (whole[:2000], Kind.BROKEN, "truncated: 2,000 of"),
        "half__flac": (written(np.random.default_rng(0).normal(0, 0.1, 9000), kind="FLAC")[:9000],
                       Kind.BROKEN, ""),
        "one__wav": (written(tone()[1:2]), Kind.SHORT, "1 samples"),
        "silent__wav": (written(np.zeros(3000)), Kind.SILENT, ""),
        "nan__wav": (written(nan, subtype="FLOAT"), Kind.BROKEN, "not numbers"),
        "long__wav": (written(np.ones(601 * 1000), 1000), Kind.LONG, "601 s"),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(bad_sounds()))
def test_what_cannot_be_used_says_why(name):
    data, kind, why = bad_sounds()[name]
    with pytest.raises(UnfitSound) as caught:
        decode(data, 8000, 2048)
    assert caught.value.kind is kind
    assert why in str(caught.value)


def test_a_file_that_tells_no_size_is_read_to_its_end():
    data = bytearray(written(tone()))
    data[4:8] = struct.pack("<I", 0xFFFFFFFF)
    assert decode(bytes(data), 8000, 2400).done == ()


# -- folders ---------------------------------------------------------------------------------------


def test_a_folder_and_its_zip_are_the_same_data(tmp_path):
    folder = folder_of(tmp_path / "sounds")
    with zipfile.ZipFile(tmp_path / "sounds.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"inside/{path.name}")
    one, other = dataset(folder), dataset(tmp_path / "sounds.zip")
    info = one.info()
    assert (info.modality, info.shape, info.dtype, info.rate) == ("audio", (1, 2048), "int16", 8000)
    assert info.counts == {"train": 6, "test": 3, "reference": 3} == other.info().counts
    assert one.digest() == other.digest()
    for split in info.counts:
        np.testing.assert_array_equal(
            one.read(split, np.arange(3)), other.read(split, np.arange(3))
        )
    one.verify()


def test_splits_are_folders_equal_sounds_count_once_and_folders_may_be_classes(tmp_path):
    for split in ("train", "test"):
        for digit in ("seven", "two"):
            low = 100 * len(split) + len(digit)
            folder_of(tmp_path / split / digit, 4, more__wav=written(tone(hertz=low)))
    found = dataset(tmp_path, classes=True, reference=1)
    # Of the numbered tones all four folders have the same.
    assert found.info().counts["test"] == 3
    assert found.info().conditions == "classes"
    assert set(found.conditions("test", np.arange(3))) <= {0, 1}
    said = found.prepare()
    assert said.startswith("1 train, 3 test, 1 reference sounds of 2,048 samples at 8,000 Hz")
    assert "test as test, train as train" in said
    assert "equal to sounds of another split" in said
    assert "longer than what is used, cut to their middle" in said
    assert dataset(tmp_path, reference=1).digest() != found.digest()


def test_all_that_cannot_be_used_is_told_at_once_by_file_and_cure(tmp_path):
    bad = {name: data for name, (data, _, _) in bad_sounds().items()}
    folder = folder_of(tmp_path / "sounds", 5, readme__txt=b"words", **bad)
    with pytest.raises(MissingResource) as caught:
        dataset(folder).info()
    said = str(caught.value)
    for name in bad:
        assert name.replace("__", ".") in said
    for part in ("text.wav (text)", "silent where they are used", "; mend, convert or remove them"):
        assert part in said
    for name in bad:
        (folder / name.replace("__", ".")).unlink()
    assert (
        "no sounds by their names (1: .txt 1): readme.txt"
        in dataset(folder, test=1, reference=1).prepare()
    )


def test_what_changes_after_planning_is_noticed(tmp_path):
    folder = folder_of(tmp_path / "sounds")
    planned = dataset(folder)
    planned.info()
    (folder / "3.wav").write_bytes(written(tone(hertz=999)))
    with pytest.raises(MissingResource, match=r"got a change: 3\.wav"):
        planned.verify()
    (folder / "3.wav").unlink()
    with pytest.raises(MissingResource, match=r"got a change: 3\.wav"):
        planned.verify()


def test_where_there_is_nothing_the_next_step_is_said(tmp_path):
    with pytest.raises(MissingResource, match="dataset audio-folder: expected a folder or zip at"):
        dataset(tmp_path / "none").info()
    (tmp_path / "words.txt").write_text("no sound")
    with pytest.raises(MissingResource, match=r"expected sounds .* got none: left out, no sounds"):
        dataset(tmp_path).info()
    folder_of(tmp_path, 4)
    with pytest.raises(MissingResource, match="got none that is left: test has 3, reference 1"):
        dataset(tmp_path).info()
    folder_of(tmp_path / "train2017", 4)
    with pytest.raises(MissingResource, match=r"dataset audio-folder: .*folders train and test"):
        dataset(tmp_path).info()


@pytest.mark.real_data
def test_spoken_digits(real_data):
    found = AudioFolder(AudioFolderParams(path=str(real_data / "fsdd-8k.zip"), classes=True))
    assert found.info().counts == {"train": 700, "test": 300, "reference": 2000}
