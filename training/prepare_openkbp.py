"""Makes a labelled pool and a test set from a folder of OpenKBP scans with a ``splits.json``.

The folder holds ``images/``, ``labels/`` and ``splits.json``, whose lists ``labelled``, ``unlabelled``,
``validation`` and ``development_test`` name the cases. Labels of unlabelled cases are left behind: they are partial
clinical contours. Test cases never enter the pool. The scans are masked outside the body: train with
``--surroundings``, or the model will not know a couch.

    python training/prepare_openkbp.py OPENKBP_FOLDER OUT
"""

from __future__ import annotations

import sys

import skcdf_path  # noqa: F401
from skcdf.commands.prepare import prepare_folder

if __name__ == "__main__":
    sys.exit(prepare_folder("openkbp", "openkbp7", "CT", __doc__))
