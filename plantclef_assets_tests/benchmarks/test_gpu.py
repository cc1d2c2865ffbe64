"""The GPU benchmark on a CPU with a tiny model: every arm runs and compares its features."""

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.bench import SMALL, Bench, check_close, least_cosine
from benchmarks.gpu.inputs import Shape, flops_per_picture, random_backbone
from benchmarks.results import Results
from plantclef_assets.models.cls_only import cls_features

SCRIPT = """
import runpy, sys
for absent in ("dagster", "duckdb", "pyspark", "pydantic", "pydantic_settings", "requests", "sklearn", "umap"):
    sys.modules[absent] = None  # importing it raises ImportError
sys.argv = ["benchmarks", "gpu", "--small", "--seconds", "1200", "--output", sys.argv[1]]
runpy.run_module("benchmarks", run_name="__main__")
"""
ONLY_ON_A_GPU = ("attention of 4 pictures, cuDNN", "attention of 4 pictures, memory-efficient")


@pytest.fixture
def bench(tmp_path):
    device = torch.device("cpu")
    made = Bench(SMALL, device, Results(tmp_path / "gpu.json", {}), tmp_path, time.monotonic() + 60)
    made.results.start("speed", {"rate": "images/s"})
    return made


@pytest.mark.slow
def test_every_arm_runs_without_the_orchestration(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["rows"]
    failed = [row["arm"] for row in rows if row["value"] is None]
    assert failed == list(ONLY_ON_A_GPU), done.stdout
    assert {row["table"] for row in rows} == {
        "arithmetic in bf16",
        "copies",
        "model alone",
        "kernels, ms per 100 images",
        "end to end",
        "where the time goes",
        "preparing pictures",
        "fine-tuning",
    }
    assert "matrix products" in (tmp_path / "gpu_kernels.txt").read_text(encoding="utf-8")


def test_an_arm_that_fails_or_has_no_time_left_is_a_row(bench):
    def broken():
        raise torch.OutOfMemoryError("no room\nfor details")

    bench.arm("broken", 1, broken)
    bench.arm("too long", 100, lambda: {"rate": 1.0})
    bench.arm("good", 1, lambda: {"rate": 1.0})
    assert [(row.arm, row.metric) for row in bench.results.rows] == [
        ("broken", "failed: OutOfMemoryError: no room"),
        ("too long", "failed: skipped, no time left"),
        ("good", "rate"),
    ]


def test_other_features_are_refused():
    random = np.random.default_rng(0)
    features = random.normal(size=(3, 8)).astype(np.float32)
    assert least_cosine(features, 2 * features) == pytest.approx(1)
    for other in (features[[1, 0, 2]], features * np.float32("nan")):
        with pytest.raises(ValueError, match="differ from those in fp32"):
            least_cosine(other, features)
    with pytest.raises(ValueError, match="of shape"):
        least_cosine(features[:2], features)
    check_close(torch.ones(3), torch.full((3,), 1.001))
    with pytest.raises(ValueError, match="relative error"):
        check_close(torch.ones(3), torch.full((3,), 1.1))


def test_operations_of_the_published_model():
    published = Shape(patches=1369, prefix_tokens=5, width=768, hidden=3072, heads=12, blocks=12, patch=14)
    assert flops_per_picture(published, cls_only=False) == pytest.approx(304.5e9, rel=0.002)


def test_operations_are_those_that_torch_counts():
    backbone = random_backbone(SMALL.model, SMALL.side)
    inputs = torch.zeros(1, 3, SMALL.side, SMALL.side)
    for cls_only, forward in ((False, backbone.model.forward_features), (True, partial(cls_features, backbone.model))):
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            forward(inputs)
        assert flops_per_picture(Shape.of(backbone), cls_only=cls_only) == counter.get_total_flops()
