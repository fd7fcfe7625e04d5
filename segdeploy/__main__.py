"""`python -m segdeploy` is `segdeploy`, also where torchrun starts it."""

from segdeploy.cli import main

main()
