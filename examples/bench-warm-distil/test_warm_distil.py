from bench.testing import contract

test_contract = contract("warm_distil")
