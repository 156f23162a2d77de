"""A stand-in for Slicer's module *Sample Data*: what is offered there, by category; equal names are allowed."""

from __future__ import annotations

import types
from typing import Any


def sampleDataModule() -> tuple[types.ModuleType, dict[str, list[Any]]]:
    """The module to be imported as ``SampleData``, and its sources."""
    sources: dict[str, list[Any]] = {}

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(
            *, category, sampleName, uris, fileNames, nodeNames, thumbnailFileName, customDownloader
        ):
            assert len(uris) == len(fileNames) == len(nodeNames)
            assert isinstance(uris, list)
            source = types.SimpleNamespace(
                sampleName=sampleName, thumbnailFileName=thumbnailFileName, customDownloader=customDownloader
            )
            sources.setdefault(category, []).append(source)

        @staticmethod
        def sampleDataSourcesByCategory(category=None):
            return sources if category is None else sources.get(category, [])

    module = types.ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic
    return module, sources
