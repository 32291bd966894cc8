#!/usr/bin/env python3
"""Draws the roofline of `retnet bench --json`: how much arithmetic each case does per byte it must move, and how fast it
is, below the roofs that the same run measured.

    build/release/retnet bench --json > speed.jsonl
    train/bench_roofline.py speed.jsonl docs/figures/roofline.svg
"""
import json
import math
import os
import sys

WIDTH, HEIGHT = 760, 470
LEFT, RIGHT, TOP, BOTTOM = 70, 740, 46, 400
X_RANGE, Y_RANGE = (0.25, 1024.0), (1.0, 512.0)  # operations per byte, GFLOP/s
GROUPS = [("matmul", "matrix products"), ("retention", "retention alone"), ("training", "training steps"),
          ("decode", "decoding")]
STYLE = """svg{color-scheme:light dark}text{font:13px sans-serif;fill:#333}.s{font-size:12px}.g{stroke:#ccc;stroke-width:.7}
.roof{stroke:#555;stroke-width:1.8;fill:none}.low{stroke:#888;stroke-width:1.2;stroke-dasharray:5 4;fill:none}
.matmul{fill:#1769aa}.retention{fill:#c77700}.training{fill:#b3261e}.decode{fill:#2e7d32}
@media(prefers-color-scheme:dark){text{fill:#ddd}.g{stroke:#444}.roof{stroke:#ccc}.low{stroke:#999}
.matmul{fill:#5ab0f5}.retention{fill:#ffb347}.training{fill:#ff7b72}.decode{fill:#7bd17f}}"""


def position(value, limits, begin, end):
    low, high = map(math.log2, limits)
    return begin + (math.log2(min(max(value, limits[0]), limits[1])) - low) / (high - low) * (end - begin)


def at(intensity, gflops):
    return position(intensity, X_RANGE, LEFT, RIGHT), position(gflops, Y_RANGE, BOTTOM, TOP)


def text(x, y, content, anchor="start", css="s", extra=""):
    content = content.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{content}</text>'


def axes():
    parts = []
    for power in range(int(math.log2(X_RANGE[0])), int(math.log2(X_RANGE[1])) + 1, 2):
        x, _ = at(2.0 ** power, 1)
        parts.append(f'<path class="g" d="M{x:.1f} {TOP}V{BOTTOM}"/>')
        parts.append(text(x, BOTTOM + 18, f"{2.0 ** power:g}", "middle"))
    for power in range(int(math.log2(Y_RANGE[0])), int(math.log2(Y_RANGE[1])) + 1):
        _, y = at(1, 2.0 ** power)
        parts.append(f'<path class="g" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        parts.append(text(LEFT - 8, y + 4, f"{2.0 ** power:g}", "end"))
    parts.append(text((LEFT + RIGHT) / 2, BOTTOM + 38, "operations per byte that must move", "middle"))
    middle = (TOP + BOTTOM) / 2
    parts.append(text(20, middle, "GFLOP/s", "middle", extra=f' transform="rotate(-90 20 {middle:g})"'))
    return parts


def roofs(peak, reads):
    """The peak, and a slope for each level of memory, named along the slope."""
    parts = []
    for name, rate in reads.items():
        knee = peak / rate
        first = max(X_RANGE[0], Y_RANGE[0] / rate)
        (x0, y0), (x1, y1) = at(first, first * rate), at(knee, peak)
        parts.append(f'<path class="{"roof" if name == "L2" else "low"}" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"/>')
        middle = first * 1.6
        x, y = at(middle, middle * rate)
        y += -6 if name == "L2" else 17  # above its line, or below it
        angle = -math.degrees(math.atan2(y0 - y1, x1 - x0))
        parts.append(text(x, y, f"{name} {rate:.0f} GB/s", extra=f' transform="rotate({angle:.1f} {x:.1f} {y:.1f})"'))
    (x0, y), (x1, _) = at(peak / max(reads.values()), peak), at(X_RANGE[1], peak)
    parts.append(f'<path class="roof" d="M{x0:.1f} {y:.1f}H{x1:.1f}"/>')
    parts.append(text(x1, y - 7, f"peak of f32 multiply-adds, {peak:.0f} GFLOP/s", "end"))
    return parts


def points(lines):
    parts, column = [], 0
    for what, label in GROUPS:
        cases = [line for line in lines if line["what"] == what and line.get("flops") and line.get("bytes")]
        for line in cases:
            gflops = 1e-9 * line["flops"] / line["seconds"]
            x, y = at(line["flops"] / line["bytes"], gflops)
            title = f"{line['case']}: {gflops:.0f} GFLOP/s".replace("&", "&amp;").replace("<", "&lt;")
            parts.append(f'<circle class="{what}" cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill-opacity=".75"><title>{title}</title></circle>')
        if cases:
            x = LEFT + 150 * column
            parts.append(f'<circle class="{what}" cx="{x + 5}" cy="{HEIGHT - 14}" r="4.5"/>')
            parts.append(text(x + 15, HEIGHT - 10, label))
            column += 1
    return parts


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: bench_roofline.py LINES.jsonl FIGURE.svg")
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = [json.loads(line) for line in file if line.strip()]
    machine = {line["case"]: line["value"] for line in lines if line["what"] == "machine"}
    if not machine:
        sys.exit("bench_roofline: the file has no machine; it must be what retnet bench --json prints")
    peak = machine["f32 multiply-adds, peak"]
    reads = {case.removeprefix("reads from "): value for case, value in machine.items() if case.startswith("reads")}
    first = lines[[line["what"] for line in lines].index("machine")]
    title = f"Roofline, {first['threads']} thread{'' if first['threads'] == 1 else 's'}, {first['instructions']}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
             f"<title>{title}</title>", f"<style>{STYLE}</style>", text(LEFT, 24, title, css="h")]
    parts += axes() + roofs(peak, reads) + points(lines) + ["</svg>"]
    temporary = f"{sys.argv[2]}.tmp.{os.getpid()}"  # so that the old figure stays until the new one is whole
    with open(temporary, "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n")
    os.replace(temporary, sys.argv[2])


if __name__ == "__main__":
    main()
