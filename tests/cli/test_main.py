"""`segdeploy` itself: the list of commands costs no import."""

import subprocess
import sys

import pytest

HEAVY = ("numpy", "torch", "cv2", "av", "onnxruntime", "PIL", "rich")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["data", "--help"]])
def test_help_imports_no_library_but_click(arguments: list[str]) -> None:
    """It must appear at once; click alone takes a quarter of its time."""
    code = (
        "import sys\nfrom segdeploy.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n"
        f"    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )

    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )

    assert process.stderr == "[]\n"


@pytest.mark.parametrize(
    "command", ["run", "eval", "compare", "inspect", "verify", "models", "doctor"]
)
def test_help_of_a_command_starts_no_runtime(command: str) -> None:
    """PyTorch takes seconds, ONNX Runtime and rich a tenth of one."""
    code = (
        "import sys\nfrom segdeploy.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n"
        "    heavy = {'torch', 'onnxruntime', 'av', 'rich'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    process = subprocess.run(
        [sys.executable, "-c", code, command, "--help"], capture_output=True, text=True, check=True
    )

    assert process.stderr == "[]\n"
