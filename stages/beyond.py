"""Make the page of localizers and ensembles: figures, what gave what, where they fail."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from facemask.data.arrays import Crops
from facemask.evaluation import error_analysis
from facemask.io import read_json, write_text
from facemask.reporting import extensions, localizer_plots
from stages.common import Run, run_stage


def write_page(run: Run, ensemble: str) -> None:
    """Write README.md and its pictures: of an ensemble, its members and the ablation."""
    params, splits = run.params, pd.read_csv(run.splits)
    members = params.ensembles[ensemble].members
    subject, folder = members[0], run.docs / "beyond" / ensemble
    networks = {
        name: pd.read_csv(run.models / name / "predictions.csv")
        for name in dict.fromkeys([*members, ensemble])
    }
    answers = networks[subject][networks[subject]["split"] == "val"].reset_index(drop=True)
    faces = pd.read_csv(run.data / "annotations.csv")
    groups = error_analysis.by_group(error_analysis.described(answers, splits, faces))
    ablation = _read(run.metrics / "ablation", params.ablation.rows)
    pictures = localizer_plots.draw(
        folder,
        crops=Crops(run.data / "crops/own"),
        samples=splits,
        settings=params.localizers[subject],
        seed=params.seed,
        answers=answers,
        tested=networks,
        groups=groups,
        ablation=ablation,
    )
    page = extensions.render(
        dataset=run.metrics.name,
        protocol=params.split.protocol,
        metrics=_read(run.metrics, networks),
        statistics=_read(run.metrics / "statistics", networks),
        ablation=ablation,
        changes=params.ablation.rows,
        common=params.ablation.common,
        groups=groups,
        subject=subject,
        pictures=pictures,
    )
    write_text(page, folder / "README.md")


def _read(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """What a folder holds of those names."""
    paths = {name: folder / f"{name}.json" for name in names}
    return {name: read_json(path) for name, path in paths.items() if path.exists()}


if __name__ == "__main__":
    run_stage(write_page)
