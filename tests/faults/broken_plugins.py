"""Plugin files as strangers write them on a bad day: a sound one of each kind, and one edit each that breaks it.

`BROKEN` has for each the edit, the check that fails, and the reason that `bench check` prints.
"""

from typing import NamedTuple

METHOD = '''
"""Label agreement."""

from dataclasses import dataclass

import torch

from bench import Fingerprint, hookimpl


@dataclass(frozen=True)
class Mine(Fingerprint):
    """Compare the labels of probe images."""

    name: str = "NAME"
    version: int = 1
    samples: int = 16

    budget = "samples"

    def extract(self, source, data, helpers, context):
        x = data.probe.x[: self.samples]
        with torch.no_grad():
            return {"x": x, "labels": source(x).argmax(1)}

    def score(self, fingerprint, suspect):
        return float((suspect.labels(fingerprint["x"]) == fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods():
    return [Mine()]
'''
ATTACK = '''
"""Extraction by labels."""

from dataclasses import dataclass

import torch

from bench import Attack, hookimpl


@dataclass(frozen=True)
class Mine(Attack):
    """Learn the source's labels."""

    name: str = "NAME"
    version: int = 1
    length: float = 1.0

    access = "labels"

    def steal(self, source, data, build, context):
        images = data.images
        model = build()
        return context.fit(model, images, source.labels, length=self.length)


@hookimpl
def bench_attacks():
    return [Mine()]
'''
ARCHITECTURE = '''
"""A linear network."""

from dataclasses import dataclass

import torch
from torch import nn

from bench import Architecture, hookimpl


@dataclass(frozen=True)
class Mine(Architecture):
    """Two linear layers."""

    name: str = "NAME"
    version: int = 1

    def build(self, num_classes, shape):
        channels, height, width = shape
        first = nn.Linear(channels * height * width, 16)
        return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(16, num_classes))


@hookimpl
def bench_architectures():
    return [Mine()]
'''
DATASET = '''
"""Stripes."""

from dataclasses import dataclass

import torch

from bench import Dataset, Split, hookimpl


@dataclass(frozen=True)
class Mine(Dataset):
    """Stripes of four brightnesses."""

    name: str = "NAME"
    version: int = 1

    num_classes = 4
    shape = (1, 8, 8)

    def load(self, root, train):
        random = torch.Generator().manual_seed(int(train))
        labels = torch.arange(80) % 4
        images = torch.randint(60, (80, 1, 8, 8), generator=random) + 60 * labels[:, None, None, None]
        return Split(images.to(torch.uint8), labels)


@hookimpl
def bench_datasets():
    return [Mine()]
'''


class Broken(NamedTuple):
    """A sound plugin, the edit that breaks it, the check that fails, and the reason that is printed."""

    sound: str
    old: str
    new: str
    check: str
    reason: str

    def text(self, name: str) -> str:
        """Return the broken plugin, with its name."""
        assert self.old in self.sound, self.old
        return self.sound.replace(self.old, self.new, 1).replace('"NAME"', f'"{name}"')


USABLE = "Be a plugin that can be used"
FORM = "Be a frozen dataclass of fields and declarations"
TRACE = "Leave the process alone when its file is imported"
WORKS = "Do all of its tasks in the toy world"
AGAIN = "Return the same result for the same seed, whatever ran before"
WORKERS = "Return the same result when two worker processes share its tasks"
GIVEN = "Leave alone the images, and the source's weights, modes and gradients"
PROCESS = "Leave alone seeds, environment, .*"
RANGE = r"Ask only with images in \[0, 1\]"
DOC = "Describe itself in the first line of its docstring"
JSON = "Have parameters that come back from JSON as they were"
THERE = "Rely on attacks and architectures that are installed"
ACCESS = "Ask the source for no more than the access that it declares"
REPLICATE = "Make another suspect for another replicate, unless it is declared deterministic"
BUDGET = "Ask a suspect no more queries than its budget"
FINITE = "Return one finite float for every suspect"
OWN = "Score the source itself not below an irrelevant model, unless it is a baseline"
PARTS = "Have a test part whose images are not those of its train part"
SAME = "Load the same images again, drawing on no global generator and leaving the process alone"
LOADS = "Load uint8 images of its shape and int64 labels, both parts, with every class in each"
SHAPES = "Build a network for each shape of images, which gives one logit per class"
SEED = "Start from other weights for another seed, and from the same for the same"
LABELS = "source.labels,"
STEAL = "        model = build()\n"
EXTRACT = "        x = data.probe.x[: self.samples]\n"
SCORE = "        return float("

BROKEN = {
    # the file
    "no_such_module": Broken(
        METHOD,
        "import torch\n",
        "import torhc\n",
        USABLE,
        "import failed: ModuleNotFoundError: No module named 'torhc'",
    ),
    "half_a_line": Broken(
        METHOD, "class Mine(Fingerprint):", "class Mine(Fingerprint", USABLE, "SyntaxError: '.' was never closed"
    ),
    "leaves_at_import": Broken(
        METHOD,
        "import torch\n",
        "import sys\nimport torch\nsys.exit('usage')\n",
        USABLE,
        "import failed: SystemExit: usage",
    ),
    "sleeps_at_import": Broken(
        METHOD,
        "import torch\n",
        "import time\nimport torch\ntime.sleep(10**6)\n",
        USABLE,
        r"the import ran longer than 15 s and was stopped \(sleeps_at_import.py, line 8\)",
    ),
    "wrong_hook_name": Broken(
        METHOD,
        "def bench_methods",
        "def bench_method",
        USABLE,
        "unknown hook 'bench_method'.* the hooks are bench_datasets, .*",
    ),
    "hook_with_an_argument": Broken(
        METHOD, "def bench_methods()", "def bench_methods(config)", USABLE, "'config'.* none takes arguments"
    ),
    "no_hookimpl": Broken(
        METHOD, "@hookimpl\n", "", USABLE, "it implements no hook; write @hookimpl above one of bench_datasets, .*"
    ),
    "hook_gives_the_class": Broken(
        METHOD,
        "[Mine()]",
        "[Mine]",
        USABLE,
        r"bench_methods\(\) must return instances of bench.Fingerprint or bench.Watermark, not <class .*Mine'>",
    ),
    "hook_gives_no_list": Broken(
        METHOD, "[Mine()]", "Mine()", USABLE, r"bench_methods\(\) must return a list of components, not Mine\(.*\)"
    ),
    "hook_gives_nothing": Broken(
        METHOD,
        "return [Mine()]",
        "[Mine()]",
        USABLE,
        r"bench_methods\(\) returned nothing: end it with `return \[...\]`",
    ),
    "hook_of_another_kind": Broken(
        METHOD,
        "def bench_methods",
        "def bench_attacks",
        USABLE,
        r"bench_attacks\(\) must return instances of bench.Attack, not Mine\(.*\)",
    ),
    "name_of_another": Broken(
        METHOD,
        '"NAME"',
        '"agreement"',
        USABLE,
        "two plugins have this name: method of fingerprint-bench .* and method of .*name_of_another.py",
    ),
    "list_for_a_default": Broken(
        METHOD,
        "samples: int = 16",
        "samples: int = 16\n    layers: list = []",
        USABLE,
        "ValueError: mutable default <class 'list'> for field layers is not allowed.*",
    ),
    "not_frozen": Broken(
        METHOD,
        "(frozen=True)",
        "",
        USABLE,
        r"class Mine is not a frozen dataclass: write @dataclass\(frozen=True\) above it",
    ),
    "no_annotation": Broken(
        METHOD,
        "samples: int = 16",
        "samples = 16",
        USABLE,
        "class Mine: 'samples' is neither a field nor a declaration .* Write `samples: int = 16` .*",
    ),
    "declared_as_a_field": Broken(
        ATTACK,
        "access = ",
        "access: str = ",
        USABLE,
        "class Mine: 'access' is a declaration, not a field: write `access = ...` without annotation",
    ),
    "no_access": Broken(
        ATTACK,
        '    access = "labels"\n',
        "",
        USABLE,
        "class Mine does not declare 'access': write `access = ...` in the class",
    ),
    "strange_access": Broken(
        ATTACK,
        '"labels"\n',
        '"gradients"\n',
        USABLE,
        "class Mine: access must be one of labels, probabilities, logits, weights, not 'gradients'",
    ),
    "wrong_signature": Broken(
        ATTACK,
        "steal(self, source, data, build, context)",
        "steal(self, source, data)",
        USABLE,
        r"class Mine: steal has the wrong arguments: write def steal\(self, source, data, build, context\)",
    ),
    "no_score": Broken(
        METHOD, "def score", "def judge", USABLE, r"class Mine does not define score\(self, fingerprint, suspect\)"
    ),
    "no_docstring": Broken(
        METHOD, '    """Compare the labels of probe images."""\n', "", DOC, "class Mine has no docstring"
    ),
    "default_of_another_type": Broken(
        METHOD,
        "samples: int = 16",
        "samples: int = 16\n    share: float = 'half'",
        JSON,
        "default_of_another_type.share must be float, not 'half'",
    ),
    "starts_from_nothing": Broken(
        ATTACK,
        'access = "labels"',
        'access = "labels"\n    starts_from = "extract_x"',
        THERE,
        "it starts from the attack 'extract_x', which is not installed",
    ),
    "default_dtype_at_import": Broken(
        METHOD,
        "import torch\n",
        "import torch\ntorch.set_default_dtype(torch.float64)\n",
        TRACE,
        "default_dtype_at_import.py, when it is imported, changes torch's default dtype",
    ),
    "device_at_import": Broken(
        METHOD,
        "import torch\n",
        "import os\nimport torch\nos.environ['CUDA_VISIBLE_DEVICES'] = '7'\n",
        TRACE,
        "device_at_import.py, when it is imported, changes the environment",
    ),
    "seeds_at_import": Broken(
        METHOD,
        "import torch\n",
        "import torch\nimport random\nrandom.seed(0)\n",
        TRACE,
        "seeds_at_import.py, when it is imported, changes the generator of `random`",
    ),
    # attacks
    "asks_for_more": Broken(
        ATTACK, LABELS, "source.logits,", ACCESS, "steal asked for logits, but declares access = 'labels'"
    ),
    "looks_inside": Broken(
        ATTACK,
        LABELS,
        "source._model,",
        WORKS,
        r"steal \(steal toy looks_inside .*\): AttributeError: a source model can be asked for logits, .*"
        r"not for '_model' \(looks_inside.py, line 24\)",
    ),
    "never_asks": Broken(
        ATTACK,
        LABELS,
        "data.labels,",
        "Ask the source something .*",
        r"steal \(.*\) returned a network without asking the source anything",
    ),
    "unseeded": Broken(
        ATTACK,
        "length=self.length)",
        "length=self.length, lr=0.01 + __import__('os').urandom(1)[0] / 1000)",
        AGAIN,
        r"steal \(steal toy unseeded toy_.* 0\), done twice: .*",
    ),
    "reseeds": Broken(
        ATTACK,
        STEAL,
        f"        torch.manual_seed(0)\n{STEAL}",
        PROCESS,
        r"steal \(.*\) changed the seed of torch's global generator",
    ),
    "gives_weights": Broken(
        ATTACK,
        "length=self.length)",
        "length=self.length).state_dict()",
        WORKS,
        r"steal \(.*\): attack 'gives_weights' returned a OrderedDict, not a network",
    ),
    "gives_another_network": Broken(
        ATTACK,
        STEAL,
        "        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n",
        WORKS,
        r"steal \(.*\): the network that attack .* returned lacks 'mean': it must load strictly into build\(\)",
    ),
    "gives_halves": Broken(
        ATTACK,
        "length=self.length)",
        "length=self.length).half()",
        WORKS,
        r"steal \(.*\): the network that attack .* returned holds 'mean' as torch.float16 .*, but .* torch.float32 .*",
    ),
    "gives_nan": Broken(
        ATTACK,
        STEAL,
        STEAL + "        for p in model.parameters():\n            p.data.mul_(float('nan'))\n",
        WORKS,
        r"steal \(.*\): the training loss became nan at step 1 of .*",
    ),
    "for_colour_only": Broken(
        ATTACK,
        "images = data.images",
        "images = data.images.reshape(-1, 3, 32, 32)",
        WORKS,
        r"steal \(.*\): RuntimeError: .*\(for_colour_only.py, line 24\)",
    ),
    "changes_the_images": Broken(
        ATTACK,
        "images = data.images",
        "images = data.images.mul_(0)",
        GIVEN,
        r"steal \(.*\) changed the images or labels",
    ),
    "writes_a_file": Broken(
        ATTACK,
        STEAL,
        STEAL + "        torch.save(model.state_dict(), 'stolen.pt')\n",
        PROCESS,
        r"steal \(.*\) changed the files in the working directory",
    ),
    "one_suspect_for_all": Broken(
        ATTACK,
        STEAL,
        "        context.generator.manual_seed(0)\n        torch.manual_seed(0)\n" + STEAL,
        REPLICATE,
        ".* and .* are the same network",
    ),
    "sleeps": Broken(
        ATTACK,
        STEAL,
        STEAL + "        __import__('time').sleep(10**6)\n",
        WORKS,
        r"steal \(steal toy sleeps .*\) ran longer than 15 s and was stopped \(sleeps.py, line 24\)",
    ),
    "ends_the_process": Broken(
        ATTACK,
        STEAL,
        STEAL + "        __import__('os')._exit(0)\n",
        WORKS,
        r"steal \(steal toy ends_the_process .*\) ended its process \(exit code 0\)",
    ),
    # methods
    "over_budget": Broken(
        METHOD,
        SCORE,
        "        suspect.labels(fingerprint['x'])\n" + SCORE,
        BUDGET,
        r"score \(score over_budget\) asked 40 queries, but its budget is samples = 20",
    ),
    "changes_the_source": Broken(
        METHOD,
        EXTRACT,
        "        next(source.parameters()).data.zero_()\n" + EXTRACT,
        GIVEN,
        r"extract \(.*\) changed the source model",
    ),
    "trains_the_source": Broken(
        METHOD, EXTRACT, "        source.train()\n" + EXTRACT, GIVEN, r"extract \(.*\) changed the source model"
    ),
    "gives_a_list": Broken(
        METHOD,
        '{"x": x, "labels": source(x).argmax(1)}',
        "[x, source(x).argmax(1)]",
        WORKS,
        r"extract \(.*\): method 'gives_a_list' must return a dictionary of named tensors, not \[.*",
    ),
    "gives_a_number": Broken(
        METHOD,
        '{"x": x,',
        '{"count": len(x), "x": x,',
        WORKS,
        r"extract \(.*\): .* holds 'count', a int: it must be a tensor.*",
    ),
    "scores_nan": Broken(
        METHOD, SCORE, "        return float('nan') * float(", FINITE, r"score \(score scores_nan\) returned nan"
    ),
    "scores_many": Broken(
        METHOD,
        SCORE,
        "        return torch.ones(3) * float(",
        FINITE,
        r"score \(score scores_many\) returned tensor\(.*",
    ),
    "upside_down": Broken(
        METHOD, SCORE, "        return -float(", OWN, "the source itself scores -1, an irrelevant model -0.*"
    ),
    "asks_with_bytes": Broken(
        METHOD,
        "suspect.labels(fingerprint[",
        "suspect.labels(255 * fingerprint[",
        RANGE,
        r"score \(score asks_with_bytes\) asked with values from 0 to 255",
    ),
    "asks_with_integers": Broken(
        METHOD,
        '{"x": x,',
        '{"x": (255 * x).int(),',
        WORKS,
        r"score \(.*\): method .* must ask with float images \[N, C, H, W\] in \[0, 1\], not torch.int32 .*",
    ),
    "depends_on_the_process": Broken(
        METHOD,
        SCORE,
        "        return hash(self.name) % 97 + float(",
        WORKERS,
        r"score \(score depends_on_the_process\), done by another process: score was .*",
    ),
    "remembers_calls": Broken(
        METHOD,
        SCORE,
        "        Mine._calls = getattr(Mine, '_calls', 0) + 1\n        return Mine._calls + float(",
        AGAIN,
        r"score \(score remembers_calls\), done twice: score was .*",
    ),
    "wants_the_weights": Broken(
        METHOD,
        SCORE,
        "        suspect.model()\n" + SCORE,
        WORKS,
        r"score \(score wants_the_weights\): method 'wants_the_weights' asked for weights, but its access is 'logits': "
        r"declare access = 'weights' \(wants_the_weights.py, line 27\)",
    ),
    "asks_nothing": Broken(
        METHOD,
        'suspect.labels(fingerprint["x"])',
        'fingerprint["labels"]',
        "Ask every suspect something",
        r"score \(score asks_nothing\) returned 1.0 without asking the suspect anything",
    ),
    # datasets
    "gives_floats": Broken(
        DATASET,
        "images.to(torch.uint8)",
        "images / 255",
        LOADS,
        "dataset 'gives_floats', train part: images are torch.float32 .*, not uint8 .*",
    ),
    "channels_last": Broken(
        DATASET,
        "images.to(torch.uint8)",
        "images.to(torch.uint8).permute(0, 2, 3, 1)",
        LOADS,
        r"dataset 'channels_last', train part: images are torch.uint8 \[80, 8, 8, 1\], not uint8 .*",
    ),
    "labels_from_one": Broken(
        DATASET,
        "labels)\n",
        "labels + 1)\n",
        LOADS,
        "dataset 'labels_from_one', train part: labels reach from 1 to 4, not within 0..3",
    ),
    "one_part_for_both": Broken(
        DATASET, "int(train)", "0", PARTS, r"load\(root, train=False\) gave 80 of 80 images that are train images"
    ),
    "shuffled_anew": Broken(
        DATASET, ", generator=random)", ")", SAME, "load changed the state of the global generator of torch"
    ),
    # architectures
    "ten_classes": Broken(
        ARCHITECTURE,
        "num_classes))",
        "10))",
        SHAPES,
        r"build\(7, \(1, 8, 8\)\) answers two images with torch.float32 \[2, 10\], not float32 \[2, 7\]",
    ),
    "one_shape": Broken(
        ARCHITECTURE,
        "channels * height * width",
        "64",
        SHAPES,
        r"build\(7, \(1, 28, 28\)\), asked about two images: RuntimeError: mat1 and mat2 shapes cannot be multiplied.*",
    ),
    "with_softmax": Broken(
        ARCHITECTURE,
        "num_classes))",
        "num_classes), nn.Softmax(1))",
        SHAPES,
        r"build\(7, \(1, 8, 8\)\) answers with probabilities, not logits: leave the softmax out",
    ),
    "one_start": Broken(
        ARCHITECTURE,
        "channels, height, width = shape",
        "channels, height, width = shape\n        torch.manual_seed(0)",
        SEED,
        "the weights do not depend on the seed",
    ),
}
