"""The records of the published runs, EXPERIMENT-seedN.json."""

import torch

import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras.runs import RECIPE, read_record

RECIPES = {**dense.EXPERIMENTS, **convnet.EXPERIMENTS}  # rows of all tables

# Experiments that some tables and figures are about
RELU, EXTENDED = "dbl_conv_relu", "expanded_data"
DOUBLE, DISTORTED = "expanded_data_double_fc", "distorted_data"
FINAL, FAST_FINAL = "double_fc_dropout", "double_fc_dropout_lr0.03"


def read_records(folder, labels):
    """Returns {experiment: [record of each seed]} of a folder, for test images
    of these labels. Raises ValueError if a file is not what its name says."""
    records = {name: [] for name in RECIPES}
    for path in sorted(folder.glob("*.json")):
        name, _, seed = path.stem.partition("-seed")
        if name not in RECIPES:
            raise ValueError(f"{path} is not named after an experiment: "
                             f"{', '.join(RECIPES)}")
        record = read_record(path)
        check_record(path, record, RECIPES[name], int(seed), labels)
        records[name].append(record)
    return {name: sorted(runs, key=lambda run: run["seed"])
            for name, runs in records.items() if runs}


def check_record(path, record, recipe, seed, labels):
    """Raises ValueError if a record is of another recipe or seed, or if its
    results contradict each other."""
    wanted = {"net": recipe.net_class.__name__, "seed": seed,
              "train_size": 60_000, "test_size": 10_000, "batch_size": 10,
              **{field: getattr(recipe, field) for field in RECIPE}}
    for field, value in wanted.items():
        if record.get(field) != value:
            raise ValueError(f"{path} has {field} {record.get(field)}, but a "
                             f"record of this name needs {value}")
    tests, seconds = record["test_accuracy"], record["seconds"]
    if not len(tests) == len(seconds) == recipe.epochs:
        raise ValueError(f"{path} does not have {recipe.epochs} epochs")
    right = (predictions([record])[0] == labels).double().mean().item()
    # the predictions are a CPU's, which may differ from a GPU's in a few
    if abs(tests[-1] - right) > 0.001:
        raise ValueError(f"{path} ends with a test_accuracy of {tests[-1]}, "
                         f"but {right} of its predictions are right")


def predictions(runs):
    """Returns the answers (n, 10000) of n trained nets to the test images."""
    return torch.tensor([[*map(int, run["predictions"])] for run in runs])
