"""Ask one network in three formats the same images, and print how far the answers agree.

    python compare_formats.py FOLDER

FOLDER is one that make_zoo.py filled. Images: the test images of noisy digits, and points between two of them, near
the boundary of two labels (a 128th of their distance) and as exactly on it as float32 allows; and these as 8 bits.
"""

import sys
from pathlib import Path

import torch
from make_zoo import CLASSES, MEAN, SHAPE, STD, normal, restored, write_onnx
from zoo_net import network


def boundary_points(model, images, steps):
    """Halve the line from each image to the next one of another label, on which the label changes, some times."""
    with torch.no_grad():
        label = model(normal(images)).argmax(1)
        other = torch.stack([images[(label != one).nonzero()[i % 50, 0]] for i, one in enumerate(label)])
        near, far = images.clone(), other
        for _ in range(steps):
            middle = (near + far) / 2
            same = (model(normal(middle)).argmax(1) == label).reshape(-1, 1, 1, 1)
            near, far = torch.where(same, middle, near), torch.where(same, far, middle)
    return near


def onnx_logits(path, images):
    """Ask onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": normal(images).numpy()})[0])


def correlation(answers):
    """Return the matrix of SAC-m, of the cosines of each two answers."""
    unit = torch.nn.functional.normalize(answers.double(), dim=1)
    return (1 - (unit @ unit.T).clamp(-1, 1)) / 2


def main(folder):
    """Print a line for each format and kind of images."""
    from bench_plugins.datasets.small_images import NoisyDigits

    model = restored(folder, "stolen0")
    write_onnx(model, folder / "stolen0.onnx")
    natural = NoisyDigits().load(Path(), False).x
    sets = {"test images": natural, "near a boundary": boundary_points(model, natural[:300], 7)}
    sets["on a boundary"] = boundary_points(model, natural[:300], 40)
    sets["the same, 8 bits"] = (sets["on a boundary"] * 255).round() / 255
    print(f"{'images':<18} {'format':<15} {'equal labels':>12} {'largest difference':>19} {'SAC-m score':>12}")
    for name, images in sets.items():
        with torch.no_grad():
            truth = model(normal(sets["on a boundary"] if "8 bits" in name else images))
            again = network(CLASSES, SHAPE).eval()
            again.load_state_dict(model.state_dict())
            answers = {
                "safetensors": (again(images.sub(MEAN).div(STD))),
                "onnx": onnx_logits(folder / "stolen0.onnx", images),
                "4 decimals": again(normal(images)).mul(1e4).round().div(1e4),
            }
        for form, found in answers.items():
            equal = (found.argmax(1) == truth.argmax(1)).double().mean()
            score = -(correlation(found[:100]) - correlation(truth[:100])).abs().mean()
            print(f"{name:<18} {form:<15} {100 * equal:>10.2f} % {(found - truth).abs().max():>19.2e} {score:>12.1e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
