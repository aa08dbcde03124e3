"""ImageNet VID and DET as downloaded: their XML, the community's lists, and where they lie."""
