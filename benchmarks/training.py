"""How fast does scratch_3 train, beside plain PyTorch and beside the machine's rate of products?

python -m benchmarks.training, after `dvc repro resolve split pack` and `pip install torch` (not
otherwise needed): on the dataset of params.yaml. Each call is an epoch of 640 training samples.
"""

import statistics
from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.common import alternate, median, report, study
from benchmarks.products import operations, product_rate
from facemask import params
from facemask.config.training import Experiment, ResolvedExperiment
from facemask.models.study_networks import build
from facemask.training import classifier, loop

NAME = "scratch_3"
SAMPLES = 640
ROUNDS = 3


class Network(nn.Module):
    """The network of an experiment on crops without hidden layers before its heads."""

    def __init__(self, experiment: Experiment, size: int) -> None:
        super().__init__()
        layers, channels = [], 3
        for number, filters in enumerate(experiment.network.filters):
            layers += [nn.Conv2d(channels, filters, 3), nn.ReLU()]
            channels, size = filters, size - 2
            if number < experiment.network.pools:
                layers.append(nn.MaxPool2d(2))
                size //= 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(experiment.dropout.shared))
        self.label, self.box = (nn.Linear(channels * size * size, n) for n in (2, 4))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits of the label, and the box."""
        x = self.body(x)
        return self.label(x), torch.sigmoid(self.box(x))


def in_torch(
    experiment: ResolvedExperiment,
    inputs: np.ndarray,
    splits: pd.DataFrame,
    layout: torch.memory_format,
) -> Callable[[], None]:
    """Return a function that trains an epoch."""
    size = inputs.shape[1]
    model = Network(experiment, size).to(memory_format=layout)
    optimizer = torch.optim.RMSprop(
        model.parameters(), experiment.optimizer.learning_rate, alpha=0.9, eps=1e-7
    )
    weights = experiment.loss_weights
    targets = classifier.targets(splits, experiment)
    label, box = (torch.from_numpy(np.asarray(targets[head])) for head in ("label", "box"))
    rows = splits["sample"].to_numpy()

    def epoch() -> None:
        turn = np.random.default_rng(0).permutation(len(rows))
        for start in range(0, len(rows), experiment.batch_size):
            chosen = turn[start : start + experiment.batch_size]
            pixels = torch.from_numpy(inputs[rows[chosen]]).permute(0, 3, 1, 2).float()
            said, found = model(pixels.contiguous(memory_format=layout))
            loss = weights.label * nn.functional.cross_entropy(said, label[chosen])
            loss = loss + weights.box * nn.functional.mse_loss(found, box[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def in_keras(
    experiment: ResolvedExperiment, inputs: np.ndarray, splits: pd.DataFrame
) -> Callable[[], keras.callbacks.History]:
    """Return a function that trains an epoch as the project does."""
    model = classifier.compiled(experiment, inputs.shape[1:])
    log = loop.EpochLog()
    train_set, _ = classifier.datasets(experiment, inputs, splits, log)
    return lambda: model.fit(train_set, verbose=0, shuffle=False)


def training_operations(model: keras.Model) -> int:
    """Return the operations of a training step of one sample, in its products.

    Forward, and twice as many backward, but for the gradient of the pixels, which nobody needs.
    """
    first = keras.Model(model.input, model.layers[1].output)
    return 3 * operations(model) - operations(first)


def main() -> None:
    """Measure."""
    experiment, mapped, splits = study(NAME)
    inputs = np.array(mapped)
    splits = splits[splits["split"] == "train"].head(SAMPLES)
    splits = pd.concat([splits, splits.head(1).assign(split="val")])
    trained = splits[splits["split"] == "train"]
    half = experiment.model_copy(update={"precision": "bfloat16"})
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    rates: list[float] = []
    seconds = median(
        alternate(
            {
                "this project, float32": in_keras(experiment, inputs, splits),
                "PyTorch, channels first": in_torch(
                    experiment, inputs, trained, torch.contiguous_format
                ),
                "PyTorch, channels last": in_torch(
                    experiment, inputs, trained, torch.channels_last
                ),
                "this project, bfloat16": in_keras(half, inputs, splits),
                # In turn with the others: the machine is not always equally fast.
                "products": lambda: rates.append(product_rate()),
            },
            ROUNDS,
        )
    )
    del seconds["products"]
    peak = statistics.median(rates)
    each = training_operations(build(experiment, inputs.shape[1:]))
    ours = seconds["this project, float32"]
    rows = [
        {
            "trained by": name,
            "images/s": len(trained) / value,
            "ours in float32 is faster by": value / ours,
            "share of the rate of float32 products": each * len(trained) / value / peak,
        }
        for name, value in seconds.items()
    ]
    about = {"gflops": peak / 1e9, "gflop_a_sample": each / 1e9, "torch": torch.__version__}
    report("training", rows, dataset=params.read().dataset, experiment=NAME, **about)


if __name__ == "__main__":
    main()
