# The commands a person types. Each one installs what it lacks (Debian and Ubuntu), builds, and does its work.
#
#   make demo          train on this book and source for about a minute, evaluate, write a sample
#   make test          build everything and run all tests
#   make docs          build the documentation site into build/release/docs/html
#   make bench         measure this machine, and beside PyTorch where PYTHON has it
#   make instructions  count the instructions of a training step and of a decoded token
#   make install       install the program and the library (PREFIX=/usr/local)
#   make clean         remove what was built

# Where this file really is, also if it is reached through a link: a build folder belongs to one source folder.
SOURCE := $(dir $(realpath $(lastword $(MAKEFILE_LIST))))
BUILD  ?= build/release
OUT     = runs/demo
# Few windows a step and so many steps, heads that look at the last few bytes, and an embedding as large as what the blocks
# add: what gets furthest in a minute (docs/training.md, "Speed").
DEMO = --steps 4000 --batch 2 --window 192 --warmup 600 --final-lr 0 --gammas 0.5,0.75,0.9,0.98 --embed-scale 4 \
       --eval-every 250
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
RETNET  = $(BUILD)/retnet
BENCH   = build/bench
PYTHON ?= python3
TORCH_SCRIPT ?= train/bench_torch.py
PACKAGES = sh cmake/packages.sh
# The makefiles that cmake writes are run from here; which folder they are in is of no interest.
MAKEFLAGS += --no-print-directory

.PHONY: help demo build test docs bench instructions install clean

help:
	@sed -n 's/^#   make/  make/p' Makefile

build:
	@$(PACKAGES) build
	@mkdir -p $(BUILD)
	@cmake -S $(SOURCE) -B $(BUILD) $(CMAKE_FLAGS) > $(BUILD)/configure.log 2>&1 || { cat $(BUILD)/configure.log; exit 1; }
	@cmake --build $(BUILD) -j $(JOBS) --target retnet_program

demo: build
	@test ! -e "$(OUT)/trainer.json" || rm -rf "$(OUT)"  # the run before; of any other folder nothing is removed
	$(RETNET) train $(DEMO) --out $(OUT)
	$(RETNET) eval --model $(OUT)
	$(RETNET) generate --model $(OUT) --prompt "Tensor softmax(" --tokens 600 --temperature 0.5
	@echo
	@echo "The loss curve is in $(OUT)/loss.svg; the model is in $(OUT)."

test:
	@$(PACKAGES) test
	cmake -S $(SOURCE) -B $(BUILD) $(CMAKE_FLAGS)
	cmake --build $(BUILD) -j $(JOBS)
	ctest --test-dir $(BUILD) --output-on-failure --no-tests=error -j $(JOBS)

docs:
	@$(PACKAGES) docs
	cmake -S $(SOURCE) -B $(BUILD) $(CMAKE_FLAGS)
	cmake --build $(BUILD) --target docs

bench: build
	@$(PACKAGES) bench
	@mkdir -p $(BENCH)
	$(RETNET) bench --preset tiny --preset small --form chunkwise --save $(BENCH)/retnet.jsonl
	python3 train/bench_roofline.py $(BENCH)/retnet.jsonl $(BENCH)/roofline.svg
	python3 train/bench_compare.py --program $(RETNET) --torch-python "$(PYTHON)" --torch-script $(TORCH_SCRIPT) --out $(BENCH)

# A build that counts the same on every machine: valgrind knows no AVX-512, and a native build may use it.
instructions: BUILD = build/portable
instructions: CMAKE_FLAGS += -DRETNET_NATIVE=OFF
instructions: build
	@$(PACKAGES) instructions
	python3 train/bench_instructions.py --program $(RETNET) --out $(BENCH)

install: build
	cmake --install $(BUILD) --prefix $(PREFIX)

clean:
	rm -rf build
