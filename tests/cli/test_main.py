"""`segdeploy` itself: the list of commands costs no import."""

import subprocess
import sys

import pytest

from tests.helpers.cli import run_cli

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


EXTRAS = ("torch", "torchvision", "matplotlib", "onnx", "openvino", "timm", "pyvips", "starlette")

TRY_HELP = f"""
import sys
sys.modules.update(dict.fromkeys({EXTRAS}))
from segdeploy.cli.main import COMMANDS, DATA_COMMANDS, main
for words in [*([name] for name in COMMANDS), *(["data", name] for name in DATA_COMMANDS)]:
    try:
        main([*words, "--help"])
    except SystemExit as error:
        assert not error.code, words
"""


@pytest.mark.slow
def test_every_help_works_without_any_extra() -> None:
    """A plain installation has neither PyTorch nor matplotlib."""
    process = subprocess.run(
        [sys.executable, "-c", TRY_HELP], capture_output=True, text=True, check=False
    )

    assert (process.returncode, process.stderr) == (0, "")


def test_a_missing_library_is_one_sentence() -> None:
    """The list of networks needs PyTorch; it ended in a traceback."""
    code = (
        "import sys\nsys.modules['torch'] = None\n"
        "from segdeploy.cli.main import main\nmain(['models'])"
    )

    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert process.returncode == 1
    assert process.stderr.startswith("segdeploy: torch is not installed; run: pip install ")
    assert "[train]" in process.stderr


def test_the_command_alone_says_what_to_do_first(capsys: pytest.CaptureFixture[str]) -> None:
    """A list of 13 commands is no beginning."""
    assert run_cli() == 2

    assert "First steps:\n  segdeploy run VIDEO" in capsys.readouterr().err


@pytest.mark.parametrize(
    "module", ["segdeploy.cli.inspect", "segdeploy.export.command", "segdeploy.train.command"]
)
def test_a_card_needs_no_arrays(module: str) -> None:
    """numpy and OpenCV take most of the time of a `--help`."""
    code = f"import sys, {module}\nassert not {{'numpy', 'cv2'}} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "arguments",
    [["models", "--jsn"], ["inspect"], ["run", "--opacity", "half"], ["nothing"]],
)
def test_wrong_usage_is_said_in_a_sentence_of_ours(capsys, arguments):
    """Programs that look for the message find it, whoever looked at the options."""
    assert run_cli(*arguments) == 2

    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("segdeploy: ")
