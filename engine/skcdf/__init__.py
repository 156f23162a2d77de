"""Semi-supervised multi-organ segmentation of 3-D medical images: the engine of SKCDFSegmenter.

Importable with nothing of Slicer, and, for ``image``, ``labels``, ``phantom``, ``pool`` and ``models``, without torch.
Research use; not for diagnosis.
"""

__version__ = "0.1.0"
