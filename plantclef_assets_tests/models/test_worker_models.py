from plantclef_assets.models.worker_models import DeviceShare


def test_devices_share_the_threads_and_each_has_one_at_least():
    assert DeviceShare(("cuda:0", "cuda:1"), 16)() == ("cuda:0", 8)
    assert DeviceShare(("cpu", "cpu", "cpu"), 2)() == ("cpu", 1)
