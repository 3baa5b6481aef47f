from bench.testing import contract

test_contract = contract("local_maps")
