# Everything runs in a virtual environment that make creates and fills itself, once; `make help`
# lists the targets. Variables can be given behind the target: make test PYTHON=python3.12

# The Python that creates the environment, 3.11 or newer.
PYTHON ?= python3

# The environment's folder. Empty (make test VENV=), nothing is created or installed and PYTHON is
# used as it is: for an environment that already has torch and detectron2.
VENV ?= .venv

# Where detectron2 comes from: a Git address at a commit, a wheel or the folder of a checkout.
# d2_plugtrack/prerequisites.py names the same address; a test compares them.
DETECTRON2 ?= git+https://github.com/facebookresearch/detectron2.git@02b5c4e295e990042a714712c21dc79b731e8833

# make train-tiny. FRAMEWORK is that of the detector: detectron2 or torchvision.
SEED ?= 0
OUTPUT ?= output/train_tiny
FRAMEWORK ?= detectron2

TINY := configs/TinyVID
DEMO := output/demo

# The config of a host's tiny detector with its tracker, and the two stages of its training.
ifeq ($(FRAMEWORK),detectron2)
CONFIG := plugtrack_tiny
TRAIN_DETECTOR := train_net.py --config-file $(TINY)/detector_tiny.yaml
TRAIN_TRACKER := train_net.py --config-file $(TINY)/$(CONFIG).yaml
else ifeq ($(FRAMEWORK),torchvision)
CONFIG := torchvision_tiny
TRAIN_DETECTOR := tools/train_torchvision.py --stage detector \
	--config-file $(TINY)/torchvision_detector_tiny.yaml
TRAIN_TRACKER := tools/train_torchvision.py --stage tracker --config-file $(TINY)/$(CONFIG).yaml
else
$(error FRAMEWORK $(FRAMEWORK): expected detectron2 or torchvision)
endif

PY := $(if $(VENV),$(VENV)/bin/python,$(PYTHON))

# Scripts find the package also where it is not installed.
RUN := PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}" $(PY)

HAS_DETECTRON2 := $(RUN) -c 'import d2_plugtrack.prerequisites as p; p.require_detectron2()' 2>/dev/null

.PHONY: help install demo show test test-slow lint train-tiny clean environment detectron2
.DEFAULT_GOAL := help

help:  ## list the targets
	@echo "Usage: make TARGET [VARIABLE=value ...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' Makefile
	@echo "The first run fills .venv: about 6 GB. Variables: the head of the Makefile."

install: environment detectron2  ## fill the virtual environment, and no more
	@$(HAS_DETECTRON2)

demo: environment detectron2  ## annotate a clip and print the ablation, on every host there is
	$(RUN) datasets/prepare_tiny_vid.py --output $(DEMO)/tiny_vid --splits test --videos 8
	@if $(HAS_DETECTRON2); then $(MAKE) --no-print-directory show FRAMEWORK=detectron2; fi
	@$(MAKE) --no-print-directory show FRAMEWORK=torchvision

# One host's part of the demo; its set is there.
show:
	@mkdir -p $(DEMO)/$(FRAMEWORK)
	$(RUN) demo/video_demo.py --config-file $(TINY)/$(CONFIG).yaml \
		--input $(DEMO)/tiny_vid/Data/VID/test/tiny_test_00000 --frame-rate 10 \
		--output $(DEMO)/$(FRAMEWORK)/clip.mp4 --save-json --overwrite \
		--opts MODEL.WEIGHTS demo/$(CONFIG).pth
	DETECTRON2_DATASETS=$(DEMO) $(RUN) tools/ablation.py \
		--config-file $(TINY)/$(CONFIG).yaml --dataset tiny_vid_test \
		--json $(DEMO)/$(FRAMEWORK)/ablation.json MODEL.WEIGHTS demo/$(CONFIG).pth

test: environment detectron2  ## run the tests; without detectron2, those that do not need it
	$(RUN) -m pytest

test-slow: environment detectron2  ## run what make test leaves out: many cases, kills, long runs
	$(RUN) -m pytest -m slow

lint: environment  ## check the code with ruff
	$(PY) -m ruff check .

train-tiny: environment detectron2  ## train on synthetic videos; SEED=0 OUTPUT=... FRAMEWORK=...
	@$(if $(filter detectron2,$(FRAMEWORK)),$(HAS_DETECTRON2))
	$(RUN) datasets/prepare_tiny_vid.py --output "$(OUTPUT)/tiny_vid" --seed $(SEED)
	DETECTRON2_DATASETS="$(OUTPUT)" $(RUN) $(TRAIN_DETECTOR) \
		SEED $(SEED) OUTPUT_DIR "$(OUTPUT)/detector"
	DETECTRON2_DATASETS="$(OUTPUT)" $(RUN) $(TRAIN_TRACKER) \
		MODEL.WEIGHTS "$(OUTPUT)/detector/model_final.pth" \
		DATASETS.TEST "()" SEED $(SEED) OUTPUT_DIR "$(OUTPUT)/tracker"
	$(RUN) tools/publish_weights.py "$(OUTPUT)/tracker/model_final.pth" "$(OUTPUT)/model_final.pth"

clean:  ## remove .venv and the caches; output/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The argument is a Python, of any age: what it is asked here, any Python understands.
define check_python
@command -v $(1) >/dev/null || { echo "There is no $(1), and Python 3.11 or newer is needed: name one, as in make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, and $(1) is $$($(1) --version 2>&1): name another, as in make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
endef

ifneq ($(VENV),)

# In PATH for ninja, without which detectron2 is compiled on one core.
PIP_INSTALL := PATH="$(abspath $(VENV))/bin:$$PATH" $(PY) -m pip \
	--disable-pip-version-check --no-input install --no-build-isolation
# A bare name never reaches pip, which would ask PyPI for it: what is no address is a path. With the
# name before the address pip finds what it built of that commit before.
SOURCE := $(if $(findstring ://,$(DETECTRON2)),detectron2 @ $(lastword $(DETECTRON2)),$(abspath $(DETECTRON2)))
LOG := $(VENV)/detectron2-install.log
ENVIRONMENT_STAMP := $(VENV)/.environment
# Its name holds the source, so that another source is another install.
DETECTRON2_STAMP := $(VENV)/.detectron2-$(firstword $(shell printf %s '$(SOURCE)' | cksum))

environment: $(ENVIRONMENT_STAMP)

detectron2: $(DETECTRON2_STAMP)
	@$(HAS_DETECTRON2) || echo "detectron2 is missing: it could not be installed from $(DETECTRON2) (see $(LOG)); name a wheel, a checkout or another Git address with DETECTRON2=..., or use an environment that has it with VENV= PYTHON=..." >&2

# The build tools come first: with them in place, nothing is built by versions that are not pinned.
$(ENVIRONMENT_STAMP): requirements.txt setup.py
	$(call check_python,$(or $(wildcard $(PY)),$(PYTHON)))
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "Installing requirements.txt into $(VENV): about 6 GB, 3 minutes and the downloads"
	@$(PIP_INSTALL) -qq $$(grep -E '^(ninja|setuptools|wheel)==' requirements.txt)
	@$(PIP_INSTALL) -qq -r requirements.txt -e .
	@touch $@

# Without its dependencies: they are in requirements.txt. A failure leaves no stamp, so that the
# next make tries again, and no detectron2 from another source.
$(DETECTRON2_STAMP): $(ENVIRONMENT_STAMP) $(wildcard $(filter %.whl,$(SOURCE)))
	@echo "Installing detectron2: 2 to 5 minutes where it has to be compiled"
	@rm -f $(VENV)/.detectron2-*
	@if GIT_TERMINAL_PROMPT=0 $(PIP_INSTALL) --no-deps --force-reinstall '$(SOURCE)' >$(LOG) 2>&1; \
	then touch $@; \
	else $(PY) -m pip uninstall -q -y detectron2 >>$(LOG) 2>&1; \
	fi

else

environment:
	$(call check_python,$(PY))

detectron2: environment
	@$(HAS_DETECTRON2) || echo "detectron2 is missing in the environment of $(PY): install it there (CONTRIBUTING.md has the command), or leave out VENV=" >&2

endif
