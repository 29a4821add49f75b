"""Libraries called directly, in their own environments: what the adapters must agree with.

`python published_libraries.py LIBRARY IN OUT [WEIGHTS]`: IN holds images (N, 3, H, W) and codes
(N, K); OUT is given the marked images and the bits or logits that are read of them. Not imported
by tests.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np


def invisible(kind):
    import cv2
    from imwatermark import WatermarkDecoder, WatermarkEncoder

    if kind == "rivaGan":
        WatermarkEncoder.loadModel()
        WatermarkDecoder.loadModel()

    def mark(image, code):
        encoder = WatermarkEncoder()
        encoder.set_watermark("bits", code.astype(int).tolist())
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        return cv2.cvtColor(encoder.encode(bgr, kind), cv2.COLOR_BGR2RGB)

    def read(image, bits):
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        return np.asarray(WatermarkDecoder("bits", bits).decode(bgr, kind)).astype(bool) * 2 - 1

    return mark, read


def smaller(kind):
    """The classes behind the encoder, which refuses small images."""
    from imwatermark import watermark

    refused = ""
    try:
        watermark.WatermarkEncoder(b"abcd").encode(np.zeros((128, 128, 3), np.uint8))
    except RuntimeError as error:
        refused = str(error)
    if "larger than 256x256" not in refused:
        sys.exit("the encoder takes small images: compare with it")
    kinds = {
        "dwtDct": watermark.EmbedMaxDct,
        "dwtDctSvd": watermark.EmbedDwtDctSvd,
        "rivaGan": watermark.RivaWatermark,
    }
    watermark.RivaWatermark.loadModel()

    def mark(image, code):
        bgr = np.ascontiguousarray(image[..., ::-1])
        return kinds[kind](code.astype(int).tolist(), len(code)).encode(bgr)[..., ::-1]

    def read(image, bits):
        bgr = np.ascontiguousarray(image[..., ::-1])
        return np.asarray(kinds[kind]([], bits).decode(bgr)).astype(bool) * 2 - 1

    return mark, read


def blind():
    import cv2
    from blind_watermark import WaterMark

    file = str(Path(tempfile.mkdtemp()) / "image.png")

    def mark(image, code):
        cv2.imwrite(file, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        embedder = WaterMark(password_img=1, password_wm=1)
        embedder.read_img(file)
        embedder.read_wm(list(code), mode="bit")
        embedder.embed(file)
        return cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)

    def read(image, bits):
        cv2.imwrite(file, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        reader = WaterMark(password_img=1, password_wm=1)
        return reader.extract(file, wm_shape=bits, mode="bit").astype(bool) * 2 - 1

    return mark, read


def trustmark(weights):
    """With networks of the library's own code that were never trained: theirs are not at hand."""
    import shutil

    import torch
    import trustmark as library
    from omegaconf import OmegaConf
    from PIL import Image
    from trustmark import trustmark as module

    torch.set_num_threads(1)
    identity = {"target": "trustmark.model.Identity", "params": {}}
    encoder = {"target": "trustmark.unet.Unet1", "params": {"width": 8}}
    decoder = {"target": "trustmark.unet.SecretDecoder", "params": {"arch": "resnet18"}}
    params = {"cover_key": "image", "secret_key": "secret", "secret_len": 100, "resolution": 256}
    params |= {"secret_encoder_config": encoder, "secret_decoder_config": decoder}
    params |= {"discriminator_config": identity, "loss_config": identity, "noise_config": identity}
    model = {"target": "trustmark.model.TrustMark_Arch", "params": params}
    OmegaConf.save({"model": model}, weights / "trustmark_Q.yaml")
    made = module.instantiate_from_config(OmegaConf.load(weights / "trustmark_Q.yaml").model)
    for part in ("encoder", "decoder"):
        torch.save({"state_dict": made.state_dict()}, weights / f"{part}_Q.ckpt")
    # Where the library itself looks for them, with the digests that it asks for.
    models = Path(library.__file__).with_name("models")
    brought = [models / path.name for path in weights.iterdir()]
    for path in brought:
        assert not path.exists(), "the published weights are here: leave them alone"
    try:
        for path in brought:
            shutil.copy(weights / path.name, path)
            digest = module.md5(path.read_bytes()).hexdigest()
            module.MODEL_CHECKSUMS[path.name] = digest
        model = library.TrustMark(
            use_ECC=False, verbose=False, device="cpu", model_type="Q", loadRemover=False
        )
    finally:
        for path in brought:
            path.unlink(missing_ok=True)

    def mark(image, code):
        secret = "".join(str(int(bit)) for bit in code)
        return np.asarray(model.encode(Image.fromarray(image), secret, MODE="binary"))

    def read(image, bits):
        text = model.decode(Image.fromarray(image), MODE="binary")[0]
        assert len(text) == bits
        return np.array([int(bit) * 2 - 1 for bit in text])

    return mark, read


def videoseal(weights):
    """With networks of the library's own code that were never trained: theirs are not at hand."""
    import torch
    import videoseal as library
    from omegaconf import OmegaConf
    from videoseal.utils import cfg

    torch.set_num_threads(1)
    jnd = {"jnd_1_1": {"in_channels": 1, "out_channels": 1}}
    OmegaConf.save(jnd, weights / "attenuation.yaml")
    config = OmegaConf.load(Path(library.__file__).parent / "cards" / "videoseal_1.0.yaml")
    args = config.args
    made = torch.nn.ModuleDict(
        {
            "embedder": cfg.build_embedder(
                config.embedder.model, config.embedder.params, args.nbits, 1
            ),
            "detector": cfg.build_extractor(
                config.extractor.model, config.extractor.params, args.img_size_proc, args.nbits
            ),
        }
    )
    torch.save({"model": made.state_dict()}, weights / "y_256b_img.pth")
    # From a checkout of its repository, as the library is meant to be used.
    config.checkpoint_path = str(weights / "y_256b_img.pth")
    config.args.attenuation_config = str(weights / "attenuation.yaml")
    card = Path(tempfile.mkdtemp()) / "card.yaml"
    OmegaConf.save(config, card)
    model = library.load(card).eval()

    def mark(image, code):
        floats = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        message = torch.from_numpy(code)[None].float()
        made = model.embed(floats, message, is_video=False)["imgs_w"]
        return (made[0].permute(1, 2, 0) * 255).round().byte().numpy()

    def read(image, bits):
        floats = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        return model.detect(floats, is_video=False)["preds"][0, 1 : 1 + bits].numpy()

    return mark, read


def main():
    library, source, target, weights = (*sys.argv[1:], "")[:4]
    given = np.load(source)
    name, _, kind = library.partition(":")
    if name == "invisible-watermark":
        small = given["images"].shape[-1] < 256
        mark, read = smaller(kind) if small else invisible(kind)
    elif name == "blind-watermark":
        mark, read = blind()
    else:
        mark, read = {"trustmark": trustmark, "videoseal": videoseal}[name](Path(weights))
    marked, read_of = [], []
    for image, code in zip(given["images"].transpose(0, 2, 3, 1), given["codes"], strict=True):
        made = mark(np.ascontiguousarray(image), code)
        marked.append(made.transpose(2, 0, 1))
        read_of.append(read(np.ascontiguousarray(made), len(code)))
    np.savez(target, marked=marked, read=np.array(read_of, np.float32))


if __name__ == "__main__":
    main()
