"""The CUDA backend: Triton kernels as torch operations, on torch's current stream.

It mirrors :mod:`air3d.render.cpu`, whose arithmetic it repeats line by line, in float32 and
float64. Triton's interpreter runs the kernels on the CPU (``TRITON_INTERPRET=1``, set before Python
starts), which is how they are tested where there is no GPU.

**Nothing waits for the host, and nothing can overflow.** All memory is of a size that shapes tell:
there are no bins of faces. A program rasterizes a tile of 8 x 8 pixels of one layer: it tests the
bounding boxes of that mesh's faces, 128 at a time, and those that reach the tile, whose numbers it
moves together in registers, go over the tile's pixels, four faces at a time. A tile that the whole
mesh does not reach (one kernel before finds its rectangle) tests none. Counted for the shipped
sphere of 1,280 faces and 0.2 m, at 3.2 m, per layer:

=======  ==========  =========================  ==============================
image    box tests   pixels of the faces found  pixels of all faces, untested
=======  ==========  =========================  ==============================
64 x 64       8,800                    119,696                       5,242,880
128x128      24,640                    194,832                      20,971,520
=======  ==========  =========================  ==============================

A box test is far less than what a pixel of a face takes, with its three edges and exponentials, and
there are ten times as many of these: bins could save no more than the tests. Bins of exact size
would need their total on the host, and bins with room for every face would hold, for 576 layers of
such a mesh, 94 MB at 64 x 64 pixels (two bytes a face). Tiles of 16 x 16 have fewer tests but three
times the pixels.

**The backward pass is deterministic.** It adds no floating numbers by atomic operations. A program
has four faces of a layer and goes over the pixels of their bounding boxes, so that every sum over
pixels is its own; a second kernel sums over the corners at each vertex, in the order of the faces
(the list of corners by vertex is sorted on the device, its size is that of the faces); a third sums
over the layers of a mesh, in float64, in their order. Texels alone take gradients from any pixel of
any layer: these are added as whole numbers (of a unit that the largest possible sum sets, some
2^-60 of it), whose sum is the same in any order. A face so large that it covers a big image is one
program's work: such scenes, of few large faces, will not fill a GPU.

**Compositing** needs no tree of subsets, as there the CPU's does: a program merges one image's
slots for 128 pixels, which the cache holds, and backward one layer's gradient is summed over the
images that it is in. Squared errors are summed over pixels in float64, by block, then over blocks.

Plain torch does the rest, in few large operations: ``visibility``, ``paint`` and ``trace_ground``
are the reference's, ``expected_composite`` is its mean over the subsets that ``composite`` merges.
"""

from air3d.render.cuda.composite import composite, expected_composite
from air3d.render.cuda.launch import interpreted
from air3d.render.cuda.layers import depth, rasterize_layers
from air3d.render.cuda.squared_error import squared_error
from air3d.render.cuda.vertices import project
from air3d.render.reference_composite import paint, visibility
from air3d.render.reference_ground import trace_ground

__all__ = [
    "composite",
    "depth",
    "expected_composite",
    "interpreted",
    "paint",
    "project",
    "rasterize_layers",
    "squared_error",
    "trace_ground",
    "visibility",
]
