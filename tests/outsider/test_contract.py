from bench.testing import contract

test_contract = contract("outside_method")
