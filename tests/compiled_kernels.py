"""A program that compiles all of the CUDA backend's kernels for a GPU, on a machine without one.

``test_render_cuda.py`` runs it, in a process of its own, where Triton does not interpret. The
backend's verbs run as they always do, on the CPU's memory, but a kernel that would start is
compiled instead, for the types of what it is given. Prints a line for each: its name, and the
bytes of its machine code. Compiles each kernel in float32, told ``all`` in every way it is used.
"""

import sys
from dataclasses import replace

import torch
import triton
from render_cases import SOFT, Scene, camera, coarse_meshes
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from air3d.geometry import rigid_transform
from air3d.render import Layers, cuda
from air3d.render.instances import place
from air3d.scene import MeshBank

TARGET = GPUTarget("cuda", 90, 32)
TYPES = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
COMPILED: dict[str, int] = {}


def type_of(name: str, value: object, constants: set[str]) -> str:
    """Return a kernel's argument's type as Triton would find it; a 1 is compiled in, too."""
    if name in constants or (isinstance(value, int) and value == 1):
        return "constexpr"
    if isinstance(value, Tensor):
        return TYPES[value.dtype]
    return "fp64" if isinstance(value, float) else "i32"


def compile_instead(kernel: triton.JITFunction, *arguments, grid, warmup, num_warps, **constants):
    """Stand in for ``JITFunction.run``."""
    names = [parameter.name for parameter in kernel.params]
    values = dict(zip(names, arguments, strict=False)) | constants
    types = {name: type_of(name, values[name], set(constants)) for name in names}
    fixed = {name: values[name] for name, kind in types.items() if kind == "constexpr"}
    key = f"{kernel.__name__} {' '.join(types.values())} {list(fixed.values())}"
    if key not in COMPILED:
        source = ASTSource(fn=kernel, signature=types, constexprs=fixed)
        binary = triton.compile(source, target=TARGET, options={"num_warps": num_warps})
        COMPILED[key] = len(binary.asm["cubin"])


def scene(dtype: torch.dtype, image_size: tuple[int, int], textured: bool) -> Scene:
    """Return a scene of two meshes, or one."""
    meshes = coarse_meshes()[::2] if textured else coarse_meshes()[:1]
    bank = MeshBank.pack(meshes)
    if textured:
        sizes = torch.tensor([[0, 0], [5, 4]])
        bank = replace(bank, textures=torch.rand(2, 5, 4, 3), texture_sizes=sizes)
    return Scene(
        bank=bank,
        identity=torch.zeros(1, 2, dtype=torch.int64),
        poses=rigid_transform(torch.eye(3), torch.zeros(3)).expand(1, 2, 4, 4),
        camera=camera(image_size),
        background=torch.zeros(3),
        scale=torch.ones(1, 2),
        tint=torch.ones(1, 2, 3),
    ).to(dtype)


def use_everything(given: Scene) -> None:
    """Go forward and backward through all verbs that have kernels."""
    projected = cuda.project(given.bank, place(given.instances, given.camera, given.light))
    cuda.depth(projected)
    deep = projected.textures.numel() == 0
    layers = cuda.rasterize_layers(projected, SOFT, with_depth=deep).unflatten(1, 2)
    pictures = torch.zeros_like(layers.colour[:, 0])
    selection = torch.tensor([[0, -1, 1], [1, 0, -1]])
    images = cuda.composite(layers, selection, given.background)
    errors = cuda.squared_error(layers, selection[:, :1], given.background, pictures)
    parts = [images.rgb, images.alpha, images.depth, errors]
    sum(part.sum() for part in parts if part is not None).backward()
    flat = Layers(*(part.detach() for part in vars(layers).values() if part is not None))
    cuda.squared_error(flat, selection, pictures.requires_grad_(), pictures).sum().backward()


if __name__ == "__main__":
    triton.JITFunction.run = compile_instead
    use_everything(scene(torch.float32, (24, 40), textured=True))
    if sys.argv[1:] == ["all"]:
        use_everything(scene(torch.float32, (24, 40), textured=False))
        use_everything(scene(torch.float64, (24, 40), textured=False))
        use_everything(scene(torch.float64, (24, 40), textured=True))
        use_everything(scene(torch.float32, (1, 1), textured=False))
    for key, size in COMPILED.items():
        print(key.split()[0], size)
