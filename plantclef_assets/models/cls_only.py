"""The last block of a vision transformer for [CLS] only.

[CLS] after the last block needs the keys and values of all tokens, but the queries, the projection and the MLP of [CLS]
only. In real arithmetic the result equals that of the whole block.

Measured on one NVIDIA H200: a forward pass of ViT-B/14 at 518 px in bf16 is 6 % faster (docs/performance.md).
"""

from typing import Any

import torch
from torch.nn import functional

from plantclef_assets.models.timm_import import import_timm

import_timm()  # before any submodule of timm is imported

from timm.layers.attention import Attention  # noqa: E402
from timm.models.vision_transformer import Block, VisionTransformer  # noqa: E402

_TOKENS = 8
"""Number of tokens that are computed, the first of which is [CLS]. BLAS multiplies matrices of fewer than four rows by
other kernels, whose rounding would depend on the batch size. With eight tokens per picture, float32 features on a CPU
are bit-equal in every batch, and to those of the whole block."""


def is_plain(model: VisionTransformer) -> bool:
    """Whether `cls_features` supports the model: its last block is timm's, with timm's attention."""
    block = _blocks(model)[-1]
    return (
        type(model).forward_features is VisionTransformer.forward_features
        and type(block) is Block
        and type(block.attn) is Attention
        and getattr(block.attn, "gate", None) is None
    )


def cls_features(model: VisionTransformer, inputs: torch.Tensor) -> torch.Tensor:
    """Return the result of `forward_features` for the first tokens only.

    Args:
        model: a model for which `is_plain` is true, in eval mode.
        inputs: (batch, 3, height, width), in the precision of the model.

    Returns:
        the first tokens after the final norm, shape (batch, at most 8, D); the first is [CLS].
    """
    tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(inputs))))
    *blocks, last = _blocks(model)
    for block in blocks:
        tokens = block(tokens)
    return model.norm(_first_tokens(last, tokens, _TOKENS))


def _blocks(model: VisionTransformer) -> list[Any]:
    return list(model.blocks.children())


def _first_tokens(block: Any, tokens: torch.Tensor, count: int) -> torch.Tensor:
    """Return a block's output for its first `count` tokens: (batch, tokens, D) to (batch, count, D)."""
    attention = block.attn
    normed = block.norm1(tokens)
    width = attention.qkv.out_features // 3
    weight, bias = attention.qkv.weight, attention.qkv.bias
    # Contiguous, since linear layers round non-contiguous inputs differently.
    queries = functional.linear(normed[:, :count].contiguous(), weight[:width], None if bias is None else bias[:width])
    others = functional.linear(normed, weight[width:], None if bias is None else bias[width:])
    query = queries.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
    key, value = others.unflatten(-1, (2, attention.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    attended = functional.scaled_dot_product_attention(attention.q_norm(query), attention.k_norm(key), value)
    attended = attention.proj(attention.norm(attended.transpose(1, 2).flatten(2)))
    first = tokens[:, :count] + block.ls1(attended)
    return first + block.ls2(block.mlp(block.norm2(first)))
