"""The command line of the two MNIST scripts, which train a net, test saved
weights, or read pictures.

From Python, call main(["--epochs", "3"]) of a script. It returns if all goes
well, and otherwise raises SystemExit with the exit status.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Subset

from common import (TEST_BATCH_SIZE, compute_outputs, get_dataset,
                    get_extended_dataset, get_loader, test_network,
                    train_and_test_network)
from extras.digits import read_digit
from extras.distortions import get_distorted_loader
from extras.runs import (check_writable, load_weights, resume,
                         save_checkpoint, save_weights, write_record)

RESULTS = Path(__file__).resolve().parents[1] / "results"
WEIGHTS = RESULTS / "weights"
NUMBERS = {  # name: (type, least, most, help)
    "epochs": (int, 1, 10**9, "passes over the training images"),
    "lr": (float, 0, 1e30, "learning rate"),
    "wd": (float, 0, 1e30, "weight decay"),
    "seed": (int, 0, 2**63 - 1, "seed of all random choices; default 0"),
    "train_size": (int, 1, 60000, "use only the first N training images"),
    "test_size": (int, 1, 10000, "use only the first N test images"),
    "threads": (int, 1, 1024, "threads of the processor; default 1, as in the "
                "published runs. With many cores, try 2 or 4, which may be "
                "faster or slower")}
FILES = {
    "checkpoint": "save the run after every epoch; resume it if FILE exists",
    "save": "write the trained net's state_dict",
    "record": "write the settings and results as JSON"}
DEFAULTS = {"seed": 0, "train_size": 60000, "test_size": 10000, "threads": 1}
RECIPE = "epochs", "lr", "wd", "extend_data", "distort"
TRAINING = *RECIPE, "seed", "train_size", *FILES  # flags that only train


def run_command_line(description, nets, experiments, reader, argv=None):
    """Runs a script's command line argv (None: that of the program).

    nets {value of --net: name of the experiment whose recipe it takes}, the
    default first; experiments {name: Recipe}; reader: the net that --read
    takes if there is neither --net nor --load

    Exits with status 2 for bad input, 1 for a failed run, 130 for Ctrl-C, 141
    if nobody reads what it prints.
    """
    parser = make_parser(description, nets, experiments, reader)
    args, threads = parser.parse_args(argv), torch.get_num_threads()
    try:
        carry_out(parser, args, complete(args, nets, experiments, reader))
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    except BrokenPipeError:
        # Python flushes stdout at its end, and must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        parser.exit(141)  # as if by SIGPIPE
    except (FloatingPointError, MemoryError, OSError, RuntimeError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\n{parser.prog}: interrupted{what_is_kept(args)}\n")
    finally:
        torch.set_num_threads(threads)


def carry_out(parser, args, recipe):
    """Reads, tests or trains, as args ask."""
    torch.set_num_threads(args.threads)
    if args.read:
        read_pictures(parser, args, recipe)
    elif args.load is not None:
        test_weights(args, recipe)
    else:
        train_and_keep(args, recipe)


def what_is_kept(args):
    """Returns what becomes of the epochs before an interrupt, in words."""
    if args.load is not None:
        return ""
    if args.checkpoint:
        return "; the same command goes on after the last whole epoch"
    return "; --checkpoint FILE would have kept the epochs that were done"


def make_parser(description, nets, experiments, reader):
    """Returns a parser of the flags that all networks share."""
    recipes = "\n".join(f"  {net:8}{recipe_text(experiments[name])}"
                        for net, name in nets.items())
    parser = argparse.ArgumentParser(
        description=description, usage="%(prog)s [--read PICTURE ...] "
        "[flags]  (see --help)",
        epilog="recipes, the default values of --epochs, --lr, --wd "
        f"and --extend_data:\n{recipes}",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    first = [*nets][0]
    parser.add_argument(
        "--net", choices=nets, help=f"default: {first}" + (
            f"; with --read alone, {reader}" if reader != first else ""))
    for name, (kind, _, _, text) in NUMBERS.items():
        parser.add_argument(*spellings(name), type=kind, help=text,
                            metavar="N" if kind is int else "RATE")
    add_switches(parser)
    for name, text in FILES.items():
        parser.add_argument(f"--{name}", metavar="FILE", help=text)
    parser.add_argument("--load", metavar="FILE", help="instead of training, "
                        "test the weights that --save wrote")
    parser.add_argument("--read", metavar="FILE", nargs="+", action="extend",
                        help="instead of training, read the digit in each "
                        "picture, with weights of --load or published ones")
    return parser


def add_switches(parser):
    """Adds the flags that are no numbers and no files."""
    parser.add_argument(*spellings("extend_data"), help="add four copies of "
                        "each training image, each shifted by a pixel",
                        action=argparse.BooleanOptionalAction)
    parser.add_argument("--distort", action="store_true", default=None,
                        help="distort each training image, differently each "
                        "time it is used")
    parser.add_argument("--device", default="cpu",
                        choices=("cpu", "cuda", "mps"), help="default: cpu, "
                        "as in the published runs; cuda is an NVIDIA GPU, mps "
                        "an Apple GPU. With batches of ten, a GPU helps "
                        "little, and slows nets without convolutions down")


def spellings(name):
    """Returns a flag of several words with - and with _."""
    return dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))


def recipe_text(recipe):
    """Returns an experiment's recipe in words."""
    return (f"{recipe.epochs} epochs, lr {decimal(recipe.lr)}, "
            f"wd {decimal(recipe.wd)}" + ", extended" * recipe.extend_data
            + ", distorted" * recipe.distort)


def decimal(number):
    """Returns a number as people write it: 0.00005, not 5e-05."""
    if isinstance(number, float):
        return np.format_float_positional(number, trim="0")
    return str(number)


def printable(text):
    """Returns a text with the characters escaped that the terminal lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return str(text).encode(encoding, "backslashreplace").decode(encoding)


def complete(args, nets, experiments, reader):
    """Fills in the defaults of args, and returns the recipe of their net;
    raises ValueError for what does not fit together or cannot be had."""
    first, alone = [*nets][0], args.read and args.load is None
    net = args.net or (reader if alone else first)
    experiment, recipe = nets[net], experiments[nets[net]]
    if alone:
        args.load = WEIGHTS / f"{experiment}-seed0.pt"
        if not args.load.exists():
            raise ValueError(f"no weights of --net {net} are published; "
                             "name a file of yours with --load")
    given = [name for name in TRAINING if getattr(args, name) is not None]
    if args.load is not None and given:
        raise ValueError("--load and --read do not train; leave out --"
                         + ", --".join(given))
    if args.read and args.test_size is not None:
        raise ValueError("--read tests nothing; leave out --test_size")
    for name, value in {**DEFAULTS, **recipe._asdict()}.items():
        if getattr(args, name, 0) is None:
            setattr(args, name, value)
    check_numbers(args)
    check_files(args)
    check_device(args.device)
    return recipe


def check_numbers(args):
    """Raises ValueError if a number is out of its range."""
    for name, (_, least, most, _) in NUMBERS.items():
        value = getattr(args, name)
        if not least <= value <= most:
            raise ValueError(f"--{name} {value} is not from {least} to {most}")


def check_files(args):
    """Raises ValueError if a file cannot be written, or is named twice."""
    paths = [getattr(args, name) for name in FILES
             if getattr(args, name) is not None]
    for path in paths:
        check_writable(path)
    if len(set(map(os.path.realpath, paths))) < len(paths):
        raise ValueError(f"--{', --'.join(FILES)} must name different files")


def check_device(name):
    """Raises ValueError if this machine has no such device."""
    here = ["cpu"] + [kind for kind in ("cuda", "mps")
                      if getattr(torch, kind).is_available()]
    if name not in here:
        raise ValueError(f"--device {name}: torch finds no {name} device on "
                         f"this machine, only {', '.join(here)}")


def read_pictures(parser, args, recipe):
    """Prints the digit in each picture, and how sure the net is; ends with
    status 2 if one cannot be read."""
    net, failed = recipe.net_class(), False
    load_weights(net, args.load)
    net.to(args.device)
    for path in args.read:
        try:
            image = read_digit(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None)  # of an OSError
            text = f"cannot read {path}: {reason}" if reason else error
            print(f"{parser.prog}: error: {text}", file=sys.stderr)
            failed = True
            continue
        outputs, kind = compute_outputs(net, image[None])[0], "output"
        if recipe.scores:
            outputs, kind = outputs.softmax(dim=0), "probability"
        print(f"{printable(path)}: {outputs.argmax()} "
              f"({kind} {outputs.max():.3f})", flush=True)
    if failed:
        parser.exit(2)


def test_weights(args, recipe):
    """Tests saved weights."""
    net = recipe.net_class()
    load_weights(net, args.load)
    test_network(net.to(args.device), make_test_loader(args))


def make_test_loader(args):
    """Returns a loader of the test images that args ask for."""
    test_data = Subset(get_dataset(train=False), range(args.test_size))
    return get_loader(test_data, TEST_BATCH_SIZE, shuffle=False)


def make_train_loader(args):
    """Returns a loader of the training images that args ask for."""
    dataset = get_extended_dataset() if args.extend_data else get_dataset()
    some = Subset(dataset, range(args.train_size * len(dataset) // 60000))
    return get_distorted_loader(some) if args.distort else get_loader(some)


def train_and_keep(args, recipe):
    """Trains a net as args say, and writes the files that they name."""
    settings = {name: getattr(args, name) for name in (
        *RECIPE, "seed", "train_size", "test_size", "device", "threads")}
    print(f"{recipe.net_class.__name__}, " + ", ".join(
        f"{name} {decimal(value)}" for name, value in settings.items()),
        flush=True)
    train_loader, test_loader = make_train_loader(args), make_test_loader(args)
    torch.manual_seed(args.seed)
    net, history = recipe.net_class().to(args.device), {}
    after_epoch = resume_and_keep(args, settings, net, history)
    train_and_test_network(
        net, args.epochs, args.lr, args.wd, recipe.loss_function,
        train_loader, test_loader, history, after_epoch)
    net.cpu()
    try:
        if args.save:
            save_weights(args.save, net)
    finally:  # whatever became of the other file
        if args.record:
            write_record(args.record, net, settings, history)


def resume_and_keep(args, settings, net, history):
    """Resumes a run, if args name its checkpoint; returns what saves it after
    each epoch, or None without --checkpoint."""
    if args.checkpoint is None:
        return None
    fixed = {"net": type(net).__name__, "layers": " ".join(str(net).split()),
             **settings}
    del fixed["epochs"]  # more of them extend a run
    resume(args.checkpoint, fixed, args.epochs, net, history)
    if history:
        print(f"Resuming {printable(args.checkpoint)} after epoch "
              f"{len(history['seconds'])}/{args.epochs}", flush=True)
    return lambda: save_checkpoint(args.checkpoint, fixed, net, history)
