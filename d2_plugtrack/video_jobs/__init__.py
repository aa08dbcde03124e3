"""One video through a predictor into its outputs: files of objects, annotated video, a window."""
