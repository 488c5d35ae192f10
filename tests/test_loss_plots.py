"""The plot of the losses of the box, read back from the figure that is saved."""

import numpy as np

from facemask.reporting import loss_plots


def test_loss_shapes_are_the_formulas(tmp_path, monkeypatch):
    drawn, save = [], loss_plots.save
    monkeypatch.setattr(
        loss_plots, "save", lambda figure, path: (drawn.append(figure), save(figure, path))
    )
    loss_plots.loss_shapes(tmp_path / "l.png")
    assert (tmp_path / "l.png").read_bytes().startswith(b"\x89PNG")
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
