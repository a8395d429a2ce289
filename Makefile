# make help    prints these lines
# make demo    trains a LoRA of the sample character in a real ComfyUI and shows where its pictures are
# make test    lint, unit tests, then the tests that boot ComfyUI and a browser
# make serve   a ComfyUI with this checkout in it, to try things in by hand; at its end all that it kept is removed
# make clean   removes .venv and .cache; what was made, in build and out, stays
# make check   lint and unit tests alone: seconds
# make demo-base        makes the demo base anew in build/demo_base: hours on a CPU; stop it, and it goes on
# make bench-training   how fast, light and well it trains, against ComfyUI's own trainer
# make bench-likeness   how well LoRAs learn characters, against ComfyUI's own trainer
# make bench-sampling   how well characters are sampled in scenes, and the best checkpoint is chosen
# make bench-data       how fast, light and exact the data-set nodes are, against ComfyUI's own
#
# COMFYUI_PATH=/path/to/ComfyUI (and COMFYUI_PYTHON=/its/python) use a ComfyUI that is already there.

PYTHON ?= python3
PY := .venv/bin/python
READY := .venv/ready

.PHONY: help demo test check lint unit integration validate serve demo-base bench-data bench-likeness bench-sampling bench-training clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

demo: $(READY)
	$(PY) workflows/run.py workflows/api/quickstart.json --out build/demo

test: check validate integration

check: lint unit

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

unit: $(READY)
	$(PY) -m pytest -m "not comfyui"

integration: $(READY)
	$(PY) -m pytest -m comfyui

validate: $(READY)
	$(PY) -m comfy_cli --skip-prompt node validate

serve: $(READY)
	cd tests && ../$(PY) -m comfyui.server

demo-base: $(READY)
	$(PY) -m sota.demo_base --comfyui "$$(cd tests && ../$(PY) -m comfyui.installation)" $(ARGS)

bench-likeness: $(READY)
	$(PY) tests/benchmarks/bench_likeness.py $(ARGS)

bench-sampling: $(READY)
	$(PY) tests/benchmarks/bench_sampling.py $(ARGS)

bench-data: $(READY)
	$(PY) tests/benchmarks/bench_data.py $(ARGS)

bench-training: $(READY)
	$(PY) tests/benchmarks/bench_training.py $(ARGS)

$(READY): requirements.txt tests/requirements.txt tests/requirements-torch.txt
	@echo "Setting up .venv (once; the download of torch is the largest part) …"
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -r tests/requirements-torch.txt
	$(PY) tests/comfyui/cpu_torch.py
	@touch $@

clean:
	rm -rf .venv .cache
