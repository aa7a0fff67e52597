# make help lists what there is. Everything runs in .venv, which the first command makes.
SHELL := /bin/sh
.DELETE_ON_ERROR:

PROFILE ?= pocket
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PIP_ARGS ?=
TORCH_ARGS ?=
PYTEST_ARGS ?=
NAME ?=
SET ?=

PY := .venv/bin/python
READY := .venv/.ready
TEST_READY := .venv/.ready-test
PIP := $(PY) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
BUILT := book/_build/.built
RUN_CHAPTERS = $(PY) -m snakemake --cores $(CORES) --resources heavy=2 --config profile=$(PROFILE) \
  --nolock --rerun-incomplete --quiet all
BENCHMARKS := log_mel corpus search aligned training huge_pages generation mira memory

export PROFILE
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export PYTHONNOUSERSITE := 1
# beside other work, torch's threads wait for each other in a loop, some ten times as long; a shorter one costs little
export GOMP_SPINCOUNT ?= 10000
# hours of training: its arrays in huge pages, and kept, not mapped anew in every update (glibc; benchmarks/huge_pages.py)
reproduce: export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4294967296

.PHONY: help install book html reproduce test chapter plan bench bench-audit bench-large aisfx cluster clean clean-all

help:
	@echo 'make book                                                  run every chapter, build the HTML, print its path'
	@echo 'make book PROFILE=smoke                                    the same, computed anew on a few dozen clips (minutes)'
	@echo 'make reproduce                                             the pocket study from nothing (hours), then compared with results/'
	@echo 'make install                                               make .venv alone: enough for an audit'
	@echo 'make test                                                  run all tests'
	@echo 'make chapter NAME=06_thresholds SET="beta=0.7 k=5"         one chapter with other parameters, in a page of its own'
	@echo 'make plan PROFILE=paper [AUDIOCAPS=/folder]                what a profile takes, GPU hours too, and what is missing for it'
	@echo 'make bench                                                 the benchmarks, each beside its peers; bench-large: 45,000 clips'
	@echo 'make bench-audit                                           which planted copies an audit finds, beside Chromaprint (an hour)'
	@echo 'make aisfx                                                 add the optional encoder of chapter 05 to .venv'
	@echo 'make cluster                                               add what "snakemake --executor slurm" needs to .venv'
	@echo 'make clean                                                 delete the built book; results in runs/ stay'
	@echo 'make clean-all                                             delete that, runs/ and .venv as well'
	@echo 'PYTHON=/path/to/python3.11 chooses the Python, CORES=n limits the cores, PIP_ARGS="..." goes to pip,'
	@echo 'TORCH_ARGS="..." goes to pip for PyTorch alone: for the option of its CPU build, pytorch.org/get-started/locally'

# The stamp is written last, so an installation that was killed is not taken for a finished one. It is redone from
# nothing: pip takes a package that was half unpacked for installed.
# The lock comes first, with its hashes checked; what PyTorch needs is then there, and its call fetches PyTorch alone, with
# the CUDA packages of the build that the index gives. pip's check of hashes allows no package without, so two calls.
$(READY): requirements.lock requirements-torch.txt pyproject.toml
	@start=$$(date +%s); found=; python=; \
	if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- python3.11 python3.12 python3.13 python3 python; fi; \
	for candidate; do \
	  version=$$("$$candidate" -c 'import ensurepip, sys, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=; \
	  case "$$version" in \
	    3.11|3.12|3.13) python=$$candidate; break ;; \
	    ?*) found="$$found $$candidate is $$version," ;; \
	    *) if "$$candidate" --version >/dev/null 2>&1; then found="$$found $$candidate lacks venv or ensurepip,"; fi ;; \
	  esac; \
	done; \
	if [ -z "$$python" ]; then \
	  found=$${found%,}; echo "error: Python 3.11, 3.12 or 3.13 is needed; found:$${found:- none}. PYTHON=/path/to/python names one." >&2; exit 1; \
	fi; \
	again=; now=$$($(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || now=; \
	case "$$now" in 3.11|3.12|3.13) ;; *) again=yes ;; esac; \
	if [ -e .venv/.installing ]; then again=yes; fi; \
	echo "Installing into .venv ($$python, 2.7 GB, some minutes)"; \
	if [ "$$(uname -s)" = Linux ] && [ -z "$(if $(PIP_ARGS)$(TORCH_ARGS),set)" ] && ! command -v nvidia-smi >/dev/null 2>&1; then \
	  echo "No NVIDIA GPU here: unless pip is set up for PyTorch's CPU build, 4 GB of CUDA come too (book/running.md: TORCH_ARGS)"; \
	fi; \
	rm -f $(READY) && mkdir -p .venv && touch .venv/.installing || exit 1; \
	if [ -n "$$again" ]; then \
	  find .venv -mindepth 1 -maxdepth 1 ! -name .installing -exec rm -rf {} + && "$$python" -m venv .venv || exit 1; \
	fi; \
	$(PIP) --no-deps --require-hashes -r requirements.lock && \
	$(PIP) $(TORCH_ARGS) -r requirements-torch.txt && \
	$(PIP) --no-deps -e . && \
	rm .venv/.installing && touch $(READY) && \
	echo "Installed in $$(( $$(date +%s) - start )) s"

install: $(READY)

# Further packages for a finished .venv. Its stamp is away meanwhile, so that here too a killed run is redone from nothing;
# where pip itself gives up (no network), .venv is as it was.
add = mv $(READY) .venv/.installing; $(PIP) --no-deps --require-hashes -r $(1); status=$$?; \
  mv .venv/.installing $(READY); exit $$status

$(TEST_READY): $(READY) requirements-test.lock
	@$(call add,requirements-test.lock)
	@touch $@

aisfx: $(READY) # without its dependencies: it asks for numpy and librosa of 2022
	@$(call add,requirements-optional.txt)
	@echo 'Installed. Chapter 05 shows it from the next run on, as in: make book'

cluster: $(READY)
	@$(call add,requirements-cluster.lock)

# Snakemake's own lock outlives a killed run, so it is off: stages and pages are safe under locks that end with the
# process (src/helpers/study/store.py), and pages get their names when they are whole.
book: $(READY)
	@start=$$(date +%s) && \
	$(PY) -m helpers tidy --profile $(PROFILE) && \
	if [ -e results/$(PROFILE)/manifest.json ]; then $(PY) -m helpers restore --profile $(PROFILE); fi && \
	$(RUN_CHAPTERS) && \
	echo "Chapters ready in $$(( $$(date +%s) - start )) s"
	@$(MAKE) --no-print-directory html

# All or nothing: an incremental build would not repeat the warnings of a failed one, and would leave numbers that a page
# takes from a changed chapter (glue) as they were.
html:
	@if [ -e $(BUILT) ] && [ -z "$$(find book $(READY) -path book/_build -prune -o -newer $(BUILT) -print)" ]; then \
	  echo "HTML is up to date"; \
	else \
	  start=$$(date +%s); rm -rf book/_build; begun=$$(mktemp); \
	  if ! .venv/bin/jupyter-book build book/ -W -n --keep-going --quiet >/dev/null; then \
	    rm -f $$begun; echo "error: the HTML was not built; the reasons are above" >&2; exit 1; \
	  fi; \
	  mv $$begun $(BUILT); echo "HTML built in $$(( $$(date +%s) - start )) s"; \
	fi
	@printf '%s\n' "$$PWD/book/_build/html/index.html"

# Every chapter again, from stages computed here: restored ones do not count, those that an interrupted run of this had
# finished do. HELPERS_COMPUTE overrules what the chapters ask of the stage store (src/helpers/study/store.py).
reproduce: PROFILE := pocket
reproduce: $(READY) aisfx # the study uses that encoder too
	@$(PY) -m helpers tidy --profile $(PROFILE)
	@HELPERS_COMPUTE=all $(RUN_CHAPTERS) --forceall
	@$(PY) -m helpers compare --profile $(PROFILE)

# as many files of tests at a time as there are cores, at most four: each may need 2 GB
test: $(TEST_READY)
	@$(PY) -m pytest -q --durations=10 -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# Each setting keeps its page. Links to the other chapters lead nowhere in it, so Sphinx is not called with -W.
chapter: $(READY)
	@if [ -z "$(NAME)" ]; then echo 'error: NAME is needed, as in: make chapter NAME=06_thresholds SET="beta=0.7"' >&2; exit 2; fi
	@set -f; notebook=$$($(PY) -m helpers chapter $(NAME) --profile $(PROFILE) --set $(SET)) || exit; \
	page=$$(dirname "$$notebook"); rm -rf "$$page/book" && mkdir "$$page/book" && \
	cp -R book/_config.yml book/_static book/_templates book/_vendor book/references.bib book/references.md book/glossary.md \
	  "$$notebook" "$$page/book" && \
	printf 'format: jb-book\nroot: %s\nchapters:\n- file: glossary\n- file: references\n' $(NAME) > "$$page/book/_toc.yml" && \
	.venv/bin/jupyter-book build "$$page/book" -qq >/dev/null && \
	printf '%s\n' "$$page/book/_build/html/$(NAME).html"

plan: $(READY) # needs neither data nor weights
	@$(PY) -m helpers plan all $(if $(AUDIOCAPS),--set corpus.path="$(AUDIOCAPS)" corpus.audio_path="$(AUDIOCAPS)/audio")

bench: $(READY)
	@for name in $(BENCHMARKS); do echo "== $$name"; $(PY) benchmarks/$$name.py || exit 1; done

# Not part of `bench`: its recordings come from Debian packages (2 GB), and one core is busy for about an hour.
bench-audit: $(READY)
	@$(PY) benchmarks/audit.py
	@$(PY) benchmarks/audit_scale.py

# Not part of `bench`: its files take about 18 GB of disk, and each of the two takes about 10 minutes.
bench-large: $(READY)
	@$(PY) benchmarks/search_large.py
	@$(PY) benchmarks/memory.py --n 45000

clean:
	rm -rf book/_build book/chapters runs/chapters

clean-all: clean
	rm -rf runs .venv .snakemake
