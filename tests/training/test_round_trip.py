"""A network comes back from the store, from a copy and from every training as the network that it was."""

import copy
import functools
import importlib

import pytest
import torch
from bench_plugins.attacks.extract_adv import ExtractAdv
from bench_plugins.attacks.extract_l import ExtractL
from bench_plugins.attacks.finetune import FinetuneA, FinetuneL
from bench_plugins.attacks.prune import Prune
from bench_plugins.attacks.transfer import TransferA, TransferL
from torch import nn

from bench import BenchError, Context, Split
from bench.core.canonical import seed_of
from bench.core.kinds import Status, TaskKind
from bench.core.spec import Recipe
from bench.store.store import Store
from bench.store.tensors import savable, tensor_digest
from bench.testing import run_check, run_toy, toy_registry, toy_spec
from bench.testing.checks import networks
from bench.testing.harness import Harness
from bench.training import networks as building
from bench.training.loop import fit
from bench.training.network_state import RESERVED, load_network_state, network_state
from bench.training.networks import Normalised, check, rebuild, with_memory_format, wrapped
from bench.training.oracle import Source
from bench.training.plain_data import decode, encode
from bench.training.round_trip import detached, difference, random_images, stored_state
from bench.training.sharing import keeping_shared, moved, named_tensors, shared_names
from tests.training.network_zoo import BAD, GOOD, Net, Zoo

SHAPE = (1, 8, 8)
STEP = Recipe(epochs=1, batch=8, lr=0.05, precision="fp32", weight_decay=0.01, momentum=0.9)
IMAGES = torch.randint(256, (24, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 7


def build(net, classes=7, shape=SHAPE):
    zoo = Zoo(net=net)
    return with_memory_format(wrapped(zoo, classes, shape, torch.full((1,), 0.4), torch.full((1,), 0.3)), zoo, shape)


def train(model, **options):
    return fit(model, IMAGES, LABELS, recipe=STEP, generator=torch.Generator().manual_seed(1), **options)


def trained(net):
    torch.manual_seed(0)
    return train(build(net))


def values(model):
    return {name: tensor.detach().clone() for name, tensor in named_tensors(model).items()}


def frozen(model):
    return {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}


# --- store and copies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", GOOD)
def test_a_network_comes_back_as_it_was_and_the_contract_sees_that(net):
    finding = run_check(Harness(Zoo(net=net)), networks.comes_back_as_it_was)
    assert finding.ok, finding.reason


REFUSED = {
    "DrawnNumber": "after it was stored and loaded, it answers otherwise",
    "DrawnAttribute": "after it was stored and loaded, it answers otherwise",
    "PlainList": "after it was stored and loaded, it answers otherwise",
    "PlainCounter": "after it was stored and loaded, it answers otherwise",
    "Rounding": "after it was stored and loaded, it answers otherwise",
    "Swallowing": "after it was stored and loaded, it answers otherwise",
    "Pickled": "under 'inner._extra_state', holds a builtins.type: the store takes numbers, text, bytes, tensors",
}


@pytest.mark.parametrize("net", BAD)
def test_the_contract_refuses_a_network_that_comes_back_as_another(net):
    finding = run_check(Harness(Zoo(net=net)), networks.comes_back_as_it_was)
    assert finding.ok is False and REFUSED[net] in finding.reason


@pytest.mark.parametrize("net", BAD)
def test_a_run_refuses_it_in_one_line_and_before_training_where_that_is_possible(net, tmp_path):
    names = {"datasets": ("toy",), "sources": ("zoo",), "suspects": ("zoo",), "attacks": (), "methods": ("toy_match",)}
    run = run_toy(toy_spec(**names, replicates=1), toy_registry(Zoo(net=net)), tmp_path)
    failed = [o for o in run.outcomes.values() if o.status == Status.FAILED]
    assert failed and not any(
        o.status == Status.DONE for k, o in run.outcomes.items() if run.plan.tasks[k].kind != "data"
    )
    for outcome in failed:
        early = net != "PlainCounter"
        who = "the network that architecture 'zoo' built" if early else "the network of "
        if net == "Pickled":
            assert outcome.error.startswith("the state dict of the network, under 'inner._extra_state', holds a ")
        else:
            assert outcome.error.startswith(who) and "answers otherwise after it was stored and loaded" in outcome.error
        assert "\n" not in outcome.error


@pytest.mark.parametrize("net", GOOD)
def test_a_copy_is_independent_of_its_original(net):
    model = trained(net)
    duplicate = copy.deepcopy(model)
    before = values(model)
    assert difference(model, duplicate, random_images(SHAPE)) == ""
    train(duplicate)
    assert all(torch.equal(t, before[n]) for n, t in values(model).items())
    assert not {id(t) for t in named_tensors(model).values()} & {id(t) for t in named_tensors(duplicate).values()}
    assert frozen(duplicate) == frozen(model) and shared_names(duplicate) == shared_names(model)


def test_a_copy_keeps_what_a_plugin_changed():
    model = trained("TiedLayers")
    model.inner.head.weight.requires_grad_(False)
    model.inner.more = nn.Sequential(model.inner.more, nn.Linear(16, 16))
    duplicate = copy.deepcopy(model)
    assert difference(model, duplicate, random_images(SHAPE)) == ""
    assert frozen(duplicate) == {"inner.head.weight"}


def test_a_locked_network_is_copied_with_its_modes_and_flags():
    model = trained("Locked")
    model.inner.head.weight.requires_grad_(False)
    model.inner.pool.train()
    duplicate = copy.deepcopy(model)
    assert frozen(duplicate) == {"inner.head.weight"}
    assert [m.training for m in duplicate.modules()] == [m.training for m in model.modules()]
    with pytest.raises(TypeError, match="lock"):
        copy.deepcopy(Normalised(model.inner, torch.zeros(1), torch.ones(1)))  # nobody knows how to build it


SHIPPED = [
    (module, found.name)
    for module in ("tiny_networks", "torchvision_networks")
    for found in importlib.import_module(f"bench_plugins.architectures.{module}").bench_architectures()
]


@pytest.mark.parametrize(("module", "name"), SHIPPED)
def test_the_weights_of_shipped_networks_are_stored_as_before_and_rebuilt_without_memory(module, name, monkeypatch):
    """Neither names nor digests of what is stored change, grey or in colour; no random number is drawn to load it."""
    offered = importlib.import_module(f"bench_plugins.architectures.{module}").bench_architectures()
    architecture = next(found for found in offered if found.name == name)
    light = module == "tiny_networks" or name == "resnet18"
    for shape in ((1, 8, 8), (3, 32, 32)) if light else ((3, 32, 32),):
        with torch.device("cpu" if light else "meta"):
            model = wrapped(architecture, 10, shape, torch.zeros(shape[0]), torch.ones(shape[0]))
        state, plain = network_state(model), model.state_dict()
        assert list(state) == list(plain) and all(state[k].data_ptr() == plain[k].data_ptr() for k in plain)
        if light:
            assert tensor_digest(savable(state, "x")) == tensor_digest(savable(dict(plain), "x"))
            monkeypatch.setattr(building, "_in_memory", None)  # it would be called if the meta device did not do
            before = torch.get_rng_state()
            again = rebuild(architecture, 10, shape, detached(state))
            assert torch.equal(before, torch.get_rng_state())
            assert difference(model.eval(), again.eval(), random_images(shape)) == ""
            assert not any(t.is_meta for t in named_tensors(again).values())


@pytest.mark.parametrize("net", GOOD)
def test_loading_leaves_the_random_generators_alone_and_shares_no_memory_of_the_network(net):
    model = trained(net)
    state = detached(network_state(model))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    again = rebuild(Zoo(net=net), 7, SHAPE, state)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(t.is_meta for t in named_tensors(again).values())
    assert frozen(again) == frozen(build(net)) and shared_names(again) == shared_names(build(net))


def test_entries_of_an_older_version_are_upgraded_and_new_ones_are_not():
    model = trained("Versioned")
    state = detached(network_state(model))
    assert [n for n in state if n.startswith(RESERVED)] == ["bench:versions:"]
    new, old = build("Versioned"), build("Versioned")
    load_network_state(new, state)
    del state["bench:versions:"]
    load_network_state(old, state)
    assert torch.equal(new.inner.more.weight, model.inner.more.weight)
    assert torch.equal(old.inner.more.weight, model.inner.more.weight.T)


@pytest.mark.parametrize(
    "data",
    [
        None, True, 3, -(10**30), 0.1, float("inf"), "text\n\u00e9", b"\x00\xff", [], (), {}, {1, 2, 3}, frozenset("a"),
        [1, [2, (3, {"a": [None]})]], {(1, "a"): {2: b""}, None: 3.5, "x": {"y": {}}},
    ],
    ids=repr,
)  # fmt: skip
def test_plain_data_come_back_with_their_types(data):
    text, tensors = encode(data, "it")
    back = decode(text, tensors)
    assert back == data and type(back) is type(data) and repr(back) == repr(data)


def test_tensors_in_plain_data_come_back():
    text, tensors = encode({"a": [torch.ones(2), {"b": torch.tensor(3, dtype=torch.int8)}]}, "it")
    back = decode(text, tensors)
    assert torch.equal(back["a"][0], torch.ones(2)) and back["a"][1]["b"].dtype == torch.int8


@pytest.mark.parametrize(
    "data", [object(), lambda: 0, torch.float32, [1, {"a": {1: RuntimeError()}}], range(3), nn.ReLU()]
)
def test_what_is_not_plain_is_refused_in_one_line(data):
    with pytest.raises(BenchError, match=r"it holds a .*: the store takes numbers, text, .* and never a pickle"):
        encode(data, "it")


def test_data_that_contain_themselves_are_refused():
    data = []
    data.append(data)
    with pytest.raises(BenchError, match="contain themselves"):
        encode(data, "it")


def test_names_of_the_host_are_its_own():
    class Taking(Net):
        def __init__(self, classes, shape):
            super().__init__(classes, shape)
            self.register_buffer("x", torch.zeros(1))

        def state_dict(self, *args, prefix="", **kwargs):
            state = super().state_dict(*args, prefix=prefix, **kwargs)
            state["bench:buffer:x"] = state.pop(f"{prefix}x")
            return state

    with pytest.raises(BenchError, match="has an entry 'bench:buffer:x'"):
        network_state(Taking(3, SHAPE))


# --- what a plugin returned ---------------------------------------------------------------------------------------


def test_a_network_whose_shared_weights_have_parted_is_refused():
    model = trained("TiedLayers")
    model.inner.again.weight = nn.Parameter(model.inner.more.weight.detach() + 1)
    with pytest.raises(BenchError, match=r"holds different values in 'inner.again.weight' and 'inner.more.weight'"):
        check(model, build("TiedLayers"), "attack 'a'")


def test_infinity_is_accepted_where_a_fresh_network_has_it_and_nowhere_else():
    model = trained("MaskedAttention")
    assert check(model, build("MaskedAttention"), "it") is model
    with torch.no_grad():
        model.inner.mask[3, 0] = float("-inf")
    with pytest.raises(BenchError, match=r"holds NaN or infinity in 'inner.mask'"):
        check(model, build("MaskedAttention"), "it")


def test_extra_state_of_another_size_is_no_fault():
    model = trained("ExtraState")
    model.inner.extra.data["names"].append("more")
    assert check(model, build("ExtraState"), "it") is model


def test_hooks_that_a_plugin_added_are_no_part_of_the_network():
    model = trained("TiedLayers")
    model.inner.head.register_forward_hook(lambda layer, inputs, out: out * 2)
    recreate = functools.partial(rebuild, Zoo(net="TiedLayers"), 7, SHAPE)
    with pytest.raises(BenchError, match="it answers otherwise after it was stored and loaded"):
        stored_state(model, recreate, SHAPE, "it")


def test_the_message_names_what_cannot_be_loaded():
    def recreate(state):
        model = build("TiedLayers")
        model.load_state_dict({**state, "of_another_network": torch.zeros(1)})
        return model

    with pytest.raises(BenchError, match=r'it cannot be loaded .* Unexpected key\(s\) in state_dict: "of_another'):
        stored_state(trained("TiedLayers"), recreate, SHAPE, "it")


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_memory_that_is_full_when_a_network_comes_back_is_no_fault_of_the_network(error):
    def recreate(state):
        raise error("CUDA out of memory")

    with pytest.raises(error, match="CUDA out of memory"):
        stored_state(trained("TiedLayers"), recreate, SHAPE, "it")


def test_a_network_that_answers_by_chance_is_not_judged(tmp_path):
    class Chance(Net):
        def forward(self, x):
            return super().forward(x) + torch.rand(1, generator=GENERATOR)

    model = Chance(7, SHAPE)
    assert stored_state(model, lambda state: Chance(7, SHAPE), SHAPE, "it")


GENERATOR = torch.Generator()


def test_lazy_modules_that_no_image_reaches_are_named():
    class Unreached(Net):
        def __init__(self, classes, shape):
            super().__init__(classes, shape)
            self.lost = nn.LazyLinear(3)

    class Architecture(Zoo):
        def build(self, num_classes, shape):
            return Unreached(num_classes, shape)

    with pytest.raises(BenchError, match=r"'lost.weight' has no shape, even after a forward pass on images"):
        wrapped(Architecture(), 7, SHAPE, torch.zeros(1), torch.ones(1))


class Elsewhere(torch.Tensor):
    """Stands for a tensor on a GPU: others may copy it, and compute with it once it is on the CPU."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function.__name__ == "cpu":
            with torch._C.DisableTorchFunctionSubclass():
                return args[0].as_subclass(torch.Tensor)
        if function.__name__ != "copy_" and any(type(a) is torch.Tensor for a in args):
            raise RuntimeError("Expected all tensors to be on the same device")
        return super().__torch_function__(function, types, args, kwargs or {})


def test_lazy_modules_come_back_from_tensors_of_another_device():
    model = trained("Lazy")
    state = detached(network_state(model))
    loaded = {n: t.as_subclass(Elsewhere) if n in ("mean", "std") else t for n, t in state.items()}
    again = rebuild(Zoo(net="Lazy"), 7, SHAPE, loaded).eval()
    assert difference(model, again, random_images(SHAPE)) == ""


@pytest.mark.gpu
@pytest.mark.parametrize("net", ["Lazy", "TiedLayers"])
def test_a_network_comes_back_from_tensors_on_a_gpu(net):
    model = trained(net)
    loaded = {name: tensor.cuda() for name, tensor in detached(network_state(model)).items()}
    again = moved(rebuild(Zoo(net=net), 7, SHAPE, loaded), "cuda").eval()
    assert {t.device.type for t in named_tensors(again).values()} == {"cuda"}
    assert difference(model, moved(again, "cpu"), random_images(SHAPE)) == ""


# --- training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [None, "conv"])
def test_frozen_parameters_are_not_trained_and_stay_frozen(part):
    torch.manual_seed(0)
    model = build("FrozenStem")
    model.inner.conv.bias.requires_grad_(True)
    before, names = values(model), frozen(model)
    assert names == {"inner.conv.weight", "inner.more.bias"}
    train(model, trainable=part and model.inner.conv)
    changed = {n for n, t in values(model).items() if not torch.equal(t, before[n])}
    assert changed == ({"inner.conv.bias"} if part else set(dict(model.named_parameters())) - names)
    assert frozen(model) == names


@pytest.mark.parametrize("part", [False, True])
def test_training_nothing_is_refused(part):
    model = build("FrozenStem")
    chosen = model.inner.conv if part else model.requires_grad_(False)
    with pytest.raises(BenchError, match=r"nothing to train: each parameter of the .* is frozen"):
        train(model, trainable=chosen if part else None)


def test_modules_that_train_leaves_in_eval_mode_stay_so_in_a_part_too():
    model, modes = build("FrozenNorm"), []

    def loss(model, x, targets):
        modes.append((model.inner.norm.training, model.inner.conv.training, model.training))
        return nn.functional.cross_entropy(model(x), targets)

    before = model.inner.norm.running_mean.clone()
    train(model, loss=loss)
    train(model, loss=loss, trainable=model.inner)
    assert set(modes) == {(False, True, True), (False, True, False)}
    assert torch.equal(before, model.inner.norm.running_mean)


def test_shared_buffers_are_shared_after_a_conversion():
    model = build("SharedBuffers")
    groups = shared_names(model)
    assert len(groups) == 2
    with keeping_shared(model):
        model.double().to(memory_format=torch.channels_last)
    assert shared_names(model) == groups and model.inner.scale.dtype == torch.float64
    assert shared_names(moved(model, "cpu")) == groups


@pytest.mark.gpu
def test_shared_tensors_are_shared_on_a_gpu():
    for net in ("SharedBuffers", "TiedLayers", "SharedModule"):
        model = build(net)
        groups = shared_names(model)
        assert groups and shared_names(moved(model, "cuda")) == groups


# --- attacks ------------------------------------------------------------------------------------------------------

NO_CONVOLUTION = "prune cannot silence channels of a re-parametrised convolution"
STOLEN_REFUSALS = {
    ("prune", "OldWeightNorm"): NO_CONVOLUTION,
    ("prune", "NewWeightNorm"): NO_CONVOLUTION,
    ("prune", "FrozenStem"): "prune needs a convolution that is trained: this network's are all frozen",
}
ATTACKS = [FinetuneA(length=1), FinetuneL(length=1), Prune(ratios=(0.4,)), TransferA(length=1), TransferL(length=1)]


def context_of(model, start=None):
    generator = torch.Generator().manual_seed(2)
    return Context(
        seed=0,
        replicate=0,
        recipe=STEP,
        device=torch.device("cpu"),
        generator=generator,
        fit=functools.partial(fit, recipe=STEP, generator=generator),
        head=lambda m: Zoo().head(m.inner),
        stages=lambda m: list(m.inner.children()),
        start=start,
    )


def stolen_from(attack, source, net, classes):
    data = Split(IMAGES, LABELS % classes)
    oracle = Source(source, attack.access, attack.name)
    start = trained(net) if attack.starts_from else None
    return attack.steal(oracle, data, functools.partial(build, net, classes), context_of(source, start))


@pytest.mark.parametrize("attack", [*ATTACKS, ExtractL(), ExtractAdv(length=1, steps=1)], ids=lambda a: a.name)
@pytest.mark.parametrize("net", GOOD)
def test_attacks_keep_shared_weights_and_frozen_parts_or_refuse_in_one_line(attack, net):
    source, classes = trained(net), 5 if attack.name.startswith("transfer") else 7
    before = values(source)
    if reason := STOLEN_REFUSALS.get((attack.name, net)):
        with pytest.raises(BenchError, match=reason):
            stolen_from(attack, source, net, classes)
        return
    stolen = check(stolen_from(attack, source, net, classes), build(net, classes), attack.name)
    recreate = functools.partial(rebuild, Zoo(net=net), classes, SHAPE)
    assert stored_state(stolen, recreate, SHAPE, attack.name)
    assert shared_names(stolen) == shared_names(source) and frozen(stolen) == frozen(source)
    after = values(stolen)
    assert any(t.shape != before[n].shape or not torch.equal(t, before[n]) for n, t in after.items())
    assert all(torch.equal(t, before[n]) for n, t in values(source).items())
    if attack.access == "weights":
        still = set(dict(source.named_parameters(remove_duplicate=False))) & frozen(source)
        assert all(torch.equal(after[n], before[n]) for n in still)
    if attack.name == "transfer_l":
        head = {f"inner.{'module.' if net == 'Wrapped' else ''}head.{p}" for p in ("weight", "bias")}
        ours = {n for n in after if n not in head | {"mean", "std"}}
        assert all(torch.equal(after[n], before[n]) for n in ours)


def test_pruning_silences_all_layers_that_share_a_weight():
    source = trained("TiedConvolutions")
    stolen = stolen_from(Prune(ratios=(0.5,)), source, "TiedConvolutions", 7)
    weight, inner = stolen.inner.one.weight, stolen.inner
    dead = weight.flatten(1).eq(0).all(1)
    marked = int(dead.sum()) + int(inner.conv.weight.flatten(1).eq(0).all(1).sum())
    assert bool(dead.any()) and marked == 6
    for layer in (inner.one, inner.other):
        assert layer.weight is weight and bool(layer.bias[dead].eq(0).all())
    assert bool(inner.norm.weight[dead].eq(0).all())


def test_transfer_names_what_depends_on_the_number_of_classes_outside_the_head():
    class Prototypes(Net):
        def __init__(self, classes, shape):
            super().__init__(classes, shape)
            self.prototypes = nn.Parameter(torch.ones(classes))

        def forward(self, x):
            return super().forward(x) * self.prototypes

    def made(classes):
        return Normalised(Prototypes(classes, SHAPE), torch.zeros(1), torch.ones(1))

    with pytest.raises(BenchError, match=r"'inner.prototypes' is \[7\] in the source and \[5\] in the new network"):
        TransferA().steal(Source(made(7), "weights", "t"), Split(IMAGES, LABELS), lambda: made(5), context_of(None))


@pytest.mark.parametrize("net", ["FrozenStem", "TiedLayers", "ExtraState", "OldWeightNorm", "Lazy", "Counting"])
def test_a_whole_run_keeps_them(net, tmp_path):
    zoo = Zoo(net=net)
    names = {"sources": ("zoo",), "suspects": ("zoo",), "replicates": 1, "copies": 1}
    run = run_toy(toy_spec(**names), toy_registry(zoo), tmp_path)
    assert {o.status for o in run.outcomes.values()} == {Status.DONE}
    store = Store(tmp_path)
    weights = {
        t.key: store.load(t.key, "weights")
        for t in run.plan.tasks.values()
        if t.kind in (TaskKind.TRAIN, TaskKind.EMBED, TaskKind.STEAL)
    }
    for key, found in weights.items():
        task = run.plan.tasks[key]
        if net == "TiedLayers":
            assert torch.equal(found["inner.again.weight"], found["inner.more.weight"])
        if (
            net == "FrozenStem"
            and task.kind == TaskKind.STEAL
            and task.params["attack"]["name"] in ("toy_tune", "toy_move")
        ):
            assert torch.equal(found["inner.conv.weight"], weights[task.inputs["source"]]["inner.conv.weight"])
        if net == "FrozenStem" and task.kind in (TaskKind.TRAIN, TaskKind.EMBED):
            torch.manual_seed(seed_of(key))
            fresh = zoo.build(4, SHAPE)
            assert torch.equal(found["inner.conv.weight"], fresh.conv.weight)
            assert torch.equal(found["inner.more.bias"], fresh.more.bias)
            assert not torch.equal(found["inner.more.weight"], fresh.more.weight)
