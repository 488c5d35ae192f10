"""Write the resolved configuration of each training: defaults, bases and caps filled in.

A training depends on its own file alone, so that a changed default runs again what uses it.
"""

import shutil

from facemask import params
from facemask.io import write_text
from facemask.resolve import resolve
from stages.common import DATA, config_file, run_stage


def write_configs(pipeline: str) -> None:
    """Write data/configs/<pipeline>: a JSON file per training or search."""
    shutil.rmtree(DATA / "configs" / pipeline, ignore_errors=True)
    for name, section in resolve(params.read(), pipeline).items():
        write_text(section.model_dump_json(indent=2) + "\n", config_file(pipeline, name))


if __name__ == "__main__":
    run_stage(write_configs)
