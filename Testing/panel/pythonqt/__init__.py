"""Qt with the manners of PythonQt, over PySide: the modules `qt` and `ctk` of Slicer, for tests.

Real: Qt itself, its widgets, layouts, events, processes and settings. Modelled after PythonQt's source and
after what a
real Slicer answered: attributes, connections by signature, enums, errors. `test_pythonqt_layer.py` says each rule.
"""
