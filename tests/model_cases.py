"""A small model of scenes, and what holds of the densities of any."""

import torch

from air3d.geometry import plane_log_det
from air3d.models import SceneConfig
from air3d.models.guide import Observation
from air3d.models.pose_posterior import TrueObjects
from air3d.models.poses import PoseHead, PoseLook

SMALL = SceneConfig(
    channels=(8, 8, 8),
    features=32,
    state=32,
    search=8,
    glimpse_size=16,
    glimpse_channels=(8, 8),
    hidden=32,
)


def check_taught_as_drawn(head: PoseHead, observation: Observation, look: PoseLook) -> None:
    """Check that the KL of a draw is the density that teaching gives it, minus the prior.

    Teaching and drawing must agree on where the glimpse is read: by one component of the search.
    """
    assert observation.seen is not None
    camera, number = observation.seen.view.camera, len(observation.images)
    drawn = head.mode(observation, look)
    centre = look.search.at(look.search.mode())
    windows = head.look_twice(observation, centre, look.state).windows
    for k in range(3):
        truth = TrueObjects(
            torch.full((number,), k),
            drawn.position[:, k],
            drawn.rotation[:, k],
            drawn.scale[:, k],
            drawn.colour[:, k],
        )
        taught = head.teach(observation, look, truth)
        log_det = plane_log_det(camera, drawn.position[:, k : k + 1])[:, 0]
        half_side = (windows.half_side * head.half_image).log().sum(dim=1)
        log_q = taught.location_log_prob + log_det - half_side + taught.rotation_log_prob
        expected = log_q - head.prior.log_prob_pose(drawn.position[:, k])
        torch.testing.assert_close(drawn.kl[:, k], expected, atol=2e-2, rtol=1e-3)
