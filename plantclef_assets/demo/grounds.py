"""The ground under drawn plants: soil, moss, grass, stone, litter, paper; and the light of the demo's photographs."""

import numpy as np
from PIL import Image, ImageDraw

from plantclef_assets.demo.palette import random_palette, shaded
from plantclef_assets.images.backdrops import Light, noise

GROUNDS = ("soil", "moss", "grass", "stone", "litter")

_TONES = {
    "soil": (104.0, 82.0, 60.0),
    "moss": (86.0, 86.0, 58.0),
    "grass": (96.0, 90.0, 62.0),
    "stone": (136.0, 132.0, 124.0),
    "litter": (120.0, 94.0, 64.0),
}
"""Mean red, green and blue of each ground."""

LIGHT = Light(slope=0.1, warmth=0.05, exposure=(0.84, 1.18), grain=(1.5, 5.0))
"""The light on the demo's photographs."""


def paint_ground(kind: str, size: tuple[int, int], grain: float, rng: np.random.Generator) -> Image.Image:
    """Paint bare ground of a kind of `GROUNDS`.

    `size` is (width, height) in px; `grain` is the length of a pebble or blade in px, larger in a close view.
    """
    longer = max(size)
    texture = sum(
        weight * noise(size, cells, rng)
        for weight, cells in ((9, 5), (8, round(longer / grain / 2) + 3), (9, round(longer / grain * 2) + 3))
    )
    tone = np.array(_TONES[kind], np.float32) * rng.uniform(0.75, 1.2) + rng.normal(0, 6, 3)
    fine = rng.standard_normal((size[1], size[0]), dtype=np.float32) * 5
    pixels = tone + (texture + fine)[..., None] * np.array([1.0, 0.95, 0.8], np.float32)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    _strew(image, kind, grain, rng)
    return image


def _strew(image: Image.Image, kind: str, grain: float, rng: np.random.Generator) -> None:
    """Scatter pebbles, blades of grass, dead leaves or tufts of moss on the ground."""
    draw = ImageDraw.Draw(image)
    area = image.width * image.height / grain**2
    count = int(min(area * {"soil": 0.5, "moss": 1.6, "grass": 2.4, "stone": 0.25, "litter": 0.9}[kind], 4000))
    feet = rng.uniform(0, 1, (count, 2)) * image.size
    reach = grain * rng.uniform(0.35, 1.3, count) * np.exp(1j * rng.uniform(0, 2 * np.pi, count))
    tones = rng.uniform(0.6, 1.35, count)
    # Dull and dry colours, so that living plants stand out.
    green = random_palette(rng).blade
    withered = ((green[0] + 150) // 2, (green[1] + 130) // 2, (green[2] + 84) // 2)
    straw = (158, 138, 92)
    dead = (124, 92, 60)
    for (x, y), along, tone in zip(feet.tolist(), reach.tolist(), tones.tolist(), strict=True):
        dx, dy = along.real, along.imag
        match kind:
            case "grass" | "moss":
                colour = straw if tone > 1.1 else withered
                scale = 1.6 if kind == "grass" else 0.45
                end = (x + scale * dx, y + scale * dy)
                draw.line((x, y, *end), fill=shaded(colour, 0.85 * tone), width=max(1, round(grain / 9)))
            case "litter":
                side = (x + 0.5 * dx - 0.3 * dy, y + 0.5 * dy + 0.3 * dx)
                other = (x + 0.5 * dx + 0.3 * dy, y + 0.5 * dy - 0.3 * dx)
                draw.polygon(((x, y), side, (x + dx, y + dy), other), fill=shaded(dead, tone))
            case _:
                size = abs(along) * 0.32
                shade = shaded((142, 130, 114), 0.8 * tone)
                draw.ellipse((x - size, y - 0.8 * size, x + size, y + 0.8 * size), fill=shade)


def paper(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return the off-white sheet of a herbarium scan."""
    tone = np.array([236.0, 230.0, 214.0], np.float32) * rng.uniform(0.88, 1.05)
    pixels = tone + 3 * noise(size, 6, rng)[..., None] + 2 * noise(size, 90, rng)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
