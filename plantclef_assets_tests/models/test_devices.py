import pytest
import torch

from plantclef_assets.models.devices import resolve_compile, resolve_device, resolve_devices, resolve_precision


def test_auto_finds_a_device_that_computes():
    device = resolve_device("auto")
    assert float(torch.ones(2, device=device).sum()) == 2
    assert resolve_device("cpu").type == "cpu"


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="auto, cpu, cuda, mps"):
        resolve_device("gpu")


def test_an_absent_device_is_refused():
    absent = "mps" if torch.cuda.is_available() or not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(ValueError, match="not available"):
        resolve_device(absent)


def test_a_gpu_may_be_named_by_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="'cuda:2' is not available; torch finds 2 GPUs"):
        resolve_device("cuda:2")
    for name in ("cpu:0", "cuda:", "cuda:MIG-1"):
        with pytest.raises(ValueError, match=f"unknown device '{name}'"):
            resolve_device(name)


def test_auto_and_cuda_are_every_gpu_and_a_list_names_some(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    every = [torch.device("cuda", number) for number in range(3)]
    assert resolve_devices("auto") == resolve_devices("cuda") == every
    assert resolve_devices("cuda:2,cuda:0") == [every[2], every[0]]
    assert resolve_devices("cpu") == [torch.device("cpu")]
    assert resolve_device("auto") == every[0]
    with pytest.raises(ValueError, match="'cuda:3' is not available"):
        resolve_devices("cuda:0,cuda:3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_devices("auto") == resolve_devices("cuda") == [torch.device("cuda")]


def test_several_devices_are_of_one_kind(monkeypatch):
    assert resolve_devices("cpu,cpu") == [torch.device("cpu")] * 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="'cuda:0,cpu' are of several kinds \\(cpu, cuda\\)"):
        resolve_devices("cuda:0,cpu")


@pytest.mark.parametrize(("device", "precision"), [("cpu", "fp32"), ("cuda", "bf16"), ("mps", "fp32")])
def test_auto_precision_follows_the_device(device, precision):
    assert resolve_precision("auto", torch.device(device)) == precision
    assert resolve_precision("fp16", torch.device(device)) == "fp16"


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="auto, fp32, bf16, fp16"):
        resolve_precision("half", torch.device("cpu"))


def test_compiling_is_for_cuda_where_it_is_possible(monkeypatch, tmp_path):
    monkeypatch.setattr("plantclef_assets.models.devices.find_spec", lambda name: name == "triton")
    (tmp_path / "gcc").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    found = [resolve_compile("auto", torch.device(device)) for device in ("cuda", "cpu", "mps")]
    assert found == [True, False, False]
    (tmp_path / "gcc").unlink()
    assert not resolve_compile("auto", torch.device("cuda"))
    assert resolve_compile("on", torch.device("cpu"))
    assert not resolve_compile("off", torch.device("cuda"))
    with pytest.raises(ValueError, match="auto, on or off"):
        resolve_compile("perhaps", torch.device("cpu"))
