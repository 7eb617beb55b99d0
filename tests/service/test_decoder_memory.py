"""Memory of the decoder, measured in a process of its own: no picture allocates what its header declares."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

_MEASURE = """
import json, random, re, resource, struct, sys, zlib
from pathlib import Path
import cv2, numpy as np
from agent.compare.contract import ApiFailure
from agent.service.freed_memory import return_and_overwrite
from agent.service.image_decoder import decode, inspected
from tests.service.pictures import photo, scan_for_each_colour

return_and_overwrite()

def memory(name):
    return int(re.findall(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[0])

def outcome(data):
    try:
        return list(decode(data).shape)
    except ApiFailure as failure:
        return failure.api_code
"""
_FUZZ = (
    _MEASURE
    + """
small = cv2.resize(decode(photo("obama_portrait")), (120, 150))
seeds = [cv2.imencode(kind, small, flags)[1].tobytes() for kind, flags in (
    (".png", []), (".bmp", []), (".jpg", []), (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    (".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]))]
numbers = [0, 1, 0x7FFF, 0xFFF0, 0x7FFFFFFF, 0xFFFFFFF0, 0x80000000, 4000, 8192, 65535]
for seed in seeds:
    outcome(seed)
dice, before_kb, outcomes = random.Random(17), memory("VmPeak"), {}
resource.setrlimit(resource.RLIMIT_AS, ((before_kb + 1_500_000) * 1024, -1))
for _ in range(int(sys.argv[1])):
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(2, min(len(data), dice.choice((64, 700, len(data)))))
        number, size = dice.choice(numbers), dice.choice((1, 2, 4))
        data[at : at + size] = (number & (256**size - 1)).to_bytes(size, dice.choice(("big", "little")))
    if data[:4] == b"\\x89PNG" and dice.random() < 0.5:  # a right checksum, so that the decoder goes on
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    if dice.random() < 0.3:
        del data[dice.randrange(20, len(data)) :]
    found = str(outcome(data))
    outcomes[found] = outcomes.get(found, 0) + 1
print(json.dumps({"grown_kb": memory("VmPeak") - before_kb, "outcomes": outcomes}))
"""
)
_SLOW = (
    _MEASURE
    + """
picture = photo("obama_portrait")
scan = picture.index(b"\\xff\\xda") + 14
pictures = {
    "fill bytes in the scan": picture[:-2] + b"\\xff" * 2_000_000,
    "fill bytes in front of a marker": picture[:2] + b"\\xff" * 2_000_000 + picture[2:],
    "zeros in the scan": picture[:scan] + b"\\xff\\0" * 1_000_000,
    "restart markers": picture[:scan] + b"\\xff\\xd0" * 1_000_000 + b"\\xff\\xd9",
}
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))  # seconds; the kernel ends the process
for data in pictures.values():
    inspected(data)
print(json.dumps({"inspected": len(pictures)}))
"""
)
_LARGEST = (
    _MEASURE
    + """
def bare_png(colour, depth, samples, wide=4000, high=4000):
    row = b"\\0" + bytes(wide * samples * depth // 8)
    packed = zlib.compressobj(1)
    body = b"".join([packed.compress(row) for _ in range(high)] + [packed.flush()])
    head = struct.pack(">IIBBBBB", wide, high, depth, colour, 0, 0, 0)
    chunks = [b"IHDR" + head, b"IDAT" + body, b"IEND"]
    return b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks)

blank = np.zeros((4000, 4000, 3), np.uint8)
wide = np.zeros((6300, 8190, 3), np.uint8)
pictures = {
    "png 8-bit": bare_png(2, 8, 3), "png 16-bit with alpha": bare_png(6, 16, 4),
    "png grey": bare_png(0, 16, 1),
    "jpeg": cv2.imencode(".jpg", blank)[1].tobytes(),
    "jpeg progressive": cv2.imencode(".jpg", blank, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
    "jpeg with a scan for each colour": scan_for_each_colour(3000, 3000),
    "jpeg without its end": cv2.imencode(".jpg", blank)[1].tobytes()[:-2],
    "jpeg 52 megapixels": cv2.imencode(".jpg", wide)[1].tobytes(),
    "bmp": cv2.imencode(".bmp", blank[:1400])[1].tobytes(),
}
del blank, wide
found = {}
for name, data in pictures.items():
    cost = inspected(data).cost_bytes // 1024
    Path("/proc/self/clear_refs").write_text("5")
    before_kb = memory("VmHWM")
    result = outcome(data)
    found[name] = {"cost_kb": cost, "grown_kb": memory("VmHWM") - before_kb, "result": result}
print(json.dumps(found))
"""
)
_UPRIGHT = (
    _MEASURE
    + """
from contextlib import suppress
from agent.service.recogniser import Recogniser
recogniser = Recogniser()
recogniser.warm()
small, data = (cv2.imencode(".jpg", np.zeros((px, px, 3), np.uint8))[1].tobytes() for px in (1000, 4000))
with suppress(ApiFailure):
    recogniser.embed_reference(small)  # the buffers of the networks for the large input stay allocated
cost = inspected(data).cost_bytes // 1024
Path("/proc/self/clear_refs").write_text("5")
before_kb, code = memory("VmHWM"), 0
try:
    recogniser.embed_reference(data)
except ApiFailure as failure:
    code = failure.api_code
print(json.dumps({"cost_kb": cost, "grown_kb": memory("VmHWM") - before_kb, "code": code}))
"""
)
_KEPT = (
    _MEASURE
    + """
from agent.service.recogniser import Recogniser
recogniser = Recogniser()
found = {}
for wide, high in ((320, 640), (2000, 4000)):  # the first size compiles the network of the small input
    data = cv2.imencode(".jpg", np.zeros((high, wide, 3), np.uint8))[1].tobytes()
    Path("/proc/self/clear_refs").write_text("5")
    before_kb = memory("VmRSS")
    try:
        recogniser.embed(data)
    except ApiFailure as failure:
        found = {"code": failure.api_code, "most_kb": memory("VmHWM") - before_kb}
    found["kept_kb"] = memory("VmRSS") - before_kb
print(json.dumps(found))
"""
)


def measured(script: str, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_no_damaged_header_makes_the_decoder_allocate_more_than_its_limit(
    record_property: Callable[[str, object], None],
) -> None:
    found = measured(_FUZZ, "3000")
    record_property("figure", f"3 000 damaged headers: {found}")
    assert isinstance(found["grown_kb"], int) and found["grown_kb"] < 250_000
    outcomes = found["outcomes"]
    assert isinstance(outcomes, dict)
    assert {"-1102", "-1400", "[150, 120, 3]"} <= outcomes.keys(), "the damage no longer reaches the decoder"


def test_no_header_takes_a_time_that_grows_with_the_square_of_its_size() -> None:
    """Half a second on the slowest machine, not hours: all other requests would wait."""
    assert measured(_SLOW) == {"inspected": 4}


def test_cost_of_the_largest_pictures_is_not_underestimated(
    record_property: Callable[[str, object], None],
) -> None:
    for name, row in measured(_LARGEST).items():
        assert isinstance(row, dict)
        record_property("figure", f"{name}: {row}")
        assert isinstance(row["result"], list), (name, row)
        assert row["grown_kb"] < row["cost_kb"] + 20_000, (name, row)


def test_networks_keep_no_buffers_of_the_largest_input(
    record_property: Callable[[str, object], None],
) -> None:
    row = measured(_KEPT)
    record_property("figure", f"2 000 × 4 000 px without a face: {row}")
    assert row["code"] == -1101
    assert isinstance(row["kept_kb"], int) and row["kept_kb"] < 20_000  # kept: 92 000
    assert isinstance(row["most_kb"], int) and row["most_kb"] < 130_000  # on OpenCV: 165 000


def test_search_for_the_orientation_needs_no_more_than_the_decoder(
    record_property: Callable[[str, object], None],
) -> None:
    row = measured(_UPRIGHT)
    record_property("figure", f"4 000 × 4 000 px without a face, in four orientations: {row}")
    assert row["code"] == -1101
    assert isinstance(row["grown_kb"], int) and isinstance(row["cost_kb"], int)
    assert row["grown_kb"] < row["cost_kb"] + 30_000  # 20 000 as above, and the scaled pictures
