"""The README promises figures: they are those of the committed metrics."""

import json
from functools import cache
from math import ceil
from pathlib import Path
from statistics import mean, stdev

import pandas as pd
import pytest
from typer.testing import CliRunner

from facemask import cli
from facemask.evaluation import significance

ROOT = Path(__file__).parent.parent
PUBLISHED = pd.read_csv(ROOT / "reference/published_results.csv", index_col="id")


def results():
    """The rows of the README's results table: experiment → cells."""
    rows = {}
    for line in (ROOT / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = cells[0].strip("`*\\ ")
        if line.startswith("| `") and name in PUBLISHED.index and name not in rows:
            rows[name] = [cell.strip("*") for cell in cells[1:]]
    return rows


def test_the_table_has_every_experiment_of_the_study():
    assert list(results()) == list(PUBLISHED.index)


@pytest.mark.parametrize("name", PUBLISHED.index)
def test_measured_and_published_figures_are_those_of_the_files(name):
    test = json.loads((ROOT / f"metrics/kaggle/{name}.json").read_text())["test"]
    published = PUBLISHED.loc[name]
    expected = [
        test["accuracy"], published["test_accuracy"], test["recall_with_mask"],
        test["recall_without_mask"], test["mean_iou"], published["test_iou"],
    ]  # fmt: skip
    shown = ["" if pd.isna(value) else f"{100 * value:.2f}" for value in expected]
    assert [cell.replace("-", "") for cell in results()[name]] == shown


def test_figures_of_both_protocols_are_those_of_the_files():
    folders = {"report": "kaggle", "grouped": "kaggle_grouped"}
    keys = ("accuracy", "majority_accuracy", "recall_with_mask", "recall_without_mask", "mean_iou")
    name, compared = "", 0
    for line in (ROOT / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[1] in folders:
            name = cells[0].strip("`*\\ ") or name
            path = ROOT / "metrics" / folders[cells[1]] / f"{name}.json"
            test = json.loads(path.read_text())["test"]
            assert cells[2:] == [f"{100 * test[key]:.2f}" for key in keys]
            compared += 1
    assert compared == 8


def test_figures_of_localizers_are_those_of_the_files():
    keys = (
        "accuracy", "majority_accuracy", "recall_with_mask", "recall_without_mask", "mean_iou",
        "iou_50",
    )  # fmt: skip
    compared = []
    for line in (ROOT / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 8:
            name = cells[0].strip("`")
            metrics = json.loads((ROOT / f"metrics/kaggle/{name}.json").read_text())
            assert cells[1:7] == [f"{100 * metrics['test'][key]:.2f}" for key in keys]
            assert cells[7] == f"{metrics['train_seconds']:,.0f}"
            compared.append(name)
    assert compared == ["mobilenet_6", "localizer", "localizer_stretched", "ensemble"]


FOLDS = ("accuracy", "recall_with_mask", "recall_without_mask", "mean_iou", "iou_50")
NETWORKS = {
    "localizer": "localizer",
    "localizer_stretched": "localizer_stretched",
    "ensemble": "localizer+localizer_stretched",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_figures_of_the_folds_are_those_of_the_predictions(name, tmp_path):
    folders = [str(ROOT / f"metrics/kaggle_grouped_{fold}") for fold in range(5)]
    file = tmp_path / "pooled.json"
    done = CliRunner().invoke(cli.app, ["pool", NETWORKS[name], *folders, "--to", str(file)])
    assert done.exit_code == 0, done.output
    pooled = json.loads(file.read_text())
    kept = json.loads((ROOT / f"metrics/kaggle_grouped/folds/{name}.json").read_text())
    assert pooled["samples"] == kept["samples"] == 1861
    figures = [pooled["figures"][key] for key in FOLDS]
    for key, figure in zip(FOLDS, figures, strict=True):
        for part in ("value", "low", "high", "folds"):
            assert kept["figures"][key][part] == pytest.approx(figure[part], abs=1e-6)
    cells = [
        f"{100 * figure['value']:.2f} [{100 * figure['low']:.2f}, {100 * figure['high']:.2f}]"
        for figure in figures
    ]
    cells.insert(1, f"{100 * pooled['majority_accuracy']:.2f}")
    assert f"| `{name}` | {' | '.join(cells)} |" in (ROOT / "README.md").read_text()
    each = [" ".join(f"{100 * value:.2f}" for value in figure["folds"]) for figure in figures[:4]]
    assert f"| `{name}` | {' | '.join(each)} |" in (ROOT / "docs/localizers.md").read_text()


@cache
def answered(name):
    """The test samples of the five folds, in one order for all networks."""
    folders = [ROOT / f"metrics/kaggle_grouped_{fold}" for fold in range(5)]
    tables = [cli._read(NETWORKS[name], folder) for folder in folders]
    return pd.concat(tables, ignore_index=True)


def text(name):
    return " ".join((ROOT / name).read_text().split())


def test_what_the_readme_says_of_wrong_labels_is_so():
    tested, told = answered("localizer"), text("README.md")
    right, found = tested["actual"] == tested["predicted"], tested["iou"] >= 0.5
    bare = tested["actual"] == "without_mask"
    lost = (~right & ~found).sum()
    assert f"Of the {(~right).sum()} wrong labels of `localizer` {lost} are of a box" in told
    assert f"{100 * right[found].mean():.1f} % of the labels are right, and of the bare" in told
    assert f"faces' {100 * right[found & bare].mean():.1f} %" in told


def test_bare_faces_that_networks_miss_are_told_as_they_are():
    tables, told = [answered(name) for name in NETWORKS], text("docs/localizers.md")
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table[significance.SAMPLE], tables[0][significance.SAMPLE])
    bare = tables[0]["actual"] == "without_mask"
    one, other, ensemble = (bare & (table["predicted"] == "with_mask") for table in tables)
    lost = one & other & (tables[0]["iou"] < 0.5) & (tables[1]["iou"] < 0.5)
    allowed, both = int(0.07 * bare.sum()), (one & other).sum()
    found = (tables[0]["iou"] >= 0.5).sum()
    for part in (
        f"93 % of {bare.sum()} allow {allowed} to be called masked, `localizer` calls {one.sum()}, "
        f"the ensemble {ensemble.sum()} and `localizer_stretched` {other.sum()}.",
        f"{found:,} of {len(bare):,} have an IoU of 0.5 and more, {ceil(0.95 * len(bare)):,} are",
        f"of these {both} the same, and in {lost.sum()} of the {both} neither finds the box. Of "
        f"the {(one ^ other).sum()} that one of them alone calls masked, the ensemble calls "
        f"{(ensemble & (one ^ other)).sum()} masked.",
    ):
        assert part in told
    (first, every), (second, _) = map(validated_bare, list(NETWORKS)[:2])
    assert f"`localizer` {first} of {every}, `localizer_stretched` {second}" in told


def validated_bare(name):
    """Of the validation samples of the five folds: the bare faces that are told, and all."""
    told = every = 0
    for fold in range(5):
        folder = ROOT / f"metrics/kaggle_grouped_{fold}"
        count = json.loads((folder / "data.json").read_text())["val"]
        figures = json.loads((folder / f"{name}.json").read_text())["val"]
        # Masks are the majority in each fold.
        bare = round((1 - figures["majority_accuracy"]) * count)
        told, every = told + round(figures["recall_without_mask"] * bare), every + bare
    return told, every


def test_what_the_ensemble_gives_in_the_folds_is_told_as_it_is():
    gains = {}
    for name in ("localizer", "localizer_stretched"):
        compared = significance.compare(answered(name), answered("ensemble")).set_index("figure")
        value, low, high = 100 * compared.loc["mean_iou", ["difference", "low", "high"]]
        gains[name] = f"`{name}` [{low:.2f}, {high:.2f}]", f"{value:.2f}"
    (first, one), (second, other) = gains.values()
    assert (
        f"IoU is {one} points above that of {first} and {other} above that of {second}"
    ) in text("README.md")


def test_rows_of_the_ablation_in_the_docs_are_those_of_the_files():
    keys = (
        "accuracy", "majority_accuracy", "recall_with_mask", "recall_without_mask", "mean_iou",
        "iou_50",
    )  # fmt: skip
    compared = 0
    for line in (ROOT / "docs/localizers.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 8:
            path = ROOT / f"metrics/kaggle_grouped_0/ablation/{cells[0].strip('`')}.json"
            values = json.loads(path.read_text())["val"]
            spread = {
                key: f"{100 * mean(values[key]):.2f} ± {100 * stdev(values[key]):.2f}"
                for key in keys
            }
            # The same samples with every seed.
            spread["majority_accuracy"] = f"{100 * values['majority_accuracy'][0]:.2f}"
            assert cells[2:] == list(spread.values())
            compared += 1
    assert compared == 19
