"""The training report: what the page says, and that a real browser shows it without asking anyone for anything."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skcdf.errors import SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image
from skcdf.labels import LabelSet
from skcdf.metrics import evaluate_case, summarize
from skcdf.picture import overlay_picture
from skcdf.report import LossPoint, ReportPicture, TrainingReport, ValidationPoint, write_report

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
# the smallest PNG: one grey pixel
DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)


class Page(HTMLParser):
    """The texts and elements of a page, by tag; fails on tags that are not closed."""

    VOID = ("meta", "img")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(self.source)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag not in ("span", "code", "strong", "path", "circle"):
            self.text += " | "

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str, style: str = "") -> list[dict[str, str | None]]:
        """Attributes of the elements with a tag and, where given, a class."""
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and (not style or style in (attributes.get("class") or "").split())
        ]


def phantom(shift: int = 0) -> tuple[Image, np.ndarray]:
    """A scan with three boxes, and its labels ``shift`` voxels off."""
    labels = np.zeros((20, 24, 28), np.uint8)
    for value, x in ((1, 4), (2, 12), (3, 20)):
        labels[6:14, 8:16, x + shift : x + 5 + shift] = value
    scan = np.where(labels > 0, 80, -300).astype(np.int16)
    return Image(scan, Geometry(scan.shape[::-1], (2.0, 2.0, 3.0))), labels


@pytest.fixture(scope="module")
def report() -> TrainingReport:
    """A report of everything, made from real scores and a real picture."""
    scan, reference = phantom()
    shifted = phantom(1)[1]
    missed = np.where(shifted == 2, 0, shifted)
    scores = [
        evaluate_case(case, reference, LABELS, scan.geometry.array_spacing, annotated=LABELS.names[:2])
        for case in (missed, shifted)
    ]
    picture = overlay_picture(scan, missed, reference, LABELS)
    dice = [{"spleen": 0.9 - 2 / n, "right_kidney": 0.8 - 1 / n, "left_kidney": None} for n in (4, 8, 12)]
    return TrainingReport(
        title="Training of toy",
        notice="Research use only; not for diagnosis.",
        protocol="synapse-4-labelled",
        method="skcdf (corrected)",
        settings={
            "filters": 16,
            "preprocessing": {"spacing": [2.0, 1.0, 1.0], "kind": "window"},
            "patience": None,
        },
        data={"Data set": "toy", "Labelled cases": 4, "Unlabelled cases": 1400},
        device="CPU, 2 cores, bfloat16",
        seconds=4321.4,
        seconds_per_iteration=2.16,
        peak_memory_bytes=3 * 2**30,
        losses=[LossPoint(20 * n, {"supervised": 40.0 / n, "alignment": 0.1 * n}) for n in range(1, 21)],
        validations=[ValidationPoint(100 * n, each) for n, each in enumerate(dice, 1)],
        chosen_iteration=300,
        accuracy=summarize(scores),
        accuracy_protocol="the 2 pinned validation cases of data set toy",
        pictures=[ReportPicture("Case 1, the one with the lowest Dice", picture)],
        command="skcdf train pool/ runs/first",
    )


@pytest.fixture
def written(report: TrainingReport, tmp_path: Path) -> Callable[..., Page]:
    """Writes the report with some of its content changed and reads the page."""

    def write(**changes: Any) -> Page:
        path = tmp_path / "report.html"
        write_report(path, replace(report, **changes))
        return Page(path)

    return write


class TestWhatThePageSays:
    def test_it_names_method_protocol_data_device_time_memory_and_command(self, written) -> None:
        text = written().text
        method, data = "skcdf (corrected) | ", "Unlabelled cases | 1,400 | "
        for part in ("Training of toy", method, "synapse-4-labelled", data, "CPU, 2 cores, bfloat16"):
            assert part in text
        for part in ("1:12:01", "2.16 s", "3.00 GiB", "skcdf train pool/ runs/first"):
            assert part in text
        assert "512 MiB" in written(peak_memory_bytes=2**29).text

    def test_accuracy_has_mean_and_spread_counts_and_the_notice(self, written, report) -> None:
        text = written().text
        kidney = report.accuracy[1].dice
        assert f"right kidney | {kidney.mean:.3f} ± {kidney.sd:.3f} | " in text
        assert re.search(
            r"right kidney [^a-z]*\| 2 \| 1 \| 0 \| 0 \|", text
        )  # n, missed, spurious, not counted
        assert re.search(r"left kidney \| [–|\s]+ 0 \| 0 \| 0 \| 2 \|", text)  # noqa: RUF001
        assert "the 2 pinned validation cases of data set toy" in text
        assert text.count("not for diagnosis") == 2  # at the top and with the table

    def test_settings_are_listed_with_dotted_names(self, written) -> None:
        text = written().text
        assert "preprocessing.spacing | [2.0, 1.0, 1.0] | " in text
        assert "preprocessing.kind | window | " in text
        assert "patience | null | " in text

    def test_what_was_not_measured_is_said(self, written) -> None:
        text = written(
            protocol=None,
            seconds=math.nan,
            seconds_per_iteration=math.nan,
            peak_memory_bytes=None,
            losses=[],
            validations=[],
            chosen_iteration=None,
            accuracy=[],
            accuracy_protocol="",
            pictures=[],
            command=None,
        ).text
        for part in ("none of the published ones", "No loss was recorded", "No validation was made"):
            assert part in text
        for part in (
            "accuracy of the model was not measured",
            "No picture was drawn",
            "not chosen by validation",
        ):
            assert part in text
        assert text.count("not measured") == 5 and text.count("not recorded") == 2

    def test_every_text_is_escaped(self, written) -> None:
        evil = "</style><script>alert(1)</script>\" onload='x' &amp;"
        page = written(
            **dict.fromkeys(
                ("title", "notice", "protocol", "method", "device", "accuracy_protocol", "command"), evil
            ),
            settings={evil: {evil: evil}},
            data={evil: evil},
            losses=[LossPoint(1, {evil: 1.0, "b": 2.0})],
            validations=[ValidationPoint(1, {evil: 0.5, "b": None})],
            pictures=[ReportPicture(evil, DOT)],
        )
        assert not page.of("script") and all("onload" not in attributes for _, attributes in page.elements)
        assert page.of("img")[0]["alt"] == evil
        assert evil in page.text

    def test_a_file_name_that_is_no_utf8_does_no_harm(self, written) -> None:
        assert "train pool?/" in written(command="train pool\udce4/").text

    def test_it_is_legible_to_those_who_do_not_see_it(self, written, report) -> None:
        page = written()
        for chart in page.of("svg", "chart"):
            named = (chart["aria-labelledby"] or "").split()
            assert {attributes.get("id") for _, attributes in page.elements} >= set(named)
            assert chart["role"] == "img"
        assert len(page.of("table")) == len(page.of("caption"))
        assert all(cell["scope"] in ("row", "col") for cell in page.of("th"))
        assert page.of("html")[0]["lang"] == "en"
        assert page.of("img")[0]["alt"] == report.pictures[0].caption
        assert "total from 40.1 at iteration 20 to 4.00 at 400" in page.text

    def test_it_may_load_nothing(self, written) -> None:
        page = written()
        policy = next(each["content"] for each in page.of("meta") if each.get("http-equiv"))
        assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        assert "http" not in page.source.replace("http-equiv", "")


class TestWriting:
    def test_a_picture_that_is_no_png_is_refused(self, written) -> None:
        with pytest.raises(SkcdfError, match="picture “scan” is not a PNG"):
            written(pictures=[ReportPicture("scan", b"GIF89a")])

    def test_a_failure_names_the_file_and_leaves_the_old_report(self, written, report, tmp_path) -> None:
        before = written().source
        with pytest.raises(SkcdfError):
            write_report(tmp_path / "report.html", replace(report, pictures=[ReportPicture("scan", b"")]))
        assert (tmp_path / "report.html").read_text("utf-8") == before
        with pytest.raises(SkcdfError, match="cannot be written"):
            write_report(tmp_path / "report.html" / "below.html", report)
        assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


class TestCurves:
    def test_the_total_is_the_sum_unless_it_is_given(self) -> None:
        assert LossPoint(1, {"a": 1.0, "b": 2.0}).total == 3.0
        assert LossPoint(1, {"a": 1.0, "total": 5.0}).total == 5.0

    def test_a_single_loss_is_drawn_once(self, written) -> None:
        page = written(losses=[LossPoint(n, {"supervised": 1.0 / n}) for n in (1, 2)], validations=[])
        assert "supervised 0.500" in page.text and "total" not in page.text

    @pytest.mark.parametrize(("highest", "logarithmic"), [(1.9, False), (40.0, True)])
    def test_losses_far_apart_are_on_a_logarithmic_axis(self, written, highest, logarithmic) -> None:
        page = written(losses=[LossPoint(1, {"total": highest}), LossPoint(2, {"total": 0.1})])
        assert ("loss, logarithmic" in page.text) == logarithmic

    def test_what_cannot_be_drawn_is_counted(self, written) -> None:
        values = (0.0, math.nan, 3.0)  # the total of the second point is nan, too
        losses = [LossPoint(n, {"a": 40.0 / n**3, "b": value}) for n, value in enumerate(values, 1)]
        assert "3 values not drawn" in written(losses=losses).text

    def test_one_point_is_a_dot(self, written) -> None:
        page = written(
            losses=[LossPoint(20, {"total": 1.5})], validations=[ValidationPoint(20, {"spleen": 0.5})]
        )
        assert len(page.of("circle", "main")) == 1
        assert "total at 20: 1.50" in page.text and "spleen at 20: 0.500" in page.text

    def test_an_organ_that_was_never_measured_is_named_and_not_drawn(self, written) -> None:
        assert "Never measured: left kidney." in written().text

    @pytest.mark.parametrize(("organs", "lines"), [(1, 1), (2, 3), (15, 16), (16, 6), (118, 6)])
    def test_the_legend_stays_short_and_the_rest_is_in_a_table(self, written, organs, lines) -> None:
        points = [ValidationPoint(n, {f"organ_{k}": 1 - k / 200 for k in range(organs)}) for n in (10, 20)]
        page = written(validations=points, losses=[], chosen_iteration=10)
        chart = page.source[page.source.index('<svg class="chart"') :]
        assert len(re.findall('class="leader', chart)) == lines
        assert ("Dice on the validation cases of every organ" in page.text) == (organs > 15)
        assert f"organ {organs - 1} " in page.text

    def test_the_chosen_iteration_is_marked(self, written) -> None:
        page = written()
        assert "kept: 300" in page.text and len(page.of("path", "mark")) == 1

    def test_many_points_are_thinned_and_that_is_said(self, written) -> None:
        page = written(losses=[LossPoint(n, {"total": float(n)}) for n in range(1, 1801)])
        assert "Every point drawn is the mean of 3 recorded ones." in page.text


class Browser:
    """Headless Chromium, and what it complained about and asked for."""

    def __init__(self, chromium: str, driver: str) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        arguments = ["headless=new", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking"]
        arguments += ["no-first-run", "host-resolver-rules=MAP * ~NOTFOUND"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            arguments.append("no-sandbox")  # Chromium refuses to run as root with it
        for argument in arguments:
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self._driver = webdriver.Chrome(options=options, service=Service(driver))
        self.close = self._driver.quit

    def open(self, path: Path, scheme: str = "light", width: int = 1000) -> None:
        """Shows a file, in the light or the dark version."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        for log in ("browser", "performance"):
            self._driver.get_log(log)  # what came before is forgotten
        self._driver.get(path.as_uri())

    def ask(self, script: str) -> Any:
        """The result of a function body in JavaScript."""
        return self._driver.execute_script(script)

    def errors(self) -> list[str]:
        """Console messages of level error since `open`."""
        return [entry["message"] for entry in self._driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """Addresses asked for since `open`, without the pictures inside the file."""
        events = [json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance")]
        sent = (each["params"] for each in events if each["method"] == "Network.requestWillBeSent")
        return [url for each in sent if not (url := each["request"]["url"]).startswith("data:")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser that starts once for the tests of this file."""
    pytest.importorskip("selenium", reason="the browser is driven by selenium: pip install selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not installed: apt install chromium chromium-driver")
    browser = Browser(chromium, driver)
    yield browser
    browser.close()


class TestInABrowser:
    SIZES = """
        const boxes = selector => [...document.querySelectorAll(selector)].map(each => {
            const box = each.getBoundingClientRect();
            return box.width > 0 || box.height > 0;
        });
        return {
            charts: [...document.querySelectorAll('svg.chart')].map(each => each.getBBox().width),
            lengths: [...document.querySelectorAll('path.line')].map(each => each.getTotalLength()),
            strokes: [...document.querySelectorAll('path.line')].map(each => getComputedStyle(each).stroke),
            dots: boxes('svg.chart circle'),
            words: boxes('svg.chart text'),
            cut: [...document.querySelectorAll('svg.chart')].map(each => {
                const frame = each.getBoundingClientRect();
                return [...each.querySelectorAll('text')].filter(text => {
                    const box = text.getBoundingClientRect();
                    return box.left < frame.left - 1 || box.right > frame.right + 1;
                }).length;
            }),
            pictures: [...document.images].map(each => each.complete ? each.naturalWidth : 0),
            paper: getComputedStyle(document.body).backgroundColor,
            overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        };"""

    @pytest.fixture
    def page(self, report: TrainingReport, tmp_path: Path) -> Path:
        path = tmp_path / "report #1.html"
        write_report(path, report)
        return path

    @pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 360)])
    def test_curves_and_pictures_are_rendered(self, browser, page, scheme, width) -> None:
        browser.open(page, scheme, width)
        found = browser.ask(self.SIZES)
        assert len(found["charts"]) == 2 and all(size > 300 for size in found["charts"])
        assert len(found["lengths"]) == 2 * (3 + 3)  # three lines a chart, each with its key
        assert all(length > 10 for length in found["lengths"])
        assert "none" not in found["strokes"] and len(set(found["strokes"])) == 3
        assert found["dots"] and all(found["dots"]) and all(found["words"])
        assert found["cut"] == [0, 0]
        assert len(found["pictures"]) == 1 and found["pictures"][0] > 500
        assert found["paper"] == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")
        assert found["overflow"] == 0
        assert browser.errors() == []
        assert browser.requests() == [page.as_uri()]

    def test_a_report_of_nothing_is_shown_without_complaint(self, browser, report, tmp_path) -> None:
        path = tmp_path / "empty.html"
        write_report(path, replace(report, losses=[], validations=[], accuracy=[], pictures=[]))
        browser.open(path)
        assert browser.ask("return document.querySelectorAll('h2').length") == 6
        assert browser.errors() == [] and browser.requests() == [path.as_uri()]

    def test_the_browser_would_have_noticed_requests_and_errors(self, browser, tmp_path) -> None:
        path = tmp_path / "bad.html"
        path.write_text(
            '<img src="http://picture.invalid/a.png"><script>console.error("seen")</script>', "utf-8"
        )
        browser.open(path)
        assert "http://picture.invalid/a.png" in browser.requests()
        assert any("seen" in message for message in browser.errors())
