"""The figures that README.md and docs promise are those of docs/results."""

import json
import re
from contextlib import chdir
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
RESULTS = ROOT / "docs/results"
PUBLISHED = pd.read_csv(ROOT / "reference/published_results.csv", index_col="id")
PAGES = ("README.md", "docs/results.md", "docs/localizers.md")
# Columns of tables, and what each figure is called in the files.
FIGURES = {
    "accuracy": "accuracy",
    "majority class alone": "majority_accuracy",
    "recall with mask": "recall_with_mask",
    "recall without": "recall_without_mask",
    "recall without mask": "recall_without_mask",
    "iou": "mean_iou",
    "iou ≥ 0.5": "iou_50",
    "training, s": "train_seconds",
}
NUMBER = r"(\d+\.\d\d)"
FOLDS = [f"kaggle_grouped_{fold}" for fold in range(5)]
NETWORKS = {
    "localizer": "localizer",
    "localizer_stretched": "localizer_stretched",
    "ensemble": "localizer+localizer_stretched",
}


def read(path):
    return json.loads((RESULTS / path).read_text())


def figures_of(page):
    """Every figure of a named network in the tables of a page: (name, cells by column)."""
    headers, name = [], ""
    for line in (ROOT / page).read_text().splitlines():
        cells = [cell.strip(" *\\") for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            headers = []
        elif not headers:
            headers = [cell.lower() for cell in cells]
        elif not any("recipe" in header for header in headers):  # of runs that were not kept
            # A row without a name is of the network above.
            named = re.fullmatch(r"`\w+`", cells[0])
            name = cells[0].strip("`") if named else "" if cells[0] else name
            if name:
                yield name, dict(zip(with_places(headers), cells, strict=True))


def with_places(headers):
    """Headers, those that are published figures with what they are of."""
    of = ""
    for header in headers:
        yield f"{header} {of}" if header == "published" else header
        of = header


def expected(name, column, cells):
    """What stands in a cell: of one run, of several, of an ablation's row, or of five folds."""
    figure = FIGURES[column]
    ablation = f"kaggle_grouped_0/metrics/ablation/{name}.json"
    if (RESULTS / ablation).exists():
        values = [100 * value for value in read(ablation)["val"][figure]]
        # The majority is that of the same samples every time.
        alone = figure == "majority_accuracy"
        return f"{values[0]:.2f}" if alone else f"{mean(values):.2f} ± {stdev(values):.2f}"
    row = " | ".join(cells.values())
    if re.search(rf"{NUMBER} (\[|{NUMBER})", row):
        kept = read(f"kaggle_grouped/metrics/folds/{name}.json")
        if figure == "majority_accuracy":
            return f"{100 * majority(name):.2f}"
        found = kept["figures"][figure]
        if "[" in row:
            return "{:.2f} [{:.2f}, {:.2f}]".format(
                *(100 * found[key] for key in ("value", "low", "high"))
            )
        return " ".join(f"{100 * value:.2f}" for value in found["folds"])
    if "±" in row:
        spread = read(f"kaggle/metrics/statistics/{name}.json")["seeds"][figure]
        return f"{100 * spread['mean']:.2f} ± {100 * spread['std']:.2f}"
    where = cells.get("split") or cells.get("protocol") or "random"
    run = "kaggle_grouped" if "grouped" in where else "kaggle"
    metrics = read(f"{run}/metrics/{name}.json")
    if figure == "train_seconds":
        return f"{metrics[figure]:,.0f}"
    return f"{100 * metrics['test'][figure]:.2f}"


@pytest.mark.parametrize("page", PAGES)
def test_figures_of_tables_are_those_of_the_files(page):
    compared = 0
    for name, cells in figures_of(page):
        for column in cells.keys() & FIGURES.keys():
            assert cells[column] == expected(name, column, cells), (name, column)
            compared += 1
    assert compared >= 12


def test_published_figures_are_those_of_the_study():
    compared = 0
    for name, cells in figures_of("docs/results.md"):
        for column, figure in (("accuracy", "test_accuracy"), ("iou", "test_iou")):
            if (published := f"published {column}") in cells and name in PUBLISHED.index:
                value = PUBLISHED.loc[name, figure]
                assert cells[published] == ("-" if pd.isna(value) else f"{100 * value:.2f}")
                compared += 1
    assert compared


@cache
def answered(name):
    """The test samples of the five folds, in one order for all networks."""
    members = NETWORKS[name].split("+")
    with chdir(ROOT):
        tables = [cli._read("+".join(f"{each}@{fold}" for each in members)) for fold in FOLDS]
    return pd.concat(tables, ignore_index=True)


def majority(name):
    return (answered(name)["actual"] == "with_mask").mean()


@pytest.mark.parametrize("name", NETWORKS)
def test_figures_of_the_folds_are_those_of_the_predictions(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    file = tmp_path / "pooled.json"
    done = CliRunner().invoke(cli.app, ["pool", NETWORKS[name], *FOLDS, "--to", str(file)])
    assert done.exit_code == 0, done.output
    pooled = json.loads(file.read_text())
    kept = read(f"kaggle_grouped/metrics/folds/{name}.json")
    assert pooled["samples"] == kept["samples"] == 1861
    for key, figure in kept["figures"].items():
        for part in ("value", "low", "high", "folds"):
            assert pooled["figures"][key][part] == pytest.approx(figure[part], abs=1e-6)


def told(pattern):
    """The numbers that a sentence of a page tells, in whichever page it stands."""
    for page in PAGES:
        text = " ".join((ROOT / page).read_text().split())
        if found := re.search(pattern, text):
            return [number.replace(",", "") for number in found.groups()]
    return pytest.skip("no page tells it any more")


def test_wrong_labels_that_are_told_are_counted():
    tested = answered("localizer")
    wrong = tested["actual"] != tested["predicted"]
    lost = wrong & (tested["iou"] < 0.5)
    numbers = told(r"Of the (\d+) wrong labels of `localizer` (\d+) are of a box")
    assert numbers == [str(wrong.sum()), str(lost.sum())]


def test_labels_of_boxes_that_are_right_are_counted():
    tested = answered("localizer")
    right, found = tested["actual"] == tested["predicted"], tested["iou"] >= 0.5
    bare = tested["actual"] == "without_mask"
    shares = [right[found].mean(), right[found & bare].mean()]
    pattern = r"([\d.]+) % of the labels are right, and of the bare faces' ([\d.]+) %"
    assert told(pattern) == [f"{100 * share:.1f}" for share in shares]


@cache
def missed():
    """Of each network which bare faces it calls masked, and of the first which boxes it finds."""
    tables = [answered(name) for name in NETWORKS]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table[significance.SAMPLE], tables[0][significance.SAMPLE])
    bare = tables[0]["actual"] == "without_mask"
    return bare, [bare & (table["predicted"] == "with_mask") for table in tables], tables


def test_bare_faces_that_networks_miss_are_counted():
    bare, (one, other, ensemble), _ = missed()
    pattern = (
        r"93 % of (\d+) allow (\d+) to be called masked, `localizer` calls (\d+), the ensemble "
        r"(\d+) and `localizer_stretched` (\d+)"
    )
    counts = [bare.sum(), int(0.07 * bare.sum()), one.sum(), ensemble.sum(), other.sum()]
    assert told(pattern) == [str(count) for count in counts]


def test_bare_faces_that_both_networks_miss_are_counted():
    _, (one, other, ensemble), tables = missed()
    both, alone = one & other, one ^ other
    lost = both & (tables[0]["iou"] < 0.5) & (tables[1]["iou"] < 0.5)
    pattern = (
        r"of these (\d+) the same, and in (\d+) of the (\d+) neither finds the box. Of the (\d+) "
        r"that one of them alone calls masked, the ensemble calls (\d+) masked"
    )
    counts = [both.sum(), lost.sum(), both.sum(), alone.sum(), (ensemble & alone).sum()]
    assert told(pattern) == [str(count) for count in counts]


def test_boxes_that_are_found_are_counted():
    tested = answered("localizer")
    found = (tested["iou"] >= 0.5).sum()
    numbers = told(r"([\d,]+) of ([\d,]+) have an IoU of 0\.5 and more, ([\d,]+) are")
    assert numbers == [str(found), str(len(tested)), str(ceil(0.95 * len(tested)))]


def test_bare_faces_of_validation_samples_are_counted():
    (first, every), (second, _) = map(validated_bare, list(NETWORKS)[:2])
    numbers = told(r"`localizer` (\d+) of (\d+), `localizer_stretched` (\d+)")
    assert numbers == [str(first), str(every), str(second)]


def validated_bare(name):
    """Of the validation samples of the five folds: the bare faces that are told, and all."""
    told = every = 0
    for fold in FOLDS:
        count = read(f"{fold}/metrics/data.json")["val"]
        figures = read(f"{fold}/metrics/{name}.json")["val"]
        # Masks are the majority in each fold.
        bare = round((1 - figures["majority_accuracy"]) * count)
        told, every = told + round(figures["recall_without_mask"] * bare), every + bare
    return told, every


def test_what_the_ensemble_gives_in_the_folds_is_told_as_it_is():
    expected = []
    for name in ("localizer", "localizer_stretched"):
        compared = significance.compare(answered(name), answered("ensemble")).set_index("figure")
        gain = 100 * compared.loc["mean_iou", ["difference", "low", "high"]]
        expected += [f"{value:.2f}" for value in gain]
    numbers = told(
        rf"IoU is {NUMBER} points above that of `localizer` \[{NUMBER}, {NUMBER}\] and {NUMBER} "
        rf"above that of `localizer_stretched` \[{NUMBER}, {NUMBER}\]"
    )
    assert numbers == expected
