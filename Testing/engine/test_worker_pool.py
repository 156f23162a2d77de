"""What a worker does for a labelled pool, in a process that has no torch at all."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seg_nrrd_files import KIDNEY, LEFT, LIVER, FileSegment, write_seg_nrrd
from small_scans import GEOMETRY, LABELS, ORGANS, drawn, scan, snapshot

from skcdf.errors import Cancelled, SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.pool import LabelledPool
from skcdf.worker_client import WorkerClient
from skcdf.worker_requests import parse_message

PATIENCE_S = 60.0
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from skcdf.cli import main
sys.exit(main(["worker"]))
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerClient]:
    script = tmp_path_factory.mktemp("worker") / "worker.py"
    script.write_text(WITHOUT_TORCH, encoding="utf-8")
    with WorkerClient([sys.executable, str(script)]) as client:
        assert client.hello["torch"] is None
        yield client


@pytest.fixture
def ask(worker: WorkerClient):
    def ask(name: str, /, **fields: Any) -> dict[str, Any]:
        """The result of a request; paths may be given as such."""
        texts = {key: str(value) if isinstance(value, Path) else value for key, value in fields.items()}
        return worker.result(worker.request(name, **texts), timeout_s=PATIENCE_S)

    return ask


@pytest.fixture
def pool(tmp_path: Path) -> LabelledPool:
    return LabelledPool.create(tmp_path / "pool", LABELS, "CT")


@pytest.fixture
def corrected(tmp_path: Path) -> dict[str, Path]:
    """A scan with its label map and the proposal that it came from, as files."""
    write_image(tmp_path / "scan.nrrd", scan(0))
    for name, label in (("label", drawn(1, 2, 3)), ("proposal", drawn(1, 2, 3, size=3))):
        write_label_map(tmp_path / f"{name}.nrrd", label.array, label.geometry)
    return {"image": tmp_path / "scan.nrrd", "label": tmp_path / "label.nrrd"}


class TestAdd:
    def test_a_preview_writes_nothing_and_is_what_comes(self, ask, pool, corrected, tmp_path) -> None:
        fields = {"pool": pool.root, "subject": "archive 4711", "model": "liver@v3", **corrected}
        before = snapshot(pool)
        preview = ask("pool_preview", **fields, proposal=tmp_path / "proposal.nrrd")
        assert snapshot(pool) == before
        done = ask("pool_add", **fields, proposal=tmp_path / "proposal.nrrd")
        assert {**preview, "id": 0, "request": ""} == {**done, "id": 0, "request": ""}
        assert (done["action"], done["case"], done["split"]) == ("add", "case_001", "training")
        assert done["proposal_dice"] == dict.fromkeys(ORGANS, 0.8) and set(done["volumes_ml"]) == set(ORGANS)
        assert pool.verify().problems == ()

    def test_a_scan_that_is_there_is_revised(self, ask, pool, corrected) -> None:
        pool.add_case("first", scan(0), None, subject="first")
        done = ask("pool_add", pool=pool.root, subject="a", **corrected)
        assert (done["action"], done["case"], done["proposal_dice"]) == ("revise", "first", None)
        assert pool.record("first").state == "labelled"
        assert ask("pool_add", pool=pool.root, subject="a", **corrected)["unchanged"]
        assert len(pool.record("first").revisions) == 1

    def test_name_split_organs_and_sides_are_the_users(self, ask, pool, corrected, tmp_path) -> None:
        swapped = drawn(1, 2, 3, swapped=True)
        write_label_map(tmp_path / "label.nrrd", swapped.array, swapped.geometry)
        fields = {"pool": pool.root, "subject": "a", "name": "mine", "split": "validation", **corrected}
        with pytest.raises(SkcdfError, match="right_kidney"):
            ask("pool_add", **fields)
        done = ask("pool_add", **fields, accept_sides=True, annotated=[*ORGANS])
        assert (done["case"], done["split"]) == ("mine", "validation") and done["warnings"]

    def test_a_segmentation_of_slicer_is_read_by_its_codes(self, ask, tmp_path) -> None:
        labels = LabelSet.from_names("two", ["liver", "left_kidney"])
        coded = (labels.labels[0], replace(labels.labels[1]))
        known = {each.name: each for each in LabelSet.load("synapse13").labels}
        coded = tuple(
            replace(each, code=known[each.name].code, modifier=known[each.name].modifier) for each in coded
        )
        pool = LabelledPool.create(tmp_path / "coded", replace(labels, labels=coded), "CT")
        write_image(tmp_path / "ct.nrrd", scan(0))
        segments = (FileSegment("Segment_1", 1, 0, LIVER), FileSegment("Segment_2", 3, 0, KIDNEY, LEFT))
        write_seg_nrrd(tmp_path / "ct.seg.nrrd", drawn(1, 3).array, GEOMETRY, segments)
        fields = {"image": tmp_path / "ct.nrrd", "label": tmp_path / "ct.seg.nrrd"}
        done = ask("pool_add", pool=pool.root, subject="a", **fields)
        assert all(done["volumes_ml"][name] > 0 for name in ("liver", "left_kidney"))

    def test_what_does_not_fit_is_an_error_and_the_pool_is_as_it_was(self, ask, pool, corrected, tmp_path):
        before = snapshot(pool)
        for changed, words in (
            ({"subject": ""}, "no subject"),
            ({"subject": "a", "image": tmp_path / "no.nrrd"}, "no.nrrd"),
            ({"subject": "a", "annotated": ["spleen"]}, "not among the annotated"),
            ({"subject": "a", "annotated": ["heart"]}, "heart"),
            ({"subject": "a", "name": "../x"}, "cannot be a case's name"),
            ({"subject": "a", "pool": tmp_path}, "pool"),
        ):
            with pytest.raises(SkcdfError, match=words):
                ask("pool_add", **{"pool": pool.root, **corrected, **changed})
        assert snapshot(pool) == before


class TestAddUnlabelled:
    def test_files_and_folders_are_told_one_by_one(self, ask, pool, tmp_path) -> None:
        for number in range(3):
            write_image(tmp_path / "scans" / f"Mustermann_{number}.nii.gz", scan(number))
        write_image(tmp_path / "again.nrrd", scan(1))
        write_image(tmp_path / "new.mha", scan(9))
        label = drawn(1, 2, 3)
        write_label_map(tmp_path / "scans" / "labels.nii.gz", label.array, label.geometry)
        (tmp_path / "broken.nii").write_bytes(b"no scan")
        names = ("scans", "again.nrrd", "new.mha", "broken.nii")
        done = ask("pool_add_unlabelled", pool=pool.root, images=[str(tmp_path / name) for name in names])
        assert done["added"] == ["case_001", "case_002", "case_003", "case_004"]
        assert done["present"] == ["case_002"]
        assert [Path(each["image"]).name for each in done["refused"]] == ["labels.nii.gz", "broken.nii"]
        assert "label map" in done["refused"][0]["reason"]
        assert not any("Mustermann" in path for path in snapshot(pool)), "a file's name may be a patient's"
        assert {record.state for record in pool.records()} == {"unlabelled"}

    def test_scans_of_one_person_stay_together_where_it_is_said(self, ask, pool, tmp_path) -> None:
        images = []
        for number in range(3):
            write_image(tmp_path / f"{number}.nrrd", scan(number))
            images.append(str(tmp_path / f"{number}.nrrd"))
        ask("pool_add_unlabelled", pool=pool.root, images=images, subjects=["x", "x", ""])
        subjects = [record.subject for record in pool.records()]
        assert subjects[0] == subjects[1] == pool.subject_hash("x") != subjects[2]

    def test_a_person_who_validates_is_refused(self, ask, pool, tmp_path) -> None:
        pool.add_case("val", scan(5), drawn(1, 2, 3), subject="x", split="validation")
        write_image(tmp_path / "ct.nrrd", scan(0))
        done = ask("pool_add_unlabelled", pool=pool.root, images=[str(tmp_path / "ct.nrrd")], subjects=["X"])
        assert done["added"] == [] and "validates" in done["refused"][0]["reason"]

    def test_a_folder_without_scans_is_an_error(self, ask, pool, tmp_path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(SkcdfError, match="no scans were found"):
            ask("pool_add_unlabelled", pool=pool.root, images=[str(tmp_path / "empty")])


class TestImport:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        folder = tmp_path / "source"
        for number, name in enumerate("ab"):
            write_image(folder / f"{name}.nrrd", scan(number))
            segments = (FileSegment("spleen", 1), FileSegment("Niere", 2))
            write_seg_nrrd(folder / f"{name}.seg.nrrd", drawn(1, 2).array, GEOMETRY, segments)
        write_image(folder / "c.nrrd", scan(2))
        return folder

    def test_what_is_not_clear_is_asked_for_with_a_mapping_to_fill_in(self, ask, pool, source) -> None:
        asked = ask("pool_import", pool=pool.root, source=source, dry_run=True)
        assert asked["undecided"] == ["Niere"] and asked["entries"] == []
        (blocker,) = asked["blockers"]
        assert blocker["code"] == "undecided" and "Niere" in blocker["message"] and "error: " in asked["text"]
        assert {"label": "Niere", "target": "?", "reason": ""} in asked["labels"]
        assert asked["mapping"]["labels"] == {"Niere": "?", "spleen": "spleen"}
        with pytest.raises(SkcdfError, match="Niere"):
            ask("pool_import", pool=pool.root, source=source)
        assert pool.records() == ()

    def test_a_dry_run_writes_nothing_and_the_real_one_does_what_it_said(self, ask, pool, source) -> None:
        mapping = ask("pool_import", pool=pool.root, source=source, dry_run=True)["mapping"]
        mapping["labels"]["Niere"] = "right_kidney"
        before = snapshot(pool)
        dry = ask("pool_import", pool=pool.root, source=source, mapping=mapping, dry_run=True)
        assert snapshot(pool) == before and "dry run, nothing was written: 3 to add" in dry["text"]
        real = ask("pool_import", pool=pool.root, source=source, mapping=mapping)
        assert real["entries"] == dry["entries"] and "3 added" in real["text"]
        assert [(each["name"], each["action"]) for each in real["entries"]] == [
            *(("a", "add"), ("b", "add"), ("c", "add"))
        ]
        assert real["entries"][0]["annotated"] == ["spleen", "right_kidney"]
        assert real["entries"][0]["volumes_ml"]["spleen"] > 0 and real["undecided"] == []
        assert len(pool.records()) == 3
        again = ask("pool_import", pool=pool.root, source=source, mapping=mapping)
        assert {each["action"] for each in again["entries"]} == {"there"}

    def test_another_label_map_becomes_a_revision_when_that_is_wanted(self, ask, pool, source) -> None:
        mapping = {"schema": 1, "labels": {"Niere": "right_kidney"}}
        ask("pool_import", pool=pool.root, source=source, mapping=mapping)
        segments = (FileSegment("spleen", 1), FileSegment("Niere", 2))
        write_seg_nrrd(source / "a.seg.nrrd", drawn(1, 2, size=3).array, GEOMETRY, segments)
        told = ask("pool_import", pool=pool.root, source=source, mapping=mapping)
        assert told["entries"][0]["action"] == "differs" and told["entries"][0]["reason"]
        done = ask("pool_import", pool=pool.root, source=source, mapping=mapping, revise=True)
        assert done["entries"][0]["action"] == "revise" and len(pool.record("a").revisions) == 2

    @pytest.mark.parametrize(
        ("mapping", "words"),
        [
            ({"labels": {}}, "schema is missing"),
            ({"schema": 1, "labels": {"Niere": 3}}, "labels.Niere must be a text"),
            ({"schema": 1, "labels": {"Niere": "heart"}}, "heart"),
            ({"schema": 1, "lables": {}}, "lables is not known"),
        ],
    )
    def test_a_mapping_that_is_none_is_told_with_its_field(self, mapping, words, ask, pool, source) -> None:
        with pytest.raises(SkcdfError, match=words):
            ask("pool_import", pool=pool.root, source=source, mapping=mapping, dry_run=True)


@pytest.mark.slow
class TestCancel:
    @pytest.fixture
    def scans(self, tmp_path: Path) -> list[str]:
        """Scans large enough that a cancel comes in the middle of them."""
        geometry = Geometry((160, 160, 120), (1.0, 1.0, 1.0))
        paths = []
        for number in range(8):
            voxels = np.random.default_rng(number).integers(-1000, 1000, geometry.shape).astype(np.int16)
            write_image(tmp_path / f"{number}.nrrd", Image(voxels, geometry))
            paths.append(str(tmp_path / f"{number}.nrrd"))
        return paths

    def test_between_files_it_ends_and_what_was_complete_stays(self, worker, pool, scans) -> None:
        request = worker.request("pool_add_unlabelled", pool=str(pool.root), images=scans)
        for event in worker.events(request, PATIENCE_S):
            if event["event"] == "progress" and event["fraction"] >= 0.25:
                break
        assert worker.cancel(request), "it obeyed"
        assert [event["event"] for event in worker.events(request)][-1] == "cancelled"
        names = [record.name for record in pool.records()]
        assert 2 <= len(names) < len(scans)
        assert pool.verify().problems == () and not list((pool.root / "incoming").iterdir())
        assert not [path for path in (pool.root / "locks").iterdir() if path.suffix == ".lock"]
        rest = worker.result(worker.request("pool_add_unlabelled", pool=str(pool.root), images=scans))
        assert rest["present"] == names and len(pool.records()) == len(scans)

    def test_one_case_is_in_the_pool_or_not(self, worker, pool, scans, tmp_path) -> None:
        label = np.ones((120, 160, 160), np.uint8)
        write_label_map(tmp_path / "label.nrrd", label, Geometry((160, 160, 120), (1.0, 1.0, 1.0)))
        fields = {"pool": str(pool.root), "image": scans[0], "label": str(tmp_path / "label.nrrd")}
        for pause in (0.0, 0.05, 0.2, 0.5):
            before = snapshot(pool)
            request = worker.request("pool_add", **fields, subject="a", annotated=["spleen"])
            time.sleep(pause)
            worker.cancel(request)
            try:
                worker.result(request, timeout_s=PATIENCE_S)
            except Cancelled:
                assert snapshot(pool) == before
            assert pool.verify().problems == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"request": "pool_add", "pool": "", "image": "i", "label": "l"}, "pool must not be empty"),
        ({"request": "pool_add", "pool": "p", "image": "i"}, "label is missing"),
        (
            {"request": "pool_preview", "pool": "p", "image": "i", "label": "l", "split": "test"},
            "split must be",
        ),
        ({"request": "pool_add_unlabelled", "pool": "p", "images": []}, "images must not be empty"),
        ({"request": "pool_add_unlabelled", "pool": "p", "images": [""]}, "images must not hold an empty"),
        (
            {"request": "pool_add_unlabelled", "pool": "p", "images": ["a", "b"], "subjects": ["x"]},
            "subjects must be as many as images",
        ),
        ({"request": "pool_import", "pool": "p", "source": "s", "mapping": []}, "mapping must be an object"),
        ({"request": "pool_import", "pool": "p", "source": "s\0"}, "character that no name can have"),
    ],
)
def test_a_request_that_is_none_is_told_with_its_field(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SkcdfError, match=words):
        parse_message(json.dumps({"id": 1, **fields}).encode())
