"""HiDDeN for sounds: an embedder and an extractor of spectra, trained with noise layers."""
