"""``skcdf pool``: what it prints, what it stores, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from seg_nrrd_files import KIDNEY, LEFT, LIVER, FileSegment, write_seg_nrrd

from skcdf.cli import main
from skcdf.geometry import Geometry
from skcdf.image import Image, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.pool import LabelledPool

SHAPE = (6, 8, 12)
GRID = Geometry(SHAPE[::-1], (2.0, 1.5, 3.0), (-10.0, 20.0, 30.0))
SEGMENTS = (
    FileSegment("Leber", 1, 0, LIVER),
    FileSegment("Segment_2", 2, 0, KIDNEY, LEFT),
    FileSegment("Tumour", 3),
)
OPENKBP = Path(__file__).parents[3] / "shared" / "data" / "openkbp"


def scan(seed: int) -> Image:
    return Image(np.random.default_rng(seed).integers(-1000, 1000, SHAPE).astype(np.int16), GRID)


def labels() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[1:4, 2:5, 4:6], array[1:4, 2:5, 10:], array[5, 5, 5] = 1, 2, 3
    return array


@pytest.fixture
def pool(tmp_path, capsys) -> Path:
    organs = "spleen, right_kidney, left_kidney, liver"
    assert main(["pool", "create", str(tmp_path / "pool"), "--organs", organs, "--modality", "CT"]) == 0
    capsys.readouterr()
    return tmp_path / "pool"


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    for seed, name in enumerate("ab"):
        write_image(folder / f"{name}.nrrd", scan(seed))
        write_seg_nrrd(folder / f"{name}.seg.nrrd", labels(), GRID, SEGMENTS)
    return folder


@pytest.fixture
def run(capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of ``skcdf pool …``."""
        code = main(["pool", *map(str, arguments)])
        return (code, *capsys.readouterr())

    return run


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestCreate:
    def test_makes_a_pool_with_a_shipped_label_set(self, run, tmp_path):
        code, out, _ = run("create", tmp_path / "new", "--labels", "synapse13", "--modality", "CT")
        assert code == 0 and "13 labels" in out
        assert LabelledPool.open(tmp_path / "new").label_set == LabelSet.load("synapse13")

    def test_shows_the_code_and_partner_of_every_organ(self, run, tmp_path):
        text = "Leber=SCT:10200004, right_kidney, left_kidney, GTV"
        code, out, _ = run("create", tmp_path / "new", "--organs", text, "--modality", "MR", "--synthetic")
        assert code == 0
        assert [line.split() for line in out.splitlines()[2:]] == [
            ["Leber", "1", "SCT:10200004", "-"],
            ["right_kidney", "2", "SCT:64033007/24028007", "left_kidney"],
            ["left_kidney", "3", "SCT:64033007/7771000", "right_kidney"],
            ["GTV", "4", "none", "-"],
        ]
        assert LabelledPool.open(tmp_path / "new").description.synthetic

    def test_refuses_a_folder_that_holds_something(self, run, pool):
        code, _, err = run("create", pool, "--labels", "synapse13", "--modality", "CT")
        assert code == 1 and "empty folder" in err

    def test_extend_adds_labels_at_the_end(self, run, pool):
        code, out, _ = run("extend", pool, "duodenum, left lung=SCT:39607008/left")
        assert code == 0 and "2 labels more" in out
        assert LabelledPool.open(pool).label_set.names[4:] == ("duodenum", "left lung")
        assert "nnU-Net" not in out

    def test_extend_says_how_many_cases_nnunet_still_gets(self, run, pool):
        opened = LabelledPool.open(pool)
        for number in range(3):  # the third validates
            opened.add_case(
                f"c{number}", scan(number), Image(np.minimum(labels(), 1), GRID), subject=f"{number}"
            )
        opened.add_case("bare", scan(3), None, subject="bare")
        code, out, _ = run("extend", pool, "duodenum")
        assert code == 0 and "nnU-Net gets 0 of 2 cases with label maps" in out
        assert json.loads((pool / "dataset.json").read_text("utf-8"))["numTraining"] == 0


class TestImport:
    def test_asks_for_a_mapping_and_proposes_one(self, run, pool, source, tmp_path):
        code, out, err = run("import", pool, source)
        assert code == 1 and "Tumour" in err and "--write-mapping" in err
        assert LabelledPool.open(pool).records() == ()
        mapping = tmp_path / "m.json"
        assert run("import", pool, source, "--write-mapping", mapping)[0] == 0
        content = json.loads(mapping.read_text("utf-8"))
        assert content["labels"] == {"Tumour": "?"}  # the others have codes, case by case
        code, _, err = run("import", pool, source, "--mapping", mapping)
        assert code == 1 and "Tumour" in err
        content["labels"]["Tumour"] = None
        mapping.write_text(json.dumps(content), "utf-8")
        code, out, _ = run("import", pool, source, "--mapping", mapping)
        assert code == 0 and "2 added" in out
        assert [record.state for record in LabelledPool.open(pool).records()] == ["labelled"] * 2

    def test_says_where_all_labels_are_that_a_mapping_may_name(self, run, source, tmp_path):
        run("create", tmp_path / "many", "--labels", "synapse13", "--modality", "CT")
        code, out, _ = run("import", tmp_path / "many", source, "--write-mapping", tmp_path / "m.json")
        file = tmp_path / "many" / "label_set.json"
        assert code == 0 and f"and 5 more (all are in {file})" in out
        assert len(LabelSet.load(file).names) == 13

    def test_does_not_write_over_a_mapping_file(self, run, pool, source, tmp_path):
        (tmp_path / "m.json").write_text("mine")
        code, _, err = run("import", pool, source, "--write-mapping", tmp_path / "m.json")
        assert code == 1 and "is there already" in err
        assert (tmp_path / "m.json").read_text() == "mine"

    def test_dry_run_shows_every_organ_and_writes_nothing(self, run, pool, source, tmp_path):
        (tmp_path / "m.json").write_text('{"schema": 1, "labels": {"Tumour": null}}')
        before = files_of(pool)
        code, out, _ = run("import", pool, source, "--mapping", tmp_path / "m.json", "--dry-run")
        assert code == 0 and files_of(pool) == before
        assert "a: would be added for training, 2 labels annotated" in out
        lines = [line.split() for line in out.splitlines()]
        assert ["liver", "0.16", "mL", "18", "voxels"] in lines
        assert ["unknown:", "spleen,", "right_kidney"] in lines
        assert ["Tumour", "(left", "out)", "file"] in lines
        assert "nothing was written: 2 to add" in out

    def test_fails_when_a_case_was_refused_and_says_why_in_one_line(self, run, pool, source, tmp_path):
        (tmp_path / "m.json").write_text('{"schema": 1, "labels": {"Tumour": null}}')
        (source / "b.nrrd").unlink()
        code, out, err = run("import", pool, source, "--mapping", tmp_path / "m.json")
        assert code == 1 and "1 added, 1 refused" in out
        (line,) = (line for line in err.splitlines() if line.startswith("error"))
        assert "b.seg.nrrd: there is no scan called b" in line

    def test_again_adds_nothing_and_revises_when_asked(self, run, pool, source):
        files = source / "one"
        write_image(files / "a.nii.gz", scan(5))
        write_label_map(files / "a_seg.nii.gz", labels(), GRID)
        arguments = ("import", pool, files, "--values-are-pool-values", "--sides-are-right")
        assert "1 added" in run(*arguments)[1]
        assert "1 there already" in run(*arguments)[1]
        write_label_map(files / "a_seg.nii.gz", labels() * (labels() < 3), GRID)
        code, out, _ = run(*arguments)
        assert code == 0 and "1 with another label map" in out and "--revise" in out
        code, out, _ = run(*arguments, "--revise", "--annotated", "right_kidney")
        assert code == 0 and "1 revised" in out
        assert LabelledPool.open(pool).record("a").current.annotated == ("right_kidney",)

    @pytest.mark.slow
    @pytest.mark.skipif(not OPENKBP.is_dir(), reason="shared/data/openkbp is not there")
    def test_openkbp(self, run, tmp_path):
        for name in ("images", "labels"):
            (tmp_path / "kbp" / name).mkdir(parents=True)
            for file in sorted((OPENKBP / "labels").iterdir())[:2]:
                (tmp_path / "kbp" / name / file.name).write_bytes((OPENKBP / name / file.name).read_bytes())
        run("create", tmp_path / "pool", "--labels", "openkbp7", "--modality", "CT")
        arguments = ("import", tmp_path / "pool", tmp_path / "kbp", "--values-are-pool-values")
        code, out, _ = run(*arguments, "--dry-run")
        assert code == 0 and "2 to add" in out and "unknown: " in out
        assert "2 added" in run(*arguments)[1]
        assert run("verify", tmp_path / "pool")[0] == 0


class TestCases:
    @pytest.fixture
    def files(self, tmp_path) -> Path:
        folder = tmp_path / "files"
        write_image(folder / "ct.nrrd", scan(1))
        write_seg_nrrd(folder / "ct.seg.nrrd", labels() * (labels() < 3), GRID, SEGMENTS[:2])
        write_label_map(folder / "values.nii.gz", 4 * (labels() == 1) + 3 * (labels() == 2), GRID)
        return folder

    def test_add_takes_a_segmentation_by_its_codes(self, run, pool, files):
        arguments = ("add", pool, files / "ct.nrrd", files / "ct.seg.nrrd", "--subject", "Ada Lovelace")
        code, out, _ = run(*arguments, "--dry-run")
        assert code == 0 and "ct: would be added for training" in out
        assert LabelledPool.open(pool).records() == ()
        code, out, _ = run(*arguments, "--name", "case_07", "--validation")
        assert code == 0 and "case_07: added for validation" in out
        (record,) = LabelledPool.open(pool).records()
        assert record.current.annotated == ("left_kidney", "liver")
        assert record.subject == LabelledPool.open(pool).subject_hash("Ada Lovelace")
        assert "Lovelace" not in "".join(path.read_text("utf-8") for path in pool.rglob("*.json"))

    def test_add_takes_a_label_map_with_the_pools_values(self, run, pool, files):
        code, _, _ = run("add", pool, files / "ct.nrrd", files / "values.nii.gz", "--annotated", "all")
        assert code == 0
        assert (
            LabelledPool.open(pool).record("ct").current.annotated == LabelledPool.open(pool).label_set.names
        )

    def test_add_stores_the_dice_of_the_proposal(self, run, pool, files):
        write_label_map(files / "proposal.nii.gz", 4 * (labels() == 1), GRID)
        arguments = ("add", pool, files / "ct.nrrd", files / "values.nii.gz", "--model", "liver@v3")
        assert run(*arguments, "--proposal", files / "proposal.nii.gz")[0] == 0
        revision = LabelledPool.open(pool).record("ct").current
        assert (revision.model, revision.proposal_dice) == ("liver@v3", {"left_kidney": 0.0, "liver": 1.0})
        assert run("list", pool)[1].splitlines()[1].split() == [
            *("ct", "training", "labelled", "2/4", "1", "liver@v3", "0.500")
        ]  # fmt: skip

    def test_add_refuses_what_it_cannot_map(self, run, pool, files):
        write_label_map(files / "values.nii.gz", 9 * labels(), GRID)
        code, _, err = run("add", pool, files / "ct.nrrd", files / "values.nii.gz")
        assert code == 1 and "not clear: 9, 18, 27" in err
        code, _, err = run("add", pool, files / "ct.nrrd", "--annotated", "liver")
        assert code == 1 and "nothing is annotated" in err

    def test_add_unlabelled_takes_files_and_folders(self, run, pool, files):
        (files / "more").mkdir()
        write_image(files / "more/x.nii.gz", scan(7))
        write_image(files / "more/y.nii.gz", scan(8))
        code, out, _ = run("add-unlabelled", pool, files / "ct.nrrd", files / "more")
        assert code == 0 and out.count("added, unlabelled") == 3
        code, out, _ = run("add-unlabelled", pool, files / "more")
        assert code == 0 and out.count("is there already") == 2
        code, _, err = run("add-unlabelled", pool, files / "values.nii.gz")
        assert code == 1 and "looks like a label map" in err

    def test_revise_keeps_what_was_annotated_before(self, run, pool, files):
        run("add", pool, files / "ct.nrrd", files / "ct.seg.nrrd")
        write_label_map(files / "values.nii.gz", 4 * (labels() == 1) + (labels() == 3), GRID)
        code, out, err = run("revise", pool, "ct", files / "values.nii.gz", "--dry-run")
        assert code == 0 and "would get revision 2" in out and "left_kidney counts as absent" in err
        assert run("revise", pool, "ct", files / "values.nii.gz")[0] == 0
        record = LabelledPool.open(pool).record("ct")
        assert [revision.annotated for revision in record.revisions] == [
            ("left_kidney", "liver"),
            ("spleen", "left_kidney", "liver"),
        ]

    def test_withdraw_and_restore(self, run, pool, files):
        run("add", pool, files / "ct.nrrd", files / "ct.seg.nrrd")
        assert run("withdraw", pool, "ct")[0] == 0
        assert "1 withdrawn" in run("list", pool)[1]
        code, out, _ = run("restore", pool, "ct")
        assert code == 0 and "labelled again" in out
        code, _, err = run("withdraw", pool, "none")
        assert code == 1 and "no case called none" in err

    def test_list_names_organs_and_marks_validation_by_a_models_proposal(self, run, pool, files):
        run("add", pool, files / "ct.nrrd", files / "ct.seg.nrrd", "--validation", "--model", "m@v1")
        code, out, _ = run("list", pool, "--organs")
        assert code == 0 and "ct: left_kidney, liver" in out
        assert "favours that model" in out and "1 labelled, of which 1 validate" in out

    def test_verify_fails_when_something_is_wrong(self, run, pool, files):
        run("add", pool, files / "ct.nrrd", files / "ct.seg.nrrd")
        code, out, _ = run("verify", pool)
        assert code == 0 and "1 case, all as it should be" in out
        next(pool.glob("labelsTr/*")).unlink()
        code, out, err = run("verify", pool)
        assert code == 1 and "problem: ct" in out and "1 problems in 1 case" in err

    @pytest.mark.parametrize("action", ["list", "verify"])
    def test_list_and_verify_tell_who_holds_which_lock(self, run, pool, files, action):
        from skcdf.lock import held

        run("add", pool, files / "ct.nrrd", files / "ct.seg.nrrd")
        assert "lock" not in run(action, pool)[1]
        path = pool / "locks" / "ct.lock"
        with held(path, "revising ct"):
            owner = json.loads(path.read_text("utf-8"))
            (line,) = (line for line in run(action, pool)[1].splitlines() if "lock" in line)
            assert line.startswith(f"lock: case ct: held by {owner['user']} on {owner['host']} (process ")
            assert line.endswith(f"since {owner['since']}: revising ct")
            path.write_text(json.dumps(owner | {"started": "long ago"}), "utf-8")
            assert "lock: case ct: stale, left by" in run(action, pool)[1]
            path.write_text(json.dumps(owner | {"host": "another computer"}), "utf-8")
            out = run(action, pool)[1]
            assert "cannot be known here" in out and f"skcdf pool unlock {pool} ct" in out
            path.write_text(json.dumps(owner | {"machine": "another container"}), "utf-8")
            assert "cannot be known here" in run(action, pool)[1]
            path.write_text("{", "utf-8")
            assert "lock: case ct: held by an unknown program since 2" in run(action, pool)[1]

    def test_list_tells_the_lock_of_the_whole_pool(self, run, pool):
        from skcdf.lock import held

        with held(pool / "locks" / ".pool.lock", "tidying up"):
            assert "lock: the whole pool: held by" in run("list", pool)[1]

    def test_unlock_removes_only_what_no_program_here_holds(self, run, pool, files):
        from skcdf.lock import held

        run("add", pool, files / "ct.nrrd", files / "ct.seg.nrrd")
        assert "not locked" in run("unlock", pool, "ct")[1]
        path = pool / "locks" / "ct.lock"
        with held(path, "testing"):
            code, _, err = run("unlock", pool, "ct")
            assert code == 1 and "which runs" in err and path.is_file()
            owner = json.loads(path.read_text("utf-8")) | {"host": "another computer"}
            path.write_text(json.dumps(owner), "utf-8")
            code, out, _ = run("unlock", pool, "ct")
            assert code == 0 and "another computer" in out and not path.is_file()
