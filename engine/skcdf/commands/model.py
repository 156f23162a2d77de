"""``skcdf model``: look at models, check them, hand them on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SkcdfError
from . import model_describe, model_usual, model_versions

if TYPE_CHECKING:
    from ..models import ModelBundle

SUMMARY = "Look at models, check them, export or import them; keep their versions in a model store."
EXAMPLE = """examples:
  skcdf model list
  skcdf model show runs/first/model
  skcdf model export runs/first/model shared/my_model --half
  skcdf model export liver@v2 liver.zip --store store/
  skcdf model import --method skcdf best_model.pth models/published --labels synapse13
  skcdf model export models/published again.pth --format published
a model store (docs/model-store.md):
  skcdf model add store/ liver runs/first/model --note "first 12 cases"
  skcdf model versions store/
  skcdf model compare liver liver@v2 --data pool/ --store store/
  skcdf model promote store/ liver v2
  skcdf model rollback store/ liver"""


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
    export = actions.add_parser(
        "export",
        help="copy a model to a new folder or one .zip file, or its weights to a published checkpoint",
    )
    export.add_argument("model", help="name or folder; with --store also NAME or NAME@VERSION there")
    export.add_argument(
        "target", type=Path, metavar="OUT", help="the new model's folder, its .zip file, or the .pth file"
    )
    export.add_argument("--store", type=Path, metavar="STORE", help="where the model is looked for first")
    export.add_argument(
        "--format",
        choices=("folder", "published"),
        default="folder",
        help="a model folder, or a checkpoint as the method's published program saves it (default: folder)",
    )
    export.add_argument("--half", action="store_true", help="store numbers in 16 bit: half the size")
    export.add_argument(
        "--whole", action="store_true", help="with what only further training needs (default: what segments)"
    )
    export.add_argument(
        "--name", help="the new model's name (default: that of its folder; in a .zip file the present one)"
    )
    _add_import(actions)
    model_usual.add_action(actions)
    model_describe.add_action(actions)
    model_versions.add_actions(actions)


def _add_import(actions: Any) -> None:
    action = actions.add_parser("import", help="make a model of a checkpoint that a published program saved")
    action.add_argument(
        "file", type=Path, metavar="FILE.pth", help="the checkpoint; needs torch 2.10 or newer"
    )
    action.add_argument("folder", type=Path, metavar="OUT", help="the model's folder")
    action.add_argument(
        "--method", choices=("skcdf",), default="skcdf", help="whose checkpoint (default: skcdf)"
    )
    action.add_argument(
        "--labels",
        metavar="LABELSET",
        help="what its classes mean: a label set's name or file (default: synapse13 for 14 classes, amos15 for 16)",
    )
    action.add_argument("--name", default="", help="the model's name (default: that of its folder)")


def run(options: argparse.Namespace) -> int:
    """Does what `SUMMARY` says."""
    if options.action in model_versions.ACTIONS:
        return model_versions.run(options)
    if options.action == model_usual.NAME:
        return model_usual.run(options)
    if options.action == model_describe.NAME:
        return model_describe.run(options)
    from ..models import default_model, describe, find_model, list_models
    from ..resources import resource

    if options.action == "list":
        models = list_models(options.folder or resource("Models"))
        for model in models:
            print(f"{model.name} {model.version}  {model.title}  [{model.folder}]\n  {model.notice}")
        if not models:
            print("no models")
        return 0
    if options.action == "import":
        return _import(options)
    if options.action == "export":
        return _export(options)
    model = find_model(options.model) if options.model else default_model()
    if options.action == "show":
        print(describe(model))
    elif options.action == "check":
        tensors = model.load_weights()
        count = sum(tensor.numel() for tensor in tensors.values())
        print(f"{model.folder}: good, {len(tensors)} tensors, {count:,} numbers, checksum as stated")
    return 0


def _export(options: argparse.Namespace) -> int:
    from ..model_file import is_model_file
    from ..model_store import ModelStore, find_version_or_model

    store = ModelStore.open(options.store) if options.store else None
    model = find_version_or_model(options.model, store)
    if options.format == "published":
        _export_published(model, options)
    elif is_model_file(options.target):
        _export_file(model, options)
    else:
        _export_folder(model, options.target, options.name or options.target.resolve().name, options)
        size = sum(file.stat().st_size for file in options.target.iterdir())
        print(f"{options.target}: {size / 1e6:.2f} MB")
    return 0


def _export_folder(model: ModelBundle, target: Path, name: str, options: argparse.Namespace) -> ModelBundle:
    from dataclasses import replace

    from ..models import save_bundle

    assert model.weights is not None  # it was loaded
    weights = model.load_weights(inference_only=not options.whole)
    keys = model.weights.inference_keys if options.whole else "all"
    return save_bundle(target, replace(model, name=name), weights, half=options.half, inference_keys=keys)


def _export_file(model: ModelBundle, options: argparse.Namespace) -> None:
    from tempfile import TemporaryDirectory

    from ..model_file import write_model_file

    with TemporaryDirectory(prefix="skcdf-") as folder:
        name = options.name or model.name
        exported = _export_folder(model, Path(folder) / name, name, options)
        file = write_model_file(options.target, exported)
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


def _export_published(model: ModelBundle, options: argparse.Namespace) -> None:
    from ..interchange import export_published

    if options.half or options.name or options.whole:
        raise SkcdfError(
            "--half, --name and --whole are for models.", "Leave them out with --format published."
        )
    export_published(model, options.target)
    print(f"{options.target}: {options.target.stat().st_size / 1e6:.2f} MB")


def _import(options: argparse.Namespace) -> int:
    from ..interchange import import_published
    from ..labels import LabelSet

    labels = LabelSet.load(options.labels) if options.labels else None
    model = import_published(options.file, options.folder, labels, options.name)
    classes, window = model.label_set.number_of_classes, " x ".join(map(str, model.patch_size))
    print(f"{model.folder}: {model.network.arguments['filters']} filters, {classes} classes, window {window}")
    if labels is None:
        print(
            f"note: taken for the organs of {model.label_set.name}, because it tells {classes} classes apart; "
            "--labels says otherwise"
        )
    return 0
