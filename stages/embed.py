"""Run a frozen backbone once over all samples."""

import stages.keras_import  # noqa: F401

# isort: split
from facemask import params
from facemask.io import write_json
from facemask.models import features
from stages.common import DATA, RECORDS, run_stage


def embed(name: str) -> None:
    """Write features/<backbone>, which `shards.Shards` reads, and whose weights it has."""
    config = params.read()
    backbone, folder = config.backbones[name], DATA / "features" / name
    weights = config.datasets[config.dataset].weights
    about = features.embed(backbone, weights, DATA / f"crops/{backbone.input_size}", folder)
    write_json(about, folder / "backbone.json")
    write_json(about, RECORDS / f"study/backbones/{name}.json")


if __name__ == "__main__":
    run_stage(embed)
