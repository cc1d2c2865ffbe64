"""Fine-tuning: what learns, from what, and going on after an interruption."""

import dataclasses
import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from plantclef_assets.images.decoding import decode_image
from plantclef_assets.lake.store import Lake
from plantclef_assets.models.backbones import Backbone, load_backbone
from plantclef_assets.models.embedding import embed_views
from plantclef_assets.models.finetuning import Finetuning
from plantclef_assets.models.finetuning_config import FinetuningConfig, split_holdout
from plantclef_assets.models.shuffled_photographs import Photographs, open_photographs
from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.models.weights import weights_from_tensors
from plantclef_assets_tests.models.photograph_fixtures import PHOTOGRAPHS

QUICK = FinetuningConfig(head_epochs=3, epochs=2, batch_size=12, holdout_share=0.3, average=0.5)


@pytest.fixture(scope="module")
def photographs(photograph_lake: Lake) -> Iterator[Photographs]:
    with open_photographs(photograph_lake, PHOTOGRAPHS) as opened:
        yield opened


@pytest.fixture
def backbone() -> Backbone:
    return fresh_backbone()


def fresh_backbone() -> Backbone:
    """Make the small vision transformer with random weights, the same every time."""
    torch.manual_seed(0)
    model = import_timm().create_model(SMALL_VIT, num_classes=0)
    return load_backbone(SMALL_VIT, weights_from_tensors(model.state_dict(), "random"), input_size=42)


@pytest.fixture
def training(backbone: Backbone, photographs: Photographs) -> Callable[..., Finetuning]:
    def make(config: FinetuningConfig = QUICK, precision: str = "fp32") -> Finetuning:
        return Finetuning(backbone, photographs, train_side(photographs), config, precision=precision)

    return make


def train_side(photographs: Photographs) -> np.ndarray:
    return np.array([tag == "train" for tag in photographs.learn_tag])


def weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}


def changed(backbone: Backbone, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in backbone.model.state_dict().items() if not torch.equal(tensor, before[name])}


def run(training: Finetuning) -> Finetuning:
    while training.finished_epochs < training.epochs:
        training.run_epoch()
    return training


def test_it_learns_to_tell_the_species_apart(training: Callable[..., Finetuning]) -> None:
    config = replace(QUICK, head_epochs=20, epochs=3, paste=0.2)
    finetuned = run(training(config)).finish()
    assert [row["epoch"] for row in finetuned.curves] == [0, 1, 2, 3]
    best = finetuned.curves[finetuned.best_epoch]
    assert best["holdout_loss"] == min(row["holdout_loss"] for row in finetuned.curves)
    assert best["holdout_accuracy"] >= 0.8, "bands of plain colours are easy"
    assert finetuned.head.species_ids.tolist() == [1000001, 1000002, 1000003]


def test_the_head_learns_first_and_the_backbone_with_it_afterwards(
    training: Callable[..., Finetuning], backbone: Backbone
) -> None:
    before, tuning = weights(backbone), training()
    tuning.run_epoch()
    assert not changed(backbone, before)
    tuning.run_epoch()
    assert "patch_embed.proj.weight" in changed(backbone, before)


def test_only_the_last_blocks_learn_where_some_are_asked_for(
    training: Callable[..., Finetuning], backbone: Backbone
) -> None:
    before = weights(backbone)
    run(training(replace(QUICK, blocks=2)))
    touched = {name.rsplit(".", 1)[0].split(".attn")[0].split(".mlp")[0] for name in changed(backbone, before)}
    assert {name.split(".")[1] for name in touched if name.startswith("blocks.")} == {"4", "5"}
    assert {name for name in touched if not name.startswith("blocks.")} == {"norm"}


def test_deeper_layers_learn_more_slowly(training: Callable[..., Finetuning], backbone: Backbone) -> None:
    before = weights(backbone)
    run(training(replace(QUICK, layer_decay=0.1)))
    moved = {
        block: (backbone.model.state_dict()[name] - before[name]).abs().max().item()
        for block in (0, 5)
        for name in (f"blocks.{block}.mlp.fc1.weight",)
    }
    assert moved[0] < 0.01 * moved[5]


def test_photographs_of_the_validation_side_are_never_looked_at(photographs: Photographs, backbone: Backbone) -> None:
    seen: set[int] = set()

    class Watched(Photographs):
        def encoded(self, row: int) -> bytes:
            seen.add(row)
            return super().encoded(row)

    watched = Watched(**{field.name: getattr(photographs, field.name) for field in dataclasses.fields(photographs)})
    run(Finetuning(backbone, watched, train_side(photographs), QUICK))
    assert {photographs.learn_tag[row] for row in seen} == {"train"}
    assert len(seen) == train_side(photographs).sum()


def test_no_observation_is_both_learned_from_and_set_aside(photographs: Photographs) -> None:
    twins = replace(photographs, obs_id=[str(row // 3) for row in range(48)])
    learn, hold = split_holdout(twins, train_side(twins), QUICK)
    observations = np.array(twins.obs_id)
    assert len(hold) and not set(observations[learn]) & set(observations[hold])
    assert sorted([*learn, *hold]) == np.flatnonzero(train_side(twins)).tolist()


def test_a_species_is_never_only_set_aside(photographs: Photographs) -> None:
    alone = replace(photographs, species_id=np.arange(48))
    learn, hold = split_holdout(alone, train_side(alone), QUICK)
    assert len(learn) == 36 and not len(hold)
    tagged_val = replace(photographs, learn_tag=["val"] * 48)
    learn, _ = split_holdout(tagged_val, np.ones(48, bool), QUICK)
    assert len(learn) < 48


def test_too_few_photographs_are_said_so(photographs: Photographs, backbone: Backbone) -> None:
    only = np.zeros(48, bool)
    only[0] = True
    with pytest.raises(ValueError, match="of 1 training photographs none can be held out"):
        Finetuning(backbone, photographs, only, QUICK)


def test_a_resumed_training_gives_what_it_would_have_given_uninterrupted(
    photographs: Photographs,
) -> None:
    config = replace(QUICK, epochs=2)

    def fresh() -> tuple[Backbone, Finetuning]:
        backbone = fresh_backbone()
        return backbone, Finetuning(backbone, photographs, train_side(photographs), config)

    whole, training = fresh()
    wanted = run(training).finish()
    for interrupted_after in (1, 2, 3):
        _, first = fresh()
        for _ in range(interrupted_after):
            first.run_epoch()
        buffer = io.BytesIO()
        torch.save(first.state(), buffer)
        buffer.seek(0)
        resumed, second = fresh()
        second.resume(torch.load(buffer, weights_only=True))
        assert second.finished_epochs == interrupted_after
        found = run(second).finish()
        assert found.curves == wanted.curves
        assert torch.equal(found.head.weight, wanted.head.weight)
        assert not changed(resumed, whole.model.state_dict())


def test_equal_arguments_give_equal_weights_and_another_seed_others(
    photographs: Photographs,
) -> None:

    def head(seed: int, threads: int) -> torch.Tensor:
        backbone = fresh_backbone()
        config = replace(QUICK, epochs=1, seed=seed)
        tuning = Finetuning(backbone, photographs, train_side(photographs), config, threads=threads)
        return run(tuning).finish().head.weight

    assert torch.equal(head(1, 1), head(1, 3))
    assert not torch.equal(head(1, 1), head(2, 1))


def test_the_adjustment_keeps_the_commonest_species_from_drawing_all(
    photographs: Photographs, backbone: Backbone
) -> None:
    rows = np.flatnonzero(train_side(photographs))
    rare = [row for row in rows if photographs.species_id[row] == 1000001][2:]
    side = train_side(photographs)
    side[rare] = False
    learn, _ = split_holdout(photographs, side, QUICK)

    def mean_logit_of_rare(adjustment: float) -> float:
        tuning = Finetuning(backbone, photographs, side, replace(QUICK, head_epochs=2, logit_adjustment=adjustment))
        tuning.run_epoch()
        rows = embed_views(backbone, learn.tolist(), lambda row: [decode_image(photographs.encoded(row))])
        cls = torch.from_numpy(np.concatenate([row.cls for row in rows]))
        with torch.no_grad():
            logits = tuning._network.head(cls).mean(0)
        return (logits[0] - logits[1:].mean()).item()

    assert mean_logit_of_rare(0.0) < -0.01
    assert mean_logit_of_rare(1.0) > mean_logit_of_rare(0.0) + 0.01


def test_mixed_precision_learns_too(training: Callable[..., Finetuning]) -> None:
    tuning = training(precision="bf16")
    rows = [tuning.run_epoch() for _ in range(3)]
    assert all(np.isfinite(row["training_loss"]) for row in rows)
    assert all(tensor.dtype == torch.float32 for tensor in tuning.state()["network"].values())


def test_a_training_that_diverges_is_said_so(training: Callable[..., Finetuning]) -> None:
    tuning = training(replace(QUICK, head_learning_rate=float("inf")))
    with pytest.raises(FloatingPointError, match="lower its learning rates"):
        tuning.run_epoch()
