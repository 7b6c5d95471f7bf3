"""Ways to look at what was inferred; each module converts to its own medium's conventions.

==============  ===========================================================================
``panels``      pictures: outlines, boxes, names and probabilities over the image
``glb``         the scene in 3D, as a GLB file or one HTML page that works offline
``open3d_view`` an Open3D window, or a screenshot where there is no display
``web``         the scene in a browser, also over ssh
``ghosts``      draws from the posterior as outlines that shine through
``film``        an animation of a search, stage by stage
``sheets``      a sheet of test images, worst cases first
``report``      one page with figures, pictures and scenes to turn; ``style`` is its look
``scores``      evaluations for people: figures in words, examples with how far off they are
``records``     estimates as JSON on disk, and back
``results``     the files that are written of one image
==============  ===========================================================================

Viewers show an :class:`~air3d.inspection.exhibit.Exhibit`: ``exhibit_of`` an estimate, or
``record_exhibit`` of a file, with ``read_truth`` (``truth``) of a BOP data set. Its objects are
:class:`~air3d.inspection.placement.Placement`, a mesh at a pose in its size and colour. ``outline``
finds the lines by which one knows it in an image, ``tiles`` cuts the table into its fields.
"""
