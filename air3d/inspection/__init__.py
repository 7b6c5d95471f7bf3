"""Ways to look at what was inferred; each module converts to its own medium's conventions.

==============  ===========================================================================
``panels``      pictures: outlines, boxes, names and probabilities over the image
``glb``         the scene in 3D, as a GLB file or one HTML page that works offline
``open3d_view`` an Open3D window, or a screenshot where there is no display
``web``         the scene in a browser, also over ssh
``report``      one page with figures, pictures and scenes to turn; ``style`` is its look
``scores``      evaluations for people: figures in words, examples with how far off they are
``records``     estimates as JSON on disk, and back
==============  ===========================================================================

Viewers draw :class:`~air3d.inspection.placement.Placement`, a mesh at a pose: ``placements_of``
an estimate, ``record_placements`` of a file, ``true_placements`` (``truth``) of a BOP data set.
``outline`` finds the lines by which one knows it in an image.
"""
