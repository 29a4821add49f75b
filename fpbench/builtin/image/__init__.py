"""The modality that comes with fpbench."""
