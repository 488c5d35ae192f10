"""Uncertainty: against loops over drawn tables, every way to swap, and simulated truths."""

import itertools
import json
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from facemask.errors import InputError
from facemask.evaluation import bootstrap, significance

RESULTS = Path(__file__).parents[1] / "docs/results"
# Published runs, and what they measured: run/pipeline, experiment.
PUBLISHED = [("losses/records/losses", "mobilenet_6"), ("losses/records/losses", "scratch_7")]
PUBLISHED += [("localizer/records/localizer", "localizer")]
WITH, WITHOUT = "with_mask", "without_mask"


def predicted_on(samples: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The samples with the random predictions of some network."""
    rng = np.random.default_rng(seed)
    probability = rng.random(len(samples))
    return samples.assign(
        probability=probability,
        predicted=np.where(probability > 0.5, WITH, WITHOUT),
        # Whole steps, so that some are exactly 0.5.
        iou=rng.integers(0, 11, len(samples)) / 10,
    )


def random_predictions(seed: int = 0, images: int = 9) -> pd.DataFrame:
    """Predictions of one to four faces an image, those of one face with its flip."""
    rng = np.random.default_rng(seed)
    faces = rng.integers(1, 5, images)
    image = np.repeat([f"{number}.png" for number in range(images)], faces)
    samples = pd.DataFrame(
        {
            "sample": np.arange(len(image)),
            "image": image,
            "face": np.concatenate([np.arange(count) // 2 for count in faces]),
            "flip": np.concatenate([np.arange(count) % 2 for count in faces]),
            "actual": rng.choice([WITH, WITHOUT], len(image), p=[0.7, 0.3]),
        }
    )
    samples[significance.TRUE] = rng.random((len(image), 4)).round(6)
    return predicted_on(samples, seed)


def counted(table: pd.DataFrame) -> list[float]:
    """The six metrics counted sample by sample."""
    actual, predicted, ious = (table[name].tolist() for name in ("actual", "predicted", "iou"))
    right = [a == p for a, p in zip(actual, predicted, strict=True)]
    recalls = []
    for name in (WITH, WITHOUT):
        of_class = [r for r, a in zip(right, actual, strict=True) if a == name]
        recalls.append(np.mean(of_class) if of_class else np.nan)
    half = [iou >= 0.5 for iou in ious]
    return [np.mean(right), np.mean(ious), np.mean(half), *recalls, sum(recalls) / 2]


def drawn_metrics(table: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
    """The metrics of whole images drawn with replacement, one draw after the other."""
    rows = list(table.groupby("image").indices.values())
    chances = np.full(len(rows), 1 / len(rows))
    found = []
    for counts in np.random.default_rng(seed).multinomial(len(rows), chances, draws):
        drawn = [own for own, count in zip(rows, counts, strict=True) for _ in range(count)]
        found.append(counted(table.iloc[np.concatenate(drawn)]))
    return np.array(found)


@pytest.mark.parametrize(("records", "name"), PUBLISHED)
def test_metrics_are_those_of_published_runs(records: str, name: str) -> None:
    folder = RESULTS / records
    predictions = pd.read_csv(folder / f"predictions/{name}.csv")
    test = json.loads((folder / f"statistics/{name}.json").read_text())["test"]
    assert [metric for metric in test if metric != "majority_accuracy"] == bootstrap.METRICS
    assert bootstrap.metrics_of(predictions) == pytest.approx(
        {metric: test[metric] for metric in bootstrap.METRICS}, abs=1e-6
    )
    for metric, found in bootstrap.intervals(predictions).items():
        assert found["value"] == pytest.approx(test[metric], abs=1e-6)
        assert found["low"] <= found["value"] <= found["high"]


@pytest.mark.parametrize("seed", range(3))
def test_intervals_are_percentiles_of_drawn_tables(seed: int) -> None:
    predictions = random_predictions(seed)
    unmasked = predictions["image"].isin(["0.png", "1.png"])
    predictions["actual"] = np.where(unmasked, WITHOUT, WITH)
    drawn = drawn_metrics(predictions, 100, seed)
    assert np.isnan(drawn).any()  # some draws have no unmasked face: they do not count
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    expected = pd.DataFrame(
        {"value": counted(predictions), "low": low, "high": high}, index=bootstrap.METRICS
    )
    found = bootstrap.intervals(predictions, draws=100, seed=seed)
    pd.testing.assert_frame_equal(pd.DataFrame(found).T, expected)


@pytest.mark.parametrize("block", [1, 7 * 30, 10**6])
def test_draws_are_the_same_however_many_at_a_time(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = random_predictions(0, images=30)
    second = predicted_on(first, 1)
    intervals, compared = (
        bootstrap.intervals(first, 100),
        significance.compare(first, second, 100),
    )
    monkeypatch.setattr(bootstrap, "BLOCK", block)
    again = pd.DataFrame(bootstrap.intervals(first, 100))
    pd.testing.assert_frame_equal(again, pd.DataFrame(intervals))
    pd.testing.assert_frame_equal(significance.compare(first, second, 100), compared)


@pytest.mark.parametrize("seed", range(3))
def test_both_experiments_are_measured_on_the_same_drawn_images(seed: int) -> None:
    first = random_predictions(seed)
    second = predicted_on(first, seed + 100)
    drawn = drawn_metrics(second, 100, 5) - drawn_metrics(first, 100, 5)
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    before, after = counted(first), counted(second)
    expected = pd.DataFrame(
        {
            "metric": bootstrap.METRICS,
            "first": before,
            "second": after,
            "difference": np.subtract(after, before),
            "low": low,
            "high": high,
        }
    )
    found = significance.compare(first, second, draws=100, seed=5)
    pd.testing.assert_frame_equal(found.drop(columns="p"), expected)


def every_p(first: pd.DataFrame, second: pd.DataFrame) -> np.ndarray:
    """The share of all ways to swap that make a difference at least as large, a metric each."""
    names = first["image"].unique()
    first, second = (table[["image", "actual", "predicted", "iou"]] for table in (first, second))
    differences = []
    for chosen in itertools.product([False, True], repeat=len(names)):
        swap = first["image"].isin(names[list(chosen)])
        tables = first.where(~swap, second), second.where(~swap, first)
        differences.append(np.abs(np.subtract(counted(tables[1]), counted(tables[0]))))
    return (np.array(differences) >= differences[0] - 1e-9).mean(0)


@pytest.mark.parametrize("seed", range(3))
def test_p_of_few_images_is_exact(seed: int) -> None:
    first = random_predictions(seed, images=6)
    second = predicted_on(first, seed + 100)
    found = significance.compare(first, second, draws=100)["p"]
    np.testing.assert_allclose(found, every_p(first, second))


def test_p_of_random_swaps_is_near_the_exact_one_and_never_zero() -> None:
    first = random_predictions(1, images=7)
    second = predicted_on(first, 2).assign(predicted=first["actual"], iou=first["iou"] + 1)
    exact = every_p(first, second)
    found = significance.compare(first, second, draws=99)["p"].to_numpy()
    np.testing.assert_allclose(found, exact, atol=0.1)
    counted = found * 100
    np.testing.assert_allclose(counted, counted.round(), atol=1e-9)
    many = significance.compare(
        random_predictions(1, images=40).assign(iou=0.0),
        random_predictions(1, images=40).assign(iou=1.0),
        draws=199,
    )
    assert many.set_index("metric").loc["mean_iou", "p"] == 1 / 200


def clustered(rng: np.random.Generator, images: int, faces: int) -> pd.DataFrame:
    """Faces of one image are mostly all right or all wrong; half of all are right."""
    chance = np.repeat(rng.beta(0.5, 0.5, images), faces)
    return pd.DataFrame(
        {
            "image": np.repeat(np.arange(images), faces),
            "actual": WITH,
            "predicted": np.where(rng.random(images * faces) < chance, WITH, WITHOUT),
            "iou": 0.0,
        }
    )


def test_intervals_hold_the_truth_95_times_in_100() -> None:
    rng = np.random.default_rng(3)
    covered, narrow = [], []
    for _ in range(200):
        predictions = clustered(rng, images=60, faces=5)
        alone = predictions.assign(image=range(len(predictions)))
        for table, hits in ((predictions, covered), (alone, narrow)):
            found = bootstrap.intervals(table, draws=200)["accuracy"]
            hits.append(found["low"] <= 0.5 <= found["high"])
    assert 0.91 <= mean(covered) <= 0.98
    assert mean(narrow) < 0.85  # had samples been drawn, not images


def test_p_is_uniform_when_the_two_are_alike() -> None:
    rng = np.random.default_rng(4)
    found = {"images": [], "samples": []}
    samples = random_predictions(7, images=20)
    for _ in range(150):
        # What one network is better at is better in all faces of an image.
        shifts = dict(zip(samples["image"].unique(), rng.normal(0, 0.1, (20, 2)), strict=True))
        shift = np.stack(samples["image"].map(shifts))
        tables = [samples.assign(iou=0.5 + shift[:, k]) for k in (0, 1)]
        alone = [table.assign(image=range(len(table)), face=0, flip=0) for table in tables]
        for name, (first, second) in (("images", tables), ("samples", alone)):
            result = significance.compare(first, second, draws=99).set_index("metric")
            found[name].append(result.loc["mean_iou", "p"])
    assert stats.kstest(found["images"], "uniform").pvalue > 0.01
    assert 0.01 <= np.mean(np.array(found["images"]) <= 0.05) <= 0.09
    assert np.mean(np.array(found["samples"]) <= 0.05) > 0.12  # had samples been swapped


def test_an_experiment_does_not_differ_from_itself() -> None:
    predictions = random_predictions(2)
    found = significance.compare(predictions, predictions)
    assert (found[["difference", "low", "high"]] == 0).all(axis=None)
    assert (found["p"] == 1).all()


def test_order_of_rows_and_numbers_of_samples_do_not_matter() -> None:
    first = random_predictions(2)
    second = predicted_on(first, 3)
    shuffled = first.sample(frac=1, random_state=0).assign(sample=range(len(first)))
    pd.testing.assert_frame_equal(
        significance.compare(shuffled, second, 200), significance.compare(first, second, 200)
    )
    pd.testing.assert_frame_equal(
        pd.DataFrame(bootstrap.intervals(shuffled, 200)),
        pd.DataFrame(bootstrap.intervals(first, 200)),
    )


def test_a_class_without_samples_has_no_recall() -> None:
    first = random_predictions(2).query("actual == @WITH")
    second = predicted_on(first, 3)
    none = ["recall_without_mask", "balanced_accuracy"]
    found = pd.DataFrame(bootstrap.intervals(first)).T
    compared = significance.compare(first, second).set_index("metric")
    for table in (found, compared):
        assert table.loc[none].isna().all(axis=None)
        assert table.drop(none).notna().all(axis=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[1:], "18 in the first, 17 in the second, 17 in both"),
        (
            lambda table: table.replace({"image": {"3.png": "x.png"}}),
            "18 in the second, 1[4-7] in both",
        ),
        (lambda table: table.assign(flip=1 - table["flip"]), "18 in the second, 12 in both"),
        (lambda table: table.assign(actual=WITH), r"of 18, [1-9]\d* in their class and 0 in"),
        (lambda table: table.assign(true_x1=2.0), "of 18, 0 in their class and 18 in their true"),
    ],
)
def test_other_test_samples_are_refused(change, message: str) -> None:
    predictions = random_predictions(0)
    with pytest.raises(InputError, match=f"{message}.*dataset, crop, balance and split"):
        significance.compare(predictions, change(predictions))


@pytest.mark.parametrize("images", [0, 1])
def test_one_image_is_not_compared(images: int) -> None:
    predictions = random_predictions(0).query("image == '0.png'")[: 9 * images]
    with pytest.raises(InputError, match=f"{images} images: too few"):
        significance.compare(predictions, predictions)


def test_mean_and_std_over_repeats() -> None:
    runs = [{"accuracy": 0.7, "mean_iou": 0.2}, {"accuracy": 0.8, "mean_iou": np.nan}]
    runs.append({"accuracy": 0.95, "mean_iou": 0.4})
    found = significance.over_repeats(runs)
    values = [run["accuracy"] for run in runs]
    assert found["accuracy"] == pytest.approx({"mean": mean(values), "std": stdev(values)})
    assert np.isnan(list(found["mean_iou"].values())).all()
    with pytest.raises(InputError, match="need two runs, and there is 1"):
        significance.over_repeats(runs[:1])


@pytest.mark.parametrize("seed", range(3))
def test_points_of_the_curve_are_counts(seed: int) -> None:
    predictions = random_predictions(seed, images=60)
    rare = (predictions["actual"] == WITHOUT).to_numpy()
    score = 1 - predictions["probability"].to_numpy()
    curve = significance.precision_recall(predictions)
    for point in curve[:-1].itertuples():
        said = score >= point.threshold
        assert point.precision == pytest.approx(rare[said].mean())
        assert point.recall == pytest.approx(said[rare].mean())
    assert curve["threshold"][:-1].is_monotonic_increasing
    assert curve[-1:].to_numpy() == pytest.approx(np.array([[np.nan, 1, 0]]), nan_ok=True)
    # Thinned, the curve has still every recall there is, at its best precision.
    thresholds = np.unique(score)
    recalls = np.array([(score >= t)[rare].mean() for t in thresholds])
    precisions = np.array([rare[score >= t].mean() for t in thresholds])
    assert len(curve) < len(thresholds)
    for recall in np.unique(recalls[recalls > 0]):
        kept = curve.loc[np.isclose(curve["recall"], recall), "precision"]
        assert kept.max() == pytest.approx(precisions[np.isclose(recalls, recall)].max())
        assert kept.min() == pytest.approx(precisions[np.isclose(recalls, recall)].min())


def test_without_an_unmasked_face_there_is_no_curve() -> None:
    predictions = random_predictions(0).assign(actual=WITH)
    curve = significance.precision_recall(predictions)
    assert curve.empty
    assert curve.columns.tolist() == ["threshold", "precision", "recall"]


@pytest.mark.parametrize("bins", [4, 20])
def test_every_iou_is_in_one_bin(bins: int) -> None:
    rng = np.random.default_rng(0)
    ious = np.concatenate([rng.random(200), [0.0, 0.25, 0.5, 1.0, 1.0]])
    found = significance.iou_histogram(pd.DataFrame({"iou": ious}), bins)
    expected = [0] * bins
    for iou in ious:
        expected[min(int(iou * bins), bins - 1)] += 1
    np.testing.assert_allclose(found["iou"], [number / bins for number in range(bins)])
    np.testing.assert_allclose(found["share"], np.array(expected) / len(ious))


def test_pooled_metrics_are_of_all_images_and_of_each_fold() -> None:
    whole = random_predictions(5, images=12)
    folds = [
        whole[whole["image"].isin(part)] for part in np.array_split(whole["image"].unique(), 3)
    ]
    found = significance.pooled(folds)
    assert (found["samples"], found["images"]) == (len(whole), whole["image"].nunique())
    for name, value in bootstrap.intervals(whole).items():
        assert {key: found["metrics"][name][key] for key in value} == pytest.approx(value)
    for name, values in zip(
        bootstrap.METRICS, zip(*map(counted, folds), strict=False), strict=True
    ):
        assert found["metrics"][name]["folds"] == pytest.approx(list(values))


def test_an_image_in_two_folds_is_refused() -> None:
    fold = random_predictions(0)
    with pytest.raises(InputError, match=f"{fold['image'].nunique()} images are tested in se"):
        significance.pooled([fold, fold])
