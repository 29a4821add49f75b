"""Striped images, drawn by their numbers: the smallest data set."""

from fpbench.api import Card, Dataset, Params, SampleInfo, digest, hookimpl


class StripesParams(Params):
    """`size` in pixels; `train`, `test`, `reference`: images in each split."""

    size: int = 32
    train: int = 10_000
    test: int = 2_000
    reference: int = 2_000


class Stripes(Dataset[StripesParams]):
    """Image i of a split is a function of the split and i."""

    name, version, Params = "stripes", "1", StripesParams
    drawn = True  # nobody is on its images, so that boards may show them
    card = Card("Stripes", "own", "Apache-2.0", "Stripes of random colours, widths and angles.")

    def info(self):
        counts = self.params.model_dump(include={"train", "test", "reference"})
        return SampleInfo.of_images(self.params.size, counts)

    def digest(self):  # of files on a disk: of their contents
        return digest({"stripes": self.version, **self.params.model_dump()})

    def read(self, split, indices):
        import numpy as np

        place = ("train", "test", "reference").index(split)
        rows = [_drawn(np.random.default_rng([place, int(i)]), self.params.size) for i in indices]
        return np.stack(rows)  # (N, H, W, 3) uint8


def _drawn(rng, size):
    import numpy as np

    y, x = np.mgrid[:size, :size] / size
    angle, waves, start = rng.uniform(0, np.pi), rng.uniform(1, 4), rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    share = 0.5 + 0.5 * np.sin(2 * np.pi * waves * along + start)[..., None]
    one, other = rng.uniform(0, 255, (2, 3))
    return (share * one + (1 - share) * other).round().astype(np.uint8)


@hookimpl
def fpbench_datasets():
    return [Stripes]
