"""The Pi's camera, through picamera2."""
