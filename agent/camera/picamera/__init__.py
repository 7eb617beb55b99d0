"""The backend for the Raspberry Pi's camera module, with picamera2."""
