"""facepay-agent: is the person in front of this terminal the holder of the enrolled photo?

Rooms and who may import whom: see ``tests/test_architecture.py``, which enforces it.
"""

__version__ = "0.2.0"
