"""The model store: versions stay as they are, one of them is in use, and no kill leaves anything between."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skcdf
from skcdf import files
from skcdf.cli import main
from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.model_parts import Accuracy
from skcdf.model_store import ModelStore, find_version_or_model
from skcdf.models import Expectations, ModelBundle, NetworkDescription, TrainingRecord, save_bundle

KILLS = 100 if os.environ.get("SKCDF_SOAK") == "1" else 5
ADDED_BY_EACH = 50 if os.environ.get("SKCDF_SOAK") == "1" else 5
WHOLE = (1.0, 1000.0)
BUNDLE = ModelBundle(
    name="run",
    version="2026.01.31",
    title="Toy",
    description="",
    network=NetworkDescription("vnet", {"filters": 2, "classes": 3}),
    channels=("CT",),
    patch_size=(32, 32, 32),
    label_set=LabelSet.from_names("toy", ["liver", "spleen"]),
    preprocessing={"kind": "physical_spacing"},
    expects=Expectations("CT", (-1000.0, 1000.0), (WHOLE, WHOLE, WHOLE), (WHOLE, WHOLE, WHOLE), "abdomen"),
    training=TrainingRecord(
        "skcdf", 9, 0, 1, 0, "toys", "2026-01-31", "0.1.0", True, image_hashes=("a" * 64,)
    ),
    licence="Apache-2.0",
    metrics=(Accuracy("liver", "dice", 0.5, None, 1, "toys"),),
)
FACTS = {"parent": None, "data_hash": "d" * 64, "config": {}}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as a training leaves it."""
    return _save(tmp_path_factory.mktemp("runs") / "run", 0)


def _save(folder: Path, seed: int) -> Path:
    weights = {"w": torch.randn(4096, generator=torch.Generator().manual_seed(seed))}
    save_bundle(folder, BUNDLE, weights)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore.open(tmp_path / "store", create=True)


@pytest.fixture
def three(store: ModelStore, bundle: Path) -> ModelStore:
    """A store with three candidates of one model."""
    for _ in range(3):
        store.add("liver", bundle, **FACTS)
    return store


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _states(store: ModelStore, name: str = "liver") -> dict[str, str]:
    return {each.version: each.state for each in store.versions(name)}


def _age(path: Path, seconds: float = 7200.0) -> None:
    for each in (*path.rglob("*"), path):
        os.utime(each, (time.time() - seconds,) * 2)


def _change_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


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
        before = _snapshot(bundle)
        store.add("liver", bundle, **FACTS)
        found = store.find("liver@v1")
        assert (found.name, found.version, found.training) == ("liver", "v1", BUNDLE.training)
        assert found.folder is not None
        assert (found.folder / "weights.safetensors").read_bytes() == before["weights.safetensors"]
        assert torch.equal(found.load_weights()["w"], ModelBundle.load(bundle).load_weights()["w"])
        assert _snapshot(bundle) == before

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
        run = _save(tmp_path / "run", 1)
        _change_a_byte(run / "weights.safetensors")
        before = _snapshot(three.root)
        with pytest.raises(SkcdfError, match=r"run.weights\.safetensors: the checksum is not that"):
            three.add("liver", run, **FACTS)
        assert _snapshot(three.root) == before

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
        before = _snapshot(store.root)
        with pytest.raises(SkcdfError, match="settings are no JSON"):
            store.add("liver", bundle, parent=None, data_hash="d", config=config)
        assert _snapshot(store.root) == before

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
            _age(path)
        os.utime(young, (0, 0))  # its content is new: a long copy is at work
        three.add("liver", bundle, **FACTS)
        assert not old.exists() and not file.exists()
        assert young.exists()

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
    def test_on_a_full_disk_tells_and_leaves_the_store_as_it_was(
        self, three: ModelStore, tmp_path: Path
    ) -> None:
        run = _save(tmp_path / "run", 1)
        before = _snapshot(three.root)
        code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
store = ModelStore.open({str(three.root)!r})
try:
    store.add("liver", {str(run)!r}, **FACTS)
except SkcdfError as error:
    print(error)
"""
        said = _child(code).communicate(timeout=60)[0]
        assert "weights.safetensors: cannot be" in said and "File too large" in said and "disk space" in said
        assert _snapshot(three.root) == before
        assert three.add("liver", run, **FACTS).version == "v4"


class TestPromote:
    def test_nothing_is_promoted_at_first(self, three: ModelStore) -> None:
        assert three.promoted("liver") is None
        with pytest.raises(SkcdfError, match=r"no version is promoted.*liver@v1, liver@v2, liver@v3"):
            three.find("liver")
        assert set(_states(three).values()) == {"candidate"}

    def test_takes_one_into_use_and_retires_the_one_before(self, three: ModelStore) -> None:
        assert three.promote("liver", "v2").state == "promoted"
        three.promote("liver", "v3")
        assert _states(three) == {"v1": "candidate", "v2": "retired", "v3": "promoted"}
        assert three.find("liver").version == "v3"
        promoted = ModelStore.open(three.root).promoted("liver")
        assert promoted is not None and promoted.version == "v3"

    def test_of_what_is_promoted_changes_nothing(self, three: ModelStore) -> None:
        three.promote("liver", "v1")
        three.promote("liver", "v2")
        before = _snapshot(three.root)
        three.promote("liver", "v2")
        assert _snapshot(three.root) == before

    def test_takes_a_retired_one_again(self, three: ModelStore) -> None:
        for version in ("v1", "v2", "v1"):
            three.promote("liver", version)
        assert _states(three) == {"v1": "promoted", "v2": "retired", "v3": "candidate"}
        three.retire("liver", "v3")
        three.promote("liver", "v3")
        assert _states(three)["v3"] == "promoted"

    def test_refuses_a_damaged_version_and_keeps_the_one_in_use(self, three: ModelStore) -> None:
        three.promote("liver", "v1")
        _change_a_byte(three.root / "liver" / "versions" / "v2" / "weights.safetensors")
        with pytest.raises(SkcdfError, match=r"v2.weights\.safetensors: the checksum"):
            three.promote("liver", "v2")
        assert three.find("liver").version == "v1"

    @pytest.mark.parametrize(
        ("name", "version"), [("liver", "v9"), ("liver", "../v1"), ("lung", "v1"), ("..", "v1")]
    )
    def test_refuses_what_is_not_there(self, name: str, version: str, three: ModelStore) -> None:
        with pytest.raises(SkcdfError, match="there is no"):
            three.promote(name, version)

    @pytest.mark.parametrize("code", [28, 30])
    def test_that_the_disk_refuses_leaves_the_old_one_in_use(
        self, code: int, three: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        three.promote("liver", "v1")
        before = _snapshot(three.root)

        def refuse(source: Path, target: Path) -> None:
            raise OSError(code, os.strerror(code), str(target))

        with monkeypatch.context() as patch:
            patch.setattr(files.os, "replace", refuse)
            with pytest.raises(SkcdfError, match=r"current\.json: cannot be written"):
                three.promote("liver", "v2")
        assert _snapshot(three.root) == before
        assert three.promote("liver", "v2").state == "promoted"

    def test_outlasts_a_virus_scanner(self, store: ModelStore, bundle: Path, monkeypatch) -> None:
        """Windows refuses for an instant to rename a folder whose files are being read."""
        really_rename, refused = os.rename, []

        def refuse(source: Path, target: Path) -> None:
            if len(refused) < 3:
                refused.append(target)
                raise PermissionError(13, "Access is denied", str(target))
            really_rename(source, target)

        monkeypatch.setattr(files.os, "rename", refuse)
        assert store.add("liver", bundle, **FACTS).version == "v1"
        assert len(refused) == 3


class TestRollBack:
    def test_goes_back_one_by_one_and_says_when_there_is_none(self, three: ModelStore) -> None:
        for version in ("v1", "v2", "v3"):
            three.promote("liver", version)
        assert [three.roll_back("liver").version for _ in range(2)] == ["v2", "v1"]
        before = _snapshot(three.root)
        with pytest.raises(SkcdfError, match="no version was promoted before; v1 is the first one"):
            three.roll_back("liver")
        assert _snapshot(three.root) == before

    def test_without_any_promotion_says_so(self, three: ModelStore) -> None:
        with pytest.raises(SkcdfError, match="none was promoted yet"):
            three.roll_back("liver")

    def test_passes_over_what_was_retired(self, three: ModelStore) -> None:
        for version in ("v1", "v2", "v1", "v3"):
            three.promote("liver", version)
        three.retire("liver", "v1")
        assert three.roll_back("liver").version == "v2"
        assert not three.state("liver").before

    def test_refuses_a_damaged_version_until_it_is_retired(self, three: ModelStore) -> None:
        for version in ("v1", "v2", "v3"):
            three.promote("liver", version)
        shutil.rmtree(three.root / "liver" / "versions" / "v2")
        with pytest.raises(SkcdfError, match=r"no version v2.*Retire v2 to roll back past it"):
            three.roll_back("liver")
        three.retire("liver", "v2")
        assert three.roll_back("liver").version == "v1"

    def test_the_promoted_version_cannot_be_retired(self, three: ModelStore) -> None:
        three.promote("liver", "v1")
        with pytest.raises(SkcdfError, match="v1 is promoted and cannot be retired"):
            three.retire("liver", "v1")
        assert _states(three)["v1"] == "promoted"


operations = st.one_of(
    st.tuples(st.sampled_from(["promote", "retire", "try"]), st.integers(0, 3)),
    st.tuples(st.just("roll back"), st.just(0)),
)


@given(st.lists(operations, max_size=14))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_changes_keeps_what_must_hold(
    four: ModelStore, changes: list[tuple[str, int]]
) -> None:
    store = four
    (store.root / "liver" / "current.json").unlink(missing_ok=True)
    ever, given_up = set(), set()
    for action, index in changes:
        version, before = f"v{index + 1}", store.state("liver")
        if action == "promote":
            store.promote("liver", version)
            assert store.state("liver").promoted == version
            ever.add(version)
            given_up.discard(version)
        elif (
            action == "try"
        ):  # promoting and rolling back at once changes nothing, but for the first promotion
            if before.promoted in (None, version):
                continue
            store.promote("liver", version)
            given_up.discard(version)
            ever.add(version)
            assert store.roll_back("liver").version == before.promoted
            assert store.state("liver").before == before.before
        elif action == "retire":
            with contextlib.nullcontext() if version != before.promoted else pytest.raises(SkcdfError):
                store.retire("liver", version)
                given_up.add(version)
            assert store.state("liver").promoted == before.promoted
        else:
            with contextlib.nullcontext() if before.before else pytest.raises(SkcdfError):
                assert store.roll_back("liver").version == before.before[-1]
        states = _states(store)
        now = store.state("liver")
        assert list(states) == ["v1", "v2", "v3", "v4"]
        assert [v for v, state in states.items() if state == "promoted"] == ([now.promoted] if ever else [])
        assert {v for v, state in states.items() if state == "retired"} == (ever | given_up) - {now.promoted}
        assert not given_up & {now.promoted, *now.before}
        assert set(now.before) <= ever
        if now.promoted:
            assert store.find("liver").version == now.promoted
    assert [each.action for each in store.state("liver").history].count("promote") >= len(ever)


@pytest.fixture(scope="module")
def four(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """A store with four versions of one model, used again and again."""
    store = ModelStore.open(tmp_path_factory.mktemp("four") / "store", create=True)
    for _ in range(4):
        store.add("liver", bundle, **FACTS)
    return store


class TestDamage:
    @pytest.mark.parametrize(
        "content",
        [
            *("", "[]", "{", '{"schema": 1, "promoted": "v1", "retired": ["v1"]}', '{"schema": 1, "x": 0}'),
            '{"schema": 1, "history": [{"action": "promote", "version": "../../etc", "when": ""}]}',
        ],
    )
    def test_a_damaged_record_is_named_and_hinders_nothing_else(
        self, content: str, three: ModelStore, bundle: Path
    ) -> None:
        three.promote("liver", "v1")
        three.add("lung", bundle, **FACTS)
        record = three.root / "liver" / "current.json"
        record.write_text(content)
        for action in (three.find, three.versions, three.promoted, three.roll_back):
            with pytest.raises(SkcdfError, match=r"current\.json.*delete it"):
                action("liver")
        assert record.read_text() == content
        assert three.lines() == ("liver", "lung")
        assert three.find("liver@v2").version == "v2"
        assert three.promote("lung", "v1").state == "promoted"
        assert three.add("liver", bundle, **FACTS).version == "v4"
        (problem,) = three.verify()
        assert "current.json" in problem
        record.unlink()
        assert set(_states(three).values()) == {"candidate"}

    def test_that_the_promoted_version_is_gone_is_told_with_the_ways_out(self, three: ModelStore) -> None:
        three.promote("liver", "v1")
        three.promote("liver", "v2")
        shutil.rmtree(three.root / "liver" / "versions" / "v2")
        for action in (three.find, three.promoted):
            with pytest.raises(SkcdfError, match="promoted version v2 is missing") as caught:
                action("liver")
            assert "Restore" in caught.value.hint and "roll back" in caught.value.hint
        assert three.roll_back("liver").version == "v1"
        assert three.find("liver").version == "v1"

    def test_that_the_only_promoted_version_is_gone_names_those_that_can_be_promoted(
        self, three: ModelStore
    ) -> None:
        three.promote("liver", "v2")
        shutil.rmtree(three.root / "liver" / "versions" / "v2")
        with pytest.raises(SkcdfError, match="promoted version v2 is missing") as caught:
            three.find("liver")
        assert "roll back" not in caught.value.hint and "liver@v1, liver@v3" in caught.value.hint
        assert three.promote("liver", "v3").state == "promoted"

    @pytest.mark.parametrize("file", ["version.json", "model.json", "weights.safetensors"])
    @pytest.mark.parametrize("how", ["missing", "broken"])
    def test_a_damaged_version_is_named_and_the_others_are_used(
        self, file: str, how: str, three: ModelStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        damaged = three.root / "liver" / "versions" / "v2" / file
        if how == "missing":
            damaged.unlink()
        else:
            damaged.write_bytes(damaged.read_bytes()[:-3])
        (problem,) = three.verify()
        assert str(Path("versions", "v2")) in problem
        with pytest.raises(SkcdfError, match="v2"):
            three.promote("liver", "v2")
        with caplog.at_level(logging.WARNING):
            assert {"v1", "v3"} <= set(_states(three))
        if file == "version.json":
            assert "v2" in caplog.text and "v2" not in _states(three)
        assert three.promote("liver", "v3").state == "promoted"

    def test_verify_finds_changed_weights_missing_and_misplaced_versions(
        self, three: ModelStore, bundle: Path
    ) -> None:
        for version in ("v1", "v2", "v3"):
            three.promote("liver", version)
        assert three.verify() == ()
        versions = three.root / "liver" / "versions"
        _change_a_byte(versions / "v1" / "weights.safetensors")
        shutil.move(versions / "v2", versions / "v7")
        problems = three.verify()
        assert len(problems) == 3
        assert any("v1" in each and "checksum" in each for each in problems)
        assert any("v2: is missing" in each for each in problems)
        assert any("v7: calls itself liver v2" in each for each in problems)

    def test_verify_finds_two_lines_that_windows_takes_for_one(self, three: ModelStore) -> None:
        if (three.root / "LIVER").exists():
            pytest.skip("this disk does not tell capitals apart")
        shutil.copytree(three.root / "liver", three.root / "LIVER")
        assert sum("in capitals only" in each for each in three.verify()) == 2

    def test_what_is_no_store_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SkcdfError, match=r"no model store, it lacks store\.json"):
            ModelStore.open(tmp_path)
        (tmp_path / "thesis.txt").touch()
        with pytest.raises(SkcdfError, match="empty folder"):
            ModelStore.open(tmp_path, create=True)
        (tmp_path / "store.json").write_text('{"schema": 2}')
        with pytest.raises(SkcdfError, match="schema 2 is not known"):
            ModelStore.open(tmp_path)

    def test_a_drive_that_is_gone_is_told(self, three: ModelStore, bundle: Path) -> None:
        shutil.rmtree(three.root)
        for action in (
            three.lines,
            three.verify,
            lambda: three.add("liver", bundle, **FACTS),
            lambda: three.promote("liver", "v1"),
            lambda: three.find("liver"),
        ):
            with pytest.raises(SkcdfError, match="Check that the drive is there"):
                action()

    def test_no_name_leads_out_of_the_store(self, three: ModelStore) -> None:
        for reference in ("../store/liver@v1", "liver@../v1", "liver@", "@v1", "", "liver@v01"):
            with pytest.raises(SkcdfError):
                three.find(reference)


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
    assert _child(code).communicate(timeout=60)[0] == "v1 liver ()\n"


CHILD = """
import sys
from skcdf.errors import SkcdfError
from skcdf.model_store import ModelStore
FACTS = {"parent": None, "data_hash": "d", "config": {"long": list(range(200))}}
"""


def _child(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parent.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _said_until_killed(child: subprocess.Popen[str], chance: random.Random) -> list[str]:
    """Kills a working child at a random instant; what it had said is what it had done."""
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(chance.uniform(0, 0.06))
    child.kill()
    rest = child.stdout.read()
    child.wait()
    child.stdout.close()
    return [line for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]


def test_a_killed_adding_leaves_whole_versions_only(store: ModelStore, bundle: Path) -> None:
    store.add("liver", bundle, **FACTS)
    code = f"""
import uuid
store = ModelStore.open({str(store.root)!r})
while True:
    print(store.add("liver", {str(bundle)!r}, **FACTS).version, flush=True)
    print(store.add(uuid.uuid4().hex, {str(bundle)!r}, **FACTS).name, flush=True)
"""
    chance = random.Random(1)
    for _ in range(KILLS):
        versions, lines = [each.version for each in store.versions("liver")], store.lines()
        said = [line.strip() for line in _said_until_killed(_child(code), chance)]
        store = ModelStore.open(store.root)
        now, begun = [each.version for each in store.versions("liver")], set(store.lines()) - set(lines)
        assert now[: len(versions) + len(said[::2])] == versions + said[::2]
        assert set(said[1::2]) <= begun
        # One may be in place and not said.
        assert len(now) + len(begun) - len(versions) <= len(said) + 1
        assert store.add("next", bundle, **FACTS).name == "next"  # no lock of the dead is in the way
    assert store.verify() == ()
    for leftover in store.root.glob(".*.new"):
        _age(leftover)
    store.add("liver", bundle, **FACTS)
    assert not list(store.root.glob(".*.new"))


def test_a_killed_promoting_leaves_the_old_state_or_the_new_one(three: ModelStore) -> None:
    store = three
    changes = ("v1", "v2", "v3", "back", "v1", "back", "retire")
    code = f"""
store = ModelStore.open({str(store.root)!r})
while True:
    for change in {changes!r}:
        if change == "back":
            store.roll_back("liver")
        elif change == "retire":
            store.retire("liver", "v3")
        else:
            store.promote("liver", change)
        print(change, flush=True)
"""

    def after(state, count: int):
        for index in range(count):
            change = changes[index % len(changes)]
            if change == "back":
                state = state.roll_back("liver")
            else:
                state = state.retire("v3", "liver") if change == "retire" else state.promote(change)
        return state.promoted, state.before, state.retired

    chance = random.Random(2)
    for _ in range(KILLS):
        begin = store.state("liver")
        done = len(_said_until_killed(_child(code), chance))
        store = ModelStore.open(store.root)
        now = store.state("liver")
        assert (now.promoted, now.before, now.retired) in (after(begin, done), after(begin, done + 1))
        assert store.find("liver").version == now.promoted
        assert store.promote("liver", "v1").state == "promoted"  # no lock of the dead is in the way
    assert store.verify() == ()


@pytest.fixture
def two_at_once() -> Iterator:
    """Runs one program in two processes that begin together; what they printed."""

    def run(code: str) -> list[str]:
        children = [_child(f"{code.replace('NUMBER', str(number))}") for number in range(2)]
        for child in children:
            assert child.stdout is not None and child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        said = [child.communicate(timeout=300)[0] for child in children]
        assert [child.returncode for child in children] == [0, 0]
        return said

    return run


READY = 'print("ready", flush=True)\nsys.stdin.readline()\n'


@pytest.mark.parametrize("names", [("liver", "liver"), ("liver", "Liver")])
def test_two_processes_that_begin_a_line_at_once_lose_nothing(
    names: tuple[str, str], store: ModelStore, bundle: Path, two_at_once
) -> None:
    said = two_at_once(
        f"""
store = ModelStore.open({str(store.root)!r})
{READY}
try:
    for _ in range({ADDED_BY_EACH}):
        print(store.add({names!r}[NUMBER], {str(bundle)!r}, **FACTS).version)
except SkcdfError as error:
    print("refused", error)
"""
    )
    added = [line for each in said for line in each.splitlines()]
    (line,) = store.lines()
    found = [each.version for each in store.versions(line)]
    if names[0] == names[1]:
        assert sorted(added) == sorted(found) and len(found) == 2 * ADDED_BY_EACH
    else:
        assert sum("in capitals only" in each for each in added) == 1
        assert len(found) == ADDED_BY_EACH
    assert store.verify() == ()


def test_two_processes_that_promote_at_once_lose_no_change(three: ModelStore, two_at_once) -> None:
    two_at_once(
        f"""
store = ModelStore.open({str(three.root)!r})
{READY}
for _ in range({ADDED_BY_EACH}):
    store.promote("liver", ("v1", "v2")[NUMBER])
    store.promote("liver", "v3")
"""
    )
    state = three.state("liver")
    promotions = [change.version for change in state.history]
    # Every promotion is there but for those that found their version promoted by the other process.
    assert all(a != b for a, b in itertools.pairwise(promotions))
    assert promotions == [*state.before, state.promoted]
    assert {promotions.count(version) for version in ("v1", "v2")} == {ADDED_BY_EACH}
    assert not list(three.root.rglob("*.lock"))


class TestCommands:
    def test_lead_from_a_training_to_a_promoted_model_and_back(
        self, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        store = str(tmp_path / "store")
        assert main(["model", "add", store, "liver", str(bundle), "--note", "first"]) == 0
        assert main(["model", "add", store, "liver", str(bundle), "--parent", "liver@v1"]) == 0
        assert main(["model", "promote", store, "liver", "v1"]) == 0
        assert main(["model", "promote", store, "liver", "v2"]) == 0
        assert main(["model", "versions", store]) == 0
        said = capsys.readouterr().out
        assert "v2 is promoted instead of v1" in said
        rows = [line.split() for line in said.splitlines()]
        assert ["v1", "retired"] in [row[:2] for row in rows] and ["v2", "promoted"] in [
            row[:2] for row in rows
        ]
        assert "liver@v1" in said and "first" in said and "0.500 (n = 1)" in said
        assert main(["model", "rollback", store, "liver"]) == 0
        assert main(["model", "retire", store, "liver", "v2"]) == 0
        assert main(["model", "verify", store]) == 0
        said = capsys.readouterr().out
        assert "back to v1 instead of v2" in said and "good, 2 versions" in said
        found = ModelStore.open(store).versions("liver")
        assert [each.state for each in found] == ["promoted", "retired"]
        assert found[1].config["method"] == "skcdf" and len(found[1].data_hash) == 64

    def test_end_with_an_error_that_says_what_to_do(
        self, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        store = str(tmp_path / "store")
        assert main(["model", "versions", store]) == 1
        main(["model", "add", store, "liver", str(bundle)])
        assert main(["model", "rollback", store, "liver"]) == 1
        assert main(["model", "promote", store, "liver", "v2"]) == 1
        said = capsys.readouterr().err
        assert (
            "it lacks store.json" in said and "none was promoted yet" in said and "hint: It has v1." in said
        )
        _change_a_byte(tmp_path / "store" / "liver" / "versions" / "v1" / "weights.safetensors")
        assert main(["model", "verify", store]) == 1
        shown = capsys.readouterr()
        assert "v1" in shown.out and "error:" in shown.err and "1 problem." in shown.err


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
