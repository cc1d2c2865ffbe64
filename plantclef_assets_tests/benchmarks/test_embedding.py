"""The embedding benchmark refuses arms whose features differ."""

import numpy as np
import pytest

from benchmarks.embedding import ALL, compare
from benchmarks.embedding_arms import ALONE, OURS, SCRIPT, Job


@pytest.fixture
def job(tmp_path):
    made = Job(tmp_path, tmp_path / "unused.safetensors", dct=False, batch=8)
    features = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    for arm in (ALONE, OURS, SCRIPT):
        made.write(arm, ALL, ["a", "b", "c"], features)
    made.write(SCRIPT, ALL, ["c", "a", "b"], np.float32(1.0001) * features[[2, 0, 1]])
    return made


def test_rows_are_compared_by_name_and_up_to_rounding(job):
    assert compare(job, [ALONE, OURS, SCRIPT]) == pytest.approx({ALONE: 1, OURS: 1, SCRIPT: 1})


def test_our_features_must_be_equal(job):
    features = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    features[0, 0] = np.nextafter(features[0, 0], np.float32(9))
    job.write(OURS, ALL, ["a", "b", "c"], features)
    with pytest.raises(AssertionError, match="differ from those of the model alone"):
        compare(job, [ALONE, OURS])


def test_an_arm_that_computes_something_else_is_refused(job):
    features = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    features += np.random.default_rng(1).normal(size=(3, 16)).astype(np.float32) / 12
    job.write(SCRIPT, ALL, ["a", "b", "c"], features)
    with pytest.raises(AssertionError, match="computes something else"):
        compare(job, [ALONE, OURS, SCRIPT])
