"""The detectron2 side of the model: thin, the method itself is in ``core``."""
