# Two commands: `make demo` makes a picture, `make test` proves the package. Both set up what they need.
PYTHON ?= python3
VENV ?= .venv
# the torch that constraints.txt pins; TORCH="torch --index-url ..." takes another build
TORCH ?= torch -c constraints.txt
BIN := $(VENV)/bin
# programs that wait spinning on two cores are twenty times slower
export OMP_WAIT_POLICY := PASSIVE
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: demo test check benchmarks clean

demo: $(VENV)/.installed
	$(BIN)/modeseek image "hamburger" --out modeseek-runs/demo --overwrite
	@echo
	@echo "The picture is modeseek-runs/demo/final.png (64 pixels; final-large.png has 256), its making modeseek-runs/demo/evolution.webp."
	@echo "Try next:"
	@echo "  $(BIN)/modeseek image rocket \"red heart\" \"cat face\"     # three at once"
	@echo "  $(BIN)/modeseek image hamburger --method sds            # the same by score distillation"
	@echo "  $(BIN)/modeseek sample hamburger --n 4                  # what the model itself samples"
	@echo "  $(BIN)/modeseek lab fractal --bandwidth-start 0.1       # in the plane, where the truth is known"
	@echo "  $(BIN)/modeseek scene hamburger                         # a solid thing: turntable and mesh, in minutes"
	@echo "  $(BIN)/modeseek image --help                            # every knob"

test: $(VENV)/.developed
	$(BIN)/python -m pytest -n 2

check: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmarks: $(VENV)/.developed
	$(BIN)/python -m benchmarks

$(VENV)/.torch: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "modeseek needs Python 3.11 or newer, got " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing $(TORCH): minutes the first time; TORCH=... takes another build"
	$(BIN)/python -m pip install --quiet $(TORCH)
	@grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt  # whatever torch is there now stays
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	@echo "Installing modeseek"
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt -e ".[plots,three-d,video]"
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
