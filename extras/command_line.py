"""The command line of the two MNIST scripts, which train a net, test saved
weights, read pictures, or open a window to draw in.

From Python, call main(["--epochs", 3]) of a script. It returns if all goes
well. It raises SystemExit, with the exit status, for bad flags, files and data
(2), for a failed run (1) and for Ctrl-C (130). An error in a net, a loss or
the loop is not caught.
"""

import argparse
import errno
import os
import re
import sys
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import Subset

from common import (TEST_BATCH_SIZE, compute_outputs, get_dataset,
                    get_extended_dataset, get_loader, test_network,
                    train_and_test_network)
from extras.digits import read_digit
from extras.distortions import DistortedLoader
from extras.runs import (CHANCE, RECIPE, check_writable, describe_run,
                         find_weights, load_weights, resume, save_checkpoint,
                         save_weights, write_record)

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
TRAINING = *RECIPE, "seed", "train_size", *FILES  # flags that only train


def run_command_line(description, nets, experiments, read_with, argv=None):
    """Runs a script's command line argv (default: sys.argv[1:]).

    nets {value of --net: name of its experiment}, the default first;
    experiments {name: Recipe}; read_with: the experiment whose published net
    reads pictures if no other is named
    """
    parser = make_parser(description, nets, experiments, read_with)
    args = parser.parse_args([  # with - or _ in flags of several words
        re.sub("^--[^=]+", lambda match: match[0].replace("_", "-"), word)
        for word in (sys.argv[1:] if argv is None else map(str, argv))])
    threads = torch.get_num_threads()
    try:
        with exit_on(parser, 2, ValueError):
            recipe = complete_flags(args, nets, experiments, read_with)
        torch.set_num_threads(args.threads)
        if args.load is None:
            return train(parser, args, recipe)
        net = recipe.net_class()
        with exit_on(parser, 2, OSError, ValueError):
            load_weights(net, args.load)
        net.to(args.device)
        if args.draw:
            open_drawing(parser, net, recipe.scores)
        elif args.read:
            read_pictures(parser, args.read, net, recipe.scores)
        else:
            test_network(net, make_test_loader(parser, args))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE):  # of print
            raise
        parser.exit(1, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\n{parser.prog}: interrupted{what_is_kept(args)}\n")
    finally:
        torch.set_num_threads(threads)


@contextmanager
def exit_on(parser, status, *errors):
    """Exits with a status and one line on errors of these kinds."""
    try:
        yield
    except errors as error:
        parser.exit(status, f"{parser.prog}: error: {explain(error)}\n")


def explain(error):
    """Returns an error's message in one line, without the errno."""
    if getattr(error, "filename", None) is not None:
        return f"cannot read {error.filename}: {error.strerror}"
    return " ".join(str(error).split())


# What a command does

def train(parser, args, recipe):
    """Trains a net as args say, and writes the files that they name."""
    settings = {name: getattr(args, name) for name in (
        *RECIPE, "seed", "train_size", "test_size", "device", "threads")}
    print(f"{recipe.net_class.__name__}, " + ", ".join(
        f"{name} {decimal(value)}" for name, value in settings.items()),
        flush=True)
    test_loader = make_test_loader(parser, args)
    train_loader = make_train_loader(args)
    torch.manual_seed(args.seed)
    net, history = recipe.net_class().to(args.device), {}
    after_epoch = None
    if args.checkpoint:
        run = describe_run(net, settings)
        resume_run(parser, args, net, run, history)

        def after_epoch():
            with exit_on(parser, 1, OSError):
                save_checkpoint(net, args.checkpoint, run, history)
    with exit_on(parser, 1, FloatingPointError, MemoryError,
                torch.OutOfMemoryError):
        train_and_test_network(net, args.epochs, args.lr, args.wd,
                               recipe.loss_function, train_loader, test_loader,
                               history, after_epoch, args.threads)
    write_files(parser, args, net.cpu(), settings, history)
    if history["test_accuracy"][-1] <= CHANCE:
        print(f"{parser.prog}: warning: the network does no better than "
              "chance; try a lower --lr, or more --epochs", file=sys.stderr)


def resume_run(parser, args, net, run, history):
    """Resumes the run of a checkpoint, if it exists."""
    with exit_on(parser, 2, OSError, ValueError):
        resume(net, args.checkpoint, run, args.epochs, history)
    if history:
        print(f"Resuming {args.checkpoint} after epoch "
              f"{len(history['loss'])}/{args.epochs}", flush=True)


def write_files(parser, args, net, settings, history):
    """Writes the files that args name; if one fails, still the other."""
    failures = []
    for path, write, *what in ((args.save, save_weights),
                               (args.record, write_record, settings, history)):
        try:
            if path:
                write(net, path, *what)
        except OSError as error:
            failures.append(str(error))
    if failures:
        parser.exit(1, f"{parser.prog}: error: {'; '.join(failures)}\n")


def read_pictures(parser, paths, net, scores):
    """Prints the digit in each picture, and how sure the net is; ends with
    status 2 if one cannot be read."""
    failed = False
    for path in paths:
        try:
            image = read_digit(path)
        except (OSError, ValueError) as error:
            print(f"{parser.prog}: error: {explain(error)}", file=sys.stderr)
            failed = True
            continue
        outputs, kind = compute_outputs(net, image[None])[0], "output"
        if scores:
            outputs, kind = outputs.softmax(dim=0), "probability"
        print(f"{path}: {outputs.argmax()} ({kind} {outputs.max():.3f})",
              flush=True)
    if failed:
        parser.exit(2)


def open_drawing(parser, net, scores):
    """Opens a window in which to draw digits for a net."""
    from extras.drawing import ScreenError, draw  # only now: Matplotlib
    with exit_on(parser, 2, ScreenError):
        draw(net, scores)


def make_test_loader(parser, args):
    """Returns a loader of the test images that args ask for."""
    with exit_on(parser, 2, RuntimeError):
        dataset = get_dataset(train=False)  # checks the training files, too
    return get_loader(Subset(dataset, range(args.test_size)), TEST_BATCH_SIZE,
                      shuffle=False)


def make_train_loader(args):
    """Returns a loader of the training images that args ask for."""
    dataset = get_extended_dataset() if args.extend_data else get_dataset()
    some = Subset(dataset, range(args.train_size * len(dataset) // 60000))
    return DistortedLoader(some) if args.distort else get_loader(some)


def what_is_kept(args):
    """Returns what an interrupted user can do, in words."""
    if args.load is not None:
        return ""
    if args.checkpoint:
        return "; the same command goes on after the last whole epoch"
    return "; --checkpoint FILE would have kept the finished epochs"


# Flags

def make_parser(description, nets, experiments, read_with):
    """Returns the parser of a script's flags."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, usage="%(prog)s [--read PICTURE ...] [flags]  "
        f"(see --help)\n{description}",
        epilog="experiments, and the settings that flags can change:\n"
        + "\n".join(f"  {name:25}{recipe_text(recipe)}"
                    for name, recipe in experiments.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [*nets.values()][0]
    if read_with != default:
        default += f", but {read_with} to read or draw without --load"
    training = parser.add_argument_group("training and testing")
    which = training.add_mutually_exclusive_group()
    which.add_argument("--experiment", choices=experiments, metavar="NAME",
                       help=f"one of those below; default: {default}")
    which.add_argument("--net", choices=nets, help="short for an experiment: "
                       + ", ".join(f"{net} for {name}"
                                   for net, name in nets.items()))
    for name, (kind, _, _, text) in NUMBERS.items():
        training.add_argument(flag(name), type=kind, help=text,
                              metavar="N" if kind is int else "RATE")
    add_switches(training)
    files = parser.add_argument_group("files of a run")
    for name, text in FILES.items():
        files.add_argument(f"--{name}", metavar="FILE", help=text)
    instead = parser.add_argument_group("instead of training")
    instead.add_argument("--load", metavar="FILE",
                         help="test the weights that --save wrote")
    reading = instead.add_mutually_exclusive_group()
    reading.add_argument("--read", metavar="PICTURE", nargs="+",
                         action="extend", help="read the digit in each "
                         "picture, with weights of --load or published ones")
    reading.add_argument("--draw", action="store_true", help="draw digits in "
                         "a window, and see how they are read")
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    return parser


def add_switches(parser):
    """Adds the flags that take neither a number nor a file."""
    parser.add_argument(flag("extend_data"), help="add four copies of "
                        "each training image, each shifted by a pixel",
                        action=argparse.BooleanOptionalAction)
    parser.add_argument("--distort", help="distort each training image, "
                        "differently each time it is used",
                        action=argparse.BooleanOptionalAction)
    parser.add_argument("--device", default="cpu",
                        choices=("cpu", "cuda", "mps"), help="default: cpu, "
                        "as in the published runs; cuda is an NVIDIA GPU, mps "
                        "an Apple GPU. With batches of ten, a GPU speeds up "
                        "the larger nets, and slows down the dense ones")


def flag(name):
    """Returns the flag of a setting: --train-size for train_size."""
    return "--" + name.replace("_", "-")


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


def complete_flags(args, nets, experiments, read_with):
    """Fills in the flags that were not given, and returns the recipe of their
    experiment. Raises ValueError for conflicting flags, numbers out of range,
    and files or devices that cannot be used."""
    if args.rest:
        raise ValueError(f"unrecognized argument {args.rest[0]}; to read a "
                         "picture, put --read before it")
    reading = args.read or args.draw
    published = reading and args.load is None
    name = args.experiment or nets.get(args.net) or (
        read_with if published else [*nets.values()][0])
    if published:
        args.load = find_weights(name)
        if args.load is None:
            raise ValueError(f"no weights of {name} are published; name a "
                             "file of yours with --load")
    given = [flag(name) for name in TRAINING
             if getattr(args, name) is not None]
    if args.load is not None and given:
        raise ValueError("--load, --read and --draw do not train; leave out "
                         + ", ".join(given))
    if reading and args.test_size is not None:
        raise ValueError("--read and --draw test nothing; leave out "
                         "--test-size")
    recipe = experiments[name]
    defaults = {field: getattr(recipe, field) for field in RECIPE} | DEFAULTS
    for setting, value in defaults.items():
        if getattr(args, setting) is None:
            setattr(args, setting, value)
    check_numbers(args)
    check_files(args)
    check_device(args.device)
    return recipe


def check_numbers(args):
    """Raises ValueError if a number is out of its range."""
    for name, (_, least, most, _) in NUMBERS.items():
        value = getattr(args, name)
        if not least <= value <= most:
            raise ValueError(f"{flag(name)} {value} is not from {least} to "
                             f"{most}")


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
