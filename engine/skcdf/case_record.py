"""``cases/<case>.json`` of a labelled pool: everything the pool knows of one case."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from .cases import SPLITS, STATES, Split, State
from .errors import SkcdfError
from .files import read_json
from .labels import LabelSet

SCHEMA = 1
FILE_ENDING = ".nii.gz"

_T = TypeVar("_T")

_HASH = re.compile(r"[0-9a-f]{64}")
# One of the pool's own folders and a plain name: a case file shared by others points to no other place.
_FILE = re.compile(r"(imagesTr|imagesTs|imagesUn|labelsTr|labelsTs)/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Revision:
    """One accepted label map of a case.

    Attributes:
        file: path below the pool, with forward slashes.
        voxel_hash: `skcdf.image_hash.voxel_hash` of the label map.
        annotated: names of the labels that were annotated, in the label set's order.
        created: when it was accepted, UTC, ISO 8601.
        model: version of the model whose proposal was corrected; ``None``: drawn from scratch or not known.
        proposal_dice: Dice of that proposal against this label map, of every annotated label by name; ``None`` for a
            label that is in neither, and where there was no proposal. It tells how much work the model saved.
        sides_accepted: a person has said that left and right are right although the positions contradict it.
    """

    file: str
    voxel_hash: str
    annotated: tuple[str, ...]
    created: str
    model: str | None = None
    proposal_dice: dict[str, float | None] | None = None
    sides_accepted: bool = False


@dataclass(frozen=True)
class CaseRecord:
    """A case as the pool stores it.

    Attributes:
        name: the case's name, also that of its file.
        subject: salted hash of the person.
        split: ``training`` or ``validation``; never changes.
        state: ``labelled``, ``unlabelled`` or ``withdrawn``.
        created: when the case entered, UTC, ISO 8601.
        image_file: path below the pool, with forward slashes.
        image_hash: `skcdf.image_hash.voxel_hash` of the image.
        revisions: label maps, oldest first; the last one counts. Empty for an unlabelled case.
    """

    name: str
    subject: str
    split: Split
    state: State
    created: str
    image_file: str
    image_hash: str
    revisions: tuple[Revision, ...] = ()

    @property
    def current(self) -> Revision | None:
        """The label map that counts; ``None`` unless the case is labelled."""
        return self.revisions[-1] if self.state == "labelled" else None

    @property
    def files(self) -> tuple[str, ...]:
        """Its image and all its label maps, as paths below the pool."""
        return (self.image_file, *(revision.file for revision in self.revisions))

    def revised(self, revision: Revision) -> CaseRecord:
        """The record with one more label map, which makes it labelled."""
        return replace(self, state="labelled", revisions=(*self.revisions, revision))

    def to_json(self) -> dict[str, Any]:
        """The content of the case's file."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "subject": self.subject,
            "split": self.split,
            "state": self.state,
            "created": self.created,
            "image": {"file": self.image_file, "voxel_hash": self.image_hash},
            "revisions": [
                {
                    "file": revision.file,
                    "voxel_hash": revision.voxel_hash,
                    "annotated": list(revision.annotated),
                    "created": revision.created,
                    "model": revision.model,
                    "proposal_dice": revision.proposal_dice,
                    "sides_accepted": revision.sides_accepted,
                }
                for revision in self.revisions
            ],
        }

    @classmethod
    def load(cls, path: Path, label_set: LabelSet) -> CaseRecord:
        """Reads a case's file.

        Raises:
            SkcdfError: the file is unreadable, of a newer schema, or not a case of this pool.
        """
        content = read_json(path, "case")
        try:
            if content["schema"] != SCHEMA:
                raise SkcdfError(
                    f"{path}: case schema {content['schema']} is not known.", "Update SKCDFSegmenter."
                )
            record = cls(
                name=_one_of([path.name.removesuffix(".json")], content["name"]),
                subject=_match(_HASH, content["subject"]),
                split=_one_of(SPLITS, content["split"]),
                state=_one_of(STATES, content["state"]),
                created=_text(content["created"]),
                image_file=_match(_FILE, content["image"]["file"]),
                image_hash=_match(_HASH, content["image"]["voxel_hash"]),
                revisions=tuple(_revision(item, label_set) for item in content["revisions"]),
            )
            if (record.state == "labelled" and not record.revisions) or (
                record.state == "unlabelled" and (record.revisions or record.split != "training")
            ):
                raise ValueError(f"state {record.state} contradicts its revisions or split")
            if record.image_file != image_file(record, bool(record.revisions)):
                raise ValueError(f"image file {record.image_file} contradicts name, hash, split or revisions")
            for revision in record.revisions:
                if revision.file != label_file(record, revision.voxel_hash):
                    raise ValueError(f"label file {revision.file} contradicts name, hash or split")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SkcdfError(
                f"{path}: not a case of a labelled pool ({error!r}).",
                "Restore the file from a copy of the pool.",
            ) from error
        return record


def image_file(record: CaseRecord, labelled: bool) -> str:
    """Where the image of a case lies, as a path below the pool."""
    # nnU-Net never trains on imagesTs, even if it did not honour the explicit map of dataset.json.
    folder = "imagesTs" if record.split == "validation" else "imagesTr" if labelled else "imagesUn"
    return f"{folder}/{record.name}_{record.image_hash[:16]}_0000{FILE_ENDING}"


def label_file(record: CaseRecord, label_hash: str) -> str:
    """Where the label map with that hash lies, as a path below the pool."""
    folder = "labelsTs" if record.split == "validation" else "labelsTr"
    return f"{folder}/{record.name}_{label_hash[:16]}{FILE_ENDING}"


def _revision(item: dict[str, Any], label_set: LabelSet) -> Revision:
    return Revision(
        file=_match(_FILE, item["file"]),
        voxel_hash=_match(_HASH, item["voxel_hash"]),
        annotated=tuple(_one_of(label_set.names, name) for name in item["annotated"]),
        created=_text(item["created"]),
        model=None if item["model"] is None else _text(item["model"]),
        proposal_dice=_shares(item.get("proposal_dice"), label_set),
        sides_accepted=item.get("sides_accepted") is True,
    )


def _shares(value: Any, label_set: LabelSet) -> dict[str, float | None] | None:
    if value is None:
        return None
    for share in value.values():
        if share is not None and (type(share) not in (int, float) or not 0 <= share <= 1):
            raise ValueError(f"{share!r} is no Dice coefficient")
    return {_one_of(label_set.names, name): share for name, share in value.items()}


def _one_of(choices: Collection[_T], value: Any) -> _T:
    for choice in choices:
        if choice == value:
            return choice
    raise ValueError(f"{value!r} is not one of {', '.join(map(str, choices))}")


def _match(pattern: re.Pattern[str], value: Any) -> str:
    if not pattern.fullmatch(_text(value)):
        raise ValueError(f"{value!r} is malformed")
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value
