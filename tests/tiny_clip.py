"""CLIP with a few thousand weights, saved as large ones are."""

from tiny_autoencoders import seeded
from tiny_pipeline import LENGTH, tokenizer

SIDE = 32


def saved_clip(folder):
    """Save a model and its processor into a new folder, and return both."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    folder.mkdir(parents=True)
    words, size = tokenizer(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    sizes["num_attention_heads"] = 2
    text = {"vocab_size": size, "max_position_embeddings": LENGTH, "eos_token_id": size - 1}
    text |= {"bos_token_id": size - 2, "pad_token_id": size - 1, **sizes}
    vision = {"image_size": SIDE, "patch_size": 8, **sizes}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    model = seeded(lambda: CLIPModel(config))
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE)
    processor = CLIPProcessor(images, words)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    images.save_pretrained(folder)  # as the published folders have it beside
    return model, processor
