"""Cameras without a device: drawn scenes and stored pictures."""
