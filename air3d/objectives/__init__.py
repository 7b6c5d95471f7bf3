"""What is maximised: the ELBO with its discrete part summed exactly, and the sleep objective.

Nothing here knows of images, networks or meshes.
"""

from air3d.objectives.elbo import Elbo, StepTerms, exact_elbo, hypothesis_log_prob, swapped_elbo
from air3d.objectives.presence import (
    NO_OBJECT,
    count_log_prior,
    count_log_prob,
    draw_identities,
    enumerate_hypotheses,
    enumerate_swaps,
    geometric_count_log_prior,
)
from air3d.objectives.responsibilities import Explanations, responsibilities, shared_out
from air3d.objectives.sleep import Sleep, TaughtSteps, sleep_objective

__all__ = [
    "NO_OBJECT",
    "Elbo",
    "Explanations",
    "Sleep",
    "StepTerms",
    "TaughtSteps",
    "count_log_prior",
    "count_log_prob",
    "draw_identities",
    "enumerate_hypotheses",
    "enumerate_swaps",
    "exact_elbo",
    "geometric_count_log_prior",
    "hypothesis_log_prob",
    "responsibilities",
    "shared_out",
    "sleep_objective",
    "swapped_elbo",
]
