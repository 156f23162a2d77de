"""A model as one file: it comes back as it was, and what else may lie in a .zip does no harm."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from stored_models import BUNDLE, FACTS, change_a_byte, save_run, snapshot

import skcdf
from skcdf import model_file
from skcdf.cli import main
from skcdf.errors import SkcdfError
from skcdf.model_file import add_model_file, unpacked_model, write_model_file
from skcdf.model_store import ModelStore
from skcdf.models import ModelBundle, save_bundle

Entries = dict[str, bytes]


@pytest.fixture
def packed(bundle: Path, tmp_path: Path) -> Path:
    return write_model_file(tmp_path / "model.zip", ModelBundle.load(bundle))


@pytest.fixture(scope="module")
def entries(bundle: Path) -> Entries:
    """What a model's folder holds, by name."""
    return {path.name: path.read_bytes() for path in bundle.iterdir()}


def pack(path: Path, content: Entries, packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def _with_weights(content: Entries, weights: bytes) -> Entries:
    """A model with other weights, and their checksum in its description."""
    description = json.loads(content["model.json"])
    description["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    return {"model.json": json.dumps(description).encode(), "weights.safetensors": weights}


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


class TestThereAndBack:
    def test_a_model_comes_back_bit_for_bit(self, packed: Path, bundle: Path, store: ModelStore) -> None:
        added = add_model_file(store, "liver", packed, parent="phantom13", note="from Bonn")
        assert (added.reference, added.state, added.parent) == ("liver@v1", "candidate", "phantom13")
        assert added.note == "from Bonn" and added.metrics == BUNDLE.metrics
        found = store.find("liver@v1")
        assert found.training == BUNDLE.training and found.label_set == BUNDLE.label_set
        assert torch.equal(found.load_weights()["w"], ModelBundle.load(bundle).load_weights()["w"])
        assert store.verify() == ()

    def test_the_same_model_makes_the_same_file(self, packed: Path, bundle: Path, tmp_path: Path) -> None:
        again = write_model_file(tmp_path / "again.zip", ModelBundle.load(bundle))
        assert again.read_bytes() == packed.read_bytes()

    def test_it_is_an_ordinary_zip_of_a_models_folder(self, packed: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(packed) as archive:
            assert archive.testzip() is None
            archive.extractall(tmp_path / "by hand")
        assert ModelBundle.load(tmp_path / "by hand" / BUNDLE.name).load_weights()

    @pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    @pytest.mark.parametrize("folder", ["", "My model/"])
    def test_a_folder_packed_by_hand_is_taken_too(self, packing, folder, entries, store, tmp_path) -> None:
        content = {f"{folder}{name}": data for name, data in entries.items()}
        content |= {f"{folder}README.md": b"hello", "__MACOSX/._model.json": b"\0", ".DS_Store": b"\0"}
        assert add_model_file(store, "liver", pack(tmp_path / "m.zip", content, packing)).version == "v1"
        assert {path.name for path in store.find("liver@v1").folder.iterdir()} == {*entries, "version.json"}

    def test_a_model_that_is_there_is_replaced_and_nothing_else(self, packed, bundle, tmp_path) -> None:
        before = packed.read_bytes()
        other = save_run(tmp_path / "other", 7)
        write_model_file(packed, ModelBundle.load(other))
        assert packed.read_bytes() != before
        (tmp_path / "thesis.zip").write_bytes(b"PK\x03\x04 mine")
        with pytest.raises(SkcdfError, match="is there already and is no model"):
            write_model_file(tmp_path / "thesis.zip", ModelBundle.load(bundle))
        assert (tmp_path / "thesis.zip").read_bytes() == b"PK\x03\x04 mine"

    def test_weights_that_were_changed_are_not_packed(self, tmp_path: Path) -> None:
        run = save_run(tmp_path / "run", 1)
        change_a_byte(run / "weights.safetensors")
        with pytest.raises(SkcdfError, match="the file was changed"):
            write_model_file(tmp_path / "m.zip", ModelBundle.load(run))
        assert everything(tmp_path) == {
            "run",
            *(f"run/{name}" for name in ("model.json", "weights.safetensors")),
        }


class TestRefused:
    @pytest.fixture
    def refuse(self, store: ModelStore, tmp_path: Path, bundle: Path):
        store.add("liver", bundle, **FACTS)

        def refuse(file: Path, words: str) -> None:
            """Sees a file refused in these words, and nothing changed anywhere."""
            before, around = snapshot(store.root), everything(tmp_path)
            with pytest.raises(SkcdfError, match=words) as raised:
                add_model_file(store, "liver", file)
            assert str(file) in raised.value.message and raised.value.hint
            assert snapshot(store.root) == before and everything(tmp_path) == around

        return refuse

    @pytest.mark.parametrize(
        "name",
        [
            *(
                "../evil",
                "a/../../evil",
                "/etc/evil",
                "..\\evil",
                "C:evil",
                "C:/evil",
                "\\\\server\\share\\evil",
            ),
            *("a//b", "./evil", "a/./b", "evil:stream"),
        ],
    )
    def test_names_that_lead_out(self, name, entries, refuse, tmp_path) -> None:
        refuse(pack(tmp_path / "m.zip", {**entries, name: b"x"}), "would lie elsewhere")

    def test_a_weights_name_that_leads_out(self, entries, refuse, tmp_path) -> None:
        description = json.loads(entries["model.json"])
        description["weights"]["file"] = "../weights.safetensors"
        changed = {**entries, "model.json": json.dumps(description).encode()}
        refuse(pack(tmp_path / "m.zip", changed), "weights.file must be a plain")

    def test_links(self, entries, refuse, tmp_path) -> None:
        for kind in (0o120777, 0o020666, 0o010644):
            with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
                for name, data in entries.items():
                    info = zipfile.ZipInfo(name)
                    info.external_attr = (kind if name == "weights.safetensors" else 0o100644) << 16
                    archive.writestr(info, data)
            refuse(tmp_path / "m.zip", "a link or a device")

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_two_files_of_one_name(self, entries, refuse, tmp_path) -> None:
        for name in ("model.json", "MODEL.JSON", "Weights.safetensors"):
            with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
                for each, data in (*entries.items(), (name, b"{}")):
                    archive.writestr(each, data)
            refuse(tmp_path / "m.zip", "two files of one name")

    def test_what_is_no_model(self, entries, refuse, tmp_path) -> None:
        weights, description = entries["weights.safetensors"], entries["model.json"]
        for content, words in (
            ({"letter.txt": b"x"}, "holds no model.json"),
            ({"a/model.json": description, "b/model.json": description}, "holds 2 model.json"),
            ({"a/b/model.json": description}, "more than one folder"),
            ({"model.json": description}, "lacks weights.safetensors"),
            ({"model.json": description, "other/weights.safetensors": weights}, "lacks weights.safetensors"),
            ({"model.json": b"{", "weights.safetensors": weights}, "cannot be read"),
            ({"model.json": b"[" * 100_000, "weights.safetensors": weights}, "cannot be read"),
            ({"model.json": b'{"schema": 7}', "weights.safetensors": weights}, "schema 7 is not known"),
            ({"model.json": b"\xff", "weights.safetensors": weights}, "cannot be read"),
            (_with_weights(entries, b"\x80 pickle"), "this is a Python pickle"),
            (_with_weights(entries, weights[:-8]), "the file is truncated"),
            (entries | {str(number): b"" for number in range(70)}, "holds 7. files"),
        ):
            refuse(pack(tmp_path / "m.zip", content), words)

    def test_weights_of_another_model(self, entries, refuse, tmp_path) -> None:
        changed = bytearray(entries["weights.safetensors"])
        changed[-1] ^= 1
        refuse(pack(tmp_path / "m.zip", {**entries, "weights.safetensors": bytes(changed)}), "not those of")

    def test_what_is_no_zip(self, refuse, tmp_path) -> None:
        for content in (b"", b"PK\x03\x04", b"<html>", os.urandom(500)):
            (tmp_path / "m.zip").write_bytes(content)
            refuse(tmp_path / "m.zip", "no whole .zip file")
        refuse(tmp_path / "none.zip", "no such file")
        (tmp_path / "folder.zip").mkdir()
        refuse(tmp_path / "folder.zip", "cannot be read")

    def test_a_file_cut_off_or_damaged_anywhere(self, packed: Path, refuse, tmp_path: Path) -> None:
        whole = packed.read_bytes()
        for length in (10, len(whole) // 2, len(whole) - 30):
            (tmp_path / "m.zip").write_bytes(whole[:length])
            refuse(tmp_path / "m.zip", "no whole .zip file")
        middle = bytearray(whole)
        middle[len(whole) // 2] ^= 0xFF
        (tmp_path / "m.zip").write_bytes(middle)
        refuse(tmp_path / "m.zip", "no whole .zip file")

    def test_one_that_is_encrypted_or_packed_uncommonly(self, entries, refuse, tmp_path) -> None:
        refuse(pack(tmp_path / "m.zip", entries, zipfile.ZIP_LZMA), "uncommon way")
        file = pack(tmp_path / "m.zip", entries)
        content = bytearray(file.read_bytes())
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = content.find(signature)
            while at >= 0:
                content[at + offset] |= 1
                at = content.find(signature, at + 4)
        file.write_bytes(content)
        refuse(file, "encrypted")

    def test_a_disk_without_room(self, packed, refuse, monkeypatch) -> None:
        usage = type("Usage", (), {"free": 20_000})()
        monkeypatch.setattr(model_file.shutil, "disk_usage", lambda _folder: usage)
        with (
            pytest.raises(SkcdfError, match="MiB are free there"),
            unpacked_model(packed, packed.parent / "x"),
        ):
            pass
        assert not (packed.parent / "x").exists()

    def test_a_line_that_cannot_be(self, packed, store) -> None:
        before = everything(store.root)
        with pytest.raises(SkcdfError, match="cannot be a model's name"):
            add_model_file(store, "../evil", packed)
        assert everything(store.root) == before


class TestBombs:
    @pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "README.md"])
    def test_zeros_without_end_are_not_unpacked(self, name, entries, store, tmp_path) -> None:
        content = {**entries, name: bytes(64 * 2**20)}
        file = pack(tmp_path / "m.zip", content, zipfile.ZIP_DEFLATED)
        tracemalloc.start()
        with pytest.raises(SkcdfError, match="GiB when unpacked"):
            add_model_file(store, "liver", file)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * 2**20 and everything(store.root) == {"store.json"}

    def test_what_says_less_of_its_size_than_is_true(self, entries, store, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(model_file, "LARGEST_RATIO", 10**9)
        file = pack(
            tmp_path / "m.zip", {**entries, "weights.safetensors": bytes(2**22)}, zipfile.ZIP_DEFLATED
        )
        content = bytearray(file.read_bytes())
        small = struct.pack("<I", 1000)
        central = content.rfind(b"PK\x01\x02", 0, content.rfind(b"weights.safetensors"))
        content[central + 24 : central + 28] = small
        file.write_bytes(content)
        with pytest.raises(SkcdfError):
            add_model_file(store, "liver", file)
        assert everything(store.root) == {"store.json"}

    def test_what_says_more_than_any_model_has(self, entries, store, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(model_file, "LARGEST_WEIGHTS", 1000)
        with pytest.raises(SkcdfError, match="when unpacked"):
            add_model_file(store, "liver", pack(tmp_path / "m.zip", entries))


NAMES = st.text(st.sampled_from("ab./\\:~ ä\x01CON-_"), min_size=1, max_size=12)


@pytest.mark.slow
@given(names=st.lists(st.one_of(NAMES, st.text(min_size=1, max_size=8)), max_size=5), prefix=st.booleans())
@example(names=["../model.json"], prefix=False)
@example(names=["a/../../x"], prefix=True)
@example(names=["\x00"], prefix=False)  # read as no name at all
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_whatever_names_a_zip_holds_nothing_lies_elsewhere(
    names, prefix, entries: Entries, tmp_path_factory: pytest.TempPathFactory
) -> None:
    around = tmp_path_factory.mktemp("around")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in (*entries.items(), *((name, b"x") for name in names)):
            info = zipfile.ZipInfo("x")
            info.filename = f"m/{name}" if prefix else name  # as it is, without what zipfile would tidy up
            archive.writestr(info, data)
    (around / "in").mkdir()
    (around / "in" / "m.zip").write_bytes(buffer.getvalue())
    store = ModelStore.open(around / "in" / "store", create=True)
    before = everything(around)
    try:
        add_model_file(store, "liver", around / "in" / "m.zip")
    except SkcdfError:
        assert everything(around) == before
    else:
        line = "in/store/liver"
        version = {"model.json", "weights.safetensors", "version.json"}
        new = {
            line,
            f"{line}/versions",
            f"{line}/versions/v1",
            *(f"{line}/versions/v1/{each}" for each in version),
        }
        assert everything(around) - before == new


@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_are_changed_a_model_is_whole_or_refused(data, packed: Path, tmp_path: Path) -> None:
    content = bytearray(packed.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "changed.zip").write_bytes(content)
    try:
        with unpacked_model(tmp_path / "changed.zip", tmp_path / "unpacked") as bundle:
            assert bundle.load_weights()["w"].numel() == 4096
    except SkcdfError:
        pass
    assert not (tmp_path / "unpacked").exists()


class TestCommands:
    def test_out_of_one_store_and_into_another(
        self, bundle: Path, three: ModelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file, there = tmp_path / "liver.zip", tmp_path / "there"
        assert main(["model", "export", "liver@v2", str(file), "--store", str(three.root)]) == 0
        assert main(["model", "add", str(there), "leber", str(file), "--note", "aus Bonn"]) == 0
        assert "leber@v1: added as a candidate" in capsys.readouterr().out
        added = ModelStore.open(there)
        assert added.versions("leber")[0].note == "aus Bonn" and added.verify() == ()

    def test_half_precision_and_another_name(self, bundle: Path, tmp_path: Path) -> None:
        whole, half = tmp_path / "whole.zip", tmp_path / "half.zip"
        assert main(["model", "export", str(bundle), str(whole)]) == 0
        assert main(["model", "export", str(bundle), str(half), "--half", "--name", "small"]) == 0
        assert half.stat().st_size < 0.75 * whole.stat().st_size
        with unpacked_model(half, tmp_path / "x") as small, unpacked_model(whole, tmp_path / "y") as large:
            assert (small.name, large.name) == ("small", BUNDLE.name)

    def test_what_only_training_needs_goes_along_when_it_is_asked_for(self, tmp_path: Path) -> None:
        weights = {"segments": torch.randn(64), "teaches": torch.randn(64)}
        save_bundle(tmp_path / "m", BUNDLE, weights, inference_keys=["segments"])
        for arguments, names in ([], {"segments"}), (["--whole"], {"segments", "teaches"}):
            file = tmp_path / "m.zip"
            assert main(["model", "export", str(tmp_path / "m"), str(file), *arguments]) == 0
            with unpacked_model(file, tmp_path / "x") as model:
                assert set(model.load_weights()) == names
                assert set(model.load_weights(inference_only=True)) == {"segments"}

    def test_a_file_that_is_no_model_makes_no_store(self, tmp_path: Path, capsys) -> None:
        (tmp_path / "m.zip").write_bytes(b"no zip")
        assert main(["model", "add", str(tmp_path / "store"), "liver", str(tmp_path / "m.zip")]) == 1
        assert "no whole .zip file" in capsys.readouterr().err
        assert everything(tmp_path) == {"m.zip"}


@pytest.fixture
def run_python() -> Callable[[str], str]:
    def run(code: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_packing_and_unpacking_need_no_torch(
    packed: Path, tmp_path: Path, run_python: Callable[[str], str]
) -> None:
    code = f"""
import sys
sys.modules["torch"] = sys.modules["safetensors"] = None
from skcdf.model_file import add_model_file, write_model_file
from skcdf.model_store import ModelStore
store = ModelStore.open({str(tmp_path / "s")!r}, create=True)
add_model_file(store, "liver", {str(packed)!r})
print(write_model_file({str(tmp_path / "again.zip")!r}, store.find("liver@v1")).name)
"""
    assert run_python(code) == "again.zip\n"
