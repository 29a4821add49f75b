"""The modality of sounds."""
