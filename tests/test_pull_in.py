"""Refinement brings home what lies farther off than an edge's blur."""

import dataclasses

import torch
from conftest import ROOT

from air3d.models.decoders import SceneDecoder
from air3d.refinement import log_likelihood, refine
from air3d.scene import PullInSpec, Scenes, load_assets, load_scene


def decoder_with(pull_in: PullInSpec) -> SceneDecoder:
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    return SceneDecoder(spec.model_copy(update={"pull_in": pull_in}), load_assets(spec))


def test_pull_in_finds_spheres_that_sharp_edges_do_not():
    """Eight spheres, each 0.8 diameters from where it is looked for, round about."""
    angle = torch.arange(8) * 0.785
    truth = Scenes(torch.full((8, 1), 1), torch.zeros(8, 1, 3), torch.zeros(8, 1))
    truth.position[..., 2] = 0.2
    start = dataclasses.replace(truth, position=truth.position.clone())
    start.position[:, 0, 0] += 0.8 * 0.4 * angle.cos()
    start.position[:, 0, 1] += 0.8 * 0.4 * angle.sin()
    home = {}
    for fraction in (0.0, 0.5):
        decoder = decoder_with(PullInSpec(fraction=fraction))
        with torch.no_grad():
            images = decoder.image(truth)
        found = refine(decoder, images, start, steps=60)
        with torch.no_grad():
            before, after = (log_likelihood(decoder, images, scenes) for scenes in (start, found))
        assert (after >= before).all()
        off = (found.position - truth.position).norm(dim=-1) / 0.4
        home[fraction] = int((off < 0.05).sum())
    assert home[0.0] <= 4 and home[0.5] == 8, home
