"""Curves of a training, for `dvc plots`."""

from pathlib import Path

from dvclive.keras import DVCLiveCallback
from dvclive.live import Live


def live(folder: Path) -> DVCLiveCallback:
    """Return a callback that writes DVCLive's curves beside the model."""
    # Everything else here would edit dvc.yaml or track the same files twice.
    log = Live(str(folder / "live"), dvcyaml=None, save_dvc_exp=False, report=None)
    return DVCLiveCallback(live=log)
