"""Error rates of the passive model on pictures of an operator, in the terms of ISO/IEC 30107-3.

No conformance is claimed: the pictures, their number and their attack instruments are the operator's choice.

- APCER: share of the attack presentations of one species (kind of attack instrument) that are classified as
  bona fide. The highest APCER of all species counts.
- BPCER: share of the bona fide presentations (living people) that are classified as attacks.
- APNRR, BPNRR: share of the attack or bona fide presentations without an answer: no face was found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import comb
from pathlib import Path

from agent.errors import WrongValueError
from agent.texts import Text

BONA_FIDE, ATTACK = "bona-fide", "attack"
_PICTURES = (".jpg", ".jpeg", ".png")


class Answer(StrEnum):
    LIVE = "live"
    ATTACK = "attack"
    NONE = "none"  # no face, or no picture


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` of ``total``, with the interval of Clopper and Pearson at 95 %, as shares."""

    count: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        return clopper_pearson(self.count, self.total)

    def __str__(self) -> str:
        if not self.total:
            return "no presentation"
        low, high = self.interval
        share = self.count / self.total
        return f"{100 * share:.1f} % [{100 * low:.1f}–{100 * high:.1f} %], {self.count} of {self.total}"


@dataclass(frozen=True, slots=True)
class SpeciesRates:
    """The rates of one species; for living people ``errors`` is BPCER, for a species APCER."""

    name: str
    errors: Rate  # of the presentations with an answer
    no_answers: Rate


def pictures_by_kind(folder: Path) -> dict[str, list[Path]]:
    """The pictures by kind: ``bona-fide``, and one entry for each folder in ``attack``.

    Raises:
        WrongValueError: a folder is missing, or contains no picture, or a species has the name of the living.
    """
    attack = folder / ATTACK
    species = sorted(path for path in attack.iterdir() if path.is_dir()) if attack.is_dir() else []
    if attack / BONA_FIDE in species:  # its pictures would replace those of living people
        raise WrongValueError(Text("weights.attack_name", path=attack / BONA_FIDE))
    pictures = dict[str, list[Path]]()
    for kind in (folder / BONA_FIDE, *species):
        pictures[kind.name] = sorted(path for path in kind.rglob("*") if path.suffix.lower() in _PICTURES)
    empty = [name for name, paths in pictures.items() if not paths]
    if empty or not species:
        raise WrongValueError(Text("weights.no_pictures", folder=folder, names=", ".join(empty) or ATTACK))
    return pictures


def rates(pictures: dict[str, list[Path]], judge: Callable[[Path], Answer]) -> list[SpeciesRates]:
    """One row for the living people, then one for each species."""
    rows = []
    for name, paths in pictures.items():
        answers = [judge(path) for path in paths]
        wrong = Answer.ATTACK if name == BONA_FIDE else Answer.LIVE
        unanswered = answers.count(Answer.NONE)
        rows.append(
            SpeciesRates(
                name, Rate(answers.count(wrong), len(answers) - unanswered), Rate(unanswered, len(answers))
            )
        )
    return rows


def clopper_pearson(count: int, total: int) -> tuple[float, float]:
    """The shares at which ``count`` of ``total``, or a more extreme count, has a probability of 2.5 %."""
    if total == 0:
        return 0.0, 1.0

    def at_most(number: int, share: float) -> float:
        return sum(comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(number + 1))

    def solve(is_low: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if is_low(middle) else (low, middle)
        return low

    lower = 0.0 if count == 0 else solve(lambda share: 1 - at_most(count - 1, share) < 0.025)
    upper = 1.0 if count == total else solve(lambda share: at_most(count, share) > 0.025)
    return lower, upper
