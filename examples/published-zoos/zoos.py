"""Describe published zoos of networks for bench, and convert their files.

    python zoos.py convert FOLDER       writes a safetensors file beside each .pth file below FOLDER
    python zoos.py write                writes sac.toml and qurd-sacbench.toml, which are beside this file
    python zoos.py present sac.toml FOLDER    prints the descriptions of the networks whose files are below FOLDER

`sac.toml` has the names of files that model_load.py of https://github.com/guanjiyang/SAC reads, `qurd-sacbench.toml`
those of the repositories in which https://github.com/grodino/QuRD keeps the same networks. Nothing here imports bench.
"""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAMILIES = ("vgg13", "resnet18", "densenet121", "mobilenet_v2")
"""Five networks of each, in this order."""
SCALES = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar10_c": ((0.4646, 0.6515, 0.5637), (0.1842, 0.3152, 0.2613)),
    "cifar100_first10": ((0.5356, 0.4898, 0.4255), (0.2666, 0.2609, 0.2739)),
}
"""Mean and standard deviation that SAC's code subtracts and divides by, by the dataset of the last training."""
AT_QURD = {"cifar100_first10": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))}
"""Where QuRD's code has others."""
Network = tuple[str, str, str, str, str, str, str]
"""Name, role, attack, torchvision's network, dataset, file at SAC, name at QuRD."""


def networks() -> Iterator[Network]:
    """Yield the networks of the zoo: the source, the innocents, and the copies of each attack."""
    base = "train(vgg_model,CIFAR10,base)"
    yield "source", "source", "", "vgg16_bn", "cifar10", "model/vgg_model", base
    for i in range(20):
        family = FAMILIES[i // 5]
        name = f"train({family},CIFAR10,{i})"
        yield f"innocent_{i}", "irrelevant", "", family, "cifar10", f"model/clean_model_{i}", name
    for i in range(10):
        family = ("vgg16_bn", "resnet18")[i // 5]
        name = f"train({family},CIFAR10C,{i})"
        yield f"innocent_corrupted_{i}", "irrelevant", "", family, "cifar10_c", f"finetune_model/CIFAR10C_{i}", name
    for i in range(10):
        file = f"finetune_model/CIFAR100{i}"
        yield f"innocent_transferred_{i}", "irrelevant", "", "vgg16_bn", "cifar100_first10", file, ""
    for attack, file, name in (
        ("extract_l", "model/student_model_1_", "label_extraction"),
        ("extract_p", "model/student_model_kd_", "probit_extraction"),
        ("extract_adv", "adv_train/adv_", "adv_label_extraction"),
    ):
        for i in range(20):
            family = FAMILIES[i // 5]
            copy = f"{base}->{name}({family},{i})"
            yield f"{attack}_{i}", "stolen", attack, family, "cifar10", f"{file}{i}", copy
    for attack, dataset, file, name in (
        ("finetune", "cifar10", "finetune_10/finetune", "finetune("),
        ("prune", "cifar10", "Fine-Pruning/prune_model_", "fineprune("),
        ("transfer", "cifar100_first10", "finetune_model/finetune_C_", "transfer(CIFAR100,"),
        ("finetune_c", "cifar10_c", "finetune_model/finetune_cifar10c_", "transfer(CIFAR10C,"),
    ):
        for i in range(10):
            yield f"{attack}_{i}", "stolen", attack, "vgg16_bn", dataset, f"{file}{i}", f"{base}->{name}{i})"


def repository(name: str) -> str:
    """Return the name of the repository in which QuRD keeps a network."""
    for old, new in ((">", ""), (".", "_"), ("(", "."), (",", "."), (")", "")):
        name = name.replace(old, new)
    return f"SACBenchmark-{name.strip('-.')}"


def described(zoo: str) -> str:
    """Return the descriptions of a zoo, `sac` or `qurd-sacbench`, as TOML: one table in each line."""
    lines = []
    for name, role, attack, network, dataset, file, at_qurd in networks():
        if zoo != "sac" and not at_qurd:
            continue
        path = f"{file}.safetensors" if zoo == "sac" else f"{repository(at_qurd)}/model.safetensors"
        mean, std = (SCALES if zoo == "sac" else SCALES | AT_QURD)[dataset]
        fields = [("name", name), ("role", role), ("format", "safetensors"), ("file", path), ("architecture", "stock")]
        fields += [("attack", attack)] if attack else []
        fields += [("trained_on", dataset)] if dataset != "cifar10" else []
        written = ", ".join(f'{key} = "{value}"' for key, value in fields)
        more = f'settings = {{ network = "{network}" }}, mean = {list(mean)}, std = {list(std)}'
        lines.append(f"  {{ {written}, {more} }},")
    head = "# Written by zoos.py, see README.md: files are relative to this file.\n"
    return head + "\n".join(["model = [", *lines, "]", ""])


def present(file: Path, folder: Path) -> str:
    """Return the lines of a description file whose networks are below a folder, with their paths."""
    lines = file.read_text(encoding="utf-8").splitlines()
    paths = [table["file"] for table in tomllib.loads("\n".join(lines))["model"]]
    kept = [lines[0], lines[1]]
    for path, line in zip(paths, lines[2:], strict=False):
        if (folder / path).is_file():
            kept.append(line.replace(f'"{path}"', f'"{(folder / path).resolve().as_posix()}"'))
    return "\n".join([*kept, "]", ""])


def convert(folder: Path) -> list[str]:
    """Write a safetensors file beside each .pth file that holds a state dict; return what could not be converted.

    Only tensors are read (`weights_only`). A file that holds a whole pickled network, as those of Fine-Pruning, is a
    program: its owner has to save its state dict.
    """
    import torch
    from safetensors.torch import save_file

    failed = []
    for path in sorted(folder.rglob("*.pth")):
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
            found = found.get("state_dict", found) if isinstance(found, dict) else found
            if not isinstance(found, dict) or not all(isinstance(t, torch.Tensor) for t in found.values()):
                raise ValueError("it holds no state dict")
            save_file({name: t.clone().contiguous() for name, t in found.items()}, path.with_suffix(".safetensors"))
        except Exception as error:  # a damaged file, or one that holds more than tensors
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            failed.append(f"{path.relative_to(folder)}: not converted: {reason:.120}")
    return failed


def main(words: list[str]) -> int:
    """Do what the command line asks for; 2 if it asks for nothing known, 1 if a file was not converted."""
    match words:
        case ["write"]:
            for zoo in ("sac", "qurd-sacbench"):
                (HERE / f"{zoo}.toml").write_text(described(zoo), encoding="utf-8")
        case ["present", file, folder]:
            print(present(Path(file), Path(folder)), end="")
        case ["convert", folder]:
            failed = convert(Path(folder))
            print("\n".join(failed), file=sys.stderr)
            return int(bool(failed))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
