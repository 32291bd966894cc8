#!/usr/bin/env python3
"""The same network in eager PyTorch, to run beside `retnet bench`: sizes of our presets, the paper's block, Eq. (5) with
the score norm of Eq. (R4), AdamW, no dropout. One run prints one line of JSON.

    bench_torch.py --config tiny --mode train --form parallel --steps 10
    bench_torch.py --config small --mode forward --form chunkwise --chunk 128 --batch 1 --seq 4096
    bench_torch.py --config tiny --mode decode --batch 16 --steps 200

It is written as one would write it in PyTorch, one operation after the other; torch 1.13 and 2 run it.
"""
import argparse
import json
import os
import resource
import sys
import time

# A BLAS reads its number of threads when it is loaded, so before torch is.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv[:-1] else "2")

import torch
from torch import nn
from torch.nn import functional as F

SIZES = {  # d, layers, heads, H dv, FFN, window, batch; H dk = d
    "tiny": (128, 4, 4, 256, 256, 256, 16),
    "small": (256, 6, 4, 512, 512, 512, 8),
}
VOCAB = 256


def rotate(x, cos, sin):
    """Pairs of neighbouring channels, turned by the position's angles (R1)."""
    turned = torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)
    return x * cos + turned * sin


def norm(o, row_sums, s):
    """Eq. (R4): o / max(|q z|, sqrt(s)). Shapes [.., N, dv], [.., N, 1], [H, N, 1]."""
    return o / torch.maximum(row_sums.abs(), s.sqrt())


class Tables:
    """What depends on positions and decays only; made once for each length."""

    def __init__(self, heads, dk):
        self.gamma = 1 - 2.0 ** (-5 - torch.arange(heads, dtype=torch.float64))
        self.theta = (10000.0 ** -torch.linspace(0, 1, dk // 2, dtype=torch.float64)).repeat_interleave(2)
        self.kept = {}

    def get(self, kind, n, first=0):
        if (kind, n, first) not in self.kept:
            if kind == "step":  # one entry per position: keep the last only
                self.kept = {}
            self.kept[kind, n, first] = tuple(t.float() for t in getattr(self, kind)(n, first))
        return self.kept[kind, n, first]

    def powers(self, exponents):
        return self.gamma.view(-1, *[1] * exponents.dim()) ** exponents

    def angles(self, n, first):
        a = (first + torch.arange(n, dtype=torch.float64))[:, None] * self.theta
        return a.cos(), a.sin()

    def mask(self, n, _):
        i = torch.arange(n, dtype=torch.float64)
        back = (i[:, None] - i).clamp(min=0)
        return (torch.stack([(gamma ** back).tril_().float() for gamma in self.gamma]),)

    def sums(self, n, _):  # s of positions 0 .. n-1, Eq. (R3)
        i = torch.arange(1, n + 1, dtype=torch.float64)
        return (((1 - self.powers(i)) / (1 - self.gamma[:, None]))[..., None],)

    def chunk(self, c, _):
        i = torch.arange(c, dtype=torch.float64)
        return self.powers(i + 1)[..., None], self.powers(c - 1 - i)[..., None], self.gamma[:, None, None] ** c

    def step(self, _, position):
        s = (1 - self.gamma ** (position + 1)) / (1 - self.gamma)
        return (*self.angles(1, position), self.gamma[:, None, None], s[:, None, None])


class Retention(nn.Module):
    def __init__(self, d, heads, width):
        super().__init__()
        self.heads, self.dk = heads, d // heads
        self.q, self.k = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.v, self.g = nn.Linear(d, width, bias=False), nn.Linear(d, width, bias=False)
        self.o = nn.Linear(width, d, bias=False)
        self.group_norm = nn.GroupNorm(heads, width)

    def split(self, x):
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # [B, H, N, ..]

    def forward(self, x, retain):
        """retain: a function of q, k, v that are not yet rotated."""
        o = retain(self.split(self.q(x)), self.split(self.k(x)) * self.dk ** -0.5, self.split(self.v(x)))
        o = self.group_norm(o.transpose(1, 2).flatten(0, 1).flatten(1)).view(*x.shape[:2], -1)
        return self.o(F.silu(self.g(x)) * o)


class Block(nn.Module):
    def __init__(self, d, heads, width, ffn):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.msr = Retention(d, heads, width)
        self.w1, self.w2 = nn.Linear(d, ffn, bias=False), nn.Linear(ffn, d, bias=False)

    def forward(self, x, retain):
        x = x + self.msr(self.norm1(x), retain)
        return x + self.w2(F.gelu(self.w1(self.norm2(x))))


class RetNet(nn.Module):
    def __init__(self, d, layers, heads, width, ffn):
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCAB, d), nn.Linear(d, VOCAB, bias=False)
        self.blocks = nn.ModuleList(Block(d, heads, width, ffn) for _ in range(layers))
        self.norm = nn.LayerNorm(d)
        self.tables = Tables(heads, d // heads)

    def parallel(self, q, k, v):
        n = q.shape[2]
        cos, sin = self.tables.get("angles", n)
        (mask,), (s,) = self.tables.get("mask", n), self.tables.get("sums", n)
        scores = rotate(q, cos, sin) @ rotate(k, cos, sin).transpose(-1, -2) * mask
        return norm(scores @ v, scores.sum(-1, keepdim=True), s)

    def chunkwise(self, q, k, v, c):
        b, h, n, dk = q.shape
        cos, sin = self.tables.get("angles", n)
        (s,), (mask,) = self.tables.get("sums", n), self.tables.get("mask", c)
        from_state, to_state, whole = self.tables.get("chunk", c)
        q, k = rotate(q, cos, sin).view(b, h, -1, c, dk), rotate(k, cos, sin).view(b, h, -1, c, dk)
        # A column of ones beside v: its output is the row sum, and its state is z.
        v = F.pad(v, (0, 1), value=1.0).view(b, h, -1, c, v.shape[-1] + 1)
        inner = q @ k.transpose(-1, -2) * mask[:, None] @ v
        added, state, states = (k * to_state[:, None]).transpose(-1, -2) @ v, 0, []
        for i in range(n // c):
            states.append(torch.zeros_like(added[:, :, 0]) if i == 0 else state)
            state = added[:, :, i] + whole * state
        o = (inner + (q * from_state[:, None]) @ torch.stack(states, 2)).view(b, h, n, -1)
        return norm(o[..., :-1], o[..., -1:], s)

    def run(self, tokens, retains):
        x = self.embed(tokens)
        for block, retain in zip(self.blocks, retains):
            x = block(x, retain)
        return self.head(self.norm(x))

    def forward(self, tokens, form, chunk):
        if form == "parallel":
            retain = self.parallel
        else:
            retain = lambda q, k, v: self.chunkwise(q, k, v, min(chunk, tokens.shape[1]))
        return self.run(tokens, [retain] * len(self.blocks))

    def step(self, tokens, states, position):
        """Eq. (6) for one token of each sequence; states: (S, z) of every block, which are replaced."""
        cos, sin, gamma, s = self.tables.get("step", 1, position)

        def retain_at(i):
            def retain(q, k, v):
                q, k = rotate(q, cos, sin), rotate(k, cos, sin)
                S, z = states[i] or (0, 0)
                states[i] = S, z = gamma * S + k.transpose(-1, -2) @ v, gamma * z + k
                return norm(q @ S, (q * z).sum(-1, keepdim=True), s)
            return retain
        return self.run(tokens, [retain_at(i) for i in range(len(self.blocks))])


def selftest():
    """The three forms agree."""
    torch.manual_seed(1)
    model, tokens = RetNet(32, 2, 2, 48, 40), torch.randint(0, VOCAB, (2, 24))
    states = [None, None]
    with torch.no_grad():
        expected = model(tokens, "parallel", 0)
        forms = {"chunkwise": model(tokens, "chunkwise", 8),
                 "recurrent": torch.cat([model.step(tokens[:, i:i + 1], states, i) for i in range(24)], 1)}
    for name, logits in forms.items():
        difference = (logits - expected).abs().max().item()
        print(f"{name}: {difference:.1e}")
        assert difference < 1e-4, name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=SIZES, default="tiny")
    parser.add_argument("--form", choices=("parallel", "chunkwise"), default="parallel")
    parser.add_argument("--mode", choices=("train", "forward", "decode"), default="train")
    for flag, fallback in (("threads", 2), ("steps", 20), ("warmup", 3), ("seq", 0), ("batch", 0), ("chunk", 64)):
        parser.add_argument("--" + flag, type=int, default=fallback)
    parser.add_argument("--score-norm", action="store_true", help="always on; taken so that other scripts can have it")
    parser.add_argument("--selftest", action="store_true")
    a = parser.parse_args()
    if a.selftest:
        return selftest()
    torch.manual_seed(1)
    torch.set_num_threads(a.threads)
    memory_of_import = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    *sizes, window, usual_batch = SIZES[a.config]
    model = RetNet(*sizes)
    n, batch = a.seq or window, a.batch or (1 if a.mode == "decode" else usual_batch)
    tokens = torch.randint(0, VOCAB, (batch, n + 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05)
    states = [None] * len(model.blocks)

    def step(i):
        if a.mode == "train":
            loss = F.cross_entropy(model(tokens[:, :-1], a.form, a.chunk).flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            return
        with torch.no_grad():
            if a.mode == "forward":
                model(tokens[:, :-1], a.form, a.chunk)
            else:
                model.step(tokens[:, :1], states, i)

    times = []
    for i in range(a.warmup + a.steps):
        begin = time.perf_counter()
        step(i)
        times.append(time.perf_counter() - begin)
    median = sorted(times[a.warmup:])[a.steps // 2]
    count = batch * (1 if a.mode == "decode" else n)
    print(json.dumps(dict(config=a.config, mode=a.mode, form="recurrent" if a.mode == "decode" else a.form, batch=batch,
                          seq=n, threads=a.threads, torch=torch.__version__, tokens_per_s=round(count / median, 1),
                          ms_median=round(median * 1e3, 3), rss_import_mib=round(memory_of_import, 1),
                          rss_peak_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1))))


if __name__ == "__main__":
    main()
