"""What a worker can be asked about a labelled pool (`docs/worker.md`): looking, adding, importing.

Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from .model_parts import require
from .worker_request import Request, require_texts

SplitName = Literal["", "training", "validation"]


@dataclass(frozen=True)
class PoolPreview(Request):
    """Say what adding a corrected scan would store, and write nothing.

    Attributes:
        pool: the pool's folder.
        image: the scan: a file or a DICOM folder.
        label: its label map with the pool's values, on the same grid; or a ``.seg.nrrd`` file.
        subject: whose scan it is; may be empty where the pool has the scan.
        name: of the case; empty: a number is given.
        annotated: names of the labels that were annotated; ``None``: all.
        model: the version whose proposal was corrected; empty: drawn from scratch, or not known.
        proposal: that proposal, a file like ``label``; empty: there is none.
        split: what a new case is for; empty: as the pool decides.
        accept_sides: a right organ to the left of its left partner is what was meant.
    """

    kind: ClassVar[str] = "pool_preview"
    pool: str
    image: str
    label: str
    subject: str = ""
    name: str = ""
    annotated: tuple[str, ...] | None = None
    model: str = ""
    proposal: str = ""
    split: SplitName = ""
    accept_sides: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_texts(self, "pool", "image", "label")


@dataclass(frozen=True)
class PoolAdd(PoolPreview):
    """Add a corrected scan with its label map, or the label map to the case that has this scan."""

    kind: ClassVar[str] = "pool_add"


@dataclass(frozen=True)
class PoolAddUnlabelled(Request):
    """Add scans without label map, to train on.

    Attributes:
        pool: the pool's folder.
        images: files, DICOM folders, or folders with such.
        subjects: whose scans each of ``images`` has; empty, or an empty text: each scan is of a person of its own.
    """

    kind: ClassVar[str] = "pool_add_unlabelled"
    pool: str
    images: tuple[str, ...]
    subjects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require_texts(self, "pool", "images")
        require(all(self.images), "images", "must not hold an empty text")
        fits = len(self.subjects) in (0, len(self.images))
        require(fits, "subjects", f"must be as many as images, {len(self.images)}, or none")


@dataclass(frozen=True)
class PoolImport(Request):
    """Import foreign annotations, or say what importing them would do.

    Attributes:
        pool: the pool's folder.
        source: the folder with the annotations.
        mapping: the content of a mapping file (`docs/pool-import.md`); empty: nothing is decided.
        dry_run: write nothing.
        revise: where the pool has a scan with another label map, the source's becomes its newest revision.
        accept_sides: right organs to the left of their left partners are what was meant.
        values_are_pool_values: the values in the label maps are those of the pool's labels.
    """

    kind: ClassVar[str] = "pool_import"
    pool: str
    source: str
    mapping: dict[str, Any] = field(default_factory=dict)
    dry_run: bool = False
    revise: bool = False
    accept_sides: bool = False
    values_are_pool_values: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_texts(self, "pool", "source")
