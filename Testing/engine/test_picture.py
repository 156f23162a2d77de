"""Pictures of reference and prediction side by side."""

from __future__ import annotations

import io

import numpy as np
import pytest

from skcdf.errors import SkcdfError
from skcdf.geometry import AxisOrder
from skcdf.image import Image
from skcdf.labels import LabelSet
from skcdf.phantom import PHANTOM_LABELS, make_phantom
from skcdf.picture import overlay_picture

pytest.importorskip("PIL", reason="pictures need Pillow")

LABELS = LabelSet.load(PHANTOM_LABELS)


def _scan() -> tuple[Image, np.ndarray]:
    scan, labels = make_phantom(3, shape=(24, 36, 40), spacing=(10.0, 10.0, 10.0))
    return scan, labels.array


class TestOverlayPicture:
    def test_the_left_shows_the_reference_and_the_right_the_prediction(self) -> None:
        scan, reference = _scan()
        pixels = decoded(overlay_picture(scan, np.zeros_like(reference), reference, LABELS)).astype(int)
        middle = pixels.shape[1] // 2
        colored = (np.ptp(pixels, axis=2) > 40)[30:-140]  # above the legend
        assert colored[:, :middle].sum() > 1000 and not colored[:, middle:].any()
        white = (pixels == 255).all(2)[30:-140]
        assert white[:, middle:].sum() > 100  # the reference's outline

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "order", [AxisOrder((2, 0, 1), (True, False, True)), AxisOrder((1, 0, 2), (False, True, False))]
    )
    def test_other_axis_orders_make_the_same_picture(self, order) -> None:
        scan, reference = _scan()
        turned = Image(np.ascontiguousarray(order.apply(scan.array)), order.apply_to_geometry(scan.geometry))
        labels = np.ascontiguousarray(order.apply(reference))
        upright = overlay_picture(scan, reference, reference, LABELS)
        assert overlay_picture(turned, labels, labels, LABELS) == upright

    def test_nothing_found_and_nothing_annotated_is_a_picture_of_the_scan(self) -> None:
        scan, reference = _scan()
        empty = np.zeros_like(reference)
        assert decoded(overlay_picture(scan, empty, empty, LABELS)).size

    def test_a_label_map_of_another_scan_is_refused(self) -> None:
        scan, reference = _scan()
        with pytest.raises(SkcdfError, match="its shape is"):
            overlay_picture(scan, reference[1:], reference, LABELS)


def decoded(png: bytes) -> np.ndarray:
    """Pixels ``(y, x, rgb)``."""
    from PIL import Image as Pillow

    return np.asarray(Pillow.open(io.BytesIO(png)))
