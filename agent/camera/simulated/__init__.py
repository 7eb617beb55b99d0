"""Camera backends without a device: drawn scenes and stored pictures."""
