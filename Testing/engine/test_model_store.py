"""The model store: versions are added whole, keep what is known of them, and are found again."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from stored_models import BUNDLE, FACTS, age, change_a_byte, save_run, snapshot, start_child

from skcdf.errors import SkcdfError
from skcdf.model_parts import Accuracy
from skcdf.model_store import ModelStore, find_version_or_model
from skcdf.models import ModelBundle


class TestAdd:
    def test_gives_back_what_is_known_of_the_version(self, store: ModelStore, bundle: Path) -> None:
        config = {"method": "skcdf", "patch": (32, 32, 32), "nested": {"rate": 0.1, "none": None}}
        metrics = [Accuracy("spleen", "dice", 0.9, 0.01, 4, "pinned")]
        added = store.add(
            "liver",
            bundle,
            parent="phantom13",
            data_hash="d1",
            config=config,
            note="erste, für später",
            metrics=metrics,
        )
        assert (added.name, added.version, added.state) == ("liver", "v1", "candidate")
        assert (added.parent, added.data_hash, added.note) == ("phantom13", "d1", "erste, für später")
        assert added.config == {**config, "patch": [32, 32, 32]}
        assert added.metrics == tuple(metrics)
        assert ModelStore.open(store.root).versions("liver") == (added,)

    def test_takes_the_metrics_that_the_model_states_when_none_are_given(
        self, store: ModelStore, bundle: Path
    ) -> None:
        assert store.add("liver", bundle, **FACTS).metrics == BUNDLE.metrics

    def test_keeps_the_weights_bit_for_bit_and_calls_the_copy_by_its_place(
        self, store: ModelStore, bundle: Path
    ) -> None:
        before = snapshot(bundle)
        store.add("liver", bundle, **FACTS)
        found = store.find("liver@v1")
        assert (found.name, found.version, found.training) == ("liver", "v1", BUNDLE.training)
        assert found.folder is not None
        assert (found.folder / "weights.safetensors").read_bytes() == before["weights.safetensors"]
        assert torch.equal(found.load_weights()["w"], ModelBundle.load(bundle).load_weights()["w"])
        assert snapshot(bundle) == before

    def test_counts_on_and_never_gives_a_number_twice(self, three: ModelStore, bundle: Path) -> None:
        three.retire("liver", "v3")
        shutil.rmtree(three.root / "liver" / "versions" / "v3")
        assert three.add("liver", bundle, **FACTS).version == "v4"
        assert [each.version for each in three.versions("liver")] == ["v1", "v2", "v4"]

    def test_lists_ten_versions_in_the_order_of_their_numbers(self, store: ModelStore, bundle: Path) -> None:
        added = [store.add("liver", bundle, **FACTS).version for _ in range(11)]
        assert [each.version for each in store.versions("liver")] == added

    def test_refuses_weights_that_are_not_those_of_the_description(
        self, three: ModelStore, tmp_path: Path
    ) -> None:
        run = save_run(tmp_path / "run", 1)
        change_a_byte(run / "weights.safetensors")
        before = snapshot(three.root)
        with pytest.raises(SkcdfError, match=r"run.weights\.safetensors: the checksum is not that"):
            three.add("liver", run, **FACTS)
        assert snapshot(three.root) == before

    @pytest.mark.parametrize(
        "name", ["", "../x", "a/b", "a@v1", ".hidden", "CON", "nul.1", "x.", "ä", "a" * 65, "Store.json"]
    )
    def test_refuses_a_name_that_no_folder_should_have(
        self, name: str, store: ModelStore, bundle: Path
    ) -> None:
        with pytest.raises(SkcdfError, match="cannot be a model's name"):
            store.add(name, bundle, **FACTS)
        assert store.lines() == ()

    def test_refuses_a_name_that_differs_in_capitals_only(self, three: ModelStore, bundle: Path) -> None:
        with pytest.raises(SkcdfError, match=r"it has liver.*Call it liver"):
            three.add("Liver", bundle, **FACTS)
        assert three.lines() == ("liver",)

    def test_does_not_stumble_over_a_line_whose_beginning_was_interrupted(
        self, store: ModelStore, bundle: Path
    ) -> None:
        (store.root / "Liver" / "versions").mkdir(parents=True)
        assert store.lines() == ()
        assert store.add("liver", bundle, **FACTS).reference == "liver@v1"
        assert store.lines() == ("liver",)

    @pytest.mark.parametrize("config", [{"a": float("nan")}, {"a": {1, 2}}, {1: "a"}, {"a": Path("b")}])
    def test_refuses_settings_that_json_cannot_hold(
        self, config: dict, store: ModelStore, bundle: Path
    ) -> None:
        before = snapshot(store.root)
        with pytest.raises(SkcdfError, match="settings are no JSON"):
            store.add("liver", bundle, parent=None, data_hash="d", config=config)
        assert snapshot(store.root) == before

    def test_sweeps_what_killed_processes_left_but_not_what_is_young(
        self, three: ModelStore, bundle: Path
    ) -> None:
        old, young = three.root / ".0a.new", three.root / ".0b.new"
        for folder in (old, young):
            folder.mkdir()
            (folder / "weights.safetensors").write_bytes(b"half")
        file = three.root / "liver" / ".0c.tmp.json"
        file.write_text("{")
        for path in (old, file):
            age(path)
        os.utime(young, (0, 0))  # its content is new: a long copy is at work
        three.add("liver", bundle, **FACTS)
        assert not old.exists() and not file.exists()
        assert young.exists()

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
    def test_on_a_full_disk_tells_and_leaves_the_store_as_it_was(
        self, three: ModelStore, tmp_path: Path
    ) -> None:
        run = save_run(tmp_path / "run", 1)
        before = snapshot(three.root)
        code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
store = ModelStore.open({str(three.root)!r})
try:
    store.add("liver", {str(run)!r}, **FACTS)
except SkcdfError as error:
    print(error)
"""
        said = start_child(code).communicate(timeout=60)[0]
        assert "weights.safetensors: cannot be" in said and "File too large" in said and "disk space" in said
        assert snapshot(three.root) == before
        assert three.add("liver", run, **FACTS).version == "v4"


def test_a_name_is_looked_for_in_the_store_before_the_shipped_models(three: ModelStore, bundle: Path) -> None:
    three.add("phantom13", bundle, **FACTS)
    assert find_version_or_model("phantom13@v1", three).version == "v1"
    assert find_version_or_model("phantom13").training.method != ""
    assert find_version_or_model(bundle, three).name == "run"
    with pytest.raises(SkcdfError, match="no version is promoted"):
        find_version_or_model("phantom13", three)


def test_versions_are_handled_without_torch_and_the_other_heavy_packages(
    three: ModelStore, bundle: Path
) -> None:
    blocked = "torch", "nibabel", "safetensors", "tqdm", "slicer", "vtk", "qt", "ctk"
    code = f"""
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
store = ModelStore.open({str(three.root)!r})
store.add("liver", {str(bundle)!r}, **FACTS)
store.promote("liver", "v1")
store.promote("liver", "v4")
print(store.roll_back("liver").version, store.find("liver").name, store.verify())
"""
    assert start_child(code).communicate(timeout=60)[0] == "v1 liver ()\n"


def test_the_files_are_as_documented(three: ModelStore) -> None:
    three.promote("liver", "v1")
    three.promote("liver", "v2")
    record = json.loads((three.root / "liver" / "current.json").read_text("utf-8"))
    assert (record["schema"], record["promoted"], record["before"], record["retired"]) == (
        1,
        "v2",
        ["v1"],
        ["v1"],
    )
    assert [change["action"] for change in record["history"]] == ["promote", "promote"]
    version = json.loads((three.root / "liver/versions/v1/version.json").read_text("utf-8"))
    fields = {"schema", "parent", "data_hash", "config", "created", "note", "metrics"}
    assert version.keys() == fields
    assert {path.name for path in (three.root / "liver/versions/v1").iterdir()} == {
        "model.json",
        "version.json",
        "weights.safetensors",
    }
