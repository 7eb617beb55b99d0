"""Facts about this process where no further file can be opened."""

from __future__ import annotations

import json
import subprocess
import sys

from agent import texts
from tests.health.stage import Stage

SCRIPT = """
import json, os, resource
from agent.health.process import files_shortage, process_facts
before = files_shortage(), process_facts()["rss_bytes"]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.dup(0))
except OSError:
    pass
print(json.dumps([before, files_shortage(), process_facts()]))
"""


def test_process_facts_without_a_free_descriptor_have_the_known_numbers() -> None:
    """Otherwise the status document, the page and `doctor` fail as a whole."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    (before, rss_bytes), shortage, facts = json.loads(done.stdout)
    assert (before, shortage) == ("", "64 of 64 files open")
    assert facts["open_files"] == facts["max_files"] == 64 and facts["cpu_s"] > 0
    assert facts["rss_bytes"] == rss_bytes > 0 and facts["threads"] > 0, (
        "read before; the contract requires both"
    )


async def test_serving_agent_has_read_the_texts_of_all_languages(stage: Stage) -> None:
    """Status needs them at the first condition; the files can be those of a newer package then."""
    texts._messages.cache_clear()
    await stage.start()
    await stage.until(lambda: texts._messages.cache_info().currsize == len(texts.locales()))
