"""Studies: run one as python -m segdeploy.benchmarks.studies.NAME."""
