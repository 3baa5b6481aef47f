"""What components promise, a function each, and which kind promises what."""

from __future__ import annotations

from bench.api.components import Component
from bench.core.kinds import ComponentKind
from bench.registry.registry import Registry
from bench.registry.validation import contract_violation
from bench.testing.checks.architectures import (
    BIG,
    answers_each_image_alone,
    builds_for_every_shape,
    has_head_and_stages_inside,
    parameters,
    reloads_strictly,
    starts_from_the_seed,
)
from bench.testing.checks.attacks import (
    asks_its_source,
    keeps_to_its_access,
    pays_for_what_it_asks,
    returns_what_build_takes,
    varies_with_the_replicate,
)
from bench.testing.checks.check import COSTLY, Promise
from bench.testing.checks.components import (
    has_the_form_of_a_component,
    is_imported_without_a_trace,
    relies_on_what_is_there,
    says_what_it_is,
    survives_json,
)
from bench.testing.checks.datasets import (
    can_be_divided,
    has_two_different_parts,
    leads_to_images_of_equal_shape,
    loads_both_parts,
    loads_the_same_again,
)
from bench.testing.checks.methods import (
    asks_every_suspect,
    gives_finite_scores,
    judges_where_it_can,
    keeps_its_fingerprint,
    keeps_to_its_budget,
    knows_its_source,
    says_what_it_asked,
)
from bench.testing.checks.runs import (
    agrees_with_a_gpu,
    asks_within_the_range,
    gives_the_same_again,
    gives_the_same_on_two_workers,
    leaves_alone_what_it_is_given,
    leaves_the_process_alone,
    works_in_the_toy_world,
)


def takes_long(component: Component, promise: Promise) -> bool:
    """Say whether a promise takes long to judge for a component: big files, big networks."""
    if promise not in COSTLY or contract_violation(component):
        return False
    if component.kind == ComponentKind.DATASET:
        return bool(component.checksums)  # type: ignore[attr-defined]
    return component.kind == ComponentKind.ARCHITECTURE and parameters(component) >= BIG


EVERY: tuple[Promise, ...] = (
    has_the_form_of_a_component, says_what_it_is, survives_json, is_imported_without_a_trace, relies_on_what_is_there,
)  # fmt: skip
SAME: tuple[Promise, ...] = (gives_the_same_again, gives_the_same_on_two_workers, agrees_with_a_gpu)
RUN: tuple[Promise, ...] = (
    works_in_the_toy_world, *SAME, leaves_alone_what_it_is_given, leaves_the_process_alone, asks_within_the_range,
)  # fmt: skip
PROMISES: dict[str, tuple[Promise, ...]] = {
    ComponentKind.DATASET: (*EVERY, loads_both_parts, loads_the_same_again, has_two_different_parts, can_be_divided,
                leads_to_images_of_equal_shape),
    ComponentKind.ARCHITECTURE: (
        *EVERY, builds_for_every_shape, has_head_and_stages_inside, reloads_strictly, answers_each_image_alone,
        starts_from_the_seed, works_in_the_toy_world, *SAME,
    ),
    ComponentKind.ATTACK: (
        *EVERY, *RUN, keeps_to_its_access, asks_its_source, pays_for_what_it_asks, returns_what_build_takes,
        varies_with_the_replicate,
    ),
    ComponentKind.METHOD: (
        *EVERY, *RUN, keeps_to_its_budget, asks_every_suspect, says_what_it_asked, keeps_its_fingerprint,
        gives_finite_scores, knows_its_source, judges_where_it_can,
    ),
}  # fmt: skip
"""What a component of each kind promises, in the order of telling."""


def needed(component: Component, among: Registry) -> list[Component]:
    """List what a component relies on, as far as a catalogue has it: attacks, helpers' architectures, datasets."""
    found: list[Component] = []
    before = getattr(component, "starts_from", "")
    while before in among.names(ComponentKind.ATTACK) and before not in (component.name, *(c.name for c in found)):
        found.append(among.get(ComponentKind.ATTACK, before))
        before = found[-1].starts_from  # type: ignore[attr-defined]
    wanted = {ComponentKind.ARCHITECTURE: getattr(component, "helper_architectures", ()),
              ComponentKind.DATASET: getattr(component, "related", {}).values()}  # fmt: skip
    return found + [among.get(kind, n) for kind, names in wanted.items() for n in names if n in among.names(kind)]
