# make train: a first model; make test: what CI runs; make check: the slow ones too.
PYTHON ?= python3
BIN = .venv/bin

# the parts that compute run with tensor shapes and types of every call checked
COMPUTING = tests/losses/test_losses.py tests/evaluation/test_evaluate.py tests/evaluation/metrics/test_ranking.py tests/evaluation/metrics/test_beyond_accuracy.py \
  tests/data/preparation/test_segments.py tests/models/test_models.py tests/models/layers/test_attention_bias.py tests/models/test_repeat.py tests/contracts
CHECKED = -W ignore::beartype.roar.BeartypeDecorHintPep585DeprecationWarning \
  --jaxtyping-packages=recsys,tests.checking.checked

.PHONY: train serving test lint check clean

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

.venv/serving: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[serve]"
	touch $@

train: .venv/installed
	$(BIN)/python scripts/train.py

serving: .venv/serving

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadgroup $(addprefix --ignore=,$(COMPUTING))
	$(BIN)/python -m pytest -m "not slow" -n auto $(CHECKED) $(COMPUTING)

check: test
	$(BIN)/python -m pytest -m slow -n auto --dist loadgroup

# for the page and its tests, and for docs/node
node_modules:
	npm install --no-save --ignore-scripts onnxruntime-web@1.30.0 onnxruntime-node@1.30.0

clean:
	rm -rf .venv node_modules build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
