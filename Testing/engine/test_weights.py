"""Weights files: tensors come back as they were, and nothing else is opened, let alone run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from skcdf.errors import SkcdfError
from skcdf.weights import check_header, read_weights, write_weights


class Bomb:
    """Unpickling it makes the file ``exploded``."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_weights(tmp_path / "weights.safetensors", {"a": torch.arange(6.0), "b": torch.ones(2, 3)})
    return tmp_path / "weights.safetensors"


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class TestWhatIsWritten:
    def test_tensors_that_share_memory_come_back(self, path: Path) -> None:
        shared = torch.arange(6.0).reshape(2, 3)
        write_weights(path, {"a": shared, "b": shared, "c": shared.T})
        loaded = read_weights(path)
        assert all(torch.equal(loaded[name], shared) for name in "ab")
        assert torch.equal(loaded["c"], shared.T)

    def test_others_may_read_it_as_any_new_file(self, path: Path) -> None:
        write_weights(path, {"a": torch.zeros(3)})
        put(usual := path.with_name("usual"), b"")
        assert path.stat().st_mode == usual.stat().st_mode

    def test_writing_leaves_the_tensors_alone(self, path: Path) -> None:
        tensor = torch.nn.Parameter(torch.full((3,), 1 / 3))
        write_weights(path, {"a": tensor}, half=True)
        assert tensor.dtype == torch.float32
        assert tensor.requires_grad

    def test_every_kind_of_real_number_comes_back_as_float32(self, path: Path) -> None:
        kinds = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
        write_weights(path, {str(kind): torch.ones(2, dtype=kind) for kind in kinds})
        assert {tensor.dtype for tensor in read_weights(path).values()} == {torch.float32}

    @pytest.mark.parametrize(("value", "half"), [(float("inf"), False), (float("nan"), True), (1e6, True)])
    def test_numbers_that_are_not_finite_are_refused(self, path: Path, value: float, half: bool) -> None:
        with pytest.raises(SkcdfError, match="weights bias are not finite"):
            write_weights(path, {"bias": torch.tensor([value])}, half)

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SkcdfError, match=r"nowhere.*cannot be written"):
            write_weights(tmp_path / "nowhere" / "w.safetensors", {"a": torch.ones(1)})


class TestFilesThatAreNoWeights:
    def test_a_pickle_is_refused_and_never_run(self, path: Path) -> None:
        bomb = pickle.dumps(Bomb(path.parent / "exploded"))
        with pytest.raises(SkcdfError, match=r"weights\.safetensors: this is a Python pickle"):
            read_weights(put(path, bomb))
        assert not (path.parent / "exploded").exists()

    def test_a_renamed_pytorch_checkpoint_is_refused_and_never_run(self, path: Path) -> None:
        torch.save({"bomb": Bomb(path.parent / "exploded")}, path)
        with pytest.raises(SkcdfError, match=r"zip archive, as PyTorch writes \.pth"):
            read_weights(path)
        assert not (path.parent / "exploded").exists()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "not a safetensors file"),
            (b"short", "not a safetensors file"),
            (b"weights go here, said the web page" * 9, "not a safetensors file"),
            (b"<!DOCTYPE html><html>404</html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
            (b"\x1f\x8b" + bytes(64), "gzip"),
            (b"\xff" * 64, "not a safetensors file"),
            ((10).to_bytes(8, "little") + b'{"a": 123}', "not a safetensors file"),
            ((2).to_bytes(8, "little") + b"[]", "not a safetensors file"),
        ],
    )
    def test_a_foreign_file_is_called_by_its_name(self, path: Path, content: bytes, message: str) -> None:
        with pytest.raises(SkcdfError, match=message):
            check_header(put(path, content))

    @pytest.mark.parametrize("first_byte", [0x80, 0x3C])
    def test_weights_whose_first_byte_is_another_formats_mark_are_read(
        self, path: Path, first_byte: int
    ) -> None:
        header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        header = header.ljust(first_byte if first_byte > len(header) else first_byte + 256)
        content = len(header).to_bytes(8, "little") + header + bytes(4)
        assert content[0] == first_byte
        assert read_weights(put(path, content))["a"].tolist() == [0.0]

    @pytest.mark.parametrize("keep", [4, 9, 40, -1])
    def test_a_truncated_file_is_refused(self, path: Path, keep: int) -> None:
        with pytest.raises(SkcdfError, match=r"truncated|not a safetensors"):
            check_header(put(path, path.read_bytes()[:keep]))

    def test_appended_bytes_are_refused(self, path: Path) -> None:
        with pytest.raises(SkcdfError, match="bytes where its header announces"):
            check_header(put(path, path.read_bytes() + b"PK\x03\x04"))

    def test_a_header_that_lies_about_shapes_is_refused(self, path: Path) -> None:
        header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}).encode()
        with pytest.raises(SkcdfError, match="not a valid safetensors file"):
            read_weights(put(path, len(header).to_bytes(8, "little") + header + bytes(4)))

    def test_another_checksum_is_refused(self, path: Path) -> None:
        with pytest.raises(SkcdfError, match="checksum"):
            read_weights(path, "0" * 64)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SkcdfError, match=r"gone\.safetensors: the weights are missing"):
            read_weights(tmp_path / "gone.safetensors")
