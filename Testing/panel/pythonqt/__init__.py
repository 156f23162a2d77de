"""Qt with the manners of PythonQt, over PySide: the modules `qt` and `ctk` of Slicer, for tests.

Real: Qt itself, its widgets, layouts, events, processes and settings. Modelled after PythonQt's sources: attributes,
connections by signature, enums, conversions, errors. `test_pythonqt_layer.py` and
`test_pythonqt_classes.py` say each rule.
"""
