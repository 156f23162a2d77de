"""From downloads laid out like the originals to a pool and a test set; what is missing or damaged is told."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from skcdf.commands.prepare import prepare_folder, prepare_published
from skcdf.datasets import open_dataset
from skcdf.errors import SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image, read_image, read_label_map, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.originals import LAYOUTS, prepare
from skcdf.progress import ignore_progress
from skcdf.protocols import CaseLists, Protocol

TRAINING = Path(__file__).resolve().parents[2] / "training"
ID = "synapse-skcdf-20p"
CASES = Protocol.load(ID).cases
GEOMETRY = Geometry((5, 4, 3), (0.75, 0.75, 3.0))


def write_case(image: Path, label: Path | None, seed: int, geometry: Geometry = GEOMETRY) -> None:
    random = np.random.default_rng(seed)
    write_image(image, Image(random.integers(-1000, 1000, GEOMETRY.shape).astype(np.int16), GEOMETRY))
    if label is not None:
        write_label_map(label, random.integers(0, 14, geometry.shape).astype(np.uint8), geometry)


def write_synapse(root: Path) -> None:
    for case in CASES.all:
        number = case.removeprefix("img")
        training = root / "RawData" / "Training"
        write_case(
            training / "img" / f"{case}.nii.gz", training / "label" / f"label{number}.nii.gz", int(number)
        )


def pack(folder: Path, archive: Path, leave_out: str = "nothing") -> Path:
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted(folder.rglob("*.nii.gz")):
            if leave_out not in path.name:
                target.write(path, path.relative_to(folder).as_posix())
    return archive


def run(*arguments: str | Path) -> int:
    return prepare_published("synapse", "", [str(each) for each in arguments])


def names(cases) -> list[str]:
    return [case.name for case in cases]


@pytest.fixture(scope="module")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the unpacked archive."""
    root = tmp_path_factory.mktemp("synapse")
    write_synapse(root)
    return root


@pytest.fixture(scope="module")
def archive(synapse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(synapse, tmp_path_factory.mktemp("zip") / "RawData.zip")


@pytest.fixture(scope="module")
def prepared(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What the script made of the archive, alone in its folder, and what it printed."""
    output = tmp_path_factory.mktemp("prepared") / "out"
    command = [sys.executable, TRAINING / "prepare_synapse.py", archive, output, "--protocol", ID]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return output, done.stdout


def check_result(output: Path) -> None:
    dataset = open_dataset(output / "pool")
    assert (dataset.protocol, dataset.modality, dataset.label_set.name) == (ID, "CT", "synapse13")
    assert names(dataset.labelled) == sorted(CASES.labelled)
    assert names(dataset.unlabelled) == sorted(CASES.unlabelled)
    assert names(dataset.validation) == sorted(CASES.validation)
    for kind in ("images", "labels"):
        files = sorted(path.name for path in (output / "test" / kind).iterdir())
        assert files == [f"{case}.nii.gz" for case in sorted(CASES.test)]
    assert sorted(path.name for path in output.iterdir()) == ["pool", "test"]


@pytest.mark.slow
class TestSynapse:
    def test_the_script_makes_pool_and_test_set_from_the_archive(self, prepared: tuple[Path, str]) -> None:
        output, printed = prepared
        assert printed.startswith(f"protocol {ID}: ")
        assert "4 labelled, 16 unlabelled and 4 validation cases in pool, 6 cases in test" in printed
        assert list(output.parent.iterdir()) == [output]
        check_result(output)

    @pytest.mark.parametrize("below", ["", "RawData/Training"])
    def test_an_unpacked_folder_gives_the_same(self, synapse: Path, tmp_path: Path, below: str) -> None:
        assert run(synapse / below, tmp_path / "out", "--protocol", ID) == 0
        check_result(tmp_path / "out")

    def test_voxels_are_those_of_the_originals(self, synapse: Path, prepared: tuple[Path, str]) -> None:
        training, output = synapse / "RawData" / "Training", prepared[0]
        (case,) = [each for each in open_dataset(output / "pool").cases if each.name == "img0021"]
        original = read_image(training / "img" / "img0021.nii.gz")
        assert np.array_equal(read_image(case.image).array, original.array)
        labels = [training / "label" / "label0027.nii.gz", output / "test" / "labels" / "img0027.nii.gz"]
        first, second = map(read_label_map, labels)
        assert np.array_equal(first.array, second.array) and first.geometry.same_grid(second.geometry)

    def test_no_test_image_is_in_the_pool(self, prepared: tuple[Path, str]) -> None:
        pooled = {read_image(path).array.tobytes() for path in (prepared[0] / "pool").glob("images*/*")}
        tested = {read_image(path).array.tobytes() for path in (prepared[0] / "test" / "images").iterdir()}
        assert (len(pooled), len(tested), pooled & tested) == (24, 6, set())

    def test_label_maps_of_unlabelled_cases_are_not_needed(self, synapse: Path, tmp_path: Path) -> None:
        unlabelled = CASES.unlabelled[0].removeprefix("img")
        source = pack(synapse, tmp_path / "RawData.zip", leave_out=f"label{unlabelled}")
        assert run(source, tmp_path / "out", "--protocol", ID) == 0

    @pytest.mark.parametrize(
        ("leave_out", "told"),
        [
            ("img0033", "1 of 30 cases are missing: img0033 (image)"),
            ("label0021", "1 of 30 cases are missing: img0021 (label map)"),
            ("label00", "14 of 30 cases are missing: "),
        ],
    )
    def test_a_missing_case_is_named_before_anything_is_written(
        self, synapse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], leave_out: str, told: str
    ) -> None:
        source = pack(synapse, tmp_path / "RawData.zip", leave_out)
        assert run(source, tmp_path / "out", "--protocol", ID) == 1
        assert told in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["RawData.zip"]

    def test_a_damaged_member_is_named_and_nothing_half_written_stays(
        self, synapse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = pack(synapse, tmp_path / "RawData.zip", leave_out="img0023")
        with zipfile.ZipFile(source, "a") as target:
            target.writestr("RawData/Training/img/img0023.nii.gz", b"\x1f\x8bnot a scan")
        assert run(source, tmp_path / "out", "--protocol", ID) == 1
        message = capsys.readouterr().err
        assert f"{source}, RawData/Training/img/img0023.nii.gz: " in message and ".tmp" not in message
        assert [path.name for path in tmp_path.iterdir()] == ["RawData.zip"]

    def test_an_archive_that_broke_off_is_told(
        self, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "RawData.zip").write_bytes(archive.read_bytes()[:-1000])
        assert run(tmp_path / "RawData.zip", tmp_path / "out", "--protocol", ID) == 1
        assert "no complete zip archive" in capsys.readouterr().err

    def test_voxels_that_rotted_in_the_archive_are_told(
        self, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        content = bytearray(archive.read_bytes())
        with zipfile.ZipFile(archive) as original:
            content[original.getinfo("RawData/Training/img/img0023.nii.gz").header_offset + 100] ^= 255
        (tmp_path / "RawData.zip").write_bytes(content)
        assert run(tmp_path / "RawData.zip", tmp_path / "out", "--protocol", ID) == 1
        assert "img0023.nii.gz cannot be unpacked" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_members_that_lead_elsewhere_are_not_touched(self, synapse: Path, tmp_path: Path) -> None:
        source = pack(synapse, tmp_path / "RawData.zip")
        with zipfile.ZipFile(source, "a") as target:
            target.writestr("../escaped.nii.gz", b"evil")
            target.writestr("RawData/Training/img/../../../../escaped.nii.gz", b"evil")
        assert run(source, tmp_path / "deep" / "out", "--protocol", ID) == 0
        assert not list(tmp_path.rglob("escaped*"))

    def test_a_folder_in_use_is_not_touched(
        self, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        assert run(archive, tmp_path, "--protocol", ID) == 1
        assert "not an empty folder" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    @pytest.mark.parametrize("number", ["0021", "0027"])
    def test_a_label_map_of_another_size_is_refused(
        self, synapse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str
    ) -> None:
        source = pack(synapse, tmp_path / "RawData.zip", leave_out=f"label{number}")
        write_label_map(
            tmp_path / "label.nii.gz", np.ones((9, 9, 9), np.uint8), Geometry((9, 9, 9), (1, 1, 1))
        )
        with zipfile.ZipFile(source, "a") as target:
            target.write(tmp_path / "label.nii.gz", f"RawData/Training/label/label{number}.nii.gz")
        assert run(source, tmp_path / "out", "--protocol", ID) == 1
        assert f"image and label map of img{number} differ in size" in capsys.readouterr().err

    def test_labels_of_another_data_set_are_refused(self, synapse: Path, tmp_path: Path) -> None:
        label_set = LabelSet.load("openkbp7")
        with pytest.raises(SkcdfError, match="the values of label set openkbp7 go from 0 to 7"):
            prepare(
                synapse, tmp_path / "out", LAYOUTS["synapse"], CASES, label_set, "CT", ignore_progress, ID
            )
        assert list(tmp_path.iterdir()) == []


class TestAmos:
    # Cases lie in two folders, whatever list they are in.
    CASES = CaseLists(("amos_0001",), ("amos_0507",), ("amos_0008",), ("amos_0010", "amos_0544"))

    def write(self, root: Path, top: str) -> None:
        for seed, case in enumerate(self.CASES.all):
            part = "Va" if case in ("amos_0008", "amos_0544") else "Tr"
            label = None if case == "amos_0507" else root / top / f"labels{part}" / f"{case}.nii.gz"
            write_case(root / top / f"images{part}" / f"{case}.nii.gz", label, seed)

    def prepare(self, source: Path, output: Path, protocol: str = "amos-5p") -> list[str]:
        label_set = LabelSet.load("amos15")
        return prepare(
            source, output, LAYOUTS["amos"], self.CASES, label_set, "CT", ignore_progress, protocol
        )

    @pytest.mark.parametrize("top", ["amos22", "AMOS22"])
    def test_both_folders_of_the_archive_are_looked_into(self, tmp_path: Path, top: str) -> None:
        self.write(tmp_path / "unpacked", top)
        source = pack(tmp_path / "unpacked", tmp_path / "amos22.zip")
        assert self.prepare(source, tmp_path / "out") == []
        dataset = open_dataset(tmp_path / "out" / "pool")
        assert dataset.protocol == "amos-5p"
        assert names(dataset.cases) == ["amos_0001", "amos_0008", "amos_0507"]
        assert names(dataset.validation) == ["amos_0008"]
        tests = sorted(path.name for path in (tmp_path / "out" / "test" / "labels").iterdir())
        assert tests == ["amos_0010.nii.gz", "amos_0544.nii.gz"]

    def test_a_header_that_contradicts_the_image_is_told_and_the_images_taken(self, tmp_path: Path) -> None:
        self.write(tmp_path / "amos22", "")
        shifted = Geometry(GEOMETRY.size, GEOMETRY.spacing, (50.0, 0.0, 0.0))
        folder = tmp_path / "amos22"
        write_case(folder / "other.nii.gz", folder / "labelsTr" / "amos_0010.nii.gz", 9, shifted)
        (warning,) = self.prepare(folder, tmp_path / "out")
        assert warning.startswith("amos_0010: ")
        written = read_label_map(tmp_path / "out" / "test" / "labels" / "amos_0010.nii.gz")
        assert written.geometry.same_grid(read_image(folder / "imagesTr" / "amos_0010.nii.gz").geometry)

    @pytest.mark.parametrize(("flags", "cases", "ending"), [([], 360, ""), (["--ct-only"], 300, "-ct")])
    def test_mr_cases_are_left_out_when_asked(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        flags: list[str],
        cases: int,
        ending: str,
    ) -> None:
        (tmp_path / "empty").mkdir()
        arguments = [str(tmp_path / "empty"), str(tmp_path / "out"), "--protocol", "amos-5p", *flags]
        assert prepare_published("amos", "", arguments) == 1
        printed = capsys.readouterr()
        assert printed.out.startswith(f"protocol amos-5p{ending}: ")
        assert "CT and MR are mixed" in printed.err
        assert f"{cases} of {cases} cases are missing: amos_0078 (image)" in printed.err


class TestOpenkbp:
    LISTS = {  # noqa: RUF012
        "labelled": ["pt_1"],
        "unlabelled": ["pt_2"],
        "validation": ["pt_3"],
        "development_test": ["pt_4"],
    }

    def write(self, root: Path, **changes: list[str]) -> Path:
        for seed in range(1, 5):
            label = root / "labels" / f"pt_{seed}.nii.gz"
            write_case(root / "images" / f"pt_{seed}.nii.gz", label, seed)
            write_label_map(label, np.full(GEOMETRY.shape, 7, np.uint8), GEOMETRY)
        (root / "splits.json").write_text(json.dumps(self.LISTS | changes))
        return root

    def test_pool_and_test_set_are_made(self, tmp_path: Path) -> None:
        source = self.write(tmp_path / "openkbp")
        assert prepare_folder("openkbp", "openkbp7", "CT", "", [str(source), str(tmp_path / "out")]) == 0
        dataset = open_dataset(tmp_path / "out" / "pool")
        assert names(dataset.cases) == ["pt_1", "pt_2", "pt_3"]
        assert names(dataset.unlabelled) == ["pt_2"]
        assert dataset.protocol is None

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"validation": ["pt_4"]}, "pt_4 is for validation and test"),
            ({"development_test": ["../pt_4"]}, "cannot be a case's name"),
        ],
    )
    def test_lists_that_leak_or_lead_elsewhere_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict, told: str
    ) -> None:
        source = self.write(tmp_path / "openkbp", **change)
        assert prepare_folder("openkbp", "openkbp7", "CT", "", [str(source), str(tmp_path / "out")]) == 1
        assert "splits.json" in (message := capsys.readouterr().err) and told in message
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("script", ["prepare_amos", "prepare_openkbp", "prepare_hippocampus", "evaluate"])
def test_every_script_explains_itself(script: str) -> None:
    command = [sys.executable, TRAINING / f"{script}.py", "--help"]
    assert "usage:" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
