#!/usr/bin/env bash
# imagecorruptions-imaug 1.1.5 (the corruptions of ImageNet-C as functions, with numpy 2.4.6, scikit-image 0.26.0, numba
# 0.68.1, scipy 1.17.1 and OpenCV 5.0.0.93), on 32x32 images.
#
# After numpy.random.seed(0), 17 of its 19 corruptions give the same image again. impulse_noise draws from a generator of
# scikit-image's, and glass_blur from numba's, which numpy's seed does not reach. Its strengths are ImageNet-C's whatever
# the size of the image: at severity 1 noise with a standard deviation of 0.08, 3 % of the values replaced, a contrast of
# 0.4. In CIFAR-10-C (make_cifar_c.py of hendrycks/robustness) these are the strengths of severity 3.
#
# Guessed before: that a package with one documented way to seed it repeats under it, and has smaller strengths for
# images of 32 pixels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q imagecorruptions-imaug==1.1.5 numpy==2.4.6 scikit-image==0.26.0 numba==0.68.1 \
  scipy==1.17.1 opencv-python==5.0.0.93 pillow==13.0.0 "setuptools<81"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import random

import numpy as np
from imagecorruptions import corrupt, get_corruption_names

image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
grey = np.full((32, 32, 3), 128, dtype=np.uint8)


def drawn(name):
    random.seed(0)
    np.random.seed(0)
    return corrupt(image, corruption_name=name, severity=3)


def of_grey(name):
    return np.stack([corrupt(grey, corruption_name=name, severity=1).astype(float) - 128 for _ in range(100)])


names = get_corruption_names("all")
others = sorted(n for n in names if not all(np.array_equal(drawn(n), drawn(n)) for _ in range(5)))
np.random.seed(0)
noise, replaced = of_grey("gaussian_noise").std() / 255, (of_grey("impulse_noise") != 0).mean()
contrast = corrupt(image, corruption_name="contrast", severity=1).std() / image.std()
print(f"{len(names)} corruptions, {len(others)} do not repeat under one seed: {', '.join(others)}")
print(f"severity 1: noise {noise:.2f}, impulses {replaced:.1%}, contrast {contrast:.2f}")
assert len(names) == 19
assert others == ["glass_blur", "impulse_noise"]
assert abs(noise - 0.08) < 0.004
assert abs(replaced - 0.03) < 0.005
assert abs(contrast - 0.4) < 0.02
PYTHON
