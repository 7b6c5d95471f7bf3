"""Try all round what goes round in circles: climbing does not find a way over the back."""

import dataclasses
import math

import torch
from torch import Tensor

from air3d.inference.explanations import Explanations
from air3d.inference.settling import log_likelihood
from air3d.models.decoders import SceneDecoder
from air3d.scene import Scenes, View, ViewPrior, choose

LIGHTS = 12
"""Azimuths of the light that are tried."""


@torch.no_grad()
def try_rotations(decoder: SceneDecoder, images: Tensor, explained: Explanations) -> Scenes:
    """Turn each object in turn to the likeliest of its probable rotations."""
    scenes = explained.scenes
    num_modes = explained.rotation_modes.shape[2]
    for index in range(scenes.identity.shape[1]):
        turned = scenes.rotation[None].repeat(num_modes, 1, 1, 1, 1)
        turned[:, :, index] = explained.rotation_modes[:, index].movedim(1, 0)
        several = [dataclasses.replace(scenes, rotation=rotation) for rotation in turned]
        scores = [log_likelihood(decoder, images, some) for some in several]
        best = torch.stack(scores).argmax(dim=0)
        scenes = dataclasses.replace(scenes, rotation=turned[best, torch.arange(len(best))])
    return scenes


@torch.no_grad()
def try_lights(decoder: SceneDecoder, images: Tensor, scenes: Scenes) -> Scenes:
    """Turn each scene's light to the likeliest azimuth, where the scene file leaves it open.

    What one pass says of it is hardly better than a guess, since it shows only in the shading of
    objects whose colours are not known either.
    """
    prior = ViewPrior(decoder.spec)
    names = [unknown.name for unknown in prior.unknowns if unknown.circular]
    if "light_azimuth" not in names:
        return scenes
    axis = [unknown.name for unknown in prior.unknowns].index("light_azimuth")
    coordinates = prior.coordinates(View(scenes.camera, scenes.light))
    best, score = scenes, log_likelihood(decoder, images, scenes)
    for number in range(1, LIGHTS):
        turned = coordinates.clone()
        turned[:, axis] += 2 * math.pi * number / LIGHTS
        other = dataclasses.replace(scenes, light=prior.view(turned).light)
        other_score = log_likelihood(decoder, images, other)
        best = choose(other_score > score, other, best)
        score = torch.maximum(score, other_score)
    return best
