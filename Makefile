# The commands a person types. Each one installs what it lacks (Debian and Ubuntu), builds, and does its work.
#
#   make demo          train on this book and source for about a minute, evaluate, write a sample
#   make test          build everything and run all tests
#   make docs          build the documentation site into build/release/docs/html
#   make bench         measure this machine, and beside PyTorch where PYTHON has it
#   make bench-busy    measure this machine beside programs that keep it busy
#   make instructions  count the instructions of a training step and of a decoded token
#   make install       install the program and the library (PREFIX=/usr/local)
#   make clean         remove what was built

# A variable as one word of the shell, whatever is in it: what a person types is not read again, by make or by the shell.
quote = '$(subst ','\'',$(value $1))'
# Where this file really is, also if it is reached through a link: a build folder belongs to one source folder.
SOURCE := $(shell dirname -- "$$(realpath -- "$$(printf %s $(call quote,MAKEFILE_LIST) | sed 's/^ //')")")
BUILD  ?= build/release
OUT     = runs/demo
# Few windows a step and so many steps, heads that look at the last few bytes, and an embedding as large as what the blocks
# add: what gets furthest in a minute (docs/training.md, "Speed").
DEMO = --steps 4000 --batch 2 --window 192 --warmup 600 --final-lr 0 --gammas 0.5,0.75,0.9,0.98 --embed-scale 4 \
       --eval-every 250
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
BENCH   = build/bench
PYTHON ?= python3
RETNET  = $(call quote,BUILD)/retnet
# CMAKE_FLAGS is words of the shell.
CONFIGURE = sh $(call quote,SOURCE)/cmake/configure.sh $(call quote,SOURCE) $(call quote,BUILD) $(CMAKE_FLAGS)
PACKAGES = sh $(call quote,SOURCE)/cmake/packages.sh
# The makefiles that cmake writes are run from here; which folder they are in is of no interest.
MAKEFLAGS += --no-print-directory

.PHONY: help demo build test docs bench bench-busy instructions install clean

help:
	@sed -n 's/^#   make/  make/p' $(call quote,SOURCE)/Makefile

build:
	@$(CONFIGURE)
	@cmake --build $(call quote,BUILD) -j $(JOBS) --target retnet_program

demo: build
	$(RETNET) train $(DEMO) --out=$(call quote,OUT) --overwrite
	$(RETNET) eval --model=$(call quote,OUT)
	$(RETNET) generate --model=$(call quote,OUT) --prompt "Tensor softmax(" --tokens 600 --temperature 0.8
	@echo
	@printf 'The loss curve is in %s/loss.svg; the model is in %s.\n' $(call quote,OUT) $(call quote,OUT)

test:
	@$(PACKAGES) test
	@$(CONFIGURE)
	cmake --build $(call quote,BUILD) -j $(JOBS)
	ctest --test-dir $(call quote,BUILD) --output-on-failure --no-tests=error -j $(JOBS)

docs:
	@$(PACKAGES) docs
	@$(CONFIGURE)
	cmake --build $(call quote,BUILD) --target docs

bench: build
	@$(PACKAGES) bench
	@mkdir -p -- $(call quote,BENCH)
	$(RETNET) bench --preset tiny --preset small --form chunkwise --save=$(call quote,BENCH)/retnet.jsonl
	python3 $(call quote,SOURCE)/train/bench_roofline.py $(call quote,BENCH)/retnet.jsonl $(call quote,BENCH)/roofline.svg
	python3 $(call quote,SOURCE)/train/bench_compare.py --program=$(RETNET) --torch-python=$(call quote,PYTHON) \
	  $(if $(value TORCH_SCRIPT),--torch-script=$(call quote,TORCH_SCRIPT)) --out=$(call quote,BENCH)

# BUSY is words of the shell: flags of the script.
bench-busy: build
	python3 $(call quote,SOURCE)/train/bench_busy.py --program=$(RETNET) --torch-python=$(call quote,PYTHON) --out=$(BENCH) $(BUSY)

# A build that counts the same on every machine: valgrind knows no AVX-512, and a native build may use it.
instructions: BUILD = build/portable
instructions: CMAKE_FLAGS += -DRETNET_NATIVE=OFF
instructions: build
	@$(PACKAGES) instructions
	python3 $(call quote,SOURCE)/train/bench_instructions.py --program=$(RETNET) --out=$(call quote,BENCH)

install: build
	cmake --install $(call quote,BUILD) --prefix "$$(realpath -ms -- $(call quote,PREFIX))"

clean:
	@sh $(call quote,SOURCE)/cmake/clean.sh $(call quote,SOURCE) $(call quote,BUILD)
