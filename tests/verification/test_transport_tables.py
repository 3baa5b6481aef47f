"""The tables of docs/transport.md: what their cells count, and sources in int8."""

import torch
from bench_plugins.architectures.tiny_networks import TinyVGG
from small_world import PROBE

from bench.training.answering import ask
from bench.training.networks import Normalised
from bench.verification.schema import TransportScore
from benchmarks.quantised import forms
from benchmarks.transport import cell, cells


def test_a_cell_counts_the_sources_that_score_above_all_innocents():
    assert cell([1.0, 0.5, 0.9], [1 / 21, 3 / 21, 1 / 21], 20) == "0.9 (2/3)"
    assert cell([None, None], [None, None], 20) == "–"
    assert cell([0.98, 1.0], [None, None], 20) == "0.99"


def test_the_table_has_a_row_for_each_distortion_and_a_column_for_each_method():
    rows = [
        TransportScore(transport=t, method=m, score=0.5, p_value=p)
        for t, p in (("direct", 0.2), ("png", 0.4))
        for m in ("sac_m", "ipguard")
    ]
    assert list(cells([rows], 4)) == [
        ("", "ipguard", "sac_m"),
        ("direct", "0.5 (1/1)", "0.5 (1/1)"),
        ("png", "0.5 (0/1)", "0.5 (0/1)"),
    ]


def test_dynamic_int8_depends_on_the_batch_and_the_other_forms_do_not():
    torch.manual_seed(0)
    model = Normalised(TinyVGG().build(10, (1, 8, 8)), PROBE.x.mean((0, 2, 3)), PROBE.x.std((0, 2, 3))).eval()
    depends = {}
    for name, session in forms(model, PROBE.images):
        together = session.answer(PROBE.images[:20])
        alone = torch.cat([session.answer(image[None]) for image in PROBE.images[:20]])
        depends[name] = not torch.allclose(together, alone, atol=1e-5)
        assert torch.allclose(together, ask(model, "logits", PROBE.images[:20]), atol=0.2)
    assert [name for name, value in depends.items() if value] == ["ONNX, dynamic int8, in batches"]
