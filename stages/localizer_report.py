"""Make the page of localizers and ensembles: figures, what gave what, where they fail."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from facemask import params
from facemask.config import Ablation
from facemask.data.arrays import Crops
from facemask.evaluation import error_analysis
from facemask.io import read_json, write_text
from facemask.reporting import extensions, localizer_plots
from stages.common import DATA, MODELS, RECORDS, REPORT, run_stage

LOCALIZER = RECORDS / "localizer"


def write_page(ensemble: str) -> None:
    """Write README.md and its pictures: of an ensemble, its members and the ablation."""
    config, splits = params.read(), pd.read_csv(DATA / "splits.csv")
    members = config.ensembles[ensemble].members
    subject, folder = members[0], REPORT / "localizer" / ensemble
    networks = {
        name: pd.read_csv(MODELS / name / "predictions.csv")
        for name in dict.fromkeys([*members, ensemble])
    }
    answers = networks[subject][networks[subject]["split"] == "val"].reset_index(drop=True)
    faces = pd.read_csv(DATA / "annotations.csv")
    groups = error_analysis.by_group(error_analysis.described(answers, splits, faces))
    variants = config.ablation or Ablation(localizer=subject, common={}, rows={})
    ablation = read_all(LOCALIZER / "ablation", variants.rows)
    measured = read_all(LOCALIZER / "statistics", networks)
    pictures = localizer_plots.draw(
        folder,
        crops=Crops(DATA / "crops/own"),
        samples=splits,
        settings=config.localizers[subject],
        seed=config.seed,
        answers=answers,
        tested=networks,
        groups=groups,
        ablation=ablation,
    )
    page = extensions.render(
        dataset=config.dataset,
        split=config.split,
        metrics=measured,
        statistics=measured,
        ablation=ablation,
        changes=variants.rows,
        common=variants.common,
        groups=groups,
        subject=subject,
        pictures=pictures,
    )
    write_text(page, folder / "README.md")


def read_all(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return what a folder holds of those names."""
    return {name: read_json(folder / f"{name}.json") for name in names}


if __name__ == "__main__":
    run_stage(write_page)
