"""Diagrams: what is drawn where, read back from the figure that is saved."""

import cv2
import numpy as np
import pandas as pd
import pytest

from facemask.reporting import diagrams


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved; they are saved all the same."""
    kept, save = [], diagrams.save
    monkeypatch.setattr(
        diagrams, "save", lambda figure, path: (kept.append(figure), save(figure, path))
    )
    return kept


def search():
    """Two brackets: of three trials the best goes on as the fourth, and a fifth runs alone."""
    trials = pd.DataFrame(
        {
            "trial": [1, 2, 3, 4, 5],
            "bracket": [1, 1, 1, 1, 0],
            "round": [0, 0, 0, 1, 0],
            "continues": [np.nan, np.nan, np.nan, 2, np.nan],
            "layers": 1,
            "units": [128, 256, 128, 256, 512],
            "shared_dropout": 0.5,
            "label_dropout": 0.0,
            "box_dropout": 0.0,
            "learning_rate": [0.1, 0.01, 0.001, 0.01, 0.1],
        }
    )
    epochs = pd.DataFrame(
        {
            "trial": [1, 2, 3, 4, 4, 5, 5, 5],
            "bracket": [1] * 5 + [0] * 3,
            "epoch": [1, 1, 1, 2, 3, 1, 2, 3],
            "val_loss": [0.9, 0.5, 0.8, 0.3, 0.35, 0.7, 0.6, 0.65],
        }
    )
    trials["val_loss"] = epochs.groupby("trial")["val_loss"].min().to_numpy()
    return trials, epochs


def test_search_has_a_panel_a_bracket_and_a_panel_a_hyperparameter_that_varies(drawn, tmp_path):
    diagrams.search_picture(*search(), tmp_path / "s.png")
    axes = drawn[0].axes
    assert [a.get_title() for a in axes[:2]] == ["Bracket 1: 4 trials", "Bracket 0: 1 trials"]
    assert [a.get_xlabel() for a in axes[2:]] == ["units", "learning rate"]


def test_a_trial_that_goes_on_is_joined_to_the_one_it_continues(drawn, tmp_path):
    diagrams.search_picture(*search(), tmp_path / "s.png")
    lines = [line.get_xydata().tolist() for line in drawn[0].axes[0].lines]
    assert [[1.0, 0.5], [2.0, 0.3], [3.0, 0.35]] in lines
    assert len(lines) == 4


def test_the_best_trial_is_ringed_everywhere(drawn, tmp_path):
    diagrams.search_picture(*search(), tmp_path / "s.png")
    rings = [a.collections[-1].get_offsets().tolist()[0] for a in drawn[0].axes if a.collections]
    assert rings == [[2.0, 0.3], [1.0, 0.3], [1.0, 0.3]]


def test_a_search_without_a_choice_is_drawn_too(tmp_path):
    trials, epochs = search()
    trials = trials.assign(units=128, learning_rate=0.1)
    diagrams.search_picture(trials, epochs, tmp_path / "s.png")
    assert cv2.imread(str(tmp_path / "s.png")) is not None


def test_loss_shapes_are_the_formulas(drawn, tmp_path):
    diagrams.loss_shapes(tmp_path / "l.png")
    pointwise, shifted, scaled = drawn[0].axes
    curves = {line.get_label(): line.get_xydata() for line in pointwise.lines}
    x = curves["mse"][:, 0]
    np.testing.assert_allclose(curves["mse"][:, 1], x**2, rtol=1e-5)
    huber = np.where(np.abs(x) < 0.5, x**2 / 2, 0.5 * np.abs(x) - 0.125)
    np.testing.assert_allclose(curves["huber 0.5"][:, 1], huber, atol=1e-5)
    steps, giou = {line.get_label(): line.get_xydata() for line in shifted.lines}["giou"].T
    # Two squares of side 1 that lie s apart in one direction: overlap (1 - s), hull (1 + s).
    shared = np.clip(1 - steps, 0, None)
    hull = np.maximum(1 + steps, 1)
    expected = 1 - shared / (2 - shared) + 1 - (2 - shared) / hull
    np.testing.assert_allclose(giou, expected, atol=1e-4)
    wide, diou = {line.get_label(): line.get_xydata() for line in scaled.lines}["diou"].T
    inside = wide[1:]
    expected = 1 - np.minimum(inside, 1) / np.maximum(inside, 1)
    np.testing.assert_allclose(diou[1:], expected, atol=1e-4)


def test_the_same_diagram_is_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        diagrams.search_picture(*search(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
