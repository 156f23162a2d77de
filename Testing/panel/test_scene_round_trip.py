"""A scene that is saved and loaded again shows in the panel what it showed before: every parameter of the module."""

from __future__ import annotations

from typing import get_type_hints

import numpy as np
import user
from section_bench import parameters

CHANGED = {
    "projectFolder": "/data/Müller",
    "modelReference": "abdomen@v2",
    "allOrgans": False,
    "organs": ["liver", "spleen"],
    "device": "cpu",
    "ownOverlap": True,
    "overlap": 0.25,
    "memoryLimitGiB": 3.5,
    "keepWarmMinutes": 25,
    "pythonPath": "/opt/python",
    "startFrom": "abdomen@v1",
    "method": "skcdf",
    "preset": "quick",
    "timeBudgetMinutes": 90,
}


def test_every_parameter_survives_a_scene_bundle(slicer, tmp_path):
    import SKCDFSegmenter

    nodes = {
        "inputVolume": slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="CT"),
        "outputSegmentation": slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Organs"),
        "region": slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box"),
    }
    names = get_type_hints(SKCDFSegmenter.SKCDFSegmenterParameterNode).keys()
    assert names == (CHANGED | nodes).keys(), "a parameter that is new, or gone"
    before = parameters()
    assert all(getattr(before, name) != value for name, value in CHANGED.items()), "values as they are anyway"
    for name, value in (CHANGED | nodes).items():
        setattr(before, name, value)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    user.closeScene()
    assert parameters().inputVolume is None
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    after = parameters()
    assert {name: getattr(after, name) for name in CHANGED} == CHANGED
    assert [getattr(after, name).GetName() for name in nodes] == ["CT", "Organs", "Box"]
