"""Phantoms in the module Sample Data: made on this computer, shown at once."""

from __future__ import annotations

import socket
import sys

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PIL.Image", reason="pillow is not installed (pip install pillow)")

import make_thumbnails
import PIL.Image
from sample_data import sampleDataModule

from skcdf.labels import LabelSet
from skcdf.phantom import PHANTOM_LABELS, make_phantom
from SKCDFSegmenterLib import SampleScans
from SKCDFSegmenterLib.ImportStaging import loadedCases
from SKCDFSegmenterLib.SampleScans import PHANTOMS, addPhantomVolume, registerPhantoms
from SKCDFSegmenterLib.SegmentRecord import segmentState
from SKCDFSegmenterLib.VolumeImage import imageOfVolume


@pytest.fixture(scope="module")
def patients():
    """Scan and label map of every phantom, as the button makes them."""
    grid = {"shape": SampleScans.SHAPE, "spacing": SampleScans.SPACING_MM}
    return [
        make_phantom(each.seed, cut_off_share=each.cutOffShare, contrast=each.contrast, **grid)
        for each in PHANTOMS
    ]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(SampleScans, "SHAPE", (24, 32, 32))
    monkeypatch.setattr(SampleScans, "SPACING_MM", (10.0, 12.0, 12.0))


@pytest.fixture
def sampleData(monkeypatch):
    """What Slicer's module offers, by category."""
    module, sources = sampleDataModule()
    monkeypatch.setitem(sys.modules, "SampleData", module)
    return sources


@pytest.fixture
def application(slicer, monkeypatch):
    """The status bar's texts, with how often the application could handle events by then."""
    seen, handled = [], []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, *_: seen.append((text, len(handled))))
    monkeypatch.setattr(slicer.app, "processEvents", lambda: handled.append(1), raising=False)
    return seen


def only(sources):
    (found,) = sources.values()
    return found


def test_the_phantoms_are_offered_once_also_after_a_reload(sampleData):
    registerPhantoms()
    registerPhantoms()
    assert [source.sampleName for source in only(sampleData)] == [phantom.name for phantom in PHANTOMS]


def test_without_that_module_nothing_happens(monkeypatch):
    monkeypatch.setitem(sys.modules, "SampleData", None)
    registerPhantoms()


@pytest.mark.slow
def test_every_thumbnail_is_a_picture_of_its_phantom(sampleData, patients):
    registerPhantoms()
    for source, (scan, labels) in zip(only(sampleData), patients, strict=True):
        shipped = PIL.Image.open(source.thumbnailFileName)
        assert shipped.size == make_thumbnails.SIZE
        drawn = make_thumbnails.thumbnail(scan.array, labels.array)
        # Another numpy draws other noise.
        assert np.corrcoef(np.ravel(shipped), np.ravel(drawn))[0, 1] > 0.97


def test_pressing_the_button_makes_the_scan_without_network(
    slicer, sampleData, application, small, monkeypatch
):
    def refuse(*_arguments, **_options):
        raise AssertionError("something wants the network")

    monkeypatch.setattr(socket, "socket", refuse)
    registerPhantoms()
    source = only(sampleData)[0]
    (volume,) = source.customDownloader(source)
    expected, _labels = make_phantom(7, shape=(24, 32, 32), spacing=(10, 12, 12), cut_off_share=0)
    np.testing.assert_array_equal(imageOfVolume(volume).array, expected.array)
    assert imageOfVolume(volume).geometry.same_grid(expected.geometry)
    assert volume.GetName() == "PhantomCT"
    assert "Synthetic" in volume.GetDescription()


def test_it_is_shown_in_the_views(slicer, small):
    volume = addPhantomVolume()
    assert slicer.app.applicationLogic().GetSelectionNode().GetActiveVolumeID() == volume.GetID()
    assert addPhantomVolume().GetName() == "PhantomCT_1"


def test_progress_is_told_while_the_application_handles_events(sampleData, application, small):
    registerPhantoms()
    only(sampleData)[0].customDownloader(None)
    texts = [text for text, _handled in application]
    assert texts[-2] == "Making PhantomCT: 100 %" and texts[-1] == "PhantomCT is ready."
    assert len(texts) > 15
    assert application[-1][1] == len(texts) - 1


def test_a_second_press_meanwhile_makes_nothing(slicer, sampleData, application, small, monkeypatch):
    registerPhantoms()
    first, second, *_others = (source.customDownloader for source in only(sampleData))
    answers = []
    monkeypatch.setattr(slicer.app, "processEvents", lambda: answers.append(second(None)))
    assert len(first(None)) == 1
    assert answers and not any(answers)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    monkeypatch.setattr(slicer.app, "processEvents", lambda: None)
    assert len(second(None)) == 1


def test_one_that_failed_can_be_tried_again(slicer, sampleData, application, small, monkeypatch):
    registerPhantoms()
    make = only(sampleData)[0].customDownloader

    def fail(*_arguments, **_options):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(SampleScans, "make_phantom", fail)
        with pytest.raises(MemoryError):
            make(None)
    assert len(make(None)) == 1


@pytest.mark.slow
def test_phantoms_with_organs_bring_them_as_drawn_by_hand(slicer, sampleData, application, small):
    registerPhantoms()
    withOrgans = [each for each in PHANTOMS if each.withOrgans]
    makers = [source.customDownloader for source in only(sampleData) if "Organs" in source.sampleName]
    assert len(makers) == len(withOrgans) == 3
    for make, phantom in zip(makers, withOrgans, strict=True):
        volume, segmentation = make(None)
        _scan, truth = phantom.scan()
        liver = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "liver", volume)
        value = LabelSet.load(PHANTOM_LABELS).value_of("liver")
        np.testing.assert_array_equal(liver > 0, truth.array == value)
        assert segmentState(segmentation, "liver") == "foreign"
    assert [case.volumeNode.GetName() for case in loadedCases()] == [each.name for each in withOrgans]


@pytest.mark.slow
def test_one_phantom_ends_within_organs_and_the_others_are_whole(patients):
    label_set = LabelSet.load(PHANTOM_LABELS)
    kidneys = [label_set.value_of(name) for name in ("left_kidney", "right_kidney")]
    cut = [bool(np.isin(labels.array[[0, -1]], kidneys).any()) for _scan, labels in patients]
    assert cut == [phantom.name == "PhantomCTCutOff" for phantom in PHANTOMS]
