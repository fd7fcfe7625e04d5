# `make demo` runs the whole workflow, `make test` runs every check. Both set up what they need, once.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo performance web docs notebooks test processors fuzz lint types proto clean
.DELETE_ON_ERROR:

# --- set-up ---

.venv/created:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "segdeploy needs Python 3.11 or newer; choose one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/demo: .venv/created setup.cfg pyproject.toml
	@echo "installing segdeploy and PyTorch into .venv (some GB on Linux, once)"
	$(PIP) --editable '.[export,report]'
	touch $@

.venv/dev: .venv/demo
	$(PIP) --editable '.[dev]'
	touch $@

# --- ONNX Runtime Web for --format web, from npm, into the package; without it the tests of pages are skipped ---

RUNTIME := segdeploy/web/runtime/ort.js

$(RUNTIME): segdeploy/web/runtime.py | .venv/demo
	-$(BIN)/python -m segdeploy.web.runtime

web: $(RUNTIME)

# --- the workflow, on the synthetic dataset Streets: run the bundled model; then train, export with proof, run, benchmark ---

SEGDEPLOY := cd demo && ../$(BIN)/segdeploy

# Without --model, the bundled model runs.
demo/first: demo/drive.mp4
	rm -rf demo/runs/run/first
	$(SEGDEPLOY) run --video drive.mp4 --name first
	touch $@

demo/trained: .venv/demo | demo/first
	mkdir -p demo
	if [ -f demo/runs/train/demo/last.pt ]; \
	then $(SEGDEPLOY) train --resume runs/train/demo; \
	else rm -rf demo/runs/train/demo && $(SEGDEPLOY) train streets-demo --name demo; fi
	touch $@

demo/runs/train/demo/best.pt: demo/trained ;

demo/runs/train/demo/best.onnx: demo/trained
	$(SEGDEPLOY) export runs/train/demo/best.pt --format onnx
	touch $@

demo/drive.mp4: .venv/demo
	mkdir -p demo
	$(SEGDEPLOY) data render --video drive.mp4 --overwrite --seconds 6 --height 540 --width 960

demo/overlay: demo/drive.mp4 demo/runs/train/demo/best.onnx
	rm -rf demo/runs/run/demo
	$(SEGDEPLOY) run --model runs/train/demo/best.onnx --video drive.mp4 --name demo
	touch $@

demo/measured: demo/runs/train/demo/best.onnx
	rm -rf demo/runs/benchmark/demo
	$(SEGDEPLOY) benchmark runs/train/demo/best.pt runs/train/demo/best.onnx --name demo --images 12 --rounds 2 --runs 10
	touch $@

demo: demo/overlay demo/measured
	@echo
	@echo "by the bundled model:      $$(ls demo/runs/run/first/*.mp4)"
	@echo "by the one trained here:   $$(ls demo/runs/run/demo/*.mp4)"
	@echo "the report:                demo/runs/benchmark/demo/report.html"

# --- docs/performance-details.md: every format, threads and batches, peers; needs a quiet machine and an hour ---
# For the network of the demo, or for another:
# make performance CHECKPOINT=runs/train/bundled-model/best.pt DATASET=camvid DATA=path/to/camvid TRAIN=realtime-camvid

CHECKPOINT := demo/runs/train/demo/best.pt
DATASET := streets
DATA :=
TRAIN := streets-demo
ON := --dataset $(DATASET) $(if $(DATA),--data $(abspath $(DATA)))
MEASURE := $(ON) --images 20 --rounds 3 --runs 20
MEASURED := demo/performance
# The output of a study below its command line, or why it failed.
study = cd $(MEASURED) && { echo '$$ python -m segdeploy.benchmarks.studies.$(2)'; ../../$(BIN)/python -m segdeploy.benchmarks.studies.$(2) 2> $(1).log || cat $(1).log; } > $(1).txt

.venv/peers: .venv/demo
	$(PIP) --editable '.[export,openvino,report,peers,serve]'
	touch $@

# A row or a command that fails is in the page with its reason.
performance: .venv/peers $(CHECKPOINT) demo/drive.mp4
	rm -rf $(MEASURED) && mkdir -p $(MEASURED)
	cp $(CHECKPOINT) $(MEASURED)/best.pt
	$(SEGDEPLOY) export performance/best.pt --format onnx $(ON)
	-$(SEGDEPLOY) export performance/best.pt --format onnx --precision int8 $(ON) --max-miou-drop 1
	-$(SEGDEPLOY) benchmark performance/best.pt --all --video drive.mp4 $(MEASURE) --output performance/1-formats
	-$(SEGDEPLOY) benchmark performance/best.onnx --threads 1,2 --batch 1,4 $(MEASURE) --output performance/2-threads-and-batches
	-$(SEGDEPLOY) benchmark performance/best.pt performance/best.onnx --peers $(MEASURE) --output performance/3-peers
	-$(SEGDEPLOY) benchmark performance/best.onnx --train $(TRAIN) --loader $(ON) --images 5 --rounds 1 --output performance/4-training
	$(call study,5-video-and-images,video_loops best-int8.onnx --checkpoint best.pt)
	$(call study,5-video-stages,stages best-int8.onnx --preset superfast --preset ultrafast)
	$(call study,5-video-encoders,encoders --video ../drive.mp4)
	$(call study,6-masks,kernels masks)
	$(call study,7-networks,networks)
	$(call study,8-precisions,precisions)
	$(call study,9-serving,serving --rounds 1)
	$(BIN)/python -m segdeploy.benchmarks.studies.performance_page $(MEASURED)/*/report.json $(MEASURED)/*.txt --output docs/performance-details.md

# --- the checks ---

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# mypy does not know the mapping of folders in setup.cfg, so it reads the files as a wheel lays them out.
types: .venv/dev
	rm -rf build/types && mkdir -p build/types
	cp -R segdeploy build/types/ && cp -R train export benchmarks build/types/segdeploy/
	cd build/types && ../../$(BIN)/mypy --config-file ../../setup.cfg --cache-dir ../mypy -p segdeploy

test: lint types web
	$(BIN)/python -m pytest -q --numprocesses 2 --dist worksteal

# Nothing may depend on the processor: the quick tests once more as on one with AVX2 only, and as on one with AVX-512, VNNI and bf16.
processors: .venv/dev
	SEGDEPLOY_TEST_CPU=none $(BIN)/python -m pytest -q --numprocesses 2 --dist worksteal -m "not slow"
	SEGDEPLOY_TEST_CPU=all $(BIN)/python -m pytest -q --numprocesses 2 --dist worksteal -m "not slow"

# Search for new faults: mutated files and killed commands of a new seed, and new cases of hypothesis. Bad files are kept in build/fuzz.
MINUTES := 10
SEED := $(shell date +%s)

fuzz: .venv/dev
	failed=0; \
	$(BIN)/python -m tests.fuzz --minutes $$(awk 'BEGIN {print 0.7 * $(MINUTES)}') --seed $(SEED) || failed=1; \
	$(BIN)/python -m tests.kill --minutes $$(awk 'BEGIN {print 0.2 * $(MINUTES)}') --seed $(SEED) || failed=1; \
	$(BIN)/python -m pytest -q --hypothesis-profile=search $$(grep -rl "from hypothesis" tests --include='test_*.py') || failed=1; \
	exit $$failed

# --- the site in build/site, with strict links; and the notebooks, which are stored without outputs ---

docs: .venv/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Only their own settings: the warnings of Jupyter are not ours.
notebooks: .venv/dev
	$(BIN)/python -m pytest -q -c /dev/null --rootdir . -p no:cacheprovider --nbmake --nbmake-timeout=600 notebooks

clean:
	rm -rf build dist demo .venv *.egg-info

# --- messages of gRPC; an older grpcio-tools makes them for more versions of protobuf ---
PROTO := segdeploy/serving/protocol/generated
proto: .venv/created
	$(PIP) 'grpcio-tools<1.76'
	cd $(PROTO) && $(CURDIR)/$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. open_inference.proto
