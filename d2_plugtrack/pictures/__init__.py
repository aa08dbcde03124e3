"""From a video to what ``tools/visualize.py`` shows of it: what each stage says, and files."""
