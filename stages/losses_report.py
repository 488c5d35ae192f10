"""Compare losses of the box: experiments that differ in nothing else."""

import pandas as pd

from facemask import params
from facemask.io import read_json, write_text
from facemask.reporting import loss_plots, sections
from stages.common import RECORDS, REPORT, run_stage


def write_page() -> None:
    """Write report/losses: a table per network, and the losses plotted."""
    config = params.read()
    folder, experiments = REPORT / "losses", {**config.experiments, **config.losses}
    # Groups of the study alone do not belong on this page.
    groups = [each for each in sections.alike(experiments) if set(each) & set(config.losses)]
    names = [name for group in groups for name in group]
    records = {name: RECORDS / ("losses" if name in config.losses else "study") for name in names}
    measured = {name: read_json(at / f"statistics/{name}.json") for name, at in records.items()}
    folder.mkdir(parents=True, exist_ok=True)
    loss_plots.loss_shapes(folder / "losses.png")
    text = sections.box_losses(
        groups,
        experiments,
        {name: pd.read_csv(at / f"predictions/{name}.csv") for name, at in records.items()},
        {name: each["test"]["majority_accuracy"] for name, each in measured.items()},
        "losses.png",
    )
    write_text(text, folder / "README.md")


if __name__ == "__main__":
    run_stage(write_page)
