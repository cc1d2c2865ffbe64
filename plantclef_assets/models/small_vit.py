"""A small vision transformer of the DINOv2 family, registered in timm by importing this module.

`timm.create_model("vit_mini_patch14_reg4_dinov2", …)` then works as for any timm model. Its options are those of timm's
`vit_small_patch14_reg4_dinov2` (patches of 14 px, four register tokens without position, layer scale); it is narrower
and shallower, so that the demo embeds hundreds of images per second on a laptop.
"""

from plantclef_assets.models.timm_import import import_timm

import_timm()  # before any submodule of timm is imported

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD  # noqa: E402
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model  # noqa: E402
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn  # noqa: E402

SMALL_VIT = "vit_mini_patch14_reg4_dinov2"
"""The timm name of the model."""

default_cfgs = generate_default_cfgs(
    {
        f"{SMALL_VIT}.untrained": {
            "url": "",
            "num_classes": 0,
            "input_size": (3, 126, 126),
            "pool_size": None,
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "fixed_input_size": True,
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "license": "apache-2.0",
        }
    }
)


@register_model
def vit_mini_patch14_reg4_dinov2(pretrained: bool = False, **kwargs) -> VisionTransformer:
    """Create the model: 2.7 million parameters, width 192, 6 blocks, 3 heads, input 3 × 126 × 126, float32.

    `forward_features` of a batch of shape (n, 3, 126, 126) has shape (n, 1 + 4 + 81, 192) after the final norm:
    [CLS], the registers, then the patches row by row. Keyword arguments override those of
    `timm.models.vision_transformer.VisionTransformer`.
    """
    arguments = {
        "img_size": 126,
        "patch_size": 14,
        "embed_dim": 192,
        "depth": 6,
        "num_heads": 3,
        "init_values": 1e-5,
        "reg_tokens": 4,
        "no_embed_class": True,
    }
    return build_model_with_cfg(
        VisionTransformer,
        SMALL_VIT,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": 3, "feature_cls": "getter"},
        **(arguments | kwargs),
    )
