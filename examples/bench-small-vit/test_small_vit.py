from bench.testing import contract

test_contract = contract("small_vit")
