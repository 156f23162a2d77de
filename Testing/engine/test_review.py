"""The review list: unsure cases first, not five alike, each with its reason; quick the second time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from skcdf import networks
from skcdf.cases import Case
from skcdf.cli import main
from skcdf.errors import Cancelled
from skcdf.geometry import Geometry
from skcdf.image import Image, read_image, read_label_map, write_image
from skcdf.labels import LabelSet
from skcdf.models import ModelBundle
from skcdf.networks.decoupled import SKCDF
from skcdf.pool import LabelledPool
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken, Progress
from skcdf.review import ReviewItem, order_by_use, rank_cases

PLAN = PreprocessingPlan(Intensity("window", -200, 500, 0, 100), spacing=(4.0, 4.0, 4.0))
TWO = LabelSet.from_names("two", ["liver", "spleen"])
GEOMETRY = Geometry((28, 28, 28), (4.0, 4.0, 4.0), (-50.0, -60.0, 300.0))
LIVER, SPLEEN = (-20, -5, 355), (30, -5, 355)


class Levels(nn.Module):
    """Class k where the normalised intensity lies between k and k + 1; just at k it may as well be class k − 1."""

    def __init__(self, gain: float = 12.0) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, 3, 1)
        k = torch.arange(3, dtype=torch.float32)
        self.convolution.weight.data = gain * k.view(-1, 1, 1, 1, 1)
        self.convolution.bias.data = -gain * k * (k + 1) / 2

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, "levels", Levels)


@pytest.fixture
def model(save_model) -> ModelBundle:
    return save_model(Levels(), "levels", {}, PLAN, TWO)


@pytest.fixture
def write_case(tmp_path, ball) -> Callable[..., Case]:
    """Writes a scan with a liver and a spleen; the nearer to 100 and 200 their intensity, the less sure the model."""

    def write(name: str, liver: int = 150, spleen: int = 250, radius: float = 18, noise: int = 0) -> Case:
        array = np.zeros(GEOMETRY.shape, np.int16)
        array[ball(GEOMETRY, LIVER, radius)] = liver
        array[ball(GEOMETRY, SPLEEN, 14)] = spleen
        if noise:
            array[0, 0, 0] = noise  # another scan, which the model sees alike
        path = tmp_path / "scans" / f"{name}.nii.gz"
        write_image(path, Image(array, GEOMETRY))
        return Case(name, path, None, frozenset(), name)

    return write


def windows_in(reports: list[Progress], cases: int) -> int:
    """Reports of windows: each case reports once more when it is done."""
    return len(reports) - cases


def names(items: tuple[ReviewItem, ...]) -> list[str]:
    return [item.case for item in items]


def test_the_least_sure_case_comes_first_and_says_which_organ(model, device, write_case):
    cases = [write_case("sure"), write_case("doubtful", liver=108), write_case("less_sure", liver=120)]
    items = rank_cases(cases, model, device)
    assert items[0].case == "doubtful"
    assert items[0].reason.startswith("liver unsure (0.")
    assert [item.rank for item in items] == [1, 2, 3]
    scores = {item.case: item.score for item in items}
    assert 0 < scores["sure"] < scores["less_sure"] < scores["doubtful"] <= 1
    assert items[0].organs["liver"] > items[0].organs["spleen"]
    assert items[0].score == pytest.approx(np.mean(list(items[0].organs.values())), abs=1e-3)


def test_of_five_clones_and_a_different_case_the_different_one_is_among_the_first_two(
    model, device, write_case
):
    clones = [write_case(f"clone{index}", liver=106, noise=index) for index in range(5)]
    items = rank_cases([*clones, write_case("different", radius=26)], model, device)
    assert items[0].case == "clone0"
    assert items[1].case == "different"
    assert items[1].score < items[5].score
    assert "unlike the cases above" in items[1].reason
    assert all("much like clone" in item.reason for item in items[2:])


def test_an_organ_that_was_not_found_counts_as_unsure_where_the_scan_should_hold_it(
    model, device, write_case
):
    case = write_case("no_spleen", spleen=0)
    (item,) = rank_cases([case], model, device)
    assert item.organs["spleen"] == 1
    assert item.reason.startswith("spleen not found, liver unsure")
    large = replace(model.expects, field_of_view_mm=((300.0, 400.0), *model.expects.field_of_view_mm[1:]))
    (item,) = rank_cases([case], replace(model, expects=large), device)
    assert "spleen" not in item.organs
    assert "1 organ not found, which so small a scan may not hold" in item.reason


def test_only_unlabelled_training_cases_are_ranked(model, device, write_case):
    unlabelled, other = write_case("unlabelled"), write_case("other", noise=1)
    labelled = replace(other, name="labelled", label=other.image)
    validation = replace(other, name="validation", split="validation")
    assert names(rank_cases([labelled, validation, unlabelled], model, device)) == ["unlabelled"]
    assert rank_cases([labelled], model, device) == ()


def test_the_order_of_the_cases_does_not_matter(model, device, write_case):
    cases = [write_case(f"case{index}", liver=104 + 9 * index, radius=14 + index) for index in range(5)]
    assert rank_cases(cases, model, device) == rank_cases(cases[::-1], model, device)


class TestCache:
    @pytest.fixture
    def cases(self, write_case) -> list[Case]:
        return [write_case("a", liver=110), write_case("b"), write_case("c", spleen=0)]

    @pytest.fixture
    def rank(self, model, device, cases, tmp_path) -> Callable:
        def run(model: ModelBundle = model) -> tuple[tuple[ReviewItem, ...], int]:
            reports: list[Progress] = []
            items = rank_cases(cases, model, device, cache_folder=tmp_path / "cache", progress=reports.append)
            return items, windows_in(reports, len(cases))

        return run

    def test_the_second_time_no_window_is_computed(self, rank):
        first, windows = rank()
        assert windows >= 3
        assert rank() == (first, 0)

    def test_another_model_and_other_settings_of_a_model_are_measured_anew(self, rank, model, save_model):
        rank()
        windows = replace(model, inference=replace(model.inference, overlap=0.75))
        assert rank(windows)[1] > 0
        assert rank(save_model(Levels(9.0), "levels", {}, PLAN, TWO))[1] > 0

    def test_the_same_scan_with_its_axes_the_other_way_round_is_known(self, rank, cases):
        rank()
        turned = replace(GEOMETRY, direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
        array = read_image(cases[0].image).array
        write_image(cases[0].image, Image(array, turned))
        assert rank()[1] == 1
        write_image(cases[0].image, Image(array[:, ::-1, ::-1], GEOMETRY))
        assert rank()[1] == 0

    @pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"half", b'{"key": 1}'])
    def test_a_damaged_file_is_computed_anew_and_mended(self, damage, rank, tmp_path):
        first, _ = rank()
        file = sorted((tmp_path / "cache").glob("*.json"))[0]
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2] if damage == b"half" else damage)
        assert rank() == (first, 1)
        assert file.read_bytes() == whole

    @pytest.mark.parametrize(
        ("field", "value"), [("organs", []), ("windows", "many"), ("disagreement", [0.1]), ("surplus", 1)]
    )
    def test_figures_that_cannot_be_are_computed_anew(self, field, value, rank, tmp_path):
        first, _ = rank()
        file = sorted((tmp_path / "cache").glob("*.json"))[0]
        content = json.loads(file.read_text())
        content["figures"][field] = value
        file.write_text(json.dumps(content))
        assert rank() == (first, 1)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("mean_entropy", 1e300), ("volume_ml", -3), ("volume_ml", 1e300), ("doubt", -0.1), ("doubt", 1.1)],
    )
    def test_figures_out_of_range_are_computed_anew(self, field, value, rank, tmp_path):
        first, _ = rank()
        file = sorted((tmp_path / "cache").glob("*.json"))[0]
        content = json.loads(file.read_text())
        content["figures"]["organs"][0][field] = value
        file.write_text(json.dumps(content))
        assert rank() == (first, 1)

    def test_a_cancelled_ranking_stops_within_a_window_and_keeps_what_is_done(
        self, rank, model, device, cases, tmp_path
    ):
        token, reports = CancelToken(), []

        def stop(report: Progress) -> None:
            reports.append(report)
            if len(reports) == 3:  # window and end of the first case, window of the second
                token.cancel()

        with pytest.raises(Cancelled):
            rank_cases(cases, model, device, cache_folder=tmp_path / "cache", progress=stop, cancel=token)
        assert [report.done for report in reports[:3]] == [100, 100, 200]
        assert len(list((tmp_path / "cache").glob("*.json"))) == 2  # the second case had its last window
        items, windows = rank()
        assert windows == 1
        assert items == rank_cases(cases, model, device)


def test_a_cancel_before_the_end_of_a_case_drops_it(model, device, tmp_path, write_case):
    small = replace(model, inference=replace(model.inference, overlap=0.9), patch_size=(16, 16, 16))
    token, reports = CancelToken(), []
    with pytest.raises(Cancelled):
        rank_cases(
            [write_case("one")],
            small,
            device,
            cache_folder=tmp_path / "cache",
            progress=lambda report: reports.append(report) or token.cancel(),
            cancel=token,
        )
    assert len(reports) == 1
    assert not list((tmp_path / "cache").glob("*"))


def test_a_case_that_cannot_be_read_is_told_and_comes_last(model, device, write_case):
    cases = [write_case("a_broken"), write_case("b"), write_case("c_gone", noise=2)]
    cases[0].image.write_bytes(cases[0].image.read_bytes()[:500])
    cases[2].image.unlink()
    items = rank_cases(cases, model, device)
    assert names(items) == ["b", "a_broken", "c_gone"]
    assert [item.rank for item in items] == [1, 2, 3]
    for item, case in ((items[1], cases[0]), (items[2], cases[2])):
        assert item.reason.startswith(f"left out: {case.image}")
        assert (item.score, item.organs) == (0.0, {})


def test_progress_counts_cases_and_ends_at_its_total(model, device, write_case):
    reports: list[Progress] = []
    cases = [write_case(name, noise=index) for index, name in enumerate("abc")]
    cases[1].image.unlink()
    rank_cases(cases, model, device, progress=reports.append)
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert (done[-1], {report.total for report in reports}) == (300, {300})
    assert reports[-1].note == "c, 3 of 3"


def test_a_model_with_two_decoders_also_counts_their_disagreement(save_model, device, write_case):
    torch.manual_seed(0)
    arguments = {"channels": 1, "classes": 3, "patch_size": [32, 32, 32], "filters": 2}
    network = SKCDF(**arguments).eval()
    with torch.no_grad():
        network.decoder_u.heads["main"].weight *= 50  # so that every class is found somewhere
    case = write_case("case", radius=25, noise=3)
    (with_both,) = rank_cases([case], save_model(network, "skcdf", arguments, PLAN, TWO), device)
    network.decoder_l.load_state_dict(network.decoder_u.state_dict())
    for decoder in (network.decoder_l, network.decoder_u):
        decoder.heads["abc"].load_state_dict(decoder.heads["main"].state_dict())
    (agreeing,) = rank_cases([case], save_model(network, "skcdf", arguments, PLAN, TWO), device)
    assert agreeing.score < with_both.score < 1
    assert "second opinion" not in with_both.reason


def test_a_model_with_one_decoder_says_so(model, device, write_case):
    (item,) = rank_cases([write_case("case")], model, device)
    assert item.reason.endswith("this model gives no second opinion")


def test_the_order_weighs_score_and_distance():
    # 0 and 1 are alike, 2 is far away and half as unsure, 3 is far from all and hardly unsure
    descriptors = np.array([[0.0], [0.1], [3.0], [-9.0]])
    order = order_by_use([0.8, 0.7, 0.4, 0.01], descriptors)
    assert [index for index, _, _ in order] == [0, 2, 1, 3]
    assert [nearest for _, _, nearest in order] == [None, 0, 0, 0]
    assert order[0][1] == 1.0
    assert order[2][1] == pytest.approx(1 - np.exp(-0.1))


class TestCommand:
    @pytest.fixture
    def pool(self, tmp_path, write_case) -> Path:
        pool = LabelledPool.create(tmp_path / "pool", TWO, "CT")
        for name, liver in (("clear", 150), ("doubtful", 106)):
            scan = read_label_map(write_case(name, liver=liver).image)
            pool.add_case(name, Image(scan.array.astype(np.int16), scan.geometry), None, subject=name)
        return tmp_path / "pool"

    def test_a_pool_is_ranked_in_a_table_and_a_file(self, pool, model, tmp_path, capsys):
        output = tmp_path / "review.json"
        arguments = ["review", str(pool), "--model", str(model.folder), "--device", "cpu", "--count", "1"]
        assert main([*arguments, "--output", str(output), "--cache", str(tmp_path / "cache")]) == 0
        shown = capsys.readouterr().out
        assert "   1  doubtful" in shown
        assert "   2  clear" not in shown
        assert "1 of 2 unlabelled cases" in shown
        assert model.notice in shown
        content = json.loads(output.read_text())
        assert [item["case"] for item in content["cases"]] == ["doubtful", "clear"]
        assert content["weights_sha256"] == model.weights.sha256
        assert len(list((tmp_path / "cache").glob("*.json"))) == 2

    def test_a_scan_that_is_gone_is_left_out_with_the_reason(self, pool, model, capsys):
        (case,) = (case for case in LabelledPool.open(pool).dataset().cases if case.name == "clear")
        case.image.unlink()
        assert main(["review", str(pool), "--model", str(model.folder), "--device", "cpu"]) == 0
        shown = capsys.readouterr().out
        assert "   1  doubtful" in shown
        (line,) = (line for line in shown.splitlines() if line.startswith("   2  clear"))
        assert "left out" in line and case.image.name in line

    def test_places_are_given_as_slicer_and_as_files_have_them(self, model, tmp_path, capsys, ball):
        array = np.zeros(GEOMETRY.shape, np.int16)
        array[ball(GEOMETRY, LIVER, 18)] = 150
        array[ball(GEOMETRY, SPLEEN, 14)] = 250
        array[ball(GEOMETRY, (-30, -5, 340), 10)] = 100
        write_image(tmp_path / "ct.nii.gz", Image(array, GEOMETRY))
        output = tmp_path / "places.json"
        arguments = ["--scan", str(tmp_path / "ct.nii.gz"), "--model", str(model.folder), "--device", "cpu"]
        assert main(["review", *arguments, "--count", "2", "--output", str(output)]) == 0
        first, *_ = json.loads(output.read_text())["places"]
        x, y, z = first["position_lps_mm"]
        assert first["position_ras_mm"] == [-x, -y, z]
        assert np.linalg.norm(np.array([x, y, z]) - (-30, -5, 340)) < 14
        shown = capsys.readouterr().out.splitlines()
        assert "RAS mm (as in Slicer)" in shown[0] and "LPS mm (as in files)" in shown[0]
        side = "L" if x >= 0 else "R"
        assert f"{side} {abs(x):5.1f}" in shown[1]
        assert f"{-x:7.1f} {-y:7.1f} {z:7.1f}  {x:7.1f} {y:7.1f} {z:7.1f}" in shown[1]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "Give either POOL or --scan"),
            (["pool", "--scan", "ct.nii.gz"], "Give either POOL or --scan"),
            (["pool", "--count", "0"], "at least 1"),
        ],
    )
    def test_wrong_arguments_are_told(self, arguments, words, capsys):
        assert main(["review", *arguments]) == 1
        assert words in capsys.readouterr().err

    def test_a_pool_without_unlabelled_cases_is_told(self, model, tmp_path, capsys):
        LabelledPool.create(tmp_path / "empty", TWO, "CT")
        assert main(["review", str(tmp_path / "empty"), "--model", str(model.folder)]) == 1
        assert "no unlabelled training cases" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_told_once_and_takes_nothing_away(
    model, device, write_case, tmp_path, caplog
):
    (tmp_path / "file").write_text("")
    cases = [write_case("one"), write_case("two", radius=4)]
    items = rank_cases(cases, model, device, cache_folder=tmp_path / "file" / "cache")
    assert items == rank_cases(cases, model, device) and len(items) == 2
    assert len(caplog.messages) == 1 and "cannot be written" in caplog.messages[0]
