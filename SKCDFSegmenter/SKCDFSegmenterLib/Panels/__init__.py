"""The widgets of the module: one class per section of the panel, and Qt's child process. Needs the application."""
