"""What `slicer` has in the application and slicer-core lacks: modules, parameter nodes with types, and the
application.

Written anew after what Slicer's sources do. ``slicer.util`` is not here: slicer-core has the real one, and
it runs on `qt`,
`ctk` and ``slicer.app`` of these tests.
"""
