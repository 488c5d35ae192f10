"""The repository's own parameters, and a clear message for each way to spoil them."""

import copy
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from facemask import config
from facemask.errors import InputError

ROOT = Path(__file__).parent.parent
OWN = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
REMOVED = object()
BOX = "experiments__scratch_1__losses__box"
LABEL = "experiments__scratch_3__losses__label"
OPTIMIZER = "experiments__scratch_1__optimizer"
SCHEDULE = "experiments__scratch_1__schedule"
SPACE = "searches__mobilenet__space"
OPTIMIZERS = [
    "rmsprop", "adam", "adamw", "sgd", "nadam", "adamax", "adagrad", "adadelta", "adafactor",
    "ftrl", "lion",
]  # fmt: skip

# As the study describes them: losses, weights of labels and box, epochs, learning rate, batch,
# patience and factor of the schedule, epochs of early stopping.
STUDY = """
scratch_1            categorical mse    .15  1  10 1e-3 32 -   -   0
scratch_2            categorical mse    .15  1  10 1e-3 32 -   -   0
scratch_3            categorical mse    1    10 10 1e-3 32 -   -   0
scratch_4_mse        categorical mse    1    1  20 1e-3 32 -   -   0
scratch_4_smooth_l1  categorical huber  1    1  20 1e-3 32 -   -   0
scratch_5            binary      mse    1    10 20 1e-3 32 3   .2  0
scratch_6            binary      mse    1    10 30 1e-3 16 2   .5  0
scratch_7            binary      mse    1    10 30 5e-4 8  2   .8  0
mobilenet_1          binary      mse    .1   1  10 1e-3 32 -   -   0
mobilenet_2          binary      mse    .1   1  10 1e-3 32 -   -   0
mobilenet_3          binary      huber  .1   1  10 1e-3 32 -   -   0
mobilenet_4          binary      mse    .1   1  10 1e-3 32 -   -   0
mobilenet_5          binary      mse    .1   1  13 1e-4 32 -   -   0
mobilenet_6          binary      mse    .1   1  30 1e-4 32 2   .5  5
xception_1           binary      mse    .1   1  10 1e-3 32 -   -   0
xception_2           binary      mse    .1   1  10 1e-3 32 -   -   0
xception_3           binary      huber  .1   1  10 1e-3 32 -   -   0
xception_4           binary      mse    .1   1  10 1e-3 32 -   -   0
xception_5           binary      mse    .1   1  20 1e-4 32 -   -   0
"""

# What a search finds, by the key of its space: where it stands in an experiment.
FOUND = {
    "layers": lambda experiment: len(experiment.network.dense),
    "units": lambda experiment: experiment.network.dense[-1],
    "shared_dropout": lambda experiment: experiment.dropout.shared,
    "label_dropout": lambda experiment: experiment.dropout.label,
    "box_dropout": lambda experiment: experiment.dropout.box,
    "learning_rate": lambda experiment: experiment.optimizer.learning_rate,
}
SEARCHED = [
    ("network", "dense"),
    ("dropout", "shared"),
    ("dropout", "label"),
    ("dropout", "box"),
    ("optimizer", "learning_rate"),
]


def changed(**values):
    """The repository's parameters with other values; a key is written with __ for each dot."""
    raw = json.loads(json.dumps(OWN))  # a copy in which nothing is shared, as *anchors are
    for key, value in values.items():
        *path, last = key.split("__")
        section = raw
        for part in path:
            section = section[part]
        if value is REMOVED:
            del section[last]
        else:
            section[last] = value
    return raw


def refused(**values):
    with pytest.raises(InputError) as caught:
        config.parse(changed(**values))
    return str(caught.value)


def test_the_repository_s_own_parameters_are_valid():
    params = config.parse(OWN)
    published = pd.read_csv(ROOT / "reference" / "published_results.csv")
    assert len(published) == 19
    assert set(params.experiments) >= set(published["id"])


@pytest.mark.parametrize("line", STUDY.strip().splitlines(), ids=lambda line: line.split()[0])
def test_experiments_are_those_of_the_study(line):
    name, label, box, label_weight, box_weight, epochs, rate, batch, *schedule, stop = line.split()
    params = config.parse(OWN)
    experiment = params.experiments[name]
    assert experiment.losses.label.name == f"{label}_crossentropy"
    assert experiment.losses.box.name == box
    assert experiment.losses.box.threshold == 1
    assert experiment.loss_weights.label == float(label_weight)
    assert experiment.loss_weights.box == float(box_weight)
    assert experiment.optimizer.name == "rmsprop"
    assert experiment.optimizer.learning_rate == float(rate)
    assert (experiment.epochs, experiment.batch_size) == (int(epochs), int(batch))
    assert experiment.early_stopping == int(stop)
    if schedule == ["-", "-"]:
        assert experiment.schedule.name == "constant"
    else:
        found = (experiment.schedule.patience, experiment.schedule.factor)
        assert found == tuple(map(float, schedule))
    # Experiment 4 alone has its boxes in pixels.
    pixels = "center_xywh" if name.startswith("scratch_4") else "rel_center_xywh"
    assert experiment.box_format == pixels
    family = {"scratch": None, "mobilenet": "mobilenet_v2", "xception": "xception"}
    assert params.backbone(name) == family[name.split("_")[0]]
    # What the study did not vary.
    assert (experiment.losses.label.smoothing, experiment.losses.label.focal_gamma) == (0, 0)
    assert experiment.class_weights.with_mask == experiment.class_weights.without_mask == 1
    assert (experiment.optimizer.weight_decay, experiment.optimizer.options) == (0, {})
    assert (experiment.schedule.warmup, experiment.precision) == (0, "float32")


@pytest.mark.parametrize("base", ["scratch_7", "mobilenet_6"])
def test_variants_of_an_experiment_differ_in_the_loss_of_the_box_alone(base):
    raw, losses = changed()["experiments"], []
    for name in [name for name in raw if name.startswith(base)]:
        losses.append((raw[name]["losses"].pop("box"), raw[name]["loss_weights"].pop("box")))
        assert raw[name] == raw[base]
    assert len(losses) > 3
    assert all(losses.count(one) == 1 for one in losses)


@pytest.mark.parametrize("name", OWN["searches"])
def test_an_experiment_on_a_search_is_its_base_wherever_the_search_decides_nothing(name):
    raw = changed()
    base = raw["experiments"][raw["searches"][name]["base"]]
    inputs = f"searches/{name}"
    tuned = [entry for entry in raw["experiments"].values() if entry["inputs"] == inputs]
    base["inputs"] = inputs
    for section, key in SEARCHED:
        base[section][key] = "searched"
    assert tuned and all(entry == base for entry in tuned)


def test_parameters_do_not_change_once_read():
    params = config.parse(OWN)
    with pytest.raises(ValidationError):
        params.crop.min_area = 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        # YAML 1.1 reads 1e-3 as text, and so it arrives from `dvc exp run -S`.
        ("experiments__scratch_1__optimizer__learning_rate", "1e-3"),
        ("experiments__scratch_1__loss_weights__label", 0),
        ("crop__metric", "chebyshev"),
        ("split__suffix", "_seed_7"),
        ("balance__enabled", False),
        ("datasets__sample__classes__with_mask", None),
        ("datasets__kaggle__source", "/some/where/else.zip"),
        ("dataset", "kaggle"),
        ("crop__modulus", 3),
        ("experiments__scratch_1__losses__label__smoothing", 0.99),
        ("experiments__scratch_1__losses__label__focal_gamma", 7),
        *((f"{BOX}__name", name) for name in ("smooth_l1", "giou", "diou", "ciou")),
        ("experiments__scratch_1__class_weights__without_mask", 0.001),
        *((f"{OPTIMIZER}__name", name) for name in OPTIMIZERS),
        (f"{OPTIMIZER}__weight_decay", 0.5),
        (f"{OPTIMIZER}__options", {"nesterov": True, "momentum": 0.5, "ns_steps": 3}),
        (f"{OPTIMIZER}__options", {"epsilon": "1e-3"}),
        *((f"{SCHEDULE}__name", name) for name in ("plateau", "cosine", "exponential")),
        (f"{SCHEDULE}__warmup", 9),  # of 10 epochs
        (f"{SCHEDULE}__factor", 0),  # of no use to a constant rate
        ("experiments__scratch_1__precision", "bfloat16"),
        ("experiments__scratch_1__seeds", 50),
        ("workers", None),
        ("workers", 3),
        (f"{SPACE}__layers", [7]),
        (f"{SPACE}__learning_rate", ["1e-3", 5]),
        ("searches__mobilenet__factor", 2),
        ("searches__mobilenet__max_epochs", 1),
        ("searches__mobilenet__base", "mobilenet_4"),
    ],
)
def test_values_that_are_allowed(key, value):
    section = config.parse(changed(**{key: value}))
    for part in key.split("__"):
        section = section[part] if isinstance(section, dict) else getattr(section, part)
    found = list(section) if isinstance(section, tuple) else section
    wanted = json.loads(json.dumps(value).replace('"1e-3"', "0.001"))
    assert found == wanted
    if isinstance(value, dict):  # True is not 1 there, nor 3 of ns_steps 3.0
        assert [*map(type, found.values())] == [*map(type, wanted.values())]


def test_there_need_not_be_a_search():
    raw = changed(searches={})
    for name, entry in OWN["experiments"].items():
        if entry["inputs"].startswith("searches/"):
            del raw["experiments"][name]
    assert config.parse(raw).searches == {}


# key, value, and what the message must hold beside the key and the value: what is allowed.
WRONG = [
    ("crop__metric", "manhatan", ["manhattan", "euclidean", "chebyshev"]),
    ("crop__modulus", 0, ["1"]),
    ("crop__modulus", 2.5, ["integer"]),
    ("crop__remainder", -1, ["0"]),
    ("crop__min_area", "large", ["integer"]),
    ("crop__min_area", None, ["integer"]),
    ("balance__enabled", "perhaps", ["boolean"]),
    ("split__protocol", "random", ["report", "grouped"]),
    ("split__test", 0, ["greater than 0"]),
    ("split__test", 1, ["less than 1"]),
    ("split__test", float("nan"), []),
    ("split__val", 20, ["less than 1"]),
    ("split__suffix", "../out", ["pattern"]),
    ("split__seed", -1, ["0"]),
    ("split__fold", -1, ["0"]),
    ("seed", "first", ["integer"]),
    ("workers", 0, ["greater than or equal to 1"]),
    ("workers", "all", ["integer"]),
    ("pack__sizes", [], ["at least 1"]),
    ("pack__sizes", 128, ["tuple"]),
    ("pack__limit", 4, ["8"]),
    ("localizers__localizer__taps", [], ["at least 1"]),
    ("localizers__localizer__frozen", None, ["string"]),
    ("localizers__localizer__width", 0, ["1"]),
    ("localizers__localizer__canvas__size", 200, ["multiple of 32"]),
    ("localizers__localizer__canvas__fit", "crop", ["stretch", "letterbox"]),
    ("localizers__localizer__canvas__closer", 1, ["less than 1"]),
    ("localizers__localizer__augment__flip", 1.5, ["less than or equal to 1"]),
    ("localizers__localizer__augment__zoom", 2, ["tuple"]),
    ("localizers__localizer__augment__blur", "often", ["number"]),
    ("localizers__localizer__loss_weights__cells", -1, ["0"]),
    ("dataset", "kagle", ["'kaggle'", "sample"]),
    ("datasets__sample__classes__with_mask", "masked", ["with_mask", "without_mask"]),
    ("datasets__sample__classes", {}, ["at least 1"]),
    ("datasets__sample__source", "", ["at least 1"]),
    ("datasets__sample__weights", None, ["string"]),
    ("backbones__xception__input_size", "wide", ["integer"]),
    ("experiments", {}, ["at least 1"]),
    ("experiments__scratch_3__epochs", 0, ["1"]),
    ("experiments__scratch_3__epochs", "ten", ["integer"]),
    ("experiments__scratch_3__batch_size", -8, ["1"]),
    ("experiments__scratch_3__box_format", "xywh", ["rel_center_xywh", "center_xywh"]),
    ("experiments__scratch_3__inputs", "crops", ["pattern"]),
    ("experiments__scratch_3__network__filters", [32, 0], ["1"]),
    ("experiments__scratch_3__dropout__shared", 1, ["less than 1"]),
    ("experiments__scratch_3__dropout__box", -0.1, ["0"]),
    (f"{LABEL}__name", "hinge", ["categorical_crossentropy", "binary_crossentropy"]),
    # How it was written before there was a smoothing.
    (LABEL, "binary_crossentropy", ["dictionary"]),
    (f"{LABEL}__smoothing", 1, ["less than 1"]),
    (f"{LABEL}__smoothing", -0.1, ["greater than or equal to 0"]),
    (f"{LABEL}__smoothing", "soft", ["number"]),
    (f"{LABEL}__focal_gamma", -2, ["greater than or equal to 0"]),
    (f"{LABEL}__focal_gamma", float("inf"), ["finite"]),
    (f"{LABEL}__focal_gamma", None, ["number"]),
    (
        "experiments__scratch_3__losses__box__name",
        "iou",
        ["'mse'", "'smooth_l1'", "'huber'", "'giou'", "'diou'", "'ciou'"],
    ),
    ("experiments__scratch_3__losses__box", "giou", ["dictionary"]),
    ("experiments__scratch_3__class_weights__with_mask", 0, ["greater than 0"]),
    ("experiments__scratch_3__class_weights__with_mask", "heavy", ["number"]),
    ("experiments__scratch_3__class_weights__without_mask", -1, ["greater than 0"]),
    ("experiments__scratch_3__class_weights__without_mask", float("nan"), ["finite"]),
    ("experiments__scratch_3__class_weights", 2, ["dictionary"]),
    ("experiments__scratch_3__losses__box__threshold", 0, ["greater than 0"]),
    ("experiments__scratch_3__loss_weights__box", "heavy", ["number"]),
    (f"{OPTIMIZER}__name", "Adam", [f"'{name}'" for name in OPTIMIZERS]),
    (f"{OPTIMIZER}__name", "lamb", ["'adam'"]),
    (f"{OPTIMIZER}__weight_decay", -0.1, ["greater than or equal to 0"]),
    (f"{OPTIMIZER}__weight_decay", "little", ["number"]),
    (f"{OPTIMIZER}__weight_decay", float("inf"), ["finite"]),
    (f"{OPTIMIZER}__options", "momentum", ["dictionary"]),
    (f"{OPTIMIZER}__options", None, ["dictionary"]),
    ("experiments__scratch_3__optimizer__learning_rate", 0, ["greater than 0"]),
    ("experiments__scratch_3__optimizer__learning_rate", float("inf"), []),
    ("experiments__scratch_3__optimizer__learning_rate", float("nan"), []),
    (
        "experiments__scratch_6__schedule__name",
        "step",
        ["'constant'", "'plateau'", "'cosine'", "'exponential'"],
    ),
    (f"{SCHEDULE}__warmup", -1, ["greater than or equal to 0"]),
    (f"{SCHEDULE}__warmup", 1.5, ["integer"]),
    (f"{SCHEDULE}__warmup", "slow", ["integer"]),
    (f"{SCHEDULE}__factor", -0.5, ["greater than or equal to 0"]),
    ("experiments__scratch_6__schedule__factor", 1, ["less than 1"]),
    ("experiments__scratch_6__schedule__patience", "long", ["integer"]),
    ("experiments__scratch_3__precision", "float16", ["'float32'", "'bfloat16'"]),
    ("experiments__scratch_3__precision", 16, ["'float32'", "'bfloat16'"]),
    ("experiments__scratch_3__seeds", 0, ["greater than or equal to 1"]),
    ("experiments__scratch_3__seeds", "many", ["integer"]),
    ("experiments__scratch_3__seeds", 2.5, ["integer"]),
    ("experiments__mobilenet_tuned__inputs", "searches/", ["pattern"]),
    ("experiments__mobilenet_tuned__inputs", "searches/a/b", ["pattern"]),
    ("searches", None, ["dictionary"]),
    ("searches__mobilenet", "mobilenet_5", ["dictionary"]),
    ("searches__mobilenet__inputs", "crops/128", ["pattern"]),
    ("searches__mobilenet__inputs", "searches/xception", ["pattern"]),
    ("searches__mobilenet__base", None, ["string"]),
    ("searches__mobilenet__max_epochs", 0, ["greater than or equal to 1"]),
    ("searches__mobilenet__max_epochs", "long", ["integer"]),
    ("searches__mobilenet__factor", 1, ["greater than or equal to 2"]),
    ("searches__mobilenet__factor", 2.5, ["integer"]),
    ("searches__mobilenet__patience", 0, ["greater than or equal to 1"]),
    ("searches__mobilenet__patience", "short", ["integer"]),
    (SPACE, [1, 2], ["dictionary"]),
    (f"{SPACE}__layers", 3, ["tuple"]),
    *((f"{SPACE}__{key}", [], ["at least 1"]) for key in FOUND),
    *((f"{SPACE}__{key}", "searched", ["tuple"]) for key in FOUND),
    (f"{SPACE}__layers", [1, 0], ["greater than or equal to 1"]),
    (f"{SPACE}__units", [1, 1.5], ["integer"]),
    (f"{SPACE}__units", [8, -8], ["greater than or equal to 1"]),
    (f"{SPACE}__shared_dropout", [0.5, 1], ["less than 1"]),
    (f"{SPACE}__label_dropout", [0.5, -0.5], ["greater than or equal to 0"]),
    (f"{SPACE}__box_dropout", [0.5, "half"], ["number"]),
    (f"{SPACE}__learning_rate", [0.5, 0], ["greater than 0"]),
]


@pytest.mark.parametrize(("key", "value", "allowed"), WRONG)
def test_a_wrong_value_is_told_with_its_key_and_what_is_allowed(key, value, allowed):
    message = refused(**{key: value})
    last = key.split("__")[-1]
    told = next(line for line in message.splitlines()[1:] if last in line)
    # The whole key as -S would take it; of a list, with the place in it.
    where = key.replace("__", ".")
    assert re.match(rf"  {re.escape(where)}(\.\d+)?(: | is )", told)
    wrong = value[-1] if isinstance(value, list) and value else value
    assert str(wrong) in told
    for word in allowed:
        assert word in told
    assert len(message.splitlines()) == 2


@pytest.mark.parametrize("value", ["fast", None, float("nan"), [0.9]])
def test_a_wrong_option_of_the_optimizer_is_told_as_any_other_value(value):
    message = refused(**{f"{OPTIMIZER}__options": {"nesterov": True, "momentum": value}})
    assert len(message.splitlines()) == 2
    assert "  experiments.scratch_1.optimizer.options.momentum: " in message
    assert str(value) in message


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("crop__min_aera", "min_area"),
        ("experiments__scratch_1__epoch", "epochs"),
        ("experiments__scratch_1__optimizer__learning_rates", "learning_rate"),
        ("experiments__scratch_6__schedule__patients", "patience"),
        ("experiment", "experiments"),
        ("datasets__sample__class", "classes"),
        ("split__zebra", None),
        ("search", "searches"),
        (f"{LABEL}__smoothness", "smoothing"),
        (f"{LABEL}__focal_gama", "focal_gamma"),
        ("experiments__scratch_1__class_weight", "class_weights"),
        (f"{OPTIMIZER}__weight_decays", "weight_decay"),
        (f"{OPTIMIZER}__option", "options"),
        (f"{SCHEDULE}__warm_up", "warmup"),
        ("experiments__scratch_1__precison", "precision"),
        ("experiments__scratch_1__seed", "seeds"),
        ("searches__mobilenet__max_epoch", "max_epochs"),
        ("searches__mobilenet__spaces", "space"),
        (f"{SPACE}__layer", "layers"),
        (f"{SPACE}__unit", "units"),
        (f"{SPACE}__shared_dropouts", "shared_dropout"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest(key, suggestion):
    message = refused(**{key: 1})
    assert f"{key.replace('__', '.')}: unknown key" in message
    if suggestion:
        assert f"did you mean {suggestion!r}?" in message
    else:
        assert "did you mean" not in message


@pytest.mark.parametrize(
    "key",
    [
        "crop",
        "crop__metric",
        "seed",
        "searches",
        "experiments__scratch_7__schedule__factor",
        "experiments__scratch_7__schedule__warmup",
        f"{LABEL}__name",
        f"{LABEL}__smoothing",
        f"{LABEL}__focal_gamma",
        "experiments__scratch_1__class_weights",
        "experiments__scratch_1__class_weights__without_mask",
        f"{OPTIMIZER}__weight_decay",
        f"{OPTIMIZER}__options",
        "experiments__scratch_1__precision",
        "experiments__scratch_1__seeds",
        *(f"searches__mobilenet__{key}" for key in OWN["searches"]["mobilenet"]),
        *(f"{SPACE}__{key}" for key in FOUND),
        *(f"experiments__mobilenet_tuned__{'__'.join(key)}" for key in SEARCHED),
        "experiments__mobilenet_tuned__dropout",
    ],
)
def test_a_missing_key_is_told(key):
    assert f"{key.replace('__', '.')}: missing" in refused(**{key: REMOVED})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"crop__modulus": 5, "crop__remainder": 5}, ["crop: ", "remainder 5", "0..4"]),
        ({"experiments__scratch_3__network__pools": 5}, ["scratch_3.network: ", "pools is 5", "4"]),
        (
            {"experiments__scratch_3__network__filters": []},
            ["experiments.scratch_3", "pools is 4"],
        ),
        (
            {
                "experiments__scratch_3__network__filters": [],
                "experiments__scratch_3__network__pools": 0,
            },
            ["experiments.scratch_3: ", "needs convolutions", "network.filters"],
        ),
        (
            {"experiments__xception_1__network__filters": [8]},
            ["experiments.xception_1: ", "network.filters"],
        ),
        ({"split__fold": 1}, ["split: ", "fold is 1", "protocol report"]),
        (
            {"localizers__localizer__augment__zoom": [2, 1]},
            ["localizers.localizer.augment: ", "zoom is [2.0, 1.0]"],
        ),
        (
            {"localizers__localizer__backbone": "mobilenet"},
            ["localizers.localizer.backbone is 'mobilenet'", "did you mean 'mobilenet_v2'?"],
        ),
        (
            {"localizers__localizer__schedule__warmup": 24},
            ["localizers.localizer: ", "schedule.warmup is 24 of 24 epochs"],
        ),
        (
            {"ensembles__ensemble__members": ["localizer", "localiser"]},
            ["ensembles.ensemble.members is 'localiser'", "did you mean 'localizer'?"],
        ),
        (
            {"ensembles__ensemble__members": ["localizer", "localizer"]},
            ["ensembles.ensemble: ", "members are both localizer"],
        ),
        (
            {"ablation__rows": {}},
            ["ablation.rows is {}", "give one"],
        ),
        (
            {"ablation__rows__frozen__backbone": "xceptoin"},
            ["ablation.rows.frozen.backbone is 'xceptoin'", "did you mean 'xception'?"],
        ),
        (
            {"ensembles__localizer": {"members": ["localizer", "scratch_1"]}},
            ["ensembles.localizer: the name is taken"],
        ),
        (
            {"ablation__localizer": "localiser"},
            ["ablation.localizer is 'localiser'", "did you mean 'localizer'?"],
        ),
        (
            {"ablation__rows__frozen": {"canvas": {"fits": "stretch"}}},
            ["ablation.rows.frozen.canvas.fits: unknown key", "did you mean 'fit'?"],
        ),
        (
            {"ablation__common__epochs": 1},
            ["ablation.common: ", "schedule.warmup is 1 of 1 epochs"],
        ),
        (
            {"localizers__scratch_1": OWN["localizers"]["localizer"]},
            ["localizers.scratch_1: the name is taken"],
        ),
        ({"pack__sizes": [128]}, ["backbones.mobilenet_v2.input_size is 224", "pack.sizes [128]"]),
        (
            {"experiments__scratch_1__inputs": "crops/129"},
            ["experiments.scratch_1.inputs is 'crops/129'", "did you mean 'crops/128'?"],
        ),
        (
            {"experiments__xception_1__inputs": "features/xeption"},
            ["experiments.xception_1.inputs is 'features/xeption'", "'features/xception'?"],
        ),
        (
            {"experiments__xception_tuned__inputs": "searches/xeption"},
            ["experiments.xception_tuned.inputs is 'searches/xeption'", "'searches/xception'?"],
        ),
        (
            {"experiments__mobilenet_tuned__network__filters": [8]},
            ["experiments.mobilenet_tuned: ", "network.filters"],
        ),
        (
            {"searches__mobilenet__inputs": "features/mobilenet_v3"},
            ["searches.mobilenet.inputs is 'features/mobilenet_v3'", "'features/mobilenet_v2'?"],
        ),
        (
            {"searches__xception__base": "xception5"},
            ["searches.xception.base is 'xception5'", "not in experiments", "'xception_5'?"],
        ),
        (
            {"searches__xception__base": "mobilenet_5"},
            ["searches.xception reads features/xception", "mobilenet_5 features/mobilenet_v2"],
        ),
        (
            {"searches__xception__inputs": "features/mobilenet_v2"},
            ["searches.xception reads features/mobilenet_v2", "xception_5 features/xception"],
        ),
        (
            {"searches__xception__base": "xception_tuned"},
            ["searches.xception", "base xception_tuned searches/xception"],
        ),
        (
            {"searches__xception__base": "scratch_7"},
            ["searches.xception reads features/xception", "scratch_7 crops/128"],
        ),
        (
            {"experiments__scratch_1__schedule__warmup": 10},
            ["experiments.scratch_1: ", "schedule.warmup is 10 of 10 epochs"],
        ),
        (
            {"experiments__scratch_1__schedule__warmup": 3, "experiments__scratch_1__epochs": 2},
            ["experiments.scratch_1: ", "schedule.warmup is 3 of 2 epochs"],
        ),
        *(
            (
                {f"{SCHEDULE}__name": name, f"{SCHEDULE}__factor": 0},
                ["experiments.scratch_1.schedule: ", "factor is 0", name],
            )
            for name in ("plateau", "exponential")
        ),
        ({"split__protocol": "grouped"}, ["split.protocol=grouped", "split.suffix=_grouped"]),
        ({"split__suffix": "_grouped"}, ["protocol is report", "'_grouped'"]),
        (
            {"split__protocol": "grouped", "split__suffix": "_grouped", "split__test": 0.6},
            ["split: ", "up to 0.5"],
        ),
        (
            {"datasets__sample__remarks__xcepton": "untrue"},
            ["datasets.sample.remarks", "'xcepton'", "'xception'?"],
        ),
    ],
)
def test_values_that_do_not_fit_each_other(values, told):
    message = refused(**values)
    for words in told:
        assert words in message


def test_all_mistakes_are_told_at_once():
    message = refused(
        crop__metric="straight", split__seed=-1, experiments__scratch_1__epoch=3, seed=REMOVED
    )
    for key in ("crop.metric", "split.seed", "experiments.scratch_1.epoch:", "  seed"):
        assert key in message
    assert len(message.splitlines()) == 5


@pytest.mark.parametrize("key", SEARCHED, ids=".".join)
def test_what_the_search_decides_has_no_value_of_its_own(key):
    where = f"experiments__mobilenet_tuned__{'__'.join(key)}"
    for value in ([64] if key == ("network", "dense") else 0.25, "searchd", None):
        message = refused(**{where: value})
        assert f"{where.replace('__', '.')} is {value!r}" in message
        assert "searches/mobilenet" in message and "leave it searched" in message


@pytest.mark.parametrize(
    "key",
    [
        *(f"scratch_1__{'__'.join(key)}" for key in SEARCHED),
        *(f"mobilenet_5__{'__'.join(key)}" for key in SEARCHED),
        # On a search, but the search does not decide these.
        "mobilenet_tuned__network__label_dense",
        "mobilenet_tuned__network__filters",
        "mobilenet_tuned__dropout__dense",
        "mobilenet_tuned__optimizer__weight_decay",
        "mobilenet_tuned__optimizer__name",
        "mobilenet_tuned__loss_weights__box",
        "mobilenet_tuned__box_format",
        "mobilenet_tuned__epochs",
        "mobilenet_tuned__precision",
    ],
)
def test_searched_stands_only_where_a_search_decides(key):
    message = refused(**{f"experiments__{key}": "searched"})
    assert f"  experiments.{key.replace('__', '.')}: " in message
    assert message.count("'searched'") == 1


def test_inputs_that_are_no_search_leave_nothing_searched():
    message = refused(experiments__mobilenet_tuned__inputs="features/mobilenet_v2")
    for key in SEARCHED:
        assert f"  experiments.mobilenet_tuned.{'.'.join(key)}: " in message
    assert len(message.splitlines()) == 1 + len(SEARCHED)


@pytest.mark.parametrize(
    ("inputs", "features"),
    [
        ("crops/128", "crops/128"),
        ("crops/224", "crops/224"),
        ("features/xception", "features/xception"),
        ("searches/mobilenet", "features/mobilenet_v2"),
        ("searches/xception", "features/xception"),
    ],
)
def test_inputs_are_made_from_crops_or_features(inputs, features):
    assert config.parse(OWN).made_from(inputs) == features


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("scratch_7", None),
        ("scratch_7_giou", None),
        ("mobilenet_5", "mobilenet_v2"),
        ("mobilenet_tuned", "mobilenet_v2"),
        ("xception_tuned", "xception"),
    ],
)
def test_backbone_is_whose_features_an_experiment_reads(name, backbone):
    assert config.parse(OWN).backbone(name) == backbone


def test_a_search_on_other_features_changes_the_backbone():
    params = config.parse(
        changed(
            searches__mobilenet__inputs="features/xception", searches__mobilenet__base="xception_1"
        )
    )
    assert params.backbone("mobilenet_tuned") == "xception"


NONE_FOUND = {
    "layers": 1,
    "units": 64,
    "shared_dropout": 0.0,
    "label_dropout": 0.1,
    "box_dropout": 0.2,
    "learning_rate": 0.5,
}


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in FOUND for value in OWN["searches"]["mobilenet"]["space"][key]],
)
def test_each_value_of_a_space_is_chosen_in_its_place_alone(key, value):
    experiment = config.parse(OWN).experiments["mobilenet_tuned"]
    before = experiment.model_dump()
    values = NONE_FOUND | {key: value}
    chosen = config.choose(experiment, values)
    assert {name: find(chosen) for name, find in FOUND.items()} == pytest.approx(values)
    assert set(chosen.network.dense) == {values["units"]}
    # Nothing else changes, in it or in what it was made from.
    entry = chosen.model_dump()
    for section, name in SEARCHED:
        entry[section][name] = before[section][name]
    assert entry == before == experiment.model_dump()


def test_a_space_has_a_place_for_each_of_its_keys():
    assert list(config.Space.model_fields) == list(FOUND)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("units", 0),
        ("units", 2.5),
        ("shared_dropout", 1.0),
        ("label_dropout", -0.1),
        ("box_dropout", "half"),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
    ],
)
def test_values_are_checked_when_they_are_chosen(key, value):
    experiment = config.parse(OWN).experiments["mobilenet_tuned"]
    with pytest.raises(ValidationError, match=re.escape(str(value))):
        config.choose(experiment, NONE_FOUND | {key: value})


@pytest.mark.parametrize(
    "name", ["data", "validation", "backbones", "predictions", "searches", "statistics"]
)
def test_an_experiment_cannot_take_the_name_of_another_metrics_file(name):
    raw = changed()
    raw["experiments"][name] = OWN["experiments"]["scratch_1"]
    with pytest.raises(InputError, match=rf"experiments\.{name}: the name is taken"):
        config.parse(raw)


def test_a_name_that_is_taken_is_free_with_anything_added():
    raw = changed()
    raw["experiments"]["statistics_2"] = OWN["experiments"]["scratch_1"]
    assert "statistics_2" in config.parse(raw).experiments


def test_a_grouped_run_is_kept_beside():
    split = config.parse(changed(split__protocol="grouped", split__suffix="_grouped_2")).split
    assert (split.protocol, split.suffix) == ("grouped", "_grouped_2")


def test_a_name_that_is_also_a_kind_of_schedule_stays_in_the_key():
    raw = changed()
    raw["experiments"] = {"plateau": {**OWN["experiments"]["scratch_1"], "epochs": 0}}
    with pytest.raises(InputError, match=r"experiments\.plateau\.epochs"):
        config.parse(raw)


@pytest.mark.parametrize("raw", [None, [], "dataset: sample", {}])
def test_what_is_no_mapping_of_parameters_is_told(raw):
    with pytest.raises(InputError, match=r"params\.yaml"):
        config.parse(raw)


@pytest.mark.parametrize("name", ["two words", "../up", ""])
def test_names_of_datasets_and_experiments_are_fit_for_folders(name):
    kinds = {"datasets": "sample", "experiments": "scratch_1", "searches": "mobilenet"}
    for kind, example in kinds.items():
        raw = changed()
        raw[kind][name] = OWN[kind][example]
        with pytest.raises(InputError, match=kind):
            config.parse(raw)


def leaves(value, path=()):
    """Every value of a nested mapping with its path; of entries alike the first alone."""
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for number, (key, inner) in enumerate(value.items()):
        if path in (("experiments",), ("searches",), ("datasets",)) and number:
            return
        yield from leaves(inner, (*path, key))


LEAVES = dict(leaves(OWN))


def opened(path):
    """A copy of the parameters, and the mapping in it that holds a path's last key."""
    section = raw = copy.deepcopy(OWN)
    for key in path[:-1]:
        section = section[key]
    return raw, section


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_no_key_takes_a_value_of_a_wrong_type(path):
    """A mapping where a value is wanted, and a number where a mapping is."""
    raw, section = opened(path)
    section[path[-1]] = 7 if isinstance(LEAVES[path], dict) else {"x": 1}
    with pytest.raises(InputError) as caught:
        config.parse(raw)
    assert ".".join(path) in str(caught.value)


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_no_key_may_be_misspelt(path):
    """A letter too many is told with the key it was meant to be."""
    raw, section = opened(path)
    if path[-2:-1] in (("classes",), ("remarks",), ("options",), ("rows",)):
        pytest.skip("any name may stand here")
    section[f"{path[-1]}x"] = section.pop(path[-1])
    with pytest.raises(InputError) as caught:
        config.parse(raw)
    message = str(caught.value)
    assert f"{'.'.join(path)}x: unknown key" in message
    assert f"did you mean {path[-1]!r}" in message


def test_rows_of_the_ablation_change_what_they_name_and_nothing_else() -> None:
    params = config.parse(OWN)
    base, common = params.localizers["localizer"].model_dump(), params.ablation.common
    for row, changes in params.ablation.rows.items():
        found = flat(params.ablated(row).model_dump())
        expected = flat(base) | flat(common) | flat(changes)
        assert found == {key: tuple(v) if isinstance(v, list) else v for key, v in expected.items()}


def flat(entry: dict, above: tuple = ()) -> dict:
    """Values by their path; the options of an optimizer are one value."""
    found = {}
    for key, value in entry.items():
        inner = isinstance(value, dict) and key != "options"
        found |= flat(value, (*above, key)) if inner else {(*above, key): value}
    return found
