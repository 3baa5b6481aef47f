from small_vit import SmallViT

from bench.testing import contract, run_toy, toy_registry, toy_spec

test_contract = contract("small_vit")


def test_it_is_trained_by_its_own_recipe_in_every_role():
    spec = toy_spec(suspects=("small_vit",), attacks=("toy_copy",), methods=("toy_relation",), epochs=0.5, replicates=1)
    run = run_toy(spec, toy_registry(SmallViT()))
    own = [t for t in run.plan.tasks.values() if t.params.get("architecture", {}).get("name") == "small_vit"]
    assert {t.role for t in own} == {"irrelevant", "stolen", "surrogate", "reference"}
    for task in own:
        recipe = task.params["recipe"]
        assert (recipe["lr"], recipe["epochs"], recipe["augmentation"]) == (0.1, 2.0, {"crop": 0})
