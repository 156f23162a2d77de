"""What is remembered of a node while it is in the scene, and saved nowhere."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import slicer

Content = TypeVar("Content")


class SessionMemory(Generic[Content]):
    """Something for each of some nodes. What belongs to a node is forgotten when it leaves the scene."""

    def __init__(self) -> None:
        # Nodes themselves, not their IDs, which another node may get later.
        self._contents: dict[Any, Content] = {}
        self._observed: Any = None

    def get(self, node: slicer.vtkMRMLNode) -> Content | None:
        """What is remembered of a node."""
        return self._contents.get(node)

    def put(self, node: slicer.vtkMRMLNode, content: Content | None) -> None:
        """Remembers something of a node in place of what was; ``None`` forgets it."""
        self._observe(slicer.mrmlScene)
        if content is None:
            self._contents.pop(node, None)
        else:
            self._contents[node] = content

    def _observe(self, scene: slicer.vtkMRMLScene) -> None:
        if self._observed is not scene:
            self._observed = scene
            for event in (scene.NodeRemovedEvent, scene.EndCloseEvent):
                scene.AddObserver(event, self._forget)

    def _forget(self, scene: slicer.vtkMRMLScene, _event: str) -> None:
        for node in list(self._contents):
            if not scene.IsNodePresent(node):
                del self._contents[node]
