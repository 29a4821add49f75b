import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from fpbench.backbones.weights import find

INCEPTION_768 = "b7515c11986c4cd123243f4bce0960527a10804b84d136143a9891533830627b"
SQUEEZE = "9bd75a032e3c709bfa5b00ec6ef588a94c194316452abc23b4f7cbfeda45e664"


@pytest.fixture
def inception_768(real_data):
    """The file of trained weights that is good up to layer 768."""
    return find("inception", real_data, INCEPTION_768)


@pytest.fixture
def squeeze(real_data):
    """The file of SqueezeNet's trained weights."""
    return find("lpips-squeeze", real_data, SQUEEZE)


@pytest.fixture
def faces(real_data):
    """Real faces: `faces(start, stop)` is (N, 3, 64, 64) uint8."""

    def read(start, stop):
        with zipfile.ZipFile(real_data / "utkface-64.zip") as archive:
            names = sorted(n for n in archive.namelist() if n.startswith("train/"))[start:stop]
            images = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()

    return read
