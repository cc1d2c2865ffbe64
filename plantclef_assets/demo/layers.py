"""Laying a painted plant over its ground with a soft shadow."""

from PIL import Image, ImageFilter

ENLARGEMENT = 2
"""Plants are painted this many times larger and then reduced, which smooths their edges."""


def clear_layer(size: tuple[int, int]) -> Image.Image:
    """Return a transparent layer to paint on, `ENLARGEMENT` times `size` (width, height) px.

    Its hidden colour is a dark green, into which the smoothed edges of leaves fade.
    """
    return Image.new("RGBA", (size[0] * ENLARGEMENT, size[1] * ENLARGEMENT), (58, 70, 38, 0))


def lay(ground: Image.Image, layer: Image.Image, at: tuple[int, int], depth: float) -> None:
    """Reduce the layer and lay it on the ground, in place, with its upper left corner at `at` px.

    `depth` is the length of the shadow in px, to the lower right; 0 for no shadow.
    """
    small = layer.reduce(ENLARGEMENT)
    alpha = small.getchannel("A")
    if depth > 0:
        # Shadows are blurred, so a quarter of the size is enough.
        width, height = max(1, small.width // 4), max(1, small.height // 4)
        soft = alpha.resize((width, height), Image.Resampling.BOX)
        soft = soft.filter(ImageFilter.GaussianBlur(max(0.6, depth / 7)))
        shadow = soft.resize(small.size, Image.Resampling.BILINEAR).point([level * 6 // 10 for level in range(256)])
        offset = (at[0] + round(depth * 0.6), at[1] + round(depth * 0.8))
        ground.paste((22, 20, 14), offset, shadow)
    ground.paste(small, at, alpha)
