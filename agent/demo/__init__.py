"""Everything on one machine: broker, compare service, terminal and till, with real faces.

A composition root. All parts are the real ones; only the camera replays scripted scenes.
"""
