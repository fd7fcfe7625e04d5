"""Dataset formats, one module each; `segdeploy.datasets.registry` imports them by name."""
