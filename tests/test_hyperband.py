"""Hyperband on toys: which trials run and what they start from, and that nothing stops it for good.

Trials are trained here once more by hand, and rounds counted by the formulas of Keras Tuner.
"""

import itertools
import json
import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import without_graphs

from facemask import params
from facemask.config.training import ResolvedExperiment, ResolvedSearch, Space
from facemask.errors import InputError
from facemask.resolve import resolve, with_values
from facemask.shards import save, write_places
from facemask.training import checkpoint, classifier
from facemask.training.hyperband import hyperband, round_sizes, search
from facemask.training.loop import EpochLog
from stages.resolve import write_configs
from stages.tune import tune

ROOT = Path(__file__).parents[1]
# As the resolve stage writes it down.
STUDY = resolve(params.read(ROOT), "study")
SPACE = {
    "layers": [1, 2],
    "units": [4, 8],
    "shared_dropout": [0.0, 0.3],
    "label_dropout": [0.1],
    "box_dropout": [0.0, 0.2],
    "learning_rate": [0.01, 0.001],
}
SIZE, SEED = 32, 3
OWN = {"batch_size": 8, "seed": SEED, "input_size": SIZE}
BASE = STUDY["searches/mobilenet"].experiment.model_copy(update=OWN)
# One trial of one epoch.
SHORT = {"max_epochs": 1}
# A search in a process of its own, which ends as by a kill in its fourth trial: the weights are
# written, the record of it is not.
ALONE = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import conftest, test_hyperband
from facemask.training import hyperband
write = hyperband.write_json
def write_or_die(value, file):
    if file.name == "4.json":
        os.kill(os.getpid(), signal.SIGKILL)
    write(value, file)
hyperband.write_json = write_or_die
next(conftest.without_graphs())
test_hyperband.find(Path(sys.argv[1]))
"""

all_eager = pytest.fixture(scope="module", autouse=True)(without_graphs)


def wanted(space=None, base=BASE, **changes) -> ResolvedSearch:
    """A search over a space, with the experiment `base` for all else."""
    entry = {"inputs": "features/mobilenet_v2", "base": "mobilenet_5", "patience": 5}
    entry |= {"max_epochs": 3, "factor": 3, "space": SPACE | (space or {})}
    return ResolvedSearch.model_validate(entry | changes | {"experiment": base.model_dump()})


def toy_splits() -> pd.DataFrame:
    """4 samples to test, 12 to validate, 24 to train, in crops of 100 x 100 px."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "sample": np.arange(40),
            "label": np.arange(40) % 2,
            **{"x0": 0, "y0": 0, "x1": 100, "y1": 100},
            **{"box_x0": rng.integers(0, 40, 40), "box_y0": rng.integers(0, 40, 40)},
            **{"box_x1": rng.integers(50, 99, 40), "box_y1": rng.integers(50, 99, 40)},
            "split": ["test"] * 4 + ["val"] * 12 + ["train"] * 24,
        }
    )
    return table.sample(frac=1, random_state=0)


def toy_features() -> np.ndarray:
    """One row a sample number; the first feature is the label, 1 or -1, under noise."""
    features = np.random.default_rng(1).normal(0, 0.3, (40, 6)).astype(np.float32)
    features[:, 0] += 2 * (np.arange(40) % 2) - 1
    return features


def find(state: Path, **changes):
    arguments = {"search": wanted(), "inputs": toy_features(), "splits": toy_splits()}
    return search(**arguments | changes, state=state)


def files(state: Path, pattern: str) -> dict[str, int]:
    """Name and time of the last change of the files of the one search in a state.

    Not of those with a dot before: they are being written, and may be renamed at any moment.
    """
    return {path.name: path.stat().st_mtime_ns for path in state.glob(f"*/[!.]{pattern}")}


def records(state: Path) -> dict[str, int]:
    return files(state, "*.json")


def as_text(tables) -> list[str]:
    return [table.to_csv(index=False) for table in tables]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    state = tmp_path_factory.mktemp("undisturbed")
    return state, *find(state)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """What a search of one trial leaves, and finds."""
    state = tmp_path_factory.mktemp("short")
    return state, *find(state, search=wanted(**SHORT))


def test_values_are_of_the_space_and_the_best_trial_is_found(undisturbed) -> None:
    _, found, summary, trials, epochs = undisturbed
    assert trials["trial"].tolist() == list(range(1, len(trials) + 1))
    for name, values in wanted().space:
        assert set(trials[name]) <= set(values), name
        assert len(set(trials[name])) > 1 or len(values) == 1, name
    best = trials.loc[trials["val_loss"].idxmin()]
    assert list(found) == list(Space.model_fields)
    assert found == {name: best[name] for name in found}
    assert json.loads(json.dumps(found)) == found
    assert summary["val_loss"] == best["val_loss"]
    assert summary["trials"] == len(trials)
    assert summary["epochs"] == len(epochs)
    assert summary["seconds"] > 0
    assert trials[["val_accuracy", "val_iou"]].apply(lambda column: column.between(0, 1)).all(None)


def test_epochs_are_those_of_the_trials(undisturbed) -> None:
    *_, trials, epochs = undisturbed
    of_trials = epochs.groupby("trial")
    np.testing.assert_array_equal(of_trials["val_loss"].min(), trials["val_loss"])
    np.testing.assert_array_equal(of_trials["epoch"].max(), trials["epochs"])
    before = dict(zip(trials["trial"], trials["epochs"], strict=True)) | {0: 0}
    for row in trials.fillna({"continues": 0}).itertuples():
        own = of_trials.get_group(row.trial)
        assert (own["bracket"] == row.bracket).all()
        assert (own["round"] == row.round).all()
        assert own["epoch"].tolist() == list(range(before[row.continues] + 1, row.epochs + 1))


def sizes_by_formula(most: int, factor: int) -> dict[tuple[int, int], int]:
    """n of round i in bracket s, as Keras Tuner's documentation has it, with its roundings."""
    brackets = 1
    while factor**brackets <= most:
        brackets += 1
    last = math.ceil(1 + math.log(most, factor))
    return {
        (s, i): math.ceil(last / (s + 1) * factor ** (s - i))
        for s in range(brackets - 1, -1, -1)
        for i in range(s + 1)
    }


def test_rounds_have_the_sizes_and_epochs_of_hyperband(undisturbed) -> None:
    *_, trials, _ = undisturbed
    places = trials.groupby(["bracket", "round"], sort=False)
    # The paper's for R = 3 and eta = 3: s = 1 begins 3 trials of 1 epoch, s = 0 has 2 of 3.
    assert places.size().to_dict() == {(1, 0): 3, (1, 1): 1, (0, 0): 2}
    assert places["epochs"].agg(["min", "max"]).to_numpy().tolist() == [[1, 1], [3, 3], [3, 3]]


@pytest.mark.parametrize(("most", "factor"), [(1, 3), (2, 3), (3, 3), (9, 3), (10, 3), (20, 4)])
def test_round_sizes_are_known_beforehand(most: int, factor: int, tmp_path: Path) -> None:
    space = {"units": list(range(1, 50))}
    oracle = hyperband(wanted(space, max_epochs=most, factor=factor), SEED, tmp_path)
    expected = sizes_by_formula(most, factor)
    assert round_sizes(oracle) == expected
    # They are what the oracle requests, whatever the scores.
    places = ((values["tuner/bracket"], values["tuner/round"]) for values in requested(oracle))
    assert {place: len(list(same)) for place, same in itertools.groupby(places)} == expected


def requested(oracle):
    """The values of all trials that an oracle requests, with scores of no sense."""
    while (trial := oracle.create_trial("test")).status == "RUNNING":
        values = trial.hyperparameters.values
        yield values
        oracle.update_trial(trial.trial_id, {"val_loss": values["units"] % 7})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)


def test_the_best_of_a_round_goes_on(undisturbed) -> None:
    *_, trials, _ = undisturbed
    began = trials[(trials["bracket"] == 1) & (trials["round"] == 0)]
    (later,) = trials[trials["round"] == 1].itertuples()
    assert later.continues == began.loc[began["val_loss"].idxmin(), "trial"]
    parent = trials.loc[later.continues - 1]
    assert all(getattr(later, name) == parent[name] for name in Space.model_fields)
    assert trials["continues"].notna().sum() == 1


def test_a_trial_is_what_its_seeds_make_and_goes_on_from_the_best_weights(undisturbed) -> None:
    """Trained once more by hand, from NumPy arrays: the trial that went on, and how it began."""
    *_, trials, epochs = undisturbed
    rows = {row["trial"]: row for row in trials.to_dict("records")}
    (later,) = (row for row in rows.values() if row["round"] == 1)
    weights, expected = None, []
    for number, first, last in ((later["continues"], 0, 1), (later["trial"], 1, 3)):
        seed = int(np.random.SeedSequence([SEED, number]).generate_state(1)[0])
        experiment = with_values(BASE, rows[number]).model_copy(update={"seed": seed})
        model = classifier.compiled(experiment, (6,))
        if weights:
            model.set_weights(weights)
        (x, y), val = arrays(experiment, "train"), arrays(experiment, "val")
        for epoch in range(first, last):
            order = np.random.default_rng([SEED, epoch]).permutation(len(x))
            targets = {head: values[order] for head, values in y.items()}
            history = model.fit(
                x[order], targets, batch_size=8, shuffle=False, validation_data=val, verbose=0
            )
            expected.append(history.history["val_loss"][0])
        weights = model.get_weights()  # of a first epoch alone: of the best one, too
    own = epochs[epochs["trial"].isin([later["continues"], later["trial"]])]
    np.testing.assert_allclose(own["val_loss"], expected, rtol=1e-4)


def arrays(experiment: ResolvedExperiment, split: str):
    rows = toy_splits().query("split == @split")
    return toy_features()[rows["sample"]], classifier.targets(rows, experiment)


@pytest.mark.slow
def test_a_trial_goes_on_from_its_best_epoch_not_from_its_last(tmp_path: Path) -> None:
    """Two epochs of which the second is worse, then one with a learning rate of 0."""
    splits = toy_splits()
    splits.loc[splits["split"] == "val", "label"] ^= 1  # learning makes it worse
    schedule = {"name": "cosine", "warmup": 0, "patience": 0, "factor": 0}
    base = ResolvedExperiment.model_validate(
        BASE.model_dump() | {"schedule": schedule, "epochs": 2}
    )
    chosen = wanted({"learning_rate": [0.1], "units": [16, 32]}, base, factor=2)
    *_, trials, epochs = find(tmp_path, search=chosen, splits=splits)
    later = trials[trials["continues"].notna()]
    assert (later["epochs"] == 3).all()
    for row in later.itertuples():
        first, second = epochs.loc[epochs["trial"] == row.continues, "val_loss"]
        assert first < 0.99 * second
        assert row.val_loss == pytest.approx(first, rel=1e-6)
    assert later["val_loss"].is_unique


def test_the_same_again_whatever_the_test_samples_are(short, tmp_path: Path) -> None:
    _, found, _, *tables = short
    features, splits = toy_features(), toy_splits()
    testing = splits["split"] == "test"
    features[splits.loc[testing, "sample"]] = 9
    splits.loc[testing, "label"] ^= 1
    np.save(tmp_path / "inputs.npy", features)
    inputs = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    again, _, *others = find(
        tmp_path / "state", search=wanted(**SHORT), inputs=inputs, splits=splits
    )
    assert again == found
    assert as_text(others) == as_text(tables)


def test_a_killed_search_goes_on_where_it_was(undisturbed, tmp_path: Path) -> None:
    _, found, _, *tables = undisturbed
    command = [sys.executable, "-c", ALONE, tmp_path, ROOT, ROOT / "tests"]
    process = subprocess.run(list(map(str, command)), capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    done = records(tmp_path)
    assert set(done) == {"1.json", "2.json", "3.json"}
    # One of three goes on, in the fourth: no weights but theirs are kept.
    best = tables[0].loc[:2, "val_loss"].idxmin() + 1
    assert set(files(tmp_path, "*.npz")) == {f"{best}.npz", "4.npz"}
    again, summary, *others = find(tmp_path)
    assert again == found
    assert as_text(others) == as_text(tables)
    assert summary["trials"] == len(tables[0])
    assert done.items() <= records(tmp_path).items()  # none of them ran again
    assert files(tmp_path, "*.npz") == {}


class Stopped(Exception):
    """What stops a search here."""


@pytest.mark.parametrize(("until", "trial"), [(4, 4), (7, 5)])
def test_a_trial_that_was_stopped_goes_on_from_its_last_epoch(
    undisturbed, tmp_path: Path, monkeypatch, until: int, trial: int
) -> None:
    """Each epoch leaves a state here. The search stops before the last epoch of a trial.

    The fourth trial continues another one and counts epochs from its end; the fifth is new.
    """
    _, found, _, *tables = undisturbed
    monkeypatch.setattr(checkpoint, "SECONDS", 0)
    begin, begun = EpochLog.on_epoch_begin, []

    def counted(self, epoch, logs=None):
        if len(begun) == until:
            raise Stopped
        begun.append(epoch + 1)
        begin(self, epoch, logs)

    monkeypatch.setattr(EpochLog, "on_epoch_begin", counted)
    with pytest.raises(Stopped):
        find(tmp_path)
    assert list(tmp_path.glob(f"*/{trial}/state.npz"))
    until = 100
    again, _, *others = find(tmp_path)
    assert again == found
    assert as_text(others) == as_text(tables)
    assert begun == tables[1]["epoch"].tolist()
    assert list(tmp_path.rglob("*.npz")) == []


def test_a_finished_search_runs_no_trial_again(undisturbed, tmp_path: Path) -> None:
    state, *results, trials, epochs = undisturbed
    shutil.copytree(state, tmp_path, dirs_exist_ok=True)
    (oracle,) = tmp_path.glob("*/oracle/oracle.json")
    oracle.write_text(oracle.read_text()[:100])  # torn
    before = records(tmp_path)
    *again, other_trials, other_epochs = find(tmp_path)
    assert again == results
    assert as_text([other_trials, other_epochs]) == as_text([trials, epochs])
    assert records(tmp_path) == before
    assert list(tmp_path.rglob("*.npz")) == []


def test_a_search_whose_files_are_torn_starts_again(short, tmp_path: Path, capsys) -> None:
    state, _, _, *tables = short
    shutil.copytree(state, tmp_path, dirs_exist_ok=True)
    (torn,) = tmp_path.glob("*/1.json")
    torn.write_text(torn.read_text()[:30])
    *_, trials, epochs = find(tmp_path, search=wanted(**SHORT))
    assert str(torn) in "".join(capsys.readouterr())
    assert as_text([trials, epochs]) == as_text(tables)


def slow(**change):
    return pytest.param(change, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "change",
    [
        {"search": wanted(**SHORT, patience=1)},
        {"search": wanted(base=BASE.model_copy(update={"seed": 4}), **SHORT)},
        slow(search=wanted({"units": [4, 5]}, **SHORT)),
        slow(search=wanted(base=BASE.model_copy(update={"batch_size": 7}), **SHORT)),
    ],
    ids=["patience", "seed", "space", "base"],
)
def test_other_settings_do_not_go_on(change, short, tmp_path: Path) -> None:
    shutil.copytree(short[0], tmp_path, dirs_exist_ok=True)
    (before,) = tmp_path.iterdir()
    find(tmp_path, **{"search": wanted(**SHORT), **change})
    (after,) = tmp_path.iterdir()
    assert before != after


def test_the_seed_decides_the_values_even_when_it_is_0(tmp_path: Path) -> None:
    def drawn(seed: int, folder: str):
        trial = hyperband(wanted(), seed, tmp_path / folder).create_trial("test")
        return [trial.hyperparameters.values[name] for name in Space.model_fields]

    assert drawn(0, "one") == drawn(0, "two")
    assert len({tuple(drawn(seed, f"of {seed}")) for seed in range(5)}) > 1


def test_trials_stop_when_they_get_no_better(tmp_path: Path) -> None:
    splits = toy_splits()
    splits.loc[splits["split"] == "val", "label"] ^= 1
    space = {"learning_rate": [0.1], "units": [16, 32]}
    *_, trials, epochs = find(
        tmp_path, search=wanted(space, max_epochs=5, factor=10, patience=1), splits=splits
    )
    for _, own in epochs.groupby("trial"):
        best = int(own["val_loss"].argmin())
        assert len(own) == min(best + 1 + 1, 5)
    assert trials["epochs"].min() < 5


SGD = BASE.model_copy(update={"optimizer": BASE.optimizer.model_copy(update={"name": "sgd"})})


def test_a_search_without_a_finite_loss_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="learning rates"):
        find(tmp_path, search=wanted({"learning_rate": [1e38]}, SGD, **SHORT))


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_the_worst_of_all(tmp_path: Path) -> None:
    chosen = wanted({"learning_rate": [0.01, 1e38]}, SGD, max_epochs=2, factor=2)
    found, _, trials, _ = find(tmp_path, search=chosen)
    lost = trials["learning_rate"] == 1e38
    assert lost.any()
    assert not np.isfinite(trials.loc[lost, "val_loss"]).any()
    assert np.isfinite(trials.loc[~lost, "val_loss"]).all()
    assert found["learning_rate"] == 0.01
    assert len(trials) == sum(sizes_by_formula(2, 2).values())


def test_the_stage_writes_down_what_it_found(tmp_path: Path, monkeypatch) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    raw["searches"]["mobilenet"] |= {"space": SPACE, **SHORT}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    write_configs("study")
    features = Path("data/features/mobilenet_v2")
    save(toy_features(), features / "00000.npy")
    write_places([0] * len(toy_features()), features)
    toy_splits().to_csv("data/splits.csv", index=False)
    tune("mobilenet")
    found, summary, trials, epochs = find(
        tmp_path / "state",
        search=wanted(base=STUDY["searches/mobilenet"].experiment, **SHORT),
    )
    record = Path("report/records/study/searches/mobilenet")
    assert json.loads(Path("data/searches/mobilenet.json").read_text()) == found
    assert (record / "epochs.csv").read_text() == epochs.to_csv(index=False)
    reported = json.loads((record / "best.json").read_text())
    assert reported.pop("seconds") > 0
    summary.pop("seconds")
    assert reported == found | summary
    written = pd.read_csv(record / "trials.csv", dtype={"continues": "Int64"})
    assert written.columns[0] == "search"
    assert set(written.pop("search")) == {"mobilenet"}
    pd.testing.assert_frame_equal(written, trials)
    assert not list(Path(".resume").rglob("*.json"))
    best = with_values(STUDY["mobilenet_5"], found)
    assert best.network.dense == (found["units"],) * found["layers"]


def test_a_space_as_large_as_the_trials_that_begin_is_tried_out(tmp_path: Path) -> None:
    single = {name: [values[0]] for name, values in SPACE.items()}
    # 5 trials begin: 3 in the first bracket, 2 in the second.
    enough = wanted(single | {"units": [2, 3, 4, 5, 6]})
    trials = list(requested(hyperband(enough, SEED, tmp_path)))
    began = [values["units"] for values in trials if values["tuner/round"] == 0]
    assert sorted(began) == [2, 3, 4, 5, 6]
    with pytest.raises(InputError, match=r"4 combinations.*5 trials"):
        find(tmp_path, search=wanted(single | {"units": [2, 3, 4, 5]}))


def test_what_the_user_can_mend_is_reported_at_once(tmp_path: Path) -> None:
    optimizer = BASE.optimizer.model_copy(update={"options": {"nonsense": 1}})
    with pytest.raises(InputError, match="nonsense"):
        find(tmp_path, search=wanted(base=BASE.model_copy(update={"optimizer": optimizer})))
