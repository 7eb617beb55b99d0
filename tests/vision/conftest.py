"""Property tests on a shared, slow machine: no limit on the time of one example."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
