"""ONNX Runtime Web, which the page loads: fetched from npm once, checked, and kept in the package.

`python -m segdeploy.web.runtime` fetches it; `make web` does so before the package is built.
"""

import base64
import hashlib
import io
import tarfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from segdeploy.errors import ConfigError, SegdeployError
from segdeploy.system.files import write_bytes

VERSION = "1.30.0"
ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Checksum of the archive, as npm's registry lists it."""

SECONDS = 60.0
MOST_BYTES = 200 << 20

WASM: Mapping[str, str] = {
    "ort.js": "ort.wasm.min.mjs",
    "ort-wasm.js": "ort-wasm-simd-threaded.mjs",
    "ort-wasm.wasm": "ort-wasm-simd-threaded.wasm",
}
"""Files of the build for processors, by the names that the page gives them: few servers know
the ending .mjs."""

WEBGPU: Mapping[str, str] = {
    "ort-webgpu.js": "ort.webgpu.min.mjs",
    "ort-gpu.js": "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-gpu.wasm": "ort-wasm-simd-threaded.asyncify.wasm",
}
"""Files of the build for graphics processors."""


def folder() -> Path:
    """Return the folder of the package that holds the runtime."""
    return Path(str(files("segdeploy.web"))) / "runtime"


def runtime_files(*, webgpu: bool) -> Mapping[str, Path]:
    """Return the runtime's files, by the names that the page gives them.

    Args:
        webgpu: Whether the build for graphics processors is among them.

    Raises:
        ConfigError: This installation has none.
    """
    paths = {name: folder() / name for name in [*WASM, *(WEBGPU if webgpu else ())]}
    missing = [path for path in paths.values() if not path.is_file()]
    if missing:
        msg = (
            f"this installation has no ONNX Runtime Web ({missing[0]} is missing); run"
            " 'python -m segdeploy.web.runtime', which fetches it from npm once"
        )
        raise ConfigError(msg)
    return paths


def fetch(address: str = ADDRESS, *, target: Path) -> None:
    """Fetch the runtime, and write its files.

    Args:
        address: Address of the archive.
        target: Folder of the files.

    Raises:
        SegdeployError: The archive cannot be fetched, or is not the one whose checksum is known.
    """
    try:
        with urlopen(address, timeout=SECONDS) as response:  # noqa: S310 - the address is pinned
            archive = response.read(MOST_BYTES + 1)
    except (OSError, URLError) as error:
        msg = f"{address} cannot be fetched ({error}); run this where npm's registry is reachable"
        raise SegdeployError(msg) from error
    found = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != SHA512:
        msg = f"{address} has the SHA-512 {found}, not {SHA512}; it was changed, so it is not used"
        raise SegdeployError(msg)
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for name, member in {**WASM, **WEBGPU}.items():
            content = opened.extractfile(f"package/dist/{member}")
            assert content is not None
            write_bytes(target / name, content.read())


if __name__ == "__main__":
    fetch(target=folder())
