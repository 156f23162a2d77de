"""The command that compares versions of a store on a pool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from threshold_models import HALF_SPLEEN, LABELS

from skcdf.cli import main
from skcdf.image import read_image, read_label_map
from skcdf.model_store import ModelStore
from skcdf.pool import LabelledPool


@pytest.fixture
def single_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_command_compares_versions_of_a_store_on_a_pool(
    model, validation, tmp_path, single_thread, capsys
) -> None:
    pool = LabelledPool.create(tmp_path / "pool", LABELS, "CT")
    for number, case in enumerate(validation):
        pool.add_case(
            case.name,
            read_image(case.image),
            read_label_map(case.label),
            subject=str(number),
            split="validation",
            model="toy v1" if number == 0 else None,
        )
    store = ModelStore.open(tmp_path / "store", create=True)
    for bundle in (model("old", HALF_SPLEEN), model("new")):
        store.add("toy", bundle.folder, parent=None, data_hash="d", config={})
    store.promote("toy", "v1")
    command = ["model", "compare", "toy", "toy@v2", "--data", str(pool.root), "--store", str(store.root)]
    options = ["--device", "cpu", "--precision", "fp32", "--output", str(tmp_path / "table.json")]
    assert main([*command, *options]) == 0
    said = capsys.readouterr().out
    assert "before: toy v1\nafter:  toy v2" in said
    assert "Recommendation: promote." in said
    assert "toy v1 (1)" in said
    assert (tmp_path / "table.json").is_file()
    assert len(list((store.root / ".scores").iterdir())) == 8
    assert store.lines() == ("toy",)
    command[2:4] = ["none", "toy@v2"]
    assert main([*command, *options]) == 0
    assert "There is no model before" in capsys.readouterr().out
