"""Enums: what is stored, hashed and shown is the plain word."""

import json
import pickle
from enum import StrEnum

import pytest

from bench.core import kinds
from bench.core.canonical import canonical
from bench.core.kinds import (
    Access,
    Accuser,
    CellStatus,
    ComponentKind,
    Evidence,
    FailureCause,
    Role,
    Status,
    SuspectKind,
    TaskKind,
    Verdict,
)
from bench.core.spec import Spec
from bench.core.tasks import Task

ENUMS = (
    Access,
    Accuser,
    CellStatus,
    ComponentKind,
    Evidence,
    FailureCause,
    Role,
    Status,
    SuspectKind,
    TaskKind,
    Verdict,
)
MEMBERS = [member for enum in ENUMS for member in enum]


def test_every_enum_is_tested():
    public = {value for name, value in vars(kinds).items() if not name.startswith("_") and value is not StrEnum}
    assert {value for value in public if isinstance(value, type)} == set(ENUMS)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda m: f"{type(m).__name__}.{m.name}")
def test_a_member_is_written_shown_and_hashed_as_its_word(member):
    word = str.__str__(member)
    assert type(word) is str
    assert f"{member} {member!r} {[member]}" == f"{word} {word!r} {[word]}"
    assert json.dumps({member: member}) == json.dumps({word: word})
    assert canonical({member: [member]}) == canonical({word: [word]})
    assert {word: 1}[member] == {member: 1}[word] == 1
    assert pickle.loads(pickle.dumps(member)) is member


def test_a_key_is_the_same_for_members_and_words():
    params, inputs = {"architecture": {"name": "net"}, "answers": "labels"}, {"data": "0" * 64}
    task = Task.of(TaskKind.TRAIN, Role.SURROGATE, {**params, "answers": Access.LABELS}, inputs)
    assert task.key == Task.of("train", "surrogate", params, inputs).key
    assert task.name == "train surrogate net"


def test_access_has_an_order_that_begins_with_none():
    ranks = [Access.rank(a) for a in ("", "labels", "probabilities", "logits", "weights")]
    assert ranks == sorted(set(ranks))
    with pytest.raises(ValueError, match="everything"):
        Access.rank("everything")


def test_a_spec_and_a_task_name_their_components_by_kind():
    spec = Spec(datasets=("d",), sources=("a",), suspects=("b",), attacks=("t",), methods=("m",), baselines=("n",))
    assert spec.components() == {"dataset": ("d",), "architecture": ("a", "b"), "attack": ("t",), "method": ("m", "n")}
    params = {"dataset": {"name": "d"}, "architecture": {"name": "a"}}
    assert Task.of(TaskKind.TRAIN, Role.SOURCE, params, {}).components() == {"architecture": "a"}
    assert Task.of(TaskKind.DATA, Role.DATA, params, {}).components() == {"dataset": "d", "architecture": "a"}
