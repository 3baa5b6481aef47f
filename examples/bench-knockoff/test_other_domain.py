from other_domain import OtherDomain

from bench.testing import contract, run_toy, toy_registry, toy_spec

test_contract = contract("other_domain")


def test_it_asks_about_each_image_of_the_other_domain_once():
    run = run_toy(toy_spec(attacks=("other_domain",), methods=("toy_match",), epochs=1.0), toy_registry(OtherDomain()))
    steals = [t for t in run.plan.tasks.values() if t.kind == "steal"]
    assert steals
    for task in steals:
        other = run.plan.tasks[task.inputs["surrogate_data"]]
        assert other.params["dataset"]["name"] == "toy_other"
        assert run.outcomes[task.key].facts["queries"] == run.outcomes[other.key].facts["attacker"]
