"""facepay-agent: is the person in front of this terminal the holder of the enrolled photo?

The folders and their import rules: see ``[tool.importlinter]`` in pyproject.toml; ``make lint`` checks it.
"""

__version__ = "0.2.0"
