"""Linux video devices, through OpenCV."""
