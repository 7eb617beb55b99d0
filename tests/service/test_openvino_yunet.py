"""The joined heads of YuNet: one output, and the faces in it are those of every single cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.service.openvino_networks import OpenVino
from agent.service.openvino_yunet import STRIDES, faces

WIDE, HIGH = 64, 96
COLUMNS = [(stride, x, y) for stride in STRIDES for y in range(HIGH // stride) for x in range(WIDE // stride)]


def cells(*found: tuple[int, list[float]]) -> NDArray[np.float32]:
    """The output of the network with a face in the given cells only: their first two numbers, then zeros."""
    output = np.full((len(COLUMNS), 16), -20, np.float32)
    output[:, 2:] = 0
    for number, factors in found:
        output[number, : len(factors)] = factors
    return output


def confidence_of(factors: list[float]) -> float:
    a, b = (1 / (1 + np.exp(-np.float64(each))) for each in factors)
    return float(np.sqrt(a * b))


def test_network_has_one_output_of_all_levels() -> None:
    compiled = OpenVino(threads=1).compile_yunet(WIDE, HIGH)
    assert [list(output.shape) for output in compiled.outputs] == [[1, len(COLUMNS), 16]]


@given(
    number=st.integers(0, len(COLUMNS) - 1),
    factors=st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=2),
    confidence=st.sampled_from([0.05, 0.5, 0.7, 0.95]),
)
def test_cell_is_a_face_from_the_confidence_on(number: int, factors: list[float], confidence: float) -> None:
    rows = faces(cells((number, factors)), WIDE, HIGH, confidence)
    expected = confidence_of(factors)
    if abs(expected - confidence) > 1e-5:
        assert len(rows) == (expected > confidence)
    if len(rows):
        stride, x, y = COLUMNS[number]
        assert rows.dtype == np.float32
        assert rows[0, :4] == pytest.approx(
            [x * stride - stride / 2, y * stride - stride / 2, stride, stride]
        )
        assert rows[0, 4:14].reshape(5, 2) == pytest.approx(np.tile([x * stride, y * stride], (5, 1)))
        assert rows[0, 14] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("factors", [[np.nan, 9.0], [9.0, np.nan], [-np.inf, 9.0]])
def test_cell_without_a_number_is_no_face(factors: list[float]) -> None:
    assert faces(cells((3, factors)), WIDE, HIGH, 0.7).shape == (0, 15)


def test_faces_at_one_place_are_one_face_and_the_best_is_first() -> None:
    best, worse, elsewhere = 20, 21, len(COLUMNS) - 1
    output = cells((worse, [2.0, 2.0]), (best, [3.0, 3.0]), (elsewhere, [2.5, 2.5]))
    output[[best, worse], 4:6] = 1.5  # boxes of 36 px, 8 px apart
    rows = faces(output, WIDE, HIGH, 0.7)
    assert rows[:, 14] == pytest.approx([confidence_of([3.0, 3.0]), confidence_of([2.5, 2.5])])
