"""What stands along the drawn street, what moves on it, and who looks at it.

Metres and seconds; x to the right, y up, z down the street.  The street has no
end: it is laid out block by block, and traffic passes the camera in episodes,
each from its own random numbers, so that a frame never depends on how many
frames are drawn.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from data.street import textures as tx
from data.street.textures import Points, Texture, make_texture
from jaxseg.arrays import IGNORE_LABEL

# CamVid's classes, in its order.
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
SHADE = IGNORE_LABEL
"""The label of a patch that darkens what lies under it and is not itself seen."""

BLOCK = 24.0
KERB = 0.12
KERBS = {-1: -4.9, 1: 6.2}
"""Where the road ends on the left and on the right, metres."""
FRONTS = {-1: -7.8, 1: 9.2}
"""Where the pavement ends on either side, and gardens and houses begin."""
ROAD_PERIOD = 12.0
PAVEMENT_PERIOD = 4.0
REACH_PERSON, REACH_NEAR, REACH_FAR = 65.0, 90.0, 230.0

Vector = tuple[float, float, float]
Plane = Float[np.ndarray, "3 3"]
Key = tuple[Any, ...]


class Patch(NamedTuple):
    """A textured parallelogram.

    Attributes:
        plane: Columns are across (one image width), down (one image height)
            and the image's upper left corner, metres.
        texture: What it looks like.
        label: What it is.
        tint: Factor on each colour.
        repeat: How often the image repeats across and down.
        normal: Which way it faces; zero if it is seen from both sides.
        reach: It is drawn up to this distance, metres.
        is_hazy: Whether distance makes it paler.
    """

    plane: Plane
    texture: Texture
    label: int
    tint: Vector = (1.0, 1.0, 1.0)
    repeat: tuple[float, float] = (1.0, 1.0)
    normal: Vector = (0.0, 0.0, 0.0)
    reach: float = REACH_NEAR
    is_hazy: bool = True


class Camera(NamedTuple):
    """Where the camera is and looks.

    Attributes:
        position: `[3]`, metres.
        yaw: Radians, to the right.
        pitch: How far the horizon lies above its mean, image heights.
    """

    position: Float[np.ndarray, "3"]
    yaw: float
    pitch: float


class World(NamedTuple):
    """A street in time.

    Attributes:
        camera: From a time to the camera.
        patches: From two times to all that may be seen at the first, by a key
            that stays the same in time: the patch, and its plane at the second.
        haze: Distance at which contrast falls to 1/e, metres.
        air: Colour of the haze, 0..255.
    """

    camera: Callable[[float], Camera]
    patches: Callable[[float, float], dict[Key, tuple[Patch, Plane]]]
    haze: float
    air: Vector


class _Look(NamedTuple):
    """The textures of one street, and where its light comes from."""

    sky: Texture
    skyline: Texture
    road: Texture
    tarmac: Texture
    pavement: Texture
    shops: list[Texture]
    homes: list[Texture]
    walls: list[Texture]
    gable: Texture
    fences: list[Texture]
    crowns: list[Texture]
    trunk: Texture
    poles: list[Texture]
    signs: list[Texture]
    shade: Texture
    vehicles: list["_Vehicle"]
    torsos: list[Texture]
    legs: list[Texture]
    bicycles: list[Texture]
    wheel: Texture
    light: Vector


class _Vehicle(NamedTuple):
    """A vehicle: an outline swept across its width, one texture an edge."""

    profile: Points
    width: float
    side: Texture
    edges: list[Texture]
    axle: Texture


Actor = Callable[[float], list[Patch]]


def _plane(corner: Vector, across: Vector, down: Vector) -> Plane:
    return np.array([across, down, corner], float).T


def _tint(rng: Generator, spread: float = 0.06) -> Vector:
    red, green, blue = rng.normal(1, spread) * rng.normal(1, spread / 3, 3)
    return float(red), float(green), float(blue)


def _dim(tint: Vector, factor: float) -> Vector:
    return tint[0] * factor, tint[1] * factor, tint[2] * factor


def _upright(x: float, y: float, z: float, width: float, height: float) -> Plane:
    """Stand an image on (x, y, z), facing along the street."""
    return _plane((x - width / 2, y + height, z), (width, 0, 0), (0, -height, 0))


def _shade(look: _Look, x: float, y: float, z: float, width: float, length: float) -> Patch:
    plane = _plane((x - width / 2, y + 0.01, z + length / 2), (width, 0, 0), (0, 0, -length))
    return Patch(plane, look.shade, SHADE, reach=45.0)


class _Shape(NamedTuple):
    """Outlines of a vehicle and its side windows, (along from the rear, up), metres."""

    profile: Points
    windows: list[Points]
    width: float


_SALOON = _Shape(
    [(0, 0), (0, 0.92), (0.5, 0.98), (1.0, 1.42), (2.5, 1.44), (3.3, 0.95), (4.3, 0.8), (4.38, 0)],
    [
        [(0.75, 0.98), (1.12, 1.34), (1.75, 1.36), (1.75, 0.98)],
        [(1.85, 0.98), (1.85, 1.36), (2.42, 1.36), (3.05, 0.98)],
    ],
    1.75,
)
_HATCHBACK = _Shape(
    [(0, 0), (0, 1.0), (0.05, 1.02), (0.4, 1.5), (2.4, 1.52), (3.1, 1.0), (3.9, 0.85), (3.98, 0)],
    [
        [(0.35, 1.02), (0.55, 1.42), (1.4, 1.44), (1.4, 1.02)],
        [(1.5, 1.02), (1.5, 1.44), (2.3, 1.44), (2.85, 1.02)],
    ],
    1.7,
)
_VAN = _Shape(
    [(0, 0), (0, 2.0), (0.05, 2.02), (0.1, 2.05), (3.5, 2.05), (4.2, 1.25), (5.0, 1.05), (5.08, 0)],
    [[(2.7, 1.2), (2.7, 1.8), (3.5, 1.8), (3.95, 1.25)]],
    1.95,
)
_BUS = _Shape(
    [(0, 0), (0, 2.9), (0.05, 2.95), (0.1, 3.0), (8.8, 3.0), (8.95, 2.7), (9.0, 1.1), (9.08, 0)],
    [[(i + 0.1, 1.35), (i + 0.1, 2.4), (i + 1.0, 2.4), (i + 1.0, 1.35)] for i in range(1, 8)],
    2.45,
)
_SHAPES = (_SALOON,) * 4 + (_HATCHBACK,) * 4 + (_VAN, _VAN, _BUS)
_NUM_CARS = 8
"""How many of the shapes, the first ones, may be parked."""


def _make_vehicle(rng: Generator, shape: _Shape) -> _Vehicle:
    paint = tx.pick_colour(rng, tx.PAINTS)
    profile, windows, width = shape
    body = make_texture(tx.paint_panel(rng, colour=paint))
    pane = make_texture(
        tx.paint_panel(rng, colour=tx.scale_colour(tx.GLASS, rng.uniform(0.8, 1.4)))
    )
    rear, front = (
        make_texture(tx.paint_car_end(rng, paint=paint, is_rear=is_rear, height=height))
        for is_rear, height in ((True, profile[1][1]), (False, profile[-2][1]))
    )
    side = make_texture(tx.paint_car_side(rng, profile=profile, windows=windows, paint=paint))
    back = body if shape in (_VAN, _BUS) else pane
    edges = [rear, body, back, body, pane, pane if shape is _BUS else body, front]
    return _Vehicle(profile, width, side, edges, make_texture(tx.paint_axle(rng)))


def _make_look(rng: Generator, lines: Iterable[float]) -> _Look:
    def several(num: int, paint_fn: Callable[..., np.ndarray], **options: Any) -> list[Texture]:
        return [make_texture(paint_fn(rng, **options)) for _ in range(num)]

    (sky,) = several(1, tx.paint_sky, cloudiness=rng.uniform(0.1, 0.9))
    coats = [tx.pick_colour(rng, tx.CLOTHES) for _ in range(9)]
    trousers = [tx.pick_colour(rng, ((48, 52, 70), (60, 54, 48), (96, 90, 84))) for _ in range(6)]
    grey, brown, green = (
        tx.pick_colour(rng, (c,), spread=8) for c in ((118,) * 3, (92, 74, 58), (58, 78, 66))
    )
    return _Look(
        sky=sky,
        skyline=make_texture(tx.paint_skyline(rng)),
        road=make_texture(tx.paint_road(rng, lines=tuple(lines))),
        tarmac=make_texture(tx.paint_panel(rng, colour=(74, 74, 77))),
        pavement=make_texture(tx.paint_pavement(rng)),
        shops=several(5, tx.paint_facade, is_shop=True),
        homes=several(5, tx.paint_facade, is_shop=False),
        walls=several(4, tx.paint_wall),
        gable=make_texture(tx.paint_gable(rng)),
        fences=several(4, tx.paint_fence),
        crowns=several(6, tx.paint_crown),
        trunk=make_texture(tx.paint_post(rng, colour=brown)),
        poles=[make_texture(tx.paint_post(rng, colour=c)) for c in (grey, green, (66, 66, 70))],
        signs=several(6, tx.paint_sign),
        shade=make_texture(tx.paint_shade()),
        vehicles=[_make_vehicle(rng, shape) for shape in _SHAPES],
        torsos=[
            make_texture(tx.paint_person(rng, coat=c, has_helmet=i % 2 > 0))
            for i, c in enumerate(coats)
        ],
        legs=[make_texture(tx.paint_leg(rng, colour=c)) for c in trousers],
        bicycles=several(3, tx.paint_bicycle),
        wheel=make_texture(tx.paint_post(rng, colour=(40, 40, 42))),
        light=(1.0, 0.72, 0.86) if rng.random() < 0.5 else (0.72, 1.0, 0.86),
    )


def _vehicle(look: _Look, kind: int, x: float, z: float, *, heading: int) -> list[Patch]:
    """Put a vehicle's middle at (x, z); heading 1 drives away, -1 comes."""
    car = look.vehicles[kind]
    length, height = car.profile[-1][0], max(y for _, y in car.profile)
    half = car.width / 2
    left, right, along = look.light
    rear = z - heading * length / 2
    patches = []
    for side, light in ((-1, left), (1, right)):
        plane = _plane((x + side * half, height, rear), (0, 0, heading * length), (0, -height, 0))
        tint = (light,) * 3
        patches.append(Patch(plane, car.side, CAR, tint, normal=(float(side), 0.0, 0.0)))
    for (a, low), (b, high), texture in zip(car.profile, car.profile[1:], car.edges, strict=False):
        top, bottom = ((b, high), (a, low)) if high >= low else ((a, low), (b, high))
        corner = (x - half, top[1], rear + heading * top[0])
        down = (0.0, bottom[1] - top[1], heading * (bottom[0] - top[0]))
        normal = (0.0, b - a, heading * (low - high))
        light = along if abs(b - a) < abs(high - low) else 1.1
        plane = _plane(corner, (car.width, 0, 0), down)
        patches.append(Patch(plane, texture, CAR, (light,) * 3, normal=normal))
    axle = _upright(x, 0, z - 0.31 * length, car.width - 0.06, 0.66)
    patches.append(Patch(axle, car.axle, CAR))
    return [*patches, _shade(look, x, 0, z, car.width + 0.7, length + 0.6)]


def _person(
    look: _Look,
    looks: tuple[int, int],
    x: float,
    z: float,
    *,
    ground: float,
    swing: float,
    size: float,
) -> list[Patch]:
    """Stand a person on the ground, legs apart by the angle 2 * swing."""
    torso, legs = looks
    patches = [
        Patch(
            _upright(x, ground + 0.78 * size, z, 0.46 * size, 0.95 * size),
            look.torsos[torso],
            PEDESTRIAN,
            reach=REACH_PERSON,
        )
    ]
    for side in (-1, 1):
        reach = 0.84 * size
        angle = side * swing
        hip = (x + (0.1 * side - 0.09) * size, ground + reach, z + 0.02)
        down = (0.0, -reach * np.cos(angle), reach * np.sin(angle))
        plane = _plane(hip, (0.18 * size, 0, 0), down)
        patches.append(Patch(plane, look.legs[legs], PEDESTRIAN, reach=REACH_PERSON))
    return [*patches, _shade(look, x, ground, z, 0.9, 0.7)]


def _cyclist(
    look: _Look, looks: tuple[int, int], x: float, z: float, *, heading: int, turn: float
) -> list[Patch]:
    """Put a cyclist on the road; turn is the angle of the pedals."""
    torso, legs = looks
    side = _plane((x, 1.0, z - heading * 0.85), (0, 0, heading * 1.7), (0, -1.0, 0))
    back = z - heading * 0.6
    patches = [
        Patch(side, look.bicycles[legs % len(look.bicycles)], BICYCLIST, reach=REACH_PERSON),
        Patch(_upright(x, 0, back, 0.1, 0.68), look.wheel, BICYCLIST, reach=REACH_PERSON),
        Patch(_upright(x, 0.86, z, 0.5, 0.9), look.torsos[torso], BICYCLIST, reach=REACH_PERSON),
    ]
    for sign in (-1, 1):
        foot = 0.32 + 0.15 * sign * np.sin(turn)
        corner = (x + 0.12 * sign - 0.09, 0.98, z)
        plane = _plane(corner, (0.18, 0, 0), (0.0, foot - 0.98, 0.15 * sign * np.cos(turn)))
        patches.append(Patch(plane, look.legs[legs], BICYCLIST, reach=REACH_PERSON))
    return [*patches, _shade(look, x, 0, z, 0.7, 1.9)]


def _tree(rng: Generator, look: _Look, x: float, z: float, *, ground: float) -> list[Patch]:
    height = rng.uniform(4.5, 8.5)
    tint = _tint(rng, 0.1)
    patches = [
        Patch(_upright(x, ground, z, 0.32, height * 0.6), look.trunk, TREE, tint, reach=120.0),
        _shade(look, x, ground, z, 3.2, 3.2),
    ]
    for step, (aside, up) in enumerate(((0, 0.36), (-0.2, 0.3), (0.2, 0.32), (0.03, 0.6))):
        size = height * rng.uniform(0.42, 0.56)
        plane = _upright(
            x + aside * height, ground + up * height, z + 0.7 * (step - 1.5), size * 1.15, size
        )
        crown = look.crowns[rng.integers(len(look.crowns))]
        patches.append(Patch(plane, crown, TREE, _dim(tint, rng.uniform(0.85, 1.1)), reach=120.0))
    return patches


def _pole(rng: Generator, look: _Look, x: float, z: float, *, side: int) -> list[Patch]:
    """Put up a lamp post, a sign on its pole, or both."""
    texture = look.poles[rng.integers(len(look.poles))]
    kind = rng.random()
    height = rng.uniform(5.5, 7.5) if kind < 0.55 else rng.uniform(2.6, 3.4)
    width = rng.uniform(0.17, 0.24) if kind < 0.55 else 0.13
    patches = [Patch(_upright(x, KERB, z, width, height), texture, POLE)]
    if kind < 0.55:
        arm = _upright(x - side * 0.75, KERB + height - 0.12, z - 0.02, 1.6, 0.14)
        lamp = _upright(x - side * 1.5, KERB + height - 0.2, z - 0.03, 0.55, 0.2)
        patches += [Patch(arm, texture, POLE), Patch(lamp, texture, POLE, (1.4, 1.4, 1.3))]
    if kind > 0.35:
        size = rng.uniform(0.75, 1.1)
        sign = look.signs[rng.integers(len(look.signs))]
        low = KERB + (height - size + 0.05 if kind >= 0.55 else 2.4)
        patches.append(Patch(_upright(x, low, z - 0.05, size, size), sign, SIGN, _tint(rng)))
    return [*patches, _shade(look, x, KERB, z, 0.5, 0.4)]


def _building(
    rng: Generator, look: _Look, side: int, z: float, length: float, setback: float
) -> list[Patch]:
    """Build a house of five faces, seen from the street."""
    is_shop = setback < 1 and rng.random() < 0.6
    facades = look.shops if is_shop else look.homes
    height = rng.uniform(6, 9) if setback > 1 else rng.uniform(7.5, 15)
    x, tint = FRONTS[side] + side * setback, _tint(rng)
    light = look.light[0 if side > 0 else 1]
    facade = facades[rng.integers(len(facades))]
    wall, roof = (look.walls[rng.integers(len(look.walls))] for _ in range(2))
    face = _plane((x, height, z), (0, 0, length), (0, -height, 0))
    end = _plane((x, height, z), (side * 9.0, 0, 0), (0, -height, 0))
    patches = [
        Patch(face, facade, BUILDING, _dim(tint, light), reach=REACH_FAR),
        Patch(end, wall, BUILDING, _dim(tint, look.light[2]), (3, height / 3), reach=REACH_FAR),
    ]
    if rng.random() < 0.6:
        slope = _plane((x + side * 4.5, height + 3, z), (0, 0, length), (-side * 4.7, -3.1, 0))
        gable = _plane((x, height + 3, z), (side * 9.0, 0, 0), (0, -3, 0))
        patches += [
            Patch(slope, roof, BUILDING, tint, (length / 3, 2), reach=REACH_FAR),
            Patch(gable, look.gable, BUILDING, _dim(tint, look.light[2]), reach=REACH_FAR),
        ]
    return patches


def _fence(rng: Generator, look: _Look, side: int, z: float, length: float) -> list[Patch]:
    height = rng.uniform(1.1, 2.1)
    texture = look.fences[rng.integers(len(look.fences))]
    plane = _plane((FRONTS[side], KERB + height, z), (0, 0, length), (0, -height, 0))
    light = look.light[0 if side > 0 else 1]
    return [Patch(plane, texture, FENCE, _dim(_tint(rng), light), (length / 4, 1), reach=120.0)]


def _lay_block(rng: Generator, look: _Look, start: float) -> list[Patch]:
    """Lay out both sides of one block of the street."""
    patches: list[Patch] = []
    for side in (-1, 1):
        z = start
        while z < start + BLOCK:
            length = min(rng.uniform(8, 14), start + BLOCK - z)
            length = start + BLOCK - z if start + BLOCK - z - length < 5 else length
            kind = rng.random()
            if kind < 0.5:
                setback = rng.uniform(0, 0.6)
                patches += _building(rng, look, side, z, length, setback)
            else:
                patches += _fence(rng, look, side, z, length)
                if kind < 0.78:
                    patches += _building(rng, look, side, z + 0.5, length - 1, rng.uniform(3, 6))
                else:
                    for at in (0.3, 0.75):
                        x = FRONTS[side] + side * rng.uniform(2.5, 5)
                        patches += _tree(rng, look, x, z + at * length, ground=0)
                if rng.random() < 0.5:
                    patches += _tree(rng, look, FRONTS[side] + side * 1.5, z + length / 2, ground=0)
            z += length
        kerbside = KERBS[side] + side * 0.5
        if rng.random() < 0.65:
            patches += _tree(
                rng, look, kerbside + side * 0.4, start + rng.uniform(2, 8), ground=KERB
            )
        for low in (9, 15, 20):
            if rng.random() < 0.6:
                patches += _pole(rng, look, kerbside, start + rng.uniform(low, low + 3), side=side)
    for low in (2, 9, 16):
        if rng.random() < 0.45:
            kind, z = int(rng.integers(_NUM_CARS)), start + rng.uniform(low + 1.8, low + 2.6)
            patches += _vehicle(look, kind, KERBS[1] - 1.0, z, heading=-1)
    if rng.random() < 0.7:
        x, z = rng.uniform(-5, 4), start + rng.uniform(0, 20)
        plane = _plane((x, 0.004, z + 2), (rng.uniform(0.8, 2.2), 0, 0), (0, 0, -rng.uniform(1, 4)))
        patches.append(Patch(plane, look.tarmac, ROAD, _tint(rng), reach=40.0))
    return patches


def _lay_ground(look: _Look, camera: Camera) -> dict[Key, Patch]:
    """Unroll road, kerbs and pavements from behind the camera to the horizon.

    They start at a whole period of their image, so that the image stays where
    it is while the camera moves on.
    """

    def unroll(period: float) -> tuple[float, float]:
        length = round(400 / period) * period
        return float(np.floor((camera.position[2] - 4) / period) * period + length), length

    end, length = unroll(ROAD_PERIOD)
    plane = _plane((KERBS[-1], 0, end), (KERBS[1] - KERBS[-1], 0, 0), (0, 0, -length))
    road = Patch(plane, look.road, ROAD, repeat=(1, length / ROAD_PERIOD), reach=1e3)
    patches: dict[Key, Patch] = {("road",): road}
    end, length = unroll(PAVEMENT_PERIOD)
    times = length / PAVEMENT_PERIOD
    for side in (-1, 1):
        kerb = _plane((KERBS[side], KERB, end), (0, 0, -length), (0, -KERB, 0))
        slabs = _plane((KERBS[side], KERB, end), (side * 64.0, 0, 0), (0, 0, -length))
        for name, plane, tint, repeat in (
            ("kerb", kerb, 1.25, (times, 0.03)),
            ("slabs", slabs, 1.0, (16.0, times)),
        ):
            tints = (tint,) * 3
            patches[name, side] = Patch(plane, look.pavement, PAVEMENT, tints, repeat, reach=1e3)
    return patches


def _hang_sky(look: _Look, camera: Camera) -> dict[Key, Patch]:
    """Hang sky and skyline so far away that only turning moves them."""
    x, y, z = (float(value) for value in camera.position)
    sky = _plane((x - 1400, y + 900, z + 1000), (2800, 0, 0), (0, -960, 0))
    skyline = _plane((x - 1260, y + 26, z + 900), (2520, 0, 0), (0, -40, 0))
    haze = (1.35, 1.4, 1.6)
    return {
        ("sky",): Patch(sky, look.sky, SKY, reach=1e4, is_hazy=False),
        ("skyline",): Patch(skyline, look.skyline, TREE, haze, (4, 1), reach=1e4, is_hazy=False),
    }


class _Stream(NamedTuple):
    """Actors of one kind that pass the camera one after the other.

    Attributes:
        period: Seconds between two of them, on average.
        velocity: Metres a second along the street.
        make_fn: From randomness, and where it is at a time, to an actor.
    """

    period: float
    velocity: float
    make_fn: Callable[[Generator, Callable[[float], float]], Actor]


def _make_streams(look: _Look, speed: float) -> list[_Stream]:
    def overtake(rng: Generator, place_fn: Callable[[float], float]) -> Actor:
        kind = int(rng.integers(len(look.vehicles)))

        def at(time: float) -> list[Patch]:
            z = place_fn(time)
            merged = np.clip((z - speed * time - 10) / 14, 0, 1)
            x = 0.2 - 2.5 * merged * merged * (3 - 2 * merged)
            return _vehicle(look, kind, x, z, heading=1)

        return at

    def come(rng: Generator, place_fn: Callable[[float], float]) -> Actor:
        kind, x = int(rng.integers(len(look.vehicles))), rng.uniform(2.5, 2.7)
        return lambda time: _vehicle(look, kind, x, place_fn(time), heading=-1)

    def walk(low: float, high: float) -> Callable[[Generator, Callable[[float], float]], Actor]:
        def make(rng: Generator, place_fn: Callable[[float], float]) -> Actor:
            x, size = rng.uniform(low, high), rng.uniform(0.86, 1.1)
            looks = int(rng.integers(5)) * 2, int(rng.integers(len(look.legs)))
            pace, phase = rng.uniform(5, 6.5), rng.uniform(0, 6.3)
            return lambda time: _person(
                look,
                looks,
                x,
                place_fn(time),
                ground=KERB,
                swing=0.5 * float(np.sin(pace * time + phase)),
                size=size,
            )

        return make

    def ride(x: float, heading: int) -> Callable[[Generator, Callable[[float], float]], Actor]:
        def make(rng: Generator, place_fn: Callable[[float], float]) -> Actor:
            looks = int(rng.integers(len(look.torsos))), int(rng.integers(len(look.legs)))
            aside, phase = rng.uniform(-0.12, 0.12), rng.uniform(0, 6.3)
            return lambda time: _cyclist(
                look, looks, x + aside, place_fn(time), heading=heading, turn=7 * time + phase
            )

        return make

    return [
        _Stream(6.0, speed + 4, overtake),
        _Stream(2.6, -9.0, come),
        _Stream(1.1, 1.3, walk(-7.4, -5.9)),
        _Stream(1.6, -1.2, walk(-7.2, -5.9)),
        _Stream(1.3, -1.3, walk(7.2, 8.8)),
        _Stream(1.6, 1.1, walk(7.2, 8.6)),
        _Stream(3.2, 4.0, ride(-4.15, 1)),
        _Stream(3.4, -4.0, ride(3.85, -1)),
    ]


def make_world(seed: int) -> World:
    """Lay out a street that has no end, and its traffic.

    Args:
        seed: Names the street; every seed gives another.

    Returns:
        The street; the same for the same seed.
    """
    rng = np.random.default_rng((seed, 0))
    look = _make_look(rng, lines=[(x - KERBS[-1]) / (KERBS[1] - KERBS[-1]) for x in (-1.0, 1.6)])
    speed = rng.uniform(8.5, 11.5)
    sway, phases = rng.uniform(0.8, 1.2, 4), rng.uniform(0, 2 * np.pi, 5)
    streams = _make_streams(look, speed)

    def camera(time: float) -> Camera:
        wave = np.sin(np.array([0.6, 1.1, 0.5, 0.8, 5.0]) * time + phases)
        x = -2.3 + 0.3 * sway[0] * wave[0]
        y = 1.35 + 0.012 * wave[4]
        z = speed * time + sway[2] * wave[2]
        yaw = 0.05 * sway[1] * wave[1] + 0.03 * sway[3] * wave[3]
        return Camera(np.array([x, y, z]), float(yaw), float(0.006 * wave[4]))

    @lru_cache(maxsize=32)
    def block(index: int) -> list[Patch]:
        return _lay_block(np.random.default_rng((seed, 1, index + 1000)), look, index * BLOCK)

    @lru_cache(maxsize=256)
    def actor(number: int, index: int) -> Actor:
        stream = streams[number]
        rng = np.random.default_rng((seed, 2, number, index + 1000))
        passing = (index + rng.uniform(0, 0.7)) * stream.period
        offset = (speed - stream.velocity) * passing
        return stream.make_fn(rng, lambda time: offset + stream.velocity * time)

    def visible_actors(time: float) -> Iterator[tuple[Key, Actor]]:
        for number, stream in enumerate(streams):
            # An actor is ahead of the camera by (velocity - speed) * (time - passing).
            ends = np.array([-12, REACH_NEAR]) / (stream.velocity - speed)
            last, first = (time - np.sort(ends))[[0, 1]] / stream.period
            for index in range(int(np.floor(first)) - 1, int(np.ceil(last)) + 1):
                yield ("actor", number, index), actor(number, index)

    def patches(time: float, other: float) -> dict[Key, tuple[Patch, Plane]]:
        now, then = camera(time), camera(other)
        still = _lay_ground(look, now)
        first = int(np.floor(now.position[2] / BLOCK))
        for index in range(first - 1, first + int(REACH_FAR // BLOCK) + 1):
            still |= {("block", index, i): patch for i, patch in enumerate(block(index))}
        found = {key: (patch, patch.plane) for key, patch in still.items()}
        sky, sky_then = _hang_sky(look, now), _hang_sky(look, then)
        found |= {key: (sky[key], sky_then[key].plane) for key in sky}
        for key, at in visible_actors(time):
            for i, (patch, patch_then) in enumerate(zip(at(time), at(other), strict=True)):
                found[*key, i] = patch, patch_then.plane
        return found

    return World(camera, patches, haze=rng.uniform(150, 280), air=(200.0, 208.0, 216.0))
