"""The demo: broker, compare service, terminal and till on one machine, with photographs of real faces.

A composition root. All parts are production code; only the camera is simulated and plays scripted scenes.
"""
