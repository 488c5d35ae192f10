"""What trainings are made with: defaults, bases, caps and what a search found, in their places."""

import json

import pytest
from pydantic import ValidationError
from test_params import DETECTOR, DETECTOR_ABLATION, LOCALIZER, LOSSES, OWN, ROOT, STUDY, changed

from facemask import params
from facemask.config.detector import ResolvedDetector
from facemask.config.localizer import ResolvedLocalizer
from facemask.config.training import ResolvedExperiment, ResolvedSearch, Space
from facemask.errors import InputError
from facemask.resolve import ablated, backbone, resolve, with_values

CONFIG = params.read(ROOT)
PIPELINES = ("study", "losses", "localizer", "detector", "detector_ablation")
FOUND = {
    "layers": 1,
    "units": 64,
    "shared_dropout": 0.0,
    "label_dropout": 0.1,
    "box_dropout": 0.2,
    "learning_rate": 0.5,
}


def config(values):
    return params.parse(changed(values))


def resolved(values, pipeline="study"):
    return resolve(config(values), pipeline)


def test_each_training_and_search_has_a_file_of_its_own():
    study, variants = OWN[STUDY], OWN[LOCALIZER]["ablation"]["variants"]
    names = {
        "study": [*study["experiments"], *(f"searches/{name}" for name in study["searches"])],
        "losses": [*OWN[LOSSES]["experiments"]],
        "localizer": [*OWN[LOCALIZER]["localizers"], *(f"ablation/{name}" for name in variants)],
        "detector": [*OWN[DETECTOR]["detectors"]],
        "detector_ablation": [*OWN[DETECTOR_ABLATION]["ablation"]["variants"]],
    }
    assert {pipeline: list(resolve(CONFIG, pipeline)) for pipeline in PIPELINES} == names


def test_there_are_no_other_pipelines():
    with pytest.raises(ValueError, match="no pipeline 'localiser'"):
        resolve(CONFIG, "localiser")


@pytest.mark.parametrize("dataset", ["sample", "kaggle"])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_what_is_written_is_read_back_the_same(pipeline, dataset):
    found = resolved({"dataset": dataset}, pipeline)
    for name, section in found.items():
        of_study = ResolvedSearch if name.startswith("searches/") else ResolvedExperiment
        of_others = {
            "localizer": ResolvedLocalizer,
            "detector": ResolvedDetector,
            "detector_ablation": ResolvedDetector,
        }
        kind = of_others.get(pipeline, of_study)
        again = kind.model_validate_json(section.model_dump_json(indent=2))
        assert again == section
        assert type(section) is kind


def test_what_is_written_holds_whatever_a_training_needs_of_other_sections():
    values = {"seed": 7, "dataset": "kaggle", "datasets.kaggle.weights": "a/folder"}
    study, localizers = resolved(values), resolved(values, "localizer")
    sizes = {"scratch_7": 128, "mobilenet_6": 224, "xception_5": 128}
    assert {name: study[name].input_size for name in sizes} == sizes
    assert {each.seed for each in localizers.values()} == {7}
    assert study["scratch_1"].seed == study["searches/xception"].experiment.seed == 7
    finder = localizers["localizer"]
    assert (finder.application, finder.weights) == ("MobileNetV2", "a/folder")
    # A search has the whole base but for what its trials do not take from it.
    base, search = study["searches/mobilenet"].experiment, study["searches/mobilenet"]
    own = {"epochs": search.max_epochs, "early_stopping": 0, "repeats": 1}
    chosen = {"network", "dropout", "optimizer"}  # where the search puts its values
    expected = study["mobilenet_5"].model_copy(update=own)
    assert base.model_dump(exclude=chosen) == expected.model_dump(exclude=chosen)
    changed = {
        "experiments.mobilenet_5.optimizer.learning_rate": 0.5,
        "experiments.mobilenet_5.network.dense": [7],
        "experiments.mobilenet_5.dropout.shared": 0.1,
        "experiments.mobilenet_5.epochs": 3,
    }
    assert resolved(values | changed)["searches/mobilenet"] == search
    assert (base.input_size, base.optimizer.name) == (224, "rmsprop")


def test_an_entry_says_it_else_its_base_else_the_defaults():
    giou = f"{LOSSES}:experiments.scratch_7_giou"
    values = {
        "defaults.early_stopping": 4,
        "defaults.repeats": 3,
        "experiments.scratch_7.repeats": 2,
        f"{giou}.precision": "bfloat16",
    }
    study, losses = resolved(values), resolved(values, "losses")
    assert (study["scratch_6"].early_stopping, study["scratch_6"].repeats) == (4, 3)
    assert (study["scratch_7"].early_stopping, study["scratch_7"].repeats) == (4, 2)
    assert study["mobilenet_6"].early_stopping == 5  # says so itself
    variant = losses["scratch_7_giou"]
    assert (variant.early_stopping, variant.repeats) == (4, 2)
    assert (variant.precision, losses["scratch_7_diou"].precision) == ("bfloat16", "float32")
    # Sections are filled in key by key, lists are not.
    filters = config(
        {f"{giou}.network": {"filters": [8]}, "experiments.scratch_7.network.pools": 1}
    )
    network = filters.losses["scratch_7_giou"].network
    assert (network.filters, network.pools, network.label_dense) == ((8,), 1, (32,))
    # An entry of the study may be like another as well.
    own = config({"experiments.mine": {"like": "mobilenet_6", "inputs": "features/mobilenet_v2"}})
    assert own.experiments["mine"] == own.experiments["mobilenet_6"]


def test_defaults_are_not_those_of_localizers():
    values = {"defaults.precision": "bfloat16", "defaults.repeats": 3}
    for name, found in resolved(values, "localizer").items():
        assert (found.precision, found.repeats) == ("float32", 1), name
    stretched = CONFIG.localizers["localizer_stretched"].model_dump()
    base = CONFIG.localizers["localizer"].model_dump()
    written = OWN[LOCALIZER]["localizers"]["localizer_stretched"]
    assert flat(stretched) == flat(base) | flat({k: v for k, v in written.items() if k != "like"})


def test_a_changed_value_changes_what_it_concerns_and_nothing_else():
    """A training runs again if its file does."""

    def touched(values):
        after = {pipeline: resolved(values, pipeline) for pipeline in PIPELINES}
        return {
            name
            for pipeline in PIPELINES
            for name, section in resolve(CONFIG, pipeline).items()
            if section != after[pipeline][name]
        }

    others = {"workers": 3, "strict": False, "crop.min_area": 1, "split": "grouped_0"}
    others |= {"datasets.kaggle.max_epochs": 1, "datasets.sample.reference": True}
    assert touched(others) == set()
    assert touched({"experiments.scratch_1.loss_weights.label": 0.5}) == {"scratch_1"}
    kinds = ("smooth_l1_05", "smooth_l1_2", "giou", "diou", "ciou")
    variants = {f"scratch_7_{kind}" for kind in kinds}
    assert touched({"experiments.scratch_7.batch_size": 4}) == {"scratch_7", *variants}
    assert touched({"experiments.xception_5.batch_size": 4}) == {"xception_5", "searches/xception"}
    assert touched({"experiments.xception_5.epochs": 4}) == {"xception_5"}
    experiments = {*CONFIG.experiments, *CONFIG.losses}
    searches = {"searches/mobilenet", "searches/xception"}
    own = {"mobilenet_6", *(name for name in CONFIG.losses if name.startswith("mobilenet_6"))}
    assert touched({"defaults.early_stopping": 2}) == experiments - own
    assert touched({"defaults.precision": "bfloat16"}) == experiments | searches
    variants = {f"ablation/{name}" for name in CONFIG.ablation.variants}
    changed_detectors = {*CONFIG.detectors, *CONFIG.detector_ablation.variants}
    finders = {"localizer", "localizer_stretched", *variants, *changed_detectors}
    assert touched({"seed": 1}) == experiments | searches | finders
    assert touched({"datasets.sample.weights": "imagenet"}) == finders
    assert touched({f"{DETECTOR}:detectors.detector.batch_size": 4}) == changed_detectors
    wider = f"{DETECTOR_ABLATION}:ablation.variants.wider.channels"
    assert touched({wider: 8}) == {"wider"}
    assert touched({f"{LOCALIZER}:ablation.variants.wider.channels": 8}) == {"ablation/wider"}


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("cap", [None, 1, 3, 12])
def test_no_training_and_no_search_is_longer_than_its_dataset_allows(pipeline, cap):
    found = resolved({"datasets.sample.max_epochs": cap}, pipeline)
    for name, section in found.items():
        *above, last = name.split("/")
        if above == ["searches"]:
            assert section.max_epochs == min(CONFIG.searches[last].max_epochs, cap or 100)
            assert section.experiment.epochs == section.max_epochs
            section, written = section.experiment, CONFIG.experiments[section.base]
            written = written.model_copy(update={"epochs": CONFIG.searches[last].max_epochs})
        elif pipeline == "detector_ablation":
            written = ablated(CONFIG.detectors["detector"], CONFIG.detector_ablation, last)
        elif above:
            written = ablated(CONFIG.localizers[CONFIG.ablation.base], CONFIG.ablation, last)
        else:
            known = CONFIG.experiments | CONFIG.losses | CONFIG.localizers | CONFIG.detectors
            written = known[last]
        assert section.epochs == min(written.epochs, cap or 100)
        # Warm-up still ends, and is no shorter than it must be for that.
        assert section.schedule.warmup == min(written.schedule.warmup, section.epochs - 1)
    # Another dataset's cap is not this one's.
    assert resolved({"datasets.kaggle.max_epochs": 2}, pipeline) == resolve(CONFIG, pipeline)


def test_the_sample_is_capped_and_the_study_s_images_are_not():
    longest = max(each.epochs for each in CONFIG.experiments.values())
    for dataset, most in (("sample", CONFIG.datasets["sample"].max_epochs), ("kaggle", longest)):
        assert max(each.epochs for each in resolve_training(dataset)) == most
    assert CONFIG.datasets["sample"].max_epochs < longest


def resolve_training(dataset):
    found = resolved({"dataset": dataset})
    return [each for each in found.values() if isinstance(each, ResolvedExperiment)]


@pytest.mark.parametrize(
    ("ablation", "entries"),
    [(CONFIG.ablation, CONFIG.localizers), (CONFIG.detector_ablation, CONFIG.detectors)],
    ids=["localizer", "detector"],
)
def test_variants_of_the_ablation_change_what_they_name_and_nothing_else(ablation, entries):
    base = entries[ablation.base]
    written, shared = flat(base.model_dump()), flat(ablation.shared)
    assert flat(ablated(base, ablation, None).model_dump()) == written | shared
    for name, changes in ablation.variants.items():
        found = flat(ablated(base, ablation, name).model_dump())
        assert found == written | shared | flat(changes)


def flat(entry, above=()):
    """Values by their path; the options of an optimizer are one value."""
    found = {}
    for key, value in entry.items():
        inner = isinstance(value, dict) and key != "options"
        value = tuple(value) if isinstance(value, list) else value
        found |= flat(value, (*above, key)) if inner else {(*above, key): value}
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scratch_7", None),
        ("xception_1", "xception"),
        ("mobilenet_tuned", "mobilenet_v2"),
        ("xception_tuned", "xception"),
    ],
)
def test_backbone_is_whose_features_an_experiment_reads(name, expected):
    assert backbone(CONFIG, name) == expected


def test_a_search_on_other_features_has_their_backbone():
    values = {"inputs": "features/xception", "base": "xception_1"}
    search = OWN[STUDY]["searches"]["mobilenet"] | values
    assert backbone(config({"searches.mobilenet": search}), "mobilenet_tuned") == "xception"


@pytest.mark.parametrize("key", FOUND)
def test_each_value_of_a_space_is_found_in_its_place_alone(key):
    base = resolve(CONFIG, "study")["mobilenet_5"]
    before = base.model_dump()
    where = {
        "shared_dropout": ("dropout", "shared"),
        "label_dropout": ("dropout", "label"),
        "box_dropout": ("dropout", "box"),
        "learning_rate": ("optimizer", "learning_rate"),
    }
    for value in OWN[STUDY]["searches"]["mobilenet"]["space"][key]:
        values = FOUND | {key: value}
        # As a stage reads them of the search's file.
        entry = with_values(base, json.loads(json.dumps(values))).model_dump()
        assert entry["network"]["dense"] == (values["units"],) * values["layers"]
        for name, (section, inner) in where.items():
            assert entry[section][inner] == values[name]
        # Nothing else changes, in it or in what it was made from.
        for section, inner in [*where.values(), ("network", "dense")]:
            entry[section][inner] = before[section][inner]
        assert entry == before == base.model_dump()


def test_a_space_has_a_place_for_each_of_its_keys():
    assert list(Space.model_fields) == list(FOUND)


def test_values_are_checked_when_they_are_found():
    base = resolve(CONFIG, "study")["mobilenet_5"]
    for key in FOUND.keys() - {"layers"}:
        with pytest.raises(ValidationError, match="-1"):
            with_values(base, FOUND | {key: -1})


@pytest.mark.parametrize("pipeline", ["losses", "localizer"])
def test_a_pipeline_without_entries_is_reported(pipeline):
    """DVC would miss what its stages write, and name a file that nobody knows."""
    config = CONFIG.model_copy(update={"losses": {}, "localizers": {}, "ablation": None})
    with pytest.raises(InputError, match=f"pipelines/{pipeline}/params.yaml has no entries"):
        resolve(config, pipeline)
    assert resolve(config, "study") == resolve(CONFIG, "study")
