"""A service over a real registry, whose reader takes bits from pixels: nothing is trained."""

import io

import numpy as np
from PIL import Image

from fpbench.api import SampleInfo

SIZE, BITS, MODEL = 8, 32, "run:pixels"
SECRET = "a-token-of-the-tests-0"  # noqa: S105
USERS = ("Ada", "Бо", "c'); DROP TABLE code; --")


class PixelReader:
    """Bit k is whether pixel k is bright."""

    size, bits, info = SIZE, BITS, SampleInfo.of_images(SIZE, {})
    reads_images = True
    facts = {  # noqa: RUF012
        "bits": BITS,
        "method": "pixels",
        "version": 1,
        "training": "0" * 64,
        "codes": "uniform",
    }

    def extract(self, images):
        return (images.reshape(len(images), -1, 3)[:, :BITS, 0] / 127.5 - 1).astype("float32")


def picture(code, size=SIZE):
    pixels = np.zeros((size * size, 3), np.uint8)
    pixels[: len(code)] = 255 * code[:, None]
    return encoded(Image.fromarray(pixels.reshape(size, size, 3)))


def encoded(image, **how):
    file = io.BytesIO()
    image.save(file, "PNG", **how)
    return file.getvalue()


def issued(place):
    """A registry with users; the image of each."""
    from fpbench.users import Registry

    with Registry.open(place, create=True) as registry:
        registry.add_model(MODEL, PixelReader.facts)
        return [picture(registry.issue(MODEL, user).code) for user in USERS]
