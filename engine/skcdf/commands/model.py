"""``skcdf model``: look at models, check them, hand them on."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "List models, show a model's card, check its files, or export it."
EXAMPLE = """examples:
  skcdf model list
  skcdf model show runs/first/model
  skcdf model export runs/first/model shared/my_model --half"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list", help="list the models of a folder, or those that ship with the program"
    )
    listing.add_argument("folder", type=Path, nargs="?")
    for name, text in (
        ("show", "show a model's card"),
        ("check", "check a model's files against their checksum"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("model", nargs="?", default="", help="name or folder (default: the shipped one)")
    export = actions.add_parser("export", help="copy a model's inference part to a new folder")
    export.add_argument("model", help="name or folder")
    export.add_argument("folder", type=Path, help="the new model's folder")
    export.add_argument("--half", action="store_true", help="store numbers in 16 bit: half the size")
    export.add_argument("--name", help="the new model's name (default: that of its folder)")


def run(options: argparse.Namespace) -> int:
    """Does what `SUMMARY` says."""
    from ..models import default_model, describe, find_model, list_models
    from ..resources import resource

    if options.action == "list":
        models = list_models(options.folder or resource("Models"))
        for model in models:
            print(f"{model.name} {model.version}  {model.title}  [{model.folder}]\n  {model.notice}")
        if not models:
            print("no models")
        return 0
    model = find_model(options.model) if options.model else default_model()
    if options.action == "show":
        print(describe(model))
    elif options.action == "check":
        tensors = model.load_weights()
        count = sum(tensor.numel() for tensor in tensors.values())
        print(f"{model.folder}: good, {len(tensors)} tensors, {count:,} numbers, checksum as stated")
    else:
        _export(options)
    return 0


def _export(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from ..models import find_model, save_bundle

    model = find_model(options.model)
    weights = model.load_weights(inference_only=True)
    named = replace(model, name=options.name or options.folder.resolve().name)
    exported = save_bundle(options.folder, named, weights, half=options.half)
    size = sum(file.stat().st_size for file in options.folder.iterdir())
    print(f"{exported.folder}: {size / 1e6:.2f} MB")
