"""Runs `segdeploy` as `python -m segdeploy`, which is also how torchrun starts it."""

import sys
from pathlib import Path

# Where `-m` put the current folder first, a file cv2.py there would be imported in place of OpenCV.
# A checkout that is not installed is found in no other way.
if __name__ == "__main__" and Path(sys.path[0]) == Path.cwd() != Path(__file__).parents[1]:
    del sys.path[0]

from segdeploy.cli.main import main

# Worker processes import this file under another name.
if __name__ == "__main__":
    main()
