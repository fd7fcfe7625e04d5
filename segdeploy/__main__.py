"""`python -m segdeploy` is `segdeploy`, also where torchrun starts it."""

from segdeploy.cli.main import main

# A worker process imports this file under another name.
if __name__ == "__main__":
    main()
