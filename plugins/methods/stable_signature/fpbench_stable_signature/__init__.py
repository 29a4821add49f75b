"""A host's output step fine-tuned for each user against a fixed extractor."""
