"""Makes a labelled pool and a test set from a folder of hippocampus MR crops with a ``splits.json``.

The folder holds ``images/``, ``labels/`` and ``splits.json``, whose lists ``labelled``, ``unlabelled``,
``validation`` and ``development_test`` name the cases. Labels of unlabelled cases are left behind. Test cases never
enter the pool.

    python training/prepare_hippocampus.py HIPPOCAMPUS_FOLDER OUT
"""

from __future__ import annotations

import sys

import skcdf_path  # noqa: F401
from skcdf.commands.prepare import prepare_folder

if __name__ == "__main__":
    sys.exit(prepare_folder("hippocampus", "hippocampus2", "MR", __doc__))
