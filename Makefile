# make demo: phantoms -> training -> segmentation -> picture.   make test: linters, type checker, quick tests.
# make test-slow: the tests that `make test` leaves out: kills, whole trainings, several processes. make test-all: both.
# make soak: what only chance can break, 100 times each (kills, competing programs, cancelled requests); half an hour.
# All set themselves up in .venv; nothing outside this folder changes, but for the tests as root with apt,
# which install what off-screen rendering and the browser test need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SKCDF := $(BIN)/python -m skcdf
RENDERING := libegl1 libgl1-mesa-dri libgl1 libxkbcommon0 libfontconfig1 libglib2.0-0 libdbus-1-3 fonts-dejavu-core
BROWSER := chromium chromium-driver

.PHONY: demo test test-slow test-all soak lint format pictures bench clean help
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# //p' Makefile

demo: $(VENV)/.demo
	rm -rf demo
	$(SKCDF) phantom demo/pool --labelled 6 --unlabelled 6 --shape 64 90 100 --spacing 4 4 4
	$(SKCDF) train demo/pool demo/run --name phantom_demo --iterations 400 --filters 8 --spacing 4 4 4 \
	    --patch-size 64 64 64
	$(SKCDF) phantom demo/scan.nii.gz --labels demo/truth.nii.gz --seed 1000
	$(SKCDF) segment demo/scan.nii.gz demo/organs.nii.gz --model demo/run/model --picture demo/organs.png \
	    --statistics demo/organs.csv
	$(SKCDF) evaluate demo/organs.nii.gz demo/truth.nii.gz --labels phantom13 --require 0.7
	@echo "See demo/organs.png (picture), demo/organs.nii.gz (label map) and demo/organs.csv (table)."

# The suite starts hundreds of programs: where bytecode is not kept, each of them would compile the engine again.
# A worker for every processor: each collects all tests first, so that more cost more than their idle time is worth; above 8,
# memory would. What the tests of a file need is made once in each; in the end the idle take from the busy.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

test: lint rendering
	$(PYTEST)

test-slow: $(VENV)/.test rendering
	$(PYTEST) -m slow

test-all: test test-slow

SOAKED := test_pool_processes test_model_store_processes test_fine_tuning_killed test_worker \
    test_worker_nonsense test_finetune_door

soak: $(VENV)/.test
	SKCDF_SOAK=1 $(PYTEST) -m "" $(SOAKED:%=Testing/engine/%.py)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pictures: $(VENV)/.test rendering
	$(BIN)/python docs/make_pictures.py
	OMP_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen $(BIN)/python docs/make_panel_pictures.py

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/nnunet_integrity.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/inference.py --repeats 1
	$(BIN)/python benchmarks/training.py --small

# Rendering without a screen needs EGL and Mesa, the panel's tests what Qt links to and a font, the report's test a browser.
# Root with apt gets them; others are told, and the rest goes on.
.PHONY: rendering
rendering:
	@PATH=$$PATH:/sbin:/usr/sbin; \
	get() { \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        apt-get update -qq && apt-get install -qq -y --no-install-recommends $$2 >/dev/null \
	        || echo "$$1 tests will be skipped: could not install $$2"; \
	    else echo "$$1 tests will be skipped: install $$2 to run them"; fi; }; \
	( for library in EGL.so.1 GL.so.1 xkbcommon.so.0 fontconfig.so.1 glib-2.0.so.0 dbus-1.so.3; do \
	    ldconfig -p 2>/dev/null | grep -q "lib$$library" || exit 1; done; \
	    ls /usr/lib/*/dri/swrast_dri.so /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf >/dev/null 2>&1 ) \
	    || get rendering "$(RENDERING)"; \
	{ command -v chromium && command -v chromedriver; } >/dev/null || get browser "$(BROWSER)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "Python 3.11 or newer is missing: install python3, or give PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "Python's venv is missing: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# constraints.txt fixes torch, so that every set-up computes with the same one.
$(VENV)/.%: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing skcdf and what it needs into $(VENV) (once, some minutes)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    -e '.[$(if $(filter demo,$*),report,$*)]' || { echo "The packages could not be installed: check the network."; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) demo build dist *.egg-info engine/*.egg-info
