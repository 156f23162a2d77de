"""From a data set as its makers publish it, archive or folder, to a labelled pool and a test set.

Archives are large, so nothing is unpacked but one file at a time, and only files of the names that a `Layout`
expects: what else an archive holds, or where its members claim to belong, does not matter.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from . import files
from .cases import Modality, Split
from .droppings import is_empty
from .errors import SkcdfError
from .image import Image, read_image, read_label_map, write_label_map
from .labels import LabelSet
from .pool import LabelledPool
from .progress import Progress, ProgressCallback
from .protocols import CaseLists
from .sides import contradicted_sides

_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its cases.

    In the patterns, ``{case}`` is the case's name and ``{number}`` its last four characters.

    Attributes:
        folders: where an archive, or a folder that was unpacked from it, may begin.
        pairs: patterns of image and label map below one of ``folders``; the first image that is there counts.
    """

    folders: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]

    def pairs_of(self, case: str) -> Iterator[tuple[str, str]]:
        """Every place where image and label map of a case may be."""
        names = {"case": case, "number": case[-4:]}
        for folder in self.folders:
            for image, label in self.pairs:
                yield folder + image.format(**names), folder + label.format(**names)


LAYOUTS = {
    "synapse": Layout(
        ("RawData/Training/", "Training/", ""), (("img/{case}.nii.gz", "label/label{number}.nii.gz"),)
    ),
    "amos": Layout(
        ("amos22/", "AMOS22/", ""),
        (
            ("imagesTr/{case}.nii.gz", "labelsTr/{case}.nii.gz"),
            ("imagesVa/{case}.nii.gz", "labelsVa/{case}.nii.gz"),
        ),
    ),
    "openkbp": Layout(("",), (("images/{case}.nii.gz", "labels/{case}.nii.gz"),)),
    "hippocampus": Layout(("",), (("images/{case}.nii.gz", "labels/{case}.nii.gz"),)),
}


@dataclass(frozen=True)
class Originals:
    """A downloaded data set: a folder, or a zip archive that is open."""

    source: Path
    archive: zipfile.ZipFile | None

    @classmethod
    @contextlib.contextmanager
    def open(cls, source: Path) -> Iterator[Originals]:
        """Opens a folder or a zip archive.

        Raises:
            SkcdfError: it is neither, or the archive is damaged.
        """
        if source.is_dir():
            yield cls(source, None)
            return
        try:
            archive = zipfile.ZipFile(source)
        except FileNotFoundError as error:
            raise SkcdfError(f"{source}: there is no such file or folder.", "Check the path.") from error
        except (OSError, zipfile.BadZipFile) as error:
            raise SkcdfError(
                f"{source}: this is no complete zip archive ({error}).",
                "Download it again, or give the folder with its unpacked content.",
            ) from error
        with archive:
            yield cls(source, archive)

    def has(self, name: str) -> bool:
        """Whether there is a file ``name``, a path with forward slashes."""
        if self.archive is None:
            return (self.source / name).is_file()
        try:
            self.archive.getinfo(name)
        except KeyError:
            return False
        return True

    @contextlib.contextmanager
    def file(self, name: str, workplace: Path) -> Iterator[Path]:
        """The file ``name``, which from an archive lies in the folder ``workplace`` for as long as it is used.

        Raises:
            SkcdfError: the archive is damaged or encrypted, or whoever uses the file finds it damaged.
        """
        if self.archive is None:
            yield self.source / name
            return
        path = workplace / PurePosixPath(name).name
        try:
            with self.archive.open(name) as member, path.open("wb") as copy:
                shutil.copyfileobj(member, copy, 1 << 20)
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise SkcdfError(
                f"{self.source}: {name} cannot be unpacked ({error}).",
                "Check the free disk space; if there is enough, download the archive again.",
            ) from error
        try:
            yield path
        except SkcdfError as error:
            message = error.message.replace(str(path), f"{self.source}, {name}")
            raise SkcdfError(message, error.hint) from error
        finally:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Preparation:
    """A pool and a test set in the making."""

    originals: Originals
    layout: Layout
    workplace: Path
    warnings: list[str]

    def locate(self, cases: CaseLists) -> dict[str, tuple[str, str]]:
        """Paths of image and label map of every case."""
        places, missing = {}, []
        for case in cases.all:
            found = [pair for pair in self.layout.pairs_of(case) if self.originals.has(pair[0])]
            if not found:
                missing.append(f"{case} (image)")
            elif case not in cases.unlabelled and not self.originals.has(found[0][1]):
                missing.append(f"{case} (label map)")
            else:
                places[case] = found[0]
        if missing:
            more = f" and {len(missing) - _NAMED_AT_MOST} more" if len(missing) > _NAMED_AT_MOST else ""
            looked_for = " or ".join(image for image, _ in self.layout.pairs_of(missing[0].split()[0]))
            raise SkcdfError(
                f"{self.originals.source}: {len(missing)} of {len(cases.all)} cases are missing: "
                f"{', '.join(missing[:_NAMED_AT_MOST])}{more}.",
                f"Give the complete archive or folder. Images are looked for like {looked_for}.",
            )
        return places

    def add(self, pool: LabelledPool, case: str, place: tuple[str, str], cases: CaseLists) -> None:
        """Puts a case into the pool."""
        with self.originals.file(place[0], self.workplace) as path:
            image = read_image(path)
        label = None if case in cases.unlabelled else self._label(case, place[1], image)
        split: Split = "validation" if case in cases.validation else "training"
        if label is not None:  # a published label map is taken as it is
            self.warnings.extend(f"{case}: {each}." for each in contradicted_sides(label, pool.label_set))
        pool.add_case(case, image, label, subject=case, split=split, accept_sides=True)

    def write_test_case(self, folder: Path, case: str, place: tuple[str, str]) -> None:
        """Writes image, unchanged, and label map of a test case."""
        with self.originals.file(place[0], self.workplace) as path:
            image = read_image(path)
            shutil.copyfile(path, folder / "images" / f"{case}.nii.gz")
        label = self._label(case, place[1], image)
        write_label_map(folder / "labels" / f"{case}.nii.gz", label.array, label.geometry)

    def _label(self, case: str, name: str, image: Image) -> Image:
        with self.originals.file(name, self.workplace) as path:
            label = read_label_map(path)
        if label.geometry.size != image.geometry.size:
            raise SkcdfError(
                f"{self.originals.source}: image and label map of {case} differ in size "
                f"({image.geometry.size} and {label.geometry.size} voxels).",
                "Download the data set again.",
            )
        if not label.geometry.same_grid(image.geometry):
            # As the published programs, which look at no header.
            self.warnings.append(f"{case}: the label map's header contradicts the image's; took the image's.")
            return replace(label, geometry=image.geometry)
        return label


def prepare(
    source: Path,
    output: Path,
    layout: Layout,
    cases: CaseLists,
    label_set: LabelSet,
    modality: Modality,
    progress: ProgressCallback,
    protocol: str | None = None,
) -> list[str]:
    """Makes ``output/pool`` and ``output/test``; ``output`` appears when both are complete, or not at all.

    The label maps of unlabelled cases are not read, and test cases do not enter the pool.

    Args:
        source: zip archive or folder.
        output: a folder that is empty or not there yet.
        layout: where ``source`` keeps its cases.
        cases: what each case is for.
        label_set: of the label maps.
        modality: of the pool.
        progress: takes reports.
        protocol: id of the protocol, which the pool keeps.

    Returns:
        What the user should know of single cases.

    Raises:
        SkcdfError: cases are missing, a file is damaged or does not fit, or ``output`` holds something.
    """
    if output.exists() and not (output.is_dir() and is_empty(output)):
        raise SkcdfError(f"{output}: this is not an empty folder.", "Choose another.")
    growing = output.parent / f".{output.name}.{uuid.uuid4().hex}.tmp"
    try:
        with Originals.open(source) as originals:
            preparation = _Preparation(originals, layout, growing / "workplace", [])
            places = preparation.locate(cases)
            for folder in ("workplace", "test/images", "test/labels"):
                (growing / folder).mkdir(parents=True)
            pool = LabelledPool.create(growing / "pool", label_set, modality)
            for index, case in enumerate(cases.all):
                if case in cases.test:
                    preparation.write_test_case(growing / "test", case, places[case])
                else:
                    preparation.add(pool, case, places[case], cases)
                progress(Progress("prepare", index + 1, len(cases.all), case))
        if protocol:
            pool.declare_protocol(protocol)
        (growing / "workplace").rmdir()
        if output.exists():
            output.rmdir()
        files.replace(growing, output)
    except OSError as error:
        raise SkcdfError(
            f"{output}: cannot be written ({error.strerror or error}).",
            "Check the free disk space and that the folder is writable.",
        ) from error
    finally:
        shutil.rmtree(growing, ignore_errors=True)
    return preparation.warnings
