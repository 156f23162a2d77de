"""What surrounds the phantom's organs, unlabelled: skin, fat, muscle, ribs, spine, lungs, heart, bowel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .phantom_shapes import (
    Bounds,
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

EVERYWHERE: Bounds = ((-1e4, 1e4), (-1e4, 1e4), (-1e4, 1e4))
VERTEBRA_PITCH_MM = 35.0
RIB_PITCH_MM = 27.0
# How far each rib goes around, in radians from the back; the lowest first. The two lowest are floating ribs.
RIB_REACH = (0.85, 1.3, 1.8, 2.1, 2.3, 2.4, 2.5, 2.55, 2.6)
FLOATING_RIBS = 2
LOWEST_RIB_MM = 60.0
RIB_SLOPE_MM = 58.0
# Half width, front and back depth in mm of the outer and inner surface of the trunk's muscular wall.
OUTER_WALL = (142.0, 90.0, 97.0)
INNER_WALL = (130.0, 80.0, 69.0)


@dataclass(frozen=True)
class Habitus:
    """What differs from patient to patient outside the organs.

    Attributes:
        fat_mm: thickness of the fat below the skin.
        fat: HU of fat.
        muscle: HU of muscle.
        marrow: HU of spongy bone, lower with age.
        blood: HU of the heart's chambers.
    """

    fat_mm: float
    fat: float
    muscle: float
    marrow: float
    blood: float


def trunk_distance(points: Points, wall: tuple[float, float, float]) -> np.ndarray:
    """Distance to the outer or inner surface of the trunk's wall: rounded, flatter behind than in front."""
    half_width, front, back = wall
    x, y, z = points
    waist = 1.0 - 0.035 * np.clip((z - 35.0) / 110.0, -1.4, 1.4) ** 2
    across = np.abs(x) / (np.float32(half_width) * waist)
    along = np.abs(y) / np.where(y < 0, np.float32(front), np.float32(back))
    # A superellipse of exponent 2.5: u**1.5 is cheaper as u * sqrt(u).
    a, b = across * np.sqrt(across), along * np.sqrt(along)
    level = (a * across + b * along) ** np.float32(0.4)
    scale = np.maximum(level * np.sqrt(level), 1e-6)
    depth = np.where(y < 0, np.float32(front), np.float32(back))
    slope = np.hypot(a / scale / np.float32(half_width), b / scale / depth)
    distance: np.ndarray = (level - 1.0) / np.maximum(slope, 1e-6)
    return distance


def inner_wall(points: Points) -> np.ndarray:
    """Distance to the inner surface of the trunk's wall: what lies in the cavity is negative."""
    return trunk_distance(points, INNER_WALL)


def diaphragm(points: Points) -> np.ndarray:
    """Distance to the diaphragm's domes, the right one higher; the abdomen is negative."""
    x, y, z = points

    def dome(center: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        above = np.maximum(z - np.float32(center[2]), 0.0)
        return ellipsoid_distance((x, y, above), (center[0], center[1], 0.0), radii)

    right = dome((-62.0, -8.0, 18.0), (74.0, 84.0, 92.0))
    left = dome((62.0, -8.0, 14.0), (70.0, 84.0, 84.0))
    middle = dome((0.0, -22.0, 12.0), (80.0, 62.0, 80.0))
    return smooth_union(smooth_union(right, left, 25.0), middle, 25.0)


def body(habitus: Habitus) -> list[Structure]:
    """The trunk from the skin inwards, without abdominal organs."""
    return [
        _trunk(habitus),
        Structure(EVERYWHERE, inner_wall, habitus.fat),
        *_back_muscles(habitus),
        *_spine(habitus),
        *_ribs(habitus),
    ]


def chest(draws: Draws, habitus: Habitus) -> list[Structure]:
    """Lungs above the diaphragm, their vessels, and the heart."""

    def lungs(points: Points) -> np.ndarray:
        recess = 40.0 - 0.42 * points[1] - points[2]
        mediastinum = ellipsoid_distance(points[:2], (4.0, 12.0), (24.0, 62.0))
        gutter = ellipsoid_distance(points[:2], (0.0, 62.0), (34.0, 24.0))
        column = smooth_union(mediastinum, gutter, 8.0)
        above = np.maximum(inner_wall(points) + 2.0, 3.0 - diaphragm(points))
        return smooth_intersection(np.maximum(above, recess), -column, 8.0)

    heart_center = np.array((20.0, -34.0, 148.0)) + draws.jitter("heart", 3.0)
    heart = ellipsoid(heart_center, (66.0, 46.0, 44.0), habitus.blood, degrees=(0.0, 20.0, -30.0))
    chamber = ellipsoid(heart_center, (52.0, 33.0, 32.0), habitus.blood + 30.0, degrees=(0.0, 20.0, -30.0))
    muscle = Structure(heart.bounds, heart.distance, habitus.muscle + 45.0)
    room: Bounds = ((-140.0, 140.0), (-100.0, 100.0), (0.0, 1e4))
    lung = Structure(room, lungs, -865.0)
    vessels = [vessel.covering(lungs) for vessel in _lung_vessels(draws)]
    fat = heart.halo(6.0, habitus.fat).covering(lambda p: -diaphragm(p))
    return [lung, *vessels, fat, muscle.covering(lambda p: 3.0 - diaphragm(p)), chamber]


def bowel(draws: Draws) -> list[Structure]:
    """Mesenteric vessels, loops of small bowel, and the colon that frames them."""
    structures = []
    random = draws.stream("mesentery")
    for _ in range(26):
        start = random.uniform((-30.0, -35.0, -100.0), (40.0, -10.0, -20.0))
        end = start + random.normal(0.0, 24.0, 3)
        knots = [(*start, 1.9), (*(0.5 * (start + end) + random.normal(0.0, 5.0, 3)), 1.6), (*end, 1.2)]
        structures.append(tube(knots, 120.0))
    return [*structures, *_small_bowel(draws), *_colon(draws)]


def _trunk(habitus: Habitus) -> Structure:
    def skin(points: Points) -> np.ndarray:
        x, y, z = points
        lower = 1.0 + 0.35 * np.clip((20.0 - z) / 100.0, -1.0, 1.0)
        furrow = 4.0 * np.exp(-((x / 18.0) ** 2)) * (y > 0)
        behind = 6.0 * np.clip(y / 90.0, -0.5, 1.0)
        return trunk_distance(points, OUTER_WALL) - habitus.fat_mm * lower - behind + furrow

    def hounsfield(points: Points, distance: np.ndarray) -> np.ndarray:
        x, y, z = points
        depth = trunk_distance(points, OUTER_WALL)
        # In front of the ribs the wall is thin; behind them a flat muscle lies on fat.
        chest = soft_step(50.0 - z, 40.0)
        depth = depth + 4.0 * chest * soft_step(y + 20.0, 60.0)
        on_ribs = np.exp(-(((depth + 3.4) / 1.3) ** 2)) * chest * (y > -20) * (np.abs(x) > 55)
        # Fat between the three flat muscles of the flank, and in the white line between the straight ones.
        flank = (np.abs(x) > 62) & (y < 50) & (z < 45)
        cleft = np.exp(-(((depth + 4.0) / 1.1) ** 2)) + np.exp(-(((depth + 7.8) / 1.1) ** 2))
        middle = np.exp(-((x / 4.0) ** 2)) * (y < 0) + np.exp(-(((np.abs(x) - 62.0) / 4.0) ** 2)) * (y < -30)
        muscle = habitus.muscle - 75.0 * np.minimum(cleft * flank + 1.6 * middle + 1.5 * on_ribs, 2.0)
        fat = habitus.fat + 140.0 * soft_step(-(distance + 3.0), 1.5)
        mixed: np.ndarray = fat + soft_step(depth) * (muscle - fat)
        return mixed

    return Structure(EVERYWHERE, skin, hounsfield)


def _back_muscles(habitus: Habitus) -> list[Structure]:
    structures = []
    for side in (-1.0, 1.0):
        groove = [(side * 33, 78, -400, 23.6), (side * 33, 78, 60, 22.6), (side * 28, 76, 160, 18.6)]
        erector = [(side * 33, 78, -400, 22), (side * 33, 78, 60, 21), (side * 28, 76, 160, 17)]
        quadratus = [(side * 62, 60, -120, 9), (side * 58, 61, -40, 9), (side * 46, 60, 20, 5)]
        psoas = [(side * 50, 40, -160, 24), (side * 44, 42, -80, 21), (side * 36, 44, -20, 14)]
        crus = [(side * 9 + 5, 20, 92, 4.5), (side * 17 + 4, 19, 45, 5.5), (side * 15 + 2, 24, -25, 3.5)]
        structures += [
            tube(groove, habitus.muscle - 70.0, flatten=1.3),
            tube(erector, _streaked(habitus), flatten=1.3),
            tube(quadratus, habitus.muscle, flatten=1.5),
            tube([*psoas, (side * 27, 44, 18, 6)], habitus.muscle),
            tube(crus, habitus.muscle),
        ]
    return structures


def _streaked(habitus: Habitus) -> Hounsfield:
    """Muscle with streaks of fat."""

    def hounsfield(points: Points, distance: np.ndarray) -> np.ndarray:
        x, y, z = points
        streaks = np.sin(x / 3.1 + z / 17.0) * np.sin(y / 2.7 - z / 13.0)
        mixed: np.ndarray = habitus.muscle - 5.0 - 45.0 * np.maximum(streaks - 0.35, 0.0)
        return mixed

    return hounsfield


def _spine(habitus: Habitus) -> list[Structure]:
    column: Bounds = ((-50.0, 50.0), (15.0, 112.0), (-1e4, 1e4))

    def local(points: Points) -> Points:
        half = np.float32(0.5 * VERTEBRA_PITCH_MM)
        x, y, z = points
        return x, y, np.mod(z + half, np.float32(VERTEBRA_PITCH_MM)) - half

    def disc(points: Points) -> np.ndarray:
        return ellipsoid_distance(points[:2], (0.0, 41.0), (23.0, 16.5))

    def bone(points: Points) -> np.ndarray:
        x, y, z = local(points)
        side = np.abs(x)
        waist = 1.0 - 0.08 * np.cos(z * np.float32(np.pi / 13.0))
        barrel = ellipsoid_distance((x / waist, y), (0.0, 41.0), (22.5, 16.5))
        vertebra = smooth_intersection(barrel, np.abs(z) - 13.5, 3.0)
        canal = ellipsoid_distance((x, y), (0.0, 66.0), (11.0, 8.0))
        arch = np.maximum(np.abs(canal - 3.2) - 3.2, np.abs(z + 1.0) - 11.0)
        spinous = _rod((x * 1.4, y, z), (0.0, 78.0, -2.0), (0.0, 98.0, -11.0), 5.0)
        transverse = _rod((side, y, z), (14.0, 64.0, 4.0), (38.0, 67.0, 3.0), 4.2)
        facet = ellipsoid_distance((side, y, np.abs(z)), (15.5, 72.0, 15.0), (7.0, 6.5, 9.0))
        processes = np.minimum(np.minimum(spinous, transverse), np.minimum(facet, arch))
        return np.minimum(vertebra, np.maximum(processes, 1.0 - canal))

    def canal(points: Points) -> np.ndarray:
        return ellipsoid_distance(points[:2], (0.0, 66.0), (7.5, 6.0))

    return [
        Structure(column, disc, habitus.muscle + 32.0),
        Structure(column, lambda p: ellipsoid_distance(p[:2], (0.0, 66.0), (11.0, 8.5)), habitus.fat + 60.0),
        Structure(column, bone, _bony(habitus.marrow)),
        Structure(column, canal, 25.0),
    ]


def _rod(
    points: Points, start: tuple[float, float, float], end: tuple[float, float, float], radius: float
) -> np.ndarray:
    axis = np.subtract(end, start).astype(np.float32)
    offsets = [p - np.float32(c) for p, c in zip(points, start, strict=True)]
    share = np.clip(sum(o * a for o, a in zip(offsets, axis, strict=True)) / (axis @ axis), 0.0, 1.0)
    distance: np.ndarray = np.sqrt(sum((o - share * a) ** 2 for o, a in zip(offsets, axis, strict=True)))
    return distance - np.float32(radius)


def _bony(marrow: float) -> Hounsfield:
    """A dense shell around spongy bone."""

    def hounsfield(points: Points, distance: np.ndarray) -> np.ndarray:
        mixed: np.ndarray = marrow + (620.0 - marrow) * soft_step(-(distance + 2.0), 2.0)
        return mixed

    return hounsfield


def _ribs(habitus: Habitus) -> list[Structure]:
    top = LOWEST_RIB_MM + RIB_PITCH_MM * len(RIB_REACH)
    cage: Bounds = ((-150.0, 150.0), (-100.0, 100.0), (-30.0, top))
    reach = np.array(RIB_REACH, np.float32)

    def around(points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance to the rib's axis as if it had no end, radians beyond its end, and the rib's number."""
        x, y, z = points
        angle = np.arctan2(np.abs(x), y)
        height = (z + RIB_SLOPE_MM * angle - LOWEST_RIB_MM) / np.float32(RIB_PITCH_MM)
        number = np.clip(np.rint(height), 0, len(RIB_REACH) - 1)
        off_axis = (height - number) * np.float32(RIB_PITCH_MM)
        section = ellipsoid_distance((inner_wall(points) - 5.5, off_axis), (0.0, 0.0), (3.4, 6.4))
        return np.maximum(section, 26.0 - np.abs(x)), angle - reach[number.astype(np.intp)], number

    def bone(points: Points) -> np.ndarray:
        section, beyond, _ = around(points)
        return np.maximum(section, 110.0 * beyond)

    def cartilage(points: Points) -> np.ndarray:
        section, beyond, number = around(points)
        return np.maximum(np.maximum(section, 110.0 * (beyond - 0.4)), 1e3 * (number < FLOATING_RIBS))

    return [Structure(cage, cartilage, habitus.muscle + 45.0), Structure(cage, bone, _bony(habitus.marrow))]


def _lung_vessels(draws: Draws) -> list[Structure]:
    random = draws.stream("lung vessels")
    vessels = []
    for side in (-1.0, 1.0):
        hilum = np.array((side * 42.0, 14.0, 165.0))
        for _ in range(14):
            tip = random.uniform((40.0, -60.0, 35.0), (120.0, 62.0, 110.0)) * (side, 1.0, 1.0)
            bend = 0.5 * (hilum + tip) + random.normal(0.0, 8.0, 3)
            vessels.append(tube([(*hilum, 4.0), (*bend, 2.6), (*tip, 1.2)], 40.0))
    return vessels


def _small_bowel(draws: Draws) -> list[Structure]:
    random = draws.stream("small bowel")
    loops = []
    for z in (-135.0, -112.0, -88.0, -64.0, -40.0):
        for x in (-58.0, -24.0, 12.0, 46.0, 78.0):
            for y in (-58.0, -32.0, -8.0):
                if (y > -20.0 and abs(x) < 50.0) or (z > -50.0 and (x < 0.0 or y > -20.0)):
                    continue  # the great vessels and the pancreas lie there
                center = np.array((x, y, z)) + random.normal(0.0, 5.0, 3)
                loops.append(_loop(random, center))
    order = random.permutation(len(loops))
    return [loops[i].covering(lambda p: inner_wall(p) + 2.0) for i in order]


def _loop(random: np.random.Generator, center: np.ndarray) -> Structure:
    axes = np.linalg.qr(random.normal(size=(3, 3)))[0]
    half, bend, radius = random.uniform(16, 28), random.uniform(6, 16), random.uniform(9.5, 13.0)
    knots = [
        (*(center + s * half * axes[0] + (s * s - 0.5) * bend * axes[1]), radius * (1 - 0.1 * s * s))
        for s in (-1.0, -0.5, 0.0, 0.5, 1.0)
    ]
    content = float(random.choice((15.0, 25.0, 35.0, 55.0)))
    gas = center[1] - radius * random.uniform(0.1, 0.6) if random.uniform() < 0.22 else None
    return tube(knots, hollow(random.uniform(75.0, 105.0), content, gas, 2.5), steps=2)


def _colon(draws: Draws) -> list[Structure]:
    ascending = [(-97, 14, -175, 24), (-98, 14, -140, 24), (-100, 12, -112, 22), (-96, 4, -88, 21)]
    first = [(-96, 4, -88, 20), (-82, -26, -86, 20), (-52, -52, -78, 18), (-12, -58, -70, 17)]
    second = [(-12, -58, -70, 17), (30, -60, -52, 17), (68, -54, -26, 18), (98, -24, -4, 17)]
    descending = [(98, -24, -4, 17), (110, 4, -8, 15), (106, 26, -45, 13), (106, 26, -110, 13)]
    parts = {
        "ascending": (ascending, 45.0, -4.0),
        "proximal transverse": (first, 30.0, -45.0),
        "distal transverse": (second, 30.0, -50.0),
        "descending": ([*descending, (96, 16, -175, 15)], 35.0, 18.0),
    }
    structures = []
    for name, (knots, content, level) in parts.items():
        path = np.array(knots, float)
        path[1:-1, :3] += draws.jitter(f"{name} colon", 3.0, (len(knots) - 2, 3))
        filling = hollow(85.0, content, level + draws.uniform(f"{name} gas", -8.0, 8.0), 2.5)
        structures.append(_pouched(tube(path, filling)).covering(lambda p: inner_wall(p) + 2.0))
    return structures


def _pouched(colon: Structure) -> Structure:
    """The colon's haustra: a wall drawn in at intervals."""

    def distance(points: Points) -> np.ndarray:
        x, y, z = points
        folds = np.sin(x / 5.5) * np.sin(z / 6.0) + 0.4 * np.sin((y + x) / 5.0)
        return colon.distance(points) + 2.2 * np.maximum(folds, 0.0)

    return Structure(colon.bounds, distance, colon.hounsfield, colon.label)
