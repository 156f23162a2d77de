"""The labelled pool: a folder in which corrected cases gather, and from which nnU-Net v2 can train as it is.

``cases/<case>.json`` is the truth, and its appearance by a rename is the moment a case enters;
``dataset.json`` is derived from it. Image and label files are named by their content and never change.
``docs/pool-format.md`` describes every file.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from .case_record import CaseRecord, Revision
from .cases import MODALITIES, SPLITS, Case, Dataset, Modality, Split, make_dataset
from .errors import SkcdfError
from .files import read_json, write_json
from .image import Image, write_image, write_label_map
from .labels import LabelSet

SCHEMA = 1
POOL_FILE = "pool.json"
FILE_ENDING = ".nii.gz"

_LABEL_SET_FILE = "label_set.json"
_CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Windows gives these names to devices, with any extension.
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\..*)?", re.IGNORECASE)


def voxel_hash(image: Image) -> str:
    """SHA-256 of what a network sees of an image, whatever file format and number type holds it.

    Voxels count as float32; the spacing counts to 0.1 %, on a logarithmic scale, where no round number lies
    on the border between two steps.
    """
    digest = hashlib.sha256()
    steps = [round(1000 * math.log(length)) for length in image.geometry.array_spacing]
    digest.update(repr((image.array.shape, steps)).encode())
    for plane in image.array:
        # Adding zero turns -0 into 0.
        digest.update((plane.astype("<f4") + np.float32(0)).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class LabelledPool:
    """A labelled pool on disk.

    Attributes:
        root: its folder.
        label_set: the labels of all its cases.
        modality: ``CT`` or ``MR``.
        synthetic: whether all its scans are phantoms.
        salt: goes into the subject hashes, so that they cannot be guessed from lists of patients.
        protocol: id of the published protocol whose cases it holds, if any.
    """

    root: Path
    label_set: LabelSet
    modality: Modality
    salt: str
    synthetic: bool = False
    protocol: str | None = None

    @classmethod
    def create(
        cls,
        root: Path | str,
        label_set: LabelSet,
        modality: Modality,
        *,
        synthetic: bool = False,
        protocol: str | None = None,
    ) -> LabelledPool:
        """Makes an empty pool.

        Args:
            root: a folder that is empty or not there yet.
            label_set: the labels of all its cases.
            modality: ``CT`` or ``MR``.
            synthetic: whether all its scans will be phantoms; models trained on it will say so.
            protocol: id of the published protocol (`skcdf.protocols`) whose cases it will hold, if any.

        Raises:
            SkcdfError: the folder holds something, or cannot be written.
        """
        root = Path(root)
        if modality not in MODALITIES:
            raise SkcdfError(
                f"{root}: there is no modality {modality}.", f"Take one of {', '.join(MODALITIES)}."
            )
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise SkcdfError(
                f"{root}: a new pool needs an empty folder, and this is not one.", "Choose another."
            )
        pool = cls(root, label_set, modality, secrets.token_hex(16), synthetic, protocol)
        label_set.save(root / _LABEL_SET_FILE)
        pool.rebuild_dataset_json()
        write_json(
            root / POOL_FILE,
            {
                "schema": SCHEMA,
                "modality": modality,
                "salt": pool.salt,
                "created": _now(),
                "synthetic": synthetic,
                "protocol": protocol,
            },
        )
        return pool

    @classmethod
    def open(cls, root: Path | str) -> LabelledPool:
        """Opens a pool.

        Raises:
            SkcdfError: the folder is no pool, or one of a newer version.
        """
        root = Path(root)
        source = root / POOL_FILE
        content = read_json(source, "labelled pool")
        try:
            schema, modality, salt = content["schema"], content["modality"], content["salt"]
        except (KeyError, TypeError) as error:
            raise SkcdfError(f"{source}: not a labelled pool ({error!r}).", "Restore the file.") from error
        if schema != SCHEMA:
            raise SkcdfError(f"{source}: pool schema {schema} is not known.", "Update SKCDFSegmenter.")
        protocol = content.get("protocol")
        if modality not in MODALITIES or not isinstance(salt, str) or not isinstance(protocol, str | None):
            raise SkcdfError(f"{source}: not a labelled pool.", "Restore the file.")
        synthetic = content.get("synthetic") is True
        return cls(root, LabelSet.load(root / _LABEL_SET_FILE), modality, salt, synthetic, protocol)

    def records(self) -> tuple[CaseRecord, ...]:
        """What the pool knows of every case, withdrawn ones included, sorted by name.

        Raises:
            SkcdfError: a case file is broken, or a subject or an image is both trained and validated on.
        """
        files = sorted(path for path in (self.root / "cases").glob("*.json") if not path.name.startswith("."))
        records = tuple(CaseRecord.load(path, self.label_set) for path in files)
        split_of: dict[str, Split] = {}
        for record in records:
            for identity in (record.subject, record.image_hash):
                if split_of.setdefault(identity, record.split) != record.split:
                    raise SkcdfError(
                        f"{self._case_file(record.name)}: its subject or image is also in the other split.",
                        "A case file was changed by hand: restore it from a copy of the pool.",
                    )
        return records

    def dataset(self) -> Dataset:
        """The cases to train on and to validate with.

        Raises:
            SkcdfError: a case file is broken, or files are missing.
        """
        cases = (self._case(record) for record in self.records() if record.state != "withdrawn")
        dataset = make_dataset(self.root, self.root.resolve().name, self.label_set, self.modality, cases)
        return replace(dataset, synthetic=self.synthetic, protocol=self.protocol)

    def subject_hash(self, subject: str) -> str:
        """The hash under which the pool knows a subject."""
        return hashlib.sha256(f"{self.salt}:{subject}".encode()).hexdigest()

    def add_case(
        self,
        name: str,
        image: Image,
        label: Image | None,
        *,
        subject: str,
        split: Split = "training",
        annotated: Iterable[str] | None = None,
        model: str | None = None,
    ) -> Case:
        """Adds a case: image and label map first, then the case's file, which makes it count.

        Args:
            name: the new case's name: letters, digits, dots, dashes and underscores; no patient's name.
            image: the scan.
            label: its label map on the same grid; ``None`` for an unlabelled case.
            subject: whatever identifies the person; only its salted hash is stored.
            split: ``training`` or ``validation``; all cases of a subject have the same.
            annotated: names of the labels that were annotated; ``None``: all of them.
            model: the version of the model whose proposal was corrected, if any.

        Raises:
            SkcdfError: name, image, label or split do not fit the pool, or a file cannot be written; the case
                did not enter, unless that file is the derived ``dataset.json``.
        """
        self._check_entry(name, subject, split)
        names = self._check_label(name, image, label, split, annotated)
        now = _now()
        image_hash = voxel_hash(image)
        folder = _image_folder(label, split)
        record = CaseRecord(
            name=name,
            subject=self.subject_hash(subject),
            split=split,
            state="unlabelled" if label is None else "labelled",
            created=now,
            image_file=f"{folder}/{name}_{image_hash[:16]}_0000{FILE_ENDING}",
            image_hash=image_hash,
        )
        self._check_newcomer(record)
        write_image(self.root / record.image_file, image)
        if label is not None:
            label_hash = voxel_hash(label)
            file = f"{folder.replace('images', 'labels')}/{name}_{label_hash[:16]}{FILE_ENDING}"
            write_label_map(self.root / file, label.array, label.geometry)
            record = record.revised(Revision(file, label_hash, names, now, model))
        write_json(self._case_file(name), record.to_json())
        self.rebuild_dataset_json()
        return self._case(record)

    def rebuild_dataset_json(self) -> None:
        """Writes nnU-Net's description of the pool anew: its fully annotated, labelled training cases."""
        cases = {
            record.name: {"images": [record.image_file], "label": record.revisions[-1].file}
            for record in self.records()
            if record.state == "labelled"
            and record.split == "training"
            and set(record.revisions[-1].annotated) == set(self.label_set.names)
        }
        labels = {"background": 0} | {label.name: label.value for label in self.label_set.labels}
        description = {
            "channel_names": {"0": self.modality},
            "labels": labels,
            "numTraining": len(cases),
            "file_ending": FILE_ENDING,
            "dataset": cases,
        }
        write_json(self.root / "dataset.json", description)

    def _case_file(self, name: str) -> Path:
        return self.root / "cases" / f"{name}.json"

    def _case(self, record: CaseRecord) -> Case:
        current = record.revisions[-1] if record.state == "labelled" else None
        return Case(
            name=record.name,
            image=self.root / record.image_file,
            label=self.root / current.file if current else None,
            annotated=frozenset(current.annotated if current else ()),
            subject=record.subject,
            split=record.split,
        )

    def _check_entry(self, name: str, subject: str, split: Split) -> None:
        if not _CASE_NAME.fullmatch(name) or _DEVICE.fullmatch(name) or name.endswith("."):
            raise SkcdfError(
                f"{self.root}: {name!r} cannot be a case's name.",
                "Take letters, digits, dots, dashes and underscores, at most 100.",
            )
        if not subject:
            raise SkcdfError(
                f"Case {name}: it has no subject.",
                "Say whose scan it is; where each case is a person, its name.",
            )
        if split not in SPLITS:
            raise SkcdfError(f"Case {name}: there is no split {split}.", f"Take one of {', '.join(SPLITS)}.")

    def _check_label(
        self, name: str, image: Image, label: Image | None, split: Split, annotated: Iterable[str] | None
    ) -> tuple[str, ...]:
        """The annotated labels in the set's order, after every check that needs the voxels."""
        if not np.isfinite(image.array).all():
            raise SkcdfError(f"Case {name}: the image holds NaN or infinite voxels.", "Repair the image.")
        if label is None:
            if annotated is not None or split != "training":
                raise SkcdfError(
                    f"Case {name}: a case without label map has nothing annotated and validates nothing.",
                    "Give its label map, or add it to training as unlabelled.",
                )
            return ()
        if not label.geometry.same_grid(image.geometry):
            raise SkcdfError(
                f"Case {name}: the label map ({label.geometry.size} voxels) is not on the image's grid "
                f"({image.geometry.size} voxels).",
                "Resample the label map onto the image, with nearest neighbours.",
            )
        wanted = {
            self.label_set.value_of(each)
            for each in (self.label_set.names if annotated is None else annotated)
        }
        values = {value.item() for value in np.unique(label.array)}
        unknown = sorted(values - {0, *range(1, self.label_set.number_of_classes)})
        if unknown:
            raise SkcdfError(
                f"Case {name}: the label map holds {unknown[:5]}; the values of label set "
                f"{self.label_set.name} go from 0 to {len(self.label_set.labels)}.",
                "Map the labels first.",
            )
        drawn = [self.label_set.names[value - 1] for value in sorted(values - {0} - wanted)]
        if drawn:
            raise SkcdfError(
                f"Case {name}: {', '.join(drawn)} is in the label map, but not among the annotated labels.",
                "Name it as annotated, or erase it from the label map.",
            )
        return tuple(self.label_set.names[value - 1] for value in sorted(wanted))

    def _check_newcomer(self, newcomer: CaseRecord) -> None:
        for record in self.records():
            # Windows and macOS take names that differ in capitals only for the same file.
            if record.name.casefold() == newcomer.name.casefold():
                raise SkcdfError(
                    f"{self.root}: it has a case called {record.name} already.", "Choose another name."
                )
            if record.image_hash == newcomer.image_hash:
                raise SkcdfError(
                    f"{self.root}: the image of {newcomer.name} is in the pool already, as {record.name}.",
                    "Do not add it twice: it could be trained and validated on.",
                )
            if record.subject == newcomer.subject and record.split != newcomer.split:
                raise SkcdfError(
                    f"{self.root}: {newcomer.name} is of the same subject as {record.name}, which is for "
                    f"{record.split}.",
                    f"Add it to {record.split}, too.",
                )


def _image_folder(label: Image | None, split: Split) -> str:
    # nnU-Net never trains on imagesTs, even if it did not honour the explicit map of dataset.json.
    if label is None:
        return "imagesUn"
    return "imagesTr" if split == "training" else "imagesTs"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
