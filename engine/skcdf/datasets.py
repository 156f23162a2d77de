"""Opens a folder of cases to train on: a labelled pool, an nnU-Net v2 raw dataset or an MSD task.

No voxel is read here: opening a thousand cases takes a moment, and says at once which files are missing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .cases import Case, Dataset, Modality, Split, make_dataset
from .errors import SkcdfError
from .files import read_json
from .labels import LabelSet
from .pool import POOL_FILE, LabelledPool

__all__ = ["Case", "Dataset", "is_dataset", "open_dataset"]

_DESCRIPTION = "dataset.json"


def is_dataset(path: Path | str) -> bool:
    """Whether a folder has the file that makes it something `open_dataset` opens."""
    return any((Path(path) / name).is_file() for name in (POOL_FILE, _DESCRIPTION))


def open_dataset(path: Path | str, allow_missing_unlabelled: bool = False) -> Dataset:
    """Opens the data set in a folder, whichever layout it has.

    - A labelled pool has ``pool.json``: see ``docs/pool-format.md``.
    - An nnU-Net v2 raw dataset has ``dataset.json`` with ``channel_names``; its cases are those of the
      explicit ``dataset`` map, or else ``imagesTr/CASE_0000.ext`` with ``labelsTr/CASE.ext``. Images in
      ``imagesUn/CASE_0000.ext`` are unlabelled cases.
    - An MSD task has ``dataset.json`` with a ``training`` list; the images of its ``test`` list are
      unlabelled cases, the pairs of a ``validation`` list, where there is one, are for validation.

    In the last two every case counts as fully annotated and as a subject of its own.

    Args:
        path: the folder.
        allow_missing_unlabelled: the scan of an unlabelled case may be missing.

    Raises:
        SkcdfError: the folder is none of these, its description is broken, it has several channels, an
            ``ignore`` label or regions, or files are missing.
    """
    root = Path(path)
    if (root / POOL_FILE).is_file():
        return LabelledPool.open(root).dataset(allow_missing_unlabelled)
    source = root / _DESCRIPTION
    if not source.is_file():
        raise SkcdfError(
            f"{root}: this is no data set; looked for {POOL_FILE} (labelled pool) and {_DESCRIPTION} "
            "(nnU-Net v2 raw dataset or MSD task).",
            "Give the folder that holds one of them.",
        )
    content = read_json(source, "data set description")
    try:
        if "channel_names" in content:
            return _read_nnunet(root, content)
        if "training" in content:
            return _read_msd(root, content, allow_missing_unlabelled)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SkcdfError(
            f"{source}: this data set description is broken ({error!r}).",
            "Compare it with the documentation of nnU-Net v2 or the MSD.",
        ) from error
    raise SkcdfError(
        f"{source}: neither an nnU-Net v2 raw dataset (no channel_names) nor an MSD task (no training list).",
        "Convert the data set to one of them.",
    )


def _read_nnunet(root: Path, content: dict[str, Any]) -> Dataset:
    modality = _modality(root, content["channel_names"])
    if not isinstance(content["labels"], dict):
        raise TypeError("labels is not a map")
    label_set = _label_set(root, ((value, name) for name, value in content["labels"].items()))
    ending = content["file_ending"]
    if not isinstance(ending, str):
        raise TypeError("file_ending is not a text")
    if "dataset" in content:
        pairs = {
            name: (
                root / os.path.expandvars(_only(root, name, entry["images"])),
                root / os.path.expandvars(entry["label"]),
            )
            for name, entry in content["dataset"].items()
        }
    else:
        # A label map without its image is a case, too, so that the missing image is told.
        labels = {path.name.removesuffix(ending) for path in _files(root / "labelsTr", ending)}
        pairs = {
            name: (root / "imagesTr" / f"{name}_0000{ending}", root / "labelsTr" / f"{name}{ending}")
            for name in labels | _cases_in(root / "imagesTr", ending)
        }
    unlabelled = root / "imagesUn"
    cases = [_case(name, image, label, label_set) for name, (image, label) in pairs.items()]
    for name in _cases_in(unlabelled, ending):
        cases.append(_case(name, unlabelled / f"{name}_0000{ending}", None, label_set))
    dataset = make_dataset(root, _name(root, content), label_set, modality, cases)
    if content["numTraining"] != len(pairs):
        raise SkcdfError(
            f"{root / _DESCRIPTION}: numTraining is {content['numTraining']}, but there are {len(pairs)} "
            "training cases.",
            "Restore the missing files, or correct numTraining.",
        )
    return dataset


def _read_msd(root: Path, content: dict[str, Any], allow_missing: bool) -> Dataset:
    modality = _modality(root, content["modality"])
    label_set = _label_set(root, content["labels"].items())
    splits: tuple[tuple[str, Split], ...] = (("training", "training"), ("validation", "validation"))
    cases = [
        _case(_stem(pair["image"]), root / pair["image"], root / pair["label"], label_set, split)
        for key, split in splits
        for pair in content.get(key, [])
    ]
    for entry in content.get("test", []):
        image = entry["image"] if isinstance(entry, dict) else entry
        cases.append(_case(_stem(image), root / image, None, label_set))
    return make_dataset(root, _name(root, content), label_set, modality, cases, allow_missing)


def _case(name: str, image: Path, label: Path | None, label_set: LabelSet, split: Split = "training") -> Case:
    subject = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
    annotated = frozenset(label_set.names) if label is not None else frozenset[str]()
    return Case(name, image, label, annotated, subject, split)


def _modality(root: Path, channels: dict[str, str]) -> Modality:
    if not isinstance(channels, dict):
        raise TypeError("the channels are not a map")
    if len(channels) != 1:
        raise SkcdfError(
            f"{root / _DESCRIPTION}: the data set has {len(channels)} channels; only one is supported.",
            "Make a data set of one of the channels.",
        )
    (name,) = channels.values()
    # As in nnU-Net: whatever is not called CT is normalised volume by volume.
    return "CT" if name.strip().upper() == "CT" else "MR"


def _label_set(root: Path, labels: Iterable[tuple[Any, Any]]) -> LabelSet:
    """The label set of ``(value, name)`` pairs, background included."""
    source = root / _DESCRIPTION
    names: dict[int, str] = {}
    for value, name in labels:
        if isinstance(value, list):
            raise SkcdfError(
                f"{source}: label {name} is a region (a list of values); regions are not supported.",
                "Give each label one value.",
            )
        if name == "ignore":
            raise SkcdfError(
                f"{source}: it has an ignore label, which is not supported.",
                "Put such cases into a labelled pool, which says case by case what was annotated.",
            )
        if isinstance(value, bool | float) or int(value) in names or not isinstance(name, str):
            raise ValueError(f"label {name!r} has value {value!r}")
        names[int(value)] = name
    if sorted(names) != list(range(len(names))):
        raise SkcdfError(
            f"{source}: the label values are {sorted(names)}.",
            "Number them 0 (background), 1, 2 … without gaps.",
        )
    return LabelSet.from_names(root.resolve().name, [names[value] for value in range(1, len(names))])


def _only(root: Path, name: str, images: list[str]) -> str:
    if not isinstance(images, list):
        raise TypeError(f"images of {name} is not a list")
    if len(images) != 1:
        raise SkcdfError(
            f"{root / _DESCRIPTION}: case {name} has {len(images)} images; only one channel is supported.",
            "Name one image for each case.",
        )
    return images[0]


def _cases_in(folder: Path, ending: str) -> set[str]:
    """Names of the cases whose ``CASE_0000.ext`` lies in ``folder``, which may be absent."""
    names = set()
    for path in _files(folder, ending):
        match = re.fullmatch(r"(.+)_0000", path.name.removesuffix(ending))
        if match is None:
            raise SkcdfError(
                f"{path}: an image of a data set with one channel is called CASE_0000{ending}.", "Rename it."
            )
        names.add(match.group(1))
    return names


def _files(folder: Path, ending: str) -> list[Path]:
    # Names with a leading dot are what macOS and our own interrupted writes leave behind.
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.endswith(ending) and not path.name.startswith(".")]


def _stem(file: str) -> str:
    name = Path(file).name
    return name.removesuffix(".gz").rsplit(".", 1)[0] if "." in name else name


def _name(root: Path, content: dict[str, Any]) -> str:
    name = content.get("name")
    return name if isinstance(name, str) and name else root.resolve().name
