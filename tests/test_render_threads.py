"""The renderer called from several Python threads at once."""

from concurrent.futures import ThreadPoolExecutor

import torch
from render_cases import random_scene

from air3d.render import prefix_selection


def image_and_gradients(seed: int) -> list[torch.Tensor]:
    """Render scenes of a size of their own, there and back."""
    scene = random_scene(seed, batch=2 + seed, objects=2, image_size=(24, 24 + seed))
    rgb = scene.images("cpu", prefix_selection(2)).rgb
    return [rgb.detach(), *torch.autograd.grad(rgb.square().sum(), [scene.poses, scene.tint])]


def test_several_python_threads_at_once():
    """Each gets the bits that it would have got alone."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        alone = [image_and_gradients(seed) for seed in range(6)]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(image_and_gradients, [*range(6)] * 3))
    finally:
        torch.set_num_threads(threads)
    for index, results in enumerate(together):
        assert all(map(torch.equal, results, alone[index % 6]))
