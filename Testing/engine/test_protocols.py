"""Published protocols: the shipped lists are what was published, and lists that leak are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.protocols import CaseLists, Protocol, read_protocols, shipped_protocols
from skcdf.resources import resource

SYNAPSE = {f"img{number:04d}" for number in (*range(1, 11), *range(21, 41))}
BTCV_ORDER = (
    "spleen",
    "right_kidney",
    "left_kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior_vena_cava",
    "portal_and_splenic_veins",
    "pancreas",
    "right_adrenal_gland",
    "left_adrenal_gland",
)
AMOS_ORDER = (*BTCV_ORDER[:9], *BTCV_ORDER[10:], "duodenum", "urinary_bladder", "prostate_or_uterus")

protocols = pytest.mark.parametrize("protocol", shipped_protocols(), ids=lambda protocol: protocol.id)


def numbers(cases: tuple[str, ...]) -> str:
    return " ".join(case[-4:] for case in cases)


def is_mr(case: str) -> bool:
    return int(case[-4:]) > 500


class TestShippedProtocols:
    def test_there_is_one_for_every_published_set_of_lists(self) -> None:
        assert {protocol.id for protocol in shipped_protocols() if protocol.dataset == "synapse"} == {
            "synapse-skcdf-10p",
            "synapse-skcdf-20p",
            "synapse-skcdf-40p",
            "synapse-genericssl-20p",
            "synapse-galoss-10p",
            "synapse-galoss-20p",
            "synapse-bibm-20p",
        }
        amos = {"amos-2p", "amos-5p", "amos-10p"}
        ids = {protocol.id for protocol in shipped_protocols() if protocol.dataset == "amos"}
        assert ids == amos | {f"{each}-ct" for each in amos}

    @protocols
    def test_it_is_complete(self, protocol: Protocol) -> None:
        assert protocol.title and protocol.source and protocol.conventions
        organs = LabelSet.load(protocol.label_set).names
        assert organs == (BTCV_ORDER if protocol.dataset == "synapse" else AMOS_ORDER)
        if protocol.dataset == "synapse":
            assert set(protocol.cases.all) == SYNAPSE

    def test_the_lists_of_skcdf_are_those_of_its_repository(self) -> None:
        cases = Protocol.load("synapse-skcdf-20p").cases
        assert numbers(cases.labelled) == "0021 0023 0028 0032"
        assert numbers(cases.validation) == "0035 0036 0038 0040"
        assert numbers(cases.test) == "0008 0027 0029 0033 0037 0039"
        assert len(cases.unlabelled) == 16

    def test_the_test_cases_of_the_synapse_protocols_differ(self) -> None:
        tests = {protocol.cases.test for protocol in shipped_protocols() if protocol.dataset == "synapse"}
        assert len(tests) == 3

    def test_amos_has_the_published_numbers_of_cases_and_of_mr(self) -> None:
        cases = Protocol.load("amos-5p").cases
        lists = (cases.labelled, cases.unlabelled, cases.validation, cases.test)
        assert [len(each) for each in lists] == [10, 206, 24, 120]
        assert [sum(map(is_mr, each)) for each in lists] == [3, 31, 6, 20]

    def test_without_mr_it_is_another_protocol_with_the_same_ct(self) -> None:
        mixed, ct = Protocol.load("amos-10p"), Protocol.load("amos-10p-ct")
        assert ct.cases.all == tuple(case for case in mixed.cases.all if not is_mr(case))
        assert "no published experiment" in ct.remarks[0]

    def test_the_leaking_list_of_amos_is_left_out_and_its_reason_told(self) -> None:
        with pytest.raises(SkcdfError, match="no protocol amos-20p"):
            Protocol.load("amos-20p")
        assert "0349" in Protocol.load("amos-10p").remarks[0]


class TestLists:
    @pytest.mark.parametrize("leak", ["labelled", "unlabelled", "validation"])
    def test_a_test_case_anywhere_else_is_refused(self, leak: str) -> None:
        lists = {"labelled": ("a",), "unlabelled": ("b",), "validation": ("c",), "test": ("d",)}
        CaseLists(**lists)
        with pytest.raises(SkcdfError, match=f"d is for {leak} and test"):
            CaseLists(**lists | {leak: (*lists[leak], "d")})

    def test_a_validation_case_in_training_is_refused(self) -> None:
        with pytest.raises(SkcdfError, match="c is for unlabelled and validation"):
            CaseLists(("a",), ("b", "c"), ("c",), ("d",))

    def test_an_empty_list_is_refused(self) -> None:
        with pytest.raises(SkcdfError, match="no validation cases"):
            CaseLists(("a",), ("b",), (), ("d",))

    @pytest.mark.parametrize("name", ["../d", "/d", "d/e", "", ".d", "d\\e"])
    def test_a_name_that_leads_elsewhere_is_refused(self, name: str) -> None:
        with pytest.raises(SkcdfError, match="cannot be a case's name"):
            CaseLists(("a",), ("b",), ("c",), (name,))


class TestFile:
    def content(self) -> dict:
        return json.loads(resource("Protocols/synapse-skcdf.json").read_text("utf-8"))

    def put(self, content: object, tmp_path: Path) -> Path:
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(content), "utf-8")
        return path

    def test_ids_are_made_of_its_name_and_the_shares(self, tmp_path: Path) -> None:
        ids = [protocol.id for protocol in read_protocols(self.put(self.content(), tmp_path))]
        assert ids == ["mine-10p", "mine-20p", "mine-40p"]

    @pytest.mark.parametrize("kind", ["validation", "test"])
    def test_a_labelled_case_that_is_no_training_case_is_refused(self, tmp_path: Path, kind: str) -> None:
        content = self.content()
        content["labelled"][1]["cases"].append(content[kind][0])
        with pytest.raises(SkcdfError, match=rf"mine\.json: .*mine-20p.*{content[kind][0]}"):
            read_protocols(self.put(content, tmp_path))

    def test_a_test_case_among_the_training_cases_is_refused(self, tmp_path: Path) -> None:
        content = self.content()
        content["training"].append(content["test"][2])
        with pytest.raises(SkcdfError, match=r"mine\.json: 1 cases are listed twice: img0029"):
            read_protocols(self.put(content, tmp_path))

    @pytest.mark.parametrize(
        "change", [{"schema": 2}, {"training": "0001"}, {"surprise": 1}, {"mr_above": 500, "test": ["x"]}]
    )
    def test_what_is_no_protocol_file_is_told(self, tmp_path: Path, change: dict) -> None:
        with pytest.raises(SkcdfError, match=r"mine\.json: not a protocol file"):
            read_protocols(self.put(self.content() | change, tmp_path))
