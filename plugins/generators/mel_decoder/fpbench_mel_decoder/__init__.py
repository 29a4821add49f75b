"""The host `mel-decoder`: sounds from mel spectra and a pitch."""
