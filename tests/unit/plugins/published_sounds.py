"""Libraries of sounds called directly, in their own environments: what the adapters agree with.

`python published_sounds.py LIBRARY IN OUT`: IN holds sounds (N, T) int16 at 8 kHz and codes (N, K);
OUT is given the marked sounds and the numbers that are read of them. Not imported by tests.
"""

import sys

import numpy as np

RATE = 8000


def perth():
    import torch
    from perth.perth_net.perth_net_implicit.perth_watermarker import PerthImplicitWatermarker

    torch.set_num_threads(1)
    model = PerthImplicitWatermarker()

    def mark(wave, code):
        return model.apply_watermark(wave, RATE)

    def read(wave, bits):
        return model.get_watermark(wave, RATE, round=False) - 0.5

    return mark, read


def aware():
    import librosa
    import torch
    from aware.service import detect_watermark, embed_watermark
    from aware.utils.models import load

    torch.set_num_threads(1)
    embedder, detector = load()

    def mark(wave, code):
        made = embed_watermark(librosa.resample(wave, 8000, 16000), 16000, 1 * code, embedder)
        return librosa.resample(made, 16000, 8000)

    def read(wave, bits):
        given = librosa.resample(wave, 8000, 16000)
        found = detector.detect(given, 16000)
        said, _ = detect_watermark(given, 16000, detector)
        assert ((found > 0) == (said == 1)).all()
        return found

    return mark, read


def main():
    library, source, target = sys.argv[1:]
    given = np.load(source)
    mark, read = {"perth": perth, "aware": aware}[library]()
    marked, numbers = [], []
    for sound, code in zip(given["sounds"], given["codes"], strict=True):
        made = mark(np.float32(sound) / np.float32(32768), code)
        # What the library cuts off stays.
        whole = np.concatenate([np.round(made * 32768).clip(-32768, 32767), sound[len(made) :]])
        marked.append(whole.astype(np.int16))
        numbers.append(np.atleast_1d(read(np.float32(marked[-1]) / np.float32(32768), len(code))))
    np.savez(target, marked=marked, numbers=np.array(numbers, np.float32))


if __name__ == "__main__":
    main()
