"""Plots of searches: what is drawn where, read back from the figure that is saved."""

import cv2
import numpy as np
import pandas as pd
import pytest

from facemask.reporting import search_plots


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved; they are saved all the same."""
    kept, save = [], search_plots.save
    monkeypatch.setattr(
        search_plots, "save", lambda figure, path: (kept.append(figure), save(figure, path))
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


def test_search_has_a_panel_per_bracket_and_per_hyperparameter_that_varies(drawn, tmp_path):
    search_plots.search_plot(*search(), tmp_path / "s.png")
    axes = drawn[0].axes
    assert [a.get_title() for a in axes[:2]] == ["Bracket 1: 4 trials", "Bracket 0: 1 trials"]
    assert [a.get_xlabel() for a in axes[2:]] == ["units", "learning rate"]


def test_a_trial_that_goes_on_is_joined_to_the_one_it_continues(drawn, tmp_path):
    search_plots.search_plot(*search(), tmp_path / "s.png")
    lines = [line.get_xydata().tolist() for line in drawn[0].axes[0].lines]
    assert [[1.0, 0.5], [2.0, 0.3], [3.0, 0.35]] in lines
    assert len(lines) == 4


def test_the_best_trial_is_ringed_everywhere(drawn, tmp_path):
    search_plots.search_plot(*search(), tmp_path / "s.png")
    rings = [a.collections[-1].get_offsets().tolist()[0] for a in drawn[0].axes if a.collections]
    assert rings == [[2.0, 0.3], [1.0, 0.3], [1.0, 0.3]]


def test_a_search_without_a_choice_is_drawn_too(tmp_path):
    trials, epochs = search()
    trials = trials.assign(units=128, learning_rate=0.1)
    search_plots.search_plot(trials, epochs, tmp_path / "s.png")
    assert cv2.imread(str(tmp_path / "s.png")) is not None


def test_the_same_search_is_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        search_plots.search_plot(*search(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
