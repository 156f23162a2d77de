"""What the engine is measured against, written as plainly as the equations stand in `docs/methods.md`."""
