"""Laying a painted plant over its ground, with the soft shadow that it casts."""

from PIL import Image, ImageFilter

ENLARGEMENT = 2
"""Plants are painted this many times larger and reduced again, which smooths their edges."""


def clear_layer(size: tuple[int, int]) -> Image.Image:
    """Return a transparent layer to paint on, `ENLARGEMENT` times `size` (width, height) px.

    Its hidden colour is a dark green, which is what the smoothed rim of a leaf then fades into.
    """
    return Image.new("RGBA", (size[0] * ENLARGEMENT, size[1] * ENLARGEMENT), (58, 70, 38, 0))


def lay(ground: Image.Image, layer: Image.Image, at: tuple[int, int], depth: float) -> None:
    """Reduce the layer and lay it on the ground, in place, with its upper left corner at `at` px.

    `depth` is how far in px the shadow falls, to the lower right; 0 gives none.
    """
    small = layer.reduce(ENLARGEMENT)
    alpha = small.getchannel("A")
    if depth > 0:
        # A shadow is blurred anyway, so it is made at a quarter of the size.
        width, height = max(1, small.width // 4), max(1, small.height // 4)
        soft = alpha.resize((width, height), Image.Resampling.BOX)
        soft = soft.filter(ImageFilter.GaussianBlur(max(0.6, depth / 7)))
        shadow = soft.resize(small.size, Image.Resampling.BILINEAR).point([level * 6 // 10 for level in range(256)])
        offset = (at[0] + round(depth * 0.6), at[1] + round(depth * 0.8))
        ground.paste((22, 20, 14), offset, shadow)
    ground.paste(small, at, alpha)
