"""What a volume was like when its segmentation began, to tell whether a result still belongs to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer

from skcdf.errors import SkcdfError
from skcdf.image import read_image

from .Texts import _
from .VolumeImage import geometryOfVolume


class VolumeState:
    """The volume as it is now. Holds the node, not its ID, which another node may get after a scene was closed.

    Args:
        volumeNode: the volume.
        copy: file that its voxels were written to.

    Attributes:
        volumeNode: the volume.
        name: its name, also when it is gone.

    Raises:
        SkcdfError: the volume has no usable grid.
    """

    def __init__(self, volumeNode: slicer.vtkMRMLScalarVolumeNode, copy: Path) -> None:
        self.volumeNode, self.name, self._copy = volumeNode, volumeNode.GetName(), copy
        self._geometry = geometryOfVolume(volumeNode)
        self._time = volumeNode.GetImageData().GetMTime()

    def requireUnchanged(self) -> None:
        """Does nothing if a result fits the volume still.

        Raises:
            SkcdfError: the volume has left the scene, or lies elsewhere or has other voxels than before.
        """
        if not slicer.mrmlScene.IsNodePresent(self.volumeNode):
            message = _("{volume}: the volume was closed during the segmentation; the result was dropped.")
            raise SkcdfError(message.format(volume=self.name), _("Load it and segment it again."))
        if self._hasMoved() or self._hasOtherVoxels():
            message = _("{volume}: the volume was changed during the segmentation; the result was dropped.")
            raise SkcdfError(message.format(volume=self.name), _("Segment it again."))

    def _hasMoved(self) -> bool:
        try:
            return not self._geometry.same_grid(geometryOfVolume(self.volumeNode))
        except SkcdfError:  # it has lost its voxels
            return True

    def _hasOtherVoxels(self) -> bool:
        if self.volumeNode.GetImageData().GetMTime() == self._time:
            return False
        # Something has touched the voxels; minutes of work are not dropped for a touch that changed nothing.
        array = slicer.util.arrayFromVolume(self.volumeNode)
        try:
            copy = read_image(self._copy).array  # 64 bit numbers are narrowed
            return not np.array_equal(array.astype(copy.dtype), copy)
        except SkcdfError:
            return True
