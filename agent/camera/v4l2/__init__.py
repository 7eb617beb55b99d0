"""The backend for Linux video devices, with OpenCV."""
