"""Runs `segdeploy` as `python -m segdeploy`, which is also how torchrun starts it."""

from segdeploy.cli.main import main

# Worker processes import this file under another name.
if __name__ == "__main__":
    main()
