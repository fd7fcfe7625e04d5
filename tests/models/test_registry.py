"""Networks by name: built-in ones are imported when they are built, and names are unique."""

import subprocess
import sys

import pytest
from torch import nn

from segdeploy.errors import ConfigError
from segdeploy.models.registry import BUILT_IN, build, names, register


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_module_of_a_built_in_name_registers_it(name: str) -> None:
    """A wrong entry of the table would show only when that network is built."""
    arguments = {"backbone": "mobilenet_v3_large"} if name == "deeplabv3plus" else {}

    network = build(name, 2, **arguments)

    assert type(network).__module__ == BUILT_IN[name]


@pytest.mark.slow
def test_built_in_name_is_taken_before_its_module_is_imported() -> None:
    """A plugin is loaded first, and must not replace a network that is imported later."""
    code = """
import sys
from segdeploy.errors import ConfigError
from segdeploy.models.registry import build, register
assert "segdeploy.models.networks.unet" not in sys.modules
try:
    register("unet")(lambda classes: None)
except ConfigError as error:
    print(error)
print(type(build("unet", 2)).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout.splitlines() == [
        "the network 'unet' is registered twice; choose another name",
        "UNet",
    ], done.stderr


def test_name_is_taken_after_its_module_is_imported() -> None:
    build("unet", 2)

    with pytest.raises(ConfigError, match="'unet' is registered twice; choose another name"):
        register("unet")(nn.Identity)


def test_names_include_networks_that_are_not_imported() -> None:
    assert set(BUILT_IN) <= set(names())
