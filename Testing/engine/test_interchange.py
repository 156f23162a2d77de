"""Checkpoints of the published SKCDF program come in and go out unchanged, and nothing in them is ever run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from skcdf.cli import main
from skcdf.device import choose_device
from skcdf.errors import SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image, read_label_map, write_image
from skcdf.inference import Predictor
from skcdf.interchange import export_published, import_published, read_checkpoint
from skcdf.labels import LabelSet
from skcdf.models import ModelBundle, save_bundle
from skcdf.networks.decoupled import SKCDF, DecoupledVNet
from skcdf.networks.published_skcdf import from_published, to_published
from skcdf.networks.vnet import VNet
from skcdf.preprocessing import PreprocessingPlan

PATCH = (32, 32, 64)


def checkpoint(classes: int = 14, patch: tuple[int, int, int] = PATCH, filters: int = 2) -> dict[str, Tensor]:
    """Random weights under the published names; running statistics as after some training."""
    torch.manual_seed(0)
    state = SKCDF(1, classes, patch, filters, consistent_heads=False).state_dict()
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            tensor.normal_(std=0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif name.endswith("num_batches_tracked"):
            tensor.fill_(7)
    return to_published(state, patch)


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    def write(content: Any, name: str = "best_model.pth") -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


class TestImport:
    def test_the_model_holds_every_weight_and_marks_those_of_inference(self, put, tmp_path):
        tensors = checkpoint()
        model = import_published(put(tensors), tmp_path / "model")
        loaded, expected = model.load_weights(), from_published(tensors)
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[name], expected[name]) for name in expected)
        part = DecoupledVNet(**model.network.arguments)
        part.load_state_dict(model.load_weights(inference_only=True))  # strict: not one more, not one less

    def test_the_description_says_what_is_known_and_what_is_not(self, put, tmp_path):
        model = import_published(put(checkpoint()), tmp_path / "model")
        assert model.network.name == "skcdf"
        assert model.network.arguments["consistent_heads"] is False
        assert model.patch_size == PATCH
        assert PreprocessingPlan.from_json(model.preprocessing, "m") == PreprocessingPlan.published()
        assert (model.inference.overlap, model.inference.blend) == (0.75, "constant")
        assert (model.training.compat, model.training.method) == ("published", "skcdf")
        assert re.search("not stated; best_model.pth, SHA-256 [0-9a-f]{64}", model.training.data)
        assert "None stated" in model.licence
        assert model.expects.modality == "CT"

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
            lambda tensors: {"epoch": 3, "state_dict": tensors, "optimizer": {"lr": 0.3}},
            lambda tensors: {"model": {f"module.{name}": each for name, each in tensors.items()}},
            lambda tensors: {"model_state_dict": tensors},
            lambda tensors: {"net": tensors},
            lambda tensors: {
                name: torch.nn.Parameter(t) if t.is_floating_point() else t for name, t in tensors.items()
            },
        ],
        ids=["parallel", "state_dict", "model", "model_state_dict", "net", "parameters"],
    )
    def test_usual_wrappings_are_seen_through(self, put, wrap):
        tensors = checkpoint()
        found = read_checkpoint(put(wrap(tensors)))
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)

    @pytest.mark.parametrize(("classes", "labels"), [(14, "synapse13"), (16, "amos15")])
    def test_the_number_of_classes_names_the_published_label_set(
        self, put, tmp_path, capsys, classes, labels
    ):
        file = put(checkpoint(classes))
        assert main(["model", "import", "--method", "skcdf", str(file), str(tmp_path / "m")]) == 0
        assert f"organs of {labels}, because it tells {classes} classes apart" in capsys.readouterr().out
        assert ModelBundle.load(tmp_path / "m").label_set == LabelSet.load(labels)

    def test_ones_own_label_set_and_name_are_taken(self, put, tmp_path, capsys, label_set):
        label_set.save(tmp_path / "mine.json")
        file, folder = put(checkpoint(4)), tmp_path / "m"
        labels = ["--labels", str(tmp_path / "mine.json")]
        assert main(["model", "import", str(file), str(folder), *labels, "--name", "mine"]) == 0
        assert "note:" not in capsys.readouterr().out
        model = ModelBundle.load(folder)
        assert (model.name, model.label_set) == ("mine", label_set)


class TestWhatIsRefused:
    def refused(self, file: Path, match: str, labels: LabelSet | None = None) -> SkcdfError:
        with pytest.raises(SkcdfError, match=match) as caught:
            import_published(file, file.parent / "model", labels)
        assert str(file) in caught.value.message
        assert caught.value.hint
        assert not (file.parent / "model").exists()
        return caught.value

    @pytest.mark.parametrize("version", ["2.2.0", "2.9.1+cu128", "1.13.1"])
    def test_a_torch_whose_safe_loader_is_not_safe(self, put, monkeypatch, version):
        file = put(checkpoint())
        monkeypatch.setattr(torch, "__version__", version)
        error = self.refused(file, "its safe loader is not safe")
        assert "torch 2.10 or newer" in error.hint

    @pytest.mark.parametrize("version", ["2.10.0", "2.13.0+cpu", "3.0.0a0"])
    def test_newer_ones_are_not(self, put, monkeypatch, version):
        file = put({"a": torch.zeros(1)})
        monkeypatch.setattr(torch, "__version__", version)
        assert list(read_checkpoint(file)) == ["a"]

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_file_that_would_run_code_and_does_not(self, tmp_path, zipped):
        file, trace = tmp_path / "evil.pth", tmp_path / "exploded"
        content = {**checkpoint(), "bomb": Bomb(trace)}
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        self.refused(file, r"holds Python objects \(\S+\) besides tensors; nothing of it was run")
        assert not trace.exists()

    @pytest.mark.parametrize(
        "content", [b"", b"not a checkpoint", b"PK\x03\x04broken", b"\x80\x02broken", bytes(1000)], ids=repr
    )
    def test_what_is_no_torch_file(self, tmp_path, content):
        file = tmp_path / "weights.pth"
        file.write_bytes(content[:40] if len(content) < 100 else content)
        self.refused(file, "no PyTorch checkpoint that can be opened safely, or it is damaged")

    def test_half_a_file_a_missing_one_and_a_folder(self, put, tmp_path):
        file = put(checkpoint())
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        self.refused(file, "damaged")
        self.refused(tmp_path / "none.pth", "there is no such checkpoint")
        self.refused(tmp_path, "there is no such checkpoint")

    @pytest.mark.parametrize(
        "content", [[1, 2], {}, {"epoch": 3, "lr": 0.1}, {"state_dict": 3}, torch.zeros(3)]
    )
    def test_what_holds_no_state_dict(self, put, content):
        self.refused(put(content), "holds no state dict of tensors")

    def test_tensors_that_are_no_plain_arrays(self, put):
        self.refused(
            put({**checkpoint(), "sparse": torch.eye(3).to_sparse()}), "holds no state dict of tensors"
        )

    def test_the_weights_of_another_network(self, put):
        self.refused(
            put(VNet(1, 14, 2).state_dict()), r"not the weights of SKCDF: encoder\.block_one.* is missing"
        )

    def test_a_missing_tensor_and_an_unknown_one_by_name(self, put):
        tensors = checkpoint()
        lacking = {name: each for name, each in tensors.items() if name != "decoder_l.out_conv9_abc.bias"}
        self.refused(put(lacking), r"lacks decoder_l\.out_conv9_abc\.bias\.")
        self.refused(put({**tensors, "encoder.extra": torch.zeros(1)}), r"holds, against .* encoder\.extra\.")
        without_decoder = {name: each for name, each in tensors.items() if not name.startswith("decoder_l")}
        self.refused(put(without_decoder), r"lacks decoder_l\.\S+ and \d+ more")

    def test_a_wrong_shape_by_name(self, put):
        tensors = {**checkpoint(), "encoder.block_two.conv.0.bias": torch.zeros(5)}
        self.refused(put(tensors), r"encoder\.block_two\.conv\.0\.bias is 5, and must be 4")

    @pytest.mark.parametrize(
        ("name", "tensor", "match"),
        [
            ("encoder.block_one.conv.0.weight", torch.zeros(2, 1, 3, 3), "not 3-D"),
            ("encoder.block_one.conv.0.weight", torch.zeros(0, 1, 3, 3, 3), "its attention has not 2 heads"),
            ("cross_attention_global.attn.q.weight", torch.zeros(()), "its attention has not 2 heads"),
            ("cross_attention_global.attn.q.weight", torch.zeros(96, 32), "its attention has not 2 heads"),
            (
                "cross_attention_global.token_learner.proj.weight",
                torch.zeros(6, 1, 1, 2, 3),
                "multiples of 32",
            ),
        ],
    )
    def test_shapes_that_no_network_has(self, put, name, tensor, match):
        self.refused(put({**checkpoint(), name: tensor}), f"not the weights of SKCDF: .*{match}")

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_numbers_that_are_not_finite(self, put, number):
        tensors = checkpoint()
        tensors["decoder_u.out_conv9.bias"][3] = number
        self.refused(put(tensors), r"decoder_u\.out_conv9\.bias holds numbers that are not finite")

    def test_classes_that_are_not_those_of_the_label_set(self, put):
        file = put(checkpoint(14))
        self.refused(
            file,
            "14 classes apart, background included, but label set amos15 has 16",
            LabelSet.load("amos15"),
        )
        error = self.refused(
            put(checkpoint(5)), "5 classes apart, background included; no published network does"
        )
        assert "--labels" in error.hint

    def test_more_than_one_input_channel(self, put):
        torch.manual_seed(0)
        state = SKCDF(2, 14, PATCH, 2, consistent_heads=False).state_dict()
        self.refused(put(to_published(state, PATCH)), "takes 2 input channels")

    def test_a_name_that_no_model_can_have(self, put, tmp_path):
        with pytest.raises(SkcdfError, match="must be letters"):
            import_published(put(checkpoint()), tmp_path / "my model")


class TestExport:
    def test_what_went_in_comes_out_but_for_what_nothing_uses(self, put, tmp_path):
        tensors, file = checkpoint(), tmp_path / "out" / "again.pth"
        import_published(put(tensors), tmp_path / "m")
        assert main(["model", "export", str(tmp_path / "m"), str(file), "--format", "published"]) == 0
        back = torch.load(file, weights_only=True)
        assert type(back) is dict and back.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert back[name].dtype == tensor.dtype and back[name].shape == tensor.shape
            assert torch.equal(back[name], tensor)

    def test_importing_what_was_exported_gives_the_same_model(self, put, tmp_path):
        first = import_published(put(checkpoint()), tmp_path / "first")
        export_published(first, tmp_path / "again.pth")
        second = import_published(tmp_path / "again.pth", tmp_path / "second")
        assert second.network == first.network
        assert second.weights is not None and first.weights is not None
        assert second.weights.sha256 == first.weights.sha256

    def test_a_plain_copy_lacks_what_only_training_needs(self, put, tmp_path):
        import_published(put(checkpoint()), tmp_path / "m")
        assert main(["model", "export", str(tmp_path / "m"), str(tmp_path / "small")]) == 0
        with pytest.raises(SkcdfError, match=r"small: lacks decoder_u\.heads\.abc.*inference part only"):
            export_published(ModelBundle.load(tmp_path / "small"), tmp_path / "no.pth")
        assert not (tmp_path / "no.pth").exists()

    def test_another_network_and_consistent_heads_are_refused(self, save_model, label_set, tmp_path):
        plan = PreprocessingPlan.published()
        arguments = {"channels": 1, "classes": 4, "filters": 1}
        vnet = save_model(VNet(**arguments), "vnet", arguments, plan, label_set)
        with pytest.raises(SkcdfError, match="is a vnet network, not SKCDF"):
            export_published(vnet, tmp_path / "no.pth")
        arguments |= {"patch_size": [32, 32, 32]}
        corrected = save_model(SKCDF(**arguments), "skcdf", arguments, plan, label_set)
        with pytest.raises(SkcdfError, match="reads its attention heads as it writes them"):
            export_published(corrected, tmp_path / "no.pth")

    def test_options_of_model_folders_are_refused_for_checkpoints(self, put, tmp_path, capsys):
        import_published(put(checkpoint()), tmp_path / "m")
        command = ["model", "export", str(tmp_path / "m"), str(tmp_path / "no.pth"), "--format", "published"]
        assert main([*command, "--half"]) == 1
        assert "--half, --name and --whole are for models" in capsys.readouterr().err


class TestSegmenting:
    @pytest.fixture
    def scan(self) -> Image:
        """Soft blobs on exactly the published grid, so that nothing is resampled."""
        rng = np.random.default_rng(0)
        coarse = torch.from_numpy(rng.normal(100, 200, (1, 1, 10, 20, 20)))
        array = torch.nn.functional.interpolate(coarse, (80, 160, 160), mode="trilinear")[0, 0].numpy()
        return Image(array.astype(np.int16), Geometry((160, 160, 80), (2.0, 2.0, 3.0)))

    @pytest.fixture
    def volume(self, scan) -> Tensor:
        window = np.clip(scan.array, -75, 275).astype(np.float32)
        return torch.from_numpy((window - window.min()) / (window.max() - window.min()))

    @pytest.fixture
    def network(self, volume) -> SKCDF:
        """Fit to the scan as far as to see something in it: it finds all 14 classes."""
        torch.manual_seed(0)
        network = SKCDF(1, 14, (64, 128, 128), 2, dropout=0, consistent_heads=False)
        head, norm = network.decoder_u.heads["main"], network.decoder_u.convolutions[3][1]
        angles = torch.linspace(0.2, 1.4, 14)  # every class is the best for some mixture of the two features
        with torch.no_grad():
            head.weight.copy_(torch.stack([angles.cos(), angles.sin()], 1)[..., None, None, None])
            head.bias.zero_()
            norm.bias.fill_(2.0)
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm3d):
                    module.momentum = 1.0
            network.unlabelled_path(volume[None, None, :64, :128, :128])
        return network.eval()

    @pytest.mark.slow
    def test_the_command_does_what_the_network_does_on_eight_windows(
        self, put, tmp_path, scan, volume, network
    ):
        file = put(to_published(network.state_dict(), (64, 128, 128)))
        assert main(["model", "import", str(file), str(tmp_path / "m")]) == 0
        write_image(tmp_path / "ct.nii.gz", scan)
        output = tmp_path / "organs.nii.gz"
        options = ["--model", str(tmp_path / "m"), "--device", "cpu", "--precision", "fp32"]
        assert main(["segment", str(tmp_path / "ct.nii.gz"), str(output), *options]) == 0

        scores, count = torch.zeros(14, 80, 160, 160), torch.zeros(80, 160, 160)
        with torch.inference_mode():
            for corner in np.ndindex(2, 2, 2):
                z, y, x = (
                    slice(step * index, step * index + side)
                    for index, step, side in zip(corner, (16, 32, 32), (64, 128, 128), strict=True)
                )
                scores[:, z, y, x] += network(volume[None, None, z, y, x])[0]
                count[z, y, x] += 1
        expected = (scores / count).argmax(0).numpy()
        assert len(np.unique(expected)) == 14
        assert (read_label_map(output).array == expected).mean() > 0.999

    def test_weights_that_inference_does_not_need_are_refused_by_the_network(self, put, tmp_path):
        model = import_published(put(checkpoint()), tmp_path / "m")
        Predictor(model, choose_device("cpu", "fp32"))
        unmarked = save_bundle(tmp_path / "unmarked", model, model.load_weights())
        with pytest.raises(SkcdfError, match=r"the weights do not fit the network .*decoder_l"):
            Predictor(unmarked, choose_device("cpu", "fp32"))
