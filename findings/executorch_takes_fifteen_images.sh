#!/usr/bin/env bash
# executorch 1.5.1 with torch 2.13.0: a convolution that is exported for batches of 1 to 64 images, for XNNPACK.
#
# `torch.export` records 1 to 64, and the lowered program's range constraints still say 64 at the end. The file that comes
# out takes 15 at most, without a word until it is asked: its input is planned for 15, and 16 images are an error of the
# runtime. The cause is the example that was exported with: where it has 15 images or fewer, a pass that traces the
# convolution again asks torch which kernel of its own would compute it, and one of these needs 16. With an example of 16
# images, 64 are taken. A convolution with stride 2 is not concerned, nor one that is lowered without XNNPACK.
#
# Guessed before: what is exported for 64 images takes 64.
# Seen:    example of  2: exported for 1 to 64, lowered for up to 64, takes 1 to 15
#          example of 15: the same; example of 16: takes 1 to 64
#          stride 2: takes 1 to 64; without XNNPACK: takes 1 to 64
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q executorch==1.5.1 torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - 2>"$work/log" <<'PYTHON' || { cat "$work/log" >&2; exit 1; }
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from torch import nn
from torch.export import Dim, export

LARGEST = 64
runtime = Runtime.get()


def upper_ends(program):
    return [int(found.upper) for found in program.range_constraints.values()]


def taken(convolution, example, partitioner):
    """Return the numbers of images that a program takes, and what its two exported forms promise."""
    batch = {0: Dim("batch", min=1, max=LARGEST)}
    exported = export(convolution.eval(), (torch.rand(example, 3, 8, 8),), dynamic_shapes=(batch,))
    lowered = to_edge_transform_and_lower(exported, partitioner=partitioner).to_executorch()
    promised = upper_ends(exported), upper_ends(lowered.exported_program())
    with open("convolution.pte", "wb") as file:
        file.write(lowered.buffer)
    method = runtime.load_program("convolution.pte").load_method("forward")
    counts = []
    for count in range(1, LARGEST + 1):
        images = torch.rand(count, 3, 8, 8)
        try:
            (answers,) = method.execute([images])
        except RuntimeError:
            continue
        with torch.no_grad():
            torch.testing.assert_close(answers, convolution(images), atol=1e-5, rtol=1e-5)
        counts.append(count)
    return counts, promised


torch.manual_seed(0)
for example, most in ((2, 15), (15, 15), (16, LARGEST)):
    counts, promised = taken(nn.Conv2d(3, 4, 3), example, [XnnpackPartitioner()])
    print(f"example of {example:2} images: promised {promised}, takes {counts[0]} to {counts[-1]}")
    assert promised == ([LARGEST], [LARGEST]) and counts == list(range(1, most + 1))
for name, convolution, partitioner in (
    ("stride 2", nn.Conv2d(3, 4, 3, stride=2), [XnnpackPartitioner()]),
    ("without XNNPACK", nn.Conv2d(3, 4, 3), []),
):
    counts, _ = taken(convolution, 2, partitioner)
    print(f"{name}: takes {counts[0]} to {counts[-1]}")
    assert counts == list(range(1, LARGEST + 1))
PYTHON
