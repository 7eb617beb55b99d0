"""Error rates in the terms of ISO/IEC 30107-3, with intervals."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.vision.passive.error_rates import Answer, Rate, clopper_pearson, pictures_by_kind, rates


def pictures(folder: Path, **counts: int) -> Path:
    for place, count in counts.items():
        directory = folder / place.replace("__", "/").replace("_", "-")
        directory.mkdir(parents=True)
        for number in range(count):
            (directory / f"{number}.jpg").touch()
    return folder


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (0, 60, 0.0, 0.0596),
        (6, 60, 0.0376, 0.2051),
        (60, 60, 0.9404, 1.0),
        (1, 10, 0.0025, 0.4450),
        (0, 0, 0, 1),
    ],
)
def test_interval_of_clopper_and_pearson(count: int, total: int, low: float, high: float) -> None:
    """The values of a statistics table."""
    assert clopper_pearson(count, total) == pytest.approx((low, high), abs=1e-4)


def test_rates_count_errors_of_the_answered_presentations(tmp_path: Path) -> None:
    found = pictures_by_kind(pictures(tmp_path, bona_fide=5, attack__print=4, attack__screen=2))
    assert {name: len(paths) for name, paths in found.items()} == {"bona-fide": 5, "print": 4, "screen": 2}
    answers = {
        "bona-fide": [Answer.LIVE, Answer.ATTACK, Answer.LIVE, Answer.NONE, Answer.LIVE],
        "print": [Answer.LIVE, Answer.ATTACK, Answer.NONE, Answer.ATTACK],
        "screen": [Answer.LIVE, Answer.LIVE],
    }
    rows = rates(found, lambda path: answers[path.parent.name][int(path.stem)])
    assert [(row.name, row.errors, row.no_answers) for row in rows] == [
        ("bona-fide", Rate(1, 4), Rate(1, 5)),
        ("print", Rate(1, 3), Rate(1, 4)),
        ("screen", Rate(2, 2), Rate(0, 2)),
    ]
    assert str(rows[2].errors) == "100.0 % [15.8–100.0 %], 2 of 2"
    assert str(Rate(0, 0)) == "no presentation"


@pytest.mark.parametrize(
    "counts",
    [
        {},
        {"bona_fide": 3},
        {"attack__print": 3},
        {"bona_fide": 0, "attack__print": 1},
        {"bona_fide": 1, "attack__x": 0},
    ],
    ids=str,
)
def test_folder_without_people_or_attacks_is_refused(tmp_path: Path, counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no picture"):
        pictures_by_kind(pictures(tmp_path, **counts))


def test_attack_with_the_name_of_the_living_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bona-fide"):
        pictures_by_kind(pictures(tmp_path, bona_fide=5, attack__print=4, attack__bona_fide=2))
