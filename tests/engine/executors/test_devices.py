import pytest

from autodropout.engine.executors.devices import visible_devices
from autodropout.errors import UsageError


@pytest.fixture(autouse=True)
def all_devices(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_without_devices_nothing_is_set():
    assert visible_devices(None) == [None]


def test_indices_and_strings_become_values_of_the_variable():
    assert visible_devices((0, 2, "GPU-1a", "0,1")) == ["0", "2", "GPU-1a", "0,1"]


def test_an_index_counts_among_the_devices_that_the_driver_sees(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-1a")
    assert visible_devices([1, 0, "7"]) == ["GPU-1a", "3", "7"]
    with pytest.raises(UsageError, match="device is 2, but CUDA_VISIBLE_DEVICES=3,GPU-1a shows 2"):
        visible_devices([2])


@pytest.mark.parametrize("devices", [(), [], "0,1", 0])
def test_what_is_no_list_of_devices_is_refused(devices):
    with pytest.raises(UsageError, match=r"devices is .*; expected at least one, such as \(0, 1\), or None"):
        visible_devices(devices)


@pytest.mark.parametrize("device", [-1, 0.5, "", None, True])
def test_what_is_no_device_is_refused(device):
    with pytest.raises(UsageError, match=r"device is .*; expected an index from 0 or a non-empty string"):
        visible_devices([device])
