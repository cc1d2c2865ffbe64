import argparse

import pytest
import torch
from safetensors.torch import save_file

from plantclef_assets.models.weights import (
    WeightsError,
    hash_file,
    hash_tensors,
    read_weights,
    separate_classifier,
)

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}
OLDER = {"a.weight": torch.zeros(2, 3)}


def assert_tensors(weights, expected=TENSORS):
    assert weights.tensors.keys() == expected.keys()
    assert all(torch.equal(weights.tensors[name], tensor) for name, tensor in expected.items())


def test_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(TENSORS, path)
    weights = read_weights(path)
    assert_tensors(weights)
    assert (weights.sha256, weights.source) == (hash_file(path), "weights.safetensors")
    assert read_weights(path, source="https://example.org/w").source == "https://example.org/w"


@pytest.mark.parametrize("key", ["license", "licence"])
def test_the_licence_is_what_publisher_or_header_say(tmp_path, key):
    path = tmp_path / "weights.safetensors"
    save_file(TENSORS, path)
    assert read_weights(path).licence == "unknown"
    save_file(TENSORS, path, metadata={key: "MIT"})
    assert read_weights(path).licence == "MIT"
    assert read_weights(path, licence="CC-BY-4.0").licence == "CC-BY-4.0"


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "model_best.pth.tar"])
def test_a_bare_state_dict(tmp_path, name):
    torch.save(TENSORS, tmp_path / name)
    assert_tensors(read_weights(tmp_path / name))


def test_the_published_form_gives_the_averaged_weights(tmp_path):
    published = {
        "epoch": 91,
        "arch": "vit_base_patch14_reg4_dinov2",
        "args": argparse.Namespace(lr=0.01, mean=None, opt="sgd"),
        "state_dict": OLDER,
        "state_dict_ema": TENSORS,
    }
    torch.save(published, tmp_path / "model_best.pth.tar")
    assert_tensors(read_weights(tmp_path / "model_best.pth.tar"))


def test_without_averaged_weights_the_last_ones_are_taken(tmp_path):
    torch.save({"state_dict": OLDER, "state_dict_ema": None}, tmp_path / "w.pth")
    assert_tensors(read_weights(tmp_path / "w.pth"), OLDER)


class Hostile:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_hostile_pickle_is_refused_without_running(tmp_path):
    trace = tmp_path / "ran"
    torch.save({"state_dict": TENSORS, "args": Hostile(trace)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth is refused: .*GLOBAL \w+\.open was not an allowed global"):
        read_weights(tmp_path / "w.pth")
    assert not trace.exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_damaged_file_is_one_clear_sentence(tmp_path, name):
    path = tmp_path / name
    if name.endswith("pth"):
        torch.save(TENSORS, path)
    else:
        save_file(TENSORS, path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"<html>not found</html>"):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match=name):
            read_weights(path)


def test_a_missing_file_and_an_unknown_kind(tmp_path):
    with pytest.raises(WeightsError, match=r"no file of weights at .*w\.pth"):
        read_weights(tmp_path / "w.pth")
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match="not a known kind"):
        read_weights(tmp_path / "w.onnx")


@pytest.mark.parametrize("stored", [{"epoch": 3}, [1, 2], {}, {"state_dict": {"a": 1}}])
def test_a_checkpoint_without_tensors_is_refused(tmp_path, stored):
    torch.save(stored, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="contains no state dict"):
        read_weights(tmp_path / "w.pth")


def test_the_classifier_is_separated():
    tensors = {"norm.weight": torch.ones(1), "head.weight": torch.ones(2), "head.bias": torch.zeros(2)}
    backbone, classifier = separate_classifier(tensors)
    assert (list(backbone), list(classifier)) == (["norm.weight"], ["head.weight", "head.bias"])


def test_a_hash_of_tensors_sees_names_types_shapes_and_values():
    reference = hash_tensors(TENSORS)
    assert hash_tensors(dict(reversed(TENSORS.items()))) == reference
    changed = [
        {"a.weight": TENSORS["a.weight"], "c": TENSORS["b"]},
        {"a.weight": TENSORS["a.weight"].reshape(3, 2), "b": TENSORS["b"]},
        {"a.weight": TENSORS["a.weight"], "b": TENSORS["b"].to(torch.bfloat16)},
        {"a.weight": TENSORS["a.weight"] + 1, "b": TENSORS["b"]},
    ]
    assert len({reference, *map(hash_tensors, changed)}) == 5
