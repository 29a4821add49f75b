"""Environments of published marks with stand-ins for their libraries, made in a moment.

Each stand-in takes the calls that its library takes, and writes a bit as the contrast between the
two halves of its block of the image, or of the sound.
"""

import venv
from pathlib import Path

import numpy as np
from fpbench_published_marks.plugin import fpbench_methods

CONTRAST = """
import numpy as np

def patterns(bits, height, width):
    at = np.arange(height * width)
    half = at * 2 * bits // len(at) % 2 * 2 - 1
    return np.where(at * bits // len(at) == np.arange(bits)[:, None], half, 0).astype(float)

def mark(image, code, loudness=1.0):
    signs = np.array([1.0 if int(bit) else -1.0 for bit in code])
    change = (signs @ patterns(len(signs), *image.shape[:2])).reshape(*image.shape[:2], 1)
    return image * 0.5 + 64 + 40 * loudness * change

def read(image, bits):
    grey = image.astype(float).mean(axis=2).ravel()
    return patterns(bits, *image.shape[:2]) @ grey
"""
CLASS = """
import numpy as np
from contrast import mark, read

class NAME:
    def __init__(self, watermarks=(), wmLen=8, scales=(0, 36, 36)):
        self.bits, self.length, self.loudness = watermarks, wmLen, scales[1] / 36

    @classmethod
    def loadModel(cls):
        cls.loaded = True

    def encode(self, bgr):
        return mark(bgr, self.bits, self.loudness).round().astype(np.uint8)

    def decode(self, bgr):
        return read(bgr, self.length) > 0
"""
BLIND = """
import os
from contrast import mark, read

print("Welcome to the library")

class Core:
    d1, d2 = 36, 20

class WaterMark:
    def __init__(self):
        self.bwm_core = Core()

    def read_img(self, img):
        if os.path.exists("die"):
            os._exit(3)
        self.img = img

    def read_wm(self, code, mode):
        self.code = code

    def embed(self):
        assert self.bwm_core.d2 / self.bwm_core.d1 == 20 / 36
        return mark(self.img, self.code, self.bwm_core.d1 / 36)

    def extract(self, embed_img, wm_shape, mode):
        return read(embed_img, wm_shape) > 0
"""
TRUSTMARK = """
import numpy as np
from PIL import Image
from contrast import mark, read

class TrustMark:
    def __init__(self, use_ECC, verbose, device, model_type, loadRemover):
        for part in ("encoder", "decoder"):
            self.load_model(f"x/trustmark_{model_type}.yaml", f"x/{part}_{model_type}.ckpt")

    def load_model(self, config, weight):
        self.check_and_download(config)
        self.check_and_download(weight)

    def check_and_download(self, filename):
        raise AssertionError("fetched " + filename)

    def encode(self, picture, text, MODE):
        made = mark(np.asarray(picture), text).round().astype(np.uint8)
        return Image.fromarray(made)

    def decode(self, picture, MODE):
        bits = read(np.asarray(picture), 100) > 0
        return "".join("01"[int(bit)] for bit in bits), True, -1
"""
SOUND = """
import numpy as np
from contrast import patterns

def mark_sound(sound, bits):
    assert sound.dtype == np.float32 and sound.ndim == 1 and np.abs(sound).max() <= 1
    signs = np.array([1.0 if int(bit) else -1.0 for bit in bits])
    return sound * 0.5 + 0.25 * (signs @ patterns(len(signs), 1, len(sound)))

def read_sound(sound, bits):
    return patterns(bits, 1, len(sound)) @ sound
"""
LIBROSA = """
def resample(sound, orig_sr, target_sr):
    up, down = max(1, target_sr // orig_sr), max(1, orig_sr // target_sr)
    return sound.repeat(up)[::down]
"""
PERTH = """
import numpy as np
from sound import mark_sound, read_sound

class PerthImplicitWatermarker:
    def apply_watermark(self, signal, sample_rate):
        assert sample_rate == 8000
        return mark_sound(signal, [1])[:-5]

    def get_watermark(self, signal, sample_rate, round):
        assert sample_rate == 8000 and not round
        return np.array([0.9 if read_sound(signal, 1)[0] > 0 else 0.1], np.float32)
"""
AWARE = """
import numpy as np
from sound import mark_sound, read_sound

def embed_watermark(audio, sample_rate, bits, embedder):
    assert sample_rate == 16000 and bits.dtype == np.int32 and embedder == "embedder"
    if not audio.any():
        raise ValueError("Signal you provided doesn't contain any speach. Please provide")
    return mark_sound(audio, bits)
"""
AWARE_MODELS = """
from sound import read_sound

class Detector:
    def detect(self, audio, sample_rate):
        assert sample_rate == 16000
        return read_sound(audio, 20)

def load(name):
    assert name == "AWARE"
    return "embedder", Detector()
"""
AUDIOSEAL = """
from audioseal import loader
from sound import mark_sound, read_sound
from torch import tensor

class Model:
    def eval(self):
        return self

class Generator(Model):
    def __call__(self, sounds, sample_rate, message):
        assert sample_rate == 16000
        made = mark_sound(sounds.numpy()[0, 0], message.numpy()[0])
        return tensor(made[None, None])

class Detector(Model):
    def __call__(self, sounds, sample_rate):
        assert sample_rate == 16000
        return None, tensor((read_sound(sounds.numpy()[0, 0], 16) > 0) * 1.0)[None]

class AudioSeal:
    @staticmethod
    def load_generator(card):
        assert loader.load_model_checkpoint("https://x/generator_base.pth") == "weights"
        return Generator()

    @staticmethod
    def load_detector(card):
        assert loader.load_model_checkpoint("https://x/detector_base.pth") == "weights"
        return Detector()
"""
WAVMARK = """
from sound import mark_sound, read_sound

def load_model(path):
    with open(path) as file:
        return file.read()

def encode_watermark(model, signal, payload):
    assert model == "weights"
    return mark_sound(signal, payload), {}

def decode_watermark(model, signal):
    found = read_sound(signal, 16)
    return (None, {}) if not found.any() else ((found > 0).astype(int), {})
"""
SILENTCIPHER = """
import numpy as np
import torch
from sound import mark_sound, read_sound

class Model:
    def encode_wav(self, sound, rate, message, calc_sdr):
        assert rate == 8000 and type(message[0]) is int and not calc_sdr
        return mark_sound(sound, np.unpackbits(np.array(message, np.uint8))), 0

    def decode_wav(self, sound, rate, phase_shift_decoding):
        found = read_sound(sound, 40)
        if not found.any():
            return {"messages": [], "status": False}
        return {"messages": [np.packbits(found > 0).tolist()], "status": True}

def get_model(kind, ckpt_path, config_path, device):
    assert kind == "44.1k" and torch.load(config_path) == "weights"
    return Model()
"""
TORCH = """
import numpy as np
from contextlib import contextmanager
from types import SimpleNamespace

uint8 = np.uint8

def no_grad():
    return lambda function: function

def load(path, *device, weights_only):
    assert weights_only
    with open(path) as file:
        return file.read()

@contextmanager
def safe_globals(classes):
    assert classes
    yield

serialization = SimpleNamespace(safe_globals=safe_globals)

def set_num_threads(count):
    assert count == 1

class tensor:
    def __init__(self, values):
        self.values = np.asarray(values)

    def float(self):
        return tensor(self.values.astype(np.float32))

    def __truediv__(self, other):
        return tensor(self.values / other)

    def __mul__(self, other):
        return tensor(self.values * other)

    def __getitem__(self, key):
        return tensor(self.values[key])

    def round(self):
        return tensor(self.values.round())

    def to(self, dtype):
        return tensor(self.values.astype(dtype))

    def numpy(self):
        return self.values
"""
VIDEOSEAL = """
import numpy as np
from torch import tensor
from contrast import mark, read

class Model:
    def eval(self):
        return self

    def embed(self, floats, message, is_video):
        image = floats[0].numpy().transpose(1, 2, 0) * 255
        made = mark(image, message[0].numpy()) / 255
        return {"imgs_w": tensor(made.transpose(2, 0, 1)[None].clip(0, 1))}

    def detect(self, floats, is_video):
        found = read(floats[0].numpy().transpose(1, 2, 0) * 255, 256)
        return {"preds": tensor([[0.0, *found]])}

def setup_model(config, checkpoint):
    assert checkpoint.is_file()
    return Model()
"""
OMEGACONF = """
from types import SimpleNamespace

class OmegaConf:
    @staticmethod
    def load(path):
        assert path.name == "videoseal_1.0.yaml"
        return SimpleNamespace(args=SimpleNamespace())

DictConfig = ListConfig = dict
base = SimpleNamespace(ContainerMetadata=dict, Metadata=dict)
nodes = SimpleNamespace(AnyNode=dict)
"""
FILES = {
    "invisible-watermark": {
        "imwatermark/__init__.py": "",
        "imwatermark/maxDct.py": CLASS.replace("NAME", "EmbedMaxDct"),
        "imwatermark/dwtDctSvd.py": CLASS.replace("NAME", "EmbedDwtDctSvd"),
        "imwatermark/rivaGan.py": CLASS.replace("NAME", "RivaWatermark"),
    },
    "blind-watermark": {"blind_watermark.py": BLIND},
    "trustmark": {
        "trustmark.py": TRUSTMARK,
        "torch.py": TORCH,
    },
    "videoseal": {
        "videoseal/__init__.py": "",
        "videoseal/utils/__init__.py": "",
        "videoseal/utils/cfg.py": VIDEOSEAL,
        "omegaconf.py": OMEGACONF,
        "torch.py": TORCH,
    },
    "perth": {"perth.py": PERTH, "torch.py": TORCH},
    "aware": {
        "aware/__init__.py": "",
        "aware/service.py": AWARE,
        "aware/utils/__init__.py": "",
        "aware/utils/models.py": AWARE_MODELS,
        "librosa.py": LIBROSA,
        "torch.py": TORCH,
    },
    "audioseal": {
        "audioseal/__init__.py": AUDIOSEAL,
        "audioseal/loader.py": "",
        "librosa.py": LIBROSA,
        "omegaconf.py": OMEGACONF,
        "torch.py": TORCH,
    },
    "wavmark": {"wavmark.py": WAVMARK, "librosa.py": LIBROSA, "torch.py": TORCH},
    "silentcipher": {"silentcipher.py": SILENTCIPHER, "torch.py": TORCH},
}
WEIGHTS = {
    "trustmark": ("encoder_Q.ckpt", "decoder_Q.ckpt", "trustmark_Q.yaml"),
    "videoseal": ("y_256b_img.pth", "attenuation.yaml"),
    "audioseal": ("generator_base.pth", "detector_base.pth"),
    "wavmark": ("step59000_snr39.99_pesq4.35_BERP_none0.30_mean1.81_std1.81.model.pkl",),
    "silentcipher": ("enc_c.ckpt", "dec_c.ckpt", "dec_m_0.ckpt", "hparams.yaml"),
}
METHODS = {method.name: method for method in fpbench_methods()}


def make(name, place):
    """The environment of a method where $FPBENCH_ENVIRONMENTS says; its parameters of weights."""
    environment = METHODS[name].environment
    venv.EnvBuilder(symlinks=True).create(environment.folder)
    (site,) = environment.folder.glob("lib/python*/site-packages")
    for path, text in {"contrast.py": CONTRAST, "sound.py": SOUND, **FILES[name]}.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    (site / "ours.pth").write_text(str(Path(np.__file__).parents[1]))
    for pin in environment.pins:
        about, version = pin.split("==")
        folder = site / f"{about.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {about}\nVersion: {version}\n")
    (environment.folder / "pins.txt").write_text("\n".join(environment.pins) + "\n")
    weights = Path(place) / f"{name}-weights"
    for file in WEIGHTS.get(name, ()):
        weights.mkdir(parents=True, exist_ok=True)
        (weights / file).write_text("weights")
    return {"weights": str(weights)} if name in WEIGHTS else {}
