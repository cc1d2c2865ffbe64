"""What `auto` comes to: of the device at hand, and of Spark's, which need not be here."""

import pytest
import torch

from plantclef_assets.orchestration.computation import computation
from plantclef_assets.settings import load_settings
from plantclef_assets.settings.errors import SettingsError


def test_a_device_that_only_sparks_workers_have_is_resolved_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = load_settings(engine="spark", device="cuda", compile="off")
    assert computation(asked) == {"precision": "bf16", "compiled": False}
    with pytest.raises(SettingsError, match="PLANTCLEF_DEVICE: device 'cuda' is not available"):
        computation(load_settings(engine="local", device="cuda", compile="off"))


def test_both_engines_record_the_same() -> None:
    local, spark = (computation(load_settings(engine=engine)) for engine in ("local", "spark"))
    assert local == spark
