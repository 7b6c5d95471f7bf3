"""What AIR is compared with: a supervised twin, a search from random starts, and the bound."""

from air3d.rivals.bound import efficient_estimates
from air3d.rivals.optimisation import Optimiser, Restarts
from air3d.rivals.teaching import teach, twin_loss
from air3d.rivals.twin import Twin, infer_by_twin

__all__ = [
    "Optimiser",
    "Restarts",
    "Twin",
    "efficient_estimates",
    "infer_by_twin",
    "teach",
    "twin_loss",
]
