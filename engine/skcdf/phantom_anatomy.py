"""The phantom's thirteen labelled organs, and the patient they make up together with the body around them.

Positions and sizes are those of an average adult lying on the back; every patient varies them at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .labels import LabelSet
from .phantom_body import Habitus, body, bowel, chest, diaphragm, inner_wall
from .phantom_shapes import (
    Draws,
    Hounsfield,
    Points,
    Structure,
    ellipsoid,
    ellipsoid_distance,
    hollow,
    smooth_intersection,
    smooth_union,
    soft_step,
    tube,
)

PHANTOM_LABELS = "phantom13"
# HU in the late arterial and in the portal venous phase; a scan lies anywhere in between.
ENHANCEMENT = {
    "spleen": (128.0, 122.0),
    "cortex": (185.0, 178.0),
    "medulla": (95.0, 160.0),
    "liver": (78.0, 108.0),
    "pancreas": (104.0, 90.0),
    "adrenal": (84.0, 76.0),
    "aorta": (260.0, 155.0),
    "cava": (85.0, 140.0),
    "portal": (120.0, 165.0),
    "hepatic veins": (72.0, 148.0),
    "heart": (190.0, 140.0),
}
# HU of the same tissues without contrast agent.
NATIVE = {
    "spleen": 48.0,
    "cortex": 34.0,
    "medulla": 30.0,
    "liver": 58.0,
    "pancreas": 42.0,
    "adrenal": 34.0,
    "aorta": 42.0,
    "cava": 42.0,
    "portal": 42.0,
    "hepatic veins": 42.0,
    "heart": 42.0,
}
SPLEEN_TILT = (-18.0, 0.0, -14.0)
Knots = Sequence[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Patient:
    """One patient: the random quantities, the contrast phase, and the values the organs have in a label map.

    Attributes:
        draws: the patient's random quantities.
        venous: contrast phase, 0 late arterial, 1 portal venous.
        contrast: how much agent the patient was given, 1 the usual dose, 0 none.
        values: label value by organ name.
    """

    draws: Draws
    venous: float
    contrast: float
    values: dict[str, int]

    def enhanced(self, tissue: str) -> float:
        """HU of a tissue in this patient's contrast phase, at this patient's dose."""
        arterial, venous = ENHANCEMENT[tissue]
        usual = arterial + self.venous * (venous - arterial)
        value = NATIVE[tissue] + self.contrast * (usual - NATIVE[tissue]) if self.contrast != 1 else usual
        return value + float(self.draws.jitter(f"{tissue} HU", 4.0, 1)[0])

    def tube(
        self, name: str, knots: Knots, hounsfield: Hounsfield, sigma: float, flatten: float = 1.0
    ) -> Structure:
        """A labelled tube-shaped organ, its path and width varied by ``sigma`` mm."""
        varied = np.array(knots, float) + self.draws.jitter(name, sigma, (len(knots), 4)) * (1, 1, 1, 0.2)
        varied[:, 3] *= self.draws.uniform(f"{name} width", 0.93, 1.07)
        return tube(varied, hounsfield, self.values[name], flatten)


def structures(seed: int, contrast: float = 1.0) -> list[Structure]:
    """Everything in the patient of this seed, in painting order: later structures cover earlier ones.

    Args:
        seed: which patient.
        contrast: see `Patient`.
    """
    draws = Draws(seed)
    labels = LabelSet.load(PHANTOM_LABELS)
    patient = Patient(
        draws,
        draws.uniform("contrast phase", 0.0, 1.0),
        contrast,
        {label.name: label.value for label in labels.labels},
    )
    habitus = Habitus(
        fat_mm=draws.uniform("fat thickness", 10.0, 26.0),
        fat=draws.uniform("fat HU", -112.0, -98.0),
        muscle=draws.uniform("muscle HU", 52.0, 64.0),
        marrow=draws.uniform("marrow HU", 120.0, 230.0),
        blood=patient.enhanced("heart"),
    )
    liver = _liver(patient)
    stomach, duodenum = _stomach(patient)
    return [
        *body(habitus),
        *bowel(draws),
        liver,
        *_liver_vessels(patient, liver, habitus.fat),
        _spleen(patient),
        duodenum,
        stomach,
        *chest(draws, habitus),
        *_kidneys_and_adrenals(patient, habitus.fat),
        *_pancreas_and_veins(patient, habitus.fat),
        *_great_vessels(patient),
        *_gallbladder_and_esophagus(patient),
    ]


def _liver(patient: Patient) -> Structure:
    draws = patient.draws
    offset = -38.0 + draws.jitter("liver border", 3.0, 1)[0]
    tip = -80.0 + draws.jitter("liver tip", 5.0, 1)[0]
    left_radii = np.array((66.0, 31.0, 40.0)) * draws.uniform("left lobe", 0.92, 1.06)

    def distance(points: Points) -> np.ndarray:
        x, y, z = points
        below = (
            0.79 * x + 0.10 * y - 0.60 * z - offset + 5.0 * np.sin(y / 17.0) + 7.0 * np.sin(z / 25.0 - 0.6)
        )
        behind = 0.25 * x + 0.80 * y - 0.30 * z - 31.0
        right = smooth_intersection(below, behind, 20.0)
        left = ellipsoid_distance((x, y - 0.10 * x, z - 0.10 * x), (0.0, -43.0, 60.0), left_radii)
        lobes = smooth_union(right, left, 22.0)
        hull = smooth_intersection(inner_wall(points) + 1.5, tip - z, 18.0)
        return smooth_intersection(smooth_intersection(lobes, hull, 8.0), diaphragm(points) + 1.0, 6.0)

    bounds = ((-135.0, 80.0), (-90.0, 75.0), (-95.0, 120.0))
    return Structure(bounds, distance, patient.enhanced("liver"), patient.values["liver"])


def _liver_vessels(patient: Patient, liver: Structure, fat: float) -> list[Structure]:
    """Hepatic veins, which count as liver, and the fat of the round ligament's fissure, which does not."""
    paths = (
        ((-25, 0, 96, 4.5), (-58, 12, 78, 4), (-88, 20, 52, 3), (-106, 20, 20, 1.5)),
        ((-24, -6, 96, 4), (-42, -34, 72, 3.5), (-62, -52, 40, 2.5), (-78, -52, 10, 1.5)),
        ((-18, -10, 96, 3.5), (2, -36, 80, 3), (28, -46, 68, 1.5)),
        ((-26, 2, 80, 2.5), (-70, -16, 70, 2.5), (-104, -20, 60, 1.5)),
    )
    veins = []
    for i, path in enumerate(paths):
        knots = np.array(path, float) + patient.draws.jitter(f"hepatic vein {i}", 4.0, (len(path), 4)) * (
            1,
            1,
            1,
            0,
        )
        veins.append(
            tube(knots, patient.enhanced("hepatic veins"), None).covering(lambda p: liver.distance(p) + 2)
        )
    fissure = tube([(-2, -78, 30, 4), (-8, -60, 42, 2.5), (-16, -46, 48, 1.5)], fat)
    return [*veins, fissure]


def _spleen(patient: Patient) -> Structure:
    draws = patient.draws
    center = np.array((97.0, 29.0, 47.0)) + draws.jitter("spleen place", 3.0)
    radii = np.array((33.0, 47.0, 56.0)) * draws.uniform("spleen size", 1.01, 1.16)
    outer = ellipsoid(center, radii, 0.0, degrees=draws.jitter("spleen tilt", 4.0) + SPLEEN_TILT)
    hollowed = ellipsoid(np.add(center, (-46.0, -24.0, 2.0)), (40.0, 46.0, 60.0), 0.0, degrees=(0, 0, -14))

    def distance(points: Points) -> np.ndarray:
        shell = smooth_intersection(outer.distance(points), -hollowed.distance(points), 8.0)
        return smooth_intersection(shell, inner_wall(points) + 3.0, 5.0)

    arterial = 1.0 - patient.venous

    def hounsfield(points: Points, d: np.ndarray) -> np.ndarray:
        # The arterial spleen is striped; the stripes are gone in the venous phase.
        x, y, z = points
        stripes = np.sin(x / 5.0 + np.sin(z / 9.0)) * np.sin(y / 6.0 + z / 7.0)
        mixed: np.ndarray = level + 25.0 * arterial * stripes
        return mixed

    level = patient.enhanced("spleen")
    return Structure(outer.bounds, distance, hounsfield, patient.values["spleen"])


def _stomach(patient: Patient) -> tuple[Structure, Structure]:
    """The stomach with fluid or oral contrast and gas in front of it, and the duodenum it empties into."""
    draws = patient.draws
    content = (
        190.0 if draws.uniform("oral contrast", 0, 1) < 0.2 else draws.uniform("stomach fluid", 8.0, 40.0)
    )
    filling = hollow(88.0, content, draws.uniform("stomach gas", -56.0, -38.0), 3.5)
    knots = (
        (56, 14, 84, 24), (63, -4, 68, 28), (64, -28, 42, 25), (52, -46, 16, 21),
        (26, -55, 0, 18), (-2, -53, -2, 15), (-20, -45, 2, 12), (-31, -37, 3, 9),
    )  # fmt: skip
    duodenum = (
        (-32, -35, 3, 9), (-45, -26, 4, 11), (-50, -10, -12, 11), (-49, -6, -36, 11.5),
        (-38, -8, -56, 11), (-8, -16, -60, 9), (18, -12, -50, 10), (30, -26, -30, 11),
    )  # fmt: skip
    stomach = patient.tube("stomach", knots, filling, 2.5)
    fluid = hollow(95.0, draws.uniform("duodenal fluid", 15.0, 45.0), -28.0, 2.5)
    return stomach, tube(duodenum, fluid)


def _kidneys_and_adrenals(patient: Patient, fat: float) -> list[Structure]:
    parts: list[Structure] = []
    for name, side, height in (("right", -1.0, -14.0), ("left", 1.0, 0.0)):
        center = np.array((side * 60.0, 31.0, height)) + patient.draws.jitter(f"{name} kidney place", 2.5)
        kidney, sinus = _kidney(patient, name, side, center)
        top = np.add(center, (side * -24.0, -10.0, 53.0))
        adrenal = _adrenal(patient, name, side, top)
        x, y, z = center
        bed = tube([(x, y + 2, z - 62, 22), (x, y, z, 32), (x - side * 10, y, z + 46, 19)], fat)
        pocket = ellipsoid(np.add(top, (0.0, 7.0, 0.0)), (13.0, 17.0, 19.0), fat)
        artery = tube(
            [(side * 8 + 5, 10, height + 4, 3), (side * 34, 18, height, 3)], patient.enhanced("aorta")
        )
        vein = tube(
            [(side * 4 - 4, -4, height, 4), (side * 38, 14, height - 4, 4.5)], patient.enhanced("cortex") - 30
        )
        parts += [bed, pocket, kidney, sinus, artery, vein, adrenal]
    return parts


def _kidney(patient: Patient, name: str, side: float, center: np.ndarray) -> tuple[Structure, Structure]:
    draws = patient.draws
    size = draws.uniform(f"{name} kidney size", 0.94, 1.06)
    tilt = np.array((9.0, side * 11.0, side * 25.0)) + draws.jitter(f"{name} kidney tilt", 3.0)
    bean = ellipsoid(center, size * np.array((29.0, 24.5, 55.0)), 0.0, degrees=tilt)
    hilum = center + np.array((side * -22.0, -9.0, 0.0)) * size
    sinus = ellipsoid(hilum, size * np.array((20.0, 8.0, 20.0)), 0.0, degrees=tilt)
    cortex, medulla = patient.enhanced("cortex"), patient.enhanced("medulla")

    def hounsfield(points: Points, distance: np.ndarray) -> np.ndarray:
        x, y, z = (p - np.float32(c) for p, c in zip(points, center, strict=True))
        # Columns of cortex reach between the pyramids of the medulla.
        pyramids = np.sin(z / 4.2) + 0.7 * np.cos(4.0 * np.arctan2(y, x * side))
        inside = soft_step(distance + 7.0 - 2.0 * pyramids, 3.0)
        mixed: np.ndarray = cortex + inside * (medulla - cortex)
        return mixed

    def rim(points: Points) -> np.ndarray:
        return smooth_intersection(bean.distance(points), -sinus.distance(points), 5.0)

    pelvis = ellipsoid(np.add(hilum, (side * 3.0, 0.0, -4.0)), (9.0, 4.5, 9.0), 12.0, degrees=tilt)
    return Structure(bean.bounds, rim, hounsfield, patient.values[f"{name}_kidney"]), pelvis


def _adrenal(patient: Patient, name: str, side: float, top: np.ndarray) -> Structure:
    """An inverted Y in axial slices: two thin limbs that meet in front."""
    draws = patient.draws
    size = draws.uniform(f"{name} adrenal size", 0.93, 1.04)
    place = top + draws.jitter(f"{name} adrenal place", 1.5)
    spread = 22.0 + draws.uniform(f"{name} adrenal spread", -5.0, 5.0)
    limbs = []
    for turn in (-spread, spread):
        direction = np.array((np.sin(np.radians(turn)), np.cos(np.radians(turn)), 0.0))
        limb = ellipsoid(
            place + 8.5 * direction, size * np.array((2.9, 13.0, 14.0)), 0.0, degrees=(0, 0, -turn)
        )
        limbs.append(limb)

    def distance(points: Points) -> np.ndarray:
        return smooth_union(limbs[0].distance(points), limbs[1].distance(points), 1.5)

    (x0, x1), y, z = (
        (min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(limbs[0].bounds, limbs[1].bounds, strict=True)
    )
    return Structure(
        ((x0, x1), y, z), distance, patient.enhanced("adrenal"), patient.values[f"{name}_adrenal_gland"]
    )


def _pancreas_and_veins(patient: Patient, fat: float) -> list[Structure]:
    path = np.array((
        (-24, -20, -44, 11), (-29, -23, -26, 14.5), (-26, -28, -8, 14), (-8, -34, 2, 9.5), (14, -29, 9, 11.5),
        (36, -14, 17, 12), (60, -3, 26, 11.5), (82, 6, 36, 8),
    ), float)  # fmt: skip
    path[:, :3] += patient.draws.jitter("pancreas", 2.0, (len(path), 3))
    path[:, 3] *= patient.draws.uniform("pancreas width", 0.99, 1.12)
    smooth = tube(path, patient.enhanced("pancreas"), patient.values["pancreas"])
    phases = patient.draws.stream("pancreas lobules").uniform(0.0, 2 * np.pi, 3).astype(np.float32)

    def lobulated(points: Points) -> np.ndarray:
        x, y, z = (p / np.float32(3.6) + a for p, a in zip(points, phases, strict=True))
        return smooth.distance(points) + 1.3 * np.sin(x + np.sin(y)) * np.sin(y + 0.5 * x) * np.sin(z)

    pancreas = Structure(smooth.bounds, lobulated, smooth.hounsfield, smooth.label)
    blood = patient.enhanced("portal")
    behind = path[3:, :3] + (0.0, 10.0, -2.0)
    splenic = np.concatenate([behind[::-1], [(-8, -21, -6)]])
    splenic[0] += (6.0, 2.0, 2.0)
    confluence = (-8.0, -21.0, -6.0)
    veins = (
        [(*p, r) for p, r in zip(splenic, (2.8, 3.6, 4.2, 4.4, 4.6, 5.2), strict=True)],
        [
            (-4, -34, -78, 4.5),
            (-5, -28, -40, 5.2),
            (*confluence, 6.4),
            (-20, -20, 12, 6.8),
            (-36, -16, 30, 7.0),
        ],
        [(-36, -16, 30, 6.6), (-60, -8, 42, 5.4), (-84, 0, 46, 3.4)],
        [(-36, -16, 30, 6.0), (-24, -34, 46, 4.8), (-6, -46, 54, 3.2)],
    )
    value = patient.values["portal_and_splenic_veins"]
    portal = [tube(vein, blood, value) for vein in veins]
    return [portal[1].halo(3.5, fat).covering(lambda p: p[2] - 22.0), pancreas, *portal]


def _great_vessels(patient: Patient) -> list[Structure]:
    arterial = patient.enhanced("aorta")
    course = (
        (9, 12, 330, 12.5), (11, 12, 150, 12.5), (9, 10, 90, 12), (7, 8, 30, 11), (5, 7, -40, 10),
        (2, 8, -98, 9),
    )  # fmt: skip
    aorta = patient.tube("aorta", course, arterial, 1.2)
    random = patient.draws.stream("calcifications")
    plaques = []
    for _ in range(int(random.integers(0, 7))):
        spot = random.uniform((-6.0, 4.0, -95.0), (18.0, 16.0, 40.0))
        plaque = ellipsoid(spot, (4.0, 4.0, 5.0), 650.0, None)
        plaques.append(plaque.covering(lambda p: np.abs(aorta.distance(p) + 1.2) - 1.2))
    branches: list[Knots] = [
        [(2, 8, -98, 7), (22, 14, -135, 6), (44, 22, -180, 5)],
        [(2, 8, -98, 7), (-20, 14, -135, 6), (-42, 22, -180, 5)],
        [(6, 0, 2, 3.4), (4, -14, -16, 3.4), (6, -30, -52, 3), (2, -38, -90, 2.5)],
        [(7, 0, 18, 3.6), (6, -16, 22, 3.2), (26, -14, 24, 2.6), (60, 2, 34, 2)],
        [(6, -16, 22, 2.8), (-18, -24, 20, 2.4), (-34, -24, 32, 1.8)],
    ]
    venous = (
        (-14, 10, -108, 10), (-20, 9, -60, 11), (-20, 8, 0, 12), (-22, 4, 48, 13), (-23, -4, 92, 13.5),
        (-17, -18, 128, 14),
    )  # fmt: skip
    cava = patient.tube("inferior_vena_cava", venous, patient.enhanced("cava"), 1.5, flatten=1.25)
    iliac = [[(-14, 12, -108, 9), (side * 22, 22, -140, 7), (side * 46, 30, -185, 6)] for side in (-1, 1)]
    veins = [tube(path, patient.enhanced("cava") - 15.0) for path in iliac]
    return [*(tube(path, arterial) for path in branches), *veins, cava, aorta, *plaques]


def _gallbladder_and_esophagus(patient: Patient) -> list[Structure]:
    bile = patient.draws.uniform("bile HU", 4.0, 18.0)
    pear = ((-38, -34, 2, 5.5), (-45, -42, -10, 10), (-53, -50, -24, 15.5), (-58, -54, -34, 16.2))
    gallbladder = patient.tube("gallbladder", pear, hollow(70.0, bile, None, 1.5), 1.5)
    gullet = (
        (2, -2, 330, 8), (3, -6, 150, 8.5), (5, -10, 120, 8.5), (15, -10, 100, 8.5), (32, -2, 88, 8.5),
        (44, 4, 84, 9),
    )  # fmt: skip
    esophagus = patient.tube("esophagus", gullet, hollow(64.0, -250.0, None, 6.0), 1.2)
    return [gallbladder, esophagus]
