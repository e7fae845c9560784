"""What somebody reads who has not installed a trainer."""

import importlib
import subprocess
import sys

import pytest

from autodropout.errors import MissingError


@pytest.fixture
def imported_without(monkeypatch):
    def imported(name, *absent):
        for module in absent:
            monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, f"autodropout.integrations.{name}", raising=False)
        return importlib.import_module(f"autodropout.integrations.{name}")

    return imported


def test_lightning_is_named_with_the_command_that_installs_it(imported_without):
    text = (
        r"^autodropout\.integrations\.lightning needs Lightning, which is not installed; "
        "install it with: pip install lightning$"
    )
    with pytest.raises(MissingError, match=text):
        imported_without("lightning", "lightning.pytorch", "pytorch_lightning")


def test_transformers_is_named_with_the_command_that_installs_it(imported_without):
    text = (
        r"^autodropout\.integrations\.huggingface needs transformers and accelerate, which are not "
        "installed; install them with: pip install transformers accelerate$"
    )
    with pytest.raises(ImportError, match=text):
        imported_without("huggingface", "transformers")


def test_pytorch_lightning_alone_is_enough(imported_without):
    pl = pytest.importorskip("pytorch_lightning")
    assert issubclass(imported_without("lightning", "lightning.pytorch").PolicyCallback, pl.Callback)


def test_the_package_of_the_callbacks_needs_none_of_them():
    code = (
        "import sys, autodropout.integrations; "
        "print({'lightning', 'transformers', 'accelerate', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
