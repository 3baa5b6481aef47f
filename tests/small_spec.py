"""A benchmark of few tasks, for tests of what surrounds them."""

from bench.testing.toy_run import toy_spec

SMALL = {
    "suspects": ("toy_net",),
    "attacks": ("toy_tune", "toy_copy"),
    "methods": ("toy_match", "toy_relation"),
    "replicates": 1,
    "copies": 1,
    "epochs": 1,
}


def small_spec(**changes):
    """Return the Spec of two attacks and two methods, with one suspect of each kind; `changes` as of `toy_spec`."""
    return toy_spec(**SMALL | changes)
