"""Other domain: a student that learns the source's answers to images of another domain.

T. Orekondy, B. Schiele, M. Fritz: Knockoff Nets: Stealing Functionality of Black-Box Models, CVPR 2019,
https://arxiv.org/abs/1812.02766, with its random strategy: each image is asked about once, as it is. The shipped attack
`knockoff` has a budget besides.
"""

from dataclasses import dataclass

from bench import Attack, hookimpl


@dataclass(frozen=True)
class OtherDomain(Attack):
    """Train a student on the source's probabilities for images of a related dataset."""

    name: str = "other_domain"
    version: int = 1
    length: float = 1.0
    surrogate: str = "transfer"
    """A key of the dataset's `related`, or the name of a dataset."""

    access = "probabilities"
    surrogate_adapt = ("size", "channels")

    @property
    def surrogate_data(self):
        """Name the images to query with."""
        return self.surrogate

    def steal(self, source, data, build, context):
        """Ask about each image of the other domain once; no image and no label of the source's domain is used."""
        images = context.surrogate_data
        return context.fit(build(), images.images, source.probabilities(images.x), length=self.length)


@hookimpl
def bench_attacks():
    """Offer the attack."""
    return [OtherDomain()]
