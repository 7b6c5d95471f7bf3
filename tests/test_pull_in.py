"""Refinement brings home what lies farther off than an edge's blur."""

import dataclasses

import torch
from conftest import ROOT

from air3d.inference.refinement import refine
from air3d.inference.settling import log_likelihood
from air3d.models.decoders import SceneDecoder
from air3d.scene import PullInSpec, known_view, load_assets, load_scene, upright_scenes


def decoder_with(pull_in: PullInSpec) -> SceneDecoder:
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    return SceneDecoder(spec.model_copy(update={"pull_in": pull_in}), load_assets(spec))


def test_pull_in_finds_cubes_that_settling_alone_does_not():
    """Eight cubes, each a diameter from where it is looked for, round about, with noise."""
    angle = torch.arange(8) * 0.785
    decoder = decoder_with(PullInSpec())
    place = torch.tensor([0.0, 0.0, 0.18]).expand(8, 1, 3), torch.zeros(8, 1)
    view = vars(known_view(decoder.spec))
    truth = upright_scenes(torch.zeros(8, 1, dtype=torch.int64), *place, **view)
    unit = decoder.bank.meshes[0].diameter
    start = dataclasses.replace(truth, position=truth.position.clone())
    start.position[:, 0, 0] += unit * angle.cos()
    start.position[:, 0, 1] += unit * angle.sin()
    with torch.no_grad():
        images = decoder.image(truth)
    images = images + 0.02 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    home = {}
    for fraction in (0.0, 0.75):
        decoder = decoder_with(PullInSpec(fraction=fraction))
        found = refine(decoder, images, start, steps=32)
        with torch.no_grad():
            before, after = (log_likelihood(decoder, images, scenes) for scenes in (start, found))
        assert (after >= before).all()
        off = (found.position - truth.position).norm(dim=-1) / unit
        home[fraction] = int((off < 0.02).sum())
    assert home[0.0] <= 4 and home[0.75] >= 7, home
