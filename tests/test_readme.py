"""The README promises figures: they are those of the committed metrics."""

import json
from pathlib import Path
from statistics import mean, stdev

import pandas as pd
import pytest
from typer.testing import CliRunner

from facemask import cli, statistics

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


def test_what_the_readme_says_of_wrong_labels_is_so():
    files = sorted(ROOT.glob("metrics/kaggle_grouped_*/predictions/localizer.csv"))
    tested = pd.concat(map(pd.read_csv, files))
    right, found = tested["actual"] == tested["predicted"], tested["iou"] >= 0.5
    bare = tested["actual"] == "without_mask"
    text = " ".join((ROOT / "README.md").read_text().split())
    lost = (~right & ~found).sum()
    assert f"Of the {(~right).sum()} wrong labels of `localizer` {lost} are of a box" in text
    assert f"{100 * right[found].mean():.1f} % of the labels are right, and of the bare" in text
    assert f"faces' {100 * right[found & bare].mean():.1f} %" in text


def bare_and_wrong(name):
    """Of the five folds: whether a test sample is a bare face called masked, and its IoU."""
    files = [ROOT / f"metrics/kaggle_grouped_{fold}/predictions/{name}.csv" for fold in range(5)]
    tested = pd.concat(map(pd.read_csv, files), ignore_index=True)
    bare = tested["actual"] == "without_mask"
    return bare & (tested["predicted"] == "with_mask"), tested["iou"], bare.sum()


def test_bare_faces_that_two_networks_miss_are_told_as_they_are():
    told = " ".join((ROOT / "docs/localizers.md").read_text().split())
    (first, first_iou, bare), (other, other_iou, _) = map(
        bare_and_wrong, ("localizer", "localizer_stretched")
    )
    both = first & other
    lost = both & (first_iou < 0.5) & (other_iou < 0.5)
    assert (
        f"of {bare} `localizer` calls {first.sum()} masked and `localizer_stretched` "
        f"{other.sum()}, of these {both.sum()} the same, and in {lost.sum()} of the {both.sum()} "
        f"neither finds the box. Of the {(first ^ other).sum()} that one of them alone"
    ) in told
    rights = [validated_bare(name) for name in ("localizer", "localizer_stretched")]
    assert (
        f"`localizer` {rights[0][0]} of {rights[0][1]}, `localizer_stretched` {rights[1][0]}"
        in told
    )


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
    told = " ".join((ROOT / "README.md").read_text().split())
    first, other, both = (
        pd.concat([cli._read(name, ROOT / f"metrics/kaggle_grouped_{fold}") for fold in range(5)])
        for name in NETWORKS.values()
    )
    gains = [
        statistics.compare(table, both).set_index("figure").loc["mean_iou"]
        for table in (first, other)
    ]
    points = [
        f"{100 * gain['difference']:.2f} above that of `{name}` "
        f"[{100 * gain['low']:.2f}, {100 * gain['high']:.2f}]"
        for gain, name in zip(gains, ("localizer", "localizer_stretched"), strict=True)
    ]
    assert f"ensemble's IoU is {points[0].replace('above', 'points above')} and {points[1]}" in told


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
